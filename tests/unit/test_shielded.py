"""`shielded`: whatever a signal raises comes when the work is done."""

from __future__ import annotations

import gc
import signal
import subprocess
import sys
import threading
import weakref

import pytest

from chroma_nb import shielded as shielded_module
from chroma_nb.shielded import shielded

pytestmark = pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no alarms on this system")


class Late(Exception):
    """What a cell's deadline raises."""


@pytest.mark.parametrize("kind", [Late, KeyboardInterrupt, SystemExit])
def test_what_a_handler_raises_waits_for_the_work(kind: type[BaseException]) -> None:
    is_late, done = threading.Event(), threading.Event()

    class Thing:
        pass

    thing = Thing()
    freed = weakref.ref(thing)

    def handler(number: int, frame: object) -> None:
        is_late.set()
        raise kind

    def work(held: object = thing) -> None:
        assert is_late.wait(180)
        # Longer than an exception needs to get out.
        done.wait(0.3)
        done.set()

    before = signal.signal(signal.SIGALRM, handler)
    gc.disable()
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        with pytest.raises(kind) as caught:
            shielded(work)
        assert done.is_set()
        del caught, work, thing
        assert freed() is None, "the error holds what the work was about"
    finally:
        gc.enable()
        signal.signal(signal.SIGALRM, before)


def test_errors_of_the_work_are_its_own() -> None:
    def work() -> None:
        raise Late("of the work")

    with pytest.raises(Late, match="of the work"):
        shielded(work)


def test_a_thread_that_never_begins_holds_nothing_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without memory for its first steps a thread ends before it has said that it began."""
    monkeypatch.setattr(shielded_module, "_START_SECONDS", 0.05)
    monkeypatch.setattr(threading.Thread, "_bootstrap", lambda self: None)
    assert shielded(threading.current_thread) is threading.main_thread()


#: Interrupts `shielded` wherever Python looks for signals in it and in `threading`: where a function begins, and after one
#: of C. In a process of its own, as a thread that waits for ever cannot be ended.
EVERYWHERE = """
import sys, threading
from chroma_nb import shielded as module

def interrupted_at(n):
    left, where, done = n, None, []

    def profile(frame, event, argument):
        nonlocal left, where
        if event in ("call", "c_return") and frame.f_code.co_filename in FILES:
            left -= 1
            if not left:
                sys.setprofile(None)
                where = f"{frame.f_code.co_name}:{frame.f_lineno}"
                raise KeyboardInterrupt

    sys.setprofile(profile)
    try:
        module.shielded(lambda: done.append(1))
        ended = "returned"
    except BaseException as error:
        ended = repr(error)
    finally:
        sys.setprofile(None)
    return where, ended, len(done)

FILES = (threading.__file__, module.__file__)
n = 1
while True:
    where, ended, n_done = interrupted_at(n)
    if where is None:
        break
    if ended != "KeyboardInterrupt()" or n_done > 1:
        print(n, where, ended, n_done)
    n += 1
print(n, "places")
"""


def test_an_interrupt_in_any_step_is_raised_and_leaves_no_lock_behind() -> None:
    done = subprocess.run(
        [sys.executable, "-c", EVERYWHERE], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    *wrong, places = done.stdout.splitlines()
    assert not wrong
    assert int(places.split()[0]) > 20
