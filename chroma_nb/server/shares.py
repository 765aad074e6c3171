"""Shares of a server's slots and threads, so that no client takes all of them."""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections import Counter, deque
from typing import TYPE_CHECKING, Any

from chroma_nb.server.refusals import STOPPING, busy

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable


class Shares:
    """Slots that clients hold. A client that holds n slots gets another one only while more than n are free.

    So the first client can get half of the slots, the next one half of the rest, and so on, and it need not be known
    how many clients there will be. A new client finds a free slot as long as about log2(slots) or fewer others hold
    all that they can get.

    Args:
        n_slots: How many there are.
    """

    def __init__(self, n_slots: int) -> None:
        self.n_free = n_slots
        self._held: Counter[Hashable] = Counter()

    def held(self, who: Hashable) -> int:
        """Return how many slots a client holds."""
        return self._held[who]

    def take(self, who: Hashable) -> bool:
        """Take a slot for a client, if it may have one; say whether it got it."""
        if self._held[who] >= self.n_free:
            return False
        self._held[who] += 1
        self.n_free -= 1
        return True

    def give_back(self, who: Hashable) -> None:
        """Give a client's slot back."""
        self.n_free += 1
        self._held[who] -= 1
        if not self._held[who]:
            del self._held[who]


class Threads:
    """A pool of threads that clients share. Work beyond a client's share waits in that client's queue.

    Its methods are called on the event loop; only the work itself runs in the threads.

    Args:
        n_threads: How many there are.
    """

    def __init__(self, n_threads: int) -> None:
        self._shares = Shares(n_threads)
        self._threads = concurrent.futures.ThreadPoolExecutor(n_threads, "chroma_nb server")
        #: Client -> its waiting work, in order. The client that has waited longest for its turn comes first.
        self._waiting: dict[Hashable, deque[tuple[Callable[[], Any], asyncio.Future[Any]]]] = {}
        self._is_closed = False

    def submit(self, who: Hashable, work: Callable[[], Any]) -> asyncio.Future[Any]:
        """Call a function in a thread, when it is the client's turn.

        Args:
            who: The client.
            work: The function.

        Returns:
            A future of its result. When it is cancelled before the work has begun, the work is not done.
        """
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(who, deque()).append((work, future))
        self._begin()
        return future

    def close(self) -> None:
        """Wait until all work that has begun has ended; what waits for its turn is refused. Called by any thread."""
        self._is_closed = True
        self._threads.shutdown(wait=True)

    def _begin(self) -> None:
        """Begin waiting work as far as the shares allow: one piece of each client in turn."""
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
            # It is closed, or the machine has no thread left.
            self._shares.give_back(who)
            future.set_exception(busy(STOPPING) if self._is_closed else error)
            return
        begun.add_done_callback(ended)
