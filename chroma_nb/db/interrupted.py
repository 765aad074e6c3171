"""Interrupts (Ctrl-C, a stopped cell) while DuckDB works: the right exception, and a fault of DuckDB before 2.0."""

from __future__ import annotations

import contextlib
import itertools
import os
import sys
import threading
from typing import TYPE_CHECKING

import duckdb

from chroma_nb.db._versions import IS_OLD_DUCKDB

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

#: Before 2.0 an interrupted query may keep its database open in this process for ever, and opening the same path again
#: would wait for it.
_LEAVES_IT_OPEN = IS_OLD_DUCKDB
#: Set once a statement was interrupted in this process.
_INTERRUPTED = threading.Event()
_SPELLINGS = itertools.count(1)


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Raise KeyboardInterrupt where an interrupt came; DuckDB turns it into errors of its own, in several ways."""
    # An exception that the caller is handling already is no interrupt of this block.
    handled = sys.exc_info()[1]
    try:
        yield
    except KeyboardInterrupt:
        _INTERRUPTED.set()
        raise
    except Exception as error:
        if _was_interrupted(error, handled):
            _INTERRUPTED.set()
            raise KeyboardInterrupt from error
        raise


def _was_interrupted(error: BaseException | None, handled: BaseException | None) -> bool:
    if error is None or error is handled:
        return False
    if isinstance(error, KeyboardInterrupt | duckdb.InterruptException):
        return True
    if "Query interrupted" in str(error) or str(error).startswith("KeyboardInterrupt"):
        return isinstance(error, RuntimeError | duckdb.Error)
    # An error that came while an interrupt was handled, such as of a statement in the transaction that it ended.
    return _was_interrupted(error.__cause__ or error.__context__, handled)


def interrupt(cursors: Iterable[duckdb.DuckDBPyConnection]) -> None:
    """Interrupt what these cursors are doing at this moment; one that was closed meanwhile does nothing."""
    for cursor in list(cursors):
        with contextlib.suppress(duckdb.Error):
            cursor.interrupt()


def was_cut_off(error: BaseException) -> bool:
    """Say whether an error of DuckDB's means that another thread has closed or interrupted the cursor."""
    return isinstance(
        error, duckdb.InterruptException | duckdb.ConnectionException
    ) or "No open result set" in str(error)


def path_to_open(path: str, *, is_open: bool) -> str:
    """Return a path for DuckDB to open: spelled as never before, where it could wait for what was left open.

    DuckDB 1.3 holds the GIL while it waits for an earlier instance of the same path to end, so no thread of this process
    can close that instance. In all other cases the path is unchanged, so that DuckDB refuses a file that this process has
    open in another way. An instance that was left open never writes, as only the store makes checkpoints.

    Args:
        path: The database's path, absolute.
        is_open: This store had it open until now.
    """
    if not (_LEAVES_IT_OPEN and (is_open or _INTERRUPTED.is_set())):
        return path
    folder, name = os.path.split(path)
    bits = f"{next(_SPELLINGS):b}"
    return folder + "/" + "".join("./" if bit == "1" else "/" for bit in bits) + name
