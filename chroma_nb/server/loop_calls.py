"""`LoopCalls`: what calls of a transport with threads of its own ask of the service's event loop, until it ends."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
import time
from typing import TYPE_CHECKING, Any, TypeVar

from chroma_nb.server.refusals import STOPPING, busy

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Hashable

T = TypeVar("T")


class LoopCalls:
    """Has coroutines run on the event loop of a service, for calls in other threads, and knows which are under way.

    A call may come before there is a loop: it waits for it. One that comes when the loop is about to end is refused.
    """

    def __init__(self) -> None:
        self._loop: concurrent.futures.Future[asyncio.AbstractEventLoop] = (
            concurrent.futures.Future()
        )
        self._changed = threading.Condition()
        self._is_closed = False
        #: Call -> what it waits for at the loop; None once it is there.
        self._under_way: dict[Hashable, concurrent.futures.Future[Any] | None] = {}

    def use(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin: this is the loop, which runs until nothing is under way."""
        with self._changed:
            if not self._is_closed:
                self._loop.set_result(loop)

    def run(self, call: Hashable, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run a coroutine on the loop, and return what it returns. From here on the call is under way.

        Args:
            call: The call; it asks for one thing at a time.
            work: Makes the coroutine.

        Raises:
            Refused: The server is stopping.
        """
        with self._changed:
            if self._is_closed:
                raise busy(STOPPING)
            self._under_way[call] = self._loop
        try:
            loop = self._loop.result()
            with self._changed:
                if self._under_way.get(call) is not self._loop:
                    # Given up meanwhile.
                    raise busy(STOPPING)
                future = _begin(work(), loop)
                self._under_way[call] = future
            return future.result()
        except concurrent.futures.CancelledError:
            raise busy(STOPPING) from None
        finally:
            with self._changed:
                if call in self._under_way:
                    self._under_way[call] = None

    def begin(self, call: Hashable) -> None:
        """Note that a call is under way, which asks nothing of the loop.

        Raises:
            Refused: The server is stopping.
        """
        with self._changed:
            if self._is_closed:
                raise busy(STOPPING)
            self._under_way[call] = None

    def answered(self, call: Hashable) -> None:
        """Note that a call is not under way any more: its answer is sent, or it waits for its client."""
        with self._changed:
            self._under_way.pop(call, None)
            self._changed.notify_all()

    def close(self) -> None:
        """Begin nothing any more; what is under way goes on."""
        with self._changed:
            self._is_closed = True
            # Where it never was used, nobody waits for it any more.
            self._loop.cancel()

    def wait(self, seconds: float) -> bool:
        """Wait until nothing is under way, at most for so long; say whether that is so."""
        end = time.monotonic() + seconds
        with self._changed:
            while self._under_way:
                left = end - time.monotonic()
                if left <= 0:
                    return False
                self._changed.wait(left)
            return True

    def give_up(self) -> None:
        """Refuse what still waits for the loop, which will not answer it."""
        with self._changed:
            waiting = [one for one in self._under_way.values() if one is not None]
            self._under_way.clear()
        for future in waiting:
            if future is not self._loop:
                future.cancel()


def _begin(
    work: Coroutine[Any, Any, T], loop: asyncio.AbstractEventLoop
) -> concurrent.futures.Future[T]:
    try:
        return asyncio.run_coroutine_threadsafe(work, loop)
    except RuntimeError:
        # The loop has ended without waiting: somebody pressed Ctrl-C twice.
        work.close()
        raise busy(STOPPING) from None
