"""`DuckDBConnection`: one DuckDB instance of this process, and the cursors by which threads read from it.

Any number of threads read at the same time, each with a cursor of its own, which goes back to a list of idle ones.
When the database has to be reopened, idle cursors are dropped and busy ones are waited for, then interrupted.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
import weakref
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

import duckdb

from chroma_nb import forked
from chroma_nb.db.damaged_database import is_damage
from chroma_nb.db.duckdb.checkpoint_memory import UNCHECKPOINTED_BYTES, CheckpointMemory
from chroma_nb.db.interrupted import interrupt, interruptible, was_cut_off
from chroma_nb.db.memory_share import is_out_of_memory
from chroma_nb.db.read_again import is_fatal
from chroma_nb.db.sql import EMPTY_DATABASE, VectorFunction
from chroma_nb.db.temp_folder import DUCKDB_FOLDER
from chroma_nb.errors import ChromaError, InternalError, StoreCorruptError
from chroma_nb.system_errors import system_code, way_out, why

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chroma_nb.db.duckdb.cached_catalogue import CachedCatalogue
    from chroma_nb.db.memory_share import MemoryShare
    from chroma_nb.db.temp_folder import TempFolder
    from chroma_nb.errors import MemoryBudgetError
    from chroma_nb.settings import Settings

#: How long closing waits for SQL queries to end after it has interrupted them.
_CLOSE_SECONDS = 5.0
#: How long a read that DuckDB's end has cut off waits for the thread that writes.
_WRITER_SECONDS = 1.0


class _ThreadState(threading.local):
    """How many cursors this thread is reading with."""

    n_cursors = 0


class DuckDBConnection(ABC):
    """Opens and closes DuckDB, and hands out cursors.

    Args:
        settings: `threads` is used.
        name: How errors name the store.
        cached: The catalogue in memory.
        share: DuckDB's memory limit.
        temp: The folder for temporary files.
    """

    #: Records outlive the process.
    persists: ClassVar[bool] = False
    #: What statements are run with that change something, under the write lock. Readers have cursors.
    connection: duckdb.DuckDBPyConnection

    def __init__(
        self,
        settings: Settings,
        name: str,
        cached: CachedCatalogue,
        share: MemoryShare,
        temp: TempFolder,
    ) -> None:
        self.settings = settings
        self.name = name
        self.cached = cached
        self.memory_share = share
        self._temp = temp
        self.n_threads = settings.threads or os.cpu_count() or 1
        self.checkpoint_memory = CheckpointMemory(cached, share, self.n_threads, self.persists)
        self.write_lock = threading.RLock()
        self._cursor_lock = threading.Lock()
        self._idle_cursors: list[duckdb.DuckDBPyConnection] = []
        self._busy_cursors: weakref.WeakSet[duckdb.DuckDBPyConnection] = weakref.WeakSet()
        #: Those of them that were interrupted, as the database had to be reopened.
        self._cut_off: weakref.WeakSet[duckdb.DuckDBPyConnection] = weakref.WeakSet()
        #: A thread waits for the busy cursors to reopen the database: other threads start no new read meanwhile.
        self._is_reopening = False
        self._this_thread = _ThreadState()
        self.sql_vectors = VectorFunction()
        #: Cursors of SQL queries that are running.
        self._sql_cursors: set[duckdb.DuckDBPyConnection] = set()
        #: A write was begun and not finished: the catalogue in memory may differ from DuckDB's.
        self._is_stale = False
        #: DuckDB has failed in a transaction, and has to be reopened.
        self._is_broken = False
        #: `close` was called: reads that are cut off are not repeated.
        self.is_closing = False
        #: Nothing may be written any more: the folder is gone, was replaced, or lacks commits.
        self.is_abandoned = False
        #: Nothing can be read or written any more.
        self.is_closed = False

    # -- opening ------------------------------------------------------------------------------

    def _database_file(self) -> str:
        """Return the path of the database's file."""
        return ":memory:"

    def _path_to_open(self) -> str:
        """Return the path that DuckDB is asked to open."""
        return self._database_file()

    def _config(self) -> dict[str, Any]:
        """Return the options that the database is opened with."""
        return {
            "threads": self.n_threads,
            "memory_limit": f"{self.memory_share.n_bytes}B",
            "temp_directory": os.path.join(self._temp.path, DUCKDB_FOLDER),
            # A query that names a function of an extension must not download it.
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
            # A query must not read Python's variables as tables.
            "python_enable_replacements": "false",
        }

    def _connect(self) -> duckdb.DuckDBPyConnection:
        """Open the database and set what cannot be given as an option."""
        connection = duckdb.connect(self._path_to_open(), config=self._config())
        # Otherwise DuckDB shows its own progress bar in a notebook.
        connection.execute("SET enable_progress_bar = false")
        # When DuckDB 1.3 shuts down after a failed checkpoint, it finishes the half-done one and deletes the log.
        # As soon as the disk has room for that, all records since the last good checkpoint are lost.
        connection.execute("PRAGMA disable_checkpoint_on_shutdown")
        # Only `Database._checkpoint` makes checkpoints, after it has taken memory for them. One that DuckDB makes by
        # itself within a COMMIT has only the rest of the memory limit, and a checkpoint that runs out of memory ends
        # the instance.
        connection.execute("SET checkpoint_threshold = '1TB'")
        # From here on DuckDB opens no file but its own. Not earlier: afterwards its temporary folder cannot be set.
        connection.execute("SET enable_external_access = false")
        connection.execute(f"ATTACH IF NOT EXISTS ':memory:' AS {EMPTY_DATABASE}")
        self.sql_vectors.register(connection)
        _disable_pruner(connection)
        limit_text_compression(connection)
        return connection

    # -- reading ------------------------------------------------------------------------------

    @abstractmethod
    def reload_if_stale(self) -> None:
        """Read the catalogue from DuckDB again if a write was not finished, unless one is under way."""

    def wait_for_writer(self) -> None:
        """Wait for the thread that has the write lock, but not for long; for none where this thread reads itself."""
        if not self._this_thread.n_cursors and self.write_lock.acquire(timeout=_WRITER_SECONDS):
            self.write_lock.release()

    def _after_reading(self) -> None:
        """Called after each read; a store in a folder frees memory here."""
        return

    @contextlib.contextmanager
    def reading(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """Read with a cursor of this thread's own until the end of the block.

        Raises:
            InternalError: The store is closed; or DuckDB has failed, or the read was cut off by another thread.
            MemoryBudgetError: DuckDB has too little memory for it.
            StoreCorruptError: The database could not be read.
        """
        self.check_open()
        self.reload_if_stale()
        self._apply_stale_memory_limit()
        if self._is_reopening and not self._this_thread.n_cursors:
            with self.write_lock:
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
            # What the other thread has interrupted looks like Ctrl-C to `interruptible`.
            cut_off = error.__cause__ if isinstance(error, KeyboardInterrupt) else error
            if cursor in self._cut_off and cut_off and not isinstance(error, ChromaError):
                raise self._cut_off_error() from cut_off
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
                if is_idle and self.is_closed:
                    cursor.close()
                elif is_idle:
                    self._idle_cursors.append(cursor)
        self._after_reading()

    @property
    def is_at_work(self) -> bool:
        """Whether some thread reads at this moment."""
        return bool(self._busy_cursors)

    def _cursor(self) -> duckdb.DuckDBPyConnection:
        """Return a new cursor that counts as busy already."""
        try:
            return self._busy_cursor()
        except duckdb.ConnectionException:
            # Another thread is reopening the database, or was interrupted while it did.
            with self.write_lock:
                self.reload_if_stale()
                return self._busy_cursor()

    def _busy_cursor(self) -> duckdb.DuckDBPyConnection:
        """Make a cursor under the lock: a thread that reopens the database looks for busy ones meanwhile."""
        with self._cursor_lock:
            cursor = self.connection.cursor()
            self._busy_cursors.add(cursor)
            return cursor

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

    # -- SQL ----------------------------------------------------------------------------------

    @contextlib.contextmanager
    def sql_cursor(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """Open a cursor for one SQL query; see `chroma_nb.db.sql.store.SqlStore`."""
        self.check_open()
        cursor = self._cursor()
        try:
            self._apply_stale_memory_limit()
            with self._cursor_lock:
                self._sql_cursors.add(cursor)
            # Checked after the cursor was added: from then on `end_queries` interrupts it.
            if self.is_closing:
                raise InternalError(f"{self.name} is being closed. Open a new client to go on.")
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
                cursor.execute(f"SET threads = {self.n_threads}")

    def end_queries(self) -> None:
        """Interrupt SQL queries: DuckDB does not close while a cursor is at work."""
        self.is_closing = True
        until = time.monotonic() + _CLOSE_SECONDS
        while self._sql_cursors and time.monotonic() < until:
            interrupt(self._sql_cursors)
            time.sleep(0.01)

    # -- errors -------------------------------------------------------------------------------

    def check_open(self) -> None:
        """Raise `InternalError` where the store was closed."""
        if self.is_closed:
            raise InternalError(f"{self.name} is closed. Open a new client to go on.")

    def mark_broken(self) -> None:
        """Have DuckDB reopened before the next access."""
        self._is_stale = self._is_broken = True

    def _fatal(self, error: BaseException) -> InternalError:
        """Return the error for a fatal one of DuckDB's, and have DuckDB reopened before the next access."""
        self.mark_broken()
        if not self.persists:
            return InternalError(
                f"{self.name} has failed: {error}. It was in memory alone, and its records are lost. Open a new client."
            )
        return InternalError(
            f"Reading {self.name} failed: {error}. Nothing is lost; the store is reopened with the next call: repeat "
            "this one."
        )

    def _cut_off_error(self) -> InternalError:
        """Return the error for a read whose cursor was closed or interrupted by another thread."""
        if self.is_closing:
            return InternalError(
                "The store was closed while this query ran. Open a new client to go on."
            )
        return InternalError(
            f"{self.name} was reopened while it was read, as a write of another thread had failed. Nothing is damaged. "
            "Repeat the call."
        )

    def read_error(self, error: duckdb.Error) -> Exception:
        """Return the error to raise for one of DuckDB's that a read has met."""
        if was_cut_off(error):
            return self._cut_off_error()
        return InternalError(f"{self.name} could not be read: {error}.")

    def memory_error(self) -> MemoryBudgetError:
        """Return the error for a statement that DuckDB has too little memory for."""
        n, many = len(self.cached.entries), ""
        if 2 * n * UNCHECKPOINTED_BYTES > self.memory_share.n_bytes:
            many = (
                f" There are {n:,} collections, and each takes some of it: records of one collection that a "
                "metadata key tells apart take less."
            )
        return self.memory_share.error(many)

    def _write_error(self, error: Exception) -> Exception:
        """Return the error to raise for one of DuckDB's or the system's that a write has met."""
        if self.persists and isinstance(error, duckdb.Error) and is_damage(error):
            # Repeating the call does not help.
            return StoreCorruptError(f"{self.read_error(error)} Nothing of this call was kept.")
        what_to_do = "Repeat the call."
        if system_code(error):
            cause = why(error)
            what_to_do = f"{cause[:1].upper()}{cause[1:]}. {way_out(error)}, and repeat the call."
        return InternalError(
            f"Writing to {self.name} failed, nothing of this call was kept: {error}. {what_to_do}"
        )

    # -- closing ------------------------------------------------------------------------------

    def on_fork(self, store: object) -> None:
        """Leave the parent's database alone, in the child.

        Args:
            store: What must live as long as the child, as it owns this connection.
        """
        # Freeing a connection in the child would write the parent's log into the database and delete it.
        forked.keep_for_ever(store, self.connection, self._sql_cursors, *self._busy_cursors)
        self._sql_cursors = set()
        self.write_lock = threading.RLock()
        self.is_closed = True

    def close_cursors(self) -> None:
        """Close the idle cursors; busy ones are closed by their readers."""
        with self._cursor_lock:
            for cursor in self._idle_cursors:
                cursor.close()
            self._idle_cursors.clear()


def _disable_pruner(connection: duckdb.DuckDBPyConnection) -> None:
    """Switch off an optimizer of DuckDB 2.0.0 that loses rows.

    ``ORDER BY ... LIMIT`` skips row groups by their minimum and maximum, which still count deleted rows. Older
    versions have no optimizer of that name, and do not need this.
    """
    with contextlib.suppress(duckdb.Error):
        connection.execute("SET GLOBAL disabled_optimizers = 'row_group_pruner'")


def limit_text_compression(
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
