"""`WorkersWidget`: who computes for a store, and what has failed, as it changes."""

from __future__ import annotations

import threading
import weakref
from typing import TYPE_CHECKING, Any

from chroma_nb import display
from chroma_nb.display.render import fill
from chroma_nb.display.views.workers import event_table, figures, lead, worker_table
from chroma_nb.widgets.panel import Panel

if TYPE_CHECKING:
    from chroma_nb.client.workers import ClientWorkers

#: How often it looks at most, seconds.
_LEAST_SECONDS = 0.5


class WorkersWidget(Panel):
    """A live panel of the workers of a store: who is there, pieces in flight, failures.

    Args:
        workers: `client.workers`.
        refresh_seconds: How often it looks for changes; what did not change sends nothing.

    Raises:
        NotSupportedError: Workers do not compute for this store.
    """

    def __init__(self, workers: ClientWorkers, *, refresh_seconds: float = 1.0) -> None:
        self._workers = workers
        workers.report()
        self._stopped = threading.Event()
        super().__init__()
        if self._root is not None:
            self.refresh()
            threading.Thread(
                target=_watch,
                args=(weakref.ref(self), self._stopped, max(_LEAST_SECONDS, refresh_seconds)),
                name="chroma_nb panel of workers",
                daemon=True,
            ).start()

    def __repr__(self) -> str:
        return f"WorkersWidget({self._workers!r})"

    def _snapshot(self) -> str:
        return display.html(self._workers) or ""

    def _build(self, w: Any) -> Any:
        self._parts = [w.HTML() for _ in range(3)]
        return w.VBox([*self._parts, self._status])

    def refresh(self) -> None:
        """Look again, and show what has changed."""
        if self._closed or self._root is None:
            return
        with self._lock:
            report = self._workers.report()
            shown = [(lead(report), worker_table(report)), ("", figures(report))]
            shown.append(("", event_table(report)))
            for part, (sentence, table) in zip(self._parts, shown, strict=True):
                self._set(part, "value", fill("fragment", lead=sentence, table=table))
            self._update_snapshots()

    def close(self) -> None:
        """End the live panel and its thread; the snapshot stays."""
        self._stopped.set()
        super().close()


def _watch(panel: weakref.ref[WorkersWidget], stopped: threading.Event, seconds: float) -> None:
    """Refresh a panel until it is closed or nobody has it any more."""
    while not stopped.wait(seconds):
        alive = panel()
        if alive is None or alive.closed:
            return
        try:
            alive.refresh()
        except Exception:
            # The kernel is going down, or the front end is gone: nobody is there to be told.
            return
        del alive
