"""A display's question to the store is answered in time, or is not waited for."""

from __future__ import annotations

import os
import threading
import time
import weakref

import pytest

from chroma_nb.display import facts
from chroma_nb.display.facts import LONGEST_SECONDS, PATIENCE_SECONDS, as_of, within
from tests.support.waiting import wait_until


def compute(seconds: float) -> int:
    """Use the processor for so long."""
    until = time.monotonic() + seconds
    turns = 0
    while time.monotonic() < until:
        turns += sum(range(100))
    return turns


def test_an_answer_is_returned() -> None:
    assert within(lambda: 7) == 7


def test_an_error_is_returned_not_raised() -> None:
    found = within(lambda: 1 // 0)
    assert isinstance(found, ZeroDivisionError)


def test_what_stands_still_is_not_waited_for() -> None:
    gone = threading.Event()
    started = time.monotonic()
    found = within(lambda: gone.wait(5))
    took = time.monotonic() - started
    gone.set()
    assert isinstance(found, TimeoutError)
    assert PATIENCE_SECONDS <= took < LONGEST_SECONDS


def test_what_is_computed_is_waited_for() -> None:
    """A machine that is slow for a moment is not a store that hangs."""
    found = within(lambda: compute(3 * PATIENCE_SECONDS))
    assert isinstance(found, int)


def test_what_is_computed_for_long_is_not() -> None:
    started = time.monotonic()
    found = within(lambda: compute(3 * LONGEST_SECONDS))
    assert isinstance(found, TimeoutError)
    assert time.monotonic() - started < 3 * LONGEST_SECONDS


def test_one_thread_asks_one_question_after_the_other() -> None:
    threads = {within(threading.current_thread) for _ in range(20)}
    assert len(threads) == 1
    assert threading.current_thread() not in threads


def test_questions_at_the_same_time_do_not_wait_for_each_other() -> None:
    gone = threading.Event()
    late = threading.Thread(target=lambda: within(lambda: gone.wait(5)))
    late.start()
    assert within(lambda: 7) == 7
    assert isinstance(within(lambda: gone.wait(5)), TimeoutError)
    # Whoever is still at work is not asked.
    assert within(lambda: 7) == 7
    gone.set()
    late.join()


def test_nothing_of_a_question_is_kept() -> None:
    class Asked:
        def answer(self) -> int:
            return 7

    asked = Asked()
    reference = weakref.ref(asked)
    assert within(asked.answer) == 7
    del asked
    wait_until(lambda: reference() is None)


def test_a_thread_that_is_not_asked_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(facts, "_IDLE_SECONDS", 0.05)
    monkeypatch.setattr(facts._Helper, "_idle", [])
    gone = threading.Event()
    started: list[threading.Thread] = []

    def asked(late: bool) -> bool:
        started.append(threading.current_thread())
        return gone.wait(5) if late else True

    within(lambda: asked(False))
    within(lambda: asked(True))
    gone.set()
    for thread in started:
        thread.join(180)
        assert not thread.is_alive()
    assert within(lambda: 7) == 7


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_asks_by_a_thread_of_its_own() -> None:
    assert within(lambda: 7) == 7
    child = os.fork()
    if not child:
        os._exit(0 if within(lambda: 7) == 7 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.0, "1 s"),
        (4.9, "4 s"),
        (119.0, "119 s"),
        (120.0, "2 min"),
        (7_199.0, "119 min"),
        (7_200.0, "2 h"),
        (172_799.0, "47 h"),
        (172_800.0, "2 days"),
    ],
)
def test_an_age_is_said_in_words(seconds: float, words: str) -> None:
    assert as_of(seconds, TimeoutError("the store is busy")) == (
        f"As of {words} ago, the store is busy."
    )


def test_without_threads_it_asks_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(facts, "HAS_THREADS", False)
    assert within(threading.current_thread) is threading.current_thread()
    assert isinstance(within(lambda: 1 // 0), ZeroDivisionError)
