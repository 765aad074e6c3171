"""`RWLock` and `Mutex`: locks that a stopped cell does not leave behind.

A ``KeyboardInterrupt`` arrives between any two steps of the main thread, also between taking a lock and
the ``try`` that would give it back. So each thread notes down a lock before it takes it, with the function
that wants it, and strikes it off after giving it back. A thread that starts an operation calls `release_stale`:
what belongs to a function that is not running any more was left by an interrupted one, and is given back.

A signal handler, a finalizer or a handler of log messages may start an operation in the middle of another one of
the same thread. It shares what that one holds, or gets an error where it would wait for it.
"""

from __future__ import annotations

import contextlib
import inspect
import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

from chroma_nb.errors import InternalError
from chroma_nb.shielded import wait_on

if TYPE_CHECKING:
    from types import CodeType, FrameType, TracebackType

_F = TypeVar("_F", bound=Callable[..., Any])


class _Abandonable(Protocol):
    def abandon(self, keep: int = 0) -> None:
        """Give back what this thread holds of the lock, but for so many times."""


class _Note(NamedTuple):
    lock: _Abandonable
    #: The function that holds it.
    holder: FrameType


class _Noted(threading.local):
    """The locks that this thread holds, or was about to take or give back."""

    def __init__(self) -> None:
        self.locks: list[_Note] = []


_noted = _Noted()
#: Frames of these only pass a lock on: they end, or pause, while it is held.
_PASSING_FILES = (__file__, contextlib.__file__)
_PASSING = inspect.CO_GENERATOR | inspect.CO_ASYNC_GENERATOR
_handing_over: set[CodeType] = set()


def hands_over(function: _F) -> _F:
    """Mark a function that takes a lock for its caller, and returns with it."""
    _handing_over.add(function.__code__)
    return function


def _note(lock: _Abandonable) -> None:
    """Note down that a function of this thread is about to take a lock."""
    frame = sys._getframe(2)
    while frame.f_back is not None and (
        frame.f_code.co_flags & _PASSING
        or frame.f_code.co_filename in _PASSING_FILES
        or frame.f_code in _handing_over
    ):
        frame = frame.f_back
    _noted.locks.append(_Note(lock, frame))


def release_stale() -> None:
    """Give back the locks of this thread that interrupted operations have left. Call it where one starts."""
    if not _noted.locks:
        return
    running = _running()
    at = len(_noted.locks)
    while at:
        at -= 1
        lock, holder = _noted.locks[at]
        if id(holder) not in running:
            lock.abandon(
                sum(one.lock is lock and id(one.holder) in running for one in _noted.locks)
            )
            del _noted.locks[at]


def _running() -> set[int]:
    """Return the identities of the functions that this thread is in.

    Not the functions: they would hold each other, and with them everything that a caller has.
    """
    running: set[int] = set()
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        running.add(id(frame))
        frame = frame.f_back
    return running


def _has_outer(lock: _Abandonable) -> bool:
    """Say whether another function that is running has the lock that was noted last.

    A function does not take a lock twice: what it has of it already was left by an interrupt, and is struck off.
    """
    *before, last = _noted.locks
    earlier = [one for one in before if one.lock is lock]
    if not earlier:
        return False
    running = _running()
    outer = [one for one in earlier if one.holder is not last.holder and id(one.holder) in running]
    if len(outer) < len(earlier):
        kept = [one for one in before if one.lock is not lock or any(one is two for two in outer)]
        _noted.locks[:] = [*kept, last]
    return bool(outer)


def _nested() -> InternalError:
    return InternalError(
        "This call was made in the middle of another one of the same thread and would wait for it: by a signal "
        "handler, a finalizer or a handler of log messages. Have it done later, or by another thread."
    )


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
        if locks[at].lock is lock:
            del locks[at]
            return


def _first(waiting: dict[int, None]) -> int:
    """Return who has waited longest."""
    return next(iter(waiting))


