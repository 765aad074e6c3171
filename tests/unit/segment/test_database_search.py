"""Searches by bounds that a database gives: however wide they are, the answer is that of an exact search."""

from __future__ import annotations

import dataclasses
import uuid
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pytest

from chroma_nb.db.ranking import Ranked, VectorRanking
from chroma_nb.index import exact
from chroma_nb.segment.database_search import DatabaseSearch
from chroma_nb.types import CollectionInfo

if TYPE_CHECKING:
    from numpy.typing import NDArray

SPACES: Any = ("l2", "ip", "cosine")


@dataclasses.dataclass
class Vectors:
    """What is read of a `VectorSource`."""

    rows: NDArray[np.float32]
    n_read: int = 0

    def read(self, labels: NDArray[np.int64]) -> NDArray[np.float32]:
        self.n_read += len(labels)
        return self.rows[labels]


class PlainRanking(VectorRanking):
    """Ranks arrays, with bounds that are as wide as one wants; its graph finds every other record."""

    name: ClassVar[str] = "arrays"

    def __init__(
        self, rows: NDArray[np.float32], sequences: NDArray[np.int64], width: float
    ) -> None:
        self.rows, self.sequences, self.width = rows, sequences, width
        self.asked: list[tuple[int, int]] = []

    def rank(
        self,
        collection_id: Any,
        query: Any,
        n: int,
        space: Any,
        expression: Any = None,
        **asked: Any,
    ) -> Ranked:
        fetch = asked.get("fetch", 0)
        self.asked.append((n, fetch))
        distances = exact.distances(space, query, self.rows)
        shift = np.random.default_rng(n).uniform(0, self.width, len(self.rows)).astype(np.float32)
        below, above = distances - shift, distances + np.float32(self.width)
        order = np.lexsort((self.sequences, below))
        if fetch:
            order = order[::2]
        order = order[:n]
        return Ranked(order, self.sequences[order], below[order], above[order])

    def count(self, collection_id: Any, expression: Any = None, **asked: Any) -> int:
        return len(self.rows)


def made(
    width: float, space: Any = "l2", seed: int = 0
) -> tuple[DatabaseSearch, PlainRanking, Vectors]:
    rng = np.random.default_rng(seed)
    # Many are equal, and the order of storage is not that of labels.
    rows = rng.integers(0, 3, (400, 4)).astype(np.float32)
    ranking = PlainRanking(rows, rng.permutation(400), width)
    info = CollectionInfo(uuid.uuid4(), "notes", "t", "d", {"hnsw": {"space": space}})
    vectors = Vectors(rows)
    source: Any = lambda: vectors  # noqa: E731
    return DatabaseSearch(ranking, info, 400, source), ranking, vectors


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("width", [0.0, 1e-6, 0.3, 5.0])
def test_the_answer_is_that_of_an_exact_search(width: float, space: Any) -> None:
    for seed in range(3):
        search, ranking, vectors = made(width, space, seed)
        queries = np.concatenate([vectors.rows[:2], np.zeros((1, 4), dtype=np.float32)])
        for k in (1, 10, 399, 400):
            expected = exact.search(space, queries, vectors.rows, k, order=ranking.sequences)
            found = search.search(queries, k, None, None)
            assert found.labels.tolist() == expected.labels.tolist()
            assert found.distances.tolist() == expected.distances.tolist()


def test_bounds_that_settle_a_distance_spare_its_vector() -> None:
    search, ranking, vectors = made(0.0)
    search.search(vectors.rows[:5], 10, None, None)
    assert vectors.n_read == 0
    assert len(ranking.asked) == 5, "once for each query, ties included"


def test_more_are_asked_for_until_none_can_be_nearer() -> None:
    search, ranking, vectors = made(2.5)
    search.search(vectors.rows[:1], 1, None, None)
    asked = [n for n, _ in ranking.asked]
    assert asked == sorted(asked)
    assert len(asked) > 1


def test_a_graph_that_finds_too_few_is_followed_by_all_records() -> None:
    search, ranking, vectors = made(0.0)
    found = search.search(vectors.rows[:1], 10, None, None, fetch=12)
    assert found.labels.shape == (1, 10)
    assert ranking.asked == [(10, 28)]
    ranking.asked.clear()
    found = search.search(vectors.rows[:1], 300, None, None, fetch=300)
    expected = exact.search("l2", vectors.rows[:1], vectors.rows, 300, order=ranking.sequences)
    assert found.labels.tolist() == expected.labels.tolist()
    assert [fetch for _, fetch in ranking.asked] == [337, 0]


def test_without_records_that_match_nothing_comes() -> None:
    _, ranking, vectors = made(0.0)
    ranking.rows, ranking.sequences = ranking.rows[:0], ranking.sequences[:0]
    info = CollectionInfo(uuid.uuid4(), "notes", "t", "d", {"hnsw": {"space": "l2"}})
    source: Any = lambda: vectors  # noqa: E731
    found = DatabaseSearch(ranking, info, 400, source).search(vectors.rows[:3], 5, None, None)
    assert (found.labels.shape, found.distances.shape) == ((3, 0), (3, 0))
    assert len(ranking.asked) == 1
