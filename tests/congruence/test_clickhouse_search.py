"""Searches inside ClickHouse give the answers of searches in this process: the same records, distances and order of ties."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import chroma_nb
from chroma_nb import K, Knn, Search, SparseVector
from chroma_nb.errors import InvalidArgumentError, MemoryBudgetError
from chroma_nb.index import exact
from chroma_nb.settings import Settings
from tests.support.clickhouse import (
    HAS_CLICKHOUSE,
    NO_CLICKHOUSE,
    URL,
    Front,
    at_clickhouse,
    keep_open,
)
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif(not HAS_CLICKHOUSE, reason=NO_CLICKHOUSE)

DIMENSION = 7
SPACES = ("l2", "ip", "cosine")
#: (where, where_document, ids).
FILTERS: list[tuple[Any, Any, Any]] = [
    (None, None, None),
    ({"n": {"$lt": 40}}, None, None),
    ({"$or": [{"tag": "b"}, {"n": {"$gte": 150}}]}, None, None),
    (None, {"$contains": "seven"}, None),
    ({"tag": {"$ne": "a"}}, {"$regex": "^(one|two) "}, None),
    (None, None, [f"r{row}" for row in range(0, 200, 9)]),
    ({"n": {"$gt": 3}}, None, ["r2", "r5", "r7", "nobody"]),
    ({"n": -1}, None, None),
]


class Pair:
    """The same collection in ClickHouse, where it does not fit the budget, and in this process, where it is loaded."""

    def __init__(self, there: Any, here: Any, space: str) -> None:
        self._clients = there, here
        self.both = [
            client.create_collection(
                f"notes-{space}", configuration={"hnsw": {"space": space}}, embedding_function=None
            )
            for client in (there, here)
        ]
        self.there, self.here = self.both

    def do(self, name: str, **given: Any) -> None:
        for one in self.both:
            getattr(one, name)(**given)

    def compact(self) -> None:
        for one, client in zip(self.both, self._clients, strict=True):
            client.api.segments.compact(one.id)

    def check(self, queries: Any, k: int, **asked: Any) -> None:
        assert self._clients[0].api.segments.resident_bytes(self.there.id) == 0
        there, here = (
            one.query(query_embeddings=queries, n_results=k, include=["distances"], **asked)
            for one in self.both
        )
        assert there["ids"] == here["ids"]
        assert there["distances"] == here["distances"]


@pytest.fixture(scope="module")
def clients(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Any, Any]]:
    folder = tmp_path_factory.mktemp("clickhouse")
    settings = Settings(path=str(folder / "store"), progress=False, memory_budget=2_000)
    keep_open(settings)
    with (
        chroma_nb.Client(at_clickhouse(settings)) as there,
        chroma_nb.EphemeralClient(Settings(progress=False, index_engine="exact")) as here,
    ):
        yield there, here


@pytest.fixture
def pair(clients: tuple[Any, Any], request: pytest.FixtureRequest) -> Iterator[Pair]:
    space = request.param
    made = Pair(*clients, space)
    yield made
    for one, client in zip(made.both, clients, strict=True):
        client.delete_collection(one.name)


def filled(pair: Pair, vectors: np.ndarray) -> None:
    words = ["one", "two", "three", "seven"]
    n = len(vectors)
    pair.do(
        "add",
        ids=[f"r{row}" for row in range(n)],
        embeddings=vectors,
        documents=[f"{words[row % 4]} text {row}" for row in range(n)],
        metadatas=[{"n": row, "tag": "abc"[row % 3]} for row in range(n)],
    )


def random_vectors(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, DIMENSION)).astype(np.float32)


@pytest.mark.parametrize("pair", SPACES, indirect=True)
def test_answers_are_those_of_this_process(pair: Pair) -> None:
    vectors = random_vectors(200)
    filled(pair, vectors)
    queries = np.concatenate([vectors[:2], random_vectors(2, seed=1)])

    def check() -> None:
        for where, where_document, ids in FILTERS:
            present = None
            if ids is not None:
                # Chroma refuses unknown ids where there is no filter.
                present = ids if where else pair.here.get(ids=ids, include=[])["ids"]
            for k in (3, 250):
                pair.check(queries, k, where=where, where_document=where_document, ids=present)

    check()
    pair.do("delete", ids=[f"r{row}" for row in range(0, 200, 5)])
    pair.do("update", ids=["r3", "r9"], embeddings=vectors[[4, 8]])
    pair.do("update", ids=["r4", "r11"], metadatas=[{"n": 1_000}, {"tag": "b"}])
    pair.do("upsert", ids=["r5", "new"], embeddings=vectors[[6, 7]], documents=["one more", "x"])
    pair.do("update", ids=["r4", "new"], metadatas=[{"tag": "b"}, {"n": 7}])
    check()
    pair.compact()
    check()
    pair.do("delete", where={"n": {"$lt": 100}})
    pair.do("update", ids=["r151"], metadatas=[{"n": 0}])
    check()


@pytest.mark.parametrize("pair", SPACES, indirect=True)
def test_equal_distances_come_in_storage_order(pair: Pair) -> None:
    """Many records have the same vector, and others one that is equal only once distances are rounded."""
    rng = np.random.default_rng(3)
    base = random_vectors(4)
    vectors = base[rng.integers(0, 4, 600)]
    nearly = rng.random(600) < 0.5
    vectors[nearly] *= np.float32(1) + np.float32(6e-8) * rng.integers(-2, 3, (600, 1))[nearly]
    filled(pair, vectors)
    # Sequence numbers do not rise with labels any more.
    pair.do("update", ids=[f"r{row}" for row in range(40)], embeddings=vectors[40:80])
    pair.do("update", ids=[f"r{row}" for row in range(20, 30)], metadatas=[{"tag": "a"}] * 10)
    queries = np.concatenate([base, base * np.float32(0.5)])
    for k in (1, 5, 100, 599, 600):
        pair.check(queries, k)
    pair.check(queries, 30, where={"tag": "a"})


@pytest.mark.parametrize("pair", SPACES, indirect=True)
def test_whole_numbers(pair: Pair) -> None:
    vectors = np.random.default_rng(5).integers(0, 3, (500, DIMENSION)).astype(np.float32)
    filled(pair, vectors)
    for k in (1, 7, 60):
        pair.check(vectors[:6], k)


@pytest.mark.parametrize("pair", SPACES, indirect=True)
def test_zeros_and_very_long_and_short_vectors(pair: Pair) -> None:
    rng = np.random.default_rng(7)
    scales = np.array([0, 1e-45, 1e-38, 1e-22, 1e-19, 1e-3, 1, 1e3, 1e9, 1e18])
    if pair.here.configuration["hnsw"]["space"] == "cosine":
        scales = np.array([*scales, 1e30, 1e38])
    vectors = (
        rng.uniform(-1, 1, (220, DIMENSION)) * scales[rng.integers(0, len(scales), 220)][:, None]
    ).astype(np.float32)
    vectors[::11] = 0
    filled(pair, vectors)
    queries = vectors[np.argsort(np.abs(vectors).max(axis=1))[::19]]
    for k in (1, 20, 220):
        pair.check(queries, k)


@pytest.mark.parametrize("pair", SPACES, indirect=True)
def test_searches_are_answered_there_too(pair: Pair) -> None:
    vectors = random_vectors(300)
    filled(pair, vectors)
    pair.do("delete", ids=["r7"])
    pair.do("update", ids=["r8", "r9"], embeddings=vectors[[9, 8]])
    near = Knn(query=vectors[8].tolist(), limit=20)
    far = Knn(query=vectors[100].tolist(), limit=30)
    words = Knn(query=SparseVector([1], [1.0]), key=K.DOCUMENT)
    searches = [
        Search().rank(near).limit(5).select(K.SCORE, K.DOCUMENT),
        Search().rank(near * 0.5 + far * 0.5).limit(10).select(K.SCORE, K.EMBEDDING),
        Search().where(K("n") > 50).rank(near).limit(10).select(K.SCORE, "n"),
        Search().where(K("n") < 0).rank(near).limit(10),
        Search().rank(near + words).limit(3).select(K.SCORE),
    ]
    for search in searches:
        there, here = (one.search(search) for one in pair.both)
        assert there["ids"] == here["ids"]
        assert there["scores"] == here["scores"]
        assert there["metadatas"] == here["metadatas"]
    parts = pair.there.explain(search=searches[2])["parts"]
    (plan,) = parts.values()
    assert plan["answered_from"] == "ClickHouse"
    assert plan["strategy"] == "exact over the matches in ClickHouse"
    assert (plan["n_allowed"], plan["n_found"]) == (249, 20)


@pytest.mark.parametrize("pair", ["l2"], indirect=True)
def test_it_is_said_who_answers_and_why(pair: Pair) -> None:
    filled(pair, random_vectors(60))
    plan = pair.there.explain(query_embeddings=random_vectors(1), n_results=5)
    assert plan["strategy"] == "exact in ClickHouse"
    assert plan["reason"] == "the collection is not in memory, and ClickHouse has its vectors"
    assert "do not fit the budget" in plan["held_because"]
    assert (plan["n_live"], plan["n_allowed"], plan["n_found"]) == (60, None, 5)
    plan = pair.there.explain(
        query_embeddings=random_vectors(1), n_results=5, where={"n": {"$lt": 9}}
    )
    assert plan["strategy"] == "exact over the matches in ClickHouse"
    assert (plan["n_allowed"], plan["n_found"]) == (9, 5)
    plan = pair.there.explain(query_embeddings=random_vectors(1), where={"n": {"$lt": -9}})
    assert (plan["strategy"], plan["answered_from"]) == ("empty", "ClickHouse")
    plan = pair.here.explain(query_embeddings=random_vectors(1))
    assert (plan["strategy"], plan["answered_from"]) == ("exact", "memory")


@pytest.mark.parametrize("pair", ["l2"], indirect=True)
def test_a_pattern_that_cannot_be_read_is_refused(pair: Pair) -> None:
    filled(pair, random_vectors(20))
    with pytest.raises(InvalidArgumentError, match=r"\(b"):
        pair.there.query(query_embeddings=random_vectors(1), where_document={"$regex": "a(b"})


# -- graphs in a server -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Settings of a store at a server, where a collection with 500 records may have a graph, and no collection fits."""
    settings = Settings(progress=False, memory_budget=2_000, graph_min_records=500)
    if URL:
        path = str(tmp_path_factory.mktemp("server") / "graphs")
        yield at_clickhouse(settings.replace(path=path))
        return
    front = Front(tmp_path_factory.mktemp("server") / "engine")
    yield settings.replace(db="clickhouse", clickhouse_url=front.url)
    front.kill()


