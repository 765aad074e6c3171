"""`Transactions`: writes to DuckDB, one after the other, each all or nothing.

DuckDB's COMMIT is the commit point. The catalogue has a copy in memory, which may be out of date after an interrupt or
a failure; then it is read again before the next access.
"""

from __future__ import annotations

import contextlib
from abc import abstractmethod
from typing import TYPE_CHECKING

import duckdb

from chroma_nb.db.duckdb.connection import DuckDBConnection
from chroma_nb.db.duckdb.inserts import ROWS_VIEW
from chroma_nb.db.duckdb.schema import (
    CHECKSUM_FORMAT,
    LATER_COLUMNS,
    NEW_STORE_FORMAT,
    PADDED_FORMAT,
    READABLE,
    add_checksum_tables,
    create_schema,
    write_format,
)
from chroma_nb.db.interrupted import interruptible
from chroma_nb.db.memory_share import is_out_of_memory
from chroma_nb.db.read_again import is_fatal
from chroma_nb.errors import (
    InternalError,
    MemoryBudgetError,
    NotFoundError,
    StoreCorruptError,
    VersionMismatchError,
)
from chroma_nb.memory.workspace import WORKSPACE
from chroma_nb.system_errors import is_too_many_files
from chroma_nb.words import brief

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from uuid import UUID

    from chroma_nb.db.duckdb.cached_catalogue import CachedCatalogue, CatalogueEntry
    from chroma_nb.db.memory_share import MemoryShare
    from chroma_nb.db.temp_folder import TempFolder
    from chroma_nb.settings import Settings

#: Memory that DuckDB takes at most for each row that a statement deletes, bytes. Measured with 2.0.1: a million labels of as many
#: rows need less than 16 MB in all.
_DELETED_BYTES = 16


