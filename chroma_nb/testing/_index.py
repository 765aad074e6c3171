"""`VectorIndexContract`: what every engine of graphs or codes has to do, against exact search on the same vectors."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import pytest

from chroma_nb.index import base
from chroma_nb.index.base import GraphParameters, VectorIndex
from chroma_nb.index.exact import search as exact_search

if TYPE_CHECKING:
    from pathlib import Path

    from chroma_nb.types import Space

N, DIMENSION = 3_000, 24


@cache
def _clusters() -> np.ndarray:
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((40, DIMENSION)) * 3
    points = centres[rng.integers(0, 40, N)] + rng.standard_normal((N, DIMENSION))
    return points.astype(np.float32)


def build(engine: type[VectorIndex], vectors: np.ndarray, space: Space = "l2") -> VectorIndex:
    graph = engine.create(GraphParameters(space, DIMENSION), len(vectors))
    graph.add(np.arange(len(vectors)), vectors, 0)
    return graph


def recall(
    graph: VectorIndex, vectors: np.ndarray, space: Space, labels: np.ndarray | None = None
) -> float:
    queries = vectors[:100] + np.float32(0.1)
    truth = exact_search(space, queries, vectors, 10, labels=labels).labels
    found = nearest(graph, vectors, space, queries)
    return float(
        np.mean(
            [len(set(a) & set(b)) / 10 for a, b in zip(truth.tolist(), found.tolist(), strict=True)]
        )
    )


def nearest(
    graph: VectorIndex, vectors: np.ndarray, space: Space, queries: np.ndarray, k: int = 10
) -> np.ndarray:
    """Return the labels of the k nearest, shape (n_queries, k): candidates by codes are compared exactly, as a search does it."""
    if not graph.code_bytes:
        return graph.search(queries, k, 0).labels
    candidates = graph.search(queries, int((k + 4) * (1 + graph.overfetch)), 0).labels
    rows = [
        exact_search(space, query[None], vectors, k, labels=np.sort(some[some >= 0])).labels[0]
        for query, some in zip(queries, candidates, strict=True)
    ]
    return np.stack(rows)


class VectorIndexContract:
    """The tests of every `VectorIndex`.

    A subclass names it::

        class TestMine(chroma_nb.testing.VectorIndexContract):
            def index_class(self):
                return MyIndex

    An index whose `overfetch` is 0 is one of the vectors themselves, so its distances are exact. One that has `code_bytes`
    is asked for more candidates than are wanted, which are compared exactly.
    """

    def index_class(self) -> type[VectorIndex]:
        """Return the class that is tested."""
        raise NotImplementedError("A subclass returns its class of VectorIndex.")

    @pytest.fixture
    def engine(self) -> type[VectorIndex]:
        """The class that is tested."""
        return self.index_class()

    @pytest.fixture
    def vectors(self) -> np.ndarray:
        """Vectors in 40 clusters: float32, shape (3000, 24)."""
        return _clusters().copy()

    @pytest.mark.parametrize("space", ["l2", "cosine", "ip"])
    def test_recall(self, engine: type[VectorIndex], vectors: np.ndarray, space: Space) -> None:
        graph = build(engine, vectors, space)
        assert len(graph) == N
        # Inner product is no metric: a graph over raw vectors loses some there.
        assert recall(graph, vectors, space) >= (0.8 if space == "ip" else 0.95)
        assert graph.resident_bytes > N * DIMENSION // 2
        assert graph.resident_bytes == engine.bytes_for(graph.parameters, N)
        assert graph.n_held == N
        more = engine.bytes_for(graph.parameters, N + 100)
        assert graph.growth(100) >= more - graph.resident_bytes

    def test_vectors_of_a_buffer_that_is_not_aligned(
        self, engine: type[VectorIndex], vectors: np.ndarray
    ) -> None:
        # As those of a request are, which begin anywhere in its bytes.
        data = b"1" + vectors[:300].tobytes()
        shifted = np.frombuffer(data, np.float32, offset=1).reshape(300, DIMENSION)
        graph = build(engine, shifted)
        expected = build(engine, vectors[:300]).search(vectors[:9], 3, 0).labels
        np.testing.assert_array_equal(graph.search(shifted[:9], 3, 0).labels, expected)

    @pytest.mark.parametrize("space", ["l2", "cosine", "ip"])
    def test_what_it_has_learned_of_other_vectors_makes_no_answer_wrong(
        self, engine: type[VectorIndex], vectors: np.ndarray, space: Space
    ) -> None:
        graph = engine.create(GraphParameters(space, DIMENSION), N)
        graph.learn(vectors[:100] + np.float32(0.5))
        graph.add(np.arange(N), vectors, 0)
        assert recall(graph, vectors, space) >= 0.8

    def test_distances_and_padding(self, engine: type[VectorIndex], vectors: np.ndarray) -> None:
        graph = build(engine, vectors[:5])
        found = graph.search(vectors[:1], 10, 1)
        labels = found.labels[0][found.labels[0] >= 0]
        assert sorted(labels.tolist()) == [0, 1, 2, 3, 4]
        assert labels[0] == 0
        near = found.distances[0][found.labels[0] >= 0]
        assert np.all(np.diff(near) >= 0)
        if engine.overfetch == 0:
            # The vectors themselves are in it.
            expected = ((vectors[labels] - vectors[0]) ** 2).sum(axis=1)
            np.testing.assert_allclose(near, expected, rtol=1e-4, atol=1e-4)
        assert found.labels.dtype == np.int64
        assert found.distances.dtype == np.float32

    def test_discarded_labels_are_never_found(
        self, engine: type[VectorIndex], vectors: np.ndarray
    ) -> None:
        graph = build(engine, vectors)
        gone = np.arange(0, N, 3)
        graph.discard(gone)
        graph.discard(gone[:5])
        graph.discard(np.array([N + 5]))
        assert len(graph) == N - len(gone)
        assert N >= graph.n_held >= len(graph)
        found = graph.search(vectors[:50], 20, 0).labels
        assert not set(found.ravel().tolist()) & set(gone.tolist())
        assert recall(graph, vectors, "l2", np.setdiff1d(np.arange(N), gone)) >= 0.9

    def test_it_grows_past_its_capacity(
        self, engine: type[VectorIndex], vectors: np.ndarray
    ) -> None:
        graph = engine.create(GraphParameters("l2", DIMENSION), 10)
        for labels in np.array_split(np.arange(N), 5):
            graph.add(labels, vectors[labels], 0)
        assert len(graph) == N
        assert recall(graph, vectors, "l2") >= 0.95

    def test_a_saved_graph_answers_the_same(
        self, engine: type[VectorIndex], vectors: np.ndarray, tmp_path: Path
    ) -> None:
        graph = build(engine, vectors)
        graph.save(str(tmp_path / "graph"))
        again = engine.open(str(tmp_path / "graph"), graph.parameters, N, graph.state())
        before, after = graph.search(vectors[:20], 5, 1), again.search(vectors[:20], 5, 1)
        np.testing.assert_array_equal(before.labels, after.labels)
        np.testing.assert_array_equal(before.distances, after.distances)
        more = np.concatenate([vectors, vectors[:1] + 100])
        again.add(np.array([N]), more[N:], 1)
        assert nearest(again, more, "l2", more[N:], 1)[0, 0] == N

    def test_a_file_that_was_cut_by_a_full_disk_is_an_error(
        self, engine: type[VectorIndex], vectors: np.ndarray, tmp_path: Path
    ) -> None:
        resource = pytest.importorskip("resource")
        graph = build(engine, vectors)
        graph.save(str(tmp_path / "whole"))
        n_bytes = (tmp_path / "whole").stat().st_size
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        for room in (1, n_bytes // 2, n_bytes - 1_000, n_bytes - 1):
            # As on a full disk, no file grows beyond this.
            resource.setrlimit(resource.RLIMIT_FSIZE, (room, before[1]))
            try:
                with pytest.raises((OSError, RuntimeError)):
                    graph.save(str(tmp_path / f"cut-{room}"))
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, before)

    def test_zero_vectors_and_many_readers(
        self, engine: type[VectorIndex], vectors: np.ndarray
    ) -> None:
        with_zero = vectors.copy()
        with_zero[7] = 0
        graph = build(engine, with_zero, "cosine")
        expected = graph.search(with_zero[:50], 5, 1).labels

        def ask(_: int) -> bool:
            return bool(np.array_equal(graph.search(with_zero[:50], 5, 1).labels, expected))

        with ThreadPoolExecutor(4) as pool:
            assert all(pool.map(ask, range(20)))
        assert graph.search(np.zeros((1, DIMENSION), np.float32), 3, 1).labels.shape[1] <= 3

    @pytest.mark.parametrize("ef", [2**31, 2**63 - 1])
    def test_a_graph_may_be_asked_to_look_at_everything(
        self, engine: type[VectorIndex], vectors: np.ndarray, ef: int
    ) -> None:
        some = vectors[:500]
        parameters = GraphParameters("l2", DIMENSION, ef_construction=ef, ef_search=ef)
        graph = engine.create(parameters, len(some))
        graph.add(np.arange(len(some)), some, 1)
        graph.set_ef_search(ef)
        found = nearest(graph, some, "l2", some[:50], 1)
        assert (found[:, 0] == np.arange(50)).mean() > 0.9

    @pytest.mark.parametrize("space", ["l2", "cosine", "ip"])
    def test_codes_are_searched_among_the_labels_of_a_mask(
        self, engine: type[VectorIndex], vectors: np.ndarray, space: Space
    ) -> None:
        graph = build(engine, vectors, space)
        if not graph.code_bytes:
            pytest.skip("a graph, not codes")
        gone = np.arange(0, N, 4)
        graph.discard(gone)
        mask = np.arange(N + 50) % 3 == 0
        allowed = np.setdiff1d(np.flatnonzero(mask[:N]), gone)
        found, estimates = graph.search_among(vectors[:20], 50, 0, mask)
        assert np.isin(found, allowed).all()
        exact = exact_search(space, vectors[:20], vectors, len(allowed), labels=allowed)
        distances = np.empty((20, N), dtype=np.float32)
        np.put_along_axis(distances, exact.labels, exact.distances, axis=1)
        errors = np.take_along_axis(distances, found, axis=1) - estimates
        # An estimate is right to a fraction of how far the distances spread.
        assert np.abs(errors).mean() < 0.25 * exact.distances.std()
        few = np.zeros(N, dtype=bool)
        few[[1, 2, 4]] = True
        found = graph.search_among(vectors[:1], 10, 0, few).labels[0]
        assert sorted(found[found >= 0].tolist()) == [1, 2]
        assert (graph.search_among(vectors[:1], 10, 0, few & False).labels == -1).all()

    @pytest.mark.parametrize("space", ["l2", "cosine", "ip"])
    def test_vectors_far_from_zero_and_of_many_lengths(
        self, engine: type[VectorIndex], vectors: np.ndarray, space: Space
    ) -> None:
        graph = build(engine, vectors, space)
        if not graph.code_bytes:
            pytest.skip("a graph, not codes")
        rng = np.random.default_rng(1)
        lengths = rng.lognormal(0, 0.5, (N, 1)).astype(np.float32)
        for changed in (vectors + np.float32(300), vectors * lengths, vectors * np.float32(1e6)):
            graph = build(engine, changed, space)
            assert recall(graph, changed, space) >= 0.9

    @pytest.mark.parametrize("recorded", [1, 2**40])
    def test_a_number_of_links_that_older_versions_took_is_replaced_with_one_warning(
        self,
        engine: type[VectorIndex],
        vectors: np.ndarray,
        recorded: int,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        base._warn_of_neighbors.cache_clear()
        some = vectors[:200]
        for _ in range(2):
            parameters = GraphParameters("l2", DIMENSION, m=recorded)
            assert parameters.m in (2, 10_000)
            graph = engine.create(parameters, len(some))
            graph.add(np.arange(len(some)), some, 1)
            assert len(graph) == len(some)
        assert caplog.text.count(f"max_neighbors={recorded}") == 1
