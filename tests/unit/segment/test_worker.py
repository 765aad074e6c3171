from __future__ import annotations

import gc
import logging
import threading
import time
import weakref
from uuid import UUID, uuid4

import pytest

from chroma_nb.segment.worker import Worker
from tests.support.waiting import wait_until


class Owner:
    """Writes down what it is asked to do."""

    def __init__(self) -> None:
        self.done: list[tuple[UUID, float]] = []
        self.busy = threading.Event()
        self.worker = Worker(f"test-{id(self)}", self.work)

    def work(self, key: UUID) -> None:
        self.busy.set()
        if key.int == 1:
            raise ValueError("as asked")
        if key.int == 2:
            time.sleep(0.3)
        if key.int == 3:
            raise KeyboardInterrupt
        self.done.append((key, time.monotonic()))

    @property
    def threads(self) -> list[threading.Thread]:
        name = f"chroma_nb-test-{id(self)}"
        return [thread for thread in threading.enumerate() if thread.name == name]


def test_work_is_done_when_it_is_due_and_not_before() -> None:
    owner, late, soon = Owner(), uuid4(), uuid4()
    start = time.monotonic()
    owner.worker.request(late, 0.3)
    owner.worker.request(soon, 0.1)
    wait_until(lambda: len(owner.done) == 2)
    assert [key for key, _ in owner.done] == [soon, late]
    assert owner.done[0][1] - start >= 0.1
    assert owner.done[1][1] - start >= 0.3
    assert len(owner.threads) == 1
    owner.worker.close()
    assert not owner.threads


def test_asking_again_moves_it_back() -> None:
    owner, key = Owner(), uuid4()
    start = time.monotonic()
    for _ in range(4):
        owner.worker.request(key, 0.2)
        time.sleep(0.1)
    wait_until(lambda: owner.done)
    assert owner.done[0][1] - start >= 0.5
    time.sleep(0.3)
    assert len(owner.done) == 1
    owner.worker.close()


def test_what_is_asked_for_all_the_time_is_done_in_the_end() -> None:
    owner, key = Owner(), uuid4()

    def asked_again() -> bool:
        owner.worker.request(key, 0.02)
        return bool(owner.done)

    wait_until(asked_again)
    owner.worker.close()


def test_an_error_is_logged_and_the_rest_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    owner, key = Owner(), uuid4()
    with caplog.at_level(logging.ERROR, logger="chroma_nb"):
        owner.worker.request(UUID(int=1), 0)
        owner.worker.request(key, 0.05)
        wait_until(lambda: owner.done)
    assert "as asked" in caplog.text
    owner.worker.close()


def test_a_statement_that_was_cut_off_is_no_error_of_the_thread(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    owner = Owner()
    owner.worker.request(UUID(int=3), 0)
    owner.worker.request(uuid4(), 0.05)
    wait_until(lambda: owner.done)
    owner.worker.close()
    assert (capsys.readouterr().err, caplog.text) == ("", "")


def test_closing_waits_for_what_is_being_done_and_drops_the_rest() -> None:
    owner = Owner()
    owner.worker.request(UUID(int=2), 0)
    owner.worker.request(uuid4(), 0.1)
    assert owner.busy.wait(180)
    owner.worker.close()
    assert [key for key, _ in owner.done] == [UUID(int=2)]
    owner.worker.request(uuid4(), 0)
    assert not owner.threads


def test_the_thread_goes_when_idle_and_comes_again() -> None:
    owner = Owner()
    owner.worker.request(uuid4(), 0)
    wait_until(lambda: owner.done)
    wait_until(lambda: not owner.threads)
    owner.worker.request(uuid4(), 0)
    wait_until(lambda: len(owner.done) == 2)
    owner.worker.close()


def test_an_owner_that_is_collected_takes_the_thread_along() -> None:
    owner = Owner()
    owner.worker.request(uuid4(), 3_600)
    (thread,) = owner.threads
    reference = weakref.ref(owner)
    del owner
    gc.collect()
    assert reference() is None
    wait_until(lambda: not thread.is_alive())


@pytest.mark.parametrize("seconds", [1e10, 1e308, float("inf"), 10**400])
def test_what_is_due_in_a_thousand_years_keeps_nothing_else_waiting(seconds: float) -> None:
    owner, late, soon = Owner(), uuid4(), uuid4()
    owner.worker.request(late, seconds)
    (thread,) = owner.threads
    for _ in range(3):
        owner.worker.request(late, seconds)
    owner.worker.request(soon, 0.05)
    wait_until(lambda: owner.done)
    assert [key for key, _ in owner.done] == [soon]
    assert thread.is_alive()
    owner.worker.close()


def test_a_thread_that_cannot_be_started_is_started_by_the_next_request(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    owner, first, second = Owner(), uuid4(), uuid4()

    def start(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", start)
        owner.worker.request(first, 0.0)
    assert "can't start new thread" in caplog.text
    owner.worker.request(second, 0.0)
    # What was asked for first is not forgotten.
    wait_until(lambda: len(owner.done) == 2)
    owner.worker.close()


def test_a_thread_that_died_is_started_by_the_next_request(monkeypatch: pytest.MonkeyPatch) -> None:
    died, go_on = threading.Event(), threading.Event()

    def end_slowly(_: object) -> None:
        died.set()
        go_on.wait(5)

    monkeypatch.setattr(threading, "excepthook", end_slowly)
    owner, key = Owner(), uuid4()
    with monkeypatch.context() as patched:
        patched.setattr(Worker, "step", lambda _: 1 // 0)
        owner.worker.request(uuid4(), 100.0)
        assert died.wait(180)
    # The thread that died is still being taken down: it is alive, and does nothing more.
    owner.worker.request(key, 0.0)
    wait_until(lambda: owner.done)
    go_on.set()
    owner.worker.close()
