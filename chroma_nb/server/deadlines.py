"""`Deadlines`: calls a function, in a thread of its own, when a block of code takes too long. The block goes on.

For requests that a transport carries out in a thread that it has made; others have their deadline in `Service.run`.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: How often is looked for work that is late: so many times in the time that work may take. Waking a thread for each
#: request would cost more than small requests take.
_LOOKS = 8
#: Bounds of the interval between two looks, seconds.
_SHORTEST, _LONGEST = 0.01, 1.0


class Deadlines:
    """The deadlines of requests, all of one length. Safe for threads.

    Args:
        seconds: How long work may take; 0: as long as it takes.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._interval = min(_LONGEST, max(_SHORTEST, seconds / _LOOKS))
        self._changed = threading.Condition()
        #: Its object -> when it is late (the monotonic clock), and what is called then. The first one is late first.
        self._watched: OrderedDict[object, tuple[float, Callable[[], object]]] = OrderedDict()
        self._thread: threading.Thread | None = None
        self._is_closed = False

    @contextlib.contextmanager
    def watch(self, on_late: Callable[[], object]) -> Iterator[None]:
        """Do the work of the block, and call a function in another thread once it is late.

        Args:
            on_late: The function. It must not raise, and may still run when the block has ended.
        """
        if not self._seconds:
            yield
            return
        key = object()
        with self._changed:
            self._watched[key] = (time.monotonic() + self._seconds, on_late)
            self._start()
        try:
            yield
        finally:
            with self._changed:
                self._watched.pop(key, None)

    def close(self) -> None:
        """End the thread that looks."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    def _start(self) -> None:
        """Start the thread, with the first work. The caller holds the lock."""
        if self._thread is None and not self._is_closed:
            thread = threading.Thread(
                target=self._run, name="chroma_nb server deadlines", daemon=True
            )
            # A machine that has no thread left tries again with the next request.
            with contextlib.suppress(RuntimeError):
                thread.start()
                self._thread = thread

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._is_closed, self._interval)
                if self._is_closed:
                    return
                late = self._take_late()
            for on_late in late:
                on_late()

    def _take_late(self) -> list[Callable[[], object]]:
        now = time.monotonic()
        late = []
        while self._watched:
            key, (at, on_late) = next(iter(self._watched.items()))
            if at > now:
                break
            del self._watched[key]
            late.append(on_late)
        return late
