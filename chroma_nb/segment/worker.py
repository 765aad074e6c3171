"""`Worker`: one thread that works off requests when their time has come, and goes when idle."""

from __future__ import annotations

import contextlib
import heapq
import itertools
import logging
import threading
import time
import weakref
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

logger = logging.getLogger("chroma_nb")

#: The thread ends after this long without anything to wait for; the next request starts another.
_IDLE_SECONDS = 2.0
#: Asking again and again moves the work back to this many delays after the first time, and no further: else
#: it would never be done where somebody asks all the time.
_MOST_DELAYS = 20
#: The thread looks again after this many seconds, whatever it waits for: a system has a longest wait (on Linux some
#: hundred years of seconds), and a TTL may be longer.
_LONGEST_WAIT = 3_600.0
#: The heap is made anew when it has more moments than twice those that are waited for, and this many.
_MOST_OUTDATED = 64
#: What is to be done later than this is never done. It keeps sums of times finite.
_LONGEST_DELAY = 1e12


class Worker:
    """Runs `work(collection_id)` in the background, one at a time.

    Between two pieces of work the thread holds nothing but weak references: an owner that is garbage
    collected takes its worker and the thread along.

    Args:
        name: Of the thread, after ``chroma_nb-``.
        work: A bound method, held weakly. Its errors are logged; they harm nobody, as what it works on
            is derived.
    """

    def __init__(self, name: str, work: Callable[[UUID], None]) -> None:
        self._name = f"chroma_nb-{name}"
        self._work = weakref.WeakMethod(work)
        #: Taken by itself, as an interrupt may come in the middle of the condition's own `__enter__`, and leave it.
        self._lock = threading.RLock()
        self._condition = threading.Condition(self._lock)
        #: Collection -> the moment (monotonic) from which its work may start.
        self._due: dict[UUID, float] = {}
        #: The same as a heap, in which some moments do not stand any more: the first one is found at once,
        #: however many collections wait.
        self._heap: list[tuple[float, int, UUID]] = []
        self._requests = itertools.count()
        #: Collection -> when it was first asked for.
        self._asked: dict[UUID, float] = {}
        self._thread: threading.Thread | None = None
        self._closed = False
        self._idle_since = 0.0
        weakref.finalize(self, _wake, self._lock, self._condition).atexit = False

    def request(self, collection_id: UUID, delay_seconds: float) -> None:
        """Ask for work on a collection; asking again before it starts moves it back, for a while."""
        with self._lock:
            if self._closed:
                return
            now = time.monotonic()
            delay_seconds = float(min(delay_seconds, _LONGEST_DELAY))
            first = self._asked.setdefault(collection_id, now)
            due = min(now, first + _MOST_DELAYS * delay_seconds) + delay_seconds
            # First into the heap: there one is passed over that was not asked for, after an interrupt.
            heapq.heappush(self._heap, (due, next(self._requests), collection_id))
            self._due[collection_id] = due
            if len(self._heap) > 2 * len(self._due) + _MOST_OUTDATED:
                self._heap = [(at, next(self._requests), key) for key, at in self._due.items()]
                heapq.heapify(self._heap)
            # A thread that could not be started, or that a fork left behind, is not waited for.
            if self._thread is None or not self._thread.is_alive():
                self._start()
            if self._heap[0][2] == collection_id:
                # Else it wakes up sooner than that anyway.
                self._condition.notify_all()

    def _first(self) -> tuple[float, UUID] | None:
        """Return what is due first, and when; the condition is held."""
        while self._heap:
            due, _, collection_id = self._heap[0]
            if self._due.get(collection_id) == due:
                return due, collection_id
            heapq.heappop(self._heap)
        return None

    def _start(self) -> None:
        """Start the thread; the condition is held."""
        self._idle_since = time.monotonic()
        self._thread = threading.Thread(
            target=_run,
            args=(weakref.ref(self), self._lock, self._condition),
            name=self._name,
            daemon=True,
        )
        try:
            self._thread.start()
        except RuntimeError as error:
            # What was asked for waits for the next request. Whoever asks has written its records already, and
            # what is missing are a graph, a compaction or an unload.
            self._thread = None
            logger.warning(
                "%s: %s. The next call tries again. Does this process have as many threads as it may (ulimit -u, "
                "or the container's limit of pids)?",
                *(self._name, error),
            )

    def step(self) -> bool:
        """Do one piece of work that is due, if there is one; say whether to go on. For the thread."""
        with self._lock:
            now = time.monotonic()
            if self._closed or (not self._due and now - self._idle_since > _IDLE_SECONDS):
                self._thread = None
                return False
            found = self._first()
            if found is None or found[0] > now:
                return True
            first = found[1]
            del self._due[first]
            self._asked.pop(first, None)
        work = self._work()
        if work is None:
            return False
        try:
            work(first)
        except Exception:
            if not self._closed:
                logger.exception("%s failed for collection %s", self._name, first)
        except KeyboardInterrupt as error:
            # Ctrl-C is the main thread's. Here DuckDB has cut a statement off, as it does when the process ends.
            logger.debug("%s was cut off at collection %s: %s", self._name, first, error.__cause__)
        self._idle_since = time.monotonic()
        return True

    def pause(self) -> float:
        """Return the seconds until something is due; the condition is held. For the thread."""
        if self._closed:
            return 0.0
        found = self._first()
        until = self._idle_since + _IDLE_SECONDS + 0.01 if found is None else found[0]
        return min(max(0.0, until - time.monotonic()), _LONGEST_WAIT)

    def thread_ends(self) -> None:
        """Let the next request start another thread. For the thread, as the last thing it does."""
        with self._lock:
            if self._thread is threading.current_thread():
                self._thread = None

    def close(self) -> None:
        """Drop what waits, and wait for what is being done."""
        with self._lock:
            self._closed = True
            self._due.clear()
            self._asked.clear()
            self._heap.clear()
            thread = self._thread
            self._condition.notify_all()
        if thread is not None and thread is not threading.current_thread():
            with contextlib.suppress(RuntimeError):
                thread.join()


def _run(
    reference: weakref.ref[Worker], lock: threading.RLock, condition: threading.Condition
) -> None:
    try:
        _step_until_idle(reference, lock, condition)
    finally:
        # A thread that ends by an error counts as alive until Python has taken it down: a request made
        # meanwhile would wait for it.
        worker = reference()
        if worker is not None:
            worker.thread_ends()


def _step_until_idle(
    reference: weakref.ref[Worker], lock: threading.RLock, condition: threading.Condition
) -> None:
    while True:
        worker = reference()
        if worker is None or not worker.step():
            return
        with lock:
            pause = worker.pause()
            del worker
            # It may have been the last to hold the worker.
            if pause and reference() is not None:
                condition.wait(pause)


def _wake(lock: threading.RLock, condition: threading.Condition) -> None:
    with lock:
        condition.notify_all()
