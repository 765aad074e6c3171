"""`Database`: DuckDB in memory, its checkpoints and its share of the memory.

Only these modules make checkpoints, and never DuckDB by itself: one that runs out of memory ends the DuckDB instance,
so its memory is taken first.
"""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING, TypeVar

import duckdb

from chroma_nb.db.duckdb.checkpoint_memory import (
    BLOCK_BYTES,
    CHANGED_BYTES,
    CHECKPOINT_BYTES,
    SAFE_CHECKPOINT_BYTES,
)
from chroma_nb.db.duckdb.connection import limit_text_compression
from chroma_nb.db.duckdb.transactions import Transactions
from chroma_nb.db.interrupted import interruptible
from chroma_nb.db.memory_share import is_out_of_memory
from chroma_nb.db.read_again import is_fatal, read_again
from chroma_nb.errors import MemoryBudgetError
from chroma_nb.memory.workspace import WORKSPACE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

logger = logging.getLogger("chroma_nb")

_Found = TypeVar("_Found")

#: What a checkpoint takes for each table of the store (measured: 1 to 2 kB).
_CATALOGUE_BYTES = 2 << 10
#: What the query for DuckDB's memory use takes itself.
_ASKING_BYTES = 4 << 20
#: Kept free on the disk: what DuckDB's log and checkpoint need beside the rows themselves.
HEADROOM_BYTES = 4 << 20


