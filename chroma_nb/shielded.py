"""`shielded`: work that no signal must stop half-way; `wait_on`: waiting that one may stop; `finish`: all steps, whatever fails."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

#: The waiting caller wakes up this often: a signal that another thread received does not wake it.
_TICK_SECONDS = 0.1
#: So long a thread may take to begin, seconds. One that finds no memory for it ends without a word.
_START_SECONDS = 10.0


class _Latch(threading.Event):
    """An event that an interrupt of the main thread leaves whole, and that nobody waits for without an end.

    `threading.Event` has a lock of its own. An interrupt in its methods may leave that locked for ever, or have the lock
    given back that was not taken: "RuntimeError: release unlocked lock" in the place of the interrupt.
    """

    def __init__(self) -> None:
        super().__init__()
        self._is_set = False
        #: Locked until it is set. To wait for a lock is one step.
        self._closed = threading.Lock()
        self._closed.acquire()

    def is_set(self) -> bool:
        return self._is_set

    def set(self) -> None:
        if not self._is_set:
            # First, so that who waits does not depend on the next step.
            self._is_set = True
            self._closed.release()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for `timeout` seconds at most; None: `_START_SECONDS`."""
        left = _START_SECONDS if timeout is None else timeout
        while not self._is_set and left > 0:
            if self._closed.acquire(timeout=min(left, _TICK_SECONDS)):
                # For the next one that waits.
                self._closed.release()
            left -= _TICK_SECONDS
        return self._is_set


def _begins(run: Callable[[], None]) -> bool:
    """Start a thread that runs a function, and say whether it has begun.

    The `run` has to wait until this has returned. Python drops an interrupt that comes while it frees an object with
    weak references, such as a `Thread`; one that has not ended is not freed here.
    """
    thread = threading.Thread(target=run, name="chroma_nb shielded")
    # `start` waits for this, for ever where the thread had no memory left to begin.
    thread._started = started = _Latch()  # type: ignore[attr-defined]
    thread.start()
    return started.is_set()


def shielded(work: Callable[[], T]) -> T:
    """Return what `work` returns; a KeyboardInterrupt is raised when it is done, and not before.

    So is whatever else a handler of a signal raises, as deadlines do (`signal.alarm`) and `sys.exit` at SIGTERM.
    Python raises these only in the main thread, between any two of its steps. So the work is done in a thread of its
    own. In any other thread than the main one it is simply called.

    Args:
        work: Something short. After an interrupt its result is lost, so what it opens has to be reachable otherwise.
    """
    if threading.current_thread() is not threading.main_thread():
        return work()
    results: list[T] = []
    errors: list[BaseException] = []
    may_begin, done = _Latch(), _Latch()
    claim = threading.Lock()

    def run() -> None:
        while not may_begin.wait():
            pass
        if not claim.acquire(blocking=False):
            return  # an interrupt between two steps below has started the work twice
        try:
            results.append(work())
        except BaseException as error:
            errors.append(error)
        finally:
            done.set()

    interrupt: BaseException | None = None
    # The inner loop is in the `try`: an interrupt may also come between two of its steps.
    while True:
        try:
            while not done.is_set():
                if may_begin.is_set():
                    done.wait(_TICK_SECONDS)
                    continue
                try:
                    has_begun = _begins(run)
                except (RuntimeError, MemoryError):  # the machine has no thread left
                    has_begun = False
                may_begin.set()
                if not has_begun:
                    run()
            break
        except BaseException as error:
            # What the work raises is in `errors`.
            interrupt = error
    if interrupt is not None:
        try:
            raise interrupt.with_traceback(None)
        finally:
            # Else it would hold this frame, and so what the work was about, until Python looks for cycles.
            del interrupt
    if errors:
        raise errors[0]
    return results[0]


def wait_on(condition: threading.Condition, seconds: float | None = None) -> None:
    """Wait for a condition, whose lock the caller has; it has it afterwards, too, wherever an interrupt comes.

    `Condition.wait` may be interrupted after it has given the lock back and before it would take it again. Then leaving
    the caller's `with` would raise "RuntimeError: cannot release un-acquired lock" in the place of the interrupt.
    """
    try:
        condition.wait(seconds)
    except BaseException:
        if not condition._is_owned():  # type: ignore[attr-defined]
            condition.acquire()
        raise


def finish(*steps: Callable[[], object]) -> None:
    """Call every step, even when earlier ones fail, and raise the first error at the end."""
    first: BaseException | None = None
    for step in steps:
        try:
            step()
        except BaseException as error:
            first = first or error
    if first is not None:
        raise first
