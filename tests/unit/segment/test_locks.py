"""Locks that a stopped cell does not leave behind."""

from __future__ import annotations

import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from chroma_nb.errors import InternalError
from chroma_nb.segment import locks
from chroma_nb.segment.locks import Mutex, RWLock, hands_over, release_stale
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture(autouse=True)
def nothing_held() -> Iterator[None]:
    yield
    release_stale()


def elsewhere(work: Callable[[], Any], seconds: float = 1.0) -> Any:
    """Run it in another thread; fail if it does not end."""
    result: list[Any] = []
    thread = threading.Thread(target=lambda: result.append(work()), daemon=True)
    thread.start()
    thread.join(seconds)
    return result[0] if result else "blocked"


def write_once(lock: RWLock) -> str:
    with lock.write():
        return "wrote"


def read_once(lock: RWLock) -> str:
    with lock.read():
        return "read"


def test_readers_share_and_a_writer_is_alone() -> None:
    lock = RWLock()
    with lock.read():
        assert elsewhere(lambda: read_once(lock)) == "read"
        assert elsewhere(lambda: lock.acquire_write(wait=False)) is False
    assert elsewhere(lambda: write_once(lock)) == "wrote"
    with lock.write():
        assert elsewhere(lambda: lock.acquire_write(wait=False)) is False
        assert elsewhere(lambda: read_once(lock), 0.1) == "blocked"


def test_a_waiting_writer_goes_before_new_readers() -> None:
    lock, order = RWLock(), []

    def write() -> None:
        with lock.write():
            order.append("writer")

    def read() -> None:
        with lock.read():
            order.append("reader")

    with lock.read():
        writer = threading.Thread(target=write)
        writer.start()
        while not lock._waiting:
            time.sleep(0.001)
        reader = threading.Thread(target=read)
        reader.start()
        time.sleep(0.05)
        assert order == []
    writer.join(180)
    reader.join(180)
    assert order == ["writer", "reader"]


class Cast:
    """Threads that take locks, and the order in which they got them."""

    def __init__(self) -> None:
        self.order: list[str] = []
        self._threads: list[threading.Thread] = []

    def start(self, name: str, side: Any, go: threading.Event | None = None) -> None:
        """Let a thread take a lock, note its name, and keep the lock until `go`."""

        def work() -> None:
            with side:
                self.order.append(name)
                if go is not None:
                    go.wait(10)

        thread = threading.Thread(target=work, daemon=True)
        self._threads.append(thread)
        thread.start()

    def end(self) -> list[str]:
        for thread in self._threads:
            thread.join(180)
            assert not thread.is_alive(), self.order
        return self.order


def test_readers_that_wait_go_before_a_writer_that_comes_back_at_once() -> None:
    lock, cast = RWLock(), Cast()
    with lock.write():
        for name in ("a reader", "another"):
            cast.start(name, lock.read())
        wait_until(lambda: len(lock._waiting_readers) == 2)
    # A builder between two steps: the readers have not even woken up.
    with lock.write():
        cast.order.append("the writer again")
    assert sorted(cast.end()[:2]) == ["a reader", "another"]
    assert cast.order[2:] == ["the writer again"]


def test_readers_that_wait_go_before_the_next_writer_though_it_came_first() -> None:
    lock, cast = RWLock(), Cast()
    with lock.write():
        for name in ("next writer", "writer after it"):
            cast.start(name, lock.write())
        wait_until(lambda: len(lock._waiting) == 2)
        cast.start("reader", lock.read())
        wait_until(lambda: lock._waiting_readers)
    assert cast.end()[0] == "reader"
    assert sorted(cast.order[1:]) == ["next writer", "writer after it"]