class Database(Transactions):
    """DuckDB in memory: gone with the process."""

    # -- memory -------------------------------------------------------------------------------

    @property
    def memory_bytes(self) -> int:
        """Bytes of memory that DuckDB says it uses."""
        try:
            return self._ask_memory()
        except MemoryBudgetError:
            pass
        # The query itself takes a little memory, and other statements use all that the limit allows.
        try:
            with self.memory_share.raised(_ASKING_BYTES):
                return self._ask_memory()
        except MemoryBudgetError:
            return self.memory_share.limit

    @read_again
    def _ask_memory(self) -> int:
        with self.reading() as cursor:
            return self._memory_used(cursor)

    def _memory_used(self, connection: duckdb.DuckDBPyConnection) -> int:
        """Return the bytes of memory that DuckDB says it uses."""
        rows = connection.execute(
            "SELECT coalesce(sum(memory_usage_bytes), 0) FROM duckdb_memory()"
        ).fetchall()
        return int(rows[0][0])

    @property
    def working_bytes(self) -> int:
        """Bytes of memory that DuckDB may take for a moment beyond its limit."""
        # A checkpoint writes the entries of all tables, changed or not.
        return _CATALOGUE_BYTES * len(self.cached.entries)

    def set_memory_limit(self, n_bytes: int) -> None:
        """Change DuckDB's memory limit, unless the settings name one."""
        if self.memory_share.is_fixed or n_bytes == self.memory_share.n_bytes:
            return
        self.check_open()
        self.memory_share.n_bytes = n_bytes
        with self._cursor_lock, interruptible():
            # While the database is being reopened this fails: then the next statement sets the limit.
            self.memory_share.is_stale = True
            with contextlib.suppress(duckdb.Error):
                self.memory_share.apply()

    def _free_memory_if_due(self) -> None:
        """Have DuckDB free what it holds of changed tables, where that has become much."""
        # After a checkpoint the rows of a table are in blocks, which DuckDB can move to the temporary folder when it
        # needs the memory.
        is_due = self.checkpoint_memory.changed_bytes > self.checkpoint_memory.changed_limit
        if is_due:
            # A checkpoint is refused while another transaction runs. Then the next try comes a little later.
            self.checkpoint_memory.changed_limit = (
                self.checkpoint_memory.changed_bytes + CHANGED_BYTES // 4
            )
        if is_due or self.checkpoint_memory.holds_much():
            self._free_memory()

    def retry_with_freed_memory(self, change: Callable[[], _Found]) -> _Found:
        """Make a change; where DuckDB has too little memory for it, free some and make it once more."""
        try:
            return change()
        except MemoryBudgetError:
            if not self._free_memory():
                raise
            return change()

    def _free_memory(self) -> bool:
        """Make a checkpoint, so that DuckDB frees what it holds until then; say whether that was done."""
        with self.write_lock, interruptible():
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

    def settle(self) -> None:
        """Free memory: make a checkpoint and drop caches, where that is possible now."""
        # New rows stay uncompressed in memory until a checkpoint, and DuckDB keeps freed blocks until its limit is
        # lowered (measured with 100,000 short documents: 74 MB before, 34 MB after).
        with self.write_lock, interruptible():
            self.reload_if_stale()
            if self.is_closed:
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

    def _free_cache(self) -> None:
        """Have DuckDB give its freed blocks back, by lowering its limit for a moment."""
        self.memory_share.is_stale = True
        # DuckDB refuses a limit below what is in use.
        with contextlib.suppress(duckdb.OutOfMemoryException):
            self.connection.execute("SET memory_limit = '8MB'")
        self.memory_share.apply()

    # -- checkpoints --------------------------------------------------------------------------

    def _should_checkpoint(self) -> bool:
        """Say whether a checkpoint is worth its cost and the disk has room for it; a failed one ends DuckDB's instance."""
        if self.is_closed:
            return False
        # In memory a checkpoint gives the rows of each table a block of their own: for many small tables that is more
        # memory than before.
        return self.memory_bytes > BLOCK_BYTES * len(self.cached.entries)

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
        self.connection.execute("CHECKPOINT")
        self.checkpoint_memory.written()

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
        logger.log(
            level, "A checkpoint of %s failed, and its database is reopened: %s", self.name, said
        )

    @contextlib.contextmanager
    def _memory_for_checkpoint(self, *, force: bool = False) -> Iterator[int]:
        """Hold all memory that a checkpoint may take; yield its bytes.

        A checkpoint that runs out of memory ends the DuckDB instance, and with it all records of a store in memory.

        Args:
            force: Where not all of it is free, hold what there is.

        Raises:
            MemoryBudgetError: It is not free, and `force` is False.
        """
        need, compression = (
            self.checkpoint_memory.n_bytes(),
            self.checkpoint_memory.compression_bytes(),
        )
        grant = self.checkpoint_memory.grant(need + compression)
        if grant is None and compression:
            # Do without compression: the texts take more of the disk.
            compression = 0
            grant = self.checkpoint_memory.grant(need)
        if grant is None and self.checkpoint_memory.measure_chunks(self.connection):
            need = self.checkpoint_memory.n_bytes()
            grant = self.checkpoint_memory.grant(need)
        if grant is None and force:
            grant = WORKSPACE.take(need)
        if grant is None:
            raise self.memory_error()
        with grant:
            # In memory the limit is raised by all of it, even one that the settings name: other statements may use
            # the whole limit at the moment.
            more = max(grant.n_bytes, 0 if self.persists else SAFE_CHECKPOINT_BYTES)
            # In a folder a quarter is left to the system, which caches what is written until it is on the disk.
            # DuckDB would use that quarter if its limit allowed it.
            spare = (need - CHECKPOINT_BYTES) // 4 if self.persists else 0
            more = max(0, more - spare)
            compressed = bool(compression) or not self.persists
            with self.memory_share.raised(more), self._compressing(compressed):
                yield need + compression - spare

    @contextlib.contextmanager
    def _compressing(self, texts: bool) -> Iterator[None]:
        """Until the end of the block, let DuckDB compress texts or not."""
        if texts:
            yield
            return
        with contextlib.closing(self.connection.cursor()) as cursor:
            limit_text_compression(cursor, uncompressed=True)
        try:
            yield
        finally:
            # This fails where DuckDB has ended; a reopened one has its defaults again.
            with (
                contextlib.suppress(duckdb.Error),
                contextlib.closing(self.connection.cursor()) as cursor,
            ):
                limit_text_compression(cursor)

    # -- space and the end --------------------------------------------------------------------

    def space_folder(self) -> str:
        """Return a folder on the disk that vectors are written to."""
        return self._temp.path

    def space_for_log(self, n_bytes: int, free: int) -> int:
        """Return how many bytes of the disk must stay free for the checkpoint that comes later.

        Args:
            n_bytes: Bytes that will be written to the log.
            free: Bytes that are free beside these.
        """
        return HEADROOM_BYTES

    def close_connection(self) -> None:
        """Make a last checkpoint, where that is possible, and close DuckDB."""
        with contextlib.suppress(duckdb.Error, OSError, MemoryBudgetError):
            # No checkpoint while there are readers: it would wait for them. The log is read at the next opening.
            is_sound = not (self._is_stale or self._is_broken or self.is_abandoned)
            if is_sound and not self._busy_cursors and self._should_checkpoint():
                self._checkpoint()
        # A query that ignores its interrupt keeps the database open until it ends.
        with contextlib.suppress(duckdb.Error):
            self.connection.close()
