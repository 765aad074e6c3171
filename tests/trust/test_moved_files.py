"""Files that are moved, replaced or held by others while a store is open, or before it is opened."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
import warnings
from typing import TYPE_CHECKING, Any

import duckdb
import numpy as np
import pytest

import chroma_nb
from chroma_nb import cli
from chroma_nb.db.duckdb import database as database_module
from chroma_nb.db.vector_file import HEADER_BYTES
from chroma_nb.errors import InternalError, StoreCorruptError, StoreLockedError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

DIMENSION, N = 32, 1_500
GONE = "moved, deleted or replaced"


def rows(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, DIMENSION)).astype(np.float32)


def opened(path: Path, **values: Any) -> Any:
    return chroma_nb.PersistentClient(path, chroma_nb.Settings(progress=False, **values))


def notes_of(client: Any) -> Any:
    return client.get_or_create_collection("notes", embedding_function=None)


def add(notes: Any, n: int, mark: str) -> None:
    ids = [f"{mark}{i}" for i in range(n)]
    notes.add(ids=ids, embeddings=rows(n, len(mark)), documents=ids)


def vector_file(path: Path) -> Path:
    (found,) = (path / "vectors").iterdir()
    return found


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A closed store, with a copy of it beside."""
    path = tmp_path / "store"
    with opened(path) as client:
        add(notes_of(client), N, "n")
    shutil.copytree(path, tmp_path / "backup")
    return path


def moved_and_copied(path: Path) -> None:
    path.rename(path.with_name("before"))
    shutil.copytree(path.with_name("backup"), path)


def deleted_and_copied(path: Path) -> None:
    shutil.rmtree(path)
    shutil.copytree(path.with_name("backup"), path)


def only_database(path: Path) -> None:
    shutil.copy(path.with_name("backup") / "records.duckdb", path / "records.new")
    (path / "records.new").replace(path / "records.duckdb")


WRITES: dict[str, Callable[[Any], object]] = {
    "add": lambda notes: add(notes, 3, "late"),
    "delete": lambda notes: notes.delete(ids=["n1"]),
    "modify": lambda notes: notes.modify(metadata={"a": 1}),
    "unload": lambda notes: notes.unload(),
    "build_index": lambda notes: notes.build_index(),
    "query": lambda notes: notes.query(query_embeddings=rows(1), n_results=2),
    "get": lambda notes: notes.get(limit=1, include=["embeddings"]),
}


@pytest.mark.parametrize("what", WRITES)
@pytest.mark.parametrize("replace", [moved_and_copied, deleted_and_copied, only_database])
def test_a_client_whose_folder_was_replaced_neither_writes_nor_answers(
    store: Path, replace: Callable[[Path], None], what: str
) -> None:
    client = opened(store)
    notes = notes_of(client)
    notes.query(query_embeddings=rows(1), n_results=1)
    replace(store)
    with pytest.raises(InternalError, match=GONE):
        WRITES[what](notes)
    if replace is not only_database:
        # Another process opens the new folder and writes to it.
        script = (
            "import sys, chroma_nb, numpy as np\n"
            "with chroma_nb.PersistentClient(sys.argv[1]) as client:\n"
            "    notes = client.get_collection('notes', embedding_function=None)\n"
            f"    notes.add(ids=['other'], embeddings=np.ones((1, {DIMENSION})))\n"
        )
        subprocess.run([sys.executable, "-c", script, str(store)], check=True)
    with pytest.raises(InternalError, match=GONE):
        WRITES[what](notes)
    client.close()
    with opened(store) as again:
        assert again.check().is_whole
        found = notes_of(again)
        assert found.count() == N + (replace is not only_database)
        assert not found.get(ids=["late0"])["ids"]


def test_background_work_writes_nothing_into_a_folder_that_was_replaced(store: Path) -> None:
    client = opened(store)
    notes_of(client).query(query_embeddings=rows(1), n_results=1)
    db, notes = client.api.db, notes_of(client)
    moved_and_copied(store)
    before = sorted(one.name for one in store.rglob("*"))
    # Calls of the DB, as background threads make them.
    with pytest.raises(InternalError, match=GONE):
        _ = db.derived_folder
    with pytest.raises(InternalError, match=GONE):
        db.compact(notes.id)
    with pytest.raises(InternalError, match=GONE):
        db.delete_collection(notes.id)
    client.close()
    assert sorted(one.name for one in store.rglob("*")) == before


def test_every_call_on_a_moved_folder_raises(store: Path) -> None:
    client = opened(store)
    notes = notes_of(client)
    store.rename(store.with_name("elsewhere"))
    for call in (notes.count, notes.peek, client.list_collections, client.check):
        with pytest.raises(InternalError, match=GONE):
            call()
    client.close()
    assert not store.exists()
    with opened(store.with_name("elsewhere")) as again:
        assert notes_of(again).count() == N


def test_a_vector_file_that_is_replaced_while_open_is_checked_again(store: Path) -> None:
    with opened(store) as client:
        notes = notes_of(client)
        notes.get(include=["embeddings"])
        right = vector_file(store)
        # A copy with the same bytes is accepted.
        shutil.copy(right, store / "equal")
        (store / "equal").replace(right)
        found = notes.get(ids=["n7"], include=["embeddings"])["embeddings"]
        assert np.array_equal(found[0], rows(N, 1)[7])
        wrong = right.read_bytes()[:HEADER_BYTES] + rows(N, 9).tobytes()
        (store / "wrong").write_bytes(wrong)
        (store / "wrong").replace(right)
        with pytest.raises(StoreCorruptError, match="are not as they were written"):
            notes.get(ids=["n7"], include=["embeddings"])
        assert notes.get(ids=["n7"])["documents"] == ["n7"]


