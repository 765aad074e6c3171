"""`DuckDB`: records and catalogue in an in-memory DuckDB, vectors in unnamed temporary files."""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import secrets
import shutil
import threading
import time
import weakref
from collections import deque
from dataclasses import astuple, dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar
from uuid import UUID, uuid4

import duckdb
import numpy as np

from chroma_nb import forked
from chroma_nb.check_report import CollectionCheck, some_ids
from chroma_nb.db import _fields
from chroma_nb.db._versions import IS_OLD_DUCKDB
from chroma_nb.db.base import (
    DB,
    NO_TEXTS,
    TEXT_COLUMNS,
    Changes,
    Extent,
    RecordRows,
    TextSizes,
    VectorSource,
    text_pieces,
)
from chroma_nb.db.block_sums import Block, BlockSums, Growth
from chroma_nb.db.damaged_database import is_damage
from chroma_nb.db.interrupted import interrupt, interruptible, was_cut_off
from chroma_nb.db.memory_share import MemoryShare, is_out_of_memory, with_more_memory
from chroma_nb.db.read_again import is_fatal, read_again
from chroma_nb.db.record_table import (
    CHUNK_ROWS,
    RecordTable,
    in_order,
    joined,
    key_columns,
    largest_chunk_bytes,
    measure,
)
from chroma_nb.db.sql import EMPTY_DATABASE, ColumnsCache, VectorFunction, answer_sql
from chroma_nb.db.temp_folder import DUCKDB_FOLDER, TempFolder
from chroma_nb.db.vector_file import HEADER_BYTES, VectorFile
from chroma_nb.errors import (
    ChromaError,
    ConflictError,
    InternalError,
    InvalidArgumentError,
    MemoryBudgetError,
    NotFoundError,
    StoreCorruptError,
    UniqueConstraintError,
    VersionMismatchError,
)
from chroma_nb.filters.expression import Expression, field_conditions, patterns
from chroma_nb.filters.sql import DuckDBDialect, compile_sql
from chroma_nb.memory.budget import default_budget
from chroma_nb.memory.machine import MACHINE
from chroma_nb.memory.sizes import format_bytes, parse_bytes
from chroma_nb.memory.trim import return_large_at_once
from chroma_nb.memory.workspace import WORKSPACE, Grant
from chroma_nb.progress import ProgressBar, progress_bar
from chroma_nb.shielded import finish
from chroma_nb.types import DEFAULT_DATABASE, DEFAULT_TENANT, CollectionInfo, FieldSummary

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from chroma_nb.settings import Settings

_Found = TypeVar("_Found")
logger = logging.getLogger("chroma_nb")

#: Raise this when the tables or the vector file change, and teach `_upgrade` the older format.
FORMAT_VERSION = 2
#: Format 1 has no checksums of vectors. Such a store is read as it is, and becomes format 2 when vectors are next
#: written to it. Until then the older chroma_nb that wrote it can still open it.
_READABLE = ("1", "2")

_SCHEMA = """
CREATE TABLE meta (key VARCHAR, value VARCHAR);
CREATE TABLE tenants (name VARCHAR);
CREATE TABLE databases (id VARCHAR, name VARCHAR, tenant VARCHAR, created BIGINT);
CREATE TABLE collections (
  id VARCHAR, name VARCHAR, tenant VARCHAR, database VARCHAR, created BIGINT,
  configuration VARCHAR, metadata VARCHAR, dimension BIGINT,
  n_records BIGINT, next_label BIGINT, next_sequence BIGINT, generation BIGINT,
  ttl_seconds DOUBLE, version BIGINT DEFAULT 0, tail_rows BIGINT, tail_sum UBIGINT, text_sizes VARCHAR);
CREATE TABLE vector_sums (collection VARCHAR, generation BIGINT, first_block BIGINT, sums BLOB);
"""
#: What `_entry_from_row` reads, in its order.
_COLLECTION_COLUMNS = (
    "id, name, tenant, database, created, configuration, metadata, dimension, n_records, "
    "next_label, next_sequence, generation, ttl_seconds, version"
)
_SET_TAIL = ", tail_rows = ?, tail_sum = ?"
#: Columns that were added later without a new format: a store that lacks them gets them when it is opened.
_LATER_COLUMNS = {
    "ttl_seconds": "DOUBLE",
    "version": "BIGINT DEFAULT 0",
    "text_sizes": "VARCHAR",
}
#: What format 1 lacks.
_FORMAT_2 = """
ALTER TABLE collections ADD COLUMN tail_rows BIGINT;
ALTER TABLE collections ADD COLUMN tail_sum UBIGINT;
CREATE TABLE vector_sums (collection VARCHAR, generation BIGINT, first_block BIGINT, sums BLOB);
UPDATE meta SET value = '2' WHERE key = 'format_version';
"""

# -- how rows are inserted

#: Up to this many rows are inserted as plain VALUES (one row: 0.8 ms, as lists 1.1 ms).
_PLAIN_ROWS = 8
#: From this many rows on columns are inserted as NumPy arrays; in between, list parameters are faster.
_COLUMNAR_ROWS = 512
#: Arrays are inserted in pieces of at most this many bytes, so that a progress bar can move during a long write ...
_PIECE_BYTES = 8 << 20
#: ... where each row takes 8 bytes in each of ten arrays. Its texts are not copied into them.
_ROW_ARRAY_BYTES = 10 * 8
#: A piece has at most this many bytes of text, or one longer row. DuckDB frees its copies of a piece before the next.
_TEXT_PIECE_BYTES = 4 << 20
#: How many copies of a piece's texts exist while it is inserted.
_PIECE_COPIES = 3
#: The name under which DuckDB reads the arrays of a piece.
_ROWS_VIEW = "chroma_nb_rows"
#: A text of this many characters or more is copied before DuckDB gets it; see `_own_copy`.
_LONG_TEXT = 1 << 10

# -- memory of one operation

#: How many copies of the texts of a chunk (2,048 rows) a COMMIT makes beside the table's own: in a folder, where they
#: are written to the write-ahead log (measured: 2.9), ...
_LOG_COPIES = 3.0
#: ... and in memory (measured: 0.9, and half as much for the checkpoint after it).
_COMMIT_COPIES = 1.5
#: DuckDB before 2.0 makes this many more, which it frees only at the COMMIT (measured: 2.4).
_OLD_COPIES = 2.5 if IS_OLD_DUCKDB else 0.0
#: Added to DuckDB's limit for a filter on long metadata, where it is free: enough for 2,048 rows of 4 kB.
_FILTER_BYTES = 64 << 20
#: A scan yields pieces of at most this many bytes.
_SCAN_BYTES = 8 << 20
#: A compaction copies vectors in pieces of at most this many bytes, ...
_COMPACT_BYTES = 32 << 20
#: ... each of which is in memory twice: the range that was read from the file, and the live rows of it.
_COMPACT_COPIES = 2
#: The sizes of a collection's texts still count deleted records. They are measured again when they count more than
#: `_REMEASURE_FACTOR` times the live records plus `_FEW_RECORDS`. Below that, taking too much memory for a moment
#: costs less than reading all texts.
_REMEASURE_FACTOR = 1.1
_FEW_RECORDS = 1_000

# -- checkpoints

#: What DuckDB holds of a small table from one checkpoint to the next, where rows were added (measured in 2.0.1: 25 kB),
#: ...
_UNCHECKPOINTED_BYTES = 32 << 10
#: ... and where rows were removed: everything in the same block.
_REMOVALS_BYTES = 320 << 10
#: A checkpoint holds a chunk in two forms (measured: 0.6 to 1.4 times its texts; a text may take a block of its own), ...
_CHECKPOINT_COPIES = 2
#: ... and this much beside.
_CHECKPOINT_BYTES = 4 << 20
#: In a folder DuckDB's limit is raised by at least this much for a checkpoint.
_SAFE_CHECKPOINT_BYTES = 32 << 20
#: In a folder a checkpoint tries several compressions of a row group's texts, which takes this many times their bytes
#: (measured: 2). It tries them on texts of up to `_COMPRESSED_TEXT_BYTES`.
_COMPRESSION_COPIES = 2
_COMPRESSED_TEXT_BYTES = 4_096
#: Rows of one of DuckDB's row groups. A checkpoint rewrites a changed row group whole.
GROUP_ROWS = 122_880
#: What a checkpoint takes for each table of the store (measured: 1 to 2 kB).
_CATALOGUE_BYTES = 2 << 10
#: A store in memory makes a checkpoint after about this many bytes were written: it frees the rows that were removed.
_CHANGED_BYTES = 16 << 20
#: Bytes that a row takes in DuckDB beside its texts.
ROW_BYTES = 16

# -- other limits

#: What DuckDB holds of each collection of a store in memory (measured).
_COLLECTION_BYTES = 50 << 10
#: Memory is checked each time that this many collections were made.
_ROOM_FOR_COLLECTIONS = 64
#: What the query for DuckDB's memory use takes itself.
_ASKING_BYTES = 4 << 20
#: The size of DuckDB's blocks.
_BLOCK_BYTES = 256 << 10
#: Kept free on the disk: what DuckDB's log and checkpoint need beside the rows themselves.
HEADROOM_BYTES = 4 << 20
#: This many vector files are kept open, with what is known of their checksums.
_RECENT_FILES = 1_024
#: Random bits of a collection's version, which a commit replaces: a snapshot names the version that it was made of.
_VERSION_BITS = 62
#: How long closing waits for SQL queries to end after it has interrupted them.
_CLOSE_SECONDS = 5.0
#: What DuckDB raises when its file is damaged or the disk has failed.
_STORAGE_ERRORS = (
    *(duckdb.IOException, duckdb.InternalException, duckdb.FatalException),
    duckdb.SerializationException,
)


def _no_vectors() -> None:
    return None


@dataclass
class CatalogueEntry:
    """One collection in the cached catalogue."""

    info: CollectionInfo
    created: int
    extent: Extent
    #: How large its texts are; None where the store does not say it, which an older chroma_nb has written.
    texts: TextSizes | None = None
    #: Returns its vector file, or None where that is not open.
    find_vectors: Callable[[], VectorFile | None] = _no_vectors
    #: Rows after the last full block of vectors, and their checksum; None where the DB has no checksums of it.
    tail: tuple[int, int] | None = None
    #: `DuckDB._touched` of the store.
    touched: set[UUID] | None = None

    @property
    def vectors(self) -> VectorFile | None:
        """Its vector file, where that is open.

        A file with a name is held weakly here. Its users and `DuckDB._recent` keep it alive, so there is never a
        second object for the same file.
        """
        return self.find_vectors()

    @vectors.setter
    def vectors(self, vectors: VectorFile | None) -> None:
        if vectors is None:
            self.find_vectors = _no_vectors
        elif vectors.path is None:
            self.find_vectors = lambda: vectors
        else:
            self.find_vectors = weakref.ref(vectors)

    @property
    def table(self) -> str:
        """The name of its table in DuckDB. It is asked for to be used in a statement, so it counts as touched."""
        if self.touched is not None:
            self.touched.add(self.info.id)
        return f"records_{self.info.id.hex}_{self.extent.generation}"

    @property
    def file_stem(self) -> str:
        """The first part of the names of its files: ``<id>.<generation>``."""
        return f"{self.info.id}.{self.extent.generation}"


class _ThreadState(threading.local):
    """How many cursors this thread is reading with."""

    n_cursors = 0


