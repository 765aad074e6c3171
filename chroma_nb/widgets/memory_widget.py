"""`MemoryWidget`: what is in memory, with the buttons that change it."""

from __future__ import annotations

import threading
import time
import weakref
from typing import TYPE_CHECKING, Any

from chroma_nb import display
from chroma_nb.display.cells import Table, showing
from chroma_nb.display.render import fill
from chroma_nb.display.views.memory import by_size, event_table, totals
from chroma_nb.display.words import shorten
from chroma_nb.errors import ChromaError, ServerUnavailableError
from chroma_nb.harmless import clean
from chroma_nb.memory.sizes import format_bytes
from chroma_nb.widgets.panel import Panel, close_tree

if TYPE_CHECKING:
    from chroma_nb.client.client import ClientAPI
    from chroma_nb.memory.report import CollectionMemory, MemoryReport

#: Collections that have a row.
_ROWS = 8
#: The budget slider's steps, in each power of ten.
_STEPS = (1, 2, 5)
#: Figures of the whole process are shown anew when they differ by more than this share: they never rest.
_RESTLESS = 0.03
#: What can be chosen as a collection's TTL; 0 is the store's idle time. (None would be no choice at all.)
_TTLS: list[tuple[str, float]] = [
    *(("idle time", 0.0), ("10 s", 10.0), ("1 min", 60.0), ("10 min", 600.0), ("1 h", 3_600.0)),
]
_WIDTHS = {"name": "190px", "size": "180px", "state": "96px", "used": "84px"}
_CONTROL_WIDTHS = {"pin": "64px", "ttl": "136px", "unload": "84px"}
_TITLES = {"name": "collection", "size": "memory", "state": "state", "used": "last use"}
_CONTROL_TITLES = {"pin": "keep", "ttl": "unload after", "unload": ""}


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
        self._rows: list[_Row] = []
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
        self._count = w.HTML()
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
        titles, widths = {**_TITLES, **_CONTROL_TITLES}, {**_WIDTHS, **_CONTROL_WIDTHS}
        heads = [
            w.HTML(fill("label", label=title, kind="k"), layout=w.Layout(width=widths[key]))
            for key, title in titles.items()
        ]
        self._head = w.HBox(heads)
        self._list = w.VBox([])
        self._widgets = w
        bar = w.HBox([self.budget, self.apply, self.unload_all])
        return w.VBox(
            [
                self._totals,
                self._count,
                self._head,
                self._list,
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
                # A server that has no such thing, or a client that was closed.
                self._root.children = [self._status]
                self._say(str(error))
                self._stopped.set()
                return
            if self._lost:
                self._lost = False
                self._say("")
            self._report = report
            self._show(report)
            self._update_snapshots()

    def _show(self, report: MemoryReport) -> None:
        if abs(report.process_bytes - self._process) > _RESTLESS * self._process:
            self._process = report.process_bytes
        if abs(report.free_bytes - self._free) > _RESTLESS * self._free:
            self._free = report.free_bytes
        lines = totals(report, process_bytes=self._process, free_bytes=self._free)
        self._set(self._totals, "value", fill("totals", totals=lines))
        largest_ones = {one.id for one in by_size(report)[:_ROWS]}
        # In their own order: a row must not run away from under the mouse that unloads it.
        shown = [one for one in report.collections if one.id in largest_ones]
        largest = max((one.resident_bytes for one in shown), default=0) or 1
        for at, one in enumerate(shown):
            if at == len(self._rows):
                self._rows.append(_Row(self, self._widgets))
            self._rows[at].show(one, largest)
        boxes = tuple(row.box for row in self._rows[: len(shown)])
        self._set(self._list, "children", boxes)
        total = len(report.collections)
        text = showing(len(shown), total, "collection") + ("" if total else " yet")
        self._set(self._count, "value", fill("label", label=text, kind="k"))
        self._set(self.unload_all, "disabled", not report.used)
        self._set(self._head.layout, "display", "" if shown else "none")
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
        # Some of them may not be in the tree at the moment.
        for row in self._rows:
            row.close()


class _Row:
    """One collection's line; it is used again for another when the order changes."""

    def __init__(self, panel: MemoryWidget, w: Any) -> None:
        self.name = ""
        self._settling = False
        self._cells = {key: w.HTML(layout=w.Layout(width=size)) for key, size in _WIDTHS.items()}
        layouts = {key: w.Layout(width=size) for key, size in _CONTROL_WIDTHS.items()}
        self.pin = w.ToggleButton(description="pin", layout=layouts["pin"])
        style = {"description_width": "28px"}
        self.ttl = w.Dropdown(options=_TTLS, description="TTL", layout=layouts["ttl"], style=style)
        self.unload = w.Button(description="Unload", layout=layouts["unload"])
        self.unload.on_click(panel._safely(lambda _: panel.unload(self.name)))
        self.pin.observe(panel._safely(lambda change: self._pinned(panel, change)), "value")
        self.ttl.observe(panel._safely(lambda change: self._chosen(panel, change)), "value")
        self.box = w.HBox([*self._cells.values(), self.pin, self.ttl, self.unload])

    def _pinned(self, panel: MemoryWidget, change: Any) -> None:
        if not self._settling:
            panel.pin(self.name, bool(change["new"]))

    def _chosen(self, panel: MemoryWidget, change: Any) -> None:
        if not self._settling:
            panel.set_ttl(self.name, change["new"] or None)

    def show(self, one: CollectionMemory, largest: int) -> None:
        """Show a collection."""
        self.name = one.name
        texts = {
            "name": fill("label", label=shorten(one.name, 60), kind="t"),
            "size": fill(
                "memory_row", n_bytes=one.resident_bytes, bar=round(one.resident_bytes / largest, 3)
            ),
            "state": fill("label", label=one.state_in_words, kind="w"),
            "used": fill("label", label=_ago(one.idle_seconds), kind="k"),
        }
        for key, text in texts.items():
            Panel._set(self._cells[key], "value", text)
        Panel._set(self.unload, "disabled", not one.resident_bytes)
        self._settling = True
        try:
            Panel._set(self.pin, "value", one.pinned)
            ttl = one.ttl_seconds or 0.0
            options = list(_TTLS)
            if ttl not in (seconds for _, seconds in _TTLS):
                options.append((f"{ttl:g} s", ttl))
            if list(self.ttl.options) != options:
                self.ttl.options = options
            Panel._set(self.ttl, "value", ttl)
        finally:
            self._settling = False

    def close(self) -> None:
        """Close the line's widgets."""
        close_tree(self.box)


def _ago(seconds: float | None) -> str:
    """Return a time in steps so coarse that a panel at rest does not change."""
    if seconds is None:
        return "not yet"
    for unit, size in (("h", 3_600), ("min", 60)):
        if seconds >= size:
            return f"{int(seconds // size)} {unit} ago"
    return "just now"


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
