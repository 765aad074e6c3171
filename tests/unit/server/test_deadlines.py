"""`Deadlines`: late work is noticed once, and quick work never."""

from __future__ import annotations

import threading

from chroma_nb.server.deadlines import Deadlines
from tests.support.waiting import wait_until

LONG = 60


def test_late_work_is_noticed_once_while_it_goes_on() -> None:
    deadlines, calls, late = Deadlines(0.02), [], threading.Event()

    def on_late() -> None:
        calls.append(threading.current_thread())
        late.set()

    with deadlines.watch(on_late):
        assert late.wait(LONG)
        assert not deadlines._watched, "it is not looked for any more"
    assert calls != [threading.current_thread()]
    assert len(calls) == 1
    deadlines.close()


def test_work_that_has_ended_is_not_watched() -> None:
    deadlines = Deadlines(60)
    with deadlines.watch(lambda: None), deadlines.watch(lambda: None):
        assert len(deadlines._watched) == 2
    assert not deadlines._watched
    deadlines.close()


def test_one_that_is_late_hides_no_other() -> None:
    deadlines, both = Deadlines(0.02), [threading.Event(), threading.Event()]
    with deadlines.watch(both[0].set), deadlines.watch(both[1].set):
        assert all(one.wait(LONG) for one in both)
    deadlines.close()


def test_without_a_deadline_there_is_no_thread() -> None:
    deadlines = Deadlines(0)
    with deadlines.watch(lambda: None):
        assert deadlines._thread is None
        assert not deadlines._watched


def test_its_thread_ends_with_it() -> None:
    deadlines = Deadlines(60)
    with deadlines.watch(lambda: None):
        pass
    thread = deadlines._thread
    assert thread is not None
    deadlines.close()
    wait_until(lambda: not thread.is_alive())