class Mutex:
    """A lock of one thread, which may take it again while it has it. Whoever waited longest is next."""

    __slots__ = ("__weakref__", "_depth", "_made", "_mutex", "_owner", "_waiting")

    def __init__(self) -> None:
        self._owner: int | None = None
        self._depth = 0
        #: Who waits, in the order of arrival.
        self._waiting: dict[int, None] = {}
        self._mutex = threading.RLock()
        #: Made when somebody first waits: a store has some locks for each of its collections, and a condition
        #: takes 1.2 kB.
        self._made: threading.Condition | None = None

    @property
    def _condition(self) -> threading.Condition:
        if self._made is None:
            self._made = threading.Condition(self._mutex)
        return self._made

    def _notify(self) -> None:
        if self._made is not None:
            self._made.notify_all()

    @property
    def is_mine(self) -> bool:
        """Does this thread have the lock?"""
        return self._owner == threading.get_ident()

    def acquire(self, *, wait: bool = True) -> bool:
        """Take the lock; say whether it was had."""
        me = threading.get_ident()
        _note(self)
        with self._mutex:
            had = self._owner == me or (self._owner is None and not self._waiting)
            if not had and wait:
                if me in self._waiting:
                    _strike_off(self)
                    raise _nested()
                try:
                    self._waiting[me] = None
                    while self._owner is not None or _first(self._waiting) != me:
                        wait_on(self._condition)
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
            self._notify()

    def release(self) -> None:
        """Give the lock back; what this thread does not have is left alone."""
        with self._mutex:
            if self._owner == threading.get_ident():
                self._depth -= 1
                if not self._depth:
                    self._owner = None
                    self._notify()
        _strike_off(self)

    def abandon(self, keep: int = 0) -> None:
        """Give back what this thread holds of the lock, but for so many times."""
        if keep:
            with self._mutex:
                self._depth = keep
            return
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
    """A lock that readers share, in fair turns. A thread that has it may read once more.

    A writer that waits goes before readers that come later, and all the readers that wait when a writer
    leaves go before the next writer, be it the same one again. So a reader waits for one writer at most,
    and writers go in the order in which they came.
    """

    __slots__ = (
        "__weakref__",
        "_made_for_readers",
        "_made_for_writers",
        "_more",
        "_mutex",
        "_readers",
        "_waiting",
        "_waiting_readers",
        "_writer",
    )

    def __init__(self) -> None:
        self._mutex = threading.RLock()
        #: As those of a `Mutex`, made when they are first waited for.
        self._made_for_readers: threading.Condition | None = None
        self._made_for_writers: threading.Condition | None = None
        #: Who has the lock. A reader that waited is put in here by whoever lets it in, before it wakes:
        #: otherwise a writer that comes back at once would find the lock free.
        self._readers: set[int] = set()
        self._writer: int | None = None
        #: Who waits; writers in the order of arrival.
        self._waiting_readers: set[int] = set()
        self._waiting: dict[int, None] = {}
        #: How many times more a thread has it.
        self._more: dict[int, int] = {}

    @property
    def _to_readers(self) -> threading.Condition:
        if self._made_for_readers is None:
            self._made_for_readers = threading.Condition(self._mutex)
        return self._made_for_readers

    @property
    def _to_writers(self) -> threading.Condition:
        if self._made_for_writers is None:
            self._made_for_writers = threading.Condition(self._mutex)
        return self._made_for_writers

    def read(self) -> _Side:
        """Return the context in which the lock is held together with other readers."""
        return _Side(self, "read")

    def write(self) -> _Side:
        """Return the context in which the lock is held alone."""
        return _Side(self, "write")

    def acquire_read(self) -> None:
        """Wait until no writer has or wants the lock, or until it is the readers' turn, and share it."""
        me = threading.get_ident()
        _note(self)
        with self._mutex:
            if self._is_held_by_outer(me):
                self._more[me] = self._more.get(me, 0) + 1
                return
            if self._writer is None and not self._waiting:
                self._readers.add(me)
                return
            try:
                self._waiting_readers.add(me)
                while me not in self._readers:
                    wait_on(self._to_readers)
            except BaseException:
                # It may have been let in already.
                self._leave()
                raise

    def acquire_write(self, *, wait: bool = True) -> bool:
        """Take the lock alone; say whether it was had."""
        me = threading.get_ident()
        _note(self)
        with self._mutex:
            if self._is_held_by_outer(me):
                _strike_off(self)
                if wait:
                    raise _nested()
                return False
            had = not (self._writer is not None or self._readers or self._waiting)
            if had:
                self._writer = me
            elif wait:
                try:
                    self._waiting[me] = None
                    while self._writer is not None or self._readers or _first(self._waiting) != me:
                        wait_on(self._to_writers)
                    self._writer = me
                    had = True
                    del self._waiting[me]
                except BaseException:
                    self._leave()
                    raise
        if not had:
            _strike_off(self)
        return had

    def _is_held_by_outer(self, me: int) -> bool:
        """Say whether an operation that this one is in the middle of has the lock; strike off stale marks.

        Raises:
            InternalError: It waits for the lock.
        """
        if not _has_outer(self):
            self._forget(me)
            return False
        if me in self._waiting or me in self._waiting_readers:
            _strike_off(self)
            raise _nested()
        return self._writer == me or me in self._readers

    def release(self) -> None:
        """Give back what this thread has of the lock, once."""
        with self._mutex:
            me = threading.get_ident()
            more = self._more.pop(me, 0)
            if more > 1:
                self._more[me] = more - 1
            elif not more:
                self._forget(me)
        _strike_off(self)

    def abandon(self, keep: int = 0) -> None:
        """Give back what this thread holds of the lock, but for so many times."""
        if keep:
            with self._mutex:
                self._more[threading.get_ident()] = keep - 1
            return
        self._leave()
        _free(self._mutex)

    def _leave(self) -> None:
        with self._mutex:
            self._forget(threading.get_ident())

    def _forget(self, me: int) -> None:
        """Strike off every mark of a thread, and let in whose turn it is."""
        self._more.pop(me, None)
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

    __slots__ = ("_acquire", "_lock")

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
