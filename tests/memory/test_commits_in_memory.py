"""A store in memory has nothing to be read anew from: its commits and checkpoints have memory, and errors tell the truth."""

from __future__ import annotations

import contextlib
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import duckdb
import numpy as np
import pytest

import chroma_nb
from chroma_nb.db._versions import IS_OLD_DUCKDB
from chroma_nb.db.memory_share import MemoryShare
from chroma_nb.errors import InternalError, MemoryBudgetError
from chroma_nb.memory.workspace import WORKSPACE
from tests.memory.fakes import FakeMachine

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

N = 600


@pytest.fixture
def client() -> Iterator[Any]:
    # No index: when one is there, the database settles, and a checkpoint in between changes what is reckoned.
    settings = chroma_nb.Settings(progress=False, index_engine="exact")
    with chroma_nb.EphemeralClient(settings) as client:
        yield client


def written(collection: Any, version: int, n: int = N, size: int = 40) -> list[str]:
    ids = [str(number) for number in range(n)]
    documents = [f"{version} of {one} {'é' * size}" for one in ids]
    collection.upsert(ids=ids, embeddings=np.ones((n, 2), dtype=np.float32), documents=documents)
    return documents


def test_a_commit_comes_through_while_others_use_all_of_the_databases_memory(client: Any) -> None:
    # DuckDB 2 ends where it has too little for a COMMIT; 1.3.2 joins texts with those that it takes back.
    db = client.api.segments.db
    share, expected = db.memory_share, []
    with db._database.changing(), db._database.transaction() as con:
        con.execute("CREATE TABLE texts (label BIGINT, text VARCHAR)")
    for number in range(30):
        rows = [(number * 50 + at, f"{number} " * (at % 9) * 30) for at in range(50)]
        with db._database.changing(), db._database.transaction() as con:
            con.execute(
                "INSERT INTO texts SELECT unnest(?), unnest(?)",
                [list(one) for one in zip(*rows, strict=True)],
            )
            share.n_bytes = db._database._memory_used(con)
            share.apply()
        expected += rows
        share.n_bytes = 64 << 20
        share.apply()
    with db._database.reading() as cursor:
        assert cursor.execute("SELECT * FROM texts ORDER BY label").fetchall() == expected


def test_deletes_and_updates_come_through_while_others_use_all_of_the_databases_memory(
    client: Any,
) -> None:
    # Where DuckDB runs out of memory in a DELETE, it leaves rows behind that can be neither deleted nor changed.
    db = client.api.segments.db
    share = db.memory_share
    notes = client.create_collection("notes", embedding_function=None)
    expected = dict(zip(map(str, range(N)), written(notes, 0), strict=True))
    for number in range(8):
        share.n_bytes = db._database._memory_used(db._database.connection)
        share.apply()
        gone = [str(one) for one in range(number, N, 40) if str(one) in expected]
        notes.delete(ids=gone)
        changed = [one for one in list(expected)[:20] if one not in gone]
        documents = [f"{number} {one}" for one in changed]
        vectors = np.ones((len(changed), 2), dtype=np.float32)
        notes.update(ids=changed, embeddings=vectors, documents=documents)
        for one in gone:
            del expected[one]
        expected.update({one: f"{number} {one}" for one in changed})
        client.create_collection(f"other-{number}", embedding_function=None)
        notes.modify(metadata={"number": number})
        share.n_bytes = 64 << 20
        share.apply()
    got = notes.get(include=["documents"])
    assert dict(zip(got["ids"], got["documents"], strict=True)) == expected
    assert client.get_collection("notes", embedding_function=None).metadata == {"number": 7}


@pytest.mark.parametrize("in_transaction", [True, False])
def test_a_limit_below_what_is_used_ends_no_transaction(in_transaction: bool) -> None:
    """The watcher of the machine's memory lowers it at any moment; DuckDB ends the transaction of who sets it."""
    # Nothing can go to files.
    with contextlib.closing(duckdb.connect(config={"temp_directory": ""})) as con:
        share = MemoryShare(1 << 30, False, con.cursor)
        share.apply()
        con.execute("BEGIN")
        con.execute(
            "CREATE TABLE numbers AS SELECT range AS n, hash(range) AS h FROM range(300000)"
        )
        share.n_bytes = 1 << 20
        with share.raised(0, con, in_transaction=in_transaction):
            assert share.is_stale
            if in_transaction:
                con.execute("INSERT INTO numbers VALUES (1, 2)")
                con.execute("COMMIT")
            else:
                # What this is for.
                with pytest.raises(duckdb.Error, match="aborted"):
                    con.execute("INSERT INTO numbers VALUES (1, 2)")
                con.execute("ROLLBACK")


def test_no_thread_lowers_the_limit_while_another_one_has_it_raised() -> None:
    # A limit was looked up, another thread raised it, and the first one set what it had looked up.
    with duckdb.connect() as connection:
        own, looked_up, may_go_on = connection.cursor(), threading.Event(), threading.Event()

        class Late:
            """A cursor that is slow to set a limit."""

            def execute(self, statement: str) -> None:
                looked_up.set()
                may_go_on.wait(0.2)
                own.execute(statement)

            def close(self) -> None:
                """Nothing to close."""

        share = MemoryShare(64 << 20, False, Late)  # type: ignore[arg-type]
        with ThreadPoolExecutor(1) as pool:
            lowered = pool.submit(share.apply)
            looked_up.wait()
            with share.raised(64 << 20, connection):
                may_go_on.set()
                lowered.result()
                (limit,) = connection.execute("SELECT current_setting('memory_limit')").fetchone()  # type: ignore[misc]
                assert limit == "128.0 MiB"


