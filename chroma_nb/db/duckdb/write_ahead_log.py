"""`WriteAheadLog`: the log of a store in a folder, and what the file `commits` says of it.

DuckDB opens a log that was cut, and one that belongs to another state of the database, without an error. So `commits`
holds the number of acknowledged commits, a checksum of the database's header, and one of the log's beginning.
"""

from __future__ import annotations

import contextlib
import os

from chroma_nb.db.commit_file import (
    ANY_LOG,
    NO_LOG,
    CommitFile,
    DatabaseHeader,
    LastCommit,
    log_start,
)
from chroma_nb.errors import InternalError, StoreCorruptError
from chroma_nb.flush import flush_file
from chroma_nb.system_errors import way_out


class WriteAheadLog:
    """The commits that are not in the database yet.

    Args:
        header: The header of the database.
        commit_file: The file `commits`.
        fsync: Flush what was written. Without it nothing is compared but the number of commits.
    """

    def __init__(self, header: DatabaseHeader, commit_file: CommitFile, *, fsync: bool) -> None:
        self._database_header = header
        self._database_file = header.path
        self._folder = os.path.dirname(header.path)
        self._fsync = fsync
        self.commit_file = commit_file
        #: Its file.
        self.path = header.path + ".wal"
        #: What `commits` says; None where it says nothing.
        self.noted: LastCommit | None = commit_file.read()
        #: How the log begins, as far as that is known.
        self._start = ANY_LOG
        #: The checksum of the database's header; None while it has to be computed.
        self._header_sum: int | None = None
        #: The log's file as this process has left it, as (device, inode); None while this process has written nothing
        #: to it.
        self.identity: tuple[int, int] | None = None
        if self.noted is not None and self.n_bytes():
            self._start = self.noted.log

    def n_bytes(self) -> int:
        """Return the size of the log; 0 where there is none."""
        try:
            return os.path.getsize(self.path)
        except FileNotFoundError:
            return 0

    def is_lost(self) -> bool:
        """Say whether the log with this process's commits was deleted or replaced. DuckDB still has them in memory."""
        if self.identity is None:
            return False
        try:
            found = os.stat(self.path)
        except OSError:
            return True
        return (found.st_dev, found.st_ino) != self.identity

    def check(self) -> None:
        """Raise `StoreCorruptError` where the log does not belong to the database. Called where there is a log."""
        noted = self.noted
        if noted is None:
            return
        try:
            header = self._database_header.checksum() if noted.header else 0
            log = log_start(self.path, noted.log.n_bytes) if noted.log.n_bytes else noted.log
        except OSError as error:
            raise InternalError(
                f"The database {self._database_file!r} cannot be read: {error}. Nothing is damaged. "
                f"{way_out(error)}, and repeat the call."
            ) from error
        # Of one that was cut the number of commits says more: see `FolderDatabase._check_commits`.
        is_other_log = log == NO_LOG or (log != noted.log and log.n_bytes == noted.log.n_bytes)
        if header != noted.header or is_other_log:
            raise StoreCorruptError(
                f"The database {self._database_file!r} is not the one that its log records.duckdb.wal was written "
                "for: one of them was replaced, or the folder was copied while it was in use; or the log is damaged. "
                "Records would be missing, or there twice. Restore the whole folder from a backup. Without one: copy the "
                f"folder, then move {self.path!r} and {self.commit_file.path!r} out of it. That opens what is "
                "in the database. Nothing was changed."
            )

    def check_database_is_new(self) -> None:
        """Raise `StoreCorruptError` where the database is missing and `commits` says that there was one."""
        if self.noted is not None and self.noted.number:
            raise StoreCorruptError(
                f"The store in {self._folder!r} had {self.noted.number:,} commits, and its database "
                f"{self._database_file!r} is missing. Restore the whole folder from a backup; or delete "
                f"{self.commit_file.path!r} to begin with an empty store. Nothing was changed."
            )

    def expect(self) -> None:
        """Take note that there will be a log, before a commit that begins one."""
        if self.noted is None or self.noted.log == ANY_LOG or self.n_bytes():
            return
        # Before there is one: otherwise the store would be refused after a kill in between.
        self._note(self.noted._replace(log=ANY_LOG))

    def flush(self) -> bool:
        """Flush the log to the disk, where the settings want that; say whether that worked."""
        if self._fsync:
            try:
                flush_file(self.path)
            except FileNotFoundError:
                # A checkpoint has written it into the database, and flushed that.
                return True
            except OSError:
                return False
        return True

    # -- the file `commits` -------------------------------------------------------------------

    def note_commits(self, number: int | None, *, is_committed: bool) -> None:
        """Write the number of commits, without flushing it.

        Args:
            number: The number of the last commit; None where none was counted.
            is_committed: A transaction was committed just now, so that the log begins with a whole commit.
        """
        if number is None:
            return
        if self._header_sum is None:
            # Where it cannot be read, 0 is noted, and the next opening checks no header.
            self._header_sum = 0
            with contextlib.suppress(OSError):
                self._header_sum = self._database_header.checksum()
        self._look_at_log(is_committed=is_committed)
        before, after = self.noted, LastCommit(number, self._header_sum, self._start)
        if not self._fsync:
            after = LastCommit(number)
        if after == before:
            return
        # Flushed when a header is taken out. Otherwise a power cut could bring the old header back after a checkpoint
        # has changed the database's.
        is_cleared = not after.header and bool(before and before.header)
        if self.commit_file.write(after, flush=is_cleared):
            self.noted = after

    def _look_at_log(self, *, is_committed: bool) -> None:
        """Find out how the log begins, where that is not known; it stays so until the next checkpoint.

        Args:
            is_committed: It begins with a whole commit. Of another beginning DuckDB may write over a part.
        """
        if self._start.n_bytes or not self._fsync:
            return
        try:
            if self.n_bytes():
                self._start = log_start(self.path) if is_committed else ANY_LOG
            elif self._start != NO_LOG:
                # Otherwise a power cut could bring back the log that was deleted.
                flush_file(self._folder)
                self._start = NO_LOG
        except OSError:
            # Then nothing is compared.
            self._start = ANY_LOG

    def clear_note(self) -> None:
        """Take the header and the log out of `commits` before a checkpoint, which changes the one and ends the other.

        Raises:
            OSError: The file can be neither written nor deleted.
        """
        self._header_sum, self._start = None, ANY_LOG
        if self.noted is not None:
            self._note(LastCommit(self.noted.number))

    def _note(self, commit: LastCommit) -> None:
        """Write `commits` before something is changed that it speaks of.

        Raises:
            OSError: The file can be neither written nor deleted.
        """
        if commit == self.noted:
            return
        # Flushed, as the change will be. Otherwise the store would be refused after a power cut in between.
        if self.commit_file.write(commit, flush=True):
            self.noted = commit
        else:
            # Without the file, the next opening checks nothing.
            self.commit_file.remove()
            self.noted = None
