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


class Mutex:
    """A lock of one thread, which may take it again while it has it."""

    def __init__(self) -> None:
        self._owner: int | None = None
        self._depth = 0
        self._mutex = threading.RLock()
        self._condition = threading.Condition(self._mutex)

    def acquire(self, *, wait: bool = True) -> bool:
        """Take the lock; say whether it was had."""
        me = threading.get_ident()
        _noted.locks.append(self)
        with self._condition:
            while wait and self._owner not in (None, me):
                self._condition.wait()
            had = self._owner in (None, me)
            if had:
                self._owner = me
                self._depth += 1
        if not had:
            _strike_off(self)
        return had

    def release(self) -> None:
        """Give the lock back."""
        with self._condition:
            self._depth -= 1
            if not self._depth:
                self._owner = None
                self._condition.notify()
        _strike_off(self)

    def abandon(self) -> None:
        """Give back whatever this thread holds of the lock."""
        with self._condition:
            if self._owner == threading.get_ident():
                self._owner, self._depth = None, 0
            self._condition.notify_all()
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
    """A lock that readers share; a waiting writer goes first. Not reentrant."""

    def __init__(self) -> None:
        self._mutex = threading.RLock()
        self._condition = threading.Condition(self._mutex)
        self._readers: set[int] = set()
        self._writer: int | None = None
        self._waiting: set[int] = set()
        self._read = _Side(self, "read")
        self._write = _Side(self, "write")

    def read(self) -> _Side:
        """Return the context in which the lock is held together with other readers."""
        return self._read

    def write(self) -> _Side:
        """Return the context in which the lock is held alone."""
        return self._write

    def acquire_read(self) -> None:
        """Wait until no writer has or wants the lock, and share it."""
        _noted.locks.append(self)
        with self._condition:
            self._forget(threading.get_ident())
            while self._writer is not None or self._waiting:
                self._condition.wait()
            self._readers.add(threading.get_ident())

    def acquire_write(self, *, wait: bool = True) -> bool:
        """Take the lock alone; say whether it was had."""
        me = threading.get_ident()
        _noted.locks.append(self)
        with self._condition:
            self._forget(me)
            had = wait or not (self._writer is not None or self._readers or self._waiting)
            if had:
                self._waiting.add(me)
                try:
                    while self._writer is not None or self._readers:
                        self._condition.wait()
                    self._writer = me
                finally:
                    self._waiting.discard(me)
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
        with self._condition:
            self._forget(threading.get_ident())

    def _forget(self, me: int) -> None:
        """Strike off every mark of a thread; one that comes to take the lock can only have stale ones."""
        self._readers.discard(me)
        self._waiting.discard(me)
        if self._writer == me:
            self._writer = None
        if not self._readers:
            self._condition.notify_all()


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
