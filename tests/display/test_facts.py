"""A display's question to the store is answered in time, or is not waited for."""

from __future__ import annotations

import threading
import time

from chroma_nb.display.facts import LONGEST_SECONDS, PATIENCE_SECONDS, within


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
