"""`run_interruptibly`: work of DuckDB's that Ctrl-C ends at once.

DuckDB looks for a signal only between two pieces of a query, and a piece may be a join of billions of rows.
So a thread of its own does the work, while the caller's waits, takes the interrupt, and passes it on with
DuckDB's own `interrupt`, which every operator heeds. The thread that works is never interrupted by Python,
so it always closes what it has opened.
"""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING, Generic, TypeVar

import duckdb

if TYPE_CHECKING:
    from collections.abc import Callable

_Answer = TypeVar("_Answer")

#: The caller wakes up so often: a signal may have reached another thread, and then nothing wakes it.
_TICK_SECONDS = 0.1
#: How often an interrupt is repeated: one that comes between two statements is forgotten by DuckDB.
_REPEAT_SECONDS = 0.02
#: How long the caller waits for the work to end. A single function call of DuckDB's may last longer; then it
#: ends on its own, and the caller goes on.
_PATIENCE_SECONDS = 2.0


class Work(Generic[_Answer]):
    """One piece of work in a thread.

    Args:
        task: What to do. It is given this object, to attach the cursor that it uses and to look whether it
            should go on.
    """

    def __init__(self, task: Callable[[Work[_Answer]], _Answer]) -> None:
        self._task = task
        self._done = threading.Event()
        #: The caller's thread has let go of this one's `Thread`.
        self._go = threading.Event()
        self._has_begun = False
        #: An interrupt has come.
        self.is_cancelled = False
        self._cursor: duckdb.DuckDBPyConnection | None = None
        self._answer: list[_Answer] = []
        self._error: BaseException | None = None

    def run(self) -> _Answer:
        """Do it, and return or raise what comes of it."""
        try:
            self._start()
            self._go.set()
            while not self._done.wait(_TICK_SECONDS):
                pass
        except BaseException:
            self._cancel()
            raise
        error, self._error = self._error, None
        if error is not None:
            try:
                raise error
            finally:
                # The traceback knows this frame: without this, the two would keep each other.
                del error
        return self._answer[0]

    def _start(self) -> None:
        # Python forgets an interrupt that comes while an object with weak references dies, as a `Thread` is:
        # so it has to die in its own thread, after `_go`, and nobody else may keep it.
        threading.Thread(target=self._run, name="chroma_nb-sql", daemon=True).start()

    def attach(self, cursor: duckdb.DuckDBPyConnection) -> None:
        """Say which cursor an interrupt has to reach, and stop here if one has come."""
        self._cursor = cursor
        self.check()

    def detach(self) -> None:
        """Say that the cursor is about to be closed."""
        self._cursor = None

    def check(self) -> None:
        """Stop here if an interrupt has come."""
        if self.is_cancelled:
            raise KeyboardInterrupt

    def _run(self) -> None:
        self._has_begun = True
        self._go.wait()
        try:
            self.check()
            self._answer.append(self._task(self))
        except BaseException as error:  # whatever it is, the caller gets it
            self._error = error
        finally:
            self._cursor = None
            self._done.set()

    def _cancel(self) -> None:
        self.is_cancelled = True
        self._go.set()
        until = time.monotonic() + _PATIENCE_SECONDS
        while self._has_begun and time.monotonic() < until:
            cursor = self._cursor
            if cursor is not None:
                # It may be closed by now.
                with contextlib.suppress(duckdb.Error):
                    cursor.interrupt()
            if self._done.wait(_REPEAT_SECONDS):
                break


def run_interruptibly(task: Callable[[Work[_Answer]], _Answer]) -> _Answer:
    """Do a task in a thread of its own; an interrupt ends it."""
    return Work(task).run()
