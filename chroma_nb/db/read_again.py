"""`read_again`: a read that was cut off, as another thread had to have the database reopened, is repeated, at most twice."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Protocol, TypeVar

import duckdb

from chroma_nb.db.interrupted import was_cut_off
from chroma_nb.errors import InternalError

if TYPE_CHECKING:
    from collections.abc import Callable

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")
_Self = TypeVar("_Self", bound="Reopened")


class Reopened(Protocol):
    """A DB that may be reopened while it is read."""

    @property
    def is_closing(self) -> bool:
        """It is being closed: nothing is repeated any more."""

    def wait_for_writer(self) -> None:
        """Wait for a thread that is writing, for a moment: DuckDB is reopened when it is done."""


def is_fatal(error: BaseException) -> bool:
    """Say whether DuckDB answers nothing any more until it is reopened."""
    return isinstance(error, duckdb.FatalException) or "has been invalidated" in str(error)


def read_again(
    read: Callable[Concatenate[_Self, _Arguments], _Result],
) -> Callable[Concatenate[_Self, _Arguments], _Result]:
    """Repeat a method that only reads, at most twice, where a failed write or checkpoint of another thread has ended it.

    Twice, as the other thread may reopen the database while this one begins again.
    """

    @functools.wraps(read)
    def repeated(
        self: _Self, /, *arguments: _Arguments.args, **named: _Arguments.kwargs
    ) -> _Result:
        for _ in range(2):
            try:
                return read(self, *arguments, **named)
            except InternalError as error:
                cause: Any = error.__cause__
                if cause is None or not (is_fatal(cause) or was_cut_off(cause)) or self.is_closing:
                    raise
                self.wait_for_writer()
        return read(self, *arguments, **named)

    return repeated
