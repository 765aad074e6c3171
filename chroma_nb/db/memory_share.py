"""`MemoryShare`: how much memory DuckDB may use, and more of it for as long as a statement needs more.

DuckDB reads 2,048 rows at a time, whatever their size. Its share of the memory is enough for that as long as texts
are short. Where they are long, what it runs out of is taken from what is free on the machine, for the moment.
"""

from __future__ import annotations

import contextlib
import functools
import threading
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Protocol, TypeVar

import duckdb

from chroma_nb.errors import MemoryBudgetError
from chroma_nb.memory.sizes import format_bytes
from chroma_nb.memory.workspace import WORKSPACE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: What is added first; twice as much from time to time.
_FIRST_BYTES = 64 << 20
#: A step has to bring so much more than the one before, or it is not worth another try.
_WORTH_TRYING = 1.25

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")
_Self = TypeVar("_Self", bound="HasMemoryShare")


class OutOfShareError(MemoryBudgetError):
    """DuckDB would need more than its share of the memory."""


class HasMemoryShare(Protocol):
    """A DB with a share of the memory."""

    memory_share: MemoryShare


class MemoryShare:
    """DuckDB's memory limit.

    Args:
        n_bytes: The limit.
        is_fixed: Whoever opened the store has chosen it, and it is not passed.
        cursor: Returns a cursor to set it with.
    """

    def __init__(
        self, n_bytes: int, is_fixed: bool, cursor: Callable[[], duckdb.DuckDBPyConnection]
    ) -> None:
        self.n_bytes = n_bytes
        self.is_fixed = is_fixed
        self._cursor = cursor
        self._lock = threading.Lock()
        self._more = 0
        #: DuckDB's own limit may not be the one that is meant.
        self.is_stale = False

    @property
    def limit(self) -> int:
        """Bytes that DuckDB may use at the moment."""
        return self.n_bytes + self._more

    def apply(self, connection: duckdb.DuckDBPyConnection | None = None) -> None:
        """Have DuckDB keep the limit. It stays stale where what is in use at the moment is more, or nobody is there.

        Args:
            connection: One of this thread's own, which is quicker than a new cursor.
        """
        try:
            cursor = self._cursor() if connection is None else connection
        except duckdb.ConnectionException:
            # It is being opened anew at this moment: the next statement does it.
            self.is_stale = True
            return
        try:
            cursor.execute(f"SET memory_limit = '{self.limit}B'")
            self.is_stale = False
        except (duckdb.OutOfMemoryException, duckdb.ConnectionException, duckdb.FatalException):
            # Where DuckDB has ended, the statement that comes next says so.
            self.is_stale = True
        finally:
            if cursor is not connection:
                cursor.close()

    @contextlib.contextmanager
    def raised(
        self, n_bytes: int, connection: duckdb.DuckDBPyConnection | None = None
    ) -> Iterator[None]:
        """Let DuckDB use so many bytes more.

        Args:
            n_bytes: How many.
            connection: The one that needs them, if nothing of it is in use any more at the end of the block.
        """
        try:
            with self._lock:
                self._more += n_bytes
            self.apply(connection)
            yield
        finally:
            with self._lock:
                self._more -= n_bytes
            # Lowered with the next statement, when nothing of this one is in use any more.
            self.is_stale = True
            if connection is not None:
                with contextlib.suppress(duckdb.Error):
                    self.apply(connection)

    def error(self, more: str = "") -> OutOfShareError:
        """Return the error for what DuckDB has not enough memory for.

        Args:
            more: What else is to be said.
        """
        way = (
            "give it more: Settings(duckdb_memory_limit='1 GB')"
            if self.is_fixed
            else "make room on the machine; or write and ask for longer texts in smaller parts"
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
    """Repeat what DuckDB had too little memory for, with more of it, as long as there is more.

    `work` leaves nothing behind when it raises `OutOfShareError`.
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
        more = _FIRST_BYTES
        while True:
            with _grant(self.memory_share, more) as n_bytes, self.memory_share.raised(n_bytes):
                try:
                    return work(self, *arguments, **named)
                except OutOfShareError:
                    last = n_bytes < more
                    if last:
                        raise
            more = 2 * n_bytes

    return repeated


@contextlib.contextmanager
def _grant(share: MemoryShare, wanted: int) -> Iterator[int]:
    """Hold so many bytes, or what there is of them if that is more than was tried before."""
    what = "What the database reads or writes at once"
    with contextlib.ExitStack() as held:
        try:
            grant = held.enter_context(WORKSPACE.take_all(wanted, what))
        except MemoryBudgetError:
            n_bytes = WORKSPACE.free()
            if n_bytes < max(_FIRST_BYTES // 8, wanted // 2 * _WORTH_TRYING):
                raise share.error() from None
            grant = held.enter_context(WORKSPACE.take_all(n_bytes, what))
        yield grant.n_bytes


def is_out_of_memory(error: BaseException) -> bool:
    """Say whether an error of DuckDB's means that it has too little memory; a commit's has no kind of its own."""
    if isinstance(error, duckdb.OutOfMemoryException):
        return True
    said: Any = str(error)
    return isinstance(error, duckdb.Error) and any(
        sign in said for sign in ("failed to pin block", "failed to allocate", "could not allocate")
    )
