"""`MemoryShare`: DuckDB's memory limit, which is raised while a statement needs more.

DuckDB reads 2,048 rows at a time, whatever their size. Its limit is enough for that while texts are short. A
statement that runs out of memory because they are long is repeated under a higher limit, with memory of the
`Workspace`.
"""

from __future__ import annotations

import contextlib
import functools
import threading
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Protocol, TypeVar

import duckdb

from chroma_nb.errors import MemoryBudgetError
from chroma_nb.memory.preflight import MAKE_ROOM
from chroma_nb.memory.sizes import format_bytes
from chroma_nb.memory.workspace import WORKSPACE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: Added to the limit for the first repetition; doubled for each one after it.
_FIRST_BYTES = 64 << 20
#: Another repetition is tried only with at least this many times the additional memory of the one before.
_WORTH_TRYING = 1.25

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")
_Self = TypeVar("_Self", bound="HasMemoryShare")


class OutOfShareError(MemoryBudgetError):
    """DuckDB would need more memory than its limit."""


class HasMemoryShare(Protocol):
    """A DB with a `MemoryShare`."""

    memory_share: MemoryShare


class MemoryShare:
    """DuckDB's memory limit.

    Args:
        n_bytes: The limit, bytes.
        is_fixed: It was chosen when the store was opened (`Settings.duckdb_memory_limit`), and is never raised.
        cursor: Returns a new cursor, by which the limit is set.
    """

    def __init__(
        self, n_bytes: int, is_fixed: bool, cursor: Callable[[], duckdb.DuckDBPyConnection]
    ) -> None:
        self.n_bytes = n_bytes
        self.is_fixed = is_fixed
        self._cursor = cursor
        # These two again by the same thread: a signal handler may read in the middle of a read.
        self._lock = threading.RLock()
        #: Held from the moment a limit is looked up until DuckDB has it: an older, lower one would end the statement for
        #: which it was just raised.
        self._setting = threading.RLock()
        #: Bytes that the last repeated statement needed beside the limit: the next one is likely to need as much.
        self.last_more = 0
        #: Bytes by which the limit is raised at the moment, by all threads together.
        self._more = 0
        #: DuckDB may still have another limit than `limit`: the next statement has to call `apply`.
        self.is_stale = False

    @property
    def limit(self) -> int:
        """Bytes that DuckDB may use at the moment."""
        return self.n_bytes + self._more

    def apply(self, connection: duckdb.DuckDBPyConnection | None = None) -> None:
        """Set DuckDB's limit. It stays stale where DuckDB is using more at the moment, or is being reopened.

        Args:
            connection: A connection of this thread, which is faster than a new cursor. Not one that is in a transaction: where
                DuckDB uses more than the limit at the moment, setting it aborts that.
        """
        try:
            cursor = self._cursor() if connection is None else connection
        except duckdb.ConnectionException:
            # DuckDB is being reopened at this moment: the next statement sets the limit.
            self.is_stale = True
            return
        try:
            with self._setting:
                # Before the limit is looked up: another thread may change it from here on.
                self.is_stale = False
                cursor.execute(f"SET memory_limit = '{self.limit}B'")
        except (duckdb.OutOfMemoryException, duckdb.ConnectionException, duckdb.FatalException):
            # DuckDB uses more at the moment, or has ended: the next statement sets the limit, or raises.
            self.is_stale = True
        finally:
            if cursor is not connection:
                cursor.close()

    @contextlib.contextmanager
    def raised(
        self,
        n_bytes: int,
        connection: duckdb.DuckDBPyConnection | None = None,
        *,
        in_transaction: bool = False,
    ) -> Iterator[None]:
        """Let DuckDB use `n_bytes` bytes more until the end of the block.

        Args:
            n_bytes: How many.
            connection: The connection that needs them, if it has no open result at the end of the block: then the
                limit is lowered at once.
            in_transaction: The connection is in a transaction that ends within the block.
        """
        try:
            with self._lock:
                self._more += n_bytes
            self.apply(None if in_transaction else connection)
            yield
        finally:
            with self._lock:
                self._more -= n_bytes
            # Otherwise the next statement lowers it, when the memory of this one is free again.
            self.is_stale = True
            if connection is not None:
                with contextlib.suppress(duckdb.Error):
                    self.apply(connection)

    def error(self, more: str = "") -> OutOfShareError:
        """Return the error for a statement that DuckDB has too little memory for.

        Args:
            more: Text to add at the end.
        """
        way = (
            "give it more: Settings(duckdb_memory_limit='1 GB')"
            if self.is_fixed
            else f"ask for fewer records at once, or write fewer at once; or {MAKE_ROOM}"
        )
        return OutOfShareError(
            f"The database would need more than {format_bytes(self.limit)} of memory for this; nothing was "
            f"changed. Ways out: {way}.{more}",
            need=2 * self.limit,
            free=self.limit,
        )


