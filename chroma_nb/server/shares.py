"""Shares of a server's slots and threads, so that no client takes all of them."""

from __future__ import annotations

import concurrent.futures
import threading
from collections import Counter, deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from chroma_nb.server.refusals import STOPPING, busy

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

T = TypeVar("T")


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


@dataclass(eq=False)
class _Work:
    """Work of a client, which waits for its turn."""

    threads: Threads
    who: Hashable
    work: Callable[[], Any]
    future: concurrent.futures.Future[Any]

    def run(self) -> None:
        """Do it. Its share is given back before the answer, whose client may ask at once for something else."""
        future = self.future
        if not future.set_running_or_notify_cancel():
            self.threads.ended(self.who)
            return
        # An error knows this frame and its callers'. It and the future would keep each other alive, and all that the work held.
        del self.future
        try:
            found = self.work()
        except BaseException as error:
            self.threads.ended(self.who)
            future.set_exception(error)
            del future
        else:
            self.threads.ended(self.who)
            future.set_result(found)


class Threads:
    """A pool of threads that clients share. Work beyond a client's share waits in that client's queue.

    Safe for threads.

    Args:
        n_threads: How many there are.
    """

    def __init__(self, n_threads: int) -> None:
        self._shares = Shares(n_threads)
        self._threads = concurrent.futures.ThreadPoolExecutor(n_threads, "chroma_nb server")
        self._lock = threading.Lock()
        #: How many pieces of work are done by threads that asked for it themselves.
        self._n_here = 0
        self._changed = threading.Condition()
        #: Client -> its waiting work, in order. The client that has waited longest for its turn comes first.
        self._waiting: dict[Hashable, deque[_Work]] = {}
        self._is_closed = False

    def submit(self, who: Hashable, work: Callable[[], Any]) -> concurrent.futures.Future[Any]:
        """Call a function in a thread, when it is the client's turn.

        Args:
            who: The client.
            work: The function.

        Returns:
            A future of its result. When it is cancelled before the work has begun, the work is not done.
        """
        future: concurrent.futures.Future[Any] = concurrent.futures.Future()
        one = _Work(self, who, work, future)
        with self._lock:
            self._waiting.setdefault(who, deque()).append(one)
        self._begin()
        return future

    def run(self, who: Hashable, work: Callable[[], T]) -> T:
        """Call a function when it is the client's turn, and return what it returns: in this thread where that is now.

        Args:
            who: The client.
            work: The function.

        Raises:
            Refused: The threads are closed.
        """
        with self._changed:
            if self._is_closed:
                raise busy(STOPPING)
            is_now = self._shares.take(who)
            self._n_here += is_now
        if not is_now:
            return self.submit(who, work).result()  # type: ignore[no-any-return]
        try:
            return work()
        finally:
            with self._changed:
                self._n_here -= 1
                self._changed.notify_all()
            self.ended(who)

    def close(self) -> None:
        """Wait until all work that has begun has ended; what waits for its turn is refused. Called by any thread."""
        with self._changed:
            self._is_closed = True
        self._threads.shutdown(wait=True)
        with self._changed:
            self._changed.wait_for(lambda: not self._n_here)

    def ended(self, who: Hashable) -> None:
        """Give the share of work back that has ended, and begin what waits for it."""
        self._shares.give_back(who)
        self._begin()

    def _begin(self) -> None:
        """Begin waiting work as far as the shares allow: one piece of each client in turn."""
        # Again, as what could not be begun has given its share back.
        while found := self._next():
            for one in found:
                try:
                    self._threads.submit(one.run)
                except RuntimeError as error:
                    # It is closed, or the machine has no thread left.
                    self._shares.give_back(one.who)
                    if one.future.set_running_or_notify_cancel():
                        one.future.set_exception(busy(STOPPING) if self._is_closed else error)

    def _next(self) -> list[_Work]:
        """Take what may begin now out of the queues."""
        found = []
        with self._lock:
            for who in list(self._waiting):
                queue = self._waiting.pop(who)
                while queue and queue[0].future.cancelled():
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
