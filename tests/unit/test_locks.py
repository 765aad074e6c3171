"""Locks that a stopped cell does not leave behind."""

from __future__ import annotations

import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from chroma_nb.segment import locks
from chroma_nb.segment.locks import Mutex, RWLock, release_stale

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
    writer.join(5)
    reader.join(5)
    assert order == ["writer", "reader"]


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
        thread.join(20)
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
