"""Shares of a server's slots and threads, so that no client takes all of them."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import threading
from collections import Counter, deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from chroma_nb.server.refusals import STOPPING, busy

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator


class Shares:
    """Slots that clients hold. A client that holds n slots gets another one only while more than n are free.

    So the first client can get half of the slots, the next one half of the rest, and so on, and it need not be known
    how many clients there will be. A new client finds a free slot as long as about log2(slots) or fewer others hold
    all that they can get.

    Safe for threads.

    Args:
        n_slots: How many there are.
    """

    def __init__(self, n_slots: int) -> None:
        self.n_free = n_slots
        self._held: Counter[Hashable] = Counter()
        self._lock = threading.Lock()

    def held(self, who: Hashable) -> int:
        """Return how many slots a client holds."""
        return self._held[who]

    def take(self, who: Hashable) -> bool:
        """Take a slot for a client, if it may have one; say whether it got it."""
        with self._lock:
            if self._held[who] >= self.n_free:
                return False
            self._held[who] += 1
            self.n_free -= 1
            return True

    def give_back(self, who: Hashable) -> None:
        """Give a client's slot back."""
        with self._lock:
            self.n_free += 1
            self._held[who] -= 1
            if not self._held[who]:
                del self._held[who]


@dataclass(frozen=True)
class _Waiting:
    """Work that waits for its client's turn."""

    #: Begins it. When it has ended, or could not be begun, it gives its share back.
    begin: Callable[[], None]
    #: Says whether nobody wants it any more.
    is_cancelled: Callable[[], bool]


class Threads:
    """Threads that clients share. Work beyond a client's share waits in that client's queue.

    Work that an event loop submits is done by a pool. A thread that a transport has made for a request does its work
    itself, and counts as one of the pool's meanwhile: two threads for one request would have to wait for each other.

    Args:
        n_threads: How many work at the same time.
    """

    def __init__(self, n_threads: int) -> None:
        self._shares = Shares(n_threads)
        self._threads = concurrent.futures.ThreadPoolExecutor(n_threads, "chroma_nb server")
        self._changed = threading.Condition()
        #: Client -> its waiting work, in order. The client that has waited longest for its turn comes first.
        self._waiting: dict[Hashable, deque[_Waiting]] = {}
        #: How many other threads have their turn.
        self._n_turns = 0
        self._is_closed = False

    def submit(self, who: Hashable, work: Callable[[], Any]) -> asyncio.Future[Any]:
        """Call a function in a thread of the pool, when it is the client's turn. Called on an event loop.

        Args:
            who: The client.
            work: The function.

        Returns:
            A future of its result. When it is cancelled before the work has begun, the work is not done.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()

        def deliver(done: concurrent.futures.Future[Any]) -> None:
            if future.cancelled():
                done.exception()
            elif (error := done.exception()) is not None:
                future.set_exception(error)
            else:
                future.set_result(done.result())

        def ended(done: concurrent.futures.Future[Any]) -> None:
            self._ended(who)
            # The loop may have ended without waiting: somebody pressed Ctrl-C twice.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(deliver, done)

        def begin() -> None:
            try:
                begun = self._threads.submit(work)
            except RuntimeError as error:
                # It is closed, or the machine has no thread left.
                self._shares.give_back(who)
                begun = concurrent.futures.Future()
                begun.set_exception(busy(STOPPING) if self._is_closed else error)
                loop.call_soon_threadsafe(deliver, begun)
            else:
                begun.add_done_callback(ended)

        self._queue(who, _Waiting(begin, future.cancelled))
        return future

    @contextlib.contextmanager
    def turn(self, who: Hashable) -> Iterator[None]:
        """Wait until it is the client's turn to work, in the calling thread.

        Args:
            who: The client.

        Raises:
            Refused: The threads were closed meanwhile.
        """
        begun = threading.Event()
        self._queue(who, _Waiting(begun.set, lambda: False))
        begun.wait()
        try:
            with self._changed:
                if self._is_closed:
                    raise busy(STOPPING)
                self._n_turns += 1
            try:
                yield
            finally:
                with self._changed:
                    self._n_turns -= 1
                    self._changed.notify_all()
        finally:
            self._ended(who)

    def close(self) -> None:
        """Wait until all work that has begun has ended; what waits for its turn is refused. Called by any thread."""
        with self._changed:
            self._is_closed = True
        self._threads.shutdown(wait=True)
        with self._changed:
            self._changed.wait_for(lambda: not self._n_turns)

    def _queue(self, who: Hashable, waiting: _Waiting) -> None:
        with self._changed:
            self._waiting.setdefault(who, deque()).append(waiting)
        self._begin()

    def _ended(self, who: Hashable) -> None:
        self._shares.give_back(who)
        self._begin()

    def _begin(self) -> None:
        """Begin waiting work as far as the shares allow: one piece of each client in turn."""
        # Again, as what could not be begun has given its share back.
        while found := self._next():
            for waiting in found:
                waiting.begin()

    def _next(self) -> list[_Waiting]:
        """Take what may begin now out of the queues."""
        found = []
        with self._changed:
            for who in list(self._waiting):
                queue = self._waiting.pop(who)
                while queue and queue[0].is_cancelled():
                    queue.popleft()
                if not queue:
                    continue
                if not self._shares.take(who):
                    self._waiting[who] = queue
                    continue
                found.append(queue.popleft())
                if queue:
                    self._waiting[who] = queue
        return found
