"""`History`: what a store has loaded and unloaded, and how much it held over time."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING

from chroma_nb.memory.machine import process_rss
from chroma_nb.memory.report import ELSEWHERE, MemoryEvent, MemorySample

if TYPE_CHECKING:
    from chroma_nb.segment.slot import CollectionName

logger = logging.getLogger("chroma_nb")

#: Events kept for the report.
_EVENTS = 200
#: Samples of what was held that are kept, and the least time between two of them: one that comes earlier replaces
#: the last one.
_SAMPLES = 1_000
_SAMPLE_SECONDS = 0.5
#: The size of the process is not read again within this time: reading it takes 0.1 ms.
_RSS_SECONDS = 0.01


class History:
    """The last events of a store, and samples of what it held. Safe for threads."""

    def __init__(self) -> None:
        #: Each with the name of its collection: only its own tenant and database are shown it.
        self._events: deque[tuple[CollectionName, MemoryEvent]] = deque(maxlen=_EVENTS)
        self._samples: deque[MemorySample] = deque(maxlen=_SAMPLES)
        self._lock = threading.Lock()
        #: The size of the process in bytes, and when it was read (monotonic).
        self._rss, self._rss_at = 0, float("-inf")

    def note(
        self, action: str, name: CollectionName, reason: str, n_bytes: int, seconds: float
    ) -> None:
        """Keep an event; see `MemoryEvent`."""
        logger.debug(
            "%s %s: %s, %d bytes, %.1f ms", action, name.name, reason, n_bytes, seconds * 1e3
        )
        event = MemoryEvent(time.time(), action, name.name, reason, n_bytes, seconds)
        self._events.append((name, event))

    def sample(self, used: int, budget: int, *, short: bool) -> None:
        """Keep a sample. While nothing changes, the last one is replaced, so that the history shows changes.

        Args:
            used: Bytes that the loaded collections hold.
            budget: Bytes that they may hold.
            short: The machine's memory is short.
        """
        samples = self._samples
        with self._lock:
            now = MemorySample(time.time(), used, budget, self._process_bytes(), short=short)
            if len(samples) > 1:
                before, last = samples[-2], samples[-1]
                held = {(each.used, each.budget, each.short) for each in (before, last, now)}
                at_rest = len(held) == 1
                if at_rest or now.time - before.time < _SAMPLE_SECONDS:
                    samples.pop()
            samples.append(now)

    def _process_bytes(self) -> int:
        """Return the resident memory of the process in bytes, read at most once in `_RSS_SECONDS`."""
        now = time.monotonic()
        if now - self._rss_at > _RSS_SECONDS:
            self._rss, self._rss_at = process_rss(), now
        return self._rss

    def events(self, tenant: str, database: str) -> list[MemoryEvent]:
        """Return the events, the oldest first; those of other tenants and databases without the collection's name."""
        return [
            event
            if (name.tenant, name.database) == (tenant, database)
            else replace(event, collection=ELSEWHERE)
            for name, event in list(self._events)
        ]

    def samples(self) -> list[MemorySample]:
        """Return the samples, the oldest first."""
        return list(self._samples)
