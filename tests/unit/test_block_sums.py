"""Checksums of vectors and the number of commits: what they find, what they cost, and the way out."""

from __future__ import annotations

import errno
import inspect
import itertools
import json
import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import duckdb
import numpy as np
import pytest

import chroma_nb
from chroma_nb import cli
from chroma_nb.db.block_sums import Block, BlockSums, rows_per_block
from chroma_nb.db.commit_file import CommitFile
from chroma_nb.db.duckdb import transactions
from chroma_nb.db.vector_file import HEADER_BYTES, VectorFile
from chroma_nb.errors import (
    InternalError,
    InvalidArgumentError,
    NotSupportedError,
    StoreCorruptError,
)
from tests.stores import private_settings
from tests.support.database_file import edited_database

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

#: 16 rows a block.
DIMENSION = 1_024
ROWS = rows_per_block(4 * DIMENSION)
#: Three blocks and a tail of 5.
N = 3 * ROWS + 5


def vectors(n: int = N, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, DIMENSION)).astype(np.float32)


def flip(path: Path, at: int) -> None:
    with open(path, "r+b") as file:
        file.seek(at)
        old = file.read(1)
        file.seek(at)
        file.write(bytes([old[0] ^ 4]))


def flip_row(path: Path, row: int) -> None:
    flip(path, HEADER_BYTES + row * 4 * DIMENSION + 7)


# -- the sums themselves ------------------------------------------------------------------------


def test_sums_do_not_depend_on_how_rows_came() -> None:
    rows = vectors()
    whole = BlockSums(4 * DIMENSION)
    whole.adopt(whole.growth([rows]))
    for seed in range(5):
        rng = np.random.default_rng(seed)
        cuts = [0, *sorted(rng.integers(0, N, 6).tolist()), N]
        pieces = BlockSums(4 * DIMENSION)
        for start, stop in itertools.pairwise(cuts):
            pieces.adopt(pieces.growth([np.ascontiguousarray(rows[start:stop])]))
        assert (pieces.stored(), pieces.tail) == (whole.stored(), whole.tail)
    assert whole.n_rows == N
    assert whole.n_blocks == 4


def test_a_row_without_a_checksum_is_not_compared_with_that_of_another() -> None:
    sums = BlockSums(4 * DIMENSION)
    sums.adopt(sums.growth([vectors()]))
    sums.forget()
    assert sums.unknown_of(np.array([0, N - 1])).tolist() == [0, 3]
    with pytest.raises(InternalError, match=f"Vector 64 .*of {N}"):
        sums.unknown_of(np.array([0, 64]))


def test_growth_that_is_not_adopted_changes_nothing() -> None:
    sums = BlockSums(4 * DIMENSION)
    sums.adopt(sums.growth([vectors(5)]))
    before = sums.stored(), sums.tail
    sums.growth([vectors(40, seed=1)])
    assert (sums.stored(), sums.tail) == before
    sums.adopt(sums.growth([vectors(11, seed=2)]))
    other = BlockSums(4 * DIMENSION)
    other.adopt(other.growth([np.concatenate([vectors(5), vectors(11, seed=2)])]))
    assert (sums.stored(), sums.tail) == (other.stored(), other.tail)


# -- reading a file -----------------------------------------------------------------------------


class Guarded:
    """A file with sums, as another process left it; `live` are the records' labels."""

    def __init__(self, path: Path, rows: np.ndarray) -> None:
        self.path = path
        self.live = set(range(len(rows)))
        file = VectorFile(str(path), rows.shape[1])
        file.append(0, rows)
        self._sums = BlockSums(file.row_bytes)
        self._sums.adopt(self._sums.growth([rows]))

    def open(self) -> VectorFile:
        file = VectorFile(str(self.path), DIMENSION, has_sums=True, create=False)
        file.check_against(
            BlockSums(file.row_bytes, self._sums.stored(), *self._sums.tail), self._damage
        )
        return file

    def _damage(self, blocks: Sequence[Block]) -> None:
        found = [
            str(label)
            for block in blocks
            for label in range(block.start, block.stop)
            if label in self.live
        ]
        if found:
            raise StoreCorruptError("damaged", ids=found)


