"""A database that is opened anew waits for those who read it; memory that is freed goes back."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import duckdb
import numpy as np

import chroma_nb
from chroma_nb.db.duckdb import folder_database
from chroma_nb.errors import InternalError

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def filled(path: Path) -> tuple[Any, Any]:
    client = chroma_nb.PersistentClient(path, chroma_nb.Settings(progress=False))
    collection = client.create_collection("read", embedding_function=None)
    ids = [str(number) for number in range(20_000)]
    collection.add(ids=ids, embeddings=np.ones((20_000, 4), dtype=np.float32), documents=ids)
    return client, collection


def count_to(n: int, cursor: Any, begun: threading.Event) -> None:
    """Run a query that takes as long as it takes to call Python n times; say when it has begun."""

    def begin(number: int) -> int:
        begun.set()
        return number

    number = cursor.type("BIGINT")
    cursor.create_function("begin", begin, [number], number)
    cursor.execute(f"SELECT count(*) FROM range({n}) t(n) WHERE begin(n) < 0")


def test_a_reader_is_not_cut_off_and_the_writer_comes_through(tmp_path: Path) -> None:
    client, collection = filled(tmp_path / "store")
    with client:
        db = client.api.segments.db
        found: list[Any] = []
        begun = threading.Event()

        def read() -> None:
            with db._database.reading() as cursor:
                cursor.execute(f'SELECT id FROM "{db._database.entry(collection.id).table}"')
                found.append(cursor.fetchmany(10))
                begun.set()
                time.sleep(0.3)
                found.append(cursor.fetchall())

        reader = threading.Thread(target=read)
        reader.start()
        begun.wait()
        # As after a write that has failed, with another limit than the one it was opened with.
        db.memory_share.n_bytes += 1 << 20
        db.mark_broken()
        collection.add(ids=["one more"], embeddings=np.ones((1, 4), dtype=np.float32))
        reader.join()
        assert sum(map(len, found)) == 20_000
        assert collection.count() == 20_001
        assert client.check().is_whole


def test_a_query_that_does_not_end_is_interrupted_before_the_database_is_reopened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DuckDB waits for it otherwise, or gives the same instance once more."""
    monkeypatch.setattr(folder_database, "_READERS_SECONDS", 0.0)
    client, collection = filled(tmp_path / "store")
    with client:
        db = client.api.segments.db
        begun = threading.Event()
        errors: list[Exception] = []

        def ask() -> None:
            try:
                with db._database.reading() as cursor:
                    count_to(10**12, cursor, begun)
            except Exception as error:
                errors.append(error)

        asker = threading.Thread(target=ask)
        asker.start()
        assert begun.wait(180)
        db.mark_broken()
        assert collection.get(ids=["7"])["documents"] == ["7"]
        asker.join()
        assert isinstance(errors[0], InternalError)
        assert "Repeat the call" in str(errors[0])
        db.mark_broken()
        collection.add(ids=["one more"], embeddings=np.ones((1, 4), dtype=np.float32))
        assert collection.count() == 20_001
        found = client.sql("SELECT embedding FROM read LIMIT 1")
        assert found["embedding"][0].tolist() == [1.0] * 4
    with chroma_nb.PersistentClient(tmp_path / "store") as client:
        assert client.get_collection("read", embedding_function=None).count() == 20_001


def test_a_cursor_that_keeps_the_old_instance_for_a_moment_is_waited_for(tmp_path: Path) -> None:
    client, collection = filled(tmp_path / "store")
    with client:
        db = client.api.segments.db
        begun = threading.Event()

        def work() -> None:
            with (
                contextlib.suppress(duckdb.Error),
                contextlib.closing(db._database.connection.cursor()) as cursor,
            ):
                count_to(10**5, cursor, begun)

        worker = threading.Thread(target=work)
        worker.start()
        assert begun.wait(180)
        # It cannot share the old instance, as it wants another limit.
        db.memory_share.n_bytes += 1 << 20
        db.mark_broken()
        assert collection.get(ids=["7"])["documents"] == ["7"]
        worker.join()


def test_vectors_have_one_object_however_their_opening_meets_another_of_the_database(
    tmp_path: Path,
) -> None:
    """A second object does not learn what is added, and took the sum of the last rows for that of every later block."""
    dimension = 1_536
    rows = np.random.default_rng(0).standard_normal((66, dimension)).astype(np.float32)
    ids = [str(number) for number in range(len(rows))]
    settings = chroma_nb.Settings(progress=False)
    with chroma_nb.PersistentClient(tmp_path / "store", settings) as client:
        collection = client.create_collection("read", embedding_function=None)
        collection.add(ids=ids[:28], embeddings=rows[:28])
    with chroma_nb.PersistentClient(tmp_path / "store", settings) as client:
        collection = client.get_collection("read", embedding_function=None)
        db = client.api.segments.db
        waits = threading.Event()
        found: list[Any] = []

        class Observed:
            """Stands for the write lock, and says when somebody asks for it."""

            def __getattr__(self, name: str) -> Any:
                return getattr(lock, name)

            def __enter__(self) -> Any:
                if threading.current_thread() is reader:
                    waits.set()
                return lock.__enter__()

            def __exit__(self, *error: object) -> None:
                lock.__exit__(*error)

        reader = threading.Thread(target=lambda: found.append(db.vectors(collection.id)))
        lock = db._database.write_lock
        with lock:
            db._database.write_lock = Observed()
            reader.start()
            assert waits.wait(180)
            db.mark_broken()
            db._database.reload_if_stale()
        reader.join()
        db._database.write_lock = lock
        assert found[0] is db.vectors(collection.id)
        collection.add(ids=ids[28:], embeddings=rows[28:])
        labels = np.array([45, 61])
        np.testing.assert_array_equal(found[0].mapped(66, 0, labels)[labels], rows[labels])