def test_a_commit_that_failed_when_it_was_there_says_so_and_is_not_made_again(
    client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    collection = client.create_collection("notes", embedding_function=None)
    db = client.api.segments.db

    def too_late(connection: Any) -> None:
        monkeypatch.undo()
        db._database._commit(connection)
        raise duckdb.OutOfMemoryException("failed to pin block of size 256.0 KiB")

    monkeypatch.setattr(db._database, "_commit", too_late)
    with pytest.raises(InternalError, match="All of this call is there all the same"):
        written(collection, 1)
    assert collection.count() == N
    documents = written(collection, 2)
    assert collection.get()["documents"] == documents
    assert client.list_collections()[0].name == "notes"


def test_a_commit_that_failed_before_it_was_there_is_made_again(
    client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    collection = client.create_collection("notes", embedding_function=None, metadata={"a": 0.1})
    db = client.api.segments.db

    def too_early(connection: Any) -> None:
        monkeypatch.undo()
        raise duckdb.OutOfMemoryException("failed to pin block of size 256.0 KiB")

    monkeypatch.setattr(db._database, "_commit", too_early)
    documents = written(collection, 1)
    assert collection.get()["documents"] == documents


def test_checkpoints_are_made_here_and_not_in_the_middle_of_a_commit(client: Any) -> None:
    collection = client.create_collection("notes", embedding_function=None)
    db = client.api.segments.db
    (limit,) = db._database.connection.execute(
        "SELECT current_setting('checkpoint_threshold')"
    ).fetchone()
    assert limit == "931.3 GiB"
    for version in range(12):
        documents = written(collection, version, size=1_500)
    assert 0 < db._database.checkpoint_memory.changed_bytes < 12 * N * 3_000
    assert db._database.checkpoint_memory.changed_bytes <= 20 << 20
    assert collection.get()["documents"] == documents


def long_ones(collection: Any, n: int = 40, size: int = 100_000) -> None:
    ids = [str(number) for number in range(n)]
    collection.upsert(
        ids=ids, embeddings=np.ones((n, 2), dtype=np.float32), documents=["w" * size for _ in ids]
    )


def little(monkeypatch: pytest.MonkeyPatch, n_bytes: int) -> None:
    machine = FakeMachine(n_bytes + WORKSPACE.headroom)
    monkeypatch.setattr(WORKSPACE, "_machine", machine)


def test_a_checkpoint_has_all_of_its_memory_or_is_put_off(
    client: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    settings = chroma_nb.Settings(progress=False)
    with chroma_nb.PersistentClient(tmp_path / "store", settings) as folder:
        for store in (client, folder):
            collection = store.create_collection("notes", embedding_function=None)
            db = store.api.segments.db
            long_ones(collection)
            # Others have the rest.
            if db.persists:
                db.memory_share.n_bytes = 4 << 20
            with monkeypatch.context() as tight:
                little(tight, 6 << 20)
                with pytest.raises(MemoryBudgetError):
                    db._database._checkpoint()
            assert collection.get(ids=["39"])["documents"] == ["w" * 100_000]
            db._database._checkpoint()
            assert not db._database.checkpoint_memory.uncheckpointed


def test_a_few_long_texts_among_many_short_ones_are_reckoned_with(client: Any) -> None:
    collection = client.create_collection("notes", embedding_function=None)
    written(collection, 1, n=6_000)
    ids = [f"long {number}" for number in range(40)]
    collection.add(
        ids=ids, embeddings=np.ones((40, 2), dtype=np.float32), documents=["w" * 100_000] * 40
    )
    db = client.api.segments.db
    assert db._database.checkpoint_memory.n_bytes() > 2 * 40 * 100_000
    written(collection, 2, n=6_000, size=600)
    before = db._database.checkpoint_memory.n_bytes()
    assert db._database.checkpoint_memory.measure_chunks(db._database.connection)
    assert 2 * 40 * 100_000 < db._database.checkpoint_memory.n_bytes() < before


def test_compression_is_left_out_where_there_is_no_memory_to_try_it_out(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    settings = chroma_nb.Settings(progress=False)
    with chroma_nb.PersistentClient(tmp_path / "store", settings) as store:
        collection = store.create_collection("notes", embedding_function=None)
        db = store.api.segments.db  # type: ignore[attr-defined]
        documents = written(collection, 1, n=6_000, size=1_000)
        db.memory_share.n_bytes = 16 << 20
        with monkeypatch.context() as tight:
            little(tight, 8 << 20)
            db._database._checkpoint()
        assert not db._database.checkpoint_memory.uncheckpointed
        assert not db._database._is_broken
        query = "SELECT current_setting('disabled_compression_methods')"
        assert db._database.connection.execute(query).fetchall()[0][0].lower() == "zstd"
        assert collection.get(limit=9)["documents"] == documents[:9]


@pytest.mark.skipif(IS_OLD_DUCKDB, reason="DuckDB 1.3 does not end so")
def test_a_store_in_memory_that_has_ended_says_that_it_is_lost(client: Any) -> None:
    collection = client.create_collection("notes", embedding_function=None)
    long_ones(collection)
    db = client.api.segments.db
    db.memory_share.n_bytes = 2 << 20
    db.memory_share.apply()
    with (
        contextlib.closing(db._database.connection.cursor()) as cursor,
        pytest.raises(duckdb.FatalException),
    ):
        cursor.execute("CHECKPOINT")
    db.memory_share.n_bytes = 64 << 20
    db.memory_share.apply()
    for _ in range(2):
        with pytest.raises(InternalError, match="its records are lost"):
            db.find_labels(collection.id, ["1"])
        with pytest.raises(InternalError, match="its records are lost"):
            written(collection, 2)
