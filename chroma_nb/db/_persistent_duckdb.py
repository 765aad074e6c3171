"""`PersistentDuckDB`: a folder that holds a DuckDB file, the vector files and the derived indexes.

::

    <path>/lock                          which process has the store open
    <path>/records.duckdb                catalogue and records
    <path>/records.duckdb.wal            DuckDB's write-ahead log: commits that are not yet in records.duckdb
    <path>/commits                       how many commits were acknowledged
    <path>/vectors/<id>.<generation>.f32 the vectors of one collection
    <path>/indexes/<id>.<generation>.*   derived files, made again when they are missing or damaged

Terms: "the log" is the write-ahead log. A *found* log was left by an earlier process. *Orphans* are files that no
collection in the catalogue names.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import re
import shutil
import time
from typing import TYPE_CHECKING, Any, ClassVar

import duckdb

from chroma_nb.db._duckdb import (
    GROUP_ROWS,
    HEADROOM_BYTES,
    ROW_BYTES,
    CatalogueEntry,
    DuckDB,
    create_schema,
    has_failed,
    is_disk_full,
    remove_prefix,
    text_bytes,
)
from chroma_nb.db._versions import IS_OLD_DUCKDB
from chroma_nb.db.commit_file import (
    ANY_LOG,
    NO_LOG,
    CommitFile,
    LastCommit,
    header_sum,
    log_start,
)
from chroma_nb.db.interrupted import interrupt, interruptible, path_to_open, was_cut_off
from chroma_nb.db.memory_share import is_out_of_memory
from chroma_nb.db.own_file import (
    COLLECTION_PREFIX,
    SECOND_NAME,
    NotOurFileError,
    has_second_name,
)
from chroma_nb.db.read_again import is_fatal
from chroma_nb.db.store_lock import StoreLock
from chroma_nb.db.vector_file import HEADER_BYTES, VectorFile
from chroma_nb.errors import (
    ChromaError,
    InternalError,
    InvalidArgumentError,
    MemoryBudgetError,
    StoreCorruptError,
    StoreLockedError,
    VersionMismatchError,
)
from chroma_nb.memory.machine import MACHINE
from chroma_nb.memory.sizes import format_bytes
from chroma_nb.memory.trim import return_memory
from chroma_nb.memory.workspace import WORKSPACE
from chroma_nb.settings import expand_path

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from chroma_nb.settings import Settings

logger = logging.getLogger("chroma_nb")

#: The newest storage format that all supported versions of DuckDB read correctly, as folders move between machines.
#: With "v1.3.0", and with the default, DuckDB 2.0.1 writes files in which DuckDB 1.3.2 reads NULL for every value.
_STORAGE = {"storage_compatibility_version": "v1.2.0"}
#: DuckDB 1.3 does not know the length of a found log. When a commit fails, it truncates that log too far, and
#: acknowledged records are lost. So a found log is written into the database before the first commit.
_TRUNCATES_FOUND_LOGS = IS_OLD_DUCKDB
#: Errors that keep a file from being opened and do not mean that it is damaged.
_ACCESS_ERRORS = (
    *(errno.EACCES, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EPERM, errno.EROFS),
)
#: A checkpoint is due when the log has more bytes than this, which is DuckDB's own default.
_LOG_BYTES = 16 << 20
#: What DuckDB holds at most of a small table after it was read or written, until it is closed; some 30 kB of it are
#: not counted against its limit.
_TABLE_BYTES = 64 << 10
#: After this many tables were touched, the machine's free memory is checked, ...
_MEMORY_CHECK_TABLES = 256
#: ... and the database is reopened where less than about this is free.
_LOW_MEMORY_BYTES = 48 << 20
#: The least memory that a checkpoint gets under a low limit, beside what DuckDB holds already.
_SMALL_CHECKPOINT_BYTES = 8 << 20
#: Ends the name of a database that is not complete yet.
_UNFINISHED = ".new"
#: How long reopening the database waits for readers, seconds.
_READERS_SECONDS = 10.0
#: ... and so long for those that it has interrupted.
_INTERRUPTED_SECONDS = 10.0
#: ... and so long for cursors that are busy for a moment and are not counted.
_OTHERS_SECONDS = 10.0
#: The names in a store's folder.
_OWN_FILES = {
    "lock",
    "commits",
    "vectors",
    "indexes",
    "records.duckdb",
    "records.duckdb.wal",
    f"records.duckdb{_UNFINISHED}",
    f"records.duckdb{_UNFINISHED}.wal",
}
#: The beginning of a collection's file.
_COLLECTION_FILE = re.compile(COLLECTION_PREFIX)
#: What operating systems put into any folder, beside names that begin with a dot.
_SYSTEM_FILES = frozenset(("lost+found", "Thumbs.db", "desktop.ini"))


class PersistentDuckDB(DuckDB):
    """A store in a folder; one process at a time.

    Args:
        settings: `path` is the folder; it is made when it is missing.

    Raises:
        InvalidArgumentError: `path` is a file, a folder of something else, or has a name that DuckDB cannot
            open.
        InternalError: The folder cannot be written.
        StoreCorruptError: The folder has vectors and no database, or the database cannot be read.
        StoreLockedError: Another process has the store open.
        VersionMismatchError: The store was written in another format.
    """

    persists: ClassVar[bool] = True

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        #: DuckDB was given the database to open.
        self._was_opened = False
        #: The log has commits of an earlier process.
        self._has_found_log = False
        #: The database's file, as (device, inode).
        self._database_identity: tuple[int, int] | None = None
        #: The orphans that were found at opening.
        self._orphans: list[str] = []
        #: What the file `commits` says; None where it says nothing.
        self._noted: LastCommit | None = None
        #: How the log begins, as far as that is known.
        self._log_start = ANY_LOG
        #: The checksum of the database's header; None while it has to be computed.
        self._header: int | None = None
        #: The log's file as this process has left it, as (device, inode); None while this process has written nothing
        #: to it.
        self._log_identity: tuple[int, int] | None = None
        #: A log larger than this is due for a checkpoint, bytes.
        self._log_limit = _LOG_BYTES
        #: The machine's free memory is checked when this many tables were touched.
        self._next_memory_check = _MEMORY_CHECK_TABLES
        self.path = expand_path(settings.path)
        _check_folder(self.path, settings.path)
        try:
            for folder in (self.path, self._vector_folder, self._index_folder):
                os.makedirs(folder, exist_ok=True)
            self._lock = StoreLock(os.path.join(self.path, "lock"))
            try:
                self._commit_file = CommitFile(os.path.join(self.path, "commits"))
            except BaseException:
                self._lock.release()
                raise
        except NotOurFileError as error:
            raise InvalidArgumentError(
                f"The folder {settings.path!r} cannot be opened as a store: {error.strerror}. Move it away, or "
                "delete it, or give another folder; nothing was changed."
            ) from error
        except OSError as error:
            raise InternalError(
                f"The folder {settings.path!r} cannot be written ({error.strerror}). Give a folder "
                "that you may write to, or use chroma_nb.EphemeralClient()."
            ) from error
        try:
            self._noted = self._commit_file.read()
            if self._noted is not None and self._log_bytes():
                self._log_start = self._noted.log
            with interruptible():
                if not os.path.exists(self._database_file()):
                    self._check_database_is_new()
                    self._make_database()
            super().__init__(settings)
        except BaseException as error:
            self._commit_file.close()
            self._lock.release()
            if isinstance(error, OSError):
                raise InternalError(
                    f"The store in {self.path!r} cannot be opened, as its disk is full or has failed: {error}. "
                    "Open it again when the disk works; nothing is lost."
                ) from error
            if isinstance(error, duckdb.Error):
                raise self._open_error(error) from error
            raise
        try:
            self._write_commit_file()
            self._checkpoint_found_log_at_open()
            self._orphans = self._find_orphans()
        except BaseException:
            self.close()
            raise

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.path!r})"

    @property
    def _vector_folder(self) -> str:
        return os.path.join(self.path, "vectors")

    @property
    def _index_folder(self) -> str:
        return os.path.join(self.path, "indexes")

    def _database_file(self) -> str:
        return os.path.join(self.path, "records.duckdb")

    def _path_to_open(self) -> str:
        path = path_to_open(self._database_file(), is_open=self._was_opened)
        self._was_opened = True
        return path

    def _log_file(self) -> str:
        return self._database_file() + ".wal"

    def _space_folder(self) -> str:
        return self.path

    def _config(self) -> dict[str, Any]:
        return {**super()._config(), **_STORAGE}

    def _make_database(self) -> None:
        """Make an empty database under a temporary name, and rename it when it is complete.

        So a process that is killed here leaves nothing that looks like a damaged store.
        """
        unfinished = self._database_file() + _UNFINISHED
        try:
            for left in (unfinished, unfinished + ".wal"):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(left)
            with contextlib.closing(duckdb.connect(unfinished, config=_STORAGE)) as con:
                create_schema(con)
            if self.settings.fsync:
                _sync(unfinished)
            os.replace(unfinished, self._database_file())
        except duckdb.InterruptException:
            raise
        except (duckdb.Error, OSError) as error:
            raise InternalError(
                f"A store cannot be made in {self.path!r}: {error}. Free some disk space, or give another "
                "folder."
            ) from error
        if self.settings.fsync:
            _sync_folder(self.path)

    def _connect(self) -> duckdb.DuckDBPyConnection:
        if self._log_bytes():
            self._check_log()
        connection = self._open_database()
        found = os.stat(self._database_file())
        self._database_identity = found.st_dev, found.st_ino
        self._has_found_log = self._log_bytes() > 0
        self._log_identity = None
        return connection

    def _load_catalogue(self) -> None:
        super()._load_catalogue()
        if self._has_found_log and self._log_bytes():
            # DuckDB does not say which collections are in the log: it may be any of them.
            self._uncheckpointed.update(self._entries)

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

    def _checkpoint_found_log(
        self, connection: duckdb.DuckDBPyConnection, *, force: bool = True
    ) -> None:
        if _TRUNCATES_FOUND_LOGS and self._has_found_log and self._log_bytes():
            if not self._should_checkpoint():
                need = self._space_for_checkpoint(self._log_bytes())
                raise OSError(
                    errno.ENOSPC,
                    f"{os.strerror(errno.ENOSPC)}: before anything is written, the database's log has to be written into "
                    f"the database, which needs {format_bytes(need)}; {format_bytes(self._free_space())} are free",
                )
            self._checkpoint(force=force)
        self._has_found_log = False

    def _log_bytes(self) -> int:
        """Return the size of the log; 0 where there is none."""
        try:
            return os.path.getsize(self._log_file())
        except FileNotFoundError:
            return 0

    def _open_database(self) -> duckdb.DuckDBPyConnection:
        """Open the database, under a higher memory limit where its log needs that."""
        limit = self.memory_share.n_bytes
        # Holds the memory as long as DuckDB has the higher limit.
        with contextlib.ExitStack() as more:
            try:
                try:
                    connection = super()._connect()
                except duckdb.Error as error:
                    if not is_out_of_memory(error):
                        raise
                    # Reading the log takes more than the limit.
                    self.memory_share.n_bytes = self._more_memory(more)
                    connection = super()._connect()
                if self._log_bytes() and 3 * self._memory_used(connection) > limit:
                    connection = self._write_long_log(connection, self._more_memory(more))
            except duckdb.InterruptException:
                raise
            except duckdb.Error as error:
                raise self._open_error(error) from error
            finally:
                if self.memory_share.n_bytes != limit:
                    self.memory_share.n_bytes = limit
                    self.memory_share.is_stale = True
        return connection

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
        self._connection = connection
        self._read_meta()
        self._clear_note()
        try:
            connection.execute("CHECKPOINT")
        except duckdb.Error as error:
            if not is_out_of_memory(error):
                raise
            # The commits stay in the log. DuckDB has ended and must be opened again.
            connection.close()
            return super()._connect()
        return connection

    def _open_error(self, error: duckdb.Error) -> Exception:
        """Return the error to raise for one of DuckDB's that came while it opened its file."""
        if is_out_of_memory(error):
            return self.memory_error()
        said = f"The store in {self.path!r} cannot be opened"
        if has_failed(error):
            return InternalError(
                f"{said}, as its disk is full or has failed: {error}. Open it again when the disk works; nothing is "
                "lost."
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
        if any(os.strerror(code) in str(error) for code in _ACCESS_ERRORS):
            return InternalError(f"{said}: {error}. Nothing is damaged.")
        if "with version number" in str(error):
            return VersionMismatchError(
                f"The store in {self.path!r} was written by a newer DuckDB, and DuckDB "
                f"{duckdb.__version__} cannot read it. Upgrade it (pip install --upgrade duckdb) and restart "
                "the kernel; nothing was changed."
            )
        way_out = "Restore the whole folder from a backup."
        if "WAL" in str(error):
            way_out += (
                f" Without one: copy the folder, then move {self._log_file()!r} and "
                f"{self._commit_file.path!r} out of it. That opens what was in the database before the damaged log."
            )
        return StoreCorruptError(f"{said}: {error}. {way_out}")

    def read_error(self, error: duckdb.Error) -> Exception:
        if is_out_of_memory(error):
            return self.memory_error()
        if isinstance(error, duckdb.InternalException | duckdb.FatalException):
            # DuckDB has ended and must be reopened.
            self.mark_broken()
        if was_cut_off(error):
            return self._cut_off_error()
        if is_disk_full(error):
            return InternalError(
                f"The store in {self.path!r} could not be read, as the disk is full: {error}. Free some space."
            )
        return StoreCorruptError(
            f"The database {self._database_file()!r} could not be read: {error}. Restore the whole folder from a "
            "backup. Without one: client.check() says which collections are whole; collection.export(path) saves them. Of "
            "the others client.memory.load(name) loads the snapshot in indexes/, where that is there and whole; then "
            "export() saves those, too."
        )

    def _check_database_is_new(self) -> None:
        """Raise `StoreCorruptError` where the database is missing and `commits` says that there was one."""
        if self._noted is not None and self._noted.number:
            raise StoreCorruptError(
                f"The store in {self.path!r} had {self._noted.number:,} commits, and its database "
                f"{self._database_file()!r} is missing. Restore it from a backup; or delete "
                f"{self._commit_file.path!r} to begin with an empty store. Nothing was changed."
            )

    def _check_commits(self) -> None:
        counted = self._commits or 0
        written = 0 if self._noted is None else self._noted.number
        if written > counted:
            # Closing must not write to the database: the user may still put the missing file back.
            self._is_abandoned = True
            n = written - counted
            raise StoreCorruptError(
                f"The store in {self.path!r} lacks {n:,} commit{'' if n == 1 else 's'} that had been acknowledged: "
                f"its database has {counted:,} of {written:,}. Either the log records.duckdb.wal was cut or removed, "
                "or an older records.duckdb was put in its place. Restore the whole folder from a backup. Without one: "
                f"copy the folder, then delete {self._commit_file.path!r} to open what is left. Nothing was deleted."
            )

    def _write_commit_file(self, *, is_committed: bool = False) -> None:
        if self._commits is None:
            return
        if self._header is None:
            # Where it cannot be read, 0 is noted, and the next opening checks no header.
            self._header = 0
            with contextlib.suppress(OSError):
                self._header = header_sum(self._database_file())
        self._look_at_log(is_committed=is_committed)
        before, after = self._noted, LastCommit(self._commits, self._header, self._log_start)
        if not self.settings.fsync:
            after = LastCommit(self._commits)
        if after == before:
            return
        # Flushed when a header is taken out. Otherwise a power cut could bring the old header back after a checkpoint
        # has changed the database's.
        is_cleared = not after.header and bool(before and before.header)
        if self._commit_file.write(after, flush=is_cleared):
            self._noted = after

    def _look_at_log(self, *, is_committed: bool) -> None:
        """Find out how the log begins, where that is not known; it stays so until the next checkpoint.

        Args:
            is_committed: It begins with a whole commit. Of another beginning DuckDB may write over a part.
        """
        if self._log_start.n_bytes or not self.settings.fsync:
            return
        try:
            if self._log_bytes():
                self._log_start = log_start(self._log_file()) if is_committed else ANY_LOG
            elif self._log_start != NO_LOG:
                # Otherwise a power cut could bring back the log that was deleted.
                _sync(self.path)
                self._log_start = NO_LOG
        except OSError:
            # Then nothing is compared.
            self._log_start = ANY_LOG

    def _flush_log(self) -> bool:
        if self.settings.fsync:
            try:
                _sync(self._log_file())
            except FileNotFoundError:
                # A checkpoint has written it into the database, and flushed that.
                return True
            except OSError:
                return False
        return True

    def _expect_log(self) -> None:
        if self._noted is None or self._noted.log == ANY_LOG or self._log_bytes():
            return
        # Before there is one: otherwise the store would be refused after a kill in between.
        self._note(self._noted._replace(log=ANY_LOG))

    def _check_log(self) -> None:
        """Raise `StoreCorruptError` where the log does not belong to the database."""
        noted = self._noted
        if noted is None:
            return
        try:
            header = header_sum(self._database_file()) if noted.header else 0
            log = log_start(self._log_file(), noted.log.n_bytes) if noted.log.n_bytes else noted.log
        except OSError as error:
            raise InternalError(
                f"The database {self._database_file()!r} cannot be read: {error}. Nothing is damaged; repeat the call."
            ) from error
        # Of one that was cut the number of commits says more: see `_check_commits`.
        is_other_log = log == NO_LOG or (log != noted.log and log.n_bytes == noted.log.n_bytes)
        if header != noted.header or is_other_log:
            raise StoreCorruptError(
                f"The database {self._database_file()!r} is not the one that its log records.duckdb.wal was written "
                "for: one of them was replaced, or the folder was copied while it was in use; or the log is damaged. "
                "Records would be missing, or there twice. Restore the whole folder from a backup. Without one: copy the "
                f"folder, then move {self._log_file()!r} and {self._commit_file.path!r} out of it. That opens what is "
                "in the database. Nothing was changed."
            )

    def _clear_note(self) -> None:
        """Take the header and the log out of `commits` before a checkpoint, which changes the one and ends the other.

        Raises:
            OSError: The file can be neither written nor deleted.
        """
        self._header, self._log_start = None, ANY_LOG
        if self._noted is not None:
            self._note(LastCommit(self._noted.number))

    def _note(self, commit: LastCommit) -> None:
        """Write `commits` before something is changed that it speaks of.

        Raises:
            OSError: The file can be neither written nor deleted.
        """
        if commit == self._noted:
            return
        # Flushed, as the change will be. Otherwise the store would be refused after a power cut in between.
        if self._commit_file.write(commit, flush=True):
            self._noted = commit
        else:
            # Without the file, the next opening checks nothing.
            self._commit_file.remove()
            self._noted = None

    def _write_checkpoint(self) -> None:
        self._clear_note()
        super()._write_checkpoint()
        self._log_identity = None
        self._log_limit = _LOG_BYTES
        self._write_commit_file()

    def _after_commit(self) -> None:
        is_due = self._holds_much_until_checkpoint()
        with contextlib.suppress(OSError):
            found = os.stat(self._log_file())
            self._log_identity = found.st_dev, found.st_ino
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

    def _free_memory_if_due(self) -> None:
        n = len(self._touched)
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
        with self._write_lock:
            self._reload_if_stale()
            return self._reopen_to_free_memory()

    def _reopen_to_free_memory(self) -> bool:
        """Close and reopen the database; say whether that was done.

        DuckDB holds some 30 kB, which it does not count against its limit, for each table that was read or written,
        and frees it only when it is closed.
        """
        if not self._write_lock.acquire(blocking=False):
            return False
        try:
            with contextlib.ExitStack() as held, interruptible():
                n_bytes = 0
                # In a transaction or a read: a later call does it.
                if self._is_in_use():
                    return False
                if self._log_bytes():
                    # Before the cursor lock is taken: collections that are unloaded for this memory may be this
                    # store's, and then need a cursor.
                    n_bytes = held.enter_context(self._memory_for_checkpoint())
                # From here on no read can begin: its cursor would keep the old instance alive.
                held.enter_context(self._cursor_lock)
                if self._is_in_use():
                    return False
                if self._log_bytes():
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
            self._write_lock.release()
        return True

    def _is_in_use(self) -> bool:
        """Say whether the database cannot be reopened at this moment."""
        return bool(self._is_stale or self._busy_cursors or self._closed or self._is_abandoned)

    def _checkpoint_in_little_memory(self, n_bytes: int) -> None:
        """Make a checkpoint under a low memory limit: DuckDB would keep what it writes in memory, up to its limit.

        Reopening the database sets the usual limit again, or else the next access does.

        Args:
            n_bytes: Bytes of memory that the checkpoint takes.
        """
        limit = self._memory_used(self._connection) + max(_SMALL_CHECKPOINT_BYTES, n_bytes)
        if limit < self.memory_share.n_bytes:
            self.memory_share.is_stale = True
            with contextlib.suppress(duckdb.OutOfMemoryException):
                self._connection.execute(f"SET memory_limit = '{limit}B'")
        self._write_checkpoint()

    def _has_lost_its_log(self) -> bool:
        """Say whether the log with this process's commits was deleted or replaced. DuckDB still has them in memory."""
        if self._log_identity is None:
            return False
        try:
            found = os.stat(self._log_file())
        except OSError:
            return True
        return (found.st_dev, found.st_ino) != self._log_identity

    def is_there(self) -> bool:
        try:
            found = os.lstat(self._database_file())
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError:
            # It cannot be told now. A caller that needs the file meets the error itself.
            return True
        return (found.st_dev, found.st_ino) == self._database_identity and self._lock.is_there()

    def _check_not_replaced(self) -> None:
        if not self._closed and not self.is_there():
            self._is_abandoned = True
            raise InternalError(
                f"The folder {self.path!r}, or its database, was moved, deleted or replaced while this client had it "
                "open. Nothing was written to what is there now. Open a new client to go on."
            )

    def _before_change(self) -> None:
        if self._has_lost_its_log():
            logger.warning(
                "The log of %r was deleted or replaced; it is written into the database.", self
            )
            try:
                with interruptible():
                    self._checkpoint(force=True)
            except (duckdb.Error, OSError) as error:
                raise self._write_error(error) from error
        # Orphans are deleted only here, and not at opening: the catalogue may be an older one that was put beside
        # newer vector files by mistake. As long as nothing is written, that can still be put right.
        if self._orphans:
            self._remove_orphans()

    def abandon(self) -> None:
        # A checkpoint would delete the log of the store that is in the folder now.
        self._is_abandoned = True
        self.close()

    def _reopen_after_failure(self) -> None:
        # A commit that fails on a full disk may end the instance ("database has been invalidated") or roll rows back
        # only in part: with DuckDB 1.3.2 the next text that was written came out joined with theirs. What is on the
        # disk is right, so it is read again.
        self._check_not_replaced()
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
            self._connection.close()
        until = time.monotonic() + _OTHERS_SECONDS
        while True:
            try:
                self._connection = self._connect()
                break
            except ChromaError as error:
                # Another thread sets the memory limit at this moment, by a cursor that keeps the old instance.
                cause: Any = error.__cause__
                if not (isinstance(cause, duckdb.ConnectionException) or is_fatal(cause)):
                    raise
                if time.monotonic() > until:
                    raise
            time.sleep(0.01)
        self._touched.clear()
        self._next_memory_check = _MEMORY_CHECK_TABLES

    def _should_checkpoint(self) -> bool:
        log = self._log_bytes()
        if self._has_lost_its_log():
            return True
        return log > 0 and self._free_space() > self._space_for_checkpoint(log)

    def _free_space(self) -> int:
        return shutil.disk_usage(self.path).free

    def _space_for_checkpoint(self, log: int) -> int:
        """Return the bytes of the disk that a checkpoint of `log` bytes may need before it deletes the log."""
        # Changed row groups are written once more before their old blocks are free.
        rewritten = sum(
            min(GROUP_ROWS, entry.extent.n_records) * (texts.row_bytes() + ROW_BYTES)
            for entry, texts in self._uncheckpointed_texts()
        )
        return 2 * log + rewritten + HEADROOM_BYTES

    def _space_for_log(self, n_bytes: int, free: int) -> int:
        log = self._log_bytes()
        if self._space_for_checkpoint(log + n_bytes) > free and self._should_checkpoint():
            try:
                with contextlib.suppress(MemoryBudgetError):
                    self._checkpoint()
            except duckdb.InterruptException:
                raise
            except (duckdb.Error, OSError) as error:
                self._after_failed_checkpoint(error)
            log = self._log_bytes()
        # This much stays free also for deletes, which have to be possible on a full disk and are written to the log.
        return self._space_for_checkpoint(log + n_bytes)

    def close(self) -> None:
        self._is_abandoned = self._is_abandoned or not self.is_there()
        try:
            super().close()
        finally:
            self._commit_file.close()
            self._lock.release()

    def on_fork(self) -> None:
        super().on_fork()
        self._commit_file.close()
        self._lock.on_fork()

    def _vector_path(self, entry: CatalogueEntry) -> str:
        return os.path.join(self._vector_folder, entry.file_stem + ".f32")

    @property
    def derived_folder(self) -> str:
        self._check_not_replaced()
        return self._index_folder

    def _open_vectors(self, entry: CatalogueEntry, dimension: int, *, create: bool) -> VectorFile:
        path = self._vector_path(entry)
        if create:
            # A first write or a compaction that failed may have left a file there.
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
        has_sums = not create and entry.tail is not None
        is_missing = not create and not os.path.exists(path)
        if is_missing and not has_sums:
            raise StoreCorruptError(
                f"Vector file {path!r} is missing; it holds the vectors of collection "
                f"[{entry.info.name}]. Restore it from a backup."
            )
        vectors = VectorFile(
            path,
            dimension,
            fsync=self.settings.fsync,
            # A missing file is made again, empty: then the checksums say that every vector is damaged.
            create=create or is_missing,
            has_sums=has_sums,
        )
        vectors.was_missing = is_missing
        if create and self.settings.fsync:
            _sync_folder(self._vector_folder)
        return vectors

    def _remove_files(self, entry: CatalogueEntry) -> None:
        remove_prefix(os.path.join(self._vector_folder, entry.file_stem))

    def _find_orphans(self) -> list[str]:
        """Return files that no collection names: a killed process has left them, or the database is an older one."""
        known = {entry.file_stem for entry in self._entries.values()}
        return [
            os.path.join(self._vector_folder, name)
            for name in sorted(os.listdir(self._vector_folder))
            if _COLLECTION_FILE.match(name) and ".".join(name.split(".")[:2]) not in known
        ]

    def _remove_orphans(self) -> None:
        # Looked for again: a compaction may use one of these names by now.
        for path in self._find_orphans():
            # An orphan that cannot be deleted costs space and nothing else.
            with contextlib.suppress(OSError):
                os.unlink(path)
        self._orphans = []

    def unnamed_files(self) -> list[str]:
        return self._find_orphans()

    def sizes(self, collection_ids: Sequence[UUID]) -> list[tuple[int, int, int]]:
        found = []
        for one in collection_ids:
            entry = self._entries.get(one)
            if entry is None:
                found.append((0, 0, 0))
                continue
            # Computed from the committed rows, not read: many collections would take as many system calls.
            extent, size = entry.extent, 0
            if extent.next_label:
                size = HEADER_BYTES + 4 * (entry.info.dimension or 0) * extent.next_label
            found.append((extent.n_records, size, text_bytes(entry)))
        return found

    def bytes_on_disk(self, collection_id: UUID) -> int:
        name = self._entry(collection_id).file_stem
        total = 0
        for found in os.listdir(self._vector_folder):
            # A file may be renamed or deleted at this moment.
            with contextlib.suppress(FileNotFoundError):
                if found.startswith(name + "."):
                    total += os.path.getsize(os.path.join(self._vector_folder, found))
        return total


def _check_folder(path: str, given: str) -> None:
    """Refuse a folder that is no store and in which none should be made.

    Args:
        path: The folder, absolute.
        given: As the user wrote it.

    Raises:
        InvalidArgumentError: It is a file, has a name that DuckDB cannot open, or holds something else.
        InternalError: It cannot be read.
        StoreCorruptError: It has vectors, and the database that names them is missing.
    """
    for character in ("?", "\\") if os.sep == "/" else ("?",):
        if character in path:
            raise InvalidArgumentError(
                f"Path {given!r} has the character {character!r} in it ({path!r}), and DuckDB cannot open a file "
                "by such a name. Give a folder without it."
            )
    if not os.path.exists(path):
        return
    if not os.path.isdir(path):
        raise InvalidArgumentError(
            f"Path {given!r} is a file; a store is a folder. Give a folder, or a name "
            "that is free: it will be made."
        )
    try:
        found = set(os.listdir(path))
    except OSError as error:
        raise InternalError(
            f"The folder {given!r} cannot be read ({error.strerror}). Give a folder that you may read and write."
        ) from error
    _check_links(path, given)
    if "records.duckdb" in found:
        return
    if "chroma.sqlite3" in found:
        raise InvalidArgumentError(
            f"The folder {given!r} was written by Chroma, whose files this version does not read; nothing was "
            "changed there. Give a folder of its own. To bring the collections here, run `chroma run --path "
            f"{given}` and copy: chroma_nb.connect('http://localhost:8000').copy_to(chroma_nb.Client('./new'))."
        )
    foreign = sorted(
        name for name in found - _OWN_FILES - _SYSTEM_FILES if not name.startswith(".")
    )
    if foreign:
        more = f" and {len(foreign) - 3:,} more" if len(foreign) > 3 else ""
        raise InvalidArgumentError(
            f"The folder {given!r} is not empty and is no store (it has {', '.join(foreign[:3])}{more}). Give "
            f"a folder of its own, such as {os.path.join(given, 'chroma')!r}; nothing was changed."
        )
    vectors = os.path.join(path, "vectors")
    if os.path.isdir(vectors) and any(name.endswith(".f32") for name in os.listdir(vectors)):
        raise StoreCorruptError(
            f"The store in {given!r} has vectors, and its database {os.path.join(path, 'records.duckdb')!r} is "
            "missing. Restore it from a backup; nothing was changed."
        )


def _check_links(path: str, given: str) -> None:
    """Refuse links in the place of a store's files: writes and deletes would go to where they lead.

    Hard links to vectors are looked at when they are written to, as there may be thousands.

    Raises:
        InvalidArgumentError: There is a link, a pipe or a device.
    """
    for folder in (path, os.path.join(path, "vectors"), os.path.join(path, "indexes")):
        with (
            contextlib.suppress(FileNotFoundError, NotADirectoryError),
            os.scandir(folder) as entries,
        ):
            for one in entries:
                if folder == path and one.name not in _OWN_FILES:
                    continue
                if folder == path and has_second_name(one.stat(follow_symlinks=False)):
                    raise InvalidArgumentError(
                        f"The folder {given!r} cannot be opened as a store: {one.path!r} {SECOND_NAME}, which would "
                        "be changed together with it. Copy the folder without links (cp -r) and open the copy; "
                        "nothing was changed."
                    )
                if not one.is_file(follow_symlinks=False) and not one.is_dir(follow_symlinks=False):
                    what = (
                        f"is a link to {os.readlink(one.path)!r}"
                        if one.is_symlink()
                        else "is no file"
                    )
                    raise InvalidArgumentError(
                        f"The folder {given!r} cannot be opened as a store: {one.path!r} {what}. Put a file or "
                        "folder in its place (a link to the whole store is fine); nothing was changed."
                    )


def _sync_folder(folder: str) -> None:
    """Flush a folder, so that the name of a new file in it survives a power cut; where the system can do that."""
    with contextlib.suppress(OSError):
        _sync(folder)


def _sync(path: str) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