def test_a_read_that_was_cut_off_is_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody has to know that a checkpoint in the background has failed meanwhile."""
    client, collection = filled(tmp_path / "store")
    with client:
        collection.unload()
        db = client.api.segments.db
        calls = []
        record_table = db.record_table

        def ends_once(cursor: Any, entry: Any) -> Any:
            calls.append(entry)
            if len(calls) == 1:
                raise duckdb.FatalException("FATAL Error: database has been invalidated")
            return record_table(cursor, entry)

        monkeypatch.setattr(db, "record_table", ends_once)
        assert collection.get(ids=["7"])["documents"] == ["7"]
        assert len(calls) > 1


def test_a_reader_that_was_cut_off_is_told_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not that its store is damaged."""
    monkeypatch.setattr(folder_database, "_READERS_SECONDS", 0.0)
    monkeypatch.setattr(folder_database, "_INTERRUPTED_SECONDS", 0.0)
    client, collection = filled(tmp_path / "store")
    with client:
        db = client.api.segments.db
        begun, reopened, errors = threading.Event(), threading.Event(), []

        def read() -> None:
            try:
                with db._database.reading() as cursor:
                    cursor.execute(f'SELECT id FROM "{db._database.entry(collection.id).table}"')
                    begun.set()
                    reopened.wait()
                    cursor.fetchall()
            except Exception as error:
                errors.append(error)

        reader = threading.Thread(target=read)
        reader.start()
        begun.wait()
        db.mark_broken()
        assert collection.get(ids=["7"])["documents"] == ["7"]
        reopened.set()
        reader.join()
        (error,) = errors
        assert isinstance(error, InternalError)
        assert "Repeat the call" in str(error)
        assert client.check().is_whole


def test_a_store_in_memory_has_memory_for_its_checkpoints_whatever_is_in_use() -> None:
    # DuckDB ends where a checkpoint has too little, and what is in memory is gone.
    settings = chroma_nb.Settings(progress=False, duckdb_memory_limit="12 MB")
    with chroma_nb.EphemeralClient(settings) as client:
        db = client.api.segments.db  # type: ignore[attr-defined]
        with db._database._memory_for_checkpoint():
            assert db.memory_share.limit >= db.memory_share.n_bytes + (32 << 20)
        assert db.memory_share.limit == db.memory_share.n_bytes


FREED = """
import ctypes, sys
from chroma_nb.memory.trim import return_large_at_once

class Info(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in
                "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost".split()]

libc = ctypes.CDLL(None)
if not hasattr(libc, "mallinfo2"):
    sys.exit(0)
libc.mallinfo2.restype = Info
return_large_at_once(300_000_000)
# What raises glibc's own threshold, and then a smaller block.
del (first := [bytearray(20_000_000)])[:]
before = libc.mallinfo2().hblkhd
kept = bytearray(1_000_000)
sys.exit(libc.mallinfo2().hblkhd - before < 1_000_000)
"""


def test_within_little_memory_large_blocks_are_the_systems() -> None:
    assert subprocess.run([sys.executable, "-c", FREED], check=False).returncode == 0


def test_a_commit_that_runs_out_of_memory_when_it_is_in_the_log_is_a_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, collection = filled(tmp_path / "store")
    with client:
        db = client.api.segments.db

        commit = db._database._commit

        def too_little(connection: Any) -> None:
            commit(connection)
            raise duckdb.OutOfMemoryException("Out of Memory Error: failed to allocate data")

        with monkeypatch.context() as patched:
            patched.setattr(db._database, "_commit", too_little)
            collection.add(ids=["more"], embeddings=np.full((1, 4), 2.0, dtype=np.float32))
            collection.delete(ids=["7"])
        assert collection.get(ids=["7", "more"])["ids"] == ["more"]
        assert collection.query(query_embeddings=[[9.0] * 4], n_results=1)["ids"] == [["more"]]
        collection.add(ids=["last"], embeddings=np.full((1, 4), 3.0, dtype=np.float32))
    with chroma_nb.PersistentClient(tmp_path / "store") as client:
        again = client.get_collection("read", embedding_function=None)
        assert again.count() == 20_001
        assert again.get(ids=["7", "more", "last"])["ids"] == ["more", "last"]
        assert client.check().is_whole
