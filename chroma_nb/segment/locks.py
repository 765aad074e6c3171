"""`RWLock` and `Mutex`: locks that a stopped cell does not leave behind.

A ``KeyboardInterrupt`` arrives between any two steps of the main thread, also between taking a lock and
the ``try`` that would give it back. So each thread notes down a lock before it takes it and strikes
it off after giving it back, and whoever holds it is known by thread. A thread that starts an operation
holds nothing by rights: `release_stale` gives back what an interrupted one has left.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from types import TracebackType


class _Abandonable(Protocol):
    def abandon(self) -> None:
        """Give back whatever this thread holds of the lock."""


class _Noted(threading.local):
    """The locks that this thread holds, or was about to take or give back."""

    def __init__(self) -> None:
        self.locks: list[_Abandonable] = []


_noted = _Noted()


def release_stale() -> None:
    """Give back every lock of this thread. Call it where the thread holds none by rights."""
    while _noted.locks:
        _noted.locks[-1].abandon()
        _noted.locks.pop()


def _free(mutex: threading.RLock) -> None:
    """Give a mutex back as often as this thread has it; an interrupt may have spared its release."""
    while True:
        try:
            mutex.release()
        except RuntimeError:
            return


def _strike_off(lock: _Abandonable) -> None:
    locks = _noted.locks
    for at in range(len(locks) - 1, -1, -1):
        if locks[at] is lock:
            del locks[at]
            return


def _first(waiting: dict[int, None]) -> int:
    """Return who has waited longest."""
    return next(iter(waiting))


class Mutex:
    """A lock of one thread, which may take it again while it has it. Whoever waited longest is next."""

    def __init__(self) -> None:
        self._owner: int | None = None
        self._depth = 0
        #: Who waits, in the order of arrival.
        self._waiting: dict[int, None] = {}
        self._mutex = threading.RLock()
        self._condition = threading.Condition(self._mutex)

    @property
    def is_mine(self) -> bool:
        """Does this thread have the lock?"""
        return self._owner == threading.get_ident()

    def acquire(self, *, wait: bool = True) -> bool:
        """Take the lock; say whether it was had."""
        me = threading.get_ident()
        _noted.locks.append(self)
        with self._mutex:
            had = self._owner == me or (self._owner is None and not self._waiting)
            if not had and wait:
                try:
                    self._waiting[me] = None
                    while self._owner is not None or _first(self._waiting) != me:
                        self._condition.wait()
                    del self._waiting[me]
                except BaseException:
                    self._give_up(me)
                    raise
                had = True
            if had:
                self._owner = me
                self._depth += 1
        if not had:
            _strike_off(self)
        return had

    def _give_up(self, me: int) -> None:
        with self._mutex:
            self._waiting.pop(me, None)
            if self._owner == me:
                self._owner, self._depth = None, 0
            self._condition.notify_all()

    def release(self) -> None:
        """Give the lock back."""
        with self._mutex:
            self._depth -= 1
            if not self._depth:
                self._owner = None
                self._condition.notify_all()
        _strike_off(self)

    def abandon(self) -> None:
        """Give back whatever this thread holds of the lock."""
        self._give_up(threading.get_ident())
        _free(self._mutex)

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()


class RWLock:
    """A lock that readers share, in fair turns. Not reentrant.

    A writer that waits goes before readers that come later, and all the readers that wait when a writer
    leaves go before the next writer, be it the same one again. So a reader waits for one writer at most,
    and writers go in the order in which they came.
    """

    def __init__(self) -> None:
        self._mutex = threading.RLock()
        self._to_readers = threading.Condition(self._mutex)
        self._to_writers = threading.Condition(self._mutex)
        #: Who has the lock. A reader that waited is put in here by whoever lets it in, before it wakes:
        #: otherwise a writer that comes back at once would find the lock free.
        self._readers: set[int] = set()
        self._writer: int | None = None
        #: Who waits; writers in the order of arrival.
        self._waiting_readers: set[int] = set()
        self._waiting: dict[int, None] = {}
        self._read = _Side(self, "read")
        self._write = _Side(self, "write")

    def read(self) -> _Side:
        """Return the context in which the lock is held together with other readers."""
        return self._read

    def write(self) -> _Side:
        """Return the context in which the lock is held alone."""
        return self._write

    def acquire_read(self) -> None:
        """Wait until no writer has or wants the lock, or until it is the readers' turn, and share it."""
        me = threading.get_ident()
        _noted.locks.append(self)
        with self._mutex:
            self._forget(me)
            if self._writer is None and not self._waiting:
                self._readers.add(me)
                return
            try:
                self._waiting_readers.add(me)
                while me not in self._readers:
                    self._to_readers.wait()
            except BaseException:
                # It may have been let in already.
                self._leave()
                raise

    def acquire_write(self, *, wait: bool = True) -> bool:
        """Take the lock alone; say whether it was had."""
        me = threading.get_ident()
        _noted.locks.append(self)
        with self._mutex:
            self._forget(me)
            had = not (self._writer is not None or self._readers or self._waiting)
            if had:
                self._writer = me
            elif wait:
                try:
                    self._waiting[me] = None
                    while self._writer is not None or self._readers or _first(self._waiting) != me:
                        self._to_writers.wait()
                    self._writer = me
                    had = True
                    del self._waiting[me]
                except BaseException:
                    self._leave()
                    raise
        if not had:
            _strike_off(self)
        return had

    def release(self) -> None:
        """Give back what this thread has of the lock."""
        self._leave()
        _strike_off(self)

    def abandon(self) -> None:
        """Give back whatever this thread holds of the lock."""
        self._leave()
        _free(self._mutex)

    def _leave(self) -> None:
        with self._mutex:
            self._forget(threading.get_ident())

    def _forget(self, me: int) -> None:
        """Strike off every mark of a thread, and let in whose turn it is.

        A thread that comes to take the lock can only have stale marks.
        """
        self._readers.discard(me)
        self._waiting_readers.discard(me)
        self._waiting.pop(me, None)
        was_writer = self._writer == me
        if was_writer:
            self._writer = None
        if self._writer is None:
            # Notified first: they look once the mutex is free, and an interrupt after that would leave them
            # let in and asleep.
            if self._waiting_readers and (was_writer or not self._waiting):
                self._to_readers.notify_all()
                self._readers |= self._waiting_readers
                self._waiting_readers.clear()
            if self._waiting and not self._readers:
                self._to_writers.notify_all()


class _Side:
    """Taking and giving back one side of an `RWLock`."""

    def __init__(self, lock: RWLock, side: str) -> None:
        self._lock = lock
        self._acquire = lock.acquire_read if side == "read" else lock.acquire_write

    def __enter__(self) -> None:
        self._acquire()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._lock.release()
