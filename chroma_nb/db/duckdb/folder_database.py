"""`FolderDatabase`: DuckDB with a file, a write-ahead log, and a disk that may be full.

Terms: "the log" is the write-ahead log. A *found* log was left by an earlier process.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import shutil
import time
from typing import TYPE_CHECKING, Any, ClassVar

import duckdb

from chroma_nb.db._versions import IS_OLD_DUCKDB
from chroma_nb.db.duckdb.database import HEADROOM_BYTES, Database
from chroma_nb.db.duckdb.schema_check import check_objects
from chroma_nb.db.duckdb.store_folder import STORAGE, StoreFolder
from chroma_nb.db.interrupted import interrupt, interruptible, path_to_open, was_cut_off
from chroma_nb.db.memory_share import is_out_of_memory
from chroma_nb.db.read_again import is_fatal
from chroma_nb.errors import (
    ChromaError,
    InternalError,
    MemoryBudgetError,
    StoreCorruptError,
    StoreLockedError,
    VersionMismatchError,
)
from chroma_nb.memory.machine import MACHINE
from chroma_nb.memory.sizes import format_bytes
from chroma_nb.memory.trim import return_memory
from chroma_nb.memory.workspace import WORKSPACE
from chroma_nb.system_errors import is_disk_failure, is_disk_full, keeps_from_opening, way_out, why

if TYPE_CHECKING:
    from collections.abc import Callable

    from chroma_nb.db.duckdb.cached_catalogue import CachedCatalogue
    from chroma_nb.db.duckdb.write_ahead_log import WriteAheadLog
    from chroma_nb.db.memory_share import MemoryShare
    from chroma_nb.db.temp_folder import TempFolder
    from chroma_nb.settings import Settings

logger = logging.getLogger("chroma_nb")

#: DuckDB 1.3 does not know the length of a found log. When a commit fails, it truncates that log too far, and
#: acknowledged records are lost. So a found log is written into the database before the first commit.
_TRUNCATES_FOUND_LOGS = IS_OLD_DUCKDB
#: A checkpoint is due when the log has more bytes than this, which is DuckDB's own default.
_LOG_BYTES = 16 << 20
#: What DuckDB holds at most of a small table after it was read or written, until it is closed; some 30 kB of it are
#: not counted against its limit.
_TABLE_BYTES = 64 << 10
#: After this many tables were touched, the machine's free memory is checked.
_MEMORY_CHECK_TABLES = 256
#: The database is reopened then, where less than about this is free.
_LOW_MEMORY_BYTES = 48 << 20
#: The least memory that a checkpoint gets under a low limit, beside what DuckDB holds already.
_SMALL_CHECKPOINT_BYTES = 8 << 20
#: How long reopening the database waits for readers, seconds.
_READERS_SECONDS = 10.0
#: How long it then waits for the readers that it has interrupted, seconds.
_INTERRUPTED_SECONDS = 10.0
#: How long it waits for cursors that are busy for a moment and are not counted, seconds.
_OTHERS_SECONDS = 10.0


class FolderDatabase(Database):
    """DuckDB in a folder.

    Args:
        settings: `threads` is used.
        name: How errors name the store.
        cached: The catalogue in memory.
        share: DuckDB's memory limit.
        temp: The folder for temporary files.
        folder: The store's folder.
        log: The write-ahead log.
    """

    persists: ClassVar[bool] = True
    #: Deletes the files that no collection names. `FolderVectorFiles` sets it, before anything is written.
    remove_orphans: Callable[[], None]

    def __init__(
        self,
        settings: Settings,
        name: str,
        cached: CachedCatalogue,
        share: MemoryShare,
        temp: TempFolder,
        folder: StoreFolder,
        log: WriteAheadLog,
    ) -> None:
        super().__init__(settings, name, cached, share, temp)
        self._folder = folder
        self.log = log
        #: DuckDB was given the database to open.
        self._was_opened = False
        #: It was looked for views and functions in it. In a new one there are none, and looking takes some 50 ms.
        self._is_checked = folder.is_new
        #: The log has commits of an earlier process.
        self._has_found_log = False
        #: The database's file, as (device, inode).
        self._identity: tuple[int, int] | None = None
        #: A log larger than this is due for a checkpoint, bytes.
        self._log_limit = _LOG_BYTES
        #: The machine's free memory is checked when this many tables were touched.
        self._next_memory_check = _MEMORY_CHECK_TABLES

    # -- opening ------------------------------------------------------------------------------

    def _database_file(self) -> str:
        return self._folder.database_file

    def _path_to_open(self) -> str:
        path = path_to_open(self._database_file(), is_open=self._was_opened)
        self._was_opened = True
        return path

    def _config(self) -> dict[str, Any]:
        return {**super()._config(), **STORAGE}

    def _connect(self) -> duckdb.DuckDBPyConnection:
        if self.log.n_bytes():
            self.log.check()
        connection = self._open_database()
        found = os.stat(self._database_file())
        self._identity = found.st_dev, found.st_ino
        self._has_found_log = self.log.n_bytes() > 0
        self.log.identity = None
        return connection

    def _open_database(self) -> duckdb.DuckDBPyConnection:
        """Open the database, under a higher memory limit where its log needs that."""
        limit = raised = self.memory_share.n_bytes
        # Holds the memory as long as DuckDB has the higher limit.
        with contextlib.ExitStack() as more:
            try:
                try:
                    connection = super()._connect()
                except duckdb.Error as error:
                    if not is_out_of_memory(error):
                        raise
                    # Reading the log takes more than the limit.
                    self.memory_share.n_bytes = raised = self._more_memory(more)
                    connection = super()._connect()
                if not self._is_checked:
                    # Before anything is asked of it. Later nobody else can have it open.
                    self._check_objects(connection)
                if self.log.n_bytes() and 3 * self._memory_used(connection) > limit:
                    connection = self._write_long_log(connection, self._more_memory(more))
            except duckdb.InterruptException:
                raise
            except duckdb.Error as error:
                raise self.open_error(error) from error
            finally:
                if raised != limit:
                    if self.memory_share.n_bytes == raised:
                        self.memory_share.n_bytes = limit
                    # Otherwise the watcher of the machine's memory has set another limit meanwhile.
                    self.memory_share.is_stale = True
        return connection

    def _check_objects(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Refuse a database with views or functions of its own; the connection is closed then."""
        try:
            check_objects(connection, self.name)
        except BaseException:
            connection.close()
            raise
        self._is_checked = True

    def _more_memory(self, held: contextlib.ExitStack) -> int:
        """Take half of the free memory for opening the database; return the limit that DuckDB may then have, bytes.

        Args:
            held: Gives the memory back when it is closed.
        """
        # Even beyond a limit that the settings name: otherwise the store could not be opened at all.
        grant = held.enter_context(WORKSPACE.take(WORKSPACE.free()))
        return max(self.memory_share.n_bytes, grant.n_bytes)

    def _write_long_log(
        self, connection: duckdb.DuckDBPyConnection, limit: int
    ) -> duckdb.DuckDBPyConnection:
        """Make a checkpoint at once, as the log takes much of DuckDB's memory; return the connection to use.

        Args:
            connection: The connection that has read the log.
            limit: DuckDB's memory limit during the checkpoint, bytes.
        """
        self.memory_share.is_stale = True
        if not self._should_checkpoint():
            return connection
        connection.execute(f"SET memory_limit = '{limit}B'")
        self.connection = connection
        self._read_meta()
        self.log.clear_note()
        try:
            connection.execute("CHECKPOINT")
        except duckdb.Error as error:
            if not is_out_of_memory(error):
                raise
            # The commits stay in the log. DuckDB has ended and must be opened again.
            connection.close()
            return super()._connect()
        return connection

    def load_catalogue(self) -> None:
        super().load_catalogue()
        self.checkpoint_memory.reloaded()
        if self._has_found_log and self.log.n_bytes():
            # DuckDB does not say which collections are in the log: it may be any of them.
            for entry in self.cached.entries.values():
                self.checkpoint_memory.changed(entry)

    def _check_commits(self) -> None:
        counted = self._commits or 0
        written = 0 if self.log.noted is None else self.log.noted.number
        if written > counted:
            # Closing must not write to the database: the user may still put the missing file back.
            self.is_abandoned = True
            n = written - counted
            raise StoreCorruptError(
                f"The store in {self._folder.path!r} lacks {n:,} commit{'' if n == 1 else 's'} that had been acknowledged: "
                f"its database has {counted:,} of {written:,}. Either the log records.duckdb.wal was cut or removed, "
                "or an older records.duckdb was put in its place. Restore the whole folder from a backup. Without one: "
                f"copy the folder, then delete {self.log.commit_file.path!r} to open what is left. Nothing was deleted."
            )

    def after_opening(self) -> None:
        """Note the number of commits, and write a found log into the database where DuckDB needs that."""
        self._write_commit_file()
        self._checkpoint_found_log_at_open()

    def _checkpoint_found_log_at_open(self) -> None:
        """Make a checkpoint of a found log right after opening, while nobody reads.

        Where memory or the disk does not allow it, the next commit tries again.
        """
        try:
            with interruptible():
                if _TRUNCATES_FOUND_LOGS and self._has_found_log and self._should_checkpoint():
                    self._checkpoint()
                    self._has_found_log = False
        except MemoryBudgetError:
            pass
        except (duckdb.Error, OSError):
            self.mark_broken()

    # -- errors -------------------------------------------------------------------------------

    def open_error(self, error: duckdb.Error) -> Exception:
        """Return the error to raise for one of DuckDB's that came while it opened its file."""
        if is_out_of_memory(error):
            return self.memory_error()
        said = f"The store in {self._folder.path!r} cannot be opened"
        if is_disk_failure(error) or keeps_from_opening(error):
            return InternalError(
                f"{said}, as {why(error)}: {error}. {way_out(error)}, and open it again; nothing is lost or damaged."
            )
        if isinstance(error, duckdb.ConnectionException):
            return InternalError(
                f"{said}, as its database is still open in this process: by duckdb.connect({self._database_file()!r}), "
                "or by a query of a closed client that could not be interrupted. Close it, or restart the kernel."
            )
        if "Could not set lock" in str(error):
            return StoreLockedError(
                f"{said}, as another program has its database open, such as DuckDB itself: {error}. Close it there. "
                "Nothing is damaged."
            )
        if "with version number" in str(error):
            return VersionMismatchError(
                f"The store in {self._folder.path!r} was written by a newer DuckDB, and DuckDB "
                f"{duckdb.__version__} cannot read it. Upgrade it (pip install --upgrade duckdb) and restart "
                "the kernel; nothing was changed."
            )
        repair = "Restore the whole folder from a backup."
        if "WAL" in str(error):
            repair += (
                f" Without one: copy the folder, then move {self.log.path!r} and "
                f"{self.log.commit_file.path!r} out of it. That opens what was in the database before the damaged log."
            )
        return StoreCorruptError(f"{said}: {error}. {repair}")

    def read_error(self, error: duckdb.Error) -> Exception:
        if is_out_of_memory(error):
            return self.memory_error()
        if isinstance(error, duckdb.InternalException | duckdb.FatalException):
            # DuckDB has ended and must be reopened.
            self.mark_broken()
        if was_cut_off(error):
            return self._cut_off_error()
        if is_disk_full(error) or keeps_from_opening(error):
            return InternalError(
                f"The store in {self._folder.path!r} could not be read, as {why(error)}: {error}. {way_out(error)}, and "
                "repeat the call; nothing is lost or damaged."
            )
        return StoreCorruptError(
            f"The database {self._database_file()!r} could not be read: {error}. Restore the whole folder from a "
            "backup. Without one: client.check() says which collections are whole; collection.export(path) saves them. Of "
            "the others client.memory.load(name) loads the snapshot in indexes/, where that is there and whole; then "
            "export() saves those, too."
        )

    # -- the folder and the log ---------------------------------------------------------------

    def is_there(self) -> bool:
        """Say whether the folder that was opened is still there, and not moved, deleted or replaced."""
        try:
            found = os.lstat(self._database_file())
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError:
            # It cannot be told now. A caller that needs the file meets the error itself.
            return True
        return (found.st_dev, found.st_ino) == self._identity and self._folder.lock.is_there()

    def check_not_replaced(self) -> None:
        if not self.is_closed and not self.is_there():
            self.is_abandoned = True
            raise InternalError(
                f"The folder {self._folder.path!r}, or its database, was moved, deleted or replaced while this client had it "
                "open. Nothing was written to what is there now. Open a new client to go on."
            )

    def _before_change(self) -> None:
        if self.log.is_lost():
            logger.warning(
                "The log of %s was deleted or replaced; it is written into the database.", self.name
            )
            try:
                with interruptible():
                    self._checkpoint(force=True)
            except (duckdb.Error, OSError) as error:
                raise self._write_error(error) from error
        # Orphans are deleted only here, and not at opening: the catalogue may be an older one that was put beside
        # newer vector files by mistake. As long as nothing is written, that can still be put right.
        self.remove_orphans()

    def _write_commit_file(self, *, is_committed: bool = False) -> None:
        self.log.note_commits(self._commits, is_committed=is_committed)

    def _flush_log(self) -> bool:
        return self.log.flush()

    def _expect_log(self) -> None:
        self.log.expect()

    def _after_commit(self) -> None:
        is_due = self.checkpoint_memory.holds_much()
        with contextlib.suppress(OSError):
            found = os.stat(self.log.path)
            self.log.identity = found.st_dev, found.st_ino
            is_due = is_due or found.st_size >= self._log_limit
            # Sooner where the disk is nearly full: a checkpoint needs room, too.
            is_due = is_due or self._free_space() < 2 * self._space_for_checkpoint(found.st_size)
            if not is_due or not self._should_checkpoint():
                return
            self._log_limit = found.st_size + _LOG_BYTES // 4
        try:
            # Refused while another thread reads or memory is short. The next try is when the log has grown by a quarter.
            with contextlib.suppress(duckdb.TransactionException, MemoryBudgetError):
                self._checkpoint()
        except (duckdb.Error, OSError) as error:
            self._after_failed_checkpoint(error)

    # -- checkpoints --------------------------------------------------------------------------

    def _checkpoint_found_log(
        self, connection: duckdb.DuckDBPyConnection, *, force: bool = True
    ) -> None:
        if _TRUNCATES_FOUND_LOGS and self._has_found_log and self.log.n_bytes():
            if not self._should_checkpoint():
                need = self._space_for_checkpoint(self.log.n_bytes())
                raise OSError(
                    errno.ENOSPC,
                    f"{os.strerror(errno.ENOSPC)}: before anything is written, the database's log has to be written into "
                    f"the database, which needs {format_bytes(need)}; {format_bytes(self._free_space())} are free",
                )
            self._checkpoint(force=force)
        self._has_found_log = False

    def _write_checkpoint(self) -> None:
        self.log.clear_note()
        # DuckDB deletes the log. An interrupt may come right after that.
        identity, self.log.identity = self.log.identity, None
        try:
            super()._write_checkpoint()
        except BaseException:
            if self.log.n_bytes():
                self.log.identity = identity
            raise
        self._log_limit = _LOG_BYTES
        self._write_commit_file()

    def _should_checkpoint(self) -> bool:
        log = self.log.n_bytes()
        if self.log.is_lost():
            return True
        return log > 0 and self._free_space() > self._space_for_checkpoint(log)

    def space_folder(self) -> str:
        return self._folder.path

    def _free_space(self) -> int:
        return shutil.disk_usage(self._folder.path).free

    def _space_for_checkpoint(self, log: int) -> int:
        """Return the bytes of the disk that a checkpoint of `log` bytes may need before it deletes the log."""
        # Changed row groups are written once more before their old blocks are free.
        return 2 * log + self.checkpoint_memory.rewritten_bytes() + HEADROOM_BYTES

    def space_for_log(self, n_bytes: int, free: int) -> int:
        log = self.log.n_bytes()
        if self._space_for_checkpoint(log + n_bytes) > free and self._should_checkpoint():
            try:
                with contextlib.suppress(MemoryBudgetError):
                    self._checkpoint()
            except duckdb.InterruptException:
                raise
            except (duckdb.Error, OSError) as error:
                self._after_failed_checkpoint(error)
            log = self.log.n_bytes()
        # This much stays free also for deletes, which have to be possible on a full disk and are written to the log.
        return self._space_for_checkpoint(log + n_bytes)

    # -- reopening ----------------------------------------------------------------------------

    def _free_memory_if_due(self) -> None:
        n = len(self.cached.touched)
        is_due = n * _TABLE_BYTES > self.memory_share.n_bytes
        if n >= self._next_memory_check:
            # Sooner where the machine has little free memory. Reading that takes 0.1 ms, so not each time.
            self._next_memory_check = n + _MEMORY_CHECK_TABLES // 4
            is_due = is_due or MACHINE.free() < 2 * self.working_bytes + _LOW_MEMORY_BYTES
        if is_due:
            self._reopen_to_free_memory()

    def _after_reading(self) -> None:
        self._free_memory_if_due()

    def _free_memory(self) -> bool:
        with self.write_lock:
            self.reload_if_stale()
            return self._reopen_to_free_memory()

    def _reopen_to_free_memory(self) -> bool:
        """Close and reopen the database; say whether that was done.

        DuckDB holds some 30 kB, which it does not count against its limit, for each table that was read or written,
        and frees it only when it is closed.
        """
        if not self.write_lock.acquire(blocking=False):
            return False
        try:
            with contextlib.ExitStack() as held, interruptible():
                n_bytes = 0
                # In a transaction or a read: a later call does it.
                if self._is_in_use():
                    return False
                if self.log.n_bytes():
                    # Before the cursor lock is taken: collections that are unloaded for this memory may be this
                    # store's, and then need a cursor.
                    n_bytes = held.enter_context(self._memory_for_checkpoint())
                # From here on no read can begin: its cursor would keep the old instance alive.
                held.enter_context(self._cursor_lock)
                if self._is_in_use():
                    return False
                if self.log.n_bytes():
                    if not self._should_checkpoint():
                        return False
                    self._checkpoint_in_little_memory(n_bytes)
                # After an interrupt from here on, the next access reopens the database.
                self.mark_broken()
                self._idle_cursors.clear()
                self._reopen()
            self._is_stale = self._is_broken = False
            return_memory()
        except (duckdb.TransactionException, MemoryBudgetError):
            return False
        except (duckdb.Error, OSError, InternalError) as error:
            self._after_failed_checkpoint(error)
            return False
        finally:
            self.write_lock.release()
        return True

    def _is_in_use(self) -> bool:
        """Say whether the database cannot be reopened at this moment."""
        return bool(self._is_stale or self._busy_cursors or self.is_closed or self.is_abandoned)

    def _checkpoint_in_little_memory(self, n_bytes: int) -> None:
        """Make a checkpoint under a low memory limit: DuckDB would keep what it writes in memory, up to its limit.

        Reopening the database sets the usual limit again, or else the next access does.

        Args:
            n_bytes: Bytes of memory that the checkpoint takes.
        """
        limit = self._memory_used(self.connection) + max(_SMALL_CHECKPOINT_BYTES, n_bytes)
        if limit < self.memory_share.n_bytes:
            self.memory_share.is_stale = True
            with contextlib.suppress(duckdb.OutOfMemoryException):
                self.connection.execute(f"SET memory_limit = '{limit}B'")
        self._write_checkpoint()

    def _reopen_after_failure(self) -> None:
        # A commit that fails on a full disk may end the instance ("database has been invalidated") or roll rows back
        # only in part: with DuckDB 1.3.2 the next text that was written came out joined with theirs. What is on the
        # disk is right, so it is read again.
        self.check_not_replaced()
        # Wait for readers, then interrupt those that are left. Closing under them would look like a damaged file, and
        # while one of their queries runs, DuckDB waits for it, keeps the old instance, or refuses to open the file.
        patient_until = time.monotonic() + _READERS_SECONDS
        until = patient_until + _INTERRUPTED_SECONDS
        self._is_reopening = True
        try:
            while True:
                with self._cursor_lock:
                    busy = list(self._busy_cursors)
                    # This thread's own cursors are not waited for: they end after this.
                    others = len(busy) - self._this_thread.n_cursors
                    now = time.monotonic()
                    if others <= 0 or now > until:
                        self._idle_cursors.clear()
                        self._reopen()
                        return
                if now > patient_until:
                    self._cut_off.update(busy)
                    interrupt(busy)
                time.sleep(0.001)
        finally:
            self._is_reopening = False

    def _reopen(self) -> None:
        """Close the connection and open the database again. The caller holds the cursor lock."""
        with contextlib.suppress(duckdb.Error):
            self.connection.close()
        until = time.monotonic() + _OTHERS_SECONDS
        while True:
            try:
                self.connection = self._connect()
                break
            except ChromaError as error:
                # Another thread sets the memory limit at this moment, by a cursor that keeps the old instance.
                cause: Any = error.__cause__
                if not (isinstance(cause, duckdb.ConnectionException) or is_fatal(cause)):
                    raise
                if time.monotonic() > until:
                    raise
            time.sleep(0.01)
        self.cached.touched.clear()
        self._next_memory_check = _MEMORY_CHECK_TABLES
