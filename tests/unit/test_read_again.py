"""DuckDB ends while something is read, as after a checkpoint that failed, or a table is replaced: the read is repeated."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, Any

import duckdb
import numpy as np
import pytest

import chroma_nb
from chroma_nb.db.duckdb.connection import DuckDBConnection
from tests.stores import private_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

VECTORS = np.random.default_rng(0).standard_normal((60, 4), dtype=np.float32)


def notes_of(client: Any) -> Any:
    return client.get_collection("notes", embedding_function=None)


READS: dict[str, Callable[[Any], object]] = {
    "get": lambda client: notes_of(client).get(),
    "get where": lambda client: notes_of(client).get(where={"n": {"$gt": 3}})["ids"],
    "query": lambda client: notes_of(client).query(query_embeddings=VECTORS[3], n_results=3)["ids"],
    "load": lambda client: client.memory.load("notes"),
    "fields": lambda client: repr(notes_of(client).fields),
    "report": lambda client: client.memory.report().budget > 0,
    "check": lambda client: client.check().is_whole,
    "pandas": lambda client: notes_of(client).to_pandas()["id"].tolist(),
}


class Ending:
    """Has DuckDB end at one of the reads, or another thread cut that off."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
        #: How many reads there were, and the one at which DuckDB ends; 0: at none.
        self.n, self.at = 0, 0
        real = DuckDBConnection.reading

        @contextlib.contextmanager
        def reading(database: DuckDBConnection) -> Iterator[duckdb.DuckDBPyConnection]:
            with real(database) as cursor:
                self.n += 1
                if self.n == self.at and how == "cut off":
                    database._cut_off.add(cursor)
                    raise duckdb.InterruptException("INTERRUPT Error: Interrupted!")
                if self.n == self.at:
                    raise duckdb.FatalException("database has been invalidated")
                yield cursor

        monkeypatch.setattr(DuckDBConnection, "reading", reading)


@pytest.mark.parametrize("how", ["ended", "cut off"])
@pytest.mark.parametrize("name", READS)
def test_a_read_goes_on_wherever_duckdb_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, how: str
) -> None:
    def opened() -> Any:
        return chroma_nb.PersistentClient(tmp_path / "store", private_settings(progress=False))

    with opened() as client:
        notes = client.create_collection("notes", embedding_function=None)
        notes.add(
            ids=[f"id{row}" for row in range(60)],
            embeddings=VECTORS,
            documents=[f"text {row}" for row in range(60)],
            metadatas=[{"n": row} for row in range(60)],
        )
    ending = Ending(monkeypatch, how)
    with opened() as client:
        ending.n = 0
        expected = READS[name](client)
        n = ending.n
    assert n, "nothing was read from DuckDB"
    for at in range(1, n + 1):
        ending.at = 0
        with opened() as client:
            ending.n, ending.at = 0, at
            assert READS[name](client) == expected, f"DuckDB ended at read {at} of {n}"


def test_a_read_waits_for_the_writer_before_it_is_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DuckDB is reopened when the thread is done that has ended it, as by a checkpoint that failed."""
    with chroma_nb.PersistentClient(tmp_path / "store", private_settings(progress=False)) as client:
        notes = client.create_collection("notes", embedding_function=None)
        notes.add(ids=["a"], embeddings=VECTORS[:1])
        database = client.api.db._database
        is_writing, waits = threading.Event(), threading.Event()
        real, real_wait = DuckDBConnection.reading, DuckDBConnection.wait_for_writer
        is_ended = True

        def write() -> None:
            nonlocal is_ended
            with database.write_lock:
                is_writing.set()
                assert waits.wait(60)
                is_ended = False

        @contextlib.contextmanager
        def reading(self: DuckDBConnection) -> Iterator[duckdb.DuckDBPyConnection]:
            with real(self) as cursor:
                if is_ended:
                    raise duckdb.FatalException("database has been invalidated")
                yield cursor

        def wait_for_writer(self: DuckDBConnection) -> None:
            waits.set()
            real_wait(self)

        monkeypatch.setattr(DuckDBConnection, "reading", reading)
        monkeypatch.setattr(DuckDBConnection, "wait_for_writer", wait_for_writer)
        writer = threading.Thread(target=write)
        writer.start()
        assert is_writing.wait(60)
        try:
            assert notes.get(include=[])["ids"] == ["a"]
        finally:
            waits.set()
            writer.join()


@pytest.mark.parametrize("name", ["text_sizes", "longest_document"])
def test_a_compaction_replaces_the_table_that_is_about_to_be_measured(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pattern is checked before the collection is locked, by the sizes of its texts."""
    with chroma_nb.EphemeralClient() as client:
        notes = client.create_collection("notes", embedding_function=None)
        notes.add(ids=["a", "b"], embeddings=[[1.0], [2.0]], documents=["short", "a longer text"])
        notes.delete(ids=["a"])
        db: Any = client.api.db  # type: ignore[attr-defined]
        entry = db._database.entry

        def compacted_after(collection_id: Any) -> Any:
            monkeypatch.undo()
            found = entry(collection_id)
            db.compact(notes.id)
            # Its sizes are not known, as of a store that an older version wrote.
            found.texts = None
            return found

        monkeypatch.setattr(db._database, "entry", compacted_after)
        sizes = getattr(db, name)(notes.id)
        assert (sizes if name == "longest_document" else sizes.longest) >= len("a longer text")
        # Clients of the same settings share a store, so another test's would find it.
        client.delete_collection("notes")
