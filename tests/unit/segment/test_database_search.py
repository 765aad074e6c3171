"""Searches by bounds that a database gives: however wide they are, the answer is that of an exact search."""

from __future__ import annotations

import dataclasses
import uuid
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pytest

import chroma_nb
from chroma_nb import K, Knn, Search, Val
from chroma_nb.db import DuckDB
from chroma_nb.db.ranking import Ranked, VectorRanking
from chroma_nb.index import exact
from chroma_nb.segment.database_search import DatabaseSearch
from chroma_nb.settings import Settings
from chroma_nb.types import CollectionInfo
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

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


# -- from a client ----------------------------------------------------------------------------------


class StoredRanking(VectorRanking):
    """Ranks what a DB has; its graph finds every other record."""

    name: ClassVar[str] = "the test"
    has_graphs = True

    def __init__(self, db: RankedDuckDB) -> None:
        self._db = db

    def rank(
        self,
        collection_id: uuid.UUID,
        query: NDArray[np.float32],
        n: int,
        space: Any,
        expression: Any = None,
        *,
        ids: Any = None,
        fetch: int = 0,
    ) -> Ranked:
        self._db.n_ranked += 1
        labels = self._db.select(collection_id, expression, ids=ids)
        sequences = self._db.fetch(collection_id, labels, ()).sequences
        distances = exact.distances(space, query, self._db.vectors(collection_id).read(labels))
        order = np.lexsort((sequences, distances))[:: 2 if fetch else 1][:n]
        return Ranked(labels[order], sequences[order], distances[order], distances[order])

    def count(
        self,
        collection_id: uuid.UUID,
        expression: Any = None,
        *,
        ids: Any = None,
        roughly: bool = False,
    ) -> int:
        return len(self._db.select(collection_id, expression, ids=ids))

    def n_covered(self, collection_id: uuid.UUID) -> int:
        return self._db.covered.get(collection_id, 0)

    def build(self, collection_id: uuid.UUID, space: Any, on_labels: Any = None) -> bool:
        self._db.covered[collection_id] = self._db.extent(collection_id).next_label
        return True


class RankedDuckDB(DuckDB):
    """A DB that compares vectors itself."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.n_ranked = 0
        self.covered: dict[uuid.UUID, int] = {}

    @property
    def ranking(self) -> VectorRanking:
        return StoredRanking(self)


@pytest.fixture
def both() -> Iterator[tuple[Any, Any, Any]]:
    """A collection that does not fit into memory, the same where it is loaded, and the first one's DB."""
    kind = f"{__name__}:RankedDuckDB"
    here = Settings(progress=False, index_engine="exact")
    there = Settings(db=kind, progress=False, memory_budget=2_000, graph_min_records=100)
    vectors = np.random.default_rng(0).integers(0, 4, (4_000, 24)).astype(np.float32)
    with chroma_nb.Client(there) as first, chroma_nb.EphemeralClient(here) as second:
        made = [one.create_collection("notes", embedding_function=None) for one in (first, second)]
        for one in made:
            one.add(
                ids=[f"r{row}" for row in range(4_000)],
                embeddings=vectors,
                metadatas=[{"n": row} for row in range(4_000)],
            )
            one.delete(ids=["r3", "r4"])
            one.update(ids=["r5"], embeddings=vectors[6:7])
        db: Any = first.api.db  # type: ignore[attr-defined]
        yield (*made, db)


def test_a_collection_that_does_not_fit_is_ranked_by_its_db(both: tuple[Any, Any, Any]) -> None:
    there, here, db = both
    queries = np.eye(24, dtype=np.float32)[:2]
    for asked in ({}, {"where": {"n": {"$lt": 40}}}, {"ids": ["r5", "r7"]}, {"where": {"n": -1}}):
        before = db.n_ranked
        found, expected = (
            one.query(query_embeddings=queries, n_results=12, **asked) for one in (there, here)
        )
        assert db.n_ranked > before
        assert found["ids"] == expected["ids"]
        assert found["distances"] == expected["distances"]
    near = Knn(query=queries[0].tolist(), limit=30)
    for search in (Search().rank(near), Search().where(K("n") > 100).rank(near + Val(1)).limit(5)):
        assert there.search(search)["ids"] == here.search(search)["ids"]
    plan = there.explain(query_embeddings=queries[0], where={"n": {"$lt": 40}})
    assert (plan["strategy"], plan["n_allowed"]) == ("exact over the matches in the test", 38)
    assert (plan["answered_from"], here.explain(query_embeddings=queries[0])["answered_from"]) == (
        "the test",
        "memory",
    )


def test_a_graph_in_the_db_is_asked_where_it_was_built(both: tuple[Any, Any, Any]) -> None:
    there, _, db = both
    query = np.ones(24, dtype=np.float32)

    def strategy(**asked: Any) -> str:
        return str(there.explain(query_embeddings=query, n_results=2, **asked)["strategy"])

    assert strategy() == "exact in the test"
    there.build_index()
    assert strategy() == "graph in the test"
    assert strategy(where={"n": {"$gte": 10}}) == "graph, filtered afterwards in the test"
    assert strategy(where={"n": 10}) == "exact over the matches in the test"
    assert len(there.query(query_embeddings=query, n_results=3_998)["ids"][0]) == 3_998
    # Vectors that no graph can compare.
    assert there.explain(query_embeddings=0 * query)["strategy"] == "exact in the test"
    assert there.explain(query_embeddings=1e20 * query)["strategy"] == "exact in the test"
    # A compaction has it built anew.
    db.covered.clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(StoredRanking, "n_covered", lambda *_: 1)
        there._client.api.segments.compact(there.id)
    wait_until(lambda: db.covered)
