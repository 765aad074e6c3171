"""The ClickHouse store beside its contracts: its log, large commits, compactions that were cut off, addresses, forks."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import subprocess
import sys
import threading
import uuid
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import chroma_nb
from chroma_nb.errors import (
    ConflictError,
    InternalError,
    InvalidArgumentError,
    NotFoundError,
    ServerUnavailableError,
    StoreCorruptError,
    StoreLockedError,
    UniqueConstraintError,
)
from chroma_nb.filters.expression import DocumentMatches
from chroma_nb.settings import Settings

# Before its module, whose assertions pytest rewrites then.
from chroma_nb.testing import DBContract  # noqa: F401
from chroma_nb.testing._api_base import EVERYTHING, PLACE
from chroma_nb.testing._db import create, ids_of, insert, remove, replace, vectors_of
from tests.support.clickhouse import HAS_CLICKHOUSE, NO_CLICKHOUSE, URL, at_clickhouse, let_go

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.skipif(not HAS_CLICKHOUSE, reason=NO_CLICKHOUSE)
embedded = pytest.mark.skipif(bool(URL), reason="about a store in this process")


@pytest.fixture(autouse=True)
def nothing_is_open() -> None:
    let_go()


@pytest.fixture
def place(tmp_path: Path) -> Settings:
    settings = Settings(path=str(tmp_path / "store"), temp_path=str(tmp_path), progress=False)
    return at_clickhouse(settings)


@pytest.fixture
def open_db(place: Settings) -> Iterator[Any]:
    from chroma_nb.db import Clickhouse

    with contextlib.ExitStack() as opened:
        yield lambda: opened.enter_context(contextlib.closing(Clickhouse(place)))


@pytest.fixture
def db(open_db: Any) -> Any:
    return open_db()


@pytest.fixture
def notes(db: Any) -> uuid.UUID:
    return create(db, "notes")


# -- the log ----------------------------------------------------------------------------------------


def test_a_token_that_was_taken_without_its_rows_does_not_stop_the_log(
    db: Any, notes: uuid.UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As ClickHouse leaves it that was killed between noting down the token and the rows."""
    from chroma_nb.db.clickhouse import log
    from chroma_nb.db.clickhouse.blocks import block

    monkeypatch.setattr(log, "_LOOK_SECONDS", 0.001)
    insert(db, notes, ["a"])
    view = db._view(notes)
    nothing = block(1, kind=9, label=0)
    db._connection.insert(view.log.table, nothing, f"commit-{view.number + 1}")
    db._connection.insert(view.log.table, nothing, f"commit-{view.number + 1}.1")
    insert(db, notes, ["b"])
    insert(db, notes, ["c"])
    assert ids_of(db, notes) == ["a", "b", "c"]
    assert db.check(notes).is_whole


