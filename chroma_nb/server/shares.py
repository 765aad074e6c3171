"""Shares of what a server has to give, so that nobody takes all of it from the others."""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections import Counter, deque
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable


class Shares:
    """Places, each held by somebody: who holds some gets another only while more are free.

    One holder alone gets half of the places, the next one half of the rest, and so on. So there is a place for
    who holds none until there are about as many holders as the logarithm of the places, and nobody has
    to say beforehand how many holders there are.

    Args:
        n_places: How many there are.
    """

    def __init__(self, n_places: int) -> None:
        self.n_free = n_places
        self._held: Counter[Hashable] = Counter()

    def held(self, who: Hashable) -> int:
        """Return how many places somebody holds."""
        return self._held[who]

    def take(self, who: Hashable) -> bool:
        """Take a place for somebody, if there is one for them; say whether there was."""
        if self._held[who] >= self.n_free:
            return False
        self._held[who] += 1
        self.n_free -= 1
        return True

    def give_back(self, who: Hashable) -> None:
        """Give back a place that was taken."""
        self.n_free += 1
        self._held[who] -= 1
        if not self._held[who]:
            del self._held[who]


class Threads:
    """Threads that work for many. What is beyond somebody's share waits, in a queue of its own, without a thread.

    All but the work itself happens on one event loop.

    Args:
        n_threads: How many there are.
    """

    def __init__(self, n_threads: int) -> None:
        self._shares = Shares(n_threads)
        self._threads = concurrent.futures.ThreadPoolExecutor(n_threads, "chroma_nb server")
        #: Who waits, with what. Who has been waiting for its turn for longest comes first.
        self._waiting: dict[Hashable, deque[tuple[Callable[[], Any], asyncio.Future[Any]]]] = {}

    def submit(self, who: Hashable, work: Callable[[], Any]) -> asyncio.Future[Any]:
        """Do something for somebody in a thread, when it is their turn.

        Returns:
            What becomes the result. Cancelled before the work has begun, the work is not done.
        """
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(who, deque()).append((work, future))
        self._begin()
        return future

    def close(self) -> None:
        """Let what has begun end."""
        self._threads.shutdown(wait=True)

    def _begin(self) -> None:
        """Give threads to those who wait, one each in turn."""
        for who in list(self._waiting):
            queue = self._waiting.pop(who)
            while queue and queue[0][1].cancelled():
                queue.popleft()
            if not queue:
                continue
            if not self._shares.take(who):
                self._waiting[who] = queue
                continue
            work, future = queue.popleft()
            if queue:
                self._waiting[who] = queue
            self._run(who, work, future)

    def _run(self, who: Hashable, work: Callable[[], Any], future: asyncio.Future[Any]) -> None:
        def ended(done: asyncio.Future[Any]) -> None:
            self._shares.give_back(who)
            if not future.cancelled():
                error = done.exception()
                if error is None:
                    future.set_result(done.result())
                else:
                    future.set_exception(error)
            else:
                done.exception()
            self._begin()

        try:
            begun = asyncio.get_running_loop().run_in_executor(self._threads, work)
        except RuntimeError as error:
            # The machine has no thread left.
            self._shares.give_back(who)
            future.set_exception(error)
            return
        begun.add_done_callback(ended)
