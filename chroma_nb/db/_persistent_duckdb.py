"""`PersistentDuckDB`: a folder that holds a DuckDB file, the vector files and the derived indexes.

::

    <path>/lock                          who has the store open
    <path>/records.duckdb                catalogue and records
    <path>/commits                       how many commits were acknowledged
    <path>/vectors/<id>.<generation>.f32 the vectors of one collection
    <path>/indexes/<id>.<generation>.*   derived files, rebuilt when they are missing or damaged
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
    DuckDB,
    _Entry,
    _remove_prefix,
    create_schema,
    has_failed,
    is_disk_full,
    text_bytes,
)
from chroma_nb.db._versions import IS_OLD_DUCKDB
from chroma_nb.db.commit_file import CommitFile, Witness, header_sum
from chroma_nb.db.folder_sizes import FolderSizes
from chroma_nb.db.interrupted import interruptible, path_to_open
from chroma_nb.db.memory_share import is_out_of_memory
from chroma_nb.db.own_file import SECOND_NAME, NotOurFileError, has_second_name
from chroma_nb.db.store_lock import StoreLock
from chroma_nb.db.vector_file import HEADER_BYTES, VectorFile
from chroma_nb.errors import (
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
        #: The database's path as DuckDB was given it.
        self._opened_path = ""
        #: The log has records that were written before it was opened.
        self._has_old_log = False
        #: The database's file, as (device, inode), and the files that no collection names.
        self._database_identity: tuple[int, int] | None = None
        self._unnamed: list[str] = []
        #: What `commits` says, and the checksum of the database's header, None while it has to be looked up.
        self._witness: Witness | None = None
        self._header: int | None = None
        #: The file of the log as this process has left it, as (device, inode); None while it has nothing in it.
        self._log_identity: tuple[int, int] | None = None
        #: A log of more than this is written into the database.
        self._log_limit = _LOG_BYTES
        #: When so many tables were named, the machine's memory is looked at.
        self._look_at = _FEW_TABLES
        self.path = expand_path(settings.path)
        self._index_sizes = FolderSizes(self._index_folder)
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
                f"The folder {settings.path!r} cannot be opened as a store: {error.strerror}. Remove that file, or "
                "give another folder; nothing was changed."
            ) from error
        except OSError as error:
            raise InternalError(
                f"The folder {settings.path!r} cannot be written ({error.strerror}). Give a folder "
                "that you may write to, or use chroma_nb.EphemeralClient()."
            ) from error
        try:
            self._witness = self._commit_file.read()
            with interruptible():
                if not os.path.exists(self._database_file()):
                    self._check_new()
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
            self._renew_found_log()
            self._unnamed = self._find_unnamed()
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
        if not self._busy_cursors:
            self._opened_path = path_to_open(self._database_file())
        return self._opened_path

    def _log_file(self) -> str:
        return self._database_file() + ".wal"

    def _space_folder(self) -> str:
        return self.path

    def _config(self) -> dict[str, Any]:
        return {**super()._config(), **_STORAGE}

    def _make_database(self) -> None:
        """Make an empty database under another name, and give it its own when it is whole.

        A process that is killed in between leaves nothing that could be taken for a damaged store.
        """
        unfinished = self._database_file() + _NEW
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
        self._has_old_log = self._log_bytes() > 0
        self._log_identity = None
        return connection

    def _load_catalogue(self) -> None:
        super()._load_catalogue()
        if self._has_old_log and self._log_bytes():
            # Which collections it is of, DuckDB does not say.
            self._unwritten.update(self._entries)

    def _renew_found_log(self) -> None:
        """Begin a new log now, while nobody reads; where the disk does not let it, the next commit tries."""
        try:
            with interruptible():
                if _CUTS_FOUND_LOGS and self._has_old_log and self._should_checkpoint():
                    self._checkpoint()
                    self._has_old_log = False
        except MemoryBudgetError:
            pass
        except (duckdb.Error, OSError):
            self.mark_broken()

    def _renew_log(self, connection: duckdb.DuckDBPyConnection, *, is_needed: bool = True) -> None:
        if _CUTS_FOUND_LOGS and self._has_old_log and self._log_bytes():
            if not self._should_checkpoint():
                need = self._space_for_checkpoint(self._log_bytes())
                raise OSError(
                    errno.ENOSPC,
                    f"{os.strerror(errno.ENOSPC)}: before anything is written, the database's log is put in order, "
                    f"for which {format_bytes(need)} have to be free, and {format_bytes(self._free_space())} are",
                )
            self._checkpoint(is_needed=is_needed)
        self._has_old_log = False

    def _log_bytes(self) -> int:
        try:
            return os.path.getsize(self._log_file())
        except FileNotFoundError:
            return 0

    def _open_database(self) -> duckdb.DuckDBPyConnection:
        limit = self.memory_share.n_bytes
        # Held for as long as DuckDB has a higher limit.
        with contextlib.ExitStack() as more:
            try:
                try:
                    connection = super()._connect()
                except duckdb.Error as error:
                    if not is_out_of_memory(error):
                        raise
                    # What the log has in it takes more than that.
                    self.memory_share.n_bytes = self._more_memory(more)
                    connection = super()._connect()
                if self._log_bytes() and 3 * self._held(connection) > limit:
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
        """Take memory for opening the database: half of what there is; return DuckDB's limit with it.

        Args:
            held: Gives it back at its end.
        """
        # Over a limit that the settings name, too: a store has to open.
        grant = held.enter_context(WORKSPACE.take(WORKSPACE.free()))
        return max(self.memory_share.n_bytes, grant.n_bytes)

    def _write_long_log(
        self, connection: duckdb.DuckDBPyConnection, limit: int
    ) -> duckdb.DuckDBPyConnection:
        """Write a log that takes much of DuckDB's memory into the database at once; return the connection to use.

        Args:
            connection: The one that has read it.
            limit: DuckDB's memory limit meanwhile, bytes.
        """
        self.memory_share.is_stale = True
        if not self._should_checkpoint():
            return connection
        connection.execute(f"SET memory_limit = '{limit}B'")
        self._connection = connection
        self._read_meta()
        self._forget_header()
        try:
            connection.execute("CHECKPOINT")
        except duckdb.Error as error:
            if not is_out_of_memory(error):
                raise
            # It stays in the log. DuckDB answers nothing more until it is opened anew.
            connection.close()
            return super()._connect()
        return connection

    def _open_error(self, error: duckdb.Error) -> Exception:
        """Return the error that stands for one of DuckDB's, met while opening its file."""
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
        if any(os.strerror(code) in str(error) for code in _NO_DAMAGE):
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

    def _read_error(self, error: duckdb.Error) -> Exception:
        if is_out_of_memory(error):
            return self.memory_error()
        if isinstance(error, duckdb.InternalException | duckdb.FatalException):
            # DuckDB answers nothing more until it is opened anew.
            self.mark_broken()
        if is_disk_full(error):
            return InternalError(
                f"The store in {self.path!r} could not be read, as the disk is full: {error}. Free some space."
            )
        return StoreCorruptError(
            f"The database {self._database_file()!r} could not be read: {error}. Restore the store from a backup, "
            "or save what can be read: collection.export(path). client.check() says which collections are whole."
        )

    def _check_new(self) -> None:
        """Raise `StoreCorruptError` where there was a database before."""
        if self._witness is not None and self._witness.number:
            raise StoreCorruptError(
                f"The store in {self.path!r} had {self._witness.number:,} commits, and its database "
                f"{self._database_file()!r} is missing. Restore it from a backup; or delete "
                f"{self._commit_file.path!r} to begin anew. Nothing was changed."
            )

    def _check_commits(self) -> None:
        counted = self._commits or 0
        written = 0 if self._witness is None else self._witness.number
        if written > counted:
            # Nothing is to be written into the database any more: what is there is evidence.
            self._is_abandoned = True
            n = written - counted
            raise StoreCorruptError(
                f"The store in {self.path!r} lacks {n:,} commit{'' if n == 1 else 's'} that had been acknowledged: "
                f"its database has {counted:,} of {written:,}. Either the log records.duckdb.wal was cut or removed, "
                "or an older records.duckdb was put in its place. Restore the whole folder from a backup. Without one: "
                f"copy the folder, then delete {self._commit_file.path!r} to open what is left. Nothing was deleted."
            )

    def _write_commit_file(self) -> None:
        if self._commits is None:
            return
        if self._header is None:
            # Where it cannot be read it is not known, and not expected.
            self._header = 0
            with contextlib.suppress(OSError):
                self._header = header_sum(self._database_file())
        before, witness = self._witness, Witness(self._commits, self._header)
        if not self.settings.fsync:
            witness = Witness(self._commits)
        if witness == before:
            return
        # An old header must not come back after a power cut, when a checkpoint has been made meanwhile.
        if self._commit_file.write(
            witness, flush=not witness.header and bool(before and before.header)
        ):
            self._witness = witness

    def _check_log(self) -> None:
        """Raise `StoreCorruptError` where the log is not that of the database."""
        expected = 0 if self._witness is None else self._witness.header
        if not expected:
            return
        try:
            found = header_sum(self._database_file())
        except OSError as error:
            raise InternalError(
                f"The database {self._database_file()!r} cannot be read: {error}. Nothing is damaged; repeat the call."
            ) from error
        if found != expected:
            raise StoreCorruptError(
                f"The database {self._database_file()!r} is not the one that its log records.duckdb.wal was written "
                "for: one of them was replaced, or the folder was copied while it was in use. Records would be "
                "missing. Restore the whole folder from a backup. Without one: copy the folder, then delete "
                f"{self._commit_file.path!r} to open what there is. Nothing was changed."
            )

    def _forget_header(self) -> None:
        """Write down that a checkpoint is under way.

        Raises:
            OSError: That could not be written.
        """
        self._header = None
        if self._witness is None or not self._witness.header:
            return
        witness = Witness(self._witness.number, 0)
        # Flushed, as the checkpoint will be: else the old header would be expected after a power cut.
        if self._commit_file.write(witness, flush=True):
            self._witness = witness
        else:
            # Without a witness nothing is expected.
            self._commit_file.remove()
            self._witness = None

    def _write_checkpoint(self) -> None:
        self._forget_header()
        super()._write_checkpoint()
        self._log_identity = None
        self._log_limit = _LOG_BYTES
        self._write_commit_file()

    def _after_commit(self) -> None:
        is_due = self._waits_for_checkpoint()
        with contextlib.suppress(OSError):
            found = os.stat(self._log_file())
            self._log_identity = found.st_dev, found.st_ino
            is_due = is_due or found.st_size >= self._log_limit
            # While there is room for it.
            is_due = is_due or self._free_space() < 2 * self._space_for_checkpoint(found.st_size)
            if not is_due or not self._should_checkpoint():
                return
            self._log_limit = found.st_size + _LOG_BYTES // 4
        try:
            # Refused while somebody reads, or without memory: then it is done when the log has grown.
            with contextlib.suppress(duckdb.TransactionException, MemoryBudgetError):
                self._checkpoint()
        except (duckdb.Error, OSError) as error:
            self._leave_to_the_log(error)

    def _let_go(self) -> None:
        n = len(self._named)
        is_due = n * _TABLE_BYTES > self.memory_share.n_bytes
        if n >= self._look_at:
            # Where the machine has little left, sooner; looking takes 0.1 ms.
            self._look_at = n + _FEW_TABLES // 4
            is_due = is_due or MACHINE.free() < 2 * self.working_bytes + _LITTLE_BYTES
        if is_due:
            self._open_anew()

    def _after_reading(self) -> None:
        self._let_go()

    def _make_room(self) -> bool:
        with self._write_lock:
            self._reload_if_stale()
            return self._open_anew()

    def _open_anew(self) -> bool:
        """Have DuckDB forget the rows of the tables that it has read; say whether that was done.

        What it holds of each table that was read or written once, some 30 kB beside its limit, it never gives back.
        """
        if not self._write_lock.acquire(blocking=False):
            return False
        try:
            with contextlib.ExitStack() as held, interruptible():
                n_bytes = 0
                # In the middle of a transaction, or of reading: then it is done another time.
                if self._is_in_use():
                    return False
                if self._log_bytes():
                    # Before cursors are locked: whoever makes room for it may need one, of this store as well.
                    n_bytes = held.enter_context(self._memory_for_checkpoint())
                # Nobody begins to read from here on: a cursor would keep the instance alive.
                held.enter_context(self._cursor_lock)
                if self._is_in_use():
                    return False
                if self._log_bytes():
                    if not self._should_checkpoint():
                        return False
                    self._checkpoint_in_little_memory(n_bytes)
                # An interrupt leaves the rest to the next call.
                self.mark_broken()
                self._idle_cursors.clear()
                self._open_again()
            self._is_stale = self._is_broken = False
            return_memory()
        except (duckdb.TransactionException, MemoryBudgetError):
            return False
        except (duckdb.Error, OSError, InternalError) as error:
            self._leave_to_the_log(error)
            return False
        finally:
            self._write_lock.release()
        return True

    def _is_in_use(self) -> bool:
        """Say whether the database cannot be opened anew at this moment."""
        return bool(self._is_stale or self._busy_cursors or self._closed or self._is_abandoned)

    def _checkpoint_in_little_memory(self, n_bytes: int) -> None:
        """Make a checkpoint of which little stays in memory: else what it writes would, up to the limit.

        The limit is set back by opening the database again, or before the next access.

        Args:
            n_bytes: What it takes.
        """
        limit = self._held(self._connection) + max(_CHECKPOINT_BYTES, n_bytes)
        if limit < self.memory_share.n_bytes:
            self.memory_share.is_stale = True
            with contextlib.suppress(duckdb.OutOfMemoryException):
                self._connection.execute(f"SET memory_limit = '{limit}B'")
        self._write_checkpoint()

    def _has_lost_its_log(self) -> bool:
        """Say whether the log with this process's commits was deleted or replaced: DuckDB still has them."""
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
            # Of this moment: whoever needs the file is told.
            return True
        return (found.st_dev, found.st_ino) == self._database_identity and self._lock.is_there()

    def _check_place(self) -> None:
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
                    self._checkpoint(is_needed=True)
            except (duckdb.Error, OSError) as error:
                raise self._write_error(error) from error
        # Not sooner: a store that is only read, or an older database that was put beside newer vectors by
        # mistake, loses nothing.
        if self._unnamed:
            self._remove_unnamed()

    def abandon(self) -> None:
        # A checkpoint would remove the log of whatever store is in the folder now.
        self._is_abandoned = True
        self.close()

    def _reconnect(self) -> None:
        # A commit that fails on a full disk may end the instance ("database has been invalidated"), or
        # leave rows half taken back: with DuckDB 1.3.2 the next text written came out joined with theirs.
        # What is on the disk is right, so it is read anew.
        # Cursors go with their connection, so nobody should find one in between.
        self._check_place()
        # Those that are being read would be cut off, which looks like a damaged file; and as long as one of their
        # queries runs DuckDB goes on with the old state, or refuses to open the file again.
        until = time.monotonic() + _READERS_SECONDS
        self._is_reopening = True
        try:
            while True:
                with self._cursor_lock:
                    others = len(self._busy_cursors) - self._here.n_cursors
                    if others <= 0 or time.monotonic() > until:
                        self._idle_cursors.clear()
                        self._open_again()
                        return
                time.sleep(0.001)
        finally:
            self._is_reopening = False

    def _open_again(self) -> None:
        with contextlib.suppress(duckdb.Error):
            self._connection.close()
        self._connection = self._connect()
        self._named.clear()
        self._look_at = _FEW_TABLES

    def _should_checkpoint(self) -> bool:
        log = self._log_bytes()
        if self._has_lost_its_log():
            return True
        return log > 0 and self._free_space() > self._space_for_checkpoint(log)

    def _free_space(self) -> int:
        return shutil.disk_usage(self.path).free

    def _space_for_checkpoint(self, log: int) -> int:
        """Return what a checkpoint of a log may take of the disk, before it deletes the log and frees old blocks."""
        again = sum(
            min(GROUP_ROWS, entry.extent.n_records) * (texts.row_bytes() + _ROW_BYTES)
            for entry, texts in self._unwritten_texts()
        )
        return 2 * log + again + HEADROOM_BYTES

    def _space_for_log(self, n_bytes: int, free: int) -> int:
        log = self._log_bytes()
        if self._space_for_checkpoint(log + n_bytes) > free and self._should_checkpoint():
            try:
                with contextlib.suppress(MemoryBudgetError):
                    self._checkpoint()
            except duckdb.InterruptException:
                raise
            except (duckdb.Error, OSError) as error:
                self._leave_to_the_log(error)
            log = self._log_bytes()
        # Whoever fills the disk up to here can still delete something: that is written to the log, too.
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

    def _vector_path(self, entry: _Entry) -> str:
        return os.path.join(self._vector_folder, _file_name(entry) + ".f32")

    def _derived_prefix(self, entry: _Entry) -> str:
        return os.path.join(self._index_folder, _file_name(entry))

    def _open_vectors(self, entry: _Entry, dimension: int, *, create: bool) -> VectorFile:
        path = self._vector_path(entry)
        if create:
            # What an undone first write or compaction left there is nobody's.
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
            # An empty one, by whose checksums every record's vector is known to be lost.
            create=create or is_missing,
            has_sums=has_sums,
        )
        vectors.was_missing = is_missing
        if create and self.settings.fsync:
            _sync_folder(self._vector_folder)
        return vectors

    def _remove_files(self, entry: _Entry) -> None:
        _remove_prefix(os.path.join(self._vector_folder, _file_name(entry)))
        _remove_prefix(self._derived_prefix(entry))

    def _find_unnamed(self) -> list[str]:
        """Return the files that no collection names: a process was killed in between, or the database is older."""
        known = {_file_name(entry) for entry in self._entries.values()}
        return [
            os.path.join(folder, name)
            for folder in (self._vector_folder, self._index_folder)
            for name in sorted(os.listdir(folder))
            if _OF_A_COLLECTION.match(name) and ".".join(name.split(".")[:2]) not in known
        ]

    def _remove_unnamed(self) -> None:
        # Anew: a compaction may have made one of these names its own meanwhile.
        for path in self._find_unnamed():
            # One that stays takes space and nothing else.
            with contextlib.suppress(OSError):
                os.unlink(path)
        self._unnamed = []

    def unnamed_files(self) -> list[str]:
        return [one for one in self._find_unnamed() if one.startswith(self._vector_folder)]

    def sizes(self, collection_ids: Sequence[UUID]) -> list[tuple[int, int, int]]:
        derived = self._index_sizes.by_collection()
        found = []
        for one in collection_ids:
            entry = self._entries.get(one)
            if entry is None:
                found.append((0, 0, 0))
                continue
            # As many rows as are committed: the file has these and its header.
            extent, size = entry.extent, 0
            if extent.next_label:
                size = HEADER_BYTES + 4 * (entry.info.dimension or 0) * extent.next_label
            if derived:
                size += derived.get((one.int, extent.generation), 0)
            found.append((extent.n_records, size, text_bytes(entry)))
        return found

    def bytes_on_disk(self, collection_id: UUID) -> int:
        name = _file_name(self._entry(collection_id))
        total = 0
        for folder in (self._vector_folder, self._index_folder):
            for found in os.listdir(folder):
                # One may get its final name at this moment.
                with contextlib.suppress(FileNotFoundError):
                    if found.startswith(name + "."):
                        total += os.path.getsize(os.path.join(folder, found))
        return total


