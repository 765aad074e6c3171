"""`Roster`: which workers are there. They are asked when work begins, and again while it goes on."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from chroma_nb.errors import ServerUnavailableError
from chroma_nb.tasks.messages import VERSION
from chroma_nb.tasks.report import WorkerInfo

if TYPE_CHECKING:
    from collections.abc import Callable

    from chroma_nb.tasks.line import Line

#: How long workers may take to say that they are there, seconds.
ANSWER_SECONDS = 1.0
#: They are asked again after that, and one that has not answered three times is gone.
_AGE_SECONDS = 10.0
_GONE_SECONDS = 30.0
#: What is believed of somebody who says to be a worker.
_MOST_WORKERS, _MOST_SLOTS = 1_000, 1_000


class Roster:
    """The workers at a broker.

    Args:
        connect: Opens a line to it.
    """

    def __init__(self, connect: Callable[[], Line]) -> None:
        self._connect = connect
        self._lock = threading.Lock()
        #: When a worker was last heard, and what it has said.
        self._known: dict[str, tuple[float, WorkerInfo]] = {}
        self._asked = float("-inf")
        self._heard = threading.Event()
        self._thread: threading.Thread | None = None

    def look(self) -> None:
        """Ask who is there, where that was not done lately. Nobody waits for it but `wait`."""
        with self._lock:
            age = _AGE_SECONDS if self._known else ANSWER_SECONDS
            is_at_it = self._thread is not None and self._thread.is_alive()
            if is_at_it or time.monotonic() - self._asked < age:
                return
            self._asked = time.monotonic()
            self._heard.clear()
            self._thread = threading.Thread(target=self._ask, name="chroma_nb workers", daemon=True)
            self._thread.start()

    def forget(self) -> None:
        """Ask anew when that is next wanted."""
        with self._lock:
            self._asked = float("-inf")

    def wait(self) -> int:
        """Return how many pieces the workers can compute at once; wait for the first that answers, at most `ANSWER_SECONDS`."""
        self.look()
        until = time.monotonic() + ANSWER_SECONDS + 0.2
        while not self.slots and (left := until - time.monotonic()) > 0:
            self._heard.wait(min(left, 0.05))
            if self._thread is None or not self._thread.is_alive():
                break
        return self.slots

    @property
    def slots(self) -> int:
        """Processes that compute, of workers of this version."""
        return sum(one.slots for one in self.workers() if one.is_used)

    @property
    def builds_graphs(self) -> bool:
        """Is there a worker that builds graphs?"""
        return any(one.builds_graphs and one.is_used for one in self.workers())

    def workers(self) -> list[WorkerInfo]:
        """Return those that have answered lately, by name."""
        now = time.monotonic()
        with self._lock:
            known = sorted(self._known.items())
        return [replace(said, seconds_ago=now - at) for _, (at, said) in known]

    def why_nobody(self) -> str:
        """Say why there is nobody to send work to."""
        others = sorted({one.version for one in self.workers() if not one.is_used})
        if others:
            return (
                f"the workers are of another release of chroma_nb ({', '.join(others)}; this is {VERSION}), and their vectors "
                "might differ: install the same everywhere"
            )
        return "no worker answers: start one with chroma-nb worker --broker URL"

    def _ask(self) -> None:
        started = time.monotonic()
        try:
            line = self._connect()
        except ServerUnavailableError:
            return
        try:
            line.ask_workers(self._on_answer, ANSWER_SECONDS)
        except ServerUnavailableError:
            return
        finally:
            line.close()
        with self._lock:
            self._known = {
                name: (at, said)
                for name, (at, said) in self._known.items()
                if at >= started or started - at < _GONE_SECONDS - _AGE_SECONDS
            }

    def _on_answer(self, name: str, said: Any) -> None:
        if not isinstance(said, dict) or not isinstance(said.get("version"), str):
            return
        slots = said.get("slots")
        if type(slots) is not int or not 0 < slots <= _MOST_SLOTS:
            return
        found = WorkerInfo(
            name[:200],
            str(said.get("host", ""))[:100],
            slots,
            said["version"][:40],
            said["version"] == VERSION,
            said.get("builds_graphs") is True,
            0.0,
        )
        with self._lock:
            if len(self._known) < _MOST_WORKERS or found.name in self._known:
                self._known[found.name] = (time.monotonic(), found)
        self._heard.set()