def clustered(n: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(0).standard_normal((40, 24))
    return (centres[rng.integers(0, 40, n)] + 0.3 * rng.standard_normal((n, 24))).astype(np.float32)


class Graph:
    """A collection with a graph in the server, beside its records in plain arrays."""

    def __init__(self, client: Any, space: str) -> None:
        self.space = space
        self.notes = client.create_collection(
            f"graph-{space}", configuration={"hnsw": {"space": space}}, embedding_function=None
        )
        self.vectors: dict[str, np.ndarray] = {}
        self.numbers: dict[str, int] = {}

    def upsert(self, ids: list[str], vectors: np.ndarray) -> None:
        numbers = [int(one[1:]) % 100 for one in ids]
        self.notes.upsert(ids=ids, embeddings=vectors, metadatas=[{"n": n} for n in numbers])
        self.vectors.update(zip(ids, vectors, strict=True))
        self.numbers.update(zip(ids, numbers, strict=True))

    def delete(self, ids: list[str]) -> None:
        self.notes.delete(ids=ids)
        for one in ids:
            del self.vectors[one], self.numbers[one]

    def recall(self, queries: np.ndarray, k: int, most: int | None = None) -> float:
        """Return the share of the nearest that is found; of each record found the distance has to be right."""
        where: Any = None if most is None else {"n": {"$lt": most}}
        ids = [one for one in self.vectors if most is None or self.numbers[one] < most]
        rows = np.stack([self.vectors[one] for one in ids])
        found = self.notes.query(
            query_embeddings=queries, n_results=k, where=where, include=["distances"]
        )
        n_found = 0
        for query, names, distances in zip(queries, found["ids"], found["distances"], strict=True):
            exactly = dict(
                zip(ids, exact.distances(self.space, query, rows).tolist(), strict=True)  # type: ignore[arg-type]
            )
            assert len(names) == len(set(names)) == min(k, len(ids))
            assert distances == [exactly[one] for one in names]
            assert distances == sorted(distances)
            n_found += sum(one <= sorted(exactly.values())[k - 1] for one in distances)
        return n_found / (k * len(queries))


@pytest.mark.parametrize("space", ["l2", "cosine"])
def test_a_graph_in_the_server_finds_the_nearest(server: Settings, space: str) -> None:
    from chroma_nb.db import Clickhouse

    queries = clustered(40, seed=2)
    with chroma_nb.Client(server) as client:
        graph = Graph(client, space)
        ids = [f"r{row}" for row in range(4_000)]
        graph.upsert(ids, clustered(4_000, seed=1))
        graph.delete(ids[::40])

        def plan(**asked: Any) -> dict[str, Any]:
            return dict(graph.notes.explain(query_embeddings=queries[:1], **asked))

        assert plan()["strategy"] == "exact in ClickHouse"
        graph.notes.build_index()
        assert plan()["strategy"] == "graph in ClickHouse"
        assert plan()["n_indexed"] == 3_900
        assert graph.recall(queries, 10) >= 0.99
        # Records that are removed, changed or new since are seen at once.
        nearest = graph.notes.query(query_embeddings=queries, n_results=2)["ids"]
        graph.delete(list(dict.fromkeys(one for one, _ in nearest)))
        graph.upsert(["r0", *ids[41:100]], clustered(60, seed=3))
        graph.notes.update(ids=ids[101:110], metadatas=[{"n": 1}] * 9)
        graph.numbers.update(dict.fromkeys(ids[101:110], 1))
        graph.upsert(
            [f"r{row}" for row in range(5_000, 5_100)], queries[:1] + clustered(100, 4) / 99
        )
        assert graph.recall(queries, 10) >= 0.99
        # Many match: those that the graph finds are filtered. Few match: they are compared. None is missing.
        wide = plan(where={"n": {"$lt": 60}})
        assert wide["strategy"] == "graph, filtered afterwards in ClickHouse"
        assert graph.recall(queries, 10, most=60) >= 0.99
        assert "exact" in plan(where={"n": {"$lt": 1}}, n_results=100)["strategy"]
        assert graph.recall(queries, 20, most=1) == 1.0
        graph.notes.build_index()
        assert plan()["n_indexed"] == graph.notes.count()
        assert graph.recall(queries, 10) >= 0.99
        # Another server finds the graph, too.
        with Clickhouse(server) as other:
            assert (
                other.ranking.n_covered(graph.notes.id) == other.extent(graph.notes.id).next_label
            )
        # A compaction drops it, and it is built anew in the background.
        client.api.segments.compact(graph.notes.id)
        assert graph.recall(queries, 10) >= 0.99
        wait_until(lambda: plan()["strategy"] == "graph in ClickHouse")
        assert plan()["n_indexed"] == graph.notes.count()
        assert graph.recall(queries, 10) >= 0.99
        client.delete_collection(graph.notes.name)


def test_where_a_graph_would_not_be_right_there_is_none(server: Settings) -> None:
    vectors = clustered(1_000, seed=5)
    long = vectors.copy()
    long[500] *= np.float32(1e20)
    with chroma_nb.Client(server) as client:
        for name, space, given in (("products", "ip", vectors), ("long", "l2", long)):
            notes = client.create_collection(
                name, configuration={"hnsw": {"space": space}}, embedding_function=None
            )
            notes.add(ids=[f"r{row}" for row in range(1_000)], embeddings=given)
            with pytest.raises(MemoryBudgetError):
                notes.build_index()
            assert notes.explain(query_embeddings=given[0])["strategy"] == "exact in ClickHouse"
            client.delete_collection(name)
        # A query of zeros is equally far from all in cosine: the first in storage order come.
        notes = client.create_collection(
            "zeros", configuration={"hnsw": {"space": "cosine"}}, embedding_function=None
        )
        vectors[::50] = 0
        notes.add(ids=[f"r{row}" for row in range(1_000)], embeddings=vectors)
        notes.build_index()
        zeros = np.zeros((1, 24), dtype=np.float32)
        assert notes.query(query_embeddings=zeros, n_results=3)["ids"] == [["r0", "r1", "r2"]]
        found = notes.query(query_embeddings=vectors[1], n_results=3, include=["distances"])
        assert found["ids"][0][0] == "r1"
        client.delete_collection("zeros")