def test_a_writer_that_waits_is_not_passed_by_readers_that_keep_coming() -> None:
    lock, cast, go = RWLock(), Cast(), threading.Event()
    cast.start("first reader", lock.read(), go)
    wait_until(lambda: cast.order)
    cast.start("writer", lock.write())
    wait_until(lambda: lock._waiting)
    for number in range(3):
        cast.start(f"late reader {number}", lock.read())
    wait_until(lambda: len(lock._waiting_readers) == 3)
    assert cast.order == ["first reader"]
    go.set()
    assert cast.end()[:2] == ["first reader", "writer"]
    assert len(cast.order) == 5


def test_writers_go_in_the_order_in_which_they_came() -> None:
    lock, cast = RWLock(), Cast()
    names = [f"writer {number}" for number in range(5)]
    with lock.write():
        for at, name in enumerate(names):
            cast.start(name, lock.write())
            wait_until(lambda: len(lock._waiting) == at + 1)  # noqa: B023
    assert cast.end() == names


def test_a_try_does_not_pass_those_who_wait() -> None:
    lock, mutex, cast, go = RWLock(), Mutex(), Cast(), threading.Event()
    cast.start("reader", lock.read(), go)
    cast.start("owner", mutex, go)
    wait_until(lambda: len(cast.order) == 2)
    cast.start("writer", lock.write())
    cast.start("next", mutex)
    wait_until(lambda: lock._waiting and mutex._waiting)
    assert not lock.acquire_write(wait=False)
    assert not mutex.acquire(wait=False)
    go.set()
    cast.end()
    assert lock.acquire_write(wait=False)
    assert mutex.acquire(wait=False)


def test_a_mutex_goes_to_whoever_waited_longest() -> None:
    mutex, cast = Mutex(), Cast()
    names = [f"thread {number}" for number in range(5)]
    with mutex:
        for at, name in enumerate(names):
            cast.start(name, mutex)
            wait_until(lambda: len(mutex._waiting) == at + 1)  # noqa: B023
    # A loop of writes takes it again at once.
    with mutex:
        cast.order.append("the first again")
    assert cast.end() == [*names, "the first again"]


def test_a_mutex_is_one_threads_and_can_be_taken_again() -> None:
    mutex = Mutex()
    with mutex, mutex:
        assert mutex.acquire(wait=False)
        mutex.release()
        assert elsewhere(lambda: mutex.acquire(wait=False)) is False
    assert elsewhere(lambda: mutex.acquire(wait=False)) is True


def test_many_threads_never_meet() -> None:
    lock, inside, problems = RWLock(), {"readers": 0, "writers": 0}, []

    def work(number: int) -> None:
        for turn in range(300):
            if (turn + number) % 5:
                with lock.read():
                    inside["readers"] += 1
                    if inside["writers"]:
                        problems.append("a reader beside a writer")
                    inside["readers"] -= 1
            else:
                with lock.write():
                    inside["writers"] += 1
                    if inside["writers"] > 1:
                        problems.append("two writers")
                    inside["writers"] -= 1

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(180)
        assert not thread.is_alive()
    assert not problems


# -- interrupts --------------------------------------------------------------------------------------


class Interrupter:
    """Raises KeyboardInterrupt at the n-th line that runs in the module of locks."""

    def __init__(self, n: int) -> None:
        self.left = n

    def __call__(self, frame: Any, event: str, argument: Any) -> Any:
        if frame.f_code.co_filename != locks.__file__:
            return None
        if event == "line":
            self.left -= 1
            if self.left == 0:
                sys.settrace(None)
                raise KeyboardInterrupt
        return self


def use_read(lock: RWLock, mutex: Mutex) -> None:
    with lock.read():
        pass


def use_write(lock: RWLock, mutex: Mutex) -> None:
    with mutex, lock.write():
        pass


def use_try(lock: RWLock, mutex: Mutex) -> None:
    if mutex.acquire(wait=False):
        try:
            if lock.acquire_write(wait=False):
                lock.release()
        finally:
            mutex.release()


