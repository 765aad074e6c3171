"""Locks of a stopped cell: at every line of every way to take and give them back."""

from __future__ import annotations

import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from chroma_nb import shielded
from chroma_nb.segment import locks
from chroma_nb.segment.locks import Mutex, RWLock, release_stale
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Lock = Mutex | RWLock


def with_mutex(lock: Mutex) -> None:
    with lock:
        pass


def with_mutex_twice(lock: Mutex) -> None:
    with lock, lock:
        pass


def acquire_mutex(lock: Mutex) -> None:
    lock.acquire()
    lock.release()


def try_mutex(lock: Mutex) -> None:
    if lock.acquire(wait=False):
        lock.release()


def with_read(lock: RWLock) -> None:
    with lock.read():
        pass


def with_write(lock: RWLock) -> None:
    with lock.write():
        pass


def acquire_read(lock: RWLock) -> None:
    lock.acquire_read()
    lock.release()


def acquire_write(lock: RWLock) -> None:
    lock.acquire_write()
    lock.release()


def try_write(lock: RWLock) -> None:
    if lock.acquire_write(wait=False):
        lock.release()


USES: list[tuple[type[Lock], Callable[[Any], None]]] = [
    *((Mutex, use) for use in (with_mutex, with_mutex_twice, acquire_mutex, try_mutex)),
    *((RWLock, use) for use in (with_read, with_write, acquire_read, acquire_write, try_write)),
]
IDS = [use.__name__ for _, use in USES]


def take_alone(lock: Lock) -> None:
    if isinstance(lock, Mutex):
        lock.acquire()
    else:
        lock.acquire_write()


def take_shared(lock: RWLock) -> None:
    lock.acquire_read()


def others_can_take(lock: Lock) -> bool:
    """Say whether another thread gets the lock for itself within a second."""

    def take() -> None:
        take_alone(lock)
        lock.release()

    thread = threading.Thread(target=take, daemon=True)
    thread.start()
    thread.join(1.0)
    return not thread.is_alive()


def interrupted_at(n: int, act: Callable[[], None]) -> str | None:
    """Run `act` with a KeyboardInterrupt at the n-th line of the module; None: it has fewer lines."""
    left, where = n, None

    def trace(frame: Any, event: str, argument: object) -> Any:
        nonlocal left, where
        if frame.f_code.co_filename != locks.__file__:
            return None
        left -= event == "line"
        if event == "line" and not left:
            where = f"{frame.f_code.co_name}:{frame.f_lineno}"
            raise KeyboardInterrupt
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        act()
    except KeyboardInterrupt:
        assert where is not None
    finally:
        sys.settrace(before)
    return where


def interruptions(make: type[Lock], use: Callable[[Any], None]) -> Iterator[tuple[Lock, str]]:
    """Yield a lock for each line at which its use can be interrupted, after it was."""
    for n in range(1, 200):
        lock = make()
        where = interrupted_at(n, lambda: use(lock))  # noqa: B023
        if where is None:
            assert n > 8, "hardly a line was traced"
            return
        yield lock, where
    raise AssertionError("the use never ran to its end")


@pytest.mark.parametrize(("make", "use"), USES, ids=IDS)
def test_a_stopped_thread_gives_the_lock_back(make: type[Lock], use: Any) -> None:
    for lock, where in interruptions(make, use):
        release_stale()
        assert others_can_take(lock), where


@pytest.mark.parametrize(("make", "use"), USES, ids=IDS)
def test_release_stale_leaves_other_locks_and_later_uses_alone(make: type[Lock], use: Any) -> None:
    for lock, where in interruptions(make, use):
        release_stale()
        take_alone(lock)
        # Nothing is owed any more that could be taken from the new holder.
        assert lock in [one.lock for one in locks._noted.locks]
        assert len(locks._noted.locks) == 1, where
        lock.release()
        assert not locks._noted.locks, where


@pytest.mark.parametrize(("make", "use"), [(Mutex, try_mutex), (RWLock, try_write)])
def test_a_stopped_try_at_a_lock_that_others_hold_leaves_nothing(
    make: type[Lock], use: Any
) -> None:
    for n in range(1, 200):
        lock = make()
        held, done = threading.Event(), threading.Event()

        def hold(lock: Lock = lock, held: Any = held, done: Any = done) -> None:
            take_alone(lock)
            held.set()
            done.wait(10)
            lock.release()

        holder = threading.Thread(target=hold, daemon=True)
        holder.start()
        held.wait(10)
        where = interrupted_at(n, lambda: use(lock))  # noqa: B023
        release_stale()
        done.set()
        assert others_can_take(lock), where
        holder.join(1)
        if where is None:
            break
    assert n > 8


def stopped_while_it_waits(
    lock: Any,
    use: Callable[[Any], None],
    n: int,
    stop: Callable[[int, Callable[[], None]], str | None] = interrupted_at,
) -> str | None:
    """Stop `use` at its n-th line, where another thread has the lock until this one waits for it."""
    held, me = threading.Event(), threading.get_ident()

    def hold() -> None:
        take_alone(lock)
        held.set()
        end = time.monotonic() + 10
        while not gone.is_set() and me not in lock._waiting | waiting_readers(lock):
            if time.monotonic() > end:
                return
        lock.release()

    gone = threading.Event()
    holder = threading.Thread(target=hold, daemon=True)
    holder.start()
    assert held.wait(180)
    where = stop(n, lambda: use(lock))
    gone.set()
    # The next operation of the thread begins so.
    release_stale()
    holder.join(180)
    assert not holder.is_alive(), where
    return where


