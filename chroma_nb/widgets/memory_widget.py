"""`MemoryWidget`: what is in memory, with the buttons that change it."""

from __future__ import annotations

import threading
import time
import weakref
from typing import TYPE_CHECKING, Any

from chroma_nb import display
from chroma_nb.display.cells import Table
from chroma_nb.display.render import fill
from chroma_nb.display.views.memory import event_table, totals
from chroma_nb.display.words import shorten
from chroma_nb.errors import ChromaError, ServerUnavailableError
from chroma_nb.harmless import clean
from chroma_nb.memory.sizes import format_bytes
from chroma_nb.widgets.memory_rows import CollectionRows
from chroma_nb.widgets.panel import Panel

if TYPE_CHECKING:
    from chroma_nb.client.client import ClientAPI
    from chroma_nb.memory.report import MemoryReport

#: The budget slider's steps, in each power of ten.
_STEPS = (1, 2, 5)
#: Figures of the whole process are shown anew when they differ by more than this share: they never rest.
_RESTLESS = 0.03


class MemoryWidget(Panel):
    """A live panel of a store's memory.

    Each collection has its size, state, last use, pin, TTL and an Unload button that calls
    `Collection.unload`. The slider chooses a budget: first it is shown what would be unloaded, then Apply
    does it. Everything is also a call, see `ClientMemory`.

    Args:
        client: The client whose store is shown.
        refresh_seconds: How often it looks for changes; what did not change sends nothing.
    """

    def __init__(self, client: ClientAPI, *, refresh_seconds: float = 1.0) -> None:
        self._client = client
        self._report: MemoryReport | None = None
        #: The budget that the slider takes for the present one; options are being changed.
        self.budget_in_force = 0
        self._settling = False
        #: Did the server not answer when it was last asked?
        self._lost = False
        self._process = 0
        self._free = 0
        self._stopped = threading.Event()
        self._seen = ""
        super().__init__()
        if self._root is not None:
            self.refresh()
            threading.Thread(
                target=_watch,
                args=(weakref.ref(self), self._stopped, max(0.5, refresh_seconds)),
                name="chroma_nb memory widget",
                daemon=True,
            ).start()

    def __repr__(self) -> str:
        if self._report is None:
            return "MemoryWidget()"
        used, budget = format_bytes(self._report.used), format_bytes(self._report.budget)
        return f"MemoryWidget({used} of {budget})"

    def _snapshot(self) -> str:
        try:
            report = self._client.memory.report()
        except ChromaError as error:
            # What was last seen of a store that is closed now says more than that it is closed.
            return self._seen or fill("message", message=str(error))
        self._seen = display.html(report if report.server else self._client.memory) or ""
        return self._seen

    def _build(self, w: Any) -> Any:
        self._totals = w.HTML()
        self._events = w.HTML()
        self._preview = w.HTML()
        self.budget = w.SelectionSlider(
            options=[("–", 0)],
            description="budget",
            continuous_update=False,
            layout=w.Layout(width="440px"),
            style={"description_width": "56px"},
        )
        self.apply = w.Button(description="Apply", disabled=True, layout=w.Layout(width="84px"))
        self.unload_all = w.Button(description="Unload all", layout=w.Layout(width="104px"))
        self.budget.observe(self._safely(self._show_preview), "value")
        self.apply.on_click(self._safely(self._apply))
        self.unload_all.on_click(self._safely(self._unload_all))
        self.rows = CollectionRows(self, w)
        bar = w.HBox([self.budget, self.apply, self.unload_all])
        return w.VBox(
            [
                self._totals,
                self.rows.box,
                bar,
                self._preview,
                self._events,
                self._status,
            ]
        )

    # -- looking ------------------------------------------------------------------------------

    def refresh(self) -> None:
        """Look again, and show what has changed."""
        if self._closed or self._root is None:
            return
        with self._lock:
            try:
                report = self._client.memory.report()
            except ServerUnavailableError as error:
                # It may come back.
                self._lost = True
                self._say(str(error))
                return
            except ChromaError as error:
                # A server that has no such thing, or a client that was closed: what it had last is still to be seen.
                if self._report is None:
                    self._root.children = [self._status]
                else:
                    self._end()
                self._say(str(error))
                self._stopped.set()
                return
            if self._lost:
                self._lost = False
                self._say("")
            self._report = report
            self._show(report)
            self._update_snapshots()

    def _end(self) -> None:
        """Leave everything as it is; nothing can be clicked any more."""
        self.rows.end()
        for control in (self.budget, self.apply, self.unload_all):
            control.disabled = True

    def _show(self, report: MemoryReport) -> None:
        if abs(report.process_bytes - self._process) > _RESTLESS * self._process:
            self._process = report.process_bytes
        if abs(report.free_bytes - self._free) > _RESTLESS * self._free:
            self._free = report.free_bytes
        lines = totals(report, process_bytes=self._process, free_bytes=self._free)
        self._set(self._totals, "value", fill("totals", totals=lines))
        self.rows.show(report)
        self._set(self.unload_all, "disabled", not report.used)
        events = event_table(report.events)
        self._set(self._events, "value", fill("fragment", lead="", table=events))
        self._offer_budgets(report)

    def _offer_budgets(self, report: MemoryReport) -> None:
        """Fill the slider: round sizes up to the machine's limit, and the budget in force."""
        if self.budget.value not in (0, self.budget_in_force):
            # Somebody is choosing.
            return
        sizes = {
            step * 10**power
            for power in range(6, 13)
            for step in _STEPS
            if step * 10**power < report.limit_bytes
        }
        steps = sorted(sizes | {report.budget})
        options = tuple((format_bytes(size), size) for size in steps)
        if tuple(self.budget.options) != options or self.budget.value != report.budget:
            self.budget_in_force = report.budget
            self._settling = True
            try:
                self.budget.options = options
                self.budget.value = report.budget
            finally:
                self._settling = False

    # -- acting -------------------------------------------------------------------------------

    def _show_preview(self, change: Any) -> None:
        if self._settling:
            return
        chosen = self.budget.value
        changed = chosen != self.budget_in_force
        self._set(self.apply, "disabled", not changed)
        if not changed:
            self._set(self._preview, "value", "")
            return
        going = self._client.memory.preview(chosen)
        size = format_bytes(sum(one.n_bytes for one in going))
        names = ", ".join(f"{shorten(one.collection, 40)} ({one.reason})" for one in going[:5])
        more = f" and {len(going) - 5} more" if len(going) > 5 else ""
        lead = f"A budget of {format_bytes(chosen)} would unload {size}: {names}{more}."
        if not going:
            lead = f"With a budget of {format_bytes(chosen)} nothing would be unloaded."
        if going.refused:
            lead = f"This budget would be refused. {clean(going.refused)}"
        self._set(self._preview, "value", fill("fragment", lead=lead, table=Table("")))

    def _apply(self, button: Any) -> None:
        self._client.memory.budget = self.budget.value
        self.budget_in_force = self.budget.value
        self._set(self._preview, "value", "")
        self._set(self.apply, "disabled", True)
        self.refresh()

    def _unload_all(self, button: Any) -> None:
        self._client.memory.unload_all()
        self.refresh()

    def unload(self, name: str) -> None:
        """Unload one collection, as its button does."""
        self._client.get_collection(name, embedding_function=None).unload()
        self.refresh()

    def pin(self, name: str, pinned: bool) -> None:
        """Pin or unpin one collection, as its button does."""
        memory = self._client.memory
        try:
            (memory.pin if pinned else memory.unpin)(name)
        finally:
            self.refresh()

    def set_ttl(self, name: str, seconds: float | None) -> None:
        """Set one collection's TTL, as its menu does."""
        self._client.memory.set_ttl(name, seconds)
        self.refresh()

    def close(self) -> None:
        """End the live panel and its thread; the snapshot stays."""
        self._stopped.set()
        super().close()
        if self._root is not None:
            # Some of its lines are not in the tree at the moment.
            self.rows.close()


def _watch(panel: weakref.ref[MemoryWidget], stopped: threading.Event, seconds: float) -> None:
    """Refresh a panel until it is closed or nobody has it any more."""
    pause = seconds
    while not stopped.wait(pause):
        alive = panel()
        if alive is None or alive.closed:
            return
        started = time.perf_counter()
        try:
            alive.refresh()
            # Thousands of collections take a while to look through: never a tenth of the time.
            pause = max(seconds, 10 * (time.perf_counter() - started))
        except Exception:
            # The kernel is going down, or the front end is gone: nobody is there to be told.
            return
        del alive
