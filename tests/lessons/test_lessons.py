"""What Chroma's users complained about, one test per lesson that an in-process store can keep.

The thread that taught the lesson stands in each docstring (chroma-core/chroma unless said otherwise).

Tested elsewhere: memory in tests/memory, `unload` as a hint that changes no answer in tests/congruence, servers
and the async client in tests/server and tests/contract. Not tested: network mounts, as no test machine has one;
only the clear error for a bad folder is.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import re
import subprocess
import sys
import textwrap
import threading
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import chroma_nb
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(chroma_nb.__file__).parent.parent
PROC_FD = Path("/proc/self/fd")
needs_proc = pytest.mark.skipif(not PROC_FD.is_dir(), reason="lists /proc/self/fd")
ENGINES = ["turbovec", "hnswlib", "usearch"]


def run(script: str, *arguments: Any, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a script in a Python of its own, where a crash is a result and not the end of the tests."""
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=180,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        check=False,
    )


def output_of(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 0, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout.strip()


def descriptors() -> list[str]:
    """Where this process's open descriptors lead, without the one that lists them."""
    found = []
    for name in os.listdir(PROC_FD):
        with contextlib.suppress(OSError):
            target = os.readlink(PROC_FD / name)
            if not target.startswith("/proc/"):
                found.append(target)
    return sorted(found)


def files_of(path: Path) -> dict[str, int]:
    return {
        str(file.relative_to(path)): file.stat().st_size
        for file in sorted(path.rglob("*"))
        if file.is_file()
    }


def small_graphs(path: Path | str, **values: Any) -> Any:
    """A persistent client that builds graphs for small collections already."""
    return chroma_nb.Client(
        chroma_nb.Settings(is_persistent=True, path=str(path), graph_min_records=300, **values)
    )


def vectors(n: int, dimension: int = 16, seed: int = 1) -> Any:
    return np.random.default_rng(seed).normal(size=(n, dimension)).astype(np.float32)


def fill(client: Any, name: str = "docs", n: int = 2_500, dimension: int = 16) -> Any:
    collection = client.create_collection(name, embedding_function=None)
    collection.add(
        ids=[f"id-{i}" for i in range(n)],
        embeddings=vectors(n, dimension),
        documents=[f"text {i}" for i in range(n)],
        metadatas=[{"n": i} for i in range(n)],
    )
    return collection


@pytest.fixture
def client() -> Iterator[Any]:
    client = chroma_nb.EphemeralClient(chroma_nb.Settings(allow_reset=True))
    client.reset()
    yield client
    client.reset()
    client.close()


# -- closing, locks, processes -------------------------------------------------------------------


@needs_proc
def test_lesson_05_capacity_is_not_tied_to_file_handles(tmp_path: Path) -> None:
    """#3336: the number of collections in use was limited by the number of open files."""
    script = """
        import resource, sys
        resource.setrlimit(resource.RLIMIT_NOFILE, (96, 96))
        import chroma_nb
        with chroma_nb.Client(chroma_nb.Settings(is_persistent=True, path=sys.argv[1], fsync=False)) as client:
            for i in range(150):
                collection = client.create_collection(f"docs-{i}", embedding_function=None)
                collection.add(ids=["a", "b"], embeddings=[[float(i), 1.0], [0.0, -9.0]])
            for i in range(150):
                collection = client.get_collection(f"docs-{i}")
                assert collection.query(query_embeddings=[float(i), 1.0], n_results=1)["ids"] == [["a"]]
            print(client.count_collections())
    """
    assert output_of(run(script, tmp_path / "store")) == "150"


@needs_proc
@pytest.mark.parametrize("how", ["close", "with", "del"])
def test_lesson_06_clients_on_fresh_folders_leave_nothing(tmp_path: Path, how: str) -> None:
    """#5843: each PersistentClient on a fresh folder left 125 to 165 MB, and `del` did not help."""
    import psutil

    def use(number: int) -> None:
        client = small_graphs(tmp_path / f"{how}-{number}", fsync=False)
        collection = fill(client, n=400)
        collection.query(query_embeddings=[1.0] * 16)
        collection.build_index()
        if how == "close":
            client.close()
        elif how == "with":
            with client:
                pass
        del collection, client

    def wait_until_closed() -> None:
        """Wait until the thread that closes dropped clients has done so, and has ended."""
        wait_until(lambda: all(one.name != "chroma_nb closer" for one in threading.enumerate()))

    use(0)  # what is imported and allocated once
    gc.collect()
    wait_until_closed()
    files, threads = descriptors(), threading.active_count()
    memory = psutil.Process().memory_info().rss
    for number in range(1, 9):
        use(number)
    gc.collect()
    wait_until_closed()
    assert descriptors() == files
    assert threading.active_count() <= threads
    assert psutil.Process().memory_info().rss - memory < 60e6


@needs_proc
def test_lesson_10_close_is_real(tmp_path: Path) -> None:
    """#5868: there was no close(), so nothing could be moved, deleted or opened elsewhere."""
    path = tmp_path / "store"
    with chroma_nb.Client(path) as client:
        collection = fill(client, n=50)
        assert any(str(path) in target for target in descriptors())
    assert not [target for target in descriptors() if str(path) in target]
    with open("/proc/self/maps", encoding="utf-8") as maps:
        assert str(path) not in maps.read()
    for call in (client.heartbeat, client.list_collections, collection.count, collection.get):
        with pytest.raises(chroma_nb.errors.ChromaError, match="closed"):
            call()
    client.close()  # again: nothing happens
    with chroma_nb.Client(path) as again:
        assert again.get_collection("docs").count() == 50


def test_lesson_11_delete_the_folder_and_start_again_in_one_process(tmp_path: Path) -> None:
    """1.5.9: delete and recreate in one process gave SQLite error 1032 (read-only database)."""
    import shutil

    path = tmp_path / "store"
    for turn in range(3):
        with chroma_nb.PersistentClient(path) as client:
            assert client.list_collections() == []
            collection = client.create_collection("docs", embedding_function=None)
            collection.add(ids="a", embeddings=[float(turn)] * (turn + 1))
            assert collection.query(query_embeddings=[float(turn)] * (turn + 1))["ids"] == [["a"]]
        shutil.rmtree(path)
        assert not path.exists()


def test_lesson_11_clearing_the_cache_first_makes_close_no_silent_no_op(tmp_path: Path) -> None:
    """1.5.9: clear_system_cache() before close() left the files open for good."""
    client = chroma_nb.PersistentClient(tmp_path / "store")
    client.create_collection("docs", embedding_function=None)
    client.clear_system_cache()
    client.close()
    if PROC_FD.is_dir():
        assert not [target for target in descriptors() if str(tmp_path) in target]
    script = "import sys, chroma_nb; print(chroma_nb.Client(sys.argv[1]).count_collections())"
    assert output_of(run(script, tmp_path / "store")) == "1"  # nobody holds its lock


def test_lesson_12_a_closed_store_can_be_renamed_and_deleted(tmp_path: Path) -> None:
    """#1560, #2446 (WinError 32): handles must be released when asked, not when collected."""
    import shutil

    path = tmp_path / "store"
    gc.disable()
    try:
        client = small_graphs(path)
        collection = fill(client, n=400)
        collection.build_index()
        collection.query(query_embeddings=[1.0] * 16)
        client.close()
        path.rename(tmp_path / "moved")
        with chroma_nb.Client(tmp_path / "moved") as moved:
            assert moved.get_collection("docs").count() == 400
        shutil.rmtree(tmp_path / "moved")
    finally:
        gc.enable()


def test_lesson_13_get_and_query_see_what_another_process_wrote(tmp_path: Path) -> None:
    """#3769: get() saw another process's writes, query() did not until the kernel restarted."""
    path = tmp_path / "store"
    with chroma_nb.Client(path) as client:
        collection = fill(client, n=20)
        collection.query(query_embeddings=[0.0] * 16)
    script = """
        import sys, chroma_nb
        with chroma_nb.Client(sys.argv[1]) as client:
            docs = client.get_collection("docs")
            docs.add(ids="theirs", embeddings=[50.0] * 16, documents="theirs")
            docs.delete(ids="id-0")
            print(docs.count())
    """
    assert output_of(run(script, path)) == "20"
    with chroma_nb.Client(path) as client:
        collection = client.get_collection("docs")
        assert collection.get(ids=["theirs", "id-0"])["ids"] == ["theirs"]
        found = collection.query(query_embeddings=[50.0] * 16, n_results=20)["ids"][0]
        assert found[0] == "theirs"
        assert "id-0" not in found


def test_lesson_14_a_second_process_gets_one_error_that_names_the_first(tmp_path: Path) -> None:
    """MemPalace #1581, crewAI #3181: every integrator wrote a lock of their own."""
    path = tmp_path / "store"
    script = """
        import sys, chroma_nb
        try:
            chroma_nb.Client(sys.argv[1])
        except chroma_nb.errors.StoreLockedError as error:
            assert isinstance(error, chroma_nb.errors.ChromaError)
            print(error)
    """
    with chroma_nb.Client(path) as client:
        client.create_collection("docs", embedding_function=None)
        said = output_of(run(script, path))
        assert str(os.getpid()) in said
        assert str(path) in said
        assert "\n" not in said
        assert client.count_collections() == 1  # the refused one has done no harm
    assert output_of(run(script, path)) == ""


def test_lesson_14_a_killed_holder_holds_nothing(tmp_path: Path) -> None:
    path = tmp_path / "store"
    script = """
        import os, sys, chroma_nb
        client = chroma_nb.Client(sys.argv[1])
        docs = client.create_collection("docs", embedding_function=None)
        docs.add(ids="a", embeddings=[1.0])
        os.kill(os.getpid(), 9)
    """
    assert run(script, path).returncode == -9
    with chroma_nb.Client(path) as client:
        assert client.get_collection("docs").count() == 1


def test_lesson_15_threads_may_share_a_client(client: Any) -> None:
    """#1240, #961: thread-safe, not process-safe, is the promise."""
    collection = client.create_collection("docs", embedding_function=None)
    wrong: list[BaseException] = []

    def work(place: int) -> None:
        try:
            for turn in range(15):
                name = f"{place}-{turn}"
                collection.add(ids=name, embeddings=[float(place), float(turn)], documents=name)
                found = collection.query(query_embeddings=[float(place), float(turn)], n_results=1)
                assert found["ids"] == [[name]]
                assert collection.get(ids=name)["documents"] == [name]
                if turn % 5 == 4:
                    assert collection.delete(ids=name) == {"deleted": 1}
                if turn % 4 == 3:
                    collection.update(ids=f"{place}-0", metadatas={"turn": turn})
        except BaseException as error:
            wrong.append(error)

    threads = [threading.Thread(target=work, args=(place,)) for place in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(180)
    assert not wrong, wrong[0]
    assert collection.count() == 6 * 12
    assert sorted(collection.get()["ids"]) == sorted(
        f"{place}-{turn}" for place in range(6) for turn in range(15) if turn % 5 != 4
    )


def test_lesson_16_a_cell_can_be_run_again(tmp_path: Path) -> None:
    """#1302, #1473: "an instance already exists with different settings", "collection exists"."""
    cell = """
client = chroma_nb.Client(path)
docs = client.get_or_create_collection("docs", metadata={"topic": "x"}, embedding_function=None)
docs.add(ids=["a", "b"], embeddings=[[1.0, 2.0], [3.0, 4.0]], documents=["x", "y"])
docs.upsert(ids=["c"], embeddings=[[5.0, 6.0]])
result = docs.query(query_embeddings=[1.0, 2.0], n_results=2)
"""
    names = {"chroma_nb": chroma_nb, "path": tmp_path / "store"}
    results = []
    for _ in range(3):
        exec(cell, names)
        results.append((names["result"]["ids"], names["docs"].count()))  # type: ignore[index, attr-defined]
    assert results == [([["a", "b"]], 3)] * 3
    # and the same folder with other settings is no error either, though they have no effect
    with pytest.warns(UserWarning, match="without effect is allow_reset=True.*graph_min_records=7"):
        other = chroma_nb.PersistentClient(
            tmp_path / "store", settings=chroma_nb.Settings(allow_reset=True, graph_min_records=7)
        )
    assert other.get_collection("docs").count() == 3
    other.close()
    names["client"].close()  # type: ignore[attr-defined]
    gc.collect()


# -- durability ----------------------------------------------------------------------------------

#: Opens the store, asks, and says how it went; logging goes to stderr.
OPEN_AND_ASK = """
import json, logging, sys
import chroma_nb
logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
path, engine = sys.argv[1:3]
settings = chroma_nb.Settings(
    is_persistent=True, path=path, graph_min_records=300, index_engine=engine
)
with chroma_nb.Client(settings) as client:
    docs = client.get_collection("docs")
    count = docs.count()
    first = docs.get(ids=["id-7"], include=["embeddings", "documents"])
    found = docs.query(query_embeddings=first["embeddings"], n_results=3)
    docs.build_index()
    # A graph finds nearly every one of them (usearch some 999 of 1,000).
    asked = docs.get(limit=200, include=["embeddings"])
    again = docs.query(query_embeddings=asked["embeddings"], n_results=3)["ids"]
    right = sum(one in found for one, found in zip(asked["ids"], again))
    assert right >= 195, right
    print(json.dumps([count, first["documents"], found["ids"][0][0], docs.get_indexing_status()]))
"""


def index_files(path: Path) -> list[Path]:
    return [
        file
        for file in sorted(path.rglob("*"))
        if file.is_file() and ("index" in str(file.relative_to(path)) or "graph" in file.name)
    ]


@pytest.fixture(params=ENGINES)
def indexed(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, str]:
    """A closed store whose collection has a saved graph, and the engine that built it."""
    pytest.importorskip(request.param, reason=f"{request.param} is not installed")
    path = tmp_path / "store"
    with small_graphs(path, index_engine=request.param) as client:
        fill(client, n=2_500).build_index()
    assert index_files(path), f"no index was saved: {files_of(path)}"
    return path, request.param


def cut(file: Path, share: float) -> None:
    os.truncate(file, int(file.stat().st_size * share))


def flip(file: Path) -> None:
    data = bytearray(file.read_bytes())
    for place in range(len(data) // 3, len(data), max(1, len(data) // 50)):
        data[place] ^= 0xFF
    file.write_bytes(bytes(data))


DAMAGES: dict[str, Callable[[Path], None]] = {
    "half of it is missing": lambda file: cut(file, 0.5),
    "the end is missing": lambda file: cut(file, 0.99),
    "it is empty": lambda file: cut(file, 0),
    "bytes are flipped": flip,
    "it is something else": lambda file: file.write_text('{"hello": [1, 2, 3]}') and None,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_lesson_17_a_damaged_index_is_built_again(indexed: tuple[Path, str], damage: str) -> None:
    """#7238, #6949, #7069: a truncated index killed the kernel with SIGSEGV on count()."""
    path, engine = indexed
    for file in index_files(path):
        DAMAGES[damage](file)
    done = run(OPEN_AND_ASK, path, engine)
    count, documents, nearest, status = json.loads(output_of(done))
    assert (count, documents, nearest) == (2_500, ["text 7"], "id-7")
    assert status[1] == 0, "build_index() leaves nothing to index"
    assert "WARNING" in done.stderr, "the loss is said once"
    assert "Traceback" not in done.stderr


def test_lesson_17_each_damaged_file_alone(indexed: tuple[Path, str]) -> None:
    """A description that fits no graph, and a graph that fits no description."""
    path, engine = indexed
    saved = {file: file.read_bytes() for file in index_files(path)}
    for damaged in saved:
        for file, data in saved.items():
            file.write_bytes(data)
        flip(damaged)
        done = run(OPEN_AND_ASK, path, engine)
        assert json.loads(output_of(done))[:3] == [2_500, ["text 7"], "id-7"], damaged
        assert "WARNING" in done.stderr, damaged


def test_lesson_17_damaged_records_are_an_error_with_a_name(tmp_path: Path) -> None:
    """The truth cannot be built again; but the kernel must not die of it, and nothing be invented."""
    path = tmp_path / "store"
    with chroma_nb.Client(path) as client:
        fill(client, n=500)
    damaged = [file for file in path.rglob("*") if file.is_file() and "vectors" in str(file)]
    assert damaged, files_of(path)
    for file in damaged:
        cut(file, 0.5)
    script = """
        import sys, chroma_nb
        try:
            with chroma_nb.Client(sys.argv[1]) as client:
                docs = client.get_collection("docs")
                print(docs.count())
                docs.query(query_embeddings=[1.0] * 16)
                docs.get(ids=["id-499"], include=["embeddings"])
            print("no error")
        except chroma_nb.errors.StoreCorruptError as error:
            print("StoreCorruptError", error)
    """
    assert "StoreCorruptError" in output_of(run(script, path))


def test_lesson_18_a_missing_index_is_built_again(indexed: tuple[Path, str]) -> None:
    """#4212: "Error creating hnsw segment reader: Nothing found on disk"."""
    path, engine = indexed
    for file in index_files(path):
        file.unlink()
    count, documents, nearest, status = json.loads(output_of(run(OPEN_AND_ASK, path, engine)))
    assert (count, documents, nearest) == (2_500, ["text 7"], "id-7")
    assert status[1] == 0


def test_lesson_18_a_missing_index_folder_is_made_again(indexed: tuple[Path, str]) -> None:
    import shutil

    path, engine = indexed
    for folder in {file.parent for file in index_files(path)} - {path}:
        shutil.rmtree(folder)
    assert json.loads(output_of(run(OPEN_AND_ASK, path, engine)))[:3] == [2_500, ["text 7"], "id-7"]
    assert index_files(path), "and it is saved again"


def test_lesson_19_the_index_is_saved_on_close_and_not_built_again(
    indexed: tuple[Path, str],
) -> None:
    """#6975, #7463: writes were durable, the index was not: replayed on every open."""
    path, engine = indexed
    before = {file: (file.stat().st_mtime_ns, file.stat().st_size) for file in index_files(path)}
    with small_graphs(path, index_engine=engine) as client:
        collection = client.get_collection("docs")
        query = vectors(1)
        found = collection.query(query_embeddings=query, n_results=3)
        assert found["ids"][0][0] == "id-0"
        status = collection.get_indexing_status()
        assert status.num_unindexed_ops == 0
        assert status.op_indexing_progress == 1.0
        assert collection.explain(query_embeddings=query)["strategy"] != "exact"
    after = {file: (file.stat().st_mtime_ns, file.stat().st_size) for file in index_files(path)}
    assert after == before, "it was written again, so it was built again"


def test_lesson_19_a_graph_that_grew_is_saved_with_its_growth(indexed: tuple[Path, str]) -> None:
    path, engine = indexed
    with small_graphs(path, index_engine=engine) as client:
        collection = client.get_collection("docs")
        more = vectors(500, seed=2) + 20
        collection.add(ids=[f"more-{i}" for i in range(500)], embeddings=more)
        collection.delete(ids=[f"id-{i}" for i in range(100)])
        collection.build_index()
    with small_graphs(path, index_engine=engine) as client:
        collection = client.get_collection("docs")
        found = collection.query(query_embeddings=more[:5], n_results=1)
        assert found["ids"] == [[f"more-{i}"] for i in range(5)]
        assert collection.get_indexing_status().num_unindexed_ops == 0
        gone = collection.query(query_embeddings=vectors(100), n_results=5)["ids"]
        assert not {f"id-{i}" for i in range(100)} & {name for row in gone for name in row}


def test_lesson_20_deleting_a_collection_frees_the_disk(tmp_path: Path) -> None:
    """#5259, #5520, #3882: the HNSW folder stayed, the database did not shrink."""
    path = tmp_path / "store"
    with small_graphs(path) as client:
        fill(client, "kept", n=400, dimension=8).build_index()
    before = files_of(path)
    with small_graphs(path) as client:
        collection = fill(client, "gone", n=6_000, dimension=128)
        collection.build_index()
        grown = files_of(path)
        assert sum(grown.values()) > sum(before.values()) + 6_000 * 128 * 4
        client.delete_collection("gone")
        # at once, while the store is open: everything that was the collection's alone
        left = files_of(path)
        folders = ("vectors", "indexes")
        names = {name for name in left if name.startswith(folders)}
        assert names == {name for name in before if name.startswith(folders)}
        assert client.get_collection("kept").count() == 400
    after = files_of(path)
    assert set(after) == set(before)
    assert sum(after.values()) < sum(before.values()) + 2e6


def mostly_dead(client: Any) -> Any:
    """A collection whose vector file holds 20,000 rows, 10 of them alive."""
    collection = fill(client, n=4_000, dimension=128)
    ids = [f"id-{i}" for i in range(4_000)]
    for _ in range(4):
        collection.upsert(ids=ids, embeddings=vectors(4_000, 128, seed=3))
    collection.delete(where={"n": {"$gte": 10}})
    return collection


def is_what_mostly_dead_left(collection: Any) -> None:
    assert collection.count() == 10
    got = collection.get(include=["embeddings", "documents"])
    assert got["ids"] == [f"id-{i}" for i in range(10)]
    assert got["documents"] == [f"text {i}" for i in range(10)]
    assert got["embeddings"].tolist() == vectors(4_000, 128, seed=3)[:10].tolist()


def vector_bytes(path: Path) -> int:
    return sum(size for name, size in files_of(path).items() if name.startswith("vectors"))


def test_lesson_20_replaced_and_deleted_vectors_are_reclaimed(tmp_path: Path) -> None:
    """Not only whole collections: compaction, in the background, while the store is open."""
    path = tmp_path / "store"
    with chroma_nb.Client(path) as client:
        collection = mostly_dead(client)
        wait_until(lambda: vector_bytes(path) <= 100 * 128 * 4)
        is_what_mostly_dead_left(collection)
    with chroma_nb.Client(path) as client:
        is_what_mostly_dead_left(client.get_collection("docs"))


def test_lesson_20_they_are_reclaimed_although_the_store_was_closed_at_once(tmp_path: Path) -> None:
    """A script that deletes and ends leaves no time for the background: then at close or next open."""
    path = tmp_path / "store"
    with chroma_nb.Client(path) as client:
        mostly_dead(client)
    with chroma_nb.Client(path) as client:
        collection = client.get_collection("docs")
        is_what_mostly_dead_left(collection)
        deadline = time.monotonic() + 5
        while vector_bytes(path) > 100 * 128 * 4 and time.monotonic() < deadline:
            time.sleep(0.05)
        is_what_mostly_dead_left(collection)
    assert vector_bytes(path) <= 100 * 128 * 4


# -- limits, filters, data in and out ------------------------------------------------------------


@pytest.fixture(scope="module")
def many() -> Iterator[Any]:
    """33,500 records: more than SQLite has variables."""
    client = chroma_nb.EphemeralClient(chroma_nb.Settings(graph_min_records=10**6))
    collection = client.create_collection("many", embedding_function=None)
    ids = [f"id-{i}" for i in range(33_500)]
    collection.add(
        ids=ids,
        embeddings=np.arange(2 * len(ids), dtype=np.float32).reshape(-1, 2),
        documents=ids,
        metadatas=[{"n": i, "s": f"s{i}"} for i in range(len(ids))],
    )
    yield collection
    client.delete_collection("many")
    client.close()


@pytest.mark.parametrize("residency", ["loaded", "unloaded"])
class TestLesson21:
    """#4802, #2762: "too many SQL variables". From memory, and from the database."""

    @pytest.fixture(autouse=True)
    def place(self, many: Any, residency: str) -> None:
        if residency == "unloaded":
            many.unload()
        else:
            many.query(query_embeddings=[0.0, 0.0])
        self.ids = [f"id-{i}" for i in range(33_500)]

    def test_lesson_21_get_of_more_than_32766_records_works(self, many: Any) -> None:
        everything = many.get(include=["metadatas", "documents", "embeddings"])
        assert everything["ids"] == everything["documents"] == self.ids
        assert everything["metadatas"][-1] == {"n": 33_499, "s": "s33499"}
        assert everything["embeddings"].shape == (33_500, 2)

    def test_lesson_21_so_many_ids_can_be_asked_for(self, many: Any) -> None:
        assert many.get(ids=self.ids, include=["metadatas"])["ids"] == self.ids

    def test_lesson_21_so_many_ids_can_be_queried(self, many: Any) -> None:
        found = many.query(query_embeddings=[0.0, 0.0], ids=self.ids, n_results=40_000)
        assert found["ids"] == [self.ids]

    def test_lesson_21_a_filter_may_list_so_many_values(self, many: Any) -> None:
        where = {"n": {"$in": list(range(33_500))}}
        started = time.process_time()
        assert len(many.get(where=where, include=[])["ids"]) == 33_500
        assert time.process_time() - started < 5

    def test_lesson_21_so_many_records_can_be_deleted(self, many: Any, residency: str) -> None:
        extra = [f"extra-{i}" for i in range(33_500)]
        many.add(ids=extra, embeddings=np.ones((33_500, 2), dtype=np.float32))
        if residency == "unloaded":
            many.unload()
        assert many.delete(ids=extra) == {"deleted": 33_500}
        assert many.count() == 33_500


def test_lesson_22_large_batches_are_accepted_and_atomic(client: Any) -> None:
    """#1049, #1298, #2181: batches over 5,461 (or 166 in Colab) were refused, delete too."""
    n = 12_000
    assert n > 2 * client.get_max_batch_size()
    collection = client.create_collection("docs", embedding_function=None)
    ids = [f"id-{i}" for i in range(n)]
    bad = vectors(n, 4)
    bad[-1, 0] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        collection.add(ids=ids, embeddings=bad)
    assert collection.count() == 0
    collection.add(ids=ids[-1], embeddings=[0.0] * 4)
    with pytest.raises(chroma_nb.errors.IDAlreadyExistsError):
        collection.add(ids=ids, embeddings=vectors(n, 4), on_conflict="error")
    assert collection.count() == 1, "the conflict is in the last record; none before it is written"
    collection.upsert(ids=ids, embeddings=vectors(n, 4))
    collection.update(ids=ids, metadatas=[{"n": i} for i in range(n)])
    assert collection.count() == n
    assert collection.get(where={"n": {"$gte": n - 2}})["ids"] == [f"id-{n - 1}", f"id-{n - 2}"]
    assert collection.delete(ids=ids) == {"deleted": n}


def test_lesson_22_a_batch_that_a_crash_interrupts_is_all_or_nothing(tmp_path: Path) -> None:
    """The maintainers' worry was atomicity across the parts of a batch."""
    script = """
        import os, sys, threading, time
        import numpy as np, chroma_nb
        client = chroma_nb.Client(sys.argv[1])
        docs = client.get_or_create_collection("docs", embedding_function=None)
        n = 20_000
        batch = np.ones((n, 8), dtype=np.float32)
        threading.Timer(float(sys.argv[2]), lambda: os.kill(os.getpid(), 9)).start()
        for turn in range(100):
            docs.add(ids=[f"{turn}-{i}" for i in range(n)], embeddings=batch)
            print(turn, flush=True)
    """
    for seconds in (0.25, 0.6):
        path = tmp_path / f"store-{seconds}"
        with chroma_nb.Client(path) as client:
            client.create_collection("docs", embedding_function=None)
        done = run(script, path, seconds)
        assert done.returncode == -9, done.stderr
        acknowledged = len(done.stdout.split())
        with chroma_nb.Client(path) as client:
            count = client.get_collection("docs").count()
        assert count % 20_000 == 0
        assert count // 20_000 in (acknowledged, acknowledged + 1)


def test_lesson_23_one_collections_size_does_not_slow_another(client: Any) -> None:
    """#1394, #2769, #4089: a filter went through the metadata of every collection."""

    def seconds(collection: Any) -> float:
        best = float("inf")
        for _ in range(15):
            started = time.perf_counter()
            collection.get(where={"n": {"$gte": 190}})
            collection.query(query_embeddings=[1.0] * 8, where={"n": {"$lt": 5}})
            best = min(best, time.perf_counter() - started)
        return best

    small = fill(client, "small", n=200, dimension=8)
    alone = seconds(small)
    fill(client, "large", n=60_000, dimension=8)
    assert seconds(small) < 4 * alone + 0.005


def test_lesson_24_what_happens_to_an_existing_id_can_be_chosen(client: Any) -> None:
    """#1062, #2588: add on an existing id was ignored in silence."""
    collection = client.create_collection("docs", embedding_function=None)
    collection.add(ids="a", embeddings=[1.0], documents="old", metadatas={"k": 1})
    collection.add(ids="a", embeddings=[2.0], documents="new")
    assert collection.get()["documents"] == ["old"]
    with pytest.raises(chroma_nb.errors.IDAlreadyExistsError, match="a"):
        collection.add(ids=["b", "a"], embeddings=[[2.0], [2.0]], on_conflict="error")
    assert collection.get()["ids"] == ["a"]
    collection.add(ids="a", embeddings=[2.0], documents="new", on_conflict="replace")
    got = collection.get(include=["documents", "metadatas", "embeddings"])
    assert (got["ids"], got["documents"], got["metadatas"]) == (["a"], ["new"], [None])
    assert got["embeddings"].tolist() == [[2.0]]


def hard_records(client: Any) -> Any:
    collection = client.create_collection(
        "docs",
        embedding_function=None,
        metadata={"topic": "x"},
        configuration={"hnsw": {"space": "cosine"}},
    )
    collection.add(
        ids=["a", "b'\"", "ç"],
        embeddings=[[1.0, 0.5], [0.25, 0.125], [3.0, 4.0]],
        documents=["text", None, ""],
        metadatas=[{"n": 1, "f": 1.0, "s": "x", "b": True}, None, {"tags": ["p", "q"], "n": "one"}],
        uris=["file:///a", None, None],
    )
    return collection


EVERYTHING = ["documents", "metadatas", "embeddings", "uris"]


def same(one: Any, two: Any) -> None:
    first, second = one.get(include=EVERYTHING), two.get(include=EVERYTHING)
    assert first["embeddings"].tolist() == second["embeddings"].tolist()
    for part in ("ids", "documents", "metadatas", "uris"):
        assert repr(first[part]) == repr(second[part]), part


def test_lesson_25_a_collection_goes_out_and_comes_back_in(client: Any, tmp_path: Path) -> None:
    """#776: no export; a million records took an hour."""
    pytest.importorskip("pyarrow", reason="Parquet needs pyarrow")
    collection = hard_records(client)
    file = tmp_path / "docs.parquet"
    assert collection.export(file) == 3
    with chroma_nb.Client(tmp_path / "other") as other:
        again = other.import_(file)
        assert again.name == "docs"
        same(again, collection)
        assert again.metadata == {"topic": "x"}
        assert again.configuration_json["hnsw"]["space"] == "cosine"
        other.import_(file)  # again: nothing doubles
        assert again.count() == 3
        assert other.import_(file, "renamed").count() == 3
        assert other.count_collections() == 2


def test_lesson_25_an_export_is_readable_elsewhere(client: Any, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="Parquet needs pyarrow")
    collection = fill(client, n=12_345, dimension=4)
    assert collection.export(str(tmp_path / "docs.parquet")) == 12_345
    table = parquet.read_table(tmp_path / "docs.parquet")
    assert table.num_rows == 12_345
    assert table.column("id").to_pylist()[:3] == ["id-0", "id-1", "id-2"]
    assert table.column("document").to_pylist()[-1] == "text 12344"
    assert table.column("embedding").to_pylist()[5] == vectors(12_345, 4)[5].tolist()


def test_lesson_25_a_store_is_copied_into_another(client: Any, tmp_path: Path) -> None:
    collection = hard_records(client)
    fill(client, "more", n=50, dimension=4)
    with chroma_nb.Client(tmp_path / "other") as other:
        assert client.copy_to(other) == {"docs": 3, "more": 50}
        same(other.get_collection("docs"), collection)
        same(other.get_collection("more"), client.get_collection("more"))
        assert other.get_collection("docs").configuration_json == collection.configuration_json


def test_lesson_25_tables(client: Any) -> None:
    """The two things that people do next with what they found: a data frame, and a question in SQL."""
    fill(client, "docs", n=30, dimension=4)
    frame = client.get_collection("docs").to_pandas(where={"n": {"$gte": 27}})
    assert list(frame["id"]) == ["id-27", "id-28", "id-29"]
    assert list(frame["document"]) == ["text 27", "text 28", "text 29"]
    assert list(frame["n"]) == [27, 28, 29]
    answer = client.sql("SELECT count(*) AS n, max(id) AS last FROM docs WHERE n < 10")
    assert answer.to_dict("records") == [{"n": 10, "last": "id-9"}]
    for query in ("DELETE FROM docs", "DROP VIEW docs", "SELECT 1; SELECT 2", "SELEC"):
        with pytest.raises(ValueError):  # noqa: PT011 - DuckDB's own words
            client.sql(query)
    assert client.get_collection("docs").count() == 30


class Counting(chroma_nb.EmbeddingFunction):  # type: ignore[misc]
    """Counts how often a model was asked."""

    def __init__(self, dimension: int = 2, label: str = "one") -> None:
        self.dimension = dimension
        self.label = label
        self.calls = 0

    def __call__(self, input: Any) -> Any:
        self.calls += 1
        return [[float(len(text))] * self.dimension for text in input]

    @staticmethod
    def name() -> str:
        return "lessons_counting"

    def get_config(self) -> dict[str, Any]:
        return {"dimension": self.dimension, "label": self.label}

    @staticmethod
    def build_from_config(config: dict[str, Any]) -> Any:
        return Counting(**config)


class Other(Counting):
    @staticmethod
    def name() -> str:
        return "lessons_other"

    @staticmethod
    def build_from_config(config: dict[str, Any]) -> Any:
        return Other(**config)


def test_lesson_27_a_wrong_embedder_is_refused_before_it_embeds(tmp_path: Path) -> None:
    """#4368, zotero-mcp #126: another model after reopening gave nonsense, or a late error."""
    path = tmp_path / "store"
    with chroma_nb.Client(path) as client:
        collection = client.create_collection("docs", embedding_function=Counting())
        collection.add(ids="a", documents="abc")
    with chroma_nb.Client(path) as client:
        wrong = Other()
        with pytest.raises(ValueError, match=r"lessons_other.*lessons_counting"):
            client.get_collection("docs", embedding_function=wrong)
        assert wrong.calls == 0
        # who says nothing gets the model that embedded what is there
        assert client.get_collection("docs").query(query_texts="abc")["distances"] == [[0.0]]
        # and a model of the same name whose dimension is another one is told both numbers
        wide = client.get_collection("docs", embedding_function=Counting(dimension=3))
        with pytest.raises(ValueError, match=r"dimension of 2, got 3"):
            wide.add(ids="b", documents="xyz")
        with pytest.raises(ValueError, match=r"dimension of 2, got 3"):
            wide.query(query_texts="xyz")
        assert wide.count() == 1


# -- install, import, network, security ----------------------------------------------------------


def test_lesson_28_import_installs_nothing_and_raises_nothing() -> None:
    """#850, #1106, #1696: import looked at Python's sqlite, and in Colab ran pip."""
    script = """
        import sys
        sys.modules["sqlite3"] = None  # as on a machine whose sqlite is too old
        sys.modules["google.colab"] = type(sys)("google.colab")
        def audit(event, arguments):
            if event in ("subprocess.Popen", "os.system", "os.posix_spawn", "socket.connect", "os.exec"):
                raise SystemExit(f"import did {event} {arguments}")
        sys.addaudithook(audit)
        import chroma_nb
        docs = chroma_nb.EphemeralClient().create_collection("docs", embedding_function=None)
        docs.add(ids="a", embeddings=[1.0])
        print(docs.query(query_embeddings=[1.0])["ids"])
    """
    done = run(script)
    assert output_of(done) == "[['a']]"
    assert done.stderr == ""


def test_lesson_28_import_reads_and_prints_nothing(tmp_path: Path) -> None:
    script = """
        import os, sys
        def audit(event, arguments):
            if event == "open" and isinstance(arguments[0], str):
                mode = arguments[1] or ""
                if any(letter in mode for letter in "wax+"):
                    raise SystemExit(f"import writes {arguments}")
        sys.addaudithook(audit)
        sys.dont_write_bytecode = True
        import chroma_nb
        assert os.listdir(".") == [], os.listdir(".")
    """
    done = subprocess.run(
        [sys.executable, "-B", "-c", textwrap.dedent(script)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_lesson_29_a_place_that_cannot_hold_a_store_is_said_clearly(tmp_path: Path) -> None:
    """#1319, #985: disk I/O errors from deep inside."""
    (tmp_path / "file").write_text("x")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(chroma_nb.errors.ChromaError, match=re.escape(str(tmp_path / "file"))):
            chroma_nb.Client(path)
    assert (tmp_path / "file").read_text() == "x"


def test_lesson_30_the_model_can_be_fetched_beforehand() -> None:
    """#2910: 83 MB were downloaded at the first call."""
    assert callable(chroma_nb.prefetch)
    assert {"minilm_path", "offline", "embedding"} <= {
        field.name for field in __import__("dataclasses").fields(chroma_nb.Settings)
    }


def test_lesson_30_without_a_network_there_is_a_model_all_the_same(tmp_path: Path) -> None:
    """A fresh machine, offline: documents are embedded, and which model did it is recorded."""
    script = """
        import sys, warnings
        warnings.simplefilter("ignore")
        def audit(event, arguments):
            if event in ("socket.connect", "socket.getaddrinfo"):
                raise SystemExit(f"the network was asked: {arguments}")
        sys.addaudithook(audit)
        import chroma_nb
        client = chroma_nb.Client(sys.argv[1])
        docs = client.create_collection("docs")
        docs.add(ids=["bear", "car"], documents=["a large furry animal", "a motor vehicle"])
        print(docs.query(query_texts=["an animal with fur"], n_results=1)["ids"])
        print(client.get_collection("docs").configuration_json["embedding_function"]["name"])
    """
    environment = {
        "HOME": str(tmp_path / "home"),
        "CHROMA_NB_OFFLINE": "1",
        "CHROMA_NB_MINILM_PATH": "",
    }
    ids, name = output_of(run(script, tmp_path / "store", **environment)).splitlines()
    assert ids == "[['bear']]"
    assert name != "default", "it was not MiniLM that embedded"


ONLY_IN_PYODIDE = "snowballstemmer"


def dependencies() -> list[str]:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    block = re.search(r"^dependencies = \[(.*?)^\]", text, re.MULTILINE | re.DOTALL)
    assert block is not None
    return re.findall(r'"([A-Za-z0-9_.-]+)', block.group(1))


def test_lesson_31_no_grpc_or_telemetry_in_the_base_install() -> None:
    """#4873, #2006: pins of protobuf and OpenTelemetry broke other packages."""
    names = {name.lower() for name in dependencies()}
    assert names
    banned = ("grpc", "proto", "opentelemetry", "posthog", "kubernetes", "fastapi", "uvicorn")
    assert not [name for name in names if name.startswith(banned)]
    assert "chromadb" not in names


def test_lesson_32_the_package_is_small() -> None:
    """#705: leaving chromadb out cut an image from 2.5 GB to 0.6."""
    size = sum(
        file.stat().st_size
        for file in Path(chroma_nb.__file__).parent.rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    )
    assert size < 20e6
    # The stemmer is the thirteenth, without which no text is searched by words; the codes are the fourteenth (2.4 MB),
    # without which 100,000 embeddings wait for half a minute.
    assert len([one for one in dependencies() if one != ONLY_IN_PYODIDE]) <= 14


HEAVY = "onnxruntime tokenizers pandas pyarrow duckdb turbovec usearch hnswlib ipywidgets tqdm requests IPython"


def test_lesson_33_import_pulls_nothing_heavy() -> None:
    """crewAI #4226: seconds at import for what was never used."""
    script = f"""
        import sys, time
        import numpy
        started = time.process_time()
        import chroma_nb
        seconds = time.process_time() - started
        loaded = [name for name in {HEAVY.split()!r} if name in sys.modules]
        assert not loaded, loaded
        print(seconds)
    """
    assert min(float(output_of(run(script))) for _ in range(3)) < 0.3


def test_lesson_33_a_store_of_embeddings_needs_no_model() -> None:
    """onnxruntime #32220: 9 s to import it on Windows; only embedding may do so."""
    script = """
        import sys, chroma_nb
        client = chroma_nb.EphemeralClient()
        docs = client.create_collection("docs")
        docs.add(ids="a", embeddings=[1.0], documents="x", metadatas={"k": 1})
        docs.get(where={"k": 1})
        docs.query(query_embeddings=[1.0])
        names = "onnxruntime tokenizers ipywidgets tqdm requests IPython".split()
        import duckdb
        if int(duckdb.__version__.split(".")[0]) >= 2:
            # An older DuckDB itself imports these when it is given parameters.
            names += ["pandas", "pyarrow"]
        loaded = [name for name in names if name in sys.modules]
        assert not loaded, loaded
    """
    output_of(run(script))


def test_lesson_34_no_code_is_built_from_stored_names(tmp_path: Path) -> None:
    """CVE-2026-45829: an embedder named from outside was instantiated."""

    class Evil(Counting):
        @staticmethod
        def name() -> str:
            return "antigravity:this"

    path = tmp_path / "store"
    with chroma_nb.Client(path) as client:
        client.create_collection("docs", embedding_function=Evil())
    script = """
        import sys, chroma_nb
        with chroma_nb.Client(sys.argv[1]) as client:
            docs = client.get_collection("docs")
            try:
                docs.add(ids="a", documents="x")
            except ValueError as error:
                print("not found" in str(error), "antigravity" in sys.modules)
    """
    assert output_of(run(script, path)) == "True False"


# -- settings ------------------------------------------------------------------------------------


def test_no_setting_is_accepted_that_does_nothing() -> None:
    """chroma_memory_limit_bytes was validated for years after the engine had stopped reading it."""
    with chroma_nb.EphemeralClient(
        chroma_nb.Settings(chroma_memory_limit_bytes=10**9, chroma_segment_cache_policy="LRU")
    ) as client:
        assert client.memory.budget == 10**9
    assert chroma_nb.Settings(chroma_memory_limit_bytes=0) == chroma_nb.Settings()
    with pytest.warns(UserWarning, match="chroma_segment_cache_policy.*no effect"):
        chroma_nb.Settings(chroma_segment_cache_policy="FIFO")
    with pytest.warns(UserWarning, match="chroma_server_nofile.*no effect"):
        chroma_nb.Settings(chroma_server_nofile=65_536)
    with pytest.raises(ValueError, match="Did you mean 'allow_reset'"):
        chroma_nb.Settings(alow_reset=True)
    with pytest.raises(ValueError, match="graph_min_records"):
        chroma_nb.Settings(graph_min_records="many")


def test_settings_that_ask_for_what_is_the_case_are_silent() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        chroma_nb.Settings(anonymized_telemetry=False, allow_reset=True)
        chroma_nb.Settings(is_persistent=True, persist_directory="./somewhere")
    assert chroma_nb.Settings(persist_directory="./somewhere").path == "./somewhere"


def test_settings_of_the_environment_are_read_when_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHROMA_NB_GRAPH_MIN_RECORDS", "123")
    assert chroma_nb.Settings().graph_min_records == 123
    assert chroma_nb.Settings(graph_min_records=7).graph_min_records == 7
    monkeypatch.setenv("CHROMA_NB_GRAPH_MIN_RECORDS", "many")
    with pytest.raises(ValueError, match="CHROMA_NB_GRAPH_MIN_RECORDS"):
        chroma_nb.Settings()
