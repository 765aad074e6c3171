"""Unloading is a hint: it frees memory and changes no answer, not by one byte.

The same random history runs on two collections. One of them is unloaded in between, through the
collection or through the client, again and again. Every answer of the two is compared as bytes.
"""

from __future__ import annotations

import itertools
import pickle
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import chroma_nb

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NUMBER = itertools.count()
PARTS = ["documents", "metadatas", "embeddings", "uris"]


@pytest.fixture(scope="module", params=["ephemeral", "persistent"])
def client(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Any]:
    """One store for the module; each example makes its own collections in it."""
    if request.param == "ephemeral":
        client = chroma_nb.EphemeralClient(
            chroma_nb.Settings(allow_reset=True, graph_min_records=500)
        )
    else:
        path = tmp_path_factory.mktemp("unload")
        # What is tested here is not the disk: without fsync a history takes milliseconds.
        values = {"is_persistent": True, "path": str(path / "store"), "fsync": False}
        client = chroma_nb.Client(chroma_nb.Settings(graph_min_records=500, **values))
    with client:
        yield client


# -- random histories ----------------------------------------------------------------------------

ID = st.sampled_from("abcdef")
IDS = st.lists(ID, min_size=1, max_size=4, unique=True)
VECTOR = st.tuples(*[st.sampled_from([-1.5, 0.0, 0.1, 1.0, 2.0])] * 3).map(list)
VALUE = st.sampled_from([1, 1.0, "1", "u", True, ["u", "v"], [1, 2]])
METADATA = st.none() | st.dictionaries(st.sampled_from("xy"), VALUE, min_size=1)
DOCUMENT = st.none() | st.sampled_from(["", "red fox", "Fox\nden", "a%b"])
WHERE = st.none() | st.sampled_from(
    [
        {"x": 1},
        {"x": {"$ne": "u"}},
        {"y": {"$gte": 1}},
        {"x": {"$contains": "u"}},
        {"$or": [{"x": True}, {"y": {"$in": ["1", "u"]}}]},
        {"x": {"$like": 1}},
    ]
)
WHERE_DOCUMENT = st.none() | st.sampled_from(
    [{"$contains": "fox"}, {"$not_contains": "fox"}, {"$regex": "(?i)fox"}, {"$regex": "("}]
)
INCLUDE = st.lists(st.sampled_from(PARTS), unique=True)