class Transactions(DuckDBConnection):
    """Writes, and keeps the catalogue in memory up to date with what DuckDB has.

    Args:
        settings: See `DuckDBConnection`; so are `name`, `cached`, `share` and `temp`.
    """

    #: Reads the catalogue from DuckDB into `cached`. `StoredCatalogue` sets it, before anything is opened.
    read_catalogue: Callable[[], None]

    def __init__(
        self,
        settings: Settings,
        name: str,
        cached: CachedCatalogue,
        share: MemoryShare,
        temp: TempFolder,
    ) -> None:
        super().__init__(settings, name, cached, share, temp)
        #: Which format the store is in; compare it with the constants of `schema`.
        self.format = NEW_STORE_FORMAT
        #: The number of the last commit; None where none was counted yet, as by an older chroma_nb.
        self._commits: int | None = None
        #: True while the holder of the write lock has a transaction, its rollback included.
        self._is_writing = False
        #: Holds the memory for a COMMIT to the end of the transaction; None where it was taken.
        self._commit_memory: contextlib.ExitStack | None = None
        #: True while the holder of the write lock reloads the catalogue.
        self._is_reloading = False

    # -- opening ------------------------------------------------------------------------------

    def open(self) -> None:
        """Open the database and read its catalogue; tables that are missing are made."""
        with interruptible():
            self.connection = self._connect()
            try:
                self._open_schema()
            except BaseException:
                self.connection.close()
                raise

    def _open_schema(self) -> None:
        """Make the tables or columns that are missing, check the format, and read the catalogue."""
        tables = self.connection.execute(
            "SELECT count(*) FROM duckdb_tables() WHERE table_name = 'meta'"
        ).fetchall()
        if not tables[0][0]:
            with self.transaction() as con:
                create_schema(con)
        self._read_meta()
        columns = self.connection.execute(
            "SELECT column_name FROM duckdb_columns() WHERE table_name = 'collections'"
        ).fetchall()
        missing = LATER_COLUMNS.keys() - {name for (name,) in columns}
        if missing:
            with self.transaction() as con:
                for name in sorted(missing):
                    con.execute(f"ALTER TABLE collections ADD COLUMN {name} {LATER_COLUMNS[name]}")
        self.load_catalogue()

    def load_catalogue(self) -> None:
        """Read the catalogue from DuckDB into memory."""
        self.read_catalogue()

    def _reload_catalogue(self) -> None:
        """Read the catalogue from DuckDB again; it may have more or less than the one in memory."""
        self._read_meta()
        self.load_catalogue()

    def _read_meta(self) -> None:
        """Read the format and the number of commits, and check both.

        Raises:
            VersionMismatchError: The format is not one of `READABLE`.
            StoreCorruptError: An acknowledged commit is missing.
        """
        self._check_version()
        self._commits = self._read_commit_number()
        self._check_commits()

    def _read_commit_number(self) -> int | None:
        """Return the number of the last commit that DuckDB has; None where none was counted."""
        rows = self.connection.execute("SELECT value FROM meta WHERE key = 'commits'").fetchall()
        try:
            return int(rows[0][0]) if rows else None
        except (ValueError, TypeError) as error:
            raise StoreCorruptError(
                f"The database of {self.name} does not say how many commits it has ({brief(rows[0][0])!r}). Restore the "
                "store from a backup."
            ) from error

    def _check_version(self) -> None:
        """Raise `VersionMismatchError` where the format is not one of `READABLE`."""
        rows = self.connection.execute(
            "SELECT value FROM meta WHERE key = 'format_version'"
        ).fetchall()
        found = rows[0][0] if rows else "unknown"
        if found in READABLE:
            self.format = int(found)
        else:
            raise VersionMismatchError(
                f"{self.name} is in format {found}, this chroma-nb reads formats up to {READABLE[-1]}. "
                "Open it with the version that wrote it, export its collections "
                "(collection.export), and import them here; nothing was changed."
            )

    @property
    def has_checksums(self) -> bool:
        """Whether the store's format has checksums of vectors."""
        return self.format >= CHECKSUM_FORMAT

    def add_checksums(self) -> None:
        """Turn a store of format 1 into one that has checksums of vectors; an older chroma_nb then refuses it."""
        if self.has_checksums or not self.persists:
            return
        with self.transaction() as con:
            add_checksum_tables(con)
        self.format = CHECKSUM_FORMAT

    def allow_padding(self) -> None:
        """Turn a store into the format in which tables may have padding; an older chroma_nb then refuses it."""
        self.add_checksums()
        if self.format < PADDED_FORMAT:
            with self.transaction() as con:
                write_format(con, PADDED_FORMAT)
            self.format = PADDED_FORMAT

    @property
    def is_at_work(self) -> bool:
        return self._is_writing or super().is_at_work

    # -- the catalogue in memory --------------------------------------------------------------

    def entry(self, collection_id: UUID) -> CatalogueEntry:
        """Return the entry of a collection; `NotFoundError` if there is none."""
        self.reload_if_stale()
        entry = self.cached.entries.get(collection_id)
        if entry is None:
            self.check_open()
            self.cached.check_not_damaged(collection_id=collection_id)
            raise NotFoundError(f"Collection [{collection_id}] does not exist.")
        return entry

    def reload_if_stale(self) -> None:
        """Read the catalogue from DuckDB again if a write was not finished, unless one is under way."""
        if not self._is_stale or self.is_closed or not self.write_lock.acquire(blocking=False):
            return
        try:
            # This thread may be here already: reloading reads checksums of vectors, and a transaction may unload
            # collections of this store to get memory for its checkpoint. Both end up here again.
            if self._is_stale and not self._is_reloading and not self._is_writing:
                self.check_not_replaced()
                self._is_reloading = True
                try:
                    with interruptible():
                        if (still_open := self._undo(failed=False)) is not None:
                            # Nothing can be read in that transaction. The next access tries again.
                            raise still_open
                        # A write may have failed because other threads use all of DuckDB's memory.
                        with self.memory_share.raised(WORKSPACE.headroom, self.connection):
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
            self.write_lock.release()

    # -- changes ------------------------------------------------------------------------------

    @contextlib.contextmanager
    def changing(self) -> Iterator[None]:
        """Hold the write lock until a change is in DuckDB and in the catalogue in memory.

        An interrupt may come between the two. Then, and when DuckDB fails, the next access reads the
        catalogue again.

        Raises:
            InternalError: The disk is full or has failed; nothing was changed.
            MemoryBudgetError: DuckDB has too little memory for it; nothing was changed.
        """
        with self.write_lock:
            self.check_not_replaced()
            self.reload_if_stale()
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

    @contextlib.contextmanager
    def small_transaction(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """Hold a `transaction` whose statements change a few rows, with the memory for them."""
        with self.transaction() as connection:
            self.begin_commit()
            yield connection

    @contextlib.contextmanager
    def transaction(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """Hold the write lock and one transaction; when the body raises, the transaction is rolled back.

        Use it within `changing`.
        """
        with self.write_lock, interruptible():
            self.check_open()
            self._is_stale = True
            connection = self.connection
            try:
                self._is_writing = True
                yield from self._transact(connection)
            finally:
                self._is_writing = False

    def _transact(
        self, connection: duckdb.DuckDBPyConnection
    ) -> Iterator[duckdb.DuckDBPyConnection]:
        """Begin a transaction, yield, and commit; the caller holds the write lock."""
        is_written, number = False, None
        try:
            if self.memory_share.is_stale:
                self.memory_share.apply()
            self._checkpoint_found_log(connection)
            self._expect_log()
            connection.execute("BEGIN TRANSACTION")
            with contextlib.ExitStack() as self._commit_memory:
                yield connection
                number = self._number_commit(connection)
                is_written = True
                self.begin_commit()
                self._commit(connection)
        except BaseException as error:
            failed = isinstance(error, duckdb.Error)
            if not (failed and is_written):
                self._undo(failed=failed)
                raise
            if not self._survived_failed_commit(error, number):
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

    @contextlib.contextmanager
    def enough_memory(self, n_deleted: int) -> Iterator[None]:
        """Raise DuckDB's limit for a DELETE of a store in memory, which must not run out of memory.

        After that the rows that it had marked can be neither deleted nor changed any more, also after a ROLLBACK ("Conflict
        on tuple deletion", DuckDB 2.0.1). A store in a folder is reopened instead.

        Args:
            n_deleted: How many rows are deleted.
        """
        if self.persists:
            yield
            return
        # The headroom is granted to no other work.
        with self.memory_share.raised(WORKSPACE.headroom + _DELETED_BYTES * n_deleted):
            yield
        self.memory_share.apply()

    def begin_commit(self) -> None:
        """Raise DuckDB's limit to the end of the transaction, for a few small statements and the COMMIT.

        A COMMIT of a store in memory must not run out of memory, either. After that DuckDB either ends (2.0.1: "Failed to
        flush table"), and with it all records of the store, or it goes on and appends rolled-back texts to later ones
        (1.3.2).
        """
        memory, self._commit_memory = self._commit_memory, None
        if memory is not None and not self.persists:
            memory.enter_context(
                self.memory_share.raised(WORKSPACE.headroom, self.connection, in_transaction=True)
            )

    @staticmethod
    def _commit(connection: duckdb.DuckDBPyConnection) -> None:
        connection.execute("COMMIT")

    def _undo(self, *, failed: bool) -> duckdb.Error | None:
        """Roll a transaction back.

        Args:
            failed: DuckDB itself has failed, so its state is not trusted: it is reopened as well.

        Returns:
            Why the transaction is still open, as its ROLLBACK ran out of memory; None where it is not.
        """
        self._is_broken = self._is_broken or failed
        # A ROLLBACK that runs out of memory would leave the transaction open. The limit is set through another cursor, as a
        # failed transaction refuses that. Where COMMIT itself failed, there may be no transaction any more.
        still_open: duckdb.Error | None = None
        with contextlib.suppress(duckdb.Error), self.memory_share.raised(WORKSPACE.headroom):
            try:
                self.connection.execute("ROLLBACK")
            except duckdb.Error as error:
                if is_out_of_memory(error):
                    still_open = error
        with contextlib.suppress(duckdb.Error):
            self.connection.unregister(ROWS_VIEW)
        if self._is_broken:
            self._reopen_after_failure()
            self._is_broken = False
            return None
        return still_open

    def _survived_failed_commit(self, error: BaseException, number: int | None) -> bool:
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
        before = self.cached.comparable()
        try:
            self._undo(failed=True)
            with self.memory_share.raised(WORKSPACE.headroom, self.connection):
                if is_out_of_memory(error):
                    # Reopening has read the log into DuckDB's memory. A checkpoint frees that.
                    with contextlib.suppress(duckdb.Error, OSError, MemoryBudgetError):
                        self._checkpoint_found_log(self.connection, force=False)
                self._reload_catalogue()
        except (InternalError, MemoryBudgetError, duckdb.Error) as reason:
            if not self.persists and is_fatal(reason):
                raise self._fatal(reason) from error
            needs = "the disk works"
            if is_out_of_memory(error):
                needs = "there is memory"
            elif is_too_many_files(error):
                needs = "fewer files are open"
            raise InternalError(
                f"Writing to {self.name} failed: {error}. Whether it was written is not known yet: read the "
                f"records again when {needs}. It is there as a whole or not at all. {reason}"
            ) from error
        if number is not None and self._commits == number:
            if is_out_of_memory(error) and self._flush_log():
                # It was in the log already when memory ran out.
                return True
            raise InternalError(
                f"Writing to {self.name} failed: {error}. Everything was written, but may be lost in a power cut. "
                "Repeat the call."
            ) from error
        if number is None and self.cached.comparable() != before:
            raise InternalError(
                f"Writing to {self.name} failed: {error}. All of this call is there all the same, and nothing has to be "
                "repeated."
            ) from error
        return False

    # -- what subclasses add ------------------------------------------------------------------

    @abstractmethod
    def _free_memory_if_due(self) -> None:
        """Have DuckDB free what it holds, where that has become much."""

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

    def check_not_replaced(self) -> None:
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