#: The newest form of DuckDB's files that every supported DuckDB reads rightly: stores are carried about. With
#: "v1.3.0", and without any, DuckDB 2.0.1 writes files in which DuckDB 1.3.2 finds NULL for every value.
_STORAGE = {"storage_compatibility_version": "v1.2.0"}
#: Of a log that it has found DuckDB 1.3 does not know the length: when a commit fails, it cuts the log back too far, and
#: acknowledged records are gone.
_CUTS_FOUND_LOGS = IS_OLD_DUCKDB
#: What keeps a file from being opened and says nothing of what is in it.
_NO_DAMAGE = (*(errno.EACCES, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EPERM, errno.EROFS),)
#: A log of more than this is written into the database after a commit; DuckDB's own measure.
_LOG_BYTES = 16 << 20
#: What DuckDB holds at most of a small table from when it is first read or written: 30 kB of it beside its limit.
_TABLE_BYTES = 64 << 10
_ROW_BYTES = 16
#: Of so many tables at least DuckDB forgets the rows, where the machine has only so much memory left.
_FEW_TABLES = 256
_LITTLE_BYTES = 48 << 20
#: What a checkpoint gets of memory beside what is held before it.
_CHECKPOINT_BYTES = 8 << 20
#: Of a database that is being made.
_NEW = ".new"
#: So long whoever opens the database anew waits for those who read it, seconds.
_READERS_SECONDS = 10.0
#: What a folder of a store has.
_OWN_FILES = {
    "lock",
    "commits",
    "vectors",
    "indexes",
    "records.duckdb",
    "records.duckdb.wal",
    f"records.duckdb{_NEW}",
    f"records.duckdb{_NEW}.wal",
}
#: The files of collections: id, generation, what it is.
_OF_A_COLLECTION = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\.\d+\.")
#: What file systems and desktops put into any folder, beside names that begin with a dot.
_NOBODYS_FILES = frozenset(("lost+found", "Thumbs.db", "desktop.ini"))


def _check_folder(path: str, given: str) -> None:
    """Refuse a place that is not a store's, and cannot become one without harm.

    Args:
        path: The folder, absolute.
        given: As the user wrote it.

    Raises:
        InvalidArgumentError: A file, a name that DuckDB cannot open, or a folder of something else.
        StoreCorruptError: It has vectors, and the database that names them is gone.
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
        name for name in found - _OWN_FILES - _NOBODYS_FILES if not name.startswith(".")
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
    """Refuse links where a store has files: through them its writing and deleting would go elsewhere.

    Hard links to vectors are looked at when they are written to, as there may be thousands.

    Raises:
        InvalidArgumentError: There is one, or a pipe or a device.
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


def _file_name(entry: _Entry) -> str:
    return f"{entry.info.id}.{entry.extent.generation}"


def _sync_folder(folder: str) -> None:
    """Make a new file's name durable, where a folder can be flushed."""
    with contextlib.suppress(OSError):
        _sync(folder)


def _sync(path: str) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