@st.composite
def writes(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    method = draw(st.sampled_from(["add", "upsert", "update", "replace"]))
    ids = draw(IDS)
    arguments: dict[str, Any] = {"ids": ids}
    for part, item in (
        ("embeddings", VECTOR),
        ("metadatas", METADATA),
        ("documents", DOCUMENT),
        ("uris", st.none() | st.just("file:///a")),
    ):
        if part == "embeddings" or draw(st.booleans()):
            arguments[part] = draw(st.lists(item, min_size=len(ids), max_size=len(ids)))
    if method == "replace":
        return "add", {**arguments, "on_conflict": "replace"}
    if method == "update" and "documents" not in arguments and draw(st.booleans()):
        del arguments["embeddings"]
    return method, arguments


READS = st.one_of(
    st.fixed_dictionaries(
        {
            "ids": st.none() | IDS,
            "where": WHERE,
            "where_document": WHERE_DOCUMENT,
            "limit": st.none() | st.integers(0, 3),
            "offset": st.none() | st.integers(0, 3),
            "include": INCLUDE,
        }
    ).map(lambda arguments: ("get", arguments)),
    st.fixed_dictionaries(
        {
            "query_embeddings": st.lists(VECTOR, min_size=1, max_size=3),
            "n_results": st.sampled_from([1, 3, 10]),
            "ids": st.none() | IDS,
            "where": WHERE,
            "where_document": WHERE_DOCUMENT,
            "include": INCLUDE.map(lambda parts: [*parts, "distances"]),
        }
    ).map(lambda arguments: ("query", arguments)),
    st.just(("count", {})),
    st.just(("peek", {"limit": 3})),
)
DELETES = st.one_of(
    IDS.map(lambda ids: ("delete", {"ids": ids})),
    WHERE.filter(bool).map(lambda where: ("delete", {"where": where})),
)
MODIFIES = st.sampled_from([("modify", {"metadata": {"m": 1}}), ("build_index", {})])
OPERATION = st.one_of(writes(), writes(), READS, READS, DELETES, MODIFIES)
#: An operation, and how often and by whom the second collection is unloaded after it.
UNLOADS = st.sampled_from(["", "", "collection", "client", "collection client", "other handle"])
HISTORIES = st.lists(st.tuples(OPERATION, UNLOADS), min_size=1, max_size=25)


def answer(collection: Any, method: str, arguments: dict[str, Any]) -> bytes:
    """The answer as bytes; an exception is an answer."""
    try:
        result = getattr(collection, method)(**arguments)
    except Exception as error:
        return f"{type(error).__name__}: {error}".encode()
    if isinstance(result, dict):
        result = sorted(result.items())
    return pickle.dumps(_bytes_of(result))


def _bytes_of(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return (str(value.dtype), value.shape, value.tobytes())
    if isinstance(value, list | tuple):
        return [_bytes_of(item) for item in value]
    return repr(value)


def unload(client: Any, collection: Any, how: str) -> None:
    for who in how.split():
        if who == "client":
            released = client.unload(collection.name)
        elif who == "other":
            released = client.get_collection(collection.name, embedding_function=None).unload()
        elif who == "collection":
            released = collection.unload()
        else:
            continue
        assert type(released) is int
        assert released >= 0


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(history=HISTORIES, space=st.sampled_from(["l2", "cosine", "ip"]))
def test_any_interleaving_of_unloads(client: Any, history: Any, space: str) -> None:
    number = next(NUMBER)
    options: dict[str, Any] = {
        "embedding_function": None,
        "configuration": {"hnsw": {"space": space}},
    }
    kept = client.create_collection(f"kept-{number}", **options)
    unloaded = client.create_collection(f"unloaded-{number}", **options)
    try:
        done = []
        for (method, arguments), how in history:
            done.append(f"{method}({arguments})")
            expected, found = (
                answer(one, method, arguments)
                .replace(str(one.id).encode(), b"ID")
                .replace(one.name.encode(), b"NAME")
                for one in (kept, unloaded)
            )
            assert found == expected, "\n".join(done)
            unload(client, unloaded, how)
            if how:
                done.append(f"unload by {how}")
        for method, arguments in (
            ("count", {}),
            ("get", {"include": PARTS}),
            ("query", {"query_embeddings": [[0.1, 1.0, 2.0]], "include": [*PARTS, "distances"]}),
        ):
            assert answer(unloaded, method, arguments) == answer(kept, method, arguments), done
    finally:
        client.delete_collection(kept.name)
        client.delete_collection(unloaded.name)


def test_limits_after_unload_update_and_delete(client: Any) -> None:
    """Found by chance, so written down: the oldest rows all deleted, the oldest record rewritten.

    DuckDB 2.0.0 answers ``ORDER BY sequence LIMIT 1`` with no row at all then: its row_group_pruner
    trusts the statistics of row groups whose rows are all deleted.
    """
    collection = client.create_collection(f"limits-{next(NUMBER)}", embedding_function=None)
    collection.add(ids=["a", "b", "c"], embeddings=[[1.0], [2.0], [3.0]])
    collection.unload()
    collection.update(ids=["b"], embeddings=[[4.0]])
    collection.delete(ids=["a", "c"])
    collection.unload()
    assert collection.get()["ids"] == ["b"]
    assert collection.get(limit=1)["ids"] == ["b"]
    assert collection.peek(limit=1)["ids"] == ["b"]
    assert collection.get(limit=1, where={"x": {"$ne": 1}})["ids"] == ["b"]
    assert collection.delete(where={"x": {"$ne": 1}}, limit=1) == {"deleted": 1}


# -- what unload says ----------------------------------------------------------------------------


def fill(client: Any, n: int, dimension: int = 32, **options: Any) -> Any:
    collection = client.create_collection(
        f"filled-{next(NUMBER)}", embedding_function=None, **options
    )
    vectors = np.random.default_rng(11).normal(size=(n, dimension)).astype(np.float32)
    collection.add(
        ids=[f"id-{i}" for i in range(n)],
        embeddings=vectors,
        documents=[f"document number {i}" for i in range(n)],
        metadatas=[{"n": i, "third": i % 3} for i in range(n)],
    )
    return collection


def test_unload_of_nothing_is_zero(client: Any) -> None:
    collection = client.create_collection(f"empty-{next(NUMBER)}", embedding_function=None)
    assert collection.unload() == 0
    assert client.unload(collection.name) == 0
    assert collection.count() == 0


def test_unload_returns_bytes_and_is_idempotent(client: Any) -> None:
    collection = fill(client, 400)
    collection.get(where={"third": 1})
    collection.query(query_embeddings=[1.0] * 32)
    released = collection.unload()
    # At least the ids, documents and metadata of 400 records were in memory.
    assert released > 400 * len("document number 1")
    assert collection.unload() == 0
    assert client.unload(collection.name) == 0
    assert collection.count() == 400


def test_each_load_can_be_unloaded_again(client: Any) -> None:
    collection = fill(client, 400)
    before = answer(collection, "query", {"query_embeddings": [[0.5] * 32], "n_results": 7})
    collection.unload()
    for _ in range(3):
        again = answer(collection, "query", {"query_embeddings": [[0.5] * 32], "n_results": 7})
        assert again == before
        assert collection.unload() > 0


def test_unload_of_a_missing_collection(client: Any) -> None:
    with pytest.raises(chroma_nb.errors.NotFoundError):
        client.unload("no-such-collection")
    collection = client.create_collection(f"gone-{next(NUMBER)}", embedding_function=None)
    client.delete_collection(collection.name)
    with pytest.raises(chroma_nb.errors.NotFoundError):
        collection.unload()


def test_results_outlive_what_they_came_from(client: Any) -> None:
    """No answer is a window into memory that unload gives back."""
    collection = fill(client, 400)
    got = collection.get(include=["embeddings"])["embeddings"]
    found = collection.query(query_embeddings=[1.0] * 32, include=["embeddings"])["embeddings"][0]
    copies = got.copy(), found.copy()
    collection.unload()
    other = fill(client, 400, 32)
    other.add(ids="more", embeddings=[9.0] * 32)
    assert np.array_equal(got, copies[0])
    assert np.array_equal(found, copies[1])


# -- with an index -------------------------------------------------------------------------------


@pytest.mark.parametrize("space", ["l2", "cosine", "ip"])
def test_an_index_answers_alike_after_unload(client: Any, space: str) -> None:
    collection = fill(client, 6_000, 128, configuration={"hnsw": {"space": space}})
    collection.build_index()
    queries = np.random.default_rng(12).normal(size=(50, 128)).astype(np.float32)
    calls = [
        {"query_embeddings": queries, "n_results": 10, "include": [*PARTS, "distances"]},
        {"query_embeddings": queries, "n_results": 3, "where": {"third": 1}},
        {"query_embeddings": queries[:5], "n_results": 10, "where": {"n": {"$lt": 40}}},
    ]
    plans = [collection.explain(query_embeddings=queries[:1], n_results=10)["strategy"]]
    before = [answer(collection, "query", call) for call in calls]
    for how in ("collection", "client", "collection client"):
        unload(client, collection, how)
        assert [answer(collection, "query", call) for call in calls] == before, how
        plans.append(collection.explain(query_embeddings=queries[:1], n_results=10)["strategy"])
    assert plans[0] != "exact", "the test was to look at an index"
    assert len(set(plans)) == 1, plans


def test_writes_to_an_unloaded_graph_are_seen(client: Any) -> None:
    collection = fill(client, 4_000, 16)
    collection.build_index()
    collection.unload()
    collection.add(ids="new", embeddings=[50.0] * 16, documents="new")
    collection.update(ids="id-0", embeddings=[60.0] * 16)
    collection.delete(ids="id-1")
    collection.unload()
    found = collection.query(query_embeddings=[[50.0] * 16, [60.0] * 16], n_results=1)
    assert found["ids"] == [["new"], ["id-0"]]
    assert found["distances"] == [[0.0], [0.0]]
    assert collection.count() == 4_000
    assert collection.get(ids=["id-1"])["ids"] == []
    first = collection.query(query_embeddings=np.zeros((1, 16), dtype=np.float32), n_results=4_000)
    assert len(set(first["ids"][0])) == 4_000
    assert "id-1" not in first["ids"][0]


# -- with others at work -------------------------------------------------------------------------


def test_unloading_under_readers(client: Any) -> None:
    """Reading threads see the same answers while another thread unloads all the time."""
    collection = fill(client, 1_000)
    queries = np.random.default_rng(13).normal(size=(4, 32)).astype(np.float32)
    calls: list[tuple[str, dict[str, Any]]] = [
        ("query", {"query_embeddings": queries, "n_results": 5, "include": [*PARTS, "distances"]}),
        ("get", {"where": {"n": {"$in": [3, 333, 999]}}, "include": PARTS}),
        ("get", {"ids": ["id-7", "id-8"], "include": PARTS}),
        ("count", {}),
    ]
    expected = [answer(collection, *call) for call in calls]
    wrong: list[Any] = []
    stop = threading.Event()

    def read(place: int) -> None:
        for turn in range(25):
            at = (place + turn) % len(calls)
            found = answer(collection, *calls[at])
            if found != expected[at]:
                wrong.append((calls[at], found))

    def release() -> None:
        while not stop.wait(0.001):
            try:
                collection.unload()
            except Exception as error:
                wrong.append(error)

    readers = [threading.Thread(target=read, args=(place,)) for place in range(3)]
    unloader = threading.Thread(target=release)
    for thread in (*readers, unloader):
        thread.start()
    for thread in readers:
        thread.join(180)
    stop.set()
    unloader.join(180)
    assert not any(thread.is_alive() for thread in (*readers, unloader))
    assert not wrong, wrong[0]


def test_the_memory_comes_back(tmp_path: Path) -> None:
    """The process's own memory, not our accounting: see also tests/memory."""
    import subprocess
    import sys

    script = """
import sys, gc
import numpy as np, psutil, chroma_nb
client = chroma_nb.Client(sys.argv[1])
collection = client.create_collection("big", embedding_function=None)
n, d = 40_000, 256
collection.add(ids=[str(i) for i in range(n)], embeddings=np.ones((n, d), dtype=np.float32))
collection.query(query_embeddings=[1.0] * d)
gc.collect()
process = psutil.Process()
loaded = process.memory_info().rss
released = collection.unload()
print(released, loaded - process.memory_info().rss)
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "store")],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    released, fell = map(int, done.stdout.split())
    assert released > 0
    assert fell > 0.5 * released, f"unload() says {released:,} bytes, the process fell by {fell:,}"
