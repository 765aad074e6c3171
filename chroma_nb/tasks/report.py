"""`WorkersReport`: which workers a store has, what they are at, and what has failed."""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from chroma_nb.display.base import Displayed
from chroma_nb.words import counted

#: Events that are kept.
_EVENTS = 50


@dataclass(frozen=True)
class WorkerInfo:
    """One worker, as it last said."""

    name: str
    host: str
    slots: int
    version: str
    #: It is of this release, and is sent work.
    is_used: bool
    builds_graphs: bool
    seconds_ago: float


@dataclass(frozen=True)
class WorkersReport(Displayed):
    """What a store knows of its workers, for displays and metrics."""

    _view = "workers"

    #: The broker's address without secrets.
    broker: str
    #: None: nobody has asked yet.
    broker_answers: bool | None
    workers: list[WorkerInfo]
    pieces_in_flight: int
    #: Pieces since the store was opened: done by workers, done here, sent again or lost, come twice.
    done: int
    done_here: int
    failed: int
    duplicates: int
    graphs: int
    #: (seconds ago, what happened), the newest first.
    events: list[tuple[float, str]] = field(default_factory=list)

    def __repr__(self) -> str:
        used = [one for one in self.workers if one.is_used]
        return (
            f"WorkersReport({counted(len(used), 'worker')} at {self.broker}, {counted(self.pieces_in_flight, 'piece')} in flight, "
            f"{self.done:,} done, {self.done_here:,} done here, {self.failed:,} failed)"
        )


class Tally:
    """Counts what becomes of the pieces. Safe for many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts = dict.fromkeys(
            ("in_flight", "done", "done_here", "failed", "duplicates", "graphs"), 0
        )
        self._events: deque[tuple[float, str]] = deque(maxlen=_EVENTS)

    def count(self, **changes: int) -> None:
        """Add to counts."""
        with self._lock:
            for name, change in changes.items():
                self._counts[name] += change

    def note(self, sentence: str) -> None:
        """Keep an event."""
        with self._lock:
            self._events.appendleft((time.monotonic(), sentence))

    def values(self) -> dict[str, Any]:
        """Return the counts, and `events` as (seconds ago, sentence)."""
        now = time.monotonic()
        with self._lock:
            return {**self._counts, "events": [(now - at, what) for at, what in self._events]}
