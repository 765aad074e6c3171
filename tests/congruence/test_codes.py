"""Searches by codes, with exact search as the referee, on vectors that are hard to tell apart by a code."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import chroma_nb
from chroma_nb.index import load_engine
from chroma_nb.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from chroma_nb.types import Space

N, MORE, DIMENSION = 3_000, 300, 48
N_ALL = N + MORE
SPACES: tuple[Space, ...] = ("l2", "cosine", "ip")


def _normal(rng: np.random.Generator) -> NDArray[Any]:
    return rng.standard_normal((N_ALL, DIMENSION))


def _nearly_equal(rng: np.random.Generator) -> NDArray[Any]:
    """Thirty of each, apart by a ten-thousandth."""
    return np.repeat(_normal(rng)[: N_ALL // 30], 30, axis=0) + 1e-4 * _normal(rng)


def _equal(rng: np.random.Generator) -> NDArray[Any]:
    found = _normal(rng)
    found[: N // 2] = found[0]
    return found


def _zeros(rng: np.random.Generator) -> NDArray[Any]:
    return _normal(rng) * (rng.random((N_ALL, 1)) > 0.3)


def _mostly_zeros(rng: np.random.Generator) -> NDArray[Any]:
    return _normal(rng) * (rng.random((N_ALL, 1)) > 0.7)


def _of_all_lengths(rng: np.random.Generator) -> NDArray[Any]:
    return _normal(rng) * rng.lognormal(0, 2, (N_ALL, 1))


def _far_from_zero(rng: np.random.Generator) -> NDArray[Any]:
    return _normal(rng) + 1_000


def _by_topic(rng: np.random.Generator) -> NDArray[Any]:
    """In the order of topics that are far from each other: the first vectors say little of the last."""
    topics = 8 * rng.standard_normal((11, DIMENSION))
    return topics[np.arange(N_ALL) // 300] + _normal(rng)


def _with_some_far_away(rng: np.random.Generator) -> NDArray[Any]:
    found = _normal(rng)
    found[::1_000] *= 1e4
    return found


def _clusters_and_one_far_away(rng: np.random.Generator) -> NDArray[Any]:
    """Vectors that are hard to tell apart, in clusters; and one that is among the candidates of many queries."""
    found = _normal(rng)[np.arange(N_ALL) % 8] + 0.01 * _normal(rng)
    found[1_001] = 100 * found[1]
    return found


def _one_very_far_away(rng: np.random.Generator) -> NDArray[Any]:
    found = _normal(rng)
    found[1_001] *= 1e12
    return found


def _one_hot(rng: np.random.Generator) -> NDArray[Any]:
    return np.eye(DIMENSION)[rng.integers(0, DIMENSION, N_ALL)]


def _tiny(rng: np.random.Generator) -> NDArray[Any]:
    return 1e-12 * _normal(rng)


KINDS = [
    _normal,
    _nearly_equal,
    _equal,
    _zeros,
    _mostly_zeros,
    _of_all_lengths,
    _far_from_zero,
    _by_topic,
    _with_some_far_away,
    _clusters_and_one_far_away,
    _one_very_far_away,
    _one_hot,
    _tiny,
]


@pytest.fixture(params=["turbovec", "turbovec-2bit"])
def codes(request: pytest.FixtureRequest) -> str:
    """An engine of codes that is installed."""
    try:
        load_engine(request.param)
    except ImportError as error:
        pytest.skip(str(error))
    return str(request.param)


def answers(engine: str, space: Space, vectors: NDArray[np.float32]) -> tuple[list[Any], str]:
    """Return what a collection that was written to in every way answers, and how it searches."""
    settings = Settings(
        index_engine=engine, is_persistent=False, graph_min_records=1_000, progress=False
    )
    ids = [str(row) for row in range(N_ALL)]
    metadatas = [{"row": row % 100} for row in range(N_ALL)]
    with chroma_nb.Client(settings) as client:
        notes = client.create_collection(
            "notes", embedding_function=None, configuration={"hnsw": {"space": space}}
        )
        notes.add(ids=ids[:N], embeddings=vectors[:N], metadatas=metadatas[:N])
        notes.build_index()
        notes.delete(ids=ids[0:1_000:7])
        # A tail, and some that were replaced.
        notes.add(ids=ids[N:], embeddings=vectors[N:], metadatas=metadatas[N:])
        notes.update(ids=ids[1_500:1_502], embeddings=vectors[10:12])
        asked = np.concatenate([vectors[:6], vectors[2_000:2_003] * np.float32(1.01), vectors[-3:]])
        found = [
            notes.query(query_embeddings=asked, n_results=k, where=where, include=["distances"])
            for k, where in (
                (1, None),
                (10, None),
                (60, None),
                (10, {"row": {"$lt": 40}}),
                (10, {"row": 3}),
            )
        ]
        return found, str(notes.explain(query_embeddings=asked[:1], n_results=10)["strategy"])


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("make", KINDS, ids=lambda make: make.__name__.strip("_"))
def test_codes_find_what_an_exact_search_finds(
    make: Callable[[np.random.Generator], NDArray[Any]], space: Space, codes: str
) -> None:
    vectors = make(np.random.default_rng(7)).astype(np.float32)
    right, _ = answers("exact", space, vectors)
    found, strategy = answers(codes, space, vectors)
    assert strategy == "codes"
    scale = float(np.square(vectors).sum(axis=1).max())
    n_near, n = 0, 0
    for one, other in zip(right, found, strict=True):
        for expected, distances in zip(one["distances"], other["distances"], strict=True):
            assert len(distances) == len(expected)
            # As near as the farthest of the right ones: of equal distances float32 can put either first.
            farthest = expected[-1] + 1e-4 * abs(expected[-1]) + 1e-9 * scale
            n_near += sum(distance <= farthest for distance in distances)
            n += len(expected)
    assert n_near >= 0.99 * n