def test_without_its_vector_file_a_collection_can_be_saved_and_mended(store: Path) -> None:
    pytest.importorskip("pyarrow")
    for snapshot in (store / "indexes").iterdir():
        snapshot.unlink()
    vector_file(store).unlink()
    with opened(store) as client:
        notes = notes_of(client)
        with pytest.raises(StoreCorruptError, match="was missing") as caught:
            notes.query(query_embeddings=rows(1), n_results=1)
        assert len(caught.value.ids) == N
        report = client.check()
        assert len(report.collections[0].damaged_ids) == N
        assert len(notes.get()["documents"]) == N
        notes.export(store.with_name("rest.parquet"), skip_damaged=True)
        new = rows(10, 3)
        notes.update(ids=[f"n{i}" for i in range(10)], embeddings=new)
        add(notes, 20, "more")
        notes.delete(ids=[f"n{i}" for i in range(10, N)])
        found = notes.query(query_embeddings=new, n_results=1)
        assert [one for (one,) in found["ids"]] == [f"n{i}" for i in range(10)]
    with opened(store) as client:
        assert client.check().is_whole
        assert notes_of(client).count() == 30


def test_checking_and_reading_delete_no_file(
    store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    unnamed = store / "vectors" / "00000000-0000-0000-0000-000000000000.0.f32"
    unnamed.write_bytes(b"of a newer database, perhaps")
    assert cli.main(["check", str(store)]) == 0
    assert unnamed.name in capsys.readouterr().out
    with opened(store) as client:
        assert notes_of(client).count() == N
        assert unnamed.name in client.check()._repr_html_()
    assert unnamed.exists()
    with opened(store) as client:
        add(notes_of(client), 1, "more")
    assert not unnamed.exists()


def test_a_database_that_another_program_has_open_is_not_damaged(store: Path) -> None:
    script = "import sys, duckdb\ncon = duckdb.connect(sys.argv[1])\nprint('open', flush=True)\nsys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", script, str(store / "records.duckdb")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as other:
        assert other.stdout is not None
        assert other.stdin is not None
        assert other.stdout.readline() == b"open\n"
        with pytest.raises(StoreLockedError, match="Nothing is damaged"):
            opened(store)
        other.stdin.close()
    with (
        contextlib.closing(duckdb.connect(str(store / "records.duckdb"))),
        pytest.raises(InternalError, match=r"duckdb\.connect"),
    ):
        opened(store)
    with opened(store) as client:
        assert client.check().is_whole


def test_a_damaged_log_can_be_left_out_as_its_error_says(tmp_path: Path) -> None:
    path = tmp_path / "store"
    with opened(path) as client:
        add(notes_of(client), 20, "n")
    script = (
        "import os, sys, chroma_nb, numpy as np\n"
        "client = chroma_nb.PersistentClient(sys.argv[1])\n"
        "notes = client.get_collection('notes', embedding_function=None)\n"
        f"notes.add(ids=['lost'], embeddings=np.ones((1, {DIMENSION})))\n"
        "os._exit(0)\n"
    )
    subprocess.run([sys.executable, "-c", script, str(path)], check=True)
    log = path / "records.duckdb.wal"
    data = bytearray(log.read_bytes())
    # Near the beginning: damage at the end would look like a log that a kill has cut off.
    data[30] ^= 1
    log.write_bytes(data)
    with pytest.raises(StoreCorruptError, match="then move") as caught:
        opened(path)
    assert str(log) in str(caught.value)
    assert str(path / "commits") in str(caught.value)
    log.rename(tmp_path / "log")
    (path / "commits").rename(tmp_path / "commits")
    with opened(path) as client:
        assert notes_of(client).count() == 20
        assert client.check().is_whole


def test_settings_that_an_open_store_does_not_take_over_are_named(store: Path) -> None:
    with opened(store, memory_budget="100 MB") as first:
        with pytest.warns(UserWarning, match=r"allow_reset=True.*memory_budget='1 MB'") as warned:
            second = opened(store, memory_budget="1 MB", allow_reset=True)
        assert warned[0].filename == __file__
        assert "without effect" in str(warned[0].message)
        second.close()
        # The same settings, and one that belongs to the client, give no warning.
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            opened(store, memory_budget="100 MB", embedding="static").close()
        assert first.memory.budget == 100_000_000


def test_nobody_else_opens_the_database_of_an_open_store(store: Path) -> None:
    """DuckDB's lock is lost as soon as this process closes any descriptor of the file."""
    if sys.platform == "win32":
        pytest.skip("about locks of POSIX")
    code = f"import duckdb; duckdb.connect({str(store / 'records.duckdb')!r})"

    def opens() -> bool:
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
        return done.returncode == 0

    with opened(store) as client:
        notes = notes_of(client)
        assert not opens()
        add(notes, 10, "more")
        assert not opens()
        # Checkpoints, which look at the header as well.
        client.api.db.settle()
        add(notes, 10, "again")
        assert not opens()
        client.check()
        assert not opens()
    assert opens()
    with opened(store) as client:
        assert notes_of(client).count() == N + 20


def test_an_interrupt_after_a_checkpoint_is_not_taken_for_a_lost_log(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(store) as client:
        add(notes_of(client), 10, "more")
        database = client.api.db._database
        write = database_module.Database._write_checkpoint

        def interrupted(self: Any) -> None:
            write(self)
            raise KeyboardInterrupt

        monkeypatch.setattr(database_module.Database, "_write_checkpoint", interrupted)
        with pytest.raises(KeyboardInterrupt):
            database._checkpoint()
        monkeypatch.undo()
        assert not database.log.is_lost()
        add(notes_of(client), 10, "again")
        assert notes_of(client).count() == N + 20
