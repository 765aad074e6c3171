"""`LoopCalls`: calls wait for the loop, are waited for at its end, and are refused once it ends."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from chroma_nb.server.loop_calls import LoopCalls
from chroma_nb.server.refusals import Refused

if TYPE_CHECKING:
    from collections.abc import Iterator

LONG = 60.0


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    yield loop
    loop.call_soon_threadsafe(loop.stop)
    thread.join(LONG)
    loop.close()


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as threads:
        yield threads


async def one() -> int:
    return 1


def begun(calls: LoopCalls) -> None:
    """Wait until a call is under way."""
    while calls.wait(0):
        threading.Event().wait(0.001)


def test_a_call_waits_for_the_loop(
    loop: asyncio.AbstractEventLoop, threads: ThreadPoolExecutor
) -> None:
    calls = LoopCalls()
    early = threads.submit(calls.run, "early", one)
    begun(calls)
    assert not early.done()
    calls.use(loop)
    assert early.result(LONG) == 1
    assert not calls.wait(0), "its answer is not sent yet"
    calls.answered("early")
    assert calls.wait(0)
    with pytest.raises(ZeroDivisionError):
        calls.run("late", broken)


async def broken() -> None:
    raise ZeroDivisionError


def test_an_end_waits_for_what_is_under_way(
    loop: asyncio.AbstractEventLoop, threads: ThreadPoolExecutor
) -> None:
    calls = LoopCalls()
    calls.use(loop)
    hold = asyncio.Event()

    async def held() -> int:
        await hold.wait()
        return 2

    call = threads.submit(calls.run, "call", held)
    begun(calls)
    calls.close()
    with pytest.raises(Refused, match="it is stopping"):
        calls.run("another", one)
    ending = threads.submit(calls.wait, LONG)
    loop.call_soon_threadsafe(hold.set)
    assert call.result(LONG) == 2
    assert not ending.done()
    calls.answered("call")
    assert ending.result(LONG)


@pytest.mark.parametrize("has_loop", [True, False])
def test_what_is_given_up_is_refused(
    loop: asyncio.AbstractEventLoop, threads: ThreadPoolExecutor, has_loop: bool
) -> None:
    calls = LoopCalls()
    if has_loop:
        calls.use(loop)
    call = threads.submit(calls.run, "call", lambda: asyncio.sleep(LONG))
    begun(calls)
    calls.close()
    calls.give_up()
    with pytest.raises(Refused, match="it is stopping"):
        call.result(LONG)
    assert calls.wait(0)
    # A server that is stopped before it runs has no loop to give any more.
    calls.use(loop)


def test_a_loop_that_has_ended_refuses() -> None:
    calls, ended = LoopCalls(), asyncio.new_event_loop()
    ended.close()
    calls.use(ended)
    with pytest.raises(Refused, match="it is stopping"):
        calls.run("call", one)