class DuckDB(DB):
    """An ephemeral store: gone with the process, its vectors in files that have no name.

    Args:
        settings: `threads`, `duckdb_memory_limit` and `temp_path` are used.
    """

    persists: ClassVar[bool] = False

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._write_lock = threading.RLock()
        self._cursor_lock = threading.Lock()
        self._idle_cursors: list[duckdb.DuckDBPyConnection] = []
        self._busy_cursors: weakref.WeakSet[duckdb.DuckDBPyConnection] = weakref.WeakSet()
        #: Those of them that were interrupted, as the database had to be reopened.
        self._cut_off: weakref.WeakSet[duckdb.DuckDBPyConnection] = weakref.WeakSet()
        #: A thread waits for the busy cursors to reopen the database: other threads start no new read meanwhile.
        self._is_reopening = False
        self._this_thread = _ThreadState()
        self._entries: dict[UUID, CatalogueEntry] = {}
        self._by_name: dict[tuple[str, str, str], UUID] = {}
        self._tenants: set[str] = set()
        self._databases: dict[tuple[str, str], UUID] = {}
        self._created = 0
        #: Collections whose table a statement has named since DuckDB was opened: DuckDB holds some memory for each.
        self._touched: set[UUID] = set()
        #: Collections that were written to since the last checkpoint: DuckDB holds more memory for these, ...
        self._uncheckpointed: set[UUID] = set()
        #: ... and most for those of which records were deleted or replaced.
        self._with_removals: set[UUID] = set()
        #: (collection, generation) -> (bytes of the texts of its largest chunk, bytes of all its texts at that time).
        #: A chunk is the 2,048 rows that DuckDB reads at a time.
        self._chunk_bytes: dict[tuple[UUID, int], tuple[int, int]] = {}
        #: About how many bytes were written to a store in memory since the last checkpoint, ...
        self._changed_bytes = 0
        #: ... and at how many the next one is due.
        self._changed_limit = _CHANGED_BYTES
        #: The vector files that were used last. Others are closed and checked again when they are next used: what is
        #: known of ten thousand collections would take 20 MB.
        self._recent: deque[VectorFile] = deque(maxlen=_RECENT_FILES)
        self._format = FORMAT_VERSION
        #: The number of the last commit; None where none was counted yet, as by an older chroma_nb.
        self._commits: int | None = None
        #: A write was begun and not finished: the catalogue in memory may differ from DuckDB's.
        self._is_stale = False
        #: True while the holder of the write lock has a transaction, its rollback included.
        self._is_writing = False
        #: True while the holder of the write lock reloads the catalogue.
        self._is_reloading = False
        #: DuckDB has failed in a transaction, and has to be reopened.
        self._is_broken = False
        #: Vector files of compactions under way, by collection and generation.
        self._compacting: dict[tuple[UUID, int], VectorFile] = {}
        self.sql_columns = ColumnsCache()
        self.sql_vectors = VectorFunction()
        #: Cursors of SQL queries that are running.
        self._sql_cursors: set[duckdb.DuckDBPyConnection] = set()
        self.is_closing = False
        #: Nothing may be written any more: the folder is gone, was replaced, or lacks commits.
        self._is_abandoned = False
        self._closed = False
        return_large_at_once(MACHINE.limit().total)
        limit = settings.duckdb_memory_limit
        self.memory_share = MemoryShare(
            default_budget().database if limit == "auto" else parse_bytes(limit),
            limit != "auto",
            lambda: self._connection.cursor(),
        )
        self._temp = TempFolder(settings.temp_path)
        forked.watch(self)
        try:
            with interruptible():
                self._connection = self._connect()
                try:
                    self._open_schema()
                except BaseException:
                    self._connection.close()
                    raise
        except BaseException:
            self._temp.close()
            raise

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"

    # -- connection ---------------------------------------------------------------------------

    def _database_file(self) -> str:
        return ":memory:"

    def _path_to_open(self) -> str:
        """Return the path that DuckDB is asked to open."""
        return self._database_file()

    def _config(self) -> dict[str, Any]:
        return {
            "threads": self.settings.threads or os.cpu_count() or 1,
            "memory_limit": f"{self.memory_share.n_bytes}B",
            "temp_directory": os.path.join(self._temp.path, DUCKDB_FOLDER),
            # A query that names a function of an extension must not download it.
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
            # A query must not read Python's variables as tables.
            "python_enable_replacements": "false",
        }

    def _connect(self) -> duckdb.DuckDBPyConnection:
        connection = duckdb.connect(self._path_to_open(), config=self._config())
        # Otherwise DuckDB shows its own progress bar in a notebook.
        connection.execute("SET enable_progress_bar = false")
        # When DuckDB 1.3 shuts down after a failed checkpoint, it finishes the half-done one and deletes the log.
        # As soon as the disk has room for that, all records since the last good checkpoint are lost.
        connection.execute("PRAGMA disable_checkpoint_on_shutdown")
        # Only `_checkpoint` makes checkpoints, after it has taken memory for them. One that DuckDB makes by itself
        # within a COMMIT has only the rest of the memory limit, and a checkpoint that runs out of memory ends the
        # instance.
        connection.execute("SET checkpoint_threshold = '1TB'")
        # From here on DuckDB opens no file but its own. Not earlier: afterwards its temporary folder cannot be set.
        connection.execute("SET enable_external_access = false")
        connection.execute(f"ATTACH IF NOT EXISTS ':memory:' AS {EMPTY_DATABASE}")
        self.sql_vectors.register(connection)
        _disable_pruner(connection)
        _limit_text_compression(connection)
        return connection

    def _open_schema(self) -> None:
        tables = self._connection.execute(
            "SELECT count(*) FROM duckdb_tables() WHERE table_name = 'meta'"
        ).fetchall()
        if not tables[0][0]:
            with self._transaction() as con:
                create_schema(con)
        self._read_meta()
        columns = self._connection.execute(
            "SELECT column_name FROM duckdb_columns() WHERE table_name = 'collections'"
        ).fetchall()
        missing = _LATER_COLUMNS.keys() - {name for (name,) in columns}
        if missing:
            with self._transaction() as con:
                for name in sorted(missing):
                    con.execute(f"ALTER TABLE collections ADD COLUMN {name} {_LATER_COLUMNS[name]}")
        self._load_catalogue()

    def _reload_catalogue(self) -> None:
        """Read the catalogue from DuckDB again; it may have more or less than the one in memory."""
        self._read_meta()
        self._load_catalogue()

    def _read_meta(self) -> None:
        """Read the format and the number of commits, and check both.

        Raises:
            VersionMismatchError: The format is not one of `_READABLE`.
            StoreCorruptError: An acknowledged commit is missing.
        """
        self._check_version()
        self._commits = self._read_commit_number()
        self._check_commits()

    def _read_commit_number(self) -> int | None:
        """Return the number of the last commit that DuckDB has; None where none was counted."""
        rows = self._connection.execute("SELECT value FROM meta WHERE key = 'commits'").fetchall()
        return int(rows[0][0]) if rows else None

    def _check_commits(self) -> None:
        """Raise `StoreCorruptError` where acknowledged commits are missing. In memory none can be."""

    def _write_commit_file(self, *, is_committed: bool = False) -> None:
        """Write the number of commits to a file beside the database, where there is one.

        Args:
            is_committed: A transaction was committed just now, so that the log begins with a whole commit.
        """

    def _flush_log(self) -> bool:
        """Flush the log to the disk, where there is one and the settings want that; say whether that worked."""
        return False

    def _expect_log(self) -> None:
        """Called before a commit, which begins a log where there is none."""

    def _check_version(self) -> None:
        rows = self._connection.execute(
            "SELECT value FROM meta WHERE key = 'format_version'"
        ).fetchall()
        found = rows[0][0] if rows else "unknown"
        if found in _READABLE:
            self._format = int(found)
        else:
            raise VersionMismatchError(
                f"{self!r} is in format {found}, this chroma-nb reads formats up to {FORMAT_VERSION}. "
                "Open it with the version that wrote it, export its collections "
                "(collection.export), and import them here; nothing was changed."
            )

    def _load_catalogue(self) -> None:
        con = self._connection
        tenants = {name for (name,) in con.execute("SELECT name FROM tenants").fetchall()}
        rows = con.execute("SELECT id, name, tenant, created FROM databases ORDER BY created")
        databases = {
            (tenant, name): UUID(database_id) for database_id, name, tenant, _ in rows.fetchall()
        }
        entries: dict[UUID, CatalogueEntry] = {}
        tails = "tail_rows, tail_sum" if self._format > 1 else "NULL, NULL"
        query = (
            f"SELECT {_COLLECTION_COLUMNS}, {tails}, text_sizes FROM collections ORDER BY created"
        )
        for row in con.execute(query).fetchall():
            try:
                entry = _entry_from_row(row)
            except (ValueError, TypeError, OverflowError, RecursionError) as error:
                raise StoreCorruptError(
                    f"The catalogue of {self!r} has an entry for collection [{row[1]}] that cannot be read: {error}. "
                    "Restore the store from a backup."
                ) from error
            key = entry.info.id, entry.extent.generation
            before = self._entries.get(entry.info.id)
            if before is not None and before.extent.generation == entry.extent.generation:
                entry.vectors = before.vectors
            entry.vectors = self._compacting.get(key, entry.vectors)
            if entry.vectors is not None and not _is_in_step(entry, entry.vectors.sums):
                # A commit succeeded after its writer was told that it had failed, or was interrupted.
                try:
                    self._attach_sums(entry, entry.vectors)
                except StoreCorruptError:
                    # Raised again when this collection is used. The others must stay usable.
                    entry.vectors = None
            entry.touched = self._touched
            entries[entry.info.id] = entry
        last = con.execute(
            "SELECT max(created) FROM (SELECT created FROM databases UNION ALL "
            "SELECT created FROM collections)"
        ).fetchall()
        by_name = {
            (entry.info.tenant, entry.info.database, entry.info.name): key
            for key, entry in entries.items()
        }
        there = {(key, entry.extent.generation) for key, entry in entries.items()}
        gone = [
            entry
            for key, entry in self._entries.items()
            if (key, entry.extent.generation) not in there
        ]
        # One assignment: other threads may be reading, and an interrupt may come between two statements.
        self._tenants, self._databases, self._created, self._entries, self._by_name = (
            *(tenants, databases, last[0][0] or 0),
            *(entries, by_name),
        )
        for entry in gone:
            self._drop_files(entry)

    def _remember(self, entry: CatalogueEntry) -> None:
        info = entry.info
        entry.touched = self._touched
        self._entries[info.id] = entry
        self._by_name[info.tenant, info.database, info.name] = info.id

    @contextlib.contextmanager
    def _changing(self) -> Iterator[None]:
        """Hold the write lock until a change is in DuckDB and in the catalogue in memory.

        An interrupt may come between the two. Then, and when DuckDB fails, the next access reads the
        catalogue again.

        Raises:
            InternalError: The disk is full or has failed; nothing was changed.
            MemoryBudgetError: DuckDB has too little memory for it; nothing was changed.
        """
        with self._write_lock:
            self._check_not_replaced()
            self._reload_if_stale()
            self._before_change()
            try:
                yield
            except (duckdb.Error, OSError) as error:
                if is_fatal(error) and not self.persists:
                    raise self._fatal(error) from error
                if is_out_of_memory(error):
                    raise self.memory_error() from error
                raise self._write_error(error) from error
            # The change is done, so the catalogue is right, unless a reader has found DuckDB broken meanwhile.
            self._is_stale = self._is_broken
            self._free_memory_if_due()

    def _free_memory_if_due(self) -> None:
        """Have DuckDB free what it holds of changed tables, where that has become much."""
        # After a checkpoint the rows of a table are in blocks, which DuckDB can move to the temporary folder when it
        # needs the memory.
        is_due = self._changed_bytes > self._changed_limit
        if is_due:
            # A checkpoint is refused while another transaction runs. Then the next try comes a little later.
            self._changed_limit = self._changed_bytes + _CHANGED_BYTES // 4
        if is_due or self._holds_much_until_checkpoint():
            self._free_memory()

    def _holds_much_until_checkpoint(self) -> bool:
        """Say whether memory that only a checkpoint frees is more than two thirds of DuckDB's limit."""
        held = (
            len(self._uncheckpointed) * _UNCHECKPOINTED_BYTES
            + len(self._with_removals) * _REMOVALS_BYTES
        )
        return 3 * held > 2 * self.memory_share.n_bytes

    def _after_reading(self) -> None:
        """Called after each read; a store in a folder frees memory here."""

    def _retry_with_freed_memory(self, change: Callable[[], _Found]) -> _Found:
        """Make a change; where DuckDB has too little memory for it, free some and make it once more."""
        try:
            return change()
        except MemoryBudgetError:
            if not self._free_memory():
                raise
            return change()

    def _free_memory(self) -> bool:
        """Make a checkpoint, so that DuckDB frees what it holds until then; say whether that was done."""
        with self._write_lock, interruptible():
            try:
                # Before anything that may reload the catalogue, which takes memory, too.
                self._undo(failed=False)
                self._checkpoint()
            except MemoryBudgetError:
                return False
            except duckdb.Error as error:
                if is_fatal(error):
                    raise self._fatal(error) from error
                return False
        return True

    def _reload_if_stale(self) -> None:
        """Read the catalogue from DuckDB again if a write was not finished, unless one is under way."""
        if not self._is_stale or self._closed or not self._write_lock.acquire(blocking=False):
            return
        try:
            # This thread may be here already: reloading reads checksums of vectors, and a transaction may unload
            # collections of this store to get memory for its checkpoint. Both end up here again.
            if self._is_stale and not self._is_reloading and not self._is_writing:
                self._check_not_replaced()
                self._is_reloading = True
                try:
                    with interruptible():
                        self._undo(failed=False)
                        # A write may have failed because other threads use all of DuckDB's memory.
                        with self.memory_share.raised(WORKSPACE.headroom, self._connection):
                            self._reload_catalogue()
                except duckdb.Error as error:
                    if is_out_of_memory(error) and (self.persists or not is_fatal(error)):
                        if is_fatal(error):
                            self.mark_broken()
                        raise self.memory_error() from error
                    raise (
                        self._fatal(error) if is_fatal(error) else self.read_error(error)
                    ) from error
                finally:
                    self._is_reloading = False
                self._is_stale = False
        finally:
            self._write_lock.release()

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """Hold the write lock and one transaction; when the body raises, the transaction is rolled back.

        Use it within `_changing`.
        """
        with self._write_lock, interruptible():
            self._check_open()
            self._is_stale = True
            connection = self._connection
            try:
                self._is_writing = True
                yield from self._transact(connection)
            finally:
                self._is_writing = False

    def _transact(
        self, connection: duckdb.DuckDBPyConnection
    ) -> Iterator[duckdb.DuckDBPyConnection]:
        is_written, number = False, None
        try:
            if self.memory_share.is_stale:
                self.memory_share.apply()
            self._checkpoint_found_log(connection)
            self._expect_log()
            connection.execute("BEGIN TRANSACTION")
            yield connection
            number = self._number_commit(connection)
            is_written = True
            with self._memory_for_commit():
                connection.execute("COMMIT")
        except BaseException as error:
            failed = isinstance(error, duckdb.Error)
            if not (failed and is_written):
                self._undo(failed=failed)
                raise
            if not self._undo_commit(error, number):
                raise
        self._commits = number
        self._write_commit_file(is_committed=True)
        self._after_commit()

    def _number_commit(self, con: duckdb.DuckDBPyConnection) -> int | None:
        """Write the number of the transaction that is about to be committed into it, and return that number.

        A store in memory counts nothing and returns None: nothing outlives the process that could miss a commit.
        """
        if not self.persists:
            return None
        number = (self._commits or 0) + 1
        if self._commits is None:
            con.execute("INSERT INTO meta VALUES ('commits', ?)", [str(number)])
        else:
            con.execute("UPDATE meta SET value = ? WHERE key = 'commits'", [str(number)])
        return number

    def _undo_commit(self, error: BaseException, number: int | None) -> bool:
        """Undo a transaction whose COMMIT has failed; say whether it was committed all the same, and is safe.

        DuckDB truncates its log to what it was before the COMMIT. Where the disk refuses that as well, the
        transaction may still be in the log when the store is reopened. In memory, COMMIT may fail after it has
        committed, while DuckDB tidies up. These commits have no number, so the catalogue is compared: each commit
        changes it.

        Args:
            error: What COMMIT raised.
            number: The number of the commit; None in memory.

        Raises:
            InternalError: The transaction was committed and may be lost, or that cannot be found out now.
        """
        before = self._comparable_catalogue()
        try:
            self._undo(failed=True)
            with self.memory_share.raised(WORKSPACE.headroom, self._connection):
                if is_out_of_memory(error):
                    # Reopening has read the log into DuckDB's memory. A checkpoint frees that.
                    with contextlib.suppress(duckdb.Error, OSError, MemoryBudgetError):
                        self._checkpoint_found_log(self._connection, force=False)
                self._reload_catalogue()
        except (InternalError, MemoryBudgetError, duckdb.Error) as reason:
            if not self.persists and is_fatal(reason):
                raise self._fatal(reason) from error
            needs = "there is memory" if is_out_of_memory(error) else "the disk works"
            raise InternalError(
                f"Writing to {self!r} failed: {error}. When {needs} again, all of this call is there or "
                f"nothing of it. {reason}"
            ) from error
        if number is not None and self._commits == number:
            if is_out_of_memory(error) and self._flush_log():
                # It was in the log already when memory ran out.
                return True
            raise InternalError(
                f"Writing to {self!r} failed: {error}. All of this call is there, and may not outlive a power cut. "
                "Repeat the call."
            ) from error
        if number is None and self._comparable_catalogue() != before:
            raise InternalError(
                f"Writing to {self!r} failed: {error}. All of this call is there all the same, and nothing has to be "
                "repeated."
            ) from error
        return False

    def _comparable_catalogue(self) -> list[tuple[Any, ...]]:
        """Return the catalogue in memory as plain values that can be compared with ``==``."""
        return [
            *sorted((tenant,) for tenant in self._tenants),
            *sorted((*place, str(key)) for place, key in self._databases.items()),
            *(
                (
                    *(str(key), *astuple(entry.extent), entry.info.name, entry.info.ttl_seconds),
                    *(_metadata_json(entry.info.metadata), json.dumps(entry.info.configuration)),
                )
                for key, entry in sorted(self._entries.items())
            ),
        ]

    @contextlib.contextmanager
    def _memory_for_commit(self) -> Iterator[None]:
        """Raise DuckDB's limit for a COMMIT of a store in memory, which must not run out of memory.

        After that DuckDB either ends (2.0.1: "Failed to flush table"), and with it all records of the store, or it
        goes on and appends rolled-back texts to later ones (1.3.2). A store in a folder is reopened instead.
        """
        if self.persists:
            yield
            return
        # The headroom is granted to no other work.
        with self.memory_share.raised(WORKSPACE.headroom, self._connection):
            yield

    def _undo(self, *, failed: bool) -> None:
        """Roll a transaction back.

        Args:
            failed: DuckDB itself has failed, so its state is not trusted: it is reopened as well.
        """
        self._is_broken = self._is_broken or failed
        # No transaction is left where COMMIT itself failed.
        with contextlib.suppress(duckdb.Error):
            self._connection.execute("ROLLBACK")
        with contextlib.suppress(duckdb.Error):
            self._connection.unregister(_ROWS_VIEW)
        if self._is_broken:
            self._reopen_after_failure()
            self._is_broken = False

    def _check_not_replaced(self) -> None:
        """Raise `InternalError` where the folder or its database was moved, deleted or replaced."""

    def _after_commit(self) -> None:
        """Called after each commit; a store in a folder makes its checkpoints here."""

    def _before_change(self) -> None:
        """Called before each change; a store in a folder deletes orphaned files here."""

    def _checkpoint_found_log(
        self, connection: duckdb.DuckDBPyConnection, *, force: bool = True
    ) -> None:
        """Make a checkpoint where a transaction would be appended to a log that an earlier process has left.

        Args:
            connection: The connection of the transaction.
            force: Try it even where not all the memory that it may need is free.
        """

    def _reopen_after_failure(self) -> None:
        """Reopen the database after a failed transaction. In memory DuckDB is sound after a rollback."""

    @contextlib.contextmanager
    def _reading(self) -> Iterator[duckdb.DuckDBPyConnection]:
        self._check_open()
        self._reload_if_stale()
        self._apply_stale_memory_limit()
        if self._is_reopening and not self._this_thread.n_cursors:
            with self._write_lock:
                pass
        with self._cursor_lock:
            cursor = self._idle_cursors.pop() if self._idle_cursors else None
            if cursor is not None:
                self._busy_cursors.add(cursor)
        if cursor is None:
            cursor = self._cursor()
        self._this_thread.n_cursors += 1
        is_idle = False
        try:
            with interruptible():
                yield cursor
            is_idle = True
        except BaseException as error:
            cursor.close()
            if cursor in self._cut_off and not isinstance(error, ChromaError):
                raise self._cut_off_error() from error
            if is_out_of_memory(error) and (self.persists or not is_fatal(error)):
                if is_fatal(error):
                    # A commit of another thread has run out of memory and ended DuckDB. Reopened, it may have enough.
                    self.mark_broken()
                raise self.memory_error() from error
            if is_fatal(error):
                raise self._fatal(error) from error
            if isinstance(error, duckdb.Error):
                raise self.read_error(error) from error
            raise
        finally:
            self._this_thread.n_cursors -= 1
            # Under the lock: a thread that reopens the database drops idle cursors and waits for busy ones, so a
            # cursor must always be one of the two.
            with self._cursor_lock:
                self._busy_cursors.discard(cursor)
                if is_idle and self._closed:
                    cursor.close()
                elif is_idle:
                    self._idle_cursors.append(cursor)
        self._after_reading()

    def _cursor(self) -> duckdb.DuckDBPyConnection:
        """Return a new cursor that counts as busy already."""
        try:
            return self._busy_cursor()
        except duckdb.ConnectionException:
            # Another thread is reopening the database, or was interrupted while it did.
            with self._write_lock:
                self._reload_if_stale()
                return self._busy_cursor()

    def _busy_cursor(self) -> duckdb.DuckDBPyConnection:
        with self._cursor_lock:
            cursor = self._connection.cursor()
            self._busy_cursors.add(cursor)
            return cursor

    def _fatal(self, error: BaseException) -> InternalError:
        """Return the error for a fatal one of DuckDB's, and have DuckDB reopened before the next access."""
        self.mark_broken()
        if not self.persists:
            return InternalError(
                f"{self!r} has failed: {error}. It was in memory alone, and its records are lost. Open a new client."
            )
        return InternalError(
            f"Reading {self!r} failed: {error}. Nothing is lost; the store is reopened with the next call: repeat "
            "this one."
        )

    def _check_open(self) -> None:
        if self._closed:
            raise InternalError(f"{self!r} is closed. Open a new client to go on.")

    def on_fork(self) -> None:
        # Freeing a connection in the child would write the parent's log into the database and delete it.
        forked.keep_for_ever(self, self._connection, self._sql_cursors, *self._busy_cursors)
        self._sql_cursors = set()
        self._write_lock = threading.RLock()
        self._closed = True
        self._temp.on_fork()

    def close(self) -> None:
        # Before the write lock: a running query may hold it, or wait for it.
        self._end_queries()
        with self._write_lock:
            if self._closed:
                return
            self._closed = True
            finish(
                self._close_cursors,
                *(partial(_close_vectors, entry) for entry in self._entries.values()),
                self._close_connection,
                self._temp.close,
            )

    def _close_cursors(self) -> None:
        with self._cursor_lock:
            for cursor in self._idle_cursors:
                cursor.close()
            self._idle_cursors.clear()

    def _close_connection(self) -> None:
        with contextlib.suppress(duckdb.Error, OSError, MemoryBudgetError):
            # No checkpoint while there are readers: it would wait for them. The log is read at the next opening.
            is_sound = not (self._is_stale or self._is_broken or self._is_abandoned)
            if is_sound and not self._busy_cursors and self._should_checkpoint():
                self._checkpoint()
        # A query that ignores its interrupt keeps the database open until it ends.
        with contextlib.suppress(duckdb.Error):
            self._connection.close()

    def reset(self) -> None:
        with self._changing():
            with self._transaction() as con:
                for entry in self._entries.values():
                    self._delete_collection(con, entry)
                con.execute("DELETE FROM databases")
                con.execute("DELETE FROM tenants")
                _insert_defaults(con)
            self._load_catalogue()

    # -- tenants and databases ----------------------------------------------------------------

    def create_tenant(self, name: str) -> None:
        with self._changing():
            if name in self._tenants:
                raise UniqueConstraintError(f"Tenant [{name}] already exists")
            with self._transaction() as con:
                con.execute("INSERT INTO tenants VALUES (?)", [name])
            self._tenants.add(name)

    def has_tenant(self, name: str) -> bool:
        self._reload_if_stale()
        return name in self._tenants

    def create_database(self, name: str, tenant: str) -> UUID:
        with self._changing():
            if (tenant, name) in self._databases:
                raise UniqueConstraintError(f"Database [{name}] already exists")
            database_id = uuid4()
            with self._transaction() as con:
                row = [str(database_id), name, tenant, self._next_created()]
                con.execute("INSERT INTO databases VALUES (?, ?, ?, ?)", row)
            self._databases[tenant, name] = database_id
            return database_id

    def _next_created(self) -> int:
        self._created += 1
        return self._created

    def find_database(self, name: str, tenant: str) -> UUID | None:
        self._reload_if_stale()
        return self._databases.get((tenant, name))

    def list_databases(self, tenant: str) -> list[tuple[UUID, str]]:
        self._reload_if_stale()
        databases = list(self._databases.items())
        return [(key, name) for (owner, name), key in databases if owner == tenant]

    def delete_database(self, name: str, tenant: str) -> None:
        with self._changing():
            entries = [self._entry(info.id) for info in self.list_collections(tenant, name)]
            with self._transaction() as con:
                for entry in entries:
                    self._delete_collection(con, entry)
                con.execute("DELETE FROM databases WHERE name = ? AND tenant = ?", [name, tenant])
            self._load_catalogue()

    # -- collections --------------------------------------------------------------------------

    def create_collection(self, info: CollectionInfo) -> None:
        n = len(self._entries)
        if n % _ROOM_FOR_COLLECTIONS == 0 and n and not self.persists:
            # DuckDB does not count this memory against its limit, so it is checked here.
            WORKSPACE.take_all(
                _ROOM_FOR_COLLECTIONS * _COLLECTION_BYTES,
                f"A store in memory with more than {n:,} collections",
                "keep them in a folder, where each takes a third: PersistentClient(path)",
                "make one collection of several, with a metadata key that tells them apart",
                "delete collections",
            ).give_back()
        self._retry_with_freed_memory(lambda: self._create_collection(info))

    def _create_collection(self, info: CollectionInfo) -> None:
        with self._changing():
            if (info.tenant, info.database, info.name) in self._by_name:
                raise UniqueConstraintError(f"Collection [{info.name}] already exists")
            entry = CatalogueEntry(
                info, self._next_created(), Extent(0, 0, 0, 0, 0), texts=NO_TEXTS
            )
            with self._transaction() as con:
                con.execute(
                    f"INSERT INTO collections ({_COLLECTION_COLUMNS}) "
                    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0, 0, 0, 0, NULL, 0)",
                    [
                        *(str(info.id), info.name, info.tenant, info.database, entry.created),
                        *(
                            json.dumps(info.configuration),
                            _metadata_json(info.metadata),
                            info.dimension,
                        ),
                    ],
                )
                con.execute(_create_records(entry.table))
            self._remember(entry)

    def find_collection(self, name: str, tenant: str, database: str) -> CollectionInfo | None:
        self._reload_if_stale()
        collection_id = self._by_name.get((tenant, database, name))
        return None if collection_id is None else self._entries[collection_id].info

    def get_collection(self, collection_id: UUID) -> CollectionInfo:
        return self._entry(collection_id).info

    def _entry(self, collection_id: UUID) -> CatalogueEntry:
        self._reload_if_stale()
        entry = self._entries.get(collection_id)
        if entry is None:
            self._check_open()
            raise NotFoundError(f"Collection [{collection_id}] does not exist.")
        return entry

    def list_collections(
        self, tenant: str | None = None, database: str | None = None
    ) -> list[CollectionInfo]:
        self._check_open()
        self._reload_if_stale()
        infos = [entry.info for entry in sorted(self._entries.values(), key=lambda e: e.created)]
        if tenant is None:
            return infos
        return [info for info in infos if (info.tenant, info.database) == (tenant, database)]

    def update_collection(
        self, collection_id: UUID, change: Callable[[CollectionInfo], CollectionInfo]
    ) -> CollectionInfo:
        with self._changing():
            entry = self._entry(collection_id)
            old = entry.info
            info = replace(change(old), dimension=old.dimension)
            taken = self._by_name.get((info.tenant, info.database, info.name))
            if taken is not None and taken != info.id:
                raise UniqueConstraintError(f"Collection [{info.name}] already exists")
            with self._transaction() as con:
                con.execute(
                    "UPDATE collections SET name = ?, metadata = ?, configuration = ?, "
                    "ttl_seconds = ? WHERE id = ?",
                    [
                        *(info.name, _metadata_json(info.metadata)),
                        *(json.dumps(info.configuration), info.ttl_seconds, str(info.id)),
                    ],
                )
            self._by_name.pop((old.tenant, old.database, old.name), None)
            entry.info = info
            self._remember(entry)
            return info

    def delete_collection(self, collection_id: UUID) -> None:
        with self._changing():
            entry = self._entry(collection_id)
            with self._transaction() as con:
                self._delete_collection(con, entry)
            del self._entries[collection_id]
            info = entry.info
            self._by_name.pop((info.tenant, info.database, info.name), None)
            self._drop_files(entry)

    def _delete_collection(self, con: duckdb.DuckDBPyConnection, entry: CatalogueEntry) -> None:
        con.execute("DELETE FROM collections WHERE id = ?", [str(entry.info.id)])
        con.execute(f'DROP TABLE "{entry.table}"')
        self._delete_sums(con, entry.info.id)

    def _drop_files(self, entry: CatalogueEntry) -> None:
        """Close and delete the files of an entry that is no longer in DuckDB's catalogue."""
        if entry.info.id not in self._entries:
            self._touched.discard(entry.info.id)
            self._uncheckpointed.discard(entry.info.id)
            self._with_removals.discard(entry.info.id)
        self._chunk_bytes.pop((entry.info.id, entry.extent.generation), None)
        _close_vectors(entry)
        try:
            self._remove_files(entry)
        except OSError as error:
            # The collection is deleted all the same. Its files are orphans: after the next opening a write removes them.
            logger.warning("Files of a deleted collection could not be removed: %s", error)

    def _remove_files(self, entry: CatalogueEntry) -> None:
        """Delete the files of one generation of a collection. Here its vectors have no name, and are gone once closed."""

    # -- records ------------------------------------------------------------------------------

    def extent(self, collection_id: UUID) -> Extent:
        return self._entry(collection_id).extent

    @with_more_memory
    def commit(self, collection_id: UUID, changes: Changes) -> Extent:
        more = self._more_for_commit(_largest_chunk_bytes(changes.rows.text_bytes))
        raised = self.memory_share.raised(more) if more else contextlib.nullcontext()
        with raised:
            return self._retry_with_freed_memory(lambda: self._commit(collection_id, changes))

    def commit_bytes(self, text_bytes: NDArray[np.int64]) -> int:
        total, chunk = int(text_bytes.sum()), _largest_chunk_bytes(text_bytes)
        # DuckDB moves what exceeds its limit to the temporary folder.
        limit = self.memory_share.limit + self._more_for_commit(chunk)
        copies = (_LOG_COPIES if self.persists else _COMMIT_COPIES) + _OLD_COPIES
        piece = min(total, _PIECE_COPIES * _TEXT_PIECE_BYTES)
        return min(total + total // 8, limit) + int(copies * chunk) + piece

    def _more_for_commit(self, chunk_bytes: int) -> int:
        """Return by how many bytes the limit is raised for a commit whose largest chunk has `chunk_bytes` of texts."""
        if self.memory_share.is_fixed or chunk_bytes <= _TEXT_PIECE_BYTES:
            return 0
        return max(0, 2 * chunk_bytes + _TEXT_PIECE_BYTES - self.memory_share.limit)

    def _commit(self, collection_id: UUID, changes: Changes) -> Extent:
        with self._changing():
            entry = self._entry(collection_id)
            extent = entry.extent
            if changes.base_version not in (None, extent.version):
                raise ConflictError(
                    f"Collection [{entry.info.name}] has changed since this write was prepared; nothing was written."
                )
            if len(changes.vectors) and changes.first_label != extent.next_label:
                raise InternalError(
                    f"Labels start at {changes.first_label}, the next free one is {extent.next_label}."
                )
            dimension = entry.info.dimension or changes.dimension
            self._uncheckpointed.add(collection_id)
            self._check_space(changes)
            bar = progress_bar(
                len(changes.rows),
                f"Writing {entry.info.name}",
                did="written",
                enabled=self.settings.progress,
            )
            growth: Growth | None = None
            with bar:
                if len(changes.vectors):
                    self._upgrade()
                    vectors = self._writable_vectors(entry, changes.vectors.shape[1])
                    _check_tail(vectors, changes)
                    growth = vectors.append(changes.first_label, changes.vectors)
                after = Extent(
                    extent.n_records + changes.n_records_delta,
                    extent.next_label + len(changes.vectors),
                    extent.next_sequence + changes.n_new,
                    extent.generation,
                    # Random, not counted: two stores that began as copies of one backup must not share versions.
                    secrets.randbits(_VERSION_BITS),
                )
                texts = None if entry.texts is None else entry.texts.plus(changes.rows)
                if len(changes.removed):
                    self._with_removals.add(collection_id)
                with self._transaction() as con:
                    _write_rows(con, entry.table, changes, bar)
                    tail = self._write_sums(con, entry, growth)
                    con.execute(
                        "UPDATE collections SET dimension = ?, n_records = ?, next_label = ?, next_sequence = ?, "
                        f"version = ?, text_sizes = ?{_SET_TAIL if tail else ''} WHERE id = ?",
                        [
                            *(dimension, after.n_records, after.next_label, after.next_sequence),
                            *(after.version, _stored_texts(texts, after), *tail),
                            str(collection_id),
                        ],
                    )
            self._changed_bytes += ROW_BYTES * (len(changes.rows) + len(changes.removed))
            if texts is not None and entry.texts is not None:
                self._changed_bytes += texts.n_bytes - entry.texts.n_bytes
            if growth is not None and entry.vectors is not None and entry.vectors.sums is not None:
                entry.vectors.sums.adopt(growth)
                entry.tail = entry.vectors.sums.tail
            entry.extent, entry.texts = after, texts
            if entry.info.dimension is None and dimension is not None:
                entry.info = replace(entry.info, dimension=dimension)
        return after

    def memory_error(self) -> MemoryBudgetError:
        """Return the error for a statement that DuckDB has too little memory for."""
        n, many = len(self._entries), ""
        if 2 * n * _UNCHECKPOINTED_BYTES > self.memory_share.n_bytes:
            many = (
                f" There are {n:,} collections, and each takes some of it: records of one collection that a "
                "metadata key tells apart take less."
            )
        return self.memory_share.error(many)

    def _write_error(self, error: Exception) -> Exception:
        if self.persists and isinstance(error, duckdb.Error) and is_damage(error):
            # Repeating the call does not help.
            return StoreCorruptError(f"{self.read_error(error)} Nothing of this call was kept.")
        way_out = "Repeat the call."
        if is_disk_full(error):
            way_out = "The disk is full: free some space, or delete what is not needed, and repeat the call."
        return InternalError(
            f"Writing to {self!r} failed, nothing of this call was kept: {error}. {way_out}"
        )

    def _space_folder(self) -> str:
        return self._temp.path

    def _check_space(self, changes: Changes) -> None:
        """Refuse a write that would not fit on the disk, before DuckDB's log fills it.

        Raises:
            InternalError: It would not fit; nothing was written.
        """
        rows = changes.rows
        if not len(rows):
            # Deleting is never refused: it may be how the user gets space.
            return
        n_bytes = changes.vectors.nbytes + 64 * len(rows) + int(rows.lengths.sum())
        free = shutil.disk_usage(self._space_folder()).free
        kept_free = self._space_for_log(n_bytes - changes.vectors.nbytes, free - n_bytes)
        needed = n_bytes + n_bytes // 8 + kept_free
        if needed > free:
            raise InternalError(
                f"Writing {len(rows):,} records needs about {format_bytes(needed)}, of which "
                f"{format_bytes(kept_free)} are kept free for the database's log; the disk of {self!r} has "
                f"{format_bytes(free)} free. Free some space, or delete a collection, and repeat the call; "
                "nothing was written."
            )

    def _space_for_log(self, n_bytes: int, free: int) -> int:
        """Return how many bytes of the disk must stay free for the checkpoint that comes later.

        Args:
            n_bytes: Bytes that will be written to the log.
            free: Bytes that are free beside these.
        """
        return HEADROOM_BYTES

    def _vector_path(self, entry: CatalogueEntry) -> str | None:
        return None

    def _open_vectors(self, entry: CatalogueEntry, dimension: int, *, create: bool) -> VectorFile:
        return VectorFile(
            self._vector_path(entry),
            dimension,
            folder=self._temp.path,
            spare_path=os.path.join(self._temp.path, f"{entry.file_stem}.f32"),
            fsync=False,
        )

    # -- checksums of vectors -----------------------------------------------------------------

    def _upgrade(self) -> None:
        """Turn a store of format 1 into format 2, which has checksums; an older chroma_nb then refuses it."""
        if self._format > 1 or not self.persists:
            return
        with self._transaction() as con:
            for statement in _FORMAT_2.split(";"):
                if statement.strip():
                    con.execute(statement)
        self._format = FORMAT_VERSION

    def _attach_sums(self, entry: CatalogueEntry, vectors: VectorFile) -> None:
        """Have a vector file check its rows against the checksums that DuckDB has of them, if any.

        Raises:
            StoreCorruptError: DuckDB's checksums are not of as many rows as it counts.
        """
        collection_id, extent = entry.info.id, entry.extent
        if not self.persists:
            return
        if extent.next_label == 0:
            sums = BlockSums(vectors.row_bytes)
        elif entry.tail is None:
            vectors.sums = None
            return
        else:
            with self._reading() as cursor:
                rows = cursor.execute(
                    "SELECT sums FROM vector_sums WHERE collection = ? AND generation = ? "
                    "ORDER BY first_block",
                    [str(collection_id), extent.generation],
                ).fetchall()
            sums = BlockSums(vectors.row_bytes, b"".join(one for (one,) in rows), *entry.tail)
            if sums.n_rows != extent.next_label:
                raise StoreCorruptError(
                    f"The database of {self!r} has checksums of {sums.n_rows:,} vectors of collection "
                    f"[{entry.info.name}], which has {extent.next_label:,}. Restore the store from a backup."
                )
        vectors.check_against(sums, lambda blocks: self._report_damage(collection_id, blocks))

    def _write_sums(
        self, con: duckdb.DuckDBPyConnection, entry: CatalogueEntry, growth: Growth | None
    ) -> tuple[int, int] | tuple[()]:
        """Write the checksums that a commit adds; return (rows, checksum) of the new tail, empty where there is none."""
        if growth is None or entry.vectors is None or entry.vectors.sums is None:
            return ()
        first, found = growth.first_block, growth.sums.tobytes()
        if entry.tail is None:
            # These are the first checksums of the collection. An older chroma_nb may have written vectors before:
            # `_writable_vectors` has computed theirs.
            first, found = 0, entry.vectors.sums.stored() + found
        if found:
            con.execute(
                "INSERT INTO vector_sums VALUES (?, ?, ?, ?)",
                [str(entry.info.id), entry.extent.generation, first, found],
            )
        return growth.tail_rows, growth.tail_sum

    def _delete_sums(self, con: duckdb.DuckDBPyConnection, collection_id: UUID) -> None:
        if self._format > 1 and self.persists:
            con.execute("DELETE FROM vector_sums WHERE collection = ?", [str(collection_id)])

    def rows_to_skip(self, collection_id: UUID) -> int:
        entry = self._entry(collection_id)
        if entry.tail is None or not entry.extent.next_label:
            return 0
        try:
            vectors = self.vectors(collection_id)
        except StoreCorruptError:
            # Deleting needs no vectors, so it must not fail here. A write opens the file and raises this itself.
            return 0
        return vectors.rows_to_skip() if isinstance(vectors, VectorFile) else 0

    def _ids_in(self, collection_id: UUID, blocks: Sequence[Block]) -> list[str]:
        """Return the ids of the records whose vectors are in these blocks, in storage order."""
        entry = self._entry(collection_id)
        with self._reading() as cursor:
            rows = cursor.execute(
                f'SELECT r.id FROM "{entry.table}" r, '
                "(SELECT unnest(?::BIGINT[]) AS start, unnest(?::BIGINT[]) AS stop) b "
                "WHERE r.label >= b.start AND r.label < b.stop ORDER BY r.sequence",
                [[one.start for one in blocks], [one.stop for one in blocks]],
            ).fetchall()
        return [one for (one,) in rows]

    def _report_damage(self, collection_id: UUID, blocks: Sequence[Block]) -> None:
        """Raise `StoreCorruptError` where a record's vector is in one of these blocks."""
        entry = self._entry(collection_id)
        ids = self._ids_in(collection_id, blocks)
        if not ids:
            return
        n = f"{len(ids):,} record{'' if len(ids) == 1 else 's'}"
        vectors = entry.vectors
        how = "is damaged"
        if vectors is not None and vectors.is_shorter_than(entry.extent.next_label):
            how = "was cut short outside this program"
            if vectors.was_missing or vectors.bytes_on_disk <= HEADER_BYTES:
                # Another process may have made the file anew, without rows.
                how = "was missing, or is without its rows"
        raise StoreCorruptError(
            f"Vector file {self._vector_path(entry)!r} of collection [{entry.info.name}] "
            f"{how}: the embeddings of {n} ({some_ids(ids)}) are not as they were written. Their documents and metadata "
            "are whole: collection.get(ids=[...]). collection.export(path, skip_damaged=True) saves all other "
            "records, and client.check() lists what is damaged. Then restore the file from a backup, or delete "
            "these ids, or give them new embeddings.",
            ids=ids,
        )

    def _cut_off_error(self) -> InternalError:
        """Return the error for a read whose cursor was closed or interrupted by another thread."""
        if self.is_closing:
            return InternalError(
                "The store was closed while this query ran. Open a new client to go on."
            )
        return InternalError(
            f"{self!r} was reopened while it was read, as a write of another thread had failed. Nothing is damaged. "
            "Repeat the call."
        )

    def read_error(self, error: duckdb.Error) -> Exception:
        """Return the error to raise for one of DuckDB's that a read has met."""
        if was_cut_off(error):
            return self._cut_off_error()
        return InternalError(f"{self!r} could not be read: {error}.")

    def check(
        self, collection_id: UUID, on_bytes: Callable[[int], object] = lambda _: None
    ) -> CollectionCheck:
        entry = self._entry(collection_id)
        info, problems, damaged = entry.info, [], []
        found: list[Block] = []
        try:
            problems += self._check_records(entry, on_bytes)
            if info.dimension is not None and entry.extent.next_label:
                vectors = self.vectors(collection_id)
                assert isinstance(vectors, VectorFile)
                found = vectors.damaged_blocks(on_bytes)
                damaged = self._ids_in(collection_id, found) if found else []
        except StoreCorruptError as error:
            problems.append(str(error))
        sums = None if entry.vectors is None else entry.vectors.sums
        return CollectionCheck(
            name=info.name,
            tenant=info.tenant,
            database=info.database,
            n_records=entry.extent.n_records,
            n_blocks=0 if sums is None else sums.n_blocks,
            n_damaged_blocks=len(found),
            has_checksums=sums is not None or not entry.extent.next_label or not self.persists,
            damaged_ids=damaged,
            problems=problems,
        )

    def _check_records(self, entry: CatalogueEntry, on_bytes: Callable[[int], object]) -> list[str]:
        """Read every record; return a sentence for each thing that is wrong."""
        problems = []
        #: Ids whose metadata is no JSON.
        unreadable: list[str] = []
        for rows in self.scan(entry.info.id):
            n_bytes = 16 * len(rows)
            for text in (*rows.ids, *rows.documents, *rows.uris, *rows.metadatas):
                n_bytes += len(text or "")
            for one, text in zip(rows.ids, rows.metadatas, strict=True):
                try:
                    json.loads(text or "null")
                except ValueError:
                    unreadable.append(one)
            on_bytes(n_bytes)
        with self._reading() as cursor:
            found = cursor.execute(
                "SELECT count(*), count(DISTINCT label), count(DISTINCT id), coalesce(min(label), 0), "
                f'coalesce(max(label), -1) FROM "{entry.table}"'
            ).fetchall()
        n_records, n_labels, n_ids, first, last = found[0]
        extent = entry.extent
        if unreadable:
            n = f"{len(unreadable):,} record{'' if len(unreadable) == 1 else 's'}"
            problems.append(f"the metadata of {n} ({some_ids(unreadable)})")
        if n_records != extent.n_records:
            problems.append(
                f"the catalogue counts {extent.n_records:,} records, there are {n_records:,}"
            )
        if min(n_labels, n_ids) < n_records:
            problems.append("an id or a label is there twice")
        if first < 0 or last >= extent.next_label:
            problems.append("a record names a vector that was never written")
        return problems

    def _writable_vectors(self, entry: CatalogueEntry, dimension: int) -> VectorFile:
        """Return the collection's vector file, with checksums that a commit can add to."""
        if entry.vectors is not None and entry.vectors.dimension != dimension:
            # The collection's first write failed and fixed no dimension; this one has another.
            _close_vectors(entry)
        vectors = entry.vectors
        if vectors is None:
            create = entry.extent.next_label == 0
            vectors = self._open_vectors(entry, dimension, create=create)
            self._attach_sums(entry, vectors)
            entry.vectors = vectors
        self._recent.append(vectors)
        if self.persists and vectors.sums is None:
            # An older chroma_nb has written it, without checksums.
            sums = vectors.compute_sums(entry.extent.next_label)
            collection_id = entry.info.id
            vectors.check_against(sums, lambda blocks: self._report_damage(collection_id, blocks))
        return vectors

    @with_more_memory
    @read_again
    def find_labels(self, collection_id: UUID, ids: Sequence[str]) -> NDArray[np.int64]:
        entry = self._entry(collection_id)
        found: dict[str, int] = {}
        if entry.extent.n_records and ids:
            with self._reading() as cursor:
                cursor.execute(
                    f'SELECT id, label FROM "{entry.table}" WHERE id IN (SELECT unnest(?))',
                    [list(ids)],
                )
                found = dict(cursor.fetchall())
        return np.fromiter((found.get(one, -1) for one in ids), dtype=np.int64, count=len(ids))

    @with_more_memory
    @read_again
    def select(
        self,
        collection_id: UUID,
        expression: Expression | None = None,
        *,
        ids: Sequence[str] | None = None,
        limit: int | None = None,
        offset: int = 0,
    ) -> NDArray[np.int64]:
        entry = self._entry(collection_id)
        keys = list(dict.fromkeys(leaf.key for leaf in field_conditions(expression)))
        every, parameters = _condition(expression, ids, DuckDBDialect())
        query = f'SELECT label FROM "{entry.table}"'
        if every:
            query += f" WHERE {every}"
        query += " ORDER BY sequence"
        with self._reading() as cursor:
            try:
                table = None if expression is None else self._record_table(cursor, entry)
                if table is not None and table.is_large_for(every, keys):
                    end = entry.extent.next_label
                    dialect = DuckDBDialect(key_columns(keys))
                    every, parameters = _condition(expression, ids, dialect)
                    with self._more_for_filters(cursor):
                        table = self._record_table(cursor, entry)
                        labels = table.select(every, parameters, 0, end, keys)
                else:
                    labels = cursor.execute(query, parameters).fetchnumpy()["label"]
            except duckdb.InvalidInputException as error:
                raise _bad_filter(expression, error) from error
            except (duckdb.OutOfMemoryException, *_STORAGE_ERRORS):
                raise
            except duckdb.Error as error:
                if is_damage(error):
                    raise
                raise InternalError(f"The filter could not be evaluated: {error}") from error
        # Cut here and not by SQL's LIMIT, which loses rows: see `_disable_pruner`.
        chosen = labels[offset : None if limit is None else offset + limit]
        return np.ascontiguousarray(chosen, dtype=np.int64)

    @contextlib.contextmanager
    def _more_for_filters(self, cursor: duckdb.DuckDBPyConnection) -> Iterator[None]:
        """Let DuckDB parse the metadata of more rows at once, as far as there is memory for that."""
        if self.memory_share.is_fixed:
            yield
            return
        with WORKSPACE.take(_FILTER_BYTES) as room, self.memory_share.raised(room.n_bytes, cursor):
            yield

    @with_more_memory
    @read_again
    def fetch(
        self,
        collection_id: UUID,
        labels: NDArray[np.int64],
        columns: Sequence[str] = TEXT_COLUMNS,
    ) -> RecordRows:
        entry = self._entry(collection_id)
        # A label may be repeated: a record may answer many queries.
        wanted = np.unique(labels)
        with self._reading() as cursor:
            table = self._record_table(cursor, entry)
            with WORKSPACE.take(len(wanted) * table.row_bytes(columns)) as room:
                rows = joined(list(table.fetch(wanted, columns, room.n_bytes)))
        return in_order(rows, labels)

    def _record_table(
        self, cursor: duckdb.DuckDBPyConnection, entry: CatalogueEntry
    ) -> RecordTable:
        """Return a reader of the collection's table; the sizes of its texts are measured where they are not known."""
        sizes = entry.texts
        if sizes is None:
            sizes = entry.texts = measure(cursor, entry.table)
        return RecordTable(cursor, entry.table, sizes, self.memory_share.limit)

    @with_more_memory
    @read_again
    def text_sizes(self, collection_id: UUID) -> TextSizes:
        entry = self._entry(collection_id)
        known = entry.texts
        if (
            known is None
            or known.n_records > _REMEASURE_FACTOR * entry.extent.n_records + _FEW_RECORDS
        ):
            with self._reading() as cursor:
                known = entry.texts = measure(cursor, entry.table)
        return known

    @with_more_memory
    @read_again
    def describe_fields(self, collection_id: UUID, n_values: int) -> list[FieldSummary]:
        limit = self.memory_share.limit
        return self._read_current_generation(
            collection_id, lambda cursor, table: _fields.describe(cursor, table, n_values, limit)
        )

    @with_more_memory
    @read_again
    def metadata_keys(self, collection_id: UUID) -> list[str]:
        limit = self.memory_share.limit
        return self._read_current_generation(
            collection_id, lambda cursor, table: _fields.metadata_keys(cursor, table, limit)
        )

    def _read_current_generation(
        self, collection_id: UUID, read: Callable[[duckdb.DuckDBPyConnection, str], _Found]
    ) -> _Found:
        """Read a collection's table; once more where a compaction has replaced it meanwhile.

        The caller holds no lock that would keep a compaction out.
        """
        while True:
            entry = self._entry(collection_id)
            try:
                with self._reading() as cursor:
                    return read(cursor, entry.table)
            except InternalError as error:
                if not isinstance(error.__cause__, duckdb.CatalogException):
                    raise
                # A compaction holds the write lock until the catalogue in memory names the new table.
                with self._write_lock:
                    now = self._entry(collection_id)
                if now.extent.generation == entry.extent.generation:
                    raise

    def scan(self, collection_id: UUID) -> Iterator[RecordRows]:
        entry = self._entry(collection_id)
        with self._reading() as cursor:
            row_bytes = self._record_table(cursor, entry).row_bytes()
        start, end = 0, entry.extent.next_label
        while start < end:
            with WORKSPACE.take(min((end - start) * row_bytes, _SCAN_BYTES)) as room:
                stop = min(start + room.rows(row_bytes), end)
                rows = self.fetch(collection_id, np.arange(start, stop))
                if len(rows):
                    yield rows
            start = stop

    def vectors(self, collection_id: UUID) -> VectorSource:
        entry = self._entry(collection_id)
        with self._write_lock:
            vectors = entry.vectors
            if vectors is None:
                if entry.info.dimension is None:
                    raise InternalError(f"Collection [{entry.info.name}] has no vectors yet.")
                create = entry.extent.next_label == 0
                vectors = self._open_vectors(entry, entry.info.dimension, create=create)
                self._attach_sums(entry, vectors)
                if vectors.sums is None:
                    vectors.check_length(entry.extent.next_label)
                entry.vectors = vectors
            self._recent.append(vectors)
            return vectors

    @with_more_memory
    def compact(self, collection_id: UUID) -> None:
        with self._changing():
            old = self._entry(collection_id)
            if old.info.dimension is None:
                return
            self._upgrade()
            source = self.vectors(collection_id)
            # Damage that came after a row was checked must not get a right checksum in the new file.
            source.forget_checks()
            extent = old.extent
            new = CatalogueEntry(
                old.info, old.created, replace(extent, generation=extent.generation + 1)
            )
            target = self._open_vectors(new, old.info.dimension, create=True)
            # `new` still has the old extent, but its file is empty so far.
            self._attach_sums(replace(new, extent=replace(new.extent, next_label=0)), target)
            key = collection_id, new.extent.generation
            self._compacting[key] = target
            try:
                labels = self.select(collection_id)
                with WORKSPACE.take(len(labels) * _COMPACT_COPIES * source.row_bytes) as room:
                    step = (
                        min(room.n_bytes, _COMPACT_BYTES) // (_COMPACT_COPIES * source.row_bytes)
                        or 1
                    )
                    for start in range(0, len(labels), step):
                        piece = source.read(labels[start : start + step])
                        growth = target.append(start, piece)
                        if growth is not None and target.sums is not None:
                            target.sums.adopt(growth)
                new.extent = replace(new.extent, next_label=len(labels), n_records=len(labels))
                with self._transaction() as con:
                    con.execute(_create_records(new.table))
                    self._record_table(con, old).copy_to(new.table)
                    con.execute(f'DROP TABLE "{old.table}"')
                    self._delete_sums(con, collection_id)
                    tail: tuple[int, ...] = ()
                    if target.sums is not None:
                        con.execute(
                            "INSERT INTO vector_sums VALUES (?, ?, 0, ?)",
                            [str(collection_id), new.extent.generation, target.sums.stored()],
                        )
                        tail = new.tail = target.sums.tail
                    con.execute(
                        f"UPDATE collections SET next_label = ?, generation = ?{_SET_TAIL if tail else ''} "
                        "WHERE id = ?",
                        [new.extent.next_label, new.extent.generation, *tail, str(collection_id)],
                    )
            except BaseException:
                # An interrupt may have come after the COMMIT: DuckDB's catalogue says which generation counts.
                self._reload_if_stale()
                del self._compacting[key]
                if self._entries[collection_id].vectors is not target:
                    new.vectors = target
                    self._drop_files(new)
                raise
            new.vectors, new.texts = target, old.texts
            self._remember(new)
            del self._compacting[key]
            self._drop_files(old)

    def settle(self) -> None:
        # New rows stay uncompressed in memory until a checkpoint, and DuckDB keeps freed blocks until its limit is
        # lowered (measured with 100,000 short documents: 74 MB before, 34 MB after).
        with self._write_lock, interruptible():
            self._reload_if_stale()
            if self._closed:
                return
            try:
                if self._should_checkpoint():
                    # Refused while another transaction reads or memory is short: a later call does it.
                    with contextlib.suppress(duckdb.TransactionException, MemoryBudgetError):
                        self._checkpoint()
                with self._cursor_lock:
                    # `_free_cache` lowers the limit, which a running statement would run into.
                    if not self._busy_cursors:
                        self._free_cache()
            except (duckdb.Error, OSError) as error:
                self._after_failed_checkpoint(error)

    def _after_failed_checkpoint(self, error: Exception) -> None:
        """Log a checkpoint that failed, and have DuckDB reopened. Nothing is lost: all commits are in the log.

        Raises:
            duckdb.InterruptException: That is what `error` is.
        """
        self.mark_broken()
        if isinstance(error, duckdb.InterruptException):
            raise error
        # What follows an empty line is DuckDB's advice to people who use DuckDB directly.
        said = str(error).split("\n\n", 1)[0]
        # Users can do nothing about a lack of memory that has passed.
        level = logging.DEBUG if is_out_of_memory(error) else logging.WARNING
        logger.log(level, "A checkpoint of %r failed, and its database is reopened: %s", self, said)

    def _should_checkpoint(self) -> bool:
        """Say whether a checkpoint is worth its cost and the disk has room for it; a failed one ends DuckDB's instance."""
        if self._closed:
            return False
        # In memory a checkpoint gives the rows of each table a block of their own: for many small tables that is more
        # memory than before.
        return self.memory_bytes > _BLOCK_BYTES * len(self._entries)

    def _checkpoint(self, *, force: bool = False) -> None:
        """Have DuckDB write what is in its log into the database.

        Args:
            force: Try it even where not all the memory that it may need is free. Only for a store in a folder, where
                a failed checkpoint loses nothing.

        Raises:
            MemoryBudgetError: There is too little memory for it, and no checkpoint was made.
        """
        with self._memory_for_checkpoint(force=force):
            self._write_checkpoint()

    def _write_checkpoint(self) -> None:
        """Run CHECKPOINT; the caller holds the memory for it."""
        self._connection.execute("CHECKPOINT")
        self._uncheckpointed.clear()
        self._with_removals.clear()
        self._changed_bytes, self._changed_limit = 0, _CHANGED_BYTES

    def _checkpoint_bytes(self) -> int:
        """Return an upper bound of the bytes of memory that a checkpoint takes, without trying compressions."""
        need = (
            self._checkpoint_text_bytes(entry, texts)
            for entry, texts in self._uncheckpointed_texts()
        )
        return _CHECKPOINT_COPIES * max(need, default=0) + _CHECKPOINT_BYTES

    def _checkpoint_text_bytes(self, entry: CatalogueEntry, texts: TextSizes) -> int:
        """Return the most bytes of texts that a checkpoint of one collection reads at the same time."""
        at_once = self._groups_at_once(texts)
        most = min(texts.n_bytes, at_once * CHUNK_ROWS * (texts.longest or texts.n_bytes))
        measured = self._chunk_bytes.get((entry.info.id, entry.extent.generation))
        if measured is not None and measured[1] <= texts.n_bytes:
            most = min(most, at_once * measured[0] + texts.n_bytes - measured[1])
        return most

    def _groups_at_once(self, texts: TextSizes) -> int:
        """Return how many row groups of a table DuckDB writes at the same time."""
        threads = self.settings.threads or os.cpu_count() or 1
        return min(threads, -(-texts.n_records // GROUP_ROWS) or 1)

    def _compression_bytes(self) -> int:
        """Return the bytes of memory that DuckDB takes to try several compressions of texts."""
        if not self.persists:
            return 0
        need = [0]
        for _, texts in self._uncheckpointed_texts():
            rows = self._groups_at_once(texts) * min(texts.n_records, GROUP_ROWS)
            columns = (texts.ids, texts.documents, texts.uris, texts.metadatas)
            need.append(sum(min(column, rows * _COMPRESSED_TEXT_BYTES) for column in columns))
        return _COMPRESSION_COPIES * max(need)

    def _measure_chunks(self) -> bool:
        """Measure the largest chunks of changed collections, for a lower bound of a checkpoint's memory.

        Returns:
            Whether something new was measured.
        """
        least = (
            min(CHUNK_ROWS, texts.n_records) * texts.row_bytes()
            for _, texts in self._uncheckpointed_texts()
        )
        grant = self._grant_for_checkpoint(_CHECKPOINT_COPIES * max(least, default=0))
        if grant is None:
            return False
        is_new = False
        with grant, contextlib.closing(self._connection.cursor()) as cursor:
            for entry, texts in list(self._uncheckpointed_texts()):
                key = entry.info.id, entry.extent.generation
                before = self._chunk_bytes.get(key, (0, 0))[1]
                # Measuring reads all texts, so not after every write.
                if before <= texts.n_bytes <= _REMEASURE_FACTOR * before:
                    continue
                try:
                    self._chunk_bytes[key] = largest_chunk_bytes(cursor, entry.table), texts.n_bytes
                    is_new = True
                except duckdb.Error as error:
                    if not is_out_of_memory(error):
                        raise
        return is_new

    def _uncheckpointed_texts(self) -> Iterator[tuple[CatalogueEntry, TextSizes]]:
        """Yield the collections that were written to since the last checkpoint and whose text sizes are known."""
        for collection_id in list(self._uncheckpointed):
            entry = self._entries.get(collection_id)
            if entry is not None and entry.texts is not None:
                yield entry, entry.texts

    @contextlib.contextmanager
    def _memory_for_checkpoint(self, *, force: bool = False) -> Iterator[int]:
        """Hold all memory that a checkpoint may take; yield its bytes.

        A checkpoint that runs out of memory ends the DuckDB instance, and with it all records of a store in memory.

        Args:
            force: Where not all of it is free, hold what there is.

        Raises:
            MemoryBudgetError: It is not free, and `force` is False.
        """
        need, compression = self._checkpoint_bytes(), self._compression_bytes()
        grant = self._grant_for_checkpoint(need + compression)
        if grant is None and compression:
            # Do without compression: the texts take more of the disk.
            compression = 0
            grant = self._grant_for_checkpoint(need)
        if grant is None and self._measure_chunks():
            need = self._checkpoint_bytes()
            grant = self._grant_for_checkpoint(need)
        if grant is None and force:
            grant = WORKSPACE.take(need)
        if grant is None:
            raise self.memory_error()
        with grant:
            # In memory the limit is raised by all of it, even one that the settings name: other statements may use
            # the whole limit at the moment.
            more = max(grant.n_bytes, 0 if self.persists else _SAFE_CHECKPOINT_BYTES)
            # In a folder a quarter is left to the system, which caches what is written until it is on the disk.
            # DuckDB would use that quarter if its limit allowed it.
            spare = (need - _CHECKPOINT_BYTES) // 4 if self.persists else 0
            more = max(0, more - spare)
            compressed = bool(compression) or not self.persists
            with self.memory_share.raised(more), self._compressing(compressed):
                yield need + compression - spare

    def _grant_for_checkpoint(self, n_bytes: int) -> Grant | None:
        """Take the memory of a checkpoint that is not within DuckDB's limit already; return None where it is not free."""
        if self.persists:
            n_bytes = 0 if self.memory_share.is_fixed else n_bytes - self.memory_share.limit
        return WORKSPACE.take_now(max(0, n_bytes))

    @contextlib.contextmanager
    def _compressing(self, texts: bool) -> Iterator[None]:
        """Until the end of the block, let DuckDB compress texts or not."""
        if texts:
            yield
            return
        with contextlib.closing(self._connection.cursor()) as cursor:
            _limit_text_compression(cursor, uncompressed=True)
        try:
            yield
        finally:
            # This fails where DuckDB has ended; a reopened one has its defaults again.
            with (
                contextlib.suppress(duckdb.Error),
                contextlib.closing(self._connection.cursor()) as cursor,
            ):
                _limit_text_compression(cursor)

    def _free_cache(self) -> None:
        """Have DuckDB give its freed blocks back, by lowering its limit for a moment."""
        self.memory_share.is_stale = True
        # DuckDB refuses a limit below what is in use.
        with contextlib.suppress(duckdb.OutOfMemoryException):
            self._connection.execute("SET memory_limit = '8MB'")
        self.memory_share.apply()

    def _apply_stale_memory_limit(self) -> None:
        """Set DuckDB's memory limit where it may be another one, such as after an interrupt in `settle`."""
        if not self.memory_share.is_stale:
            return
        with self._cursor_lock:
            try:
                if self.memory_share.is_stale:
                    with interruptible():
                        self.memory_share.apply()
            except duckdb.Error as error:
                raise self._fatal(error) from error

    # -- memory -------------------------------------------------------------------------------

    @property
    def memory_bytes(self) -> int:
        try:
            with self._reading() as cursor:
                return self._memory_used(cursor)
        except MemoryBudgetError:
            pass
        # The query itself takes a little memory, and other statements use all that the limit allows.
        try:
            with self.memory_share.raised(_ASKING_BYTES), self._reading() as cursor:
                return self._memory_used(cursor)
        except MemoryBudgetError:
            return self.memory_share.limit

    def _memory_used(self, connection: duckdb.DuckDBPyConnection) -> int:
        """Return the bytes of memory that DuckDB says it uses."""
        rows = connection.execute(
            "SELECT coalesce(sum(memory_usage_bytes), 0) FROM duckdb_memory()"
        ).fetchall()
        return int(rows[0][0])

    @property
    def working_bytes(self) -> int:
        # A checkpoint writes the entries of all tables, changed or not.
        return _CATALOGUE_BYTES * len(self._entries)

    @property
    def memory_limit(self) -> int:
        return self.memory_share.n_bytes

    def set_memory_limit(self, n_bytes: int) -> None:
        if self.memory_share.is_fixed or n_bytes == self.memory_share.n_bytes:
            return
        self._check_open()
        self.memory_share.n_bytes = n_bytes
        with self._cursor_lock, interruptible():
            # While the database is being reopened this fails: then the next statement sets the limit.
            self.memory_share.is_stale = True
            with contextlib.suppress(duckdb.Error):
                self.memory_share.apply()

    # -- beyond Chroma ------------------------------------------------------------------------

    @with_more_memory
    @read_again
    def sql(self, query: str, parameters: Any, tenant: str, database: str) -> Any:
        self._check_open()
        self._reload_if_stale()
        return answer_sql(self, query, parameters, tenant, database)

    @contextlib.contextmanager
    def sql_cursor(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """Open a cursor for one SQL query; see `chroma_nb.db.sql.store.SqlStore`."""
        self._check_open()
        cursor = self._cursor()
        try:
            self._apply_stale_memory_limit()
            with self._cursor_lock:
                self._sql_cursors.add(cursor)
            # Checked after the cursor was added: from then on `_end_queries` interrupts it.
            if self.is_closing:
                raise InternalError(f"{self!r} is being closed. Open a new client to go on.")
            yield cursor
        finally:
            cursor.close()
            self._busy_cursors.discard(cursor)
            self._sql_cursors.discard(cursor)

    @contextlib.contextmanager
    def one_thread(self, cursor: duckdb.DuckDBPyConnection) -> Iterator[None]:
        """Have DuckDB work with one thread until the end of the block; others' queries meanwhile, too."""
        cursor.execute("SET threads = 1")
        try:
            yield
        finally:
            # Closed meanwhile: the next connection has its own.
            with contextlib.suppress(duckdb.Error):
                cursor.execute(f"SET threads = {self.settings.threads or os.cpu_count() or 1}")

    def _end_queries(self) -> None:
        """Interrupt SQL queries: DuckDB does not close while a cursor is at work."""
        self.is_closing = True
        until = time.monotonic() + _CLOSE_SECONDS
        while self._sql_cursors and time.monotonic() < until:
            interrupt(self._sql_cursors)
            time.sleep(0.01)

    def is_at(self, collection_id: UUID, generation: int) -> bool:
        """Say whether a generation of a collection is still there."""
        entry = self._entries.get(collection_id)
        return entry is not None and entry.extent.generation == generation and not self._closed

    def vectors_at(self, collection_id: UUID, generation: int) -> VectorSource | None:
        """Return the vectors of one generation of a collection, or None where it is gone."""
        # A compaction holds the lock until it has put the new files in the place of the old ones.
        with self._write_lock:
            return self.vectors(collection_id) if self.is_at(collection_id, generation) else None

    def mark_broken(self) -> None:
        """Have DuckDB reopened before the next access."""
        self._is_stale = self._is_broken = True

    @property
    def derived_folder(self) -> str:
        return self._temp.path

    def sizes(self, collection_ids: Sequence[UUID]) -> list[tuple[int, int, int]]:
        found = super().sizes(collection_ids)
        entries = [self._entries.get(one) for one in collection_ids]
        return [
            (n_records, disk_bytes, 0 if entry is None else text_bytes(entry))
            for (n_records, disk_bytes, _), entry in zip(found, entries, strict=True)
        ]

    def bytes_on_disk(self, collection_id: UUID) -> int:
        entry = self._entry(collection_id)
        return 0 if entry.vectors is None else entry.vectors.bytes_on_disk


def _condition(
    expression: Expression | None, ids: Sequence[str] | None, dialect: DuckDBDialect
) -> tuple[str, list[Any]]:
    """Return the SQL condition for a filter and for ids, and its parameters; an empty text where there is neither."""
    conditions: list[str] = []
    parameters: list[Any] = []
    if expression is not None:
        condition, parameters = compile_sql(expression, dialect)
        conditions.append(f"({condition})")
    if ids is not None:
        conditions.append(f"id IN (SELECT unnest(${len(parameters) + 1}::VARCHAR[]))")
        parameters = [*parameters, list(ids)]
    return " AND ".join(conditions), parameters


def _bad_filter(expression: Expression | None, error: duckdb.Error) -> InvalidArgumentError:
    reason = str(error).removeprefix("Invalid Input Error: ")[:300]
    given = " or ".join(repr(pattern[:200]) for pattern in patterns(expression))
    if not given:
        return InvalidArgumentError(f"Invalid where clause: {reason}")
    return InvalidArgumentError(
        f"Invalid where clause: the regular expression {given} cannot be read: {reason}. The syntax is "
        "that of Rust's regex, without look-around and back-references."
    )


def create_schema(con: duckdb.DuckDBPyConnection) -> None:
    """Make the tables of a new store, with the default tenant and database."""
    for statement in _SCHEMA.split(";"):
        if statement.strip():
            con.execute(statement)
    con.execute("INSERT INTO meta VALUES ('format_version', ?)", [str(FORMAT_VERSION)])
    _insert_defaults(con)


def _insert_defaults(con: duckdb.DuckDBPyConnection) -> None:
    con.execute("INSERT INTO tenants VALUES (?)", [DEFAULT_TENANT])
    con.execute(
        "INSERT INTO databases VALUES (?, ?, ?, 0)",
        [str(uuid4()), DEFAULT_DATABASE, DEFAULT_TENANT],
    )


def _create_records(table: str) -> str:
    return (
        f'CREATE TABLE "{table}" (label BIGINT, sequence BIGINT, id VARCHAR, document VARCHAR, '
        "uri VARCHAR, metadata VARCHAR)"
    )


def _entry_from_row(row: Sequence[Any]) -> CatalogueEntry:
    info = CollectionInfo(
        id=UUID(row[0]),
        name=row[1],
        tenant=row[2],
        database=row[3],
        configuration=json.loads(row[5]),
        metadata=None if row[6] is None else json.loads(row[6]),
        dimension=row[7],
        ttl_seconds=row[12],
    )
    extent = Extent(row[8], row[9], row[10], row[11], row[13])
    tail = None if row[14] is None else (int(row[14]), int(row[15]))
    return CatalogueEntry(info, row[4], extent, texts=_read_texts(row[16], extent), tail=tail)


def _read_texts(stored: str | None, extent: Extent) -> TextSizes | None:
    """Return the sizes that the last commit has stored; None where it stored none.

    Sizes of an earlier version are left from before an older chroma_nb, which stores none, wrote to the collection.
    """
    if not extent.n_records and not extent.next_label:
        return NO_TEXTS
    if stored is None:
        return None
    version, *sizes = json.loads(stored)
    return TextSizes(*sizes) if version == extent.version else None


def text_bytes(entry: CatalogueEntry) -> int:
    """Return the bytes of a collection's texts; 0 where they are not known without reading them."""
    sizes = entry.texts
    return 0 if sizes is None else sizes.row_bytes() * entry.extent.n_records


def _stored_texts(sizes: TextSizes | None, extent: Extent) -> str | None:
    return None if sizes is None else json.dumps([extent.version, *astuple(sizes)])


def _is_in_step(entry: CatalogueEntry, sums: BlockSums | None) -> bool:
    """Say whether the checksums in memory are those that DuckDB has."""
    if entry.tail is None or sums is None:
        return entry.tail is None and sums is None
    return sums.n_rows == entry.extent.next_label and sums.tail == entry.tail


def _check_tail(vectors: VectorFile, changes: Changes) -> None:
    """Check that a commit leaves the rest of a damaged block empty, as `rows_to_skip` demands.

    Raises:
        InternalError: A record would get one of these rows, or they are not in the commit.
    """
    n_skipped = vectors.rows_to_skip()
    if not n_skipped:
        return
    labels = changes.rows.labels
    first = changes.first_label
    taken = np.any((labels >= first) & (labels < first + n_skipped))
    if len(changes.vectors) < n_skipped or taken:
        raise InternalError(
            f"The last vectors of {vectors.path!r} are damaged, and {n_skipped:,} rows have to be left out first."
        )


def _write_rows(
    con: duckdb.DuckDBPyConnection, table: str, changes: Changes, bar: ProgressBar
) -> None:
    rows = changes.rows
    if len(changes.removed):
        con.execute(
            f'DELETE FROM "{table}" WHERE label IN (SELECT unnest(?))', [changes.removed.tolist()]
        )
    if not len(rows):
        return
    step = _PIECE_BYTES // _ROW_ARRAY_BYTES
    for piece in text_pieces(rows, step, _TEXT_PIECE_BYTES):
        _insert_piece(con, table, rows, piece, is_long=piece.stop - piece.start < len(rows))
        bar.update(piece.stop - piece.start)


def _largest_chunk_bytes(text_bytes: NDArray[np.int64]) -> int:
    """Return the most bytes of texts in any chunk (2,048 successive rows), which COMMIT handles at a time.

    Args:
        text_bytes: UTF-8 bytes of each row's texts, int64, shape (n,).
    """
    if len(text_bytes) <= CHUNK_ROWS:
        return int(text_bytes.sum())
    ends = np.concatenate([[0], np.cumsum(text_bytes)])
    return int((ends[CHUNK_ROWS:] - ends[:-CHUNK_ROWS]).max())


def _insert_piece(
    con: duckdb.DuckDBPyConnection, table: str, rows: RecordRows, piece: slice, *, is_long: bool
) -> None:
    """Insert some rows in the fastest way.

    Args:
        con: The connection of the transaction.
        table: The collection's table.
        rows: Rows of a commit.
        piece: Which of them.
        is_long: Their texts are long: they are inserted as arrays, as the other ways copy each text five times.
    """
    n_rows = piece.stop - piece.start
    if n_rows >= _COLUMNAR_ROWS or is_long:
        _insert_columns(con, table, rows, piece)
        return
    texts = [column[piece] for column in (rows.ids, rows.documents, rows.uris, rows.metadatas)]
    labels, sequences = rows.labels[piece].tolist(), rows.sequences[piece].tolist()
    if n_rows <= _PLAIN_ROWS:
        marks = ", ".join(["(?, ?, ?, ?, ?, ?)"] * n_rows)
        values = [value for row in zip(labels, sequences, *texts, strict=True) for value in row]
        con.execute(f'INSERT INTO "{table}" VALUES {marks}', values)
        return
    con.execute(
        f'INSERT INTO "{table}" SELECT unnest(?::BIGINT[]), unnest(?::BIGINT[]), '
        "unnest(?::VARCHAR[]), unnest(?::VARCHAR[]), unnest(?::VARCHAR[]), unnest(?::VARCHAR[])",
        [labels, sequences, *texts],
    )


def _insert_columns(
    con: duckdb.DuckDBPyConnection, table: str, rows: RecordRows, piece: slice
) -> None:
    arrays: dict[str, NDArray[Any]] = {
        "label": rows.labels[piece],
        "sequence": rows.sequences[piece],
    }
    selected = ["label", "sequence"]
    texts: list[Sequence[str | None]] = [rows.ids, rows.documents, rows.uris, rows.metadatas]
    for name, column in zip(("id", "document", "uri", "metadata"), texts, strict=True):
        values = [_own_copy(text) for text in column[piece]]
        # DuckDB guesses a column's type from a thousand of its values, and versions before 2.0 fail where these are
        # all None. So every value is a text, and a column of booleans says which of them are given.
        given = np.fromiter((text is not None for text in values), dtype=bool, count=len(values))
        if given.all():
            arrays[name] = np.array(values, dtype=object)
            selected.append(f"{name}::VARCHAR")
        elif not given.any():
            selected.append("NULL")
        else:
            arrays[name] = np.array([text or "" for text in values], dtype=object)
            arrays[f"{name}_given"] = given
            selected.append(f"CASE WHEN {name}_given THEN {name}::VARCHAR END")
    con.register(_ROWS_VIEW, arrays)
    try:
        con.execute(f'INSERT INTO "{table}" SELECT {", ".join(selected)} FROM {_ROWS_VIEW}')
    finally:
        # In a failed transaction this raises, and would hide the reason. `_undo` unregisters it then.
        with contextlib.suppress(duckdb.TransactionException):
            con.unregister(_ROWS_VIEW)
        # DuckDB keeps the arrays until the transaction ends; without this, their texts as well.
        for array in arrays.values():
            if array.dtype == object:
                array.fill(None)


def _own_copy(text: str | None) -> str | None:
    """Return a text to give to DuckDB: a copy where it is long and not ASCII.

    DuckDB asks Python for the text's UTF-8, which Python then keeps as long as the text. With a copy, the caller's
    text does not grow.
    """
    if text is None or len(text) < _LONG_TEXT or text.isascii():
        return text
    return text.encode().decode()


def _metadata_json(metadata: dict[str, Any] | None) -> str | None:
    return None if metadata is None else json.dumps(metadata)


def _disable_pruner(connection: duckdb.DuckDBPyConnection) -> None:
    """Switch off an optimizer of DuckDB 2.0.0 that loses rows.

    ``ORDER BY ... LIMIT`` skips row groups by their minimum and maximum, which still count deleted rows. Older
    versions have no optimizer of that name, and do not need this.
    """
    with contextlib.suppress(duckdb.Error):
        connection.execute("SET GLOBAL disabled_optimizers = 'row_group_pruner'")


def _limit_text_compression(
    connection: duckdb.DuckDBPyConnection, *, uncompressed: bool = False
) -> None:
    """Have DuckDB store long texts uncompressed.

    It compresses texts of 4 kB and more with Zstandard, 2,048 at a time, and needs all of them in memory to read one.

    Args:
        connection: A connection to the database.
        uncompressed: Store shorter texts uncompressed as well: to choose a compression, DuckDB holds the texts of a
            row group.
    """
    methods = "zstd,fsst,dictionary,dict_fsst" if uncompressed else "zstd"
    with contextlib.suppress(duckdb.Error):
        connection.execute(f"SET disabled_compression_methods = '{methods}'")


def is_disk_full(error: BaseException) -> bool:
    """Say whether an error of the system's or of DuckDB's means that the disk (or a quota) is full."""
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    return "No space left" in str(error) or "quota exceeded" in str(error)


def has_failed(error: BaseException) -> bool:
    """Say whether an error of DuckDB's means that the disk is full or has failed, and not that data is damaged."""
    return is_disk_full(error) or os.strerror(errno.EIO) in str(error)


def _close_vectors(entry: CatalogueEntry) -> None:
    if entry.vectors is not None:
        entry.vectors.close()
        entry.vectors = None


def remove_prefix(prefix: str) -> None:
    folder, name = os.path.split(prefix)
    with contextlib.suppress(FileNotFoundError):
        for found in os.listdir(folder):
            if found.startswith(name + "."):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(os.path.join(folder, found))
