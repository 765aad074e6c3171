"""Exact search against float64: the same neighbours in the same order, ties in the given order."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chroma_nb.index import exact

SPACES = ["l2", "cosine", "ip"]


def reference(space: str, query: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    q, x = query.astype(np.float64), vectors.astype(np.float64)
    if space == "l2":
        return ((x - q) ** 2).sum(axis=1)
    if space == "ip":
        return 1 - x @ q
    scale = np.linalg.norm(x, axis=1) * np.linalg.norm(q)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(scale > 0, 1 - (x @ q) / scale, 1.0)


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(SPACES),
    st.lists(st.lists(st.integers(-3, 3), min_size=3, max_size=3), min_size=1, max_size=40),
    st.lists(st.integers(-3, 3), min_size=3, max_size=3),
    st.integers(1, 45),
    st.randoms(use_true_random=False),
)
def test_small_integers_with_many_ties(
    space: str, rows: list[list[int]], asked: list[int], k: int, random: object
) -> None:
    vectors, query = np.array(rows, dtype=np.float32), np.array([asked], dtype=np.float32)
    order = np.array(random.sample(range(len(rows)), len(rows)))  # type: ignore[attr-defined]
    truth = reference(space, query[0], vectors)
    found = exact.search(space, query, vectors, k, order=order)
    assert found.labels.shape == (1, min(k, len(rows)))
    # Small integers are exact in float32 but for cosine's division.
    rounded = truth if space != "cosine" else np.round(truth, 5)
    if space != "cosine":
        expected = np.lexsort((order, rounded))[:k]
        assert found.labels[0].tolist() == expected.tolist()
    np.testing.assert_allclose(
        found.distances[0], np.sort(truth)[: len(found.labels[0])], atol=1e-5
    )


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_large_vectors_keep_their_neighbours(space: str, offset: float) -> None:
    """Far from the origin |x|^2 - 2xq cancels: the candidates have to be computed again."""
    rng = np.random.default_rng(1)
    vectors = (rng.standard_normal((2_000, 64)) + offset).astype(np.float32)
    queries = (rng.standard_normal((5, 64)) + offset).astype(np.float32)
    found = exact.search(space, queries, vectors, 10, norms=exact.norms_of(vectors))
    for row, query in enumerate(queries):
        truth = reference(space, query, vectors)
        tolerance = 1e-5 * max(1.0, float(np.abs(truth).max()))
        assert truth[found.labels[row]].max() <= np.sort(truth)[9] + tolerance
        if space == "l2":
            assert set(found.labels[row]) == set(np.argsort(truth)[:10])


def test_subsets_and_the_same_distance_by_every_way() -> None:
    rng = np.random.default_rng(2)
    vectors = rng.standard_normal((5_000, 48)).astype(np.float32)
    vectors[17] = 0
    queries = rng.standard_normal((3, 48)).astype(np.float32)
    for space in SPACES:
        labels = np.arange(17, 5_000, 7)
        norms = exact.norms_of(vectors)
        whole = exact.search(space, queries, vectors, 5_000, norms=norms)
        part = exact.search(space, queries, vectors, 20, labels=labels)
        single = [
            exact.search(space, queries[i : i + 1], vectors, 20, labels=labels) for i in range(3)
        ]
        for row in range(3):
            distance_of = dict(zip(whole.labels[row].tolist(), whole.distances[row], strict=True))
            assert all(
                distance_of[label] == distance
                for label, distance in zip(
                    part.labels[row].tolist(), part.distances[row], strict=True
                )
            )
            assert part.labels[row].tolist() == single[row].labels[0].tolist()
            assert set(part.labels[row].tolist()) <= set(labels.tolist())
    assert exact.distances("cosine", queries[0], vectors[17:18]).tolist() == [1.0]


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("dimension", [1, 2, 3, 33, 384, 3_000])
def test_distances_of_pairs_are_those_of_one_query(space: str, dimension: int) -> None:
    rng = np.random.default_rng(dimension)
    queries = rng.standard_normal((40, dimension)).astype(np.float32)
    vectors = rng.standard_normal((40, dimension)).astype(np.float32)
    expected = [
        exact.distances(space, query, vector[None, :])[0]
        for query, vector in zip(queries, vectors, strict=True)
    ]
    assert exact.pair_distances(space, queries, vectors).tolist() == [float(x) for x in expected]
    together = exact.distances(space, queries[0], vectors)
    alone = [exact.distances(space, queries[0], vector[None, :])[0] for vector in vectors]
    assert together.tolist() == [float(x) for x in alone]


@pytest.mark.parametrize("n_queries", [1, 2, 40])
@pytest.mark.parametrize("n_rows", [1, 300, 9_000])
@pytest.mark.parametrize("dimension", [1, 64, 575, 577, 10_000])
def test_products_are_the_same_on_one_core_and_on_all(
    n_queries: int, n_rows: int, dimension: int
) -> None:
    rng = np.random.default_rng(7)
    n_rows = min(n_rows, 3_000_000 // dimension)
    rows = rng.standard_normal((n_rows, dimension)).astype(np.float32)
    queries = rng.standard_normal((n_queries, dimension)).astype(np.float32)
    out = np.empty((n_queries, n_rows), dtype=np.float32)
    exact._multiply(rows, queries, out)
    np.testing.assert_allclose(out, queries.astype(float) @ rows.T.astype(float), atol=1e-3)


def test_queries_of_a_small_collection_use_one_core() -> None:
    """BLAS would share each out to all cores, and wait for cores that others use: a hundredfold, once."""
    script = (
        "import time, numpy as np, chroma_nb\n"
        "notes = chroma_nb.EphemeralClient().create_collection('notes', embedding_function=None)\n"
        "rows = np.random.default_rng(0).standard_normal((2_000, 384)).astype('f4')\n"
        "notes.add(ids=[str(one) for one in range(2_000)], embeddings=rows)\n"
        "notes.query(query_embeddings=rows[0])\n"
        "process, thread = time.process_time(), time.thread_time()\n"
        "for row in rows[:300]:\n"
        "    notes.query(query_embeddings=row)\n"
        "print((time.process_time() - process) / (time.thread_time() - thread))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert float(done.stdout) < 1.5