def test_after_an_insert_that_has_failed_its_token_is_not_trusted(
    db: Any, notes: uuid.UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pyarrow as pa

    from chroma_nb.db.clickhouse import log
    from chroma_nb.db.clickhouse.blocks import block

    monkeypatch.setattr(log, "_LOOK_SECONDS", 0.001)
    insert(db, notes, ["a"])
    insert(db, notes, ["b"])
    client, real = db._connection._client, db._connection._client.insert_arrow

    def full(table: str, _: Any, **named: Any) -> None:
        # The token is taken, the rows are not there.
        real(table, nothing, **named)
        raise OSError("no space left on device")

    nothing = pa.Table.from_batches([block(1, kind=9, label=0)])
    with monkeypatch.context() as patch:
        patch.setattr(log, "PATIENCE_SECONDS", 0.05)
        patch.setattr(client, "insert_arrow", full)
        with pytest.raises(InternalError):
            insert(db, notes, ["c"])
    insert(db, notes, ["c"])
    insert(db, notes, ["d"])
    assert ids_of(db, notes) == ["a", "b", "c", "d"]
    assert db.check(notes).is_whole


@pytest.mark.parametrize("is_written", [True, False], ids=["written", "not written"])
def test_a_commit_whose_answer_is_lost_is_read_back(
    db: Any, notes: uuid.UUID, monkeypatch: pytest.MonkeyPatch, is_written: bool
) -> None:
    from chroma_nb.db.clickhouse.errors import NoAnswerError

    real, calls = db._connection.insert, []

    def lost(*given: Any) -> None:
        calls.append(given[2])
        if is_written or len(calls) > 1:
            real(*given)
        if len(calls) == 1:
            raise NoAnswerError("the answer is lost")

    insert(db, notes, ["a"])
    with monkeypatch.context() as patch:
        patch.setattr(db._connection, "insert", lost)
        insert(db, notes, ["b"])
    assert len(set(calls)) == 1, "tried again with the same token alone"
    assert ids_of(db, notes) == ["a", "b"]
    assert db.check(notes).is_whole


def test_a_commit_of_which_nothing_is_heard_says_that_it_is_not_known(
    db: Any, notes: uuid.UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    from chroma_nb.db.clickhouse import log
    from chroma_nb.db.clickhouse.errors import NoAnswerError

    def silent(*_: Any) -> None:
        raise NoAnswerError("nothing is heard")

    insert(db, notes, ["a"])
    with monkeypatch.context() as patch:
        patch.setattr(log, "PATIENCE_SECONDS", 0.05)
        patch.setattr(db._connection, "insert", silent)
        with pytest.raises(InternalError, match="not known whether this was written"):
            insert(db, notes, ["b"])
    insert(db, notes, ["b"])
    assert ids_of(db, notes) == ["a", "b"]


def test_two_commits_of_one_number_are_noticed(db: Any, notes: uuid.UUID) -> None:
    from chroma_nb.db.clickhouse.blocks import head_row

    insert(db, notes, ["a"])
    view = db._view(notes)
    again = head_row(view.number, 7, view.counters.to_text(), None, staged=False)
    db._connection.insert(view.log.table, again, "a token of its own")
    with pytest.raises(StoreCorruptError, match="two commits of number"):
        db.refresh(notes)
    assert not db.check(notes).is_whole


def test_of_two_that_take_one_name_one_is_refused(open_db: Any) -> None:
    one, other = open_db(), open_db()
    barrier, refused = threading.Barrier(8), []

    def take(db: Any) -> None:
        barrier.wait(60)
        try:
            create(db, "notes")
        except UniqueConstraintError as error:
            refused.append(error)

    threads = [threading.Thread(target=take, args=(db,)) for db in (one, other) * 4]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(refused) == 7
    assert [info.name for info in one.list_collections()] == ["notes"]
    assert other.list_collections() == one.list_collections()


def test_the_catalogue_is_read_from_its_snapshots(
    open_db: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from chroma_nb.db.clickhouse import catalogue

    monkeypatch.setattr(catalogue, "_SNAPSHOT_EVERY", 4)
    one = open_db()
    for n in range(6):
        one.create_tenant(f"t{n}")
    notes = create(one, "Notes 'ä' \\ {x:String}", metadata={"n": 1})
    create(one, "notes")
    create(one, "NOTES")
    insert(one, notes, ["a"])
    other = open_db()
    assert other._known[0].tenants == one._known[0].tenants
    assert other.list_collections() == one.list_collections()
    assert [info.name for info in other.list_collections()][1:] == ["notes", "NOTES"]
    assert other._log.snapshot() is not None


def test_reads_may_lag_for_as_long_as_the_settings_say(open_db: Any, place: Settings) -> None:
    from chroma_nb.db import Clickhouse

    one = open_db()
    notes = create(one, "notes")
    late = place.replace(clickhouse_staleness_seconds=3_600)
    with (
        contextlib.closing(Clickhouse(late)) as other,
        contextlib.closing(Clickhouse(place)) as third,
    ):
        for db in (other, third):
            assert ids_of(db, notes) == []
        insert(one, notes, ["a"])
        create(one, "later")
        assert not other.is_behind(notes)
        assert [info.name for info in other.list_collections()] == ["notes"]
        assert third.is_behind(notes)
        assert [info.name for info in third.list_collections()] == ["notes", "later"]
        with pytest.raises(UniqueConstraintError):
            create(other, "later")
        # A write reads the newest commit whatever the staleness, and so does `refresh`.
        with pytest.raises(ConflictError):
            insert(other, notes, ["b"])
        other.refresh(notes)
        insert(other, notes, ["b"])
        assert ids_of(other, notes) == ["a", "b"]


@embedded
def test_what_only_this_process_can_have_changed_is_not_asked_for(
    open_db: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = open_db(), open_db()
    notes, more = create(one, "notes"), create(one, "more")
    for db in (one, other):
        for collection in (notes, more):
            insert(one, collection, [f"{db}"[-4:]])
            db.refresh(collection)
    asked: list[str] = []
    query = type(one._connection).query

    def counted(self: Any, sql: str) -> Any:
        asked.append(sql)
        return query(self, sql)

    monkeypatch.setattr(type(one._connection), "query", counted)
    assert not one.is_behind(notes)
    insert(one, notes, ["a"])
    insert(one, notes, ["b"])
    for db, collection in ((one, notes), (one, more), (other, more)):
        assert not db.is_behind(collection)
        db.refresh(collection)
    one.list_collections()
    assert not asked
    assert other.is_behind(notes)
    other.refresh(notes)
    asked.clear()
    insert(other, notes, ["c"])
    assert len(asked) == 1, "whose it is: another one was there before"
    insert(other, notes, ["d"])
    assert len(asked) == 1
    create(one, "third")
    assert [info.name for info in other.list_collections()] == ["notes", "more", "third"]
    one.delete_collection(more)
    with pytest.raises(NotFoundError):
        other.is_behind(more)


def test_a_look_that_is_older_than_the_view_does_not_move_it_back(open_db: Any) -> None:
    one, other = open_db(), open_db()
    notes = create(one, "notes")
    insert(one, notes, ["a"])
    with other.one_look():
        other.get_collection(notes)
        other.refresh(notes)
    with one.one_look():
        one.get_collection(notes)
        # As another thread of this process does, while this one waits for the collection's lock.
        thread = threading.Thread(target=insert, args=(one, notes, ["b"]))
        thread.start()
        thread.join(60)
        assert not one.is_behind(notes)
        assert one.refresh(notes).n_records == 2
    with one.one_look():
        one.get_collection(notes)
        other.refresh(notes)
        insert(other, notes, ["c"])
        assert not one.is_behind(notes), "this call has looked before"
        assert one.refresh(notes).n_records == 2
        assert one.refresh(notes).n_records == 3, "after a conflict it looks again"
    insert(other, notes, ["d"])
    assert one.is_behind(notes)
    one.refresh(notes)
    assert ids_of(one, notes) == ["a", "b", "c", "d"]


@pytest.mark.parametrize("kind", ["a deletion", "a compaction"])
def test_what_others_commit_after_the_look_is_not_lost_to_a_scan(
    open_db: Any, place: Settings, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """`catch_up_locked` has scans keep their records where others have committed; they may do so just after it has looked."""
    from chroma_nb.db import Clickhouse
    from chroma_nb.testing._processes import Process, records_of

    one, other = (Process(open_db(), place.replace(memory_budget="1 GB")) for _ in range(2))
    one.id = other.id = create(one.db, "notes")
    ids = [f"r{n:03}" for n in range(200)]
    one.add(*ids)
    other.count()
    scan = one.api.scan(one.id, piece_bytes=2_000, **PLACE)
    rows = list(next(scan).ids)
    assert len(rows) < 200
    is_behind = Clickhouse.is_behind

    def late(db: Any, collection_id: uuid.UUID) -> bool:
        found = is_behind(db, collection_id)
        if db is one.db and other.count() == 200:
            other.delete(*ids[::2])
            if kind == "a compaction":
                other.segments.compact(other.id)
        return found

    monkeypatch.setattr(Clickhouse, "is_behind", late)
    with contextlib.suppress(ConflictError):
        one.segments.compact(one.id)
    one.add("more")
    for piece in scan:
        rows += piece.ids
    assert rows == ids
    expected = dict.fromkeys([*ids[1::2], "more"], 0)
    assert one.records() == other.records() == records_of(expected)
    for process in (one, other):
        process.api.close()


@pytest.mark.parametrize("is_loaded", [False, True], ids=["on disk", "loaded"])
def test_one_compacts_while_another_reads_writes_and_exports(
    open_db: Any, place: Settings, is_loaded: bool
) -> None:
    from chroma_nb.testing._processes import Process, record_of, records_of

    one, other = (Process(open_db(), place.replace(memory_budget="1 GB")) for _ in range(2))
    one.id = other.id = create(one.db, "notes")
    ids = [f"r{n:02}" for n in range(60)]
    one.add(*ids)
    ended, failures, n_compactions = threading.Event(), [], 0

    def compact() -> None:
        nonlocal n_compactions
        try:
            for n in range(10_000):
                if ended.is_set() and n_compactions:
                    return
                one.upsert(f"o{n % 5}", version=n)
                one.delete(f"o{(n + 1) % 5}")
                with contextlib.suppress(ConflictError):
                    one.segments.compact(one.id)
                    n_compactions += 1
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=compact)
    thread.start()
    expected = dict.fromkeys(ids, 0)
    try:
        for n in range(12):
            if is_loaded:
                other.load()
            else:
                other.api.unload(other.id, **PLACE)
            scan = other.api.scan(other.id, piece_bytes=1_000, **PLACE)
            rows = dict(zip((first := next(scan)).ids, first.metadatas, strict=True))
            id = ids[n * 7 % len(ids)]
            before = dict(expected)
            other.upsert(id, version=n)
            expected[id] = n
            for piece in scan:
                assert not rows.keys() & set(piece.ids)
                rows.update(zip(piece.ids, piece.metadatas, strict=True))
            read = {one: json.loads(text)["version"] for one, text in rows.items() if one in before}
            assert read == before, "as it was when the scan began"
            assert other.nearest(id, n) == id
            found = other.api.get(other.id, ids=[id], include=EVERYTHING, **PLACE)
            assert (found.documents, found.metadatas) == (
                [record_of(id, n)[0]],
                [record_of(id, n)[1]],
            )
            assert {one: rest for one, rest in other.records().items() if one in expected} == (
                records_of(expected)
            )
            assert other.count() >= len(ids)
    finally:
        ended.set()
        thread.join(120)
    assert not failures, failures
    assert n_compactions
    assert one.records() == other.records()
    for process in (one, other):
        assert process.db.check(process.id).is_whole
        process.api.close()


# -- large commits ----------------------------------------------------------------------------------


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    from chroma_nb.db.clickhouse import pieces

    monkeypatch.setattr(pieces, "BLOCK_ROWS", 3)


def test_a_commit_of_several_blocks_is_one_commit(
    open_db: Any, small_blocks: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    from chroma_nb.db.clickhouse.log import Log, LostError

    one, other = open_db(), open_db()
    notes = create(one, "notes")
    ids = [f"{n:02}" for n in range(20)]
    base = other.refresh(notes)
    insert(one, notes, ids, [{"n": n} for n in range(20)])
    assert ids_of(other, notes) == []
    other.refresh(notes)
    assert ids_of(other, notes) == ids
    (changes,) = other.changes_since(notes, base.version)
    assert (changes.rows.ids, changes.n_records_delta) == (ids, 20)
    np.testing.assert_array_equal(changes.vectors, vectors_of(np.arange(20)))

    def lost(*_: Any, **__: Any) -> None:
        raise LostError

    with monkeypatch.context() as patch:
        patch.setattr(Log, "append", lost)
        with pytest.raises(ConflictError, match=r"\[notes\] has changed"):
            insert(one, notes, [f"lost{n}" for n in range(9)])
        with pytest.raises(ConflictError):
            remove(one, notes, ids[:9])
    # The blocks of what was not committed are there, with labels that others take now.
    insert(other, notes, ["more"])
    remove(other, notes, ids[:10])
    one.refresh(notes)
    for db in (one, other):
        assert ids_of(db, notes) == [*ids[10:], "more"]
        np.testing.assert_array_equal(
            db.vectors(notes).read(np.array([20, 3])), vectors_of([20, 3])
        )
        assert db.check(notes).is_whole
    one.compact(notes)
    other.refresh(notes)
    assert ids_of(other, notes) == ids_of(one, notes) == [*ids[10:], "more"]
    assert other.check(notes).is_whole


def test_long_texts_make_blocks_by_their_bytes(
    db: Any, notes: uuid.UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    from chroma_nb.db.clickhouse import pieces

    monkeypatch.setattr(pieces, "BLOCK_BYTES", 5_000_000)
    insert(db, notes, ["a", "b", "c"], [{"text": f"{n}\0'" * 700_000} for n in range(3)])
    assert db._view(notes).counters.n_staged == 1
    found = db.fetch(notes, np.array([2, 0]))
    assert [json.loads(text or "")["text"][0] for text in found.metadatas] == ["2", "0"]


# -- compactions ------------------------------------------------------------------------------------


def test_a_compaction_that_was_cut_off_after_its_commit_is_finished_by_another(
    open_db: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = open_db()
    notes = create(one, "notes")
    insert(one, notes, ["a", "b", "c"])
    remove(one, notes, ["b"])

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(one, "_settle_quietly", killed)
        with pytest.raises(KeyboardInterrupt):
            one.compact(notes)
    other = open_db()
    assert ids_of(other, notes) == ["a", "c"]
    assert other.extent(notes).generation == 1
    assert other._entry(notes).generation == 1, "the catalogue was told"
    insert(other, notes, ["d"])
    one.refresh(notes)
    assert ids_of(one, notes) == ["a", "c", "d"]


def test_a_compaction_that_comes_second_leaves_no_table(
    open_db: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = open_db(), open_db()
    notes = create(one, "notes")
    insert(one, notes, ["a", "b"])
    other.refresh(notes)
    tables = other._connection.rows("SHOW TABLES")
    rewrite = other._rewrite

    def late(*given: Any) -> Any:
        insert(one, notes, ["c"])
        return rewrite(*given)

    monkeypatch.setattr(other, "_rewrite", late)
    with pytest.raises(ConflictError):
        other.compact(notes)
    assert other._connection.rows("SHOW TABLES") == tables
    assert ids_of(one, notes) == ["a", "b", "c"]


@embedded
def test_tables_that_nobody_names_are_deleted_in_the_end(
    open_db: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from chroma_nb.db.clickhouse import catalogue

    one = open_db()
    notes, gone = create(one, "notes"), create(one, "gone")
    insert(one, notes, ["a"])
    replace(one, notes, "a", "new")
    one.new_log(uuid.uuid4(), 0).create(fsync=False)
    one._connection.command("CREATE TABLE chroma_nb_of_somebody_else (n Int64) ENGINE = Memory")
    monkeypatch.setattr(one, "_drop_tables", lambda _: None)
    one.delete_collection(gone)
    second = open_db()
    one.compact(notes)
    second.close()
    assert len(one._connection.rows("SHOW TABLES")) == 6
    one.close()
    monkeypatch.setattr(catalogue, "GRACE_SECONDS", 0.0)
    again = open_db()
    names = {name for (name,) in again._connection.rows("SHOW TABLES")}
    ours = {"chroma_nb_catalogue", again._entry(notes).table}
    assert names == {*ours, "chroma_nb_of_somebody_else"}
    assert again._known[0].dead == {}
    assert again.fetch(notes, again.select(notes)).documents == ["new"]


# -- interrupts, forks, other processes -------------------------------------------------------------


@embedded
def test_a_commit_that_is_interrupted_is_whole_or_not_there(
    db: Any, notes: uuid.UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    from chroma_nb.db.clickhouse.log import Log

    expected: list[str] = []
    for place in ("insert", "append", "_owner", "_move"):
        target: Any = {"insert": db._connection, "append": Log, "_owner": Log}.get(place, db)
        real = getattr(target, place)

        def interrupted(*given: Any, real: Any = real, **named: Any) -> Any:
            real(*given, **named)
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(target, place, interrupted)
            with pytest.raises(KeyboardInterrupt):
                insert(db, notes, [f"{place}-0", f"{place}-1"])
        expected += [f"{place}-0", f"{place}-1"]
        db.refresh(notes)
        assert ids_of(db, notes) == expected
    insert(db, notes, ["after"])
    assert db.check(notes).is_whole


@embedded
def test_a_process_that_is_killed_while_it_writes_loses_nothing(tmp_path: Path) -> None:
    script = (
        "import chroma_nb, sys\n"
        "s = chroma_nb.Settings(db='clickhouse', path=sys.argv[1], progress=False)\n"
        "notes = chroma_nb.Client(s).get_or_create_collection('notes', embedding_function=None)\n"
        "n = notes.count() // 3\n"
        "while True:\n"
        "    ids = [f'{n}-{k}' for k in range(3)]\n"
        "    notes.add(ids=ids, embeddings=[[n, k] for k in range(3)], metadatas=[{'n': n}] * 3)\n"
        "    print(n, flush=True)\n"
        "    n += 1\n"
    )
    path, last = str(tmp_path / "store"), -1
    for lines in (3, 1, 6):
        child = subprocess.Popen(
            [sys.executable, "-c", script, path], stdout=subprocess.PIPE, text=True
        )
        assert child.stdout is not None
        for _ in range(lines):
            last = int(child.stdout.readline())
        child.kill()
        last = max([last, *(int(line) for line in child.stdout.read().split("\n")[:-1] if line)])
        child.stdout.close()
        child.wait()
    with chroma_nb.Client(Settings(db="clickhouse", path=path, progress=False)) as client:
        notes = client.get_collection("notes", embedding_function=None)
        ids = notes.get()["ids"]
        assert len(ids) // 3 - 1 in (last, last + 1)
        assert ids == [f"{n}-{k}" for n in range(len(ids) // 3) for k in range(3)]
        assert client.check().is_whole


@embedded
def test_a_second_process_is_refused(db: Any, place: Settings) -> None:
    script = (
        "import chroma_nb, sys\n"
        "try:\n"
        "    chroma_nb.Client(chroma_nb.Settings(db='clickhouse', path=sys.argv[1]))\n"
        "except Exception as error:\n"
        "    print(type(error).__name__, error)\n"
    )
    command = [sys.executable, "-c", script, place.path]
    said = subprocess.run(command, capture_output=True, text=True, check=True)
    assert said.stdout.startswith("StoreLockedError")
    assert f"pid {os.getpid()}" in said.stdout
    assert said.stderr == ""
    assert issubclass(StoreLockedError, InternalError)


@embedded
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_is_told_and_the_parent_goes_on(db: Any, notes: uuid.UUID) -> None:
    from chroma_nb.db import Clickhouse

    insert(db, notes, ["a"])
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        said = []
        for call in (
            lambda: db.select(notes),
            lambda: insert(db, notes, ["b"]),
            lambda: Clickhouse(Settings(path=f"{db._settings.path}-other")),
        ):
            try:
                call()
            except InternalError as error:
                said.append(str(error))
        db.close()
        os.write(writing, json.dumps(said).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        said = json.loads(pipe.read())
    assert os.waitpid(child, 0)[1] == 0
    assert len(said) == 3
    assert "forked" in said[0]
    assert "spawn" in said[2]
    insert(db, notes, ["b"])
    assert ids_of(db, notes) == ["a", "b"]


@embedded
def test_one_process_has_one_folder(db: Any, tmp_path: Path) -> None:
    from chroma_nb.db import Clickhouse

    with pytest.raises(InternalError, match=r"one folder in a process.*clickhouse_url"):
        Clickhouse(Settings(path=str(tmp_path / "another")))
    assert not (tmp_path / "another").exists()


# -- places -----------------------------------------------------------------------------------------


@embedded
def test_folders_of_something_else_are_left_alone(tmp_path: Path) -> None:
    from chroma_nb.db import Clickhouse

    with chroma_nb.PersistentClient(str(tmp_path / "duckdb")):
        pass
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "thesis.tex").write_text("mine")
    (tmp_path / "file").write_text("mine")
    for name, says in (("duckdb", "DuckDB"), ("foreign", "thesis.tex"), ("file", "is a file")):
        with pytest.raises(InvalidArgumentError, match=says):
            Clickhouse(Settings(path=str(tmp_path / name)))
    with chroma_nb.Client(Settings(db="clickhouse", path=str(tmp_path / "ours"))):
        pass
    with pytest.raises(
        InvalidArgumentError, match=r"a store of ClickHouse.*db='clickhouse', path="
    ):
        chroma_nb.PersistentClient(str(tmp_path / "ours"))
    # A folder of that name alone is not ours.
    (tmp_path / "papers" / "clickhouse").mkdir(parents=True)
    with pytest.raises(InvalidArgumentError, match="is no store"):
        chroma_nb.PersistentClient(str(tmp_path / "papers"))


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("clickhouse://u:geheim@host/db", "begins with 'clickhouse'"),
        ("host:8123", "over HTTP"),
        ("http://u:geheim@host:port/db", "cannot be read"),
        ("http://u:geheim@host/a/b", "one name"),
        ("http://u:geheim@host/a?secure=1", "'secure' behind the address"),
    ],
)
def test_an_address_that_cannot_be_used_is_refused_without_its_password(
    url: str, says: str
) -> None:
    from chroma_nb.db.clickhouse.address import read_address

    with pytest.raises(InvalidArgumentError, match=says) as raised:
        read_address(url)
    assert "geheim" not in str(raised.value)


def test_an_address_is_read(tmp_path: Path) -> None:
    from chroma_nb.db.clickhouse.address import read_address

    found = read_address("https://an%40na:ge%2Fheim@[::1]/notes?ca_cert=/ca.pem")
    assert found.name == "https://[::1]:8443/notes"
    assert "heim" not in repr(found)
    arguments = found.arguments(Settings(timeout_seconds=7))
    assert (arguments["username"], arguments["password"]) == ("an@na", "ge/heim")
    assert (arguments["ca_cert"], arguments["verify"]) == ("/ca.pem", True)
    assert arguments["send_receive_timeout"] == 7
    assert found.arguments(Settings(tls_verify="false"))["verify"] is False
    assert read_address("http://host").name == "http://host:8123/default"


def test_a_server_that_is_not_there_is_named_without_its_password(
    caplog: pytest.LogCaptureFixture,
) -> None:
    settings = Settings(db="clickhouse", clickhouse_url="http://anna:geheim@127.0.0.1:1/notes")
    assert "geheim" not in f"{settings!r} {settings.place} {settings.described()}"
    with (
        caplog.at_level(logging.DEBUG),
        pytest.raises(ServerUnavailableError, match=r"127\.0\.0\.1:1/notes does not answer") as it,
    ):
        chroma_nb.Client(settings)
    assert "geheim" not in f"{it.value} {it.value.__cause__} {caplog.text}"


def test_a_store_that_is_open_is_not_given_to_another_user() -> None:
    from chroma_nb.db import Clickhouse

    one, same, other = (
        Settings(db="clickhouse", clickhouse_url=f"http://{user}@host/notes", progress=progress)
        for user, progress in (("a:1", True), ("a:1", False), ("b:2", True))
    )
    assert Clickhouse.place(one) == Clickhouse.place(same) != Clickhouse.place(other)


def test_the_log_notices_a_commit_that_is_gone(db: Any, notes: uuid.UUID) -> None:
    insert(db, notes, ["a"])
    log = db._view(notes).log
    insert(db, notes, ["b"])
    insert(db, notes, ["c"])
    assert [head.number for head in log.after(0)] == [1, 2, 3]
    db._connection.command(
        f"ALTER TABLE {log.sql} DELETE WHERE kind = 2 AND label = 2 SETTINGS mutations_sync = 2"
    )
    with pytest.raises(StoreCorruptError, match="lacks commit 2"):
        log.after(0)
    assert "3 commits were made, there are 2" in db.check(notes).found


def test_settings_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(ValueError, match="a folder and a server are two places"):
        Settings(db="clickhouse", path="x", clickhouse_url="http://host")
    with pytest.raises(ValueError, match="for db='clickhouse'"):
        Settings(clickhouse_url="http://host")


def test_a_missing_package_is_named(tmp_path: Path) -> None:
    script = (
        "import sys\n"
        "sys.modules[sys.argv[1]] = None\n"
        "import chroma_nb\n"
        "try:\n"
        "    chroma_nb.Client(chroma_nb.Settings(db='clickhouse', path=sys.argv[2]))\n"
        "except ImportError as error:\n"
        "    print(error)\n"
    )
    for package in ("clickhouse_connect", "chdb", "pyarrow"):
        command = [sys.executable, "-c", script, package, str(tmp_path / "store")]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        assert 'pip install "chroma-nb[clickhouse]"' in said, package
        assert package in said


# -- searches ---------------------------------------------------------------------------------------


def test_the_vectors_are_not_fetched(place: Settings) -> None:
    settings = place.replace(memory_budget=2_000)
    vectors = np.random.default_rng(0).standard_normal((2_000, 7)).astype(np.float32)
    with chroma_nb.Client(settings) as client:
        notes = client.create_collection("notes", embedding_function=None)
        notes.add(ids=[f"r{row}" for row in range(2_000)], embeddings=vectors)
    with chroma_nb.Client(settings) as client:
        notes = client.get_collection("notes", embedding_function=None)
        include = ["embeddings", "distances"]
        found = notes.query(query_embeddings=vectors[1_900], n_results=5, include=include)
        assert found["ids"][0][0] == "r1900"
        np.testing.assert_array_equal(found["embeddings"][0][0], vectors[1_900])
        assert notes.get(ids=["r1234"], include=["embeddings"])["embeddings"].shape == (1, 7)
        source: Any = client.api.db.vectors(notes.id)
        assert source._end == 0, "no vector is in the local file"
        # What reads all of them brings them.
        assert len(notes.get(include=["embeddings"])["embeddings"]) == 2_000
        assert source._end == 2_000


def test_an_answer_after_a_query_that_failed_is_its_own(db: Any, notes: uuid.UUID) -> None:
    """chDB puts what the other had answered before the next answer."""
    insert(db, notes, ["a", "b"])
    for _ in range(3):
        with pytest.raises(InvalidArgumentError, match=r"a\(b"):
            db.select(notes, DocumentMatches("a(b", negated=False))
        assert db.find_labels(notes, ["b", "a"]).tolist() == [1, 0]


def test_graphs_are_deleted_with_the_logs_that_they_are_of(open_db: Any) -> None:
    def graphs() -> int:
        return len(db._connection.rows("SELECT name FROM system.tables WHERE name LIKE '%_graph'"))

    db = open_db()
    collections = [create(db, name) for name in ("one", "two", "three")]
    for collection in collections:
        insert(db, collection, [f"r{row}" for row in range(50)])
        covered: list[int] = []
        assert db.ranking.build(collection, "l2", covered.append)
        assert (sum(covered), db.ranking.n_covered(collection)) == (50, 50)
        assert not db.ranking.build(collection, "ip")
    assert graphs() == 3
    db.delete_collection(collections[0])
    assert graphs() == 2
    # A process is killed between deleting the log and its graph.
    log = db._view(collections[1]).log
    db._graphs.drop, kept = lambda _: None, db._graphs.drop
    db.delete_collection(collections[1])
    assert graphs() == 2
    db._graphs.drop = kept
    with pytest.raises(NotFoundError):
        db.ranking.build(collections[1], "l2")
    db._sweep()
    assert graphs() == 1
    assert log.table not in str(db._connection.rows("SHOW TABLES"))


def test_a_graph_is_built_piece_by_piece(
    db: Any, notes: uuid.UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    from chroma_nb.db.clickhouse import graph_tables

    monkeypatch.setattr(graph_tables, "_PIECE_NUMBERS", 2 * 10)
    ids = [f"r{row:03}" for row in range(100)]
    insert(db, notes, ids)
    remove(db, notes, [*ids[10:35], *ids[90:]])
    replace(db, notes, ids[0], "new")
    covered: list[int] = []
    assert db.ranking.build(notes, "l2", covered.append)
    assert covered[:3] == [0, 10, 20]
    # The last labels are of records that were removed, but for the one that was changed.
    assert db.ranking.n_covered(notes) == 101
    insert(db, notes, ["late"])
    query = vectors_of([40])[0]
    for fetch in (0, 8):
        found = db.ranking.rank(notes, query, 5, "l2", fetch=fetch)
        assert found.labels.tolist() == [40, 39, 41, 38, 42]
    late = vectors_of([101])[0]
    assert db.ranking.rank(notes, late, 1, "l2", fetch=8).labels.tolist() == [101]
    assert db.ranking.rank(notes, vectors_of([90])[0], 1, "l2", fetch=8).labels.tolist() == [89]


def test_no_record_is_found_twice_by_a_graph(db: Any, notes: uuid.UUID) -> None:
    insert(db, notes, [f"r{row:03}" for row in range(60)])
    assert db.ranking.build(notes, "l2")
    view = db._view(notes)
    # Another server has built at the same time, and this one has asked long ago where the graph ends.
    table = f"`{view.log.table}_graph`"
    db._connection.command(f"INSERT INTO {table} SELECT * FROM {table} WHERE label >= 20")
    db._graphs._ends[view.log.table] = (30, db._graphs._ends[view.log.table][1])
    found = db.ranking.rank(notes, vectors_of([40])[0], 5, "l2", fetch=20)
    assert found.labels.tolist() == [40, 39, 41, 38, 42]
