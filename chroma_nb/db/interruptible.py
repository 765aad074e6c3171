"""`run_interruptibly`: runs a query in a thread, so that Ctrl-C ends it.

DuckDB looks for a signal only between two pieces of a query, and a piece may be a join of billions of rows; chDB does not
look at all. So a thread of its own runs the query while the caller waits, takes the interrupt and passes it on with the
`interrupt` of what runs the query. Python never interrupts the thread that runs the query, so it always closes what it
has opened.
"""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

_Answer = TypeVar("_Answer")

#: The caller wakes up so often: nothing else wakes it when a signal has reached another thread. 0.1 s is not
#: felt as a delay. Chosen, not measured.
_TICK_SECONDS = 0.1
#: How often an interrupt is repeated: DuckDB forgets one that comes between two statements. Chosen, not measured.
_REPEAT_SECONDS = 0.02
#: How long the caller waits for the query to end. A single function call of DuckDB's may last longer: then the
#: caller goes on, and the query ends by itself after that call. Chosen, not measured.
_PATIENCE_SECONDS = 2.0


class Interruptible(Protocol):
    """What runs a query: a cursor of DuckDB's, a session of ClickHouse's."""

    def interrupt(self) -> object:
        """End the query that runs, if one does."""


class Work(Generic[_Answer]):
    """One piece of work in a thread.

    Args:
        task: What to do. It is given this object, to attach the cursor that it uses and to look whether it
            should go on.
    """

    def __init__(self, task: Callable[[Work[_Answer]], _Answer]) -> None:
        self._task = task
        self._done = threading.Event()
        #: The caller no longer holds the `Thread` object.
        self._go = threading.Event()
        self._has_begun = False
        #: An interrupt has come.
        self.is_cancelled = False
        self._cursor: Interruptible | None = None
        self._answer: list[_Answer] = []
        self._error: BaseException | None = None

    def run(self) -> _Answer:
        """Run the task, and return its answer or raise its error."""
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
                # The traceback holds this frame: without this, error and frame would keep each other alive.
                del error
        return self._answer[0]

    def _start(self) -> None:
        # Python loses an interrupt that comes while an object with weak references is destroyed, and a `Thread`
        # is such an object. So it has to be destroyed in its own thread, after `_go`; nothing here keeps it.
        threading.Thread(target=self._run, name="chroma_nb-sql", daemon=True).start()

    def attach(self, cursor: Interruptible) -> None:
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
        except BaseException as error:  # the caller raises it
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
                # It may be closed already.
                with contextlib.suppress(Exception):
                    cursor.interrupt()
            if self._done.wait(_REPEAT_SECONDS):
                break


def run_interruptibly(task: Callable[[Work[_Answer]], _Answer]) -> _Answer:
    """Run a task in a thread of its own; an interrupt ends it."""
    return Work(task).run()
