"""`Turbovec`: what is saved beside the codes, and the vectors that their codes say little of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from chroma_nb.index.base import GraphParameters

if TYPE_CHECKING:
    from pathlib import Path

turbovec = pytest.importorskip("chroma_nb.index._turbovec", reason="needs turbovec")
N, DIMENSION = 400, 12
PARAMETERS = GraphParameters("l2", DIMENSION)
VECTORS = np.random.default_rng(0).standard_normal((N, DIMENSION)).astype(np.float32)


def codes(vectors: np.ndarray = VECTORS, labels: Any = None) -> Any:
    made = turbovec.Turbovec.create(PARAMETERS, len(vectors))
    made.add(np.arange(len(vectors)) if labels is None else labels, vectors, 1)
    return made


@pytest.mark.parametrize(
    "change",
    [
        {"n_labels": 10**15},
        {"n_labels": -1},
        {"n_labels": N - 1},
        {"n_labels": "many"},
        {"mean": ""},
        {"mean": "no base64!"},
        {"mean": turbovec._text(bytes(5 * DIMENSION))},
        {"held": turbovec._text(bytes(N // 8))},
        {"held": turbovec._text(bytes(10**6))},
        {"alive": "AAAA"},
        {"far": [N + 1]},
        {"far": ["x"]},
        {"unit": "x"},
    ],
)
def test_a_state_that_does_not_fit_the_codes_is_refused(
    change: dict[str, Any], tmp_path: Path
) -> None:
    made = codes()
    path = str(tmp_path / "codes")
    made.save(path)
    with pytest.raises((ValueError, TypeError)):
        turbovec.Turbovec.open(path, PARAMETERS, N, {**made.state(), **change})


def test_codes_of_another_dimension_are_refused(tmp_path: Path) -> None:
    made = codes()
    path = str(tmp_path / "codes")
    made.save(path)
    with pytest.raises(ValueError, match="its codes are 4 bits of 16 values"):
        turbovec.Turbovec.open(path, GraphParameters("l2", 40), N, made.state())
    with pytest.raises(ValueError, match="its codes are 4 bits"):
        turbovec.Turbovec2Bit.open(path, PARAMETERS, N, made.state())


def test_labels_with_gaps_and_dead_ones_are_saved(tmp_path: Path) -> None:
    labels = np.arange(N) * 3 + 1
    made = codes(labels=labels)
    made.discard(labels[:100])
    path = str(tmp_path / "codes")
    made.save(path)
    again = turbovec.Turbovec.open(path, PARAMETERS, 3 * N, made.state())
    assert (len(again), again.n_held) == (N - 100, N)
    found = again.search(VECTORS[:200], 3, 1).labels
    np.testing.assert_array_equal(found, made.search(VECTORS[:200], 3, 1).labels)
    assert not np.isin(found, labels[:100]).any()
    mask = np.zeros(3 * N + 5, dtype=bool)
    mask[labels[90:110]] = True
    found = again.search_among(VECTORS[:5], 30, 1, mask).labels
    assert set(found[found >= 0].tolist()) == set(labels[100:110].tolist())


def test_the_few_that_are_far_from_all_others_are_always_candidates() -> None:
    vectors = VECTORS.copy()
    vectors[[5, 77]] *= 1e5
    made = codes(vectors)
    found, guesses = made.search(vectors[:1], 4, 1)
    assert {5, 77} <= set(found[0].tolist())
    assert np.isnan(guesses[0][np.isin(found[0], [5, 77])]).all()
    made.discard(np.array([5]))
    assert 5 not in made.search(vectors[:1], 4, 1).labels
    mask = np.ones(N, dtype=bool)
    mask[77] = False
    assert 77 not in made.search_among(vectors[:1], 4, 1, mask).labels


def test_nothing_is_found_in_no_codes(tmp_path: Path) -> None:
    made = turbovec.Turbovec.create(PARAMETERS, 0)
    assert (made.search(VECTORS[:2], 3, 1).labels == -1).all()
    path = str(tmp_path / "codes")
    made.save(path)
    again = turbovec.Turbovec.open(path, PARAMETERS, 0, made.state())
    again.add(np.arange(N), VECTORS, 1)
    assert again.search(VECTORS[3:4], 1, 1).labels.tolist() == [[3]]


@pytest.mark.parametrize("space", ["l2", "cosine", "ip"])
def test_vectors_that_are_all_alike(space: Any) -> None:
    for vectors in (np.ones((N, DIMENSION)), np.zeros((N, DIMENSION))):
        made = turbovec.Turbovec.create(GraphParameters(space, DIMENSION), N)
        made.add(np.arange(N), vectors.astype(np.float32), 1)
        found, guesses = made.search(VECTORS[:2], 5, 1)
        assert (found >= 0).all()
        assert np.isfinite(guesses).all()


def test_many_neighbours_of_many_queries_are_those_of_each_alone() -> None:
    made = codes()
    k = turbovec._MOST_TOGETHER + 1
    together = made.search(VECTORS[:5], k, 1)
    for row in range(5):
        alone = made.search(VECTORS[row : row + 1], k, 1)
        assert together.labels[row].tolist() == alone.labels[0].tolist()
        assert together.distances[row].tolist() == alone.distances[0].tolist()


def test_vectors_that_the_engine_would_refuse_are_candidates() -> None:
    vectors = VECTORS.copy()
    vectors[5] *= 1e13
    found, guesses = codes(vectors).search(VECTORS[:1], 4, 1)
    assert 5 in found[0]
    assert np.isnan(guesses[0][found[0] == 5]).all()