def waiting_readers(lock: Lock) -> dict[int, None]:
    readers = lock._waiting_readers if isinstance(lock, RWLock) else ()
    return dict.fromkeys(list(readers))


WAITING = [(make, use) for make, use in USES if use not in (try_mutex, try_write)]


@pytest.mark.parametrize(("make", "use"), WAITING, ids=[use.__name__ for _, use in WAITING])
def test_a_thread_that_is_stopped_while_it_waits_leaves_nothing(make: type[Lock], use: Any) -> None:
    for n in range(1, 200):
        lock = make()
        where = stopped_while_it_waits(lock, use, n)
        assert others_can_take(lock), where
        assert not lock._waiting
        assert not waiting_readers(lock)
        assert not locks._noted.locks
        if where is None:
            break
    assert n > 12


@pytest.mark.parametrize("was_let_in", [False, True])
@pytest.mark.parametrize("use", [with_read, with_write, with_mutex])
def test_an_interrupt_of_the_wait_itself_leaves_nothing(use: Any, was_let_in: bool) -> None:
    lock: Any = Mutex() if use is with_mutex else RWLock()
    names = {with_read: "_to_readers", with_write: "_to_writers", with_mutex: "_condition"}
    condition = getattr(lock, names[use])
    wait, held = condition.wait, threading.Event()

    def stopped(*_: Any) -> None:
        if was_let_in:
            wait()
        raise KeyboardInterrupt

    def hold() -> None:
        take_alone(lock)
        held.set()
        while not lock._waiting and not waiting_readers(lock):
            time.sleep(0.0005)
        lock.release()

    holder = threading.Thread(target=hold, daemon=True)
    holder.start()
    assert held.wait(180)
    condition.wait = stopped
    with pytest.raises(KeyboardInterrupt):
        use(lock)
    condition.wait = wait
    # Even before this thread's next operation: it was told, and could see to it.
    assert others_can_take(lock)
    holder.join(180)
    release_stale()
    assert not locks._noted.locks


def interrupted_at_call(n: int, act: Callable[[], None]) -> str | None:
    """As `interrupted_at`, where Python looks for signals, in `threading` as well: a function begins, or one of C has ended."""
    left, ended = n, None

    def profile(frame: Any, event: str, argument: object) -> None:
        nonlocal left
        if event in ("call", "c_return") and frame.f_code.co_filename in FILES:
            left -= 1
            if not left:
                sys.setprofile(None)
                raise KeyboardInterrupt

    sys.setprofile(profile)
    try:
        act()
    except BaseException as error:
        ended = repr(error)
    finally:
        sys.setprofile(None)
    return ended


FILES = (threading.__file__, locks.__file__, shielded.__file__)


@pytest.mark.parametrize(("make", "use"), WAITING, ids=[use.__name__ for _, use in WAITING])
def test_an_interrupt_of_a_wait_is_raised_as_one(make: type[Lock], use: Any) -> None:
    for n in range(1, 200):
        lock = make()
        ended = stopped_while_it_waits(lock, use, n, interrupted_at_call)
        assert ended in ("KeyboardInterrupt()", None), n
        assert others_can_take(lock), n
        assert not locks._noted.locks
        if ended is None:
            break
    assert n > 12


@pytest.mark.parametrize("side", ["read", "write"])
def test_those_who_wait_for_a_stopped_thread_get_their_turn(side: str) -> None:
    for n in range(1, 200):
        lock = RWLock()
        # By a function that has ended when the next operation starts.
        take_shared(lock) if side == "read" else take_alone(lock)
        threads = [
            threading.Thread(target=use, args=(lock,), daemon=True)
            for use in (with_write, with_read, with_read)
        ]
        threads[0].start()
        wait_until(lambda lock=lock: lock._waiting)
        for thread in threads[1:]:
            thread.start()
        wait_until(lambda lock=lock: len(lock._waiting_readers) == 2)
        where = interrupted_at(n, lock.release)
        release_stale()
        for thread in threads:
            thread.join(180)
            assert not thread.is_alive(), where
        if where is None:
            break
    assert n > 8


@pytest.mark.parametrize("first", [with_read, with_write])
@pytest.mark.parametrize("second", [with_read, with_write])
def test_what_an_interrupt_left_does_not_stop_the_handler_of_the_same_operation(
    first: Callable[[RWLock], None], second: Callable[[RWLock], None]
) -> None:
    # `except BaseException: with lock.write(): ...` runs before anybody calls `release_stale`.
    problems: list[str] = []

    def operations() -> None:
        for lock, where in interruptions(RWLock, first):
            problems.append(where)
            assert isinstance(lock, RWLock)
            second(lock)
            problems.pop()
            release_stale()

    thread = threading.Thread(target=operations, daemon=True)
    thread.start()
    thread.join(2.0)
    assert not problems
    assert not thread.is_alive()
