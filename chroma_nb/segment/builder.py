"""`Builder`: one thread that works off requests when their time has come, and goes when idle."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

logger = logging.getLogger("chroma_nb")

#: The thread ends after this long without work; the next request starts another.
_IDLE_SECONDS = 2.0


class Builder:
    """Runs `work(collection_id)` in the background, one at a time, never twice at once.

    Args:
        work: What to do for a collection. Its errors are logged; they harm nobody, as what it builds
            is derived.
    """

    def __init__(self, work: Callable[[UUID], None]) -> None:
        self._work = work
        self._condition = threading.Condition()
        #: Collection -> the moment (monotonic) from which its work may start.
        self._due: dict[UUID, float] = {}
        self._thread: threading.Thread | None = None
        self._closed = False

    def request(self, collection_id: UUID, delay_seconds: float) -> None:
        """Ask for work on a collection; asking again before it starts moves it back."""
        with self._condition:
            if self._closed:
                return
            self._due[collection_id] = time.monotonic() + delay_seconds
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name="chroma_nb-builder", daemon=True
                )
                self._thread.start()
            self._condition.notify_all()

    def _run(self) -> None:
        idle_since = time.monotonic()
        while True:
            with self._condition:
                now = time.monotonic()
                ready = [key for key, due in self._due.items() if due <= now]
                if self._closed or (not self._due and now - idle_since > _IDLE_SECONDS):
                    self._thread = None
                    return
                if not ready:
                    until = min(self._due.values(), default=idle_since + _IDLE_SECONDS + 0.01)
                    self._condition.wait(max(0.0, until - now))
                    continue
                collection_id = ready[0]
                del self._due[collection_id]
            try:
                self._work(collection_id)
            except Exception:
                if not self._closed:
                    logger.exception("Building the graph of collection %s failed", collection_id)
            idle_since = time.monotonic()

    def close(self) -> None:
        """Drop what waits, and wait for what is being done."""
        with self._condition:
            self._closed = True
            self._due.clear()
            thread = self._thread
            self._condition.notify_all()
        if thread is not None and thread is not threading.current_thread():
            with contextlib.suppress(RuntimeError):
                thread.join()
