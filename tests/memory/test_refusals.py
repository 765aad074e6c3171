"""Whatever is refused for want of memory names ways out, and these work when they are followed."""

from __future__ import annotations

import contextlib
import re
import shutil
from typing import TYPE_CHECKING, Any, ClassVar

import duckdb
import numpy as np
import pytest

import chroma_nb
from chroma_nb.db.memory_share import MemoryShare, with_more_memory
from chroma_nb.errors import MemoryBudgetError
from chroma_nb.memory import preflight
from chroma_nb.memory.pressure import PRESSURE
from chroma_nb.memory.sizes import format_bytes
from chroma_nb.memory.workspace import WORKSPACE
from chroma_nb.search import GroupBy, K, Knn, MinK, Search, Sum
from chroma_nb.transfer.arrow import table_bytes
from chroma_nb.transfer.stores import place_of
from tests.memory.fakes import MIB, PLENTY, FakeMachine, tight

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

N = 8_000
VECTORS = np.random.default_rng(4).standard_normal((N, 64), dtype=np.float32)
IDS = [f"id{row}" for row in range(N)]
TEXTS = [f"{row:0200}" for row in range(N)]


SETTINGS: dict[str, Any] = {
    "progress": False,
    "fsync": False,
    "graph_min_records": 5_000,
    "memory_budget": "400 MB",
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of two collections, `one` and `two`, of which the first has a graph."""
    path = tmp_path_factory.mktemp("made") / "store"
    with chroma_nb.PersistentClient(path, chroma_nb.Settings(**SETTINGS)) as client:
        for name, n in (("one", N), ("two", 2_000)):
            docs = client.create_collection(name, embedding_function=None)
            docs.add(
                ids=IDS[:n],
                embeddings=VECTORS[:n],
                documents=TEXTS[:n],
                metadatas=[{"row": row} for row in range(n)],
            )
        docs_of(client).build_index()
    return path


@pytest.fixture
def client(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A copy of it, loaded."""
    # What is refused is what these tests say, not what watches this machine.
    monkeypatch.setattr(PRESSURE, "watch", lambda: None)
    shutil.copytree(made, tmp_path / "store")
    settings = chroma_nb.Settings(**SETTINGS)
    with chroma_nb.PersistentClient(tmp_path / "store", settings) as client:
        client.memory.load("one")
        client.memory.load("two")
        yield client


def docs_of(client: Any, name: str = "one") -> Any:
    return client.get_collection(name, embedding_function=None)


def refused(call: Callable[[], object]) -> tuple[MemoryBudgetError, list[str]]:
    """Return the error of a call, and the ways out that it names."""
    with pytest.raises(MemoryBudgetError) as found:
        call()
    error = found.value
    said = str(error)
    assert f"needs about {format_bytes(error.need)}; {format_bytes(error.free)} are free" in said
    assert error.need > error.free >= 0
    ways = re.search(r"Ways out: (.+)\.$", said)
    assert ways is not None, said
    found_ways = ways[1].split("; or ")
    assert len(found_ways) >= 2, said
    return error, found_ways


def code_of(ways: list[str], start: str) -> str:
    """Return the code of the way out that begins with these words."""
    (code,) = [way.removeprefix(start + ": ") for way in ways if way.startswith(start + ": ")]
    return code


def follow(client: Any, ways: list[str], start: str) -> None:
    exec(code_of(ways, start), {"client": client})


def set_budget(client: Any, value: int | str) -> None:
    client.memory.budget = value


# -- budgets and pins -------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["raise", "unpin"])
def test_a_budget_below_what_is_pinned(client: Any, way: str) -> None:
    client.memory.unload_all()
    client.memory.pin("one")
    pinned = client.memory.report().used
    _, ways = refused(lambda: set_budget(client, "1 MB"))
    assert client.memory.budget == 400_000_000
    preview = client.memory.preview("1 MB")
    assert (list(preview), preview.refused.partition(" needs ")[0]) == (
        [],
        str(_).partition(" needs ")[0],
    )
    if way == "raise":
        follow(client, ways, "choose a budget that has room for it")
        assert client.memory.budget == client.memory.report().used == pinned
        assert client.memory.preview(pinned) == []
    else:
        assert code_of(ways, "unpin one of them") == "client.memory.unpin(name)"
        assert "(one)" in str(_)
        client.memory.unpin("one")
        assert [gone.collection for gone in client.memory.preview("1 MB")] == ["one"]
        set_budget(client, "1 MB")
        assert client.memory.budget == 1_000_000
    assert repr(preview).startswith("Preview('1 MB' would be refused: ")
    assert repr(client.memory.preview("400 MB")) == "Preview('400 MB' would unload nothing)"


def test_a_preview_lists_what_is_done_then(client: Any) -> None:
    client.memory.pin("two")
    pinned = next(one for one in client.memory.report().collections if one.name == "two")
    budget = pinned.resident_bytes + 1_000
    assert [gone.collection for gone in client.memory.preview(budget)] == ["one"]
    set_budget(client, budget)
    assert client.memory.report().used == pinned.resident_bytes


def test_loading_beside_a_pin(client: Any) -> None:
    client.memory.pin("two")
    set_budget(client, client.memory.report().collections[1].resident_bytes + 10_000)
    _, ways = refused(lambda: client.memory.load("one"))
    assert "leave it on disk: every query is answered from there, exactly" in ways
    assert docs_of(client).query(query_embeddings=VECTORS[5], n_results=1)["ids"] == [["id5"]]
    follow(client, ways, "raise the budget")
    assert client.memory.load("one") > 0
    assert {one.state for one in client.memory.report().collections} == {"loaded"}
    refused(lambda: set_budget(client, 1_000))


def test_pinning_what_does_not_fit(client: Any) -> None:
    set_budget(client, 100_000)
    _, ways = refused(lambda: client.memory.pin("one"))
    assert not any(one.pinned for one in client.memory.report().collections)
    follow(client, ways, "raise the budget")
    client.memory.pin("one")
    assert [one.pinned for one in client.memory.report().collections] == [True, False]


def test_loading_while_the_machine_is_short_does_not_blame_the_budget(
    client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.memory.unload_all()
    monkeypatch.setattr(PRESSURE, "reserve", lambda: 16 * MIB)
    machine = tight(monkeypatch, MIB)
    for ask in (
        lambda: client.memory.load("one"),
        lambda: client.memory.pin("one"),
        docs_of(client).build_index,
    ):
        error, ways = refused(ask)
        assert "budget = " not in str(error)
        assert ways[0].startswith("make room on the machine")
    assert docs_of(client).query(query_embeddings=VECTORS[5], n_results=1)["ids"] == [["id5"]]
    machine.n_bytes = PLENTY
    client.memory.pin("one")
    assert client.memory.budget == 400_000_000


@pytest.mark.parametrize("way", ["raise the budget", "unpin it"])
def test_a_pinned_collection_that_outgrows_the_budget(client: Any, way: str) -> None:
    client.memory.pin("two")
    set_budget(client, client.memory.report().collections[1].resident_bytes + 20_000)
    more: dict[str, Any] = {
        "ids": [f"more{row}" for row in range(2_000)],
        "embeddings": VECTORS[:2_000],
        "documents": TEXTS[:2_000],
    }
    docs = docs_of(client, "two")
    error, ways = refused(lambda: docs.add(**more))
    assert "which is pinned" in str(error)
    state = client.memory.report().collections[1]
    assert (docs.count(), state.pinned, state.state) == (2_000, True, "loaded")
    follow(client, ways, way)
    docs.add(**more)
    state = client.memory.report().collections[1]
    assert docs.count() == 4_000
    assert state.pinned == (way == "raise the budget")
    assert state.state == "loaded" or not state.pinned


# -- graphs -----------------------------------------------------------------------------------


def test_a_graph_that_does_not_fit(client: Any) -> None:
    client.memory.unload_all()
    docs = docs_of(client)
    docs.add(ids=["last"], embeddings=VECTORS[:1], documents=["last"])
    set_budget(client, 100_000)
    steps = []
    while not steps or steps[-1] != "built":
        try:
            docs.build_index()
            steps.append("built")
        except MemoryBudgetError as error:
            steps.append(str(error).partition(" of collection")[0].partition(" [")[0])
            assert docs.query(query_embeddings=VECTORS[5], n_results=1)["ids"] == [["id5"]]
            follow(
                client,
                str(error).partition("Ways out: ")[2][:-1].split("; or "),
                "raise the budget",
            )
    # First for the collection, then for its graph; and then it is there.
    assert steps == ["Collection", "The smallest index", "built"]
    assert docs.get_indexing_status().num_unindexed_ops == 0


def test_a_graph_that_was_stopped_for_others_sake(
    client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    docs = client.create_collection("three", embedding_function=None)
    monkeypatch.setattr(PRESSURE, "is_on", True)
    docs.add(ids=IDS, embeddings=VECTORS)
    with pytest.raises(MemoryBudgetError, match="was not finished") as found:
        docs.build_index()
    said = str(found.value)
    assert "make room, and call build_index() again" in said
    assert "queries stay exact" in said
    assert docs.query(query_embeddings=VECTORS[5], n_results=1)["ids"] == [["id5"]]
    monkeypatch.setattr(PRESSURE, "is_on", False)
    docs.build_index()
    assert docs.get_indexing_status().num_unindexed_ops == 0


# -- answers ----------------------------------------------------------------------------------


def test_get(client: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    docs = docs_of(client)
    tight(monkeypatch, 5 * MIB)
    everything = ["embeddings", "documents", "metadatas"]
    error, ways = refused(lambda: docs.get(include=everything))
    assert str(error).startswith("get() of 8,000 records of collection [one]")
    assert code_of(ways, "ask for them in parts") == "get(limit=..., offset=...)"
    found = [
        one
        for start in range(0, N, 1_000)
        for one in docs.get(limit=1_000, offset=start, include=everything)["ids"]
    ]
    assert found == IDS
    assert code_of(ways, "ask for less of each, for their ids alone") == "include=[]"
    assert docs.get(include=[])["ids"] == IDS
    assert code_of(ways, "write them to a file") == "collection.export(path)"
    assert docs.export(tmp_path / "out.parquet") == N


def test_get_of_ids_alone_is_not_told_to_ask_for_less(
    client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    docs = docs_of(client)
    docs.upsert(ids=["i" * 30_000 + str(row) for row in range(300)], embeddings=VECTORS[:300])
    tight(monkeypatch, 5 * MIB)
    _, ways = refused(lambda: docs.get(include=[]))
    assert [way.partition(":")[0] for way in ways] == [
        "ask for them in parts",
        "write them to a file",
    ]
    assert len(docs.get(limit=100, offset=N, include=[])["ids"]) == 100


READERS: dict[str, Callable[[Any, Path], object]] = {
    "get": lambda docs, _: docs.get(include=[]),
    "peek": lambda docs, _: docs.peek(limit=300),
    "to_pandas": lambda docs, _: docs.to_pandas(include=[]),
    "plot": lambda docs, _: docs.plot(),
}
#: What goes piece by piece, and so answers however little is free.
SCANS: dict[str, Callable[[Any, Path], int]] = {
    "to_arrow": lambda docs, _: sum(one.num_rows for one in docs.to_arrow(batches=True)),
    "export": lambda docs, path: docs.export(path / "out.parquet"),
    "fork": lambda docs, _: docs.fork("forked").count(),
}


@pytest.mark.parametrize("method", READERS)
def test_a_refusal_names_the_method_that_was_called(
    client: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    docs = client.create_collection("long", embedding_function=None)
    docs.add(
        ids=["i" * 30_000 + str(row) for row in range(300)],
        embeddings=VECTORS[:300],
        metadatas=[{"row": row} for row in range(300)],
    )
    if method == "to_pandas":
        pytest.importorskip("pandas")
    if method == "plot":
        pytest.importorskip("matplotlib")
    tight(monkeypatch, 5 * MIB)
    error, ways = refused_once(lambda: READERS[method](docs, tmp_path))
    assert str(error).startswith(f"{method}() of 300 records of collection [long] needs")
    said = "; ".join(ways)
    assert ("export" in said) == (method in ("get", "peek", "to_pandas"))
    if method == "plot":
        assert ways == ["show fewer of them: plot(limit=1_000)"]
        assert len(docs.plot(limit=50).to_pandas()) == 50
        return
    assert "get(limit=..., offset=...)" in said
    assert len(docs.get(limit=100, offset=100, include=[])["ids"]) == 100


@pytest.mark.parametrize("method", SCANS)
def test_a_scan_needs_no_room_for_all_ids(
    client: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    docs = client.create_collection("long", embedding_function=None)
    docs.add(ids=["i" * 30_000 + str(row) for row in range(300)], embeddings=VECTORS[:300])
    if method in ("to_arrow", "export"):
        pytest.importorskip("pyarrow")
    tight(monkeypatch, 5 * MIB)
    assert SCANS[method](docs, tmp_path) == 300


@pytest.mark.parametrize("is_loaded", [True, False])
def test_texts_that_take_more_than_the_sample_showed(
    client: Any, is_loaded: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    docs = client.create_collection("long", embedding_function=None)
    texts = [("" if row == 0 else "\N{GRINNING FACE}") + "x" * 2_000_000 for row in range(12)]
    for row, text in enumerate(texts):
        docs.add(ids=[str(row)], embeddings=VECTORS[row : row + 1], documents=[text])
    (client.memory.load if is_loaded else client.memory.unload)("long")
    # One emoji makes four bytes of each character: 90 MB in all, where 24 MB are looked for at first.
    monkeypatch.setattr("chroma_nb.segment.resident_set.ResidentSet.lend", lambda *_: 0)
    tight(monkeypatch, 60 * MIB)
    error, ways = refused(lambda: docs.get())
    assert "The texts read so far were discarded" in str(error)
    assert code_of(ways, "ask for them in parts") == "get(limit=..., offset=...)"
    assert docs.get(limit=3, offset=2)["documents"] == texts[2:5]


@pytest.mark.parametrize("is_loaded", [True, False])
def test_metadata_is_not_measured_by_how_short_the_ids_are(
    client: Any, is_loaded: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    docs = client.create_collection("keys", embedding_function=None)
    metadatas = [{"text": "x" * 50_000, "row": row} for row in range(200)]
    docs.add(ids=IDS[:200], embeddings=VECTORS[:200], metadatas=metadatas)
    (client.memory.load if is_loaded else client.memory.unload)("keys")
    tight(monkeypatch, 30 * MIB)
    assert docs.get(include=["metadatas"])["metadatas"] == metadatas


def test_query(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    docs = docs_of(client)
    tight(monkeypatch, 2 * MIB)
    many: dict[str, Any] = {
        "query_embeddings": VECTORS[:200],
        "include": ["documents", "metadatas"],
    }
    error, ways = refused(lambda: docs.query(n_results=200, **many))
    assert str(error).startswith("query() for 40,000 results from collection [one]")
    assert ways == ["send fewer queries in one call", "ask for fewer results: n_results=10"]
    fewer = docs.query(query_embeddings=VECTORS[:2], n_results=200)
    assert [row[0] for row in fewer["ids"]] == IDS[:2]
    assert [len(row) for row in docs.query(n_results=10, **many)["ids"]] == [10] * 200


@pytest.mark.parametrize("is_loaded", [True, False])
def test_search(client: Any, is_loaded: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    docs = docs_of(client)
    if not is_loaded:
        client.memory.unload("one")
        monkeypatch.setattr("chroma_nb.segment.resident_set.ResidentSet.may_fit", lambda *_: False)
    tight(monkeypatch, 4 * MIB)
    monkeypatch.setattr("chroma_nb.segment.resident_set.ResidentSet.lend", lambda *_: 0)
    near = Knn(VECTORS[7], limit=N)
    error, ways = refused(lambda: docs.search(Search(rank=near).select_all()))
    assert str(error).startswith("search() for 8,000 results from collection [one]")
    assert ways == ["ask for fewer results: Search(limit=10)", "select less of each: K.SCORE alone"]
    assert docs.search(Search(rank=near, limit=10).select_all())["ids"][0][0] == "id7"
    assert len(docs.search(Search(rank=near).select(K.SCORE))["ids"][0]) == N
    # What the parts of a rank find, which is there until the page is cut; and numbers for each record of theirs.
    error, ways = refused(lambda: docs.search(Search(rank=Sum([near] * 60), limit=10)))
    assert str(error).startswith("search() with 480,000 neighbours of its Knn in collection [one]")
    assert ways[0] == "give each Knn a smaller limit="
    deep: Any = near
    for _ in range(60):
        deep = deep.abs()
    error, _ = refused(lambda: docs.search(Search(rank=deep, limit=10)))
    assert str(error).startswith("search() with 8,000 candidates in collection [one]")
    assert docs.search(Search(rank=Sum([Knn(VECTORS[7], limit=50)] * 60)))["ids"][0][0] == "id7"
    grouped = GroupBy([f"row{at}" for at in range(40)], MinK(K.SCORE, 1))
    error, _ = refused(lambda: docs.search(Search(rank=near, group_by=grouped)))
    assert str(error).startswith("search() in groups with 8,000 records of collection [one]")


def test_a_search_by_words_of_many_parts(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    bears = client.create_collection("bears", embedding_function=None)
    bears.add(ids=IDS, embeddings=VECTORS[:, :2], documents=["a bear"] * N)
    assert bears.search("bear", by="words")["ids"][0][:2] == IDS[:2]
    tight(monkeypatch, 4 * MIB)
    monkeypatch.setattr("chroma_nb.segment.resident_set.ResidentSet.lend", lambda *_: 0)
    # What one part finds is small, and what sixty find is not.
    words = Knn("bear", key=K.DOCUMENT, limit=N)
    assert bears.search(Search(rank=words, limit=2))["ids"] == [IDS[:2]]
    error, ways = refused(lambda: bears.search(Search(rank=Sum([words] * 60), limit=2)))
    assert "neighbours of its Knn in collection [bears]" in str(error)
    assert ways[0] == "give each Knn a smaller limit="


def test_a_map(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    docs = docs_of(client)
    tight(monkeypatch, 2 * MIB)
    error, ways = refused_once(lambda: docs.plot(limit=N))
    assert str(error).startswith("A map of 8,000 embeddings of 64 dimensions")
    assert ways == ["show fewer of them: plot(limit=1_000)"]
    assert len(docs.plot(limit=1_000).to_pandas()) == 1_000


def test_a_map_counts_its_texts(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    long = client.create_collection("long", embedding_function=None)
    long.add(ids=IDS[:400], embeddings=VECTORS[:400], documents=["x" * 20_000] * 400)
    tight(monkeypatch, 5 * MIB)
    error, _ = refused_once(lambda: long.plot())
    assert str(error).startswith("A map of 400 embeddings of 64 dimensions")
    assert len(long.plot(limit=100).to_pandas()) == 100


def refused_once(call: Callable[[], object]) -> tuple[MemoryBudgetError, list[str]]:
    with pytest.raises(MemoryBudgetError) as found:
        call()
    return found.value, str(found.value).partition("Ways out: ")[2][:-1].split("; or ")


# -- what is asked of the machine beforehand --------------------------------------------------


def machine_with(monkeypatch: pytest.MonkeyPatch, n_bytes: int) -> None:
    """Let whatever looks before it begins find so much free."""
    monkeypatch.setattr(preflight, "MACHINE", FakeMachine(n_bytes + preflight._HEADROOM_BYTES))


class Embedder(chroma_nb.EmbeddingFunction):  # type: ignore[misc]
    """Embeds a text as its number."""

    @staticmethod
    def name() -> str:
        return "number"

    def get_config(self) -> dict[str, Any]:
        return {}

    @staticmethod
    def build_from_config(config: dict[str, Any]) -> Embedder:
        return Embedder()

    def __call__(self, input: list[str]) -> list[Any]:
        return list(np.asarray([[float(text)] * 1_000 for text in input], dtype=np.float32))


def test_embedding(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    docs = client.create_collection("embedded", embedding_function=Embedder())
    docs.add(ids=["first"], documents=["0"])
    docs = client.get_collection("embedded", embedding_function=Embedder())
    machine_with(monkeypatch, 1)
    texts = [str(row) for row in range(4_000)]
    _, ways = refused(lambda: docs.add(ids=IDS[:4_000], documents=texts))
    words, _, number = ways[0].rpartition(" ")
    assert words == "add them in parts of"
    step = int(number.replace(",", ""))
    for start in range(0, len(texts), step):
        part = slice(start, min(start + step, len(texts)))
        docs.add(ids=IDS[part], documents=texts[part])
    assert docs.count() == 4_001
    assert (
        ways[1] == "make room on the machine: delete arrays, or restart notebooks that are not used"
    )


def test_to_arrow(client: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pyarrow")
    docs = docs_of(client)
    wide = client.create_collection("wide", embedding_function=None)
    wide.add(ids=IDS[:4_000], embeddings=np.ones((4_000, 600), np.float32))
    machine_with(monkeypatch, 10 * MIB)
    error, ways = refused(wide.to_arrow)
    assert str(error).startswith("to_arrow() of 4,000 records")
    assert "choose some: to_arrow(where=...)" in ways
    assert any("collection.export(path)" in way for way in ways)
    assert wide.export(tmp_path / "wide.parquet") == 4_000
    assert docs.to_arrow(where={"row": {"$lt": 10}}).num_rows == 10


def test_what_is_loaded_gives_way_to_what_is_looked_at_beforehand(
    client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pyarrow")
    wide = client.create_collection("wide", embedding_function=None)
    wide.add(ids=IDS[:4_000], embeddings=np.ones((4_000, 600), np.float32))
    wide.unload()
    loaded = client.memory.report().used
    # What is wanted lacks a byte, until a collection has gone.
    need = table_bytes(4_000, place_of(wide).record_bytes() or 0)
    machine = FakeMachine(
        need + preflight._HEADROOM_BYTES - 1 + loaded, held=lambda: client.memory.report().used
    )
    monkeypatch.setattr(preflight, "MACHINE", machine)
    assert wide.to_arrow().num_rows == 4_000
    assert client.memory.report().used < loaded


def test_an_import_of_a_file_with_one_large_row_group(
    client: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pq = pytest.importorskip("pyarrow.parquet")
    long = client.create_collection("long", embedding_function=None)
    long.add(ids=IDS, embeddings=VECTORS, documents=[f"{row:03000}" for row in range(N)])
    path = tmp_path / "long.parquet"
    long.export(path)
    table = pq.read_table(path)
    pq.write_table(table, path, row_group_size=N)
    machine_with(monkeypatch, 32 * MIB)
    error, ways = refused(lambda: client.import_(path, "imported"))
    assert str(error).startswith("Reading row group 0 (8,000 rows) of the file")
    assert ways[1] == "read it where there is more memory"
    copy = tmp_path / "long.smaller.parquet"
    exec(code_of(ways, f"write it anew with smaller row groups, and import {str(copy)!r}"), {})
    assert client.import_(copy, "imported").count() == N
    found = docs_of(client, "imported").get(ids=[IDS[77]], include=["documents", "embeddings"])
    assert found["documents"] == [f"{77:03000}"]
    assert np.array_equal(found["embeddings"][0], VECTORS[77])


def test_sql(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    long = client.create_collection("long", embedding_function=None)
    long.add(ids=IDS[:4_000], embeddings=VECTORS[:4_000], documents=["x" * 20_000] * 4_000)
    machine_with(monkeypatch, 1)
    error, ways = refused_once(lambda: client.sql("SELECT * FROM long"))
    assert str(error).startswith("An answer of 4,000 rows with 80.0 MB of texts needs")
    assert ways[0] == "ask for fewer rows (LIMIT) or for fewer columns"
    assert len(client.sql("SELECT * FROM long LIMIT 10")) == 10
    assert len(client.sql("SELECT id FROM long")) == 4_000
    assert ways[1] == "let SQL count or add up instead"
    assert client.sql("SELECT count(*) AS n FROM long")["n"][0] == 4_000


def test_sql_of_embeddings(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    wide = client.create_collection("wide", embedding_function=None)
    wide.add(ids=IDS[:3_000], embeddings=np.ones((3_000, 2_000), dtype=np.float32))
    machine_with(monkeypatch, 1)
    error, ways = refused_once(lambda: client.sql("SELECT id, embedding FROM wide"))
    assert str(error).startswith("An answer of 3,000 rows with 24.0 MB of embeddings needs")
    assert ways[0] == "ask for fewer rows (LIMIT) or for fewer columns"
    assert len(client.sql("SELECT id, embedding FROM wide LIMIT 10")) == 10
    assert len(client.sql("SELECT id FROM wide")) == 3_000


def test_sql_that_computes_with_embeddings(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    wide = client.create_collection("wide", embedding_function=None)
    wide.add(ids=IDS[:3_000], embeddings=np.ones((3_000, 2_000), dtype=np.float32))
    query = "SELECT id, list_sum(embedding) AS s FROM {} ORDER BY s LIMIT 3"
    tight(monkeypatch, 60 * MIB)
    error, ways = refused(lambda: client.sql(query.format("wide")))
    assert re.match(r"SQL over [\d,]+ embeddings of collection \[wide\] at once needs", str(error))
    fewer = code_of(ways, "read fewer of them at once").removeprefix("FROM ")
    found = client.sql(query.format(fewer.replace("...", "wide", 1).replace("...", "500")))
    assert found["s"].tolist() == [2_000.0] * 3
    # Enough for one thread of DuckDB's, whatever its others want.
    tight(monkeypatch, 200 * MIB)
    assert client.sql(query.format("wide"))["s"].tolist() == [2_000.0] * 3
    assert WORKSPACE.used == 0


# -- the database's share ---------------------------------------------------------------------


def test_a_share_of_the_database_that_was_chosen_too_small(tmp_path: Path) -> None:
    long = ["y" * 200_000] * 200
    settings: dict[str, Any] = {"progress": False, "fsync": False, "memory_budget": "100 MB"}
    with chroma_nb.PersistentClient(
        tmp_path, chroma_nb.Settings(duckdb_memory_limit="10 MB", **settings)
    ) as client:
        docs = client.create_collection("docs", embedding_function=None)
        _, ways = refused_once(
            lambda: docs.add(ids=IDS[:200], embeddings=VECTORS[:200], documents=long)
        )
        assert docs.count() == 0
    code = code_of(ways, "give it more")
    given = eval(code.replace("Settings", "dict"))
    with chroma_nb.PersistentClient(tmp_path, chroma_nb.Settings(**given, **settings)) as client:
        docs = docs_of(client, "docs")
        docs.add(ids=IDS[:200], embeddings=VECTORS[:200], documents=long)
        assert docs.get(ids=["id7"])["documents"] == long[:1]


# -- updates ----------------------------------------------------------------------------------


def test_an_update_that_would_not_fit_is_refused_before_it_reads_and_fits_in_parts(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PRESSURE, "watch", lambda: None)
    shutil.copytree(made, tmp_path / "store")
    with chroma_nb.PersistentClient(tmp_path / "store", chroma_nb.Settings(**SETTINGS)) as client:
        docs = docs_of(client)
        read: list[int] = []
        fetch = type(client.api.db).fetch

        def counted(self: Any, collection_id: Any, labels: Any, *columns: Any) -> Any:
            read.append(len(labels))
            return fetch(self, collection_id, labels, *columns)

        monkeypatch.setattr(type(client.api.db), "fetch", counted)
        tight(monkeypatch, 3 * MIB)
        for write, more in ((docs.update, {}), (docs.upsert, {"embeddings": VECTORS})):
            read.clear()
            with pytest.raises(MemoryBudgetError, match="Nothing was allocated") as caught:
                write(ids=IDS, metadatas=[{"new": row} for row in range(N)], **more)
            assert sum(read) < N / 20
            found = re.search(r"write fewer in one call: ([\d,]+) records", str(caught.value))
            assert found
            assert docs.get(ids=IDS[5:6])["metadatas"] == [{"row": 5}]
        part = int(found[1].replace(",", ""))
        assert 0 < part < N
        docs.update(ids=IDS[:part], metadatas=[{"new": row} for row in range(part)])
        got = docs.get(ids=IDS[part - 1 : part + 1], include=["documents", "metadatas"])
        assert got["metadatas"] == [{"row": part - 1, "new": part - 1}, {"row": part}]
        assert got["documents"] == TEXTS[part - 1 : part + 1]


def test_an_update_does_not_read_what_it_replaces_nor_parse_what_it_keeps(
    client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from chroma_nb.segment import written_texts

    client.memory.unload_all()
    docs = docs_of(client)
    asked: list[tuple[str, ...]] = []
    fetch = type(client.api.db).fetch

    def spied(self: Any, collection_id: Any, labels: Any, columns: Any) -> Any:
        asked.append(tuple(columns))
        return fetch(self, collection_id, labels, columns)

    monkeypatch.setattr(type(client.api.db), "fetch", spied)
    monkeypatch.setattr(written_texts, "metadata_json", None)
    docs.update(ids=IDS[:3], embeddings=VECTORS[3:6], documents=["a", "b", "c"], uris=["u"] * 3)
    assert asked == [("metadata",)]
    got = docs.get(ids=IDS[:3], include=["documents", "metadatas", "uris"])
    assert got["documents"] == ["a", "b", "c"]
    assert got["uris"] == ["u"] * 3
    assert got["metadatas"] == [{"row": 0}, {"row": 1}, {"row": 2}]


def test_the_database_gives_back_what_a_refused_statement_had(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with contextlib.closing(duckdb.connect()) as connection:

        class Store:
            memory_share = MemoryShare(20 * MIB, False, connection.cursor)
            limits: ClassVar[list[str]] = []

            @with_more_memory
            def work(self) -> None:
                self.limits.append(limit())
                raise self.memory_share.error()

        def limit() -> str:
            (found,) = connection.execute("SELECT current_setting('memory_limit')").fetchall()
            return str(found[0])

        store = Store()
        store.memory_share.apply()
        before = limit()
        tight(monkeypatch, 100 * MIB)
        with pytest.raises(MemoryBudgetError):
            store.work()
        assert len(set(store.limits)) > 1
        assert limit() == before