@pytest.fixture
def guarded(tmp_path: Path) -> Guarded:
    return Guarded(tmp_path / "a.f32", vectors())


READS: dict[str, Callable[[VectorFile, int], Any]] = {
    "one": lambda file, row: file.read(np.array([row])),
    "many": lambda file, row: file.read(np.repeat(np.array([N - 1, row, 0]), 40)),
    "run": lambda file, row: file.read(np.arange(row, row + 1)),
    "block": lambda file, row: file.read_range(row, row + 1),
    "all": lambda file, row: file.read_range(0, N),
    "mapped": lambda file, row: file.mapped(N),
    "mapped from": lambda file, row: file.mapped(N, row),
    "mapped, chosen": lambda file, row: file.mapped(N, labels=np.array([row])),
}


@pytest.mark.parametrize("how", READS)
@pytest.mark.parametrize("row", [0, ROWS + 3, N - 1])
def test_a_flipped_bit_is_found_however_it_is_read(guarded: Guarded, how: str, row: int) -> None:
    READS[how](guarded.open(), row)
    flip_row(guarded.path, row)
    file = guarded.open()
    for _ in range(2):
        with pytest.raises(StoreCorruptError) as caught:
            READS[how](file, row)
        assert str(row) in caught.value.ids


def test_blocks_that_are_not_touched_are_not_read(
    guarded: Guarded, monkeypatch: pytest.MonkeyPatch
) -> None:
    flip_row(guarded.path, ROWS + 3)
    file = guarded.open()
    read: list[int] = []
    there = VectorFile._bytes_of

    def counted(self: VectorFile, fd: int, start: int, stop: int, buffer: memoryview) -> memoryview:
        read.append(start // ROWS)
        return there(self, fd, start, stop, buffer)

    monkeypatch.setattr(VectorFile, "_bytes_of", counted)
    np.testing.assert_array_equal(file.read(np.array([0, 2 * ROWS])), vectors()[[0, 2 * ROWS]])
    assert read == [0, 2]
    # Once in a process.
    file.read(np.array([1, 2 * ROWS + 1]))
    assert read == [0, 2]
    mapped = file.mapped(N, labels=np.array([3, N - 1]))
    np.testing.assert_array_equal(mapped[[3, N - 1]], vectors()[[3, N - 1]])
    assert file.sums is not None
    assert file.sums.unknown(0, N).tolist() == [1]


def test_what_is_read_as_a_whole_is_not_read_twice(
    guarded: Guarded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(VectorFile, "_bytes_of", None)
    np.testing.assert_array_equal(guarded.open().read_range(0, N), vectors())
    np.testing.assert_array_equal(guarded.open().mapped(N), vectors())


def test_damage_where_no_record_is_harms_nobody(guarded: Guarded) -> None:
    flip_row(guarded.path, ROWS + 3)
    guarded.live -= set(range(ROWS, 2 * ROWS))
    file = guarded.open()
    found = file.read_range(0, N)
    assert not found[ROWS : 2 * ROWS].any()
    np.testing.assert_array_equal(found[:ROWS], vectors()[:ROWS])
    # One record in it, and it is not.
    guarded.live.add(ROWS)
    with pytest.raises(StoreCorruptError):
        guarded.open().read_range(0, N)


@pytest.mark.parametrize("at", [0, 5, 9, 12])
def test_a_damaged_header_hides_no_rows(
    guarded: Guarded, at: int, caplog: pytest.LogCaptureFixture
) -> None:
    flip(guarded.path, at)
    file = guarded.open()
    assert "checksums of their own" in caplog.text
    assert "backup" not in caplog.text, "nothing is lost"
    np.testing.assert_array_equal(file.read_range(0, N), vectors())
    file.append(N, vectors(1, seed=4))
    # The next write made it right.
    VectorFile(str(guarded.path), DIMENSION, create=False)


# -- a store ------------------------------------------------------------------------------------


def store(path: Path, **values: Any) -> Any:
    return chroma_nb.PersistentClient(path, chroma_nb.Settings(progress=False, **values))


def notes_of(client: Any) -> Any:
    return client.get_or_create_collection("notes", embedding_function=None)


def fill(path: Path, n: int = N) -> np.ndarray:
    rows = vectors(n)
    with store(path) as client:
        notes_of(client).add(
            ids=[f"n{i}" for i in range(n)],
            embeddings=rows,
            documents=[f"note {i}" for i in range(n)],
        )
    for snapshot in (path / "indexes").iterdir():
        snapshot.unlink()
    return rows


def vector_file(path: Path) -> Path:
    (found,) = (path / "vectors").iterdir()
    return found


def in_database(path: Path, query: str) -> list[Any]:
    with duckdb.connect(str(path / "records.duckdb"), read_only=True) as connection:
        rows: list[Any] = connection.execute(query).fetchall()
    return rows


def test_the_error_names_the_way_out_and_it_leads_out(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    path = tmp_path / "store"
    rows = fill(path)
    flip_row(vector_file(path), ROWS + 1)
    lost = [f"n{i}" for i in range(ROWS, 2 * ROWS)]
    with store(path) as client:
        notes = notes_of(client)
        with pytest.raises(StoreCorruptError) as caught:
            notes.query(query_embeddings=rows[:1], n_results=1)
        said = str(caught.value)
        for part in (
            str(vector_file(path)),
            "[notes]",
            "16 records",
            f"'n{ROWS}'",
            "get(ids=",
            "skip_damaged=True",
            "backup",
        ):
            assert part in said
        assert caught.value.ids == lost
        # What is whole is answered.
        assert notes.get(ids=lost)["documents"] == [f"note {i}" for i in range(ROWS, 2 * ROWS)]
        np.testing.assert_array_equal(
            notes.get(ids=["n0"], include=["embeddings"])["embeddings"], rows[:1]
        )
        with pytest.raises(StoreCorruptError):
            notes.export(tmp_path / "all.parquet")
        assert not (tmp_path / "all.parquet").exists()
        assert notes.export(tmp_path / "rest.parquet", skip_damaged=True) == N - ROWS
        assert notes.last_transfer.damaged == ROWS
        with chroma_nb.EphemeralClient(private_settings()) as other:
            rest = other.import_(tmp_path / "rest.parquet", "rest")
            assert set(rest.get(include=[])["ids"]) == {f"n{i}" for i in range(N)} - set(lost)
        # Some are deleted, the others get new embeddings.
        notes.delete(ids=lost[:10])
        with pytest.raises(StoreCorruptError):
            notes.query(query_embeddings=rows[:1], n_results=1)
        notes.update(ids=lost[10:], embeddings=vectors(6, seed=5))
        assert notes.query(query_embeddings=rows[:1], n_results=1)["ids"] == [["n0"]]
        found = notes.query(query_embeddings=vectors(6, seed=5), n_results=1)["ids"]
        assert [one for (one,) in found] == lost[10:]
        assert client.check().is_whole


def test_new_records_share_no_block_with_damaged_ones(tmp_path: Path) -> None:
    rows = fill(tmp_path)
    before = vector_file(tmp_path).read_bytes()
    flip_row(vector_file(tmp_path), N - 1)
    with store(tmp_path) as client:
        notes = notes_of(client)
        notes.add(ids=["new"], embeddings=vectors(1, seed=3))
        notes.get(ids=["new"], include=["embeddings"])
        with pytest.raises(StoreCorruptError) as caught:
            notes.get(ids=[f"n{N - 1}"], include=["embeddings"])
        assert caught.value.ids == [f"n{i}" for i in range(3 * ROWS, N)]
        notes.add(ids=["newer"], embeddings=vectors(1, seed=6))
    with store(tmp_path) as client:
        notes = notes_of(client)
        found = notes.get(ids=["new", "newer"], include=["embeddings"])["embeddings"]
        np.testing.assert_array_equal(found, [vectors(1, seed=3)[0], vectors(1, seed=6)[0]])
        report = client.check()
        assert report.collections[0].damaged_ids == [f"n{i}" for i in range(3 * ROWS, N)]
        # The right bytes from a backup make it whole again.
        with open(vector_file(tmp_path), "r+b") as file:
            file.write(before)
        assert client.check().is_whole
        assert notes.query(query_embeddings=rows[N - 1 :], n_results=1)["ids"] == [[f"n{N - 1}"]]


def test_a_file_that_was_cut_gives_what_is_left(tmp_path: Path) -> None:
    rows = fill(tmp_path)
    os.truncate(vector_file(tmp_path), HEADER_BYTES + (N - 2) * 4 * DIMENSION)
    with store(tmp_path) as client:
        notes = notes_of(client)
        with pytest.raises(StoreCorruptError, match="cut short") as caught:
            notes.query(query_embeddings=rows[:1], n_results=1)
        assert caught.value.ids == [f"n{i}" for i in range(3 * ROWS, N)]
        notes.delete(ids=caught.value.ids)
        assert notes.query(query_embeddings=rows[:1], n_results=1)["ids"] == [["n0"]]
        notes.add(ids=["new"], embeddings=rows[N - 1 :])
        assert notes.query(query_embeddings=rows[N - 1 :], n_results=1)["ids"] == [["new"]]


def test_records_are_read_without_their_vectors(tmp_path: Path) -> None:
    fill(tmp_path)
    vector_file(tmp_path).unlink()
    with store(tmp_path) as client:
        notes = notes_of(client)
        assert notes.get(limit=1)["documents"] == ["note 0"]
        with pytest.raises(StoreCorruptError, match="missing"):
            notes.query(query_embeddings=vectors(1), n_results=1)
        assert not client.check().is_whole
        notes.delete(ids=["n0"])
        assert notes.count() == N - 1


def test_a_commit_reads_and_sums_up_only_what_it_appends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path)
    with store(tmp_path) as client:
        notes = notes_of(client)
        read: list[int] = []
        there = VectorFile._bytes_of

        def counted(
            self: VectorFile, fd: int, start: int, stop: int, buffer: memoryview
        ) -> memoryview:
            read.append(start // ROWS)
            return there(self, fd, start, stop, buffer)

        monkeypatch.setattr(VectorFile, "_bytes_of", counted)
        for i in range(30):
            notes.add(ids=[f"more {i}"], embeddings=vectors(1, seed=i + 1))
        # The tail that another process left, once.
        assert read == [3]
    rows = in_database(
        tmp_path, "SELECT first_block, octet_length(sums) FROM vector_sums ORDER BY 1"
    )
    # One row for each commit that filled blocks.
    assert rows == [(0, 36), (3, 12), (4, 12)]


def test_sums_go_with_their_collection_and_its_generation(tmp_path: Path) -> None:
    rows = fill(tmp_path)
    with store(tmp_path) as client:
        notes = notes_of(client)
        other = client.create_collection("other", embedding_function=None)
        other.add(ids=["a"], embeddings=vectors(1))
        notes.delete(ids=[f"n{i}" for i in range(0, N, 2)])
        client.api.segments.compact(notes.id)
        assert client.check().is_whole
        client.delete_collection("other")
    # The background may have compacted it as well.
    kept = in_database(tmp_path, "SELECT generation, octet_length(sums) FROM vector_sums")
    assert kept == in_database(tmp_path, "SELECT generation, 12 FROM collections")
    flip_row(vector_file(tmp_path), 3)
    for snapshot in (tmp_path / "indexes").iterdir():
        snapshot.unlink()
    with store(tmp_path) as client, pytest.raises(StoreCorruptError):
        notes_of(client).query(query_embeddings=rows[:1], n_results=1)


def test_damage_neither_compacts_nor_keeps_a_store_open(tmp_path: Path) -> None:
    rows = fill(tmp_path, 400)
    flip_row(vector_file(tmp_path), 399)
    with store(tmp_path) as client:
        notes_of(client).delete(ids=[f"n{i}" for i in range(390)])
    with store(tmp_path) as client:
        notes = notes_of(client)
        assert notes.count() == 10
        with pytest.raises(StoreCorruptError):
            notes.query(query_embeddings=rows[:1], n_results=1)


# -- stores of the version before ---------------------------------------------------------------


def make_old(path: Path) -> None:
    """Take out of a store what format 2 brought."""
    with edited_database(path) as connection:
        connection.execute("DROP TABLE vector_sums")
        connection.execute("ALTER TABLE collections DROP COLUMN tail_rows")
        connection.execute("ALTER TABLE collections DROP COLUMN tail_sum")
        connection.execute("UPDATE meta SET value = '1' WHERE key = 'format_version'")
        connection.execute("DELETE FROM meta WHERE key = 'commits'")
    (path / "commits").unlink()


def format_of(path: Path) -> str:
    (row,) = in_database(path, "SELECT value FROM meta WHERE key = 'format_version'")
    return str(row[0])


def test_an_old_store_gets_sums_with_its_next_vectors(tmp_path: Path) -> None:
    rows = fill(tmp_path)
    make_old(tmp_path)
    with store(tmp_path) as client:
        notes = notes_of(client)
        assert notes.query(query_embeddings=rows[:1], n_results=1)["ids"] == [["n0"]]
        assert "no checksums" in str(client.check())
        client.create_collection("other", embedding_function=None)
    # What wrote it could go on with it until here.
    assert format_of(tmp_path) == "1"
    with store(tmp_path) as client:
        notes_of(client).add(ids=["new"], embeddings=vectors(1, seed=1))
        assert client.check().collections[0].n_blocks == 4
    assert format_of(tmp_path) == "2"
    flip_row(vector_file(tmp_path), 2)
    for snapshot in (tmp_path / "indexes").iterdir():
        snapshot.unlink()
    with store(tmp_path) as client, pytest.raises(StoreCorruptError):
        notes_of(client).query(query_embeddings=rows[:1], n_results=1)


def test_an_old_store_gets_sums_whatever_format_new_stores_are_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is in memory of the format is what is written down, so that the next step of it is taken, too."""
    fill(tmp_path)
    make_old(tmp_path)
    monkeypatch.setattr(transactions, "NEW_STORE_FORMAT", 4)
    with store(tmp_path) as client:
        notes_of(client).add(ids=["new"], embeddings=vectors(1, seed=1))
        database = client.api.db._database
        assert (database.format, database.has_checksums) == (2, True)
        with database.changing():
            database.allow_padding()
        assert database.format == 3
    assert format_of(tmp_path) == "3"


def test_an_old_store_is_compacted_with_sums(tmp_path: Path) -> None:
    rows = fill(tmp_path)
    make_old(tmp_path)
    with store(tmp_path) as client:
        notes = notes_of(client)
        client.api.segments.compact(notes.id)
        assert notes.query(query_embeddings=rows[:1], n_results=1)["ids"] == [["n0"]]
        assert client.check().collections[0].n_blocks == 4


# -- the number of commits ----------------------------------------------------------------------

KILLED = """
import os, sys
import numpy as np
import chroma_nb
client = chroma_nb.PersistentClient(sys.argv[1])
notes = client.get_or_create_collection("notes", embedding_function=None)
for i in range(5):
    notes.add(ids=[f"late {i}"], embeddings=np.ones((1, 1024), dtype=np.float32))
os._exit(0)
"""


def leave_a_log(path: Path) -> Path:
    fill(path)
    subprocess.run([sys.executable, "-c", KILLED, str(path)], check=True, timeout=60)
    log = path / "records.duckdb.wal"
    assert log.stat().st_size
    return log


def check_refused(path: Path, n_missing: int | None = None) -> None:
    orphan = path / "vectors" / "00000000-0000-0000-0000-000000000000.0.f32"
    orphan.write_bytes(b"perhaps not one")
    for _ in range(2):
        with pytest.raises(StoreCorruptError, match="had been acknowledged") as caught:
            store(path)
        assert str(path / "commits") in str(caught.value)
        if n_missing is not None:
            assert f"lacks {n_missing} commit" in str(caught.value)
    assert orphan.exists()
    (path / "commits").unlink()
    with store(path) as client:
        assert notes_of(client).get(limit=1)["ids"] == ["n0"]
        # Who only reads may yet find the database that it belongs to.
        assert orphan.exists()
        notes_of(client).modify(metadata={"a": 1})
    assert not orphan.exists()


def test_a_log_that_is_missing_is_missed(tmp_path: Path) -> None:
    leave_a_log(tmp_path).unlink()
    check_refused(tmp_path, 5)


def test_a_log_that_was_cut_is_missed(tmp_path: Path) -> None:
    log = leave_a_log(tmp_path)
    os.truncate(log, log.stat().st_size * 2 // 3)
    try:
        store(tmp_path)
    except StoreCorruptError as error:
        if "acknowledged" not in str(error):
            return
    check_refused(tmp_path)


def test_an_older_database_is_noticed(tmp_path: Path) -> None:
    fill(tmp_path)
    shutil.copy(tmp_path / "records.duckdb", tmp_path / "records.old")
    with store(tmp_path) as client:
        notes_of(client).delete(ids=["n3"])
    os.replace(tmp_path / "records.old", tmp_path / "records.duckdb")
    check_refused(tmp_path, 1)


def test_a_database_that_is_gone_is_not_made_anew(tmp_path: Path) -> None:
    with store(tmp_path) as client:
        notes_of(client)
    (tmp_path / "records.duckdb").unlink()
    with pytest.raises(StoreCorruptError, match=r"is missing.*begin with an empty store"):
        store(tmp_path)
    assert not (tmp_path / "records.duckdb").exists()
    (tmp_path / "commits").unlink()
    store(tmp_path).close()


def test_a_number_that_lags_behind_or_is_gone_is_no_harm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        # Killed between DuckDB's commit and this.
        patch.setattr(CommitFile, "write", lambda self, witness, flush=False: False)
        fill(tmp_path)
    assert not (tmp_path / "commits").exists()
    with store(tmp_path) as client:
        assert notes_of(client).count() == N
    witness = CommitFile(str(tmp_path / "commits")).read()
    (row,) = in_database(tmp_path, "SELECT value FROM meta WHERE key = 'commits'")
    assert witness is not None
    assert witness.number == int(row[0])
    (tmp_path / "commits").unlink()
    with store(tmp_path) as client:
        assert notes_of(client).count() == N
    assert CommitFile(str(tmp_path / "commits")).read() == witness


@pytest.mark.parametrize("said", [b"", b"\0" * 24, b"CNBCOMM\0", b"x" * 24])
def test_a_number_that_cannot_be_read_is_none(
    tmp_path: Path, said: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    fill(tmp_path)
    (tmp_path / "commits").write_bytes(said)
    with store(tmp_path) as client:
        assert notes_of(client).count() == N
    assert ("cannot be read" in caplog.text) == bool(said.strip(b"\0"))
    assert CommitFile(str(tmp_path / "commits")).read()


def test_a_full_disk_fails_no_commit_that_was_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path)

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with store(tmp_path) as client:
        monkeypatch.setattr("chroma_nb.db.commit_file.os.pwrite", full)
        notes_of(client).delete(ids=["n0"])
        assert notes_of(client).count() == N - 1
        monkeypatch.undo()
        notes_of(client).delete(ids=["n1"])
    with store(tmp_path) as client:
        assert notes_of(client).count() == N - 2


def test_a_link_or_another_file_in_its_place_is_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "store"
    fill(path)
    mine = tmp_path / "mine"
    mine.write_text("mine")
    (path / "commits").unlink()
    (path / "commits").symlink_to(mine)
    with pytest.raises(InvalidArgumentError, match="link"):
        store(path)
    (path / "commits").unlink()
    (path / "commits").write_text("my diary, " * 20)
    with pytest.raises(InvalidArgumentError, match="something else"):
        store(path)
    assert mine.read_text() == "mine"
    assert (path / "commits").read_text().startswith("my diary")


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_commit_that_failed_is_not_counted_and_one_that_came_through_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    rows = fill(tmp_path)
    with store(tmp_path) as client:
        notes = notes_of(client)
        notes.query(query_embeddings=rows[:1], n_results=1)
        database = client.api.db._database
        count = type(database)._number_commit

        def fails(self: Any, con: Any) -> Any:
            count(self, con)
            if when == "after":
                # It is durable, and whoever made it does not hear of it.
                con.execute("COMMIT")
            raise duckdb.IOException("the disk has failed")

        with monkeypatch.context() as patch:
            patch.setattr(type(database), "_number_commit", fails)
            with pytest.raises(InternalError):
                notes.add(ids=["new"], embeddings=vectors(20, seed=8)[:1])
        n_there = N + (when == "after")
        assert notes.count() == n_there
        for i in range(20):
            notes.add(ids=[f"newer {i}"], embeddings=vectors(20, seed=9)[i : i + 1])
        found = notes.query(query_embeddings=vectors(20, seed=9), n_results=1)["ids"]
        assert [one for (one,) in found] == [f"newer {i}" for i in range(20)]
        assert client.check().is_whole
    with store(tmp_path) as client:
        notes = notes_of(client)
        assert notes.count() == n_there + 20
        assert client.check().is_whole
        found = notes.query(query_embeddings=vectors(20, seed=9), n_results=1)["ids"]
        assert [one for (one,) in found] == [f"newer {i}" for i in range(20)]


# -- check --------------------------------------------------------------------------------------


def test_check_says_what_is_whole(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = fill(tmp_path)
    with store(tmp_path, graph_min_records=30) as client:
        other = client.create_collection("other", embedding_function=None)
        other.add(ids=["a"], embeddings=[[1.0, 2.0]])
        notes_of(client).query(query_embeddings=rows[:1])
        notes_of(client).build_index()
        report = client.check()
        assert report.is_whole
        assert repr(report) == "CheckReport(2 collections, whole)"
        assert [one.n_records for one in report.collections] == [N, 1]
    assert cli.main(["check", str(tmp_path)]) == 0
    assert "all is whole" in capsys.readouterr().out
    (notes_file,) = [
        one for one in (tmp_path / "vectors").iterdir() if one.stat().st_size > 3 * HEADER_BYTES
    ]
    flip_row(notes_file, 0)
    (graph,) = (tmp_path / "indexes").glob("*.graph")
    flip(graph, 300)
    assert cli.main(["check", str(tmp_path)]) == 3
    said = capsys.readouterr().out
    assert "16 records ('n0', 'n1', 'n2' and 13 more)" in said
    assert "export(path, skip_damaged=True) saves all other records" in said
    assert graph.name in said
    with store(tmp_path) as client:
        report = client.check()
        assert repr(report) == "CheckReport(2 collections, damaged: notes)"
        assert report.collections[0].damaged_ids == [f"n{i}" for i in range(ROWS)]
        assert report.collections[1].is_whole
        json.dumps(report.to_dict())
        assert "of them damaged" in report._repr_html_()
    assert cli.main(["check", str(tmp_path / "nothing")]) == 2
    assert not (tmp_path / "nothing").exists()


def test_check_finds_what_has_gone_bad_since_it_was_read(tmp_path: Path) -> None:
    rows = fill(tmp_path)
    with store(tmp_path) as client:
        notes = notes_of(client)
        notes.query(query_embeddings=rows[:1], n_results=1)
        flip_row(vector_file(tmp_path), 1)
        assert not client.check().is_whole
        with pytest.raises(StoreCorruptError):
            notes.get(ids=["n1"], include=["embeddings"])


def test_check_in_memory_and_at_a_server() -> None:
    with chroma_nb.EphemeralClient(private_settings()) as client:
        collection = client.get_or_create_collection("checked", embedding_function=None)
        collection.upsert(ids=["a"], embeddings=[[1.0]])
        assert client.check().is_whole
        client.delete_collection("checked")
    from chroma_nb.api import FastAPI

    with pytest.raises(NotSupportedError, match="chroma-nb check DIR"):
        inspect.unwrap(FastAPI.check)(object.__new__(FastAPI), tenant="a", database="b")