def with_more_memory(
    work: Callable[Concatenate[_Self, _Arguments], _Result],
) -> Callable[Concatenate[_Self, _Arguments], _Result]:
    """Repeat a method that DuckDB had too little memory for, each time with more memory, as long as more is free.

    The method must change nothing when it raises `OutOfShareError`.
    """

    @functools.wraps(work)
    def repeated(
        self: _Self, /, *arguments: _Arguments.args, **named: _Arguments.kwargs
    ) -> _Result:
        try:
            return work(self, *arguments, **named)
        except OutOfShareError:
            if self.memory_share.is_fixed:
                raise
        try:
            return with_more(self, *arguments, **named)
        except MemoryBudgetError:
            # DuckDB keeps what it has allocated until its limit is set again. Other work may need it now.
            self.memory_share.apply()
            raise

    def with_more(
        self: _Self, /, *arguments: _Arguments.args, **named: _Arguments.kwargs
    ) -> _Result:
        tried, more = 0, _FIRST_BYTES
        if more < self.memory_share.last_more <= WORKSPACE.free():
            # Only where it is free already: no collection is unloaded for a guess.
            more = self.memory_share.last_more
        while True:
            # DuckDB keeps what it has allocated until its limit is set again, and that would not count as free.
            self.memory_share.apply()
            with (
                _grant(self.memory_share, more, tried) as n_bytes,
                self.memory_share.raised(n_bytes),
            ):
                try:
                    result = work(self, *arguments, **named)
                    self.memory_share.last_more = n_bytes
                    return result
                except OutOfShareError:
                    if n_bytes < more:
                        raise
            tried, more = n_bytes, 2 * n_bytes

    return repeated


@contextlib.contextmanager
def _grant(share: MemoryShare, wanted: int, tried: int) -> Iterator[int]:
    """Hold memory and yield its bytes: `wanted`, or all that is free if that is enough more than was tried before.

    Args:
        share: Whose limit is going to be raised.
        wanted: Bytes.
        tried: Bytes that were not enough; 0 the first time.

    Raises:
        OutOfShareError: Too little is free.
    """
    what = "What the database reads or writes at once"
    least = max(_FIRST_BYTES // 8, int(tried * _WORTH_TRYING))
    with contextlib.ExitStack() as held:
        try:
            grant = held.enter_context(WORKSPACE.take_all(wanted, what))
        except MemoryBudgetError:
            n_bytes = max(least, WORKSPACE.free())
            try:
                # Another thread may hold it, and give it back soon.
                grant = held.enter_context(WORKSPACE.take_all(n_bytes, what))
            except MemoryBudgetError:
                raise share.error() from None
        yield grant.n_bytes


def is_out_of_memory(error: BaseException) -> bool:
    """Say whether an error of DuckDB's means that it has too little memory. For a COMMIT only its text says so."""
    if isinstance(error, duckdb.OutOfMemoryException):
        return True
    said: Any = str(error)
    return isinstance(error, duckdb.Error) and any(
        sign in said for sign in ("failed to pin block", "failed to allocate", "could not allocate")
    )