@pytest.mark.parametrize("use", [use_read, use_write, use_try])
def test_an_interrupt_at_any_line_leaves_nothing_behind(
    use: Callable[[RWLock, Mutex], None],
) -> None:
    interrupted = 0
    for n in range(1, 200):
        lock, mutex = RWLock(), Mutex()
        before = sys.gettrace()
        interrupter = Interrupter(n)
        try:
            sys.settrace(interrupter)
            use(lock, mutex)
        except KeyboardInterrupt:
            interrupted += 1
        finally:
            sys.settrace(before)
        # The next operation of the thread begins so.
        release_stale()
        assert elsewhere(lambda: write_once(lock)) == "wrote", n  # noqa: B023
        assert elsewhere(lambda: mutex.acquire(wait=False)) is True, n  # noqa: B023
        if interrupter.left > 0:
            break
    else:
        raise AssertionError("the use never ran to its end")
    assert interrupted >= 8


# -- operations in the middle of others: signal handlers, finalizers, handlers of log messages ----


def test_a_nested_operation_leaves_what_the_outer_one_holds() -> None:
    lock, mutex = RWLock(), Mutex()

    def nested() -> str:
        release_stale()
        return read_once(lock)

    with mutex, lock.read():
        assert nested() == "read"
        assert elsewhere(lambda: lock.acquire_write(wait=False)) is False
        assert elsewhere(lambda: mutex.acquire(wait=False)) is False
    assert elsewhere(lambda: write_once(lock)) == "wrote"
    with lock.write():
        assert nested() == "read"
        assert elsewhere(lambda: read_once(lock), 0.1) == "blocked"
    assert elsewhere(lambda: read_once(lock)) == "read"


def test_a_nested_operation_that_would_wait_for_the_outer_one_is_refused() -> None:
    lock = RWLock()

    def nested() -> None:
        release_stale()
        with pytest.raises(InternalError, match="in the middle of another one"):
            write_once(lock)

    with lock.read():
        nested()
        assert elsewhere(lambda: read_once(lock)) == "read"
    assert elsewhere(lambda: write_once(lock)) == "wrote"


@pytest.mark.parametrize("use", [read_once, write_once])
def test_a_nested_operation_while_the_outer_one_waits_is_refused(
    use: Callable[[RWLock], str],
) -> None:
    lock, held, go = RWLock(), threading.Event(), threading.Event()

    def hold() -> None:
        with lock.write():
            held.set()
            go.wait(10)

    holder = threading.Thread(target=hold, daemon=True)
    holder.start()
    assert held.wait(180)
    condition = lock._to_readers if use is read_once else lock._to_writers
    wait, refused = condition.wait, []

    def interrupted(*_: object) -> None:
        condition.wait = wait
        release_stale()
        with pytest.raises(InternalError, match="in the middle of another one"):
            use(lock)
        refused.append(True)
        go.set()
        wait()

    condition.wait = interrupted
    assert use(lock) in ("read", "wrote")
    assert refused
    holder.join(180)
    assert elsewhere(lambda: write_once(lock)) == "wrote"


def test_what_a_thread_does_not_have_it_cannot_give_back() -> None:
    mutex, held, go = Mutex(), threading.Event(), threading.Event()
    mutex.release()

    def hold() -> None:
        with mutex:
            held.set()
            go.wait(10)

    holder = threading.Thread(target=hold, daemon=True)
    holder.start()
    assert held.wait(180)
    mutex.release()
    assert not mutex.acquire(wait=False)
    go.set()
    holder.join(180)
    assert mutex.acquire(wait=False)
    mutex.release()


@hands_over
def take_for_the_caller(lock: RWLock) -> None:
    lock.acquire_read()


def test_a_lock_that_was_taken_for_the_caller_is_the_callers() -> None:
    lock = RWLock()

    def nested() -> None:
        release_stale()

    def operation() -> None:
        take_for_the_caller(lock)
        nested()
        assert elsewhere(lambda: lock.acquire_write(wait=False)) is False

    operation()
    # It has ended without giving it back.
    release_stale()
    assert elsewhere(lambda: write_once(lock)) == "wrote"
