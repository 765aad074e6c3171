"""A cell that is stopped while DuckDB works: the error for it, and what DuckDB before 2.0 leaves behind."""

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
    from collections.abc import Iterator

#: A query that was stopped may leave its database open in this process for ever, and whoever opens the same path again
#: waits for the end of it.
_LEAVES_IT_OPEN = IS_OLD_DUCKDB
#: Set when a cell was stopped in this process.
_STOPPED = threading.Event()
_SPELLINGS = itertools.count(1)


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Raise a KeyboardInterrupt for what it is; DuckDB makes errors of its own of it, in several ways."""
    # What the caller is dealing with already is not ours.
    handled = sys.exc_info()[1]
    try:
        yield
    except KeyboardInterrupt:
        _STOPPED.set()
        raise
    except Exception as error:
        if _was_interrupted(error, handled):
            _STOPPED.set()
            raise KeyboardInterrupt from error
        raise


def _was_interrupted(error: BaseException | None, handled: BaseException | None) -> bool:
    if error is None or error is handled:
        return False
    if isinstance(error, KeyboardInterrupt | duckdb.InterruptException):
        return True
    if "Query interrupted" in str(error) or str(error).startswith("KeyboardInterrupt"):
        return isinstance(error, RuntimeError | duckdb.Error)
    # What fails while an interrupt is dealt with, such as a statement in the transaction that it ended.
    return _was_interrupted(error.__cause__ or error.__context__, handled)


def path_to_open(path: str) -> str:
    """Return a path for DuckDB to open: spelled as never before, where it could wait for what was left open.

    Without an interrupt it stays as it is, so that DuckDB sees who else in this process has it open. What was left open
    never writes: the store makes its checkpoints itself.
    """
    if not (_LEAVES_IT_OPEN and _STOPPED.is_set()):
        return path
    folder, name = os.path.split(path)
    bits = f"{next(_SPELLINGS):b}"
    return folder + "/" + "".join("./" if bit == "1" else "/" for bit in bits) + name
