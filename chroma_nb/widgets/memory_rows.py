"""`CollectionRows`: the memory panel's lines, one for each collection, with a filter, an order and pages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from chroma_nb.display.render import fill
from chroma_nb.display.words import shorten
from chroma_nb.widgets.panel import Panel, close_tree
from chroma_nb.words import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from chroma_nb.memory.report import CollectionMemory, MemoryReport
    from chroma_nb.widgets.memory_widget import MemoryWidget

#: Collections on a page.
_PAGE = 8
#: Lines whose widgets are kept for collections that are on no page at the moment.
_MOST_KEPT = 64
#: What can be chosen as a collection's TTL; 0 is the store's idle time. (None would be no choice at all.)
_TTLS: list[tuple[str, float]] = [
    *(("idle time", 0.0), ("10 s", 10.0), ("1 min", 60.0), ("10 min", 600.0), ("1 h", 3_600.0)),
]
_WIDTHS = {"name": "190px", "size": "180px", "state": "96px", "used": "84px"}
_CONTROL_WIDTHS = {"pin": "64px", "ttl": "136px", "unload": "84px"}
_TITLES = {"name": "collection", "size": "memory", "state": "state", "used": "last use"}
_CONTROL_TITLES = {"pin": "keep", "ttl": "unload after", "unload": ""}
_NEVER = float("inf")
#: What can be chosen as the order -> the key to sort by.
_ORDERS: dict[str, Callable[[CollectionMemory], Any]] = {
    "largest first": lambda one: -one.resident_bytes,
    "used last first": lambda one: _NEVER if one.idle_seconds is None else one.idle_seconds,
    "by name": lambda one: one.name.casefold(),
}


class CollectionRows:
    """The lines of a memory panel.

    Those that are pinned or have a TTL come first. A line belongs to its collection, so a click that comes late acts on
    the one that it was meant for. Lines keep their places as long as the page shows the same collections.

    Args:
        panel: The panel; its methods do what the lines' controls ask for.
        w: The module ipywidgets.
    """

    def __init__(self, panel: MemoryWidget, w: Any) -> None:
        self._panel = panel
        self._widgets = w
        #: Collection's id -> its line; those on the page are the last ones.
        self._rows: dict[str, Row] = {}
        self._shown: list[str] = []
        self._page = 0
        short = {"description_width": "initial"}
        self.find = w.Text(
            description="find",
            placeholder="part of a name",
            layout=w.Layout(width="220px"),
            style=short,
        )
        self.order = w.Dropdown(
            options=list(_ORDERS),
            description="order",
            layout=w.Layout(width="200px"),
            style=short,
        )
        self.back = w.Button(description="‹", tooltip="Page before", layout=w.Layout(width="36px"))
        self.forward = w.Button(description="›", tooltip="Next page", layout=w.Layout(width="36px"))
        self._count = w.HTML()
        self.find.observe(panel._safely(lambda _: self._turn_to(0)), "value")
        self.order.observe(panel._safely(lambda _: self._turn_to(0)), "value")
        self.back.on_click(panel._safely(lambda _: self._turn_to(self._page - 1)))
        self.forward.on_click(panel._safely(lambda _: self._turn_to(self._page + 1)))
        self._bar = w.HBox([self.find, self.order, self.back, self.forward, self._count])
        titles, widths = {**_TITLES, **_CONTROL_TITLES}, {**_WIDTHS, **_CONTROL_WIDTHS}
        heads = [
            w.HTML(fill("label", label=title, kind="k"), layout=w.Layout(width=widths[key]))
            for key, title in titles.items()
        ]
        self._head = w.HBox(heads)
        self._list = w.VBox([])
        self.box = w.VBox([self._bar, self._head, self._list])

    @property
    def shown(self) -> list[Row]:
        """The lines on the page."""
        return [self._rows[one] for one in self._shown]

    def show(self, report: MemoryReport) -> None:
        """Show the collections of a report."""
        known = {one.id: one for one in report.collections}
        found = self._found(report.collections)
        self._page = max(0, min(self._page, (len(found) - 1) // _PAGE))
        first = self._page * _PAGE
        page = [one.id for one in found[first : first + _PAGE]]
        if set(page) != set(self._shown):
            self._shown = page
        largest = max((known[one].resident_bytes for one in self._shown), default=0) or 1
        for one in self._shown:
            row = self._rows.pop(one, None) or Row(self._panel, self._widgets)
            self._rows[one] = row
            row.show(known[one], largest)
        boxes = tuple(row.box for row in self.shown)
        Panel._set(self._list, "children", boxes)
        self._close_others(known)
        self._say_which(first, len(found), len(report.collections))

    def _found(self, collections: Sequence[CollectionMemory]) -> list[CollectionMemory]:
        """Return the collections whose names have what is looked for, in their order."""
        word, key = self.find.value.strip().casefold(), _ORDERS[self.order.value]
        found = [one for one in collections if word in one.name.casefold()]
        return sorted(found, key=lambda one: (not _is_kept(one), key(one)))

    def _say_which(self, first: int, n_found: int, n_all: int) -> None:
        last = min(first + _PAGE, n_found)
        every = counted(n_all, "collection")
        text = every if n_all else "No collections yet"
        if n_found > _PAGE:
            of = f"{n_found:,} found, {every}" if n_found < n_all else every
            text = f"{first + 1:,} to {last:,} of {of}"
        elif n_found < n_all:
            text = f"{n_found:,} of {every}"
        Panel._set(self._count, "value", fill("label", label=text, kind="k"))
        Panel._set(self.back, "disabled", first == 0)
        Panel._set(self.forward, "disabled", last >= n_found)
        Panel._set(self._head.layout, "display", "" if n_found else "none")
        # On a single page there is nothing to look for.
        are_many = n_all > _PAGE or bool(self.find.value)
        for one in (self.find, self.order, self.back, self.forward):
            Panel._set(one.layout, "display", "" if are_many else "none")

    def _turn_to(self, page: int) -> None:
        self._page = page
        # In their order from now on, also where they are the same.
        self._shown = []
        self._panel.refresh()

    def _close_others(self, known: dict[str, CollectionMemory]) -> None:
        """Close the widgets of collections that are gone, and those not shown for the longest time."""
        n_over = len(self._rows) - _MOST_KEPT
        for at, one in enumerate(list(self._rows)):
            if one not in known or (at < n_over and one not in self._shown):
                self._rows.pop(one).close()

    def end(self) -> None:
        """Leave everything as it is; nothing can be clicked any more."""
        for control in (self.find, self.order, self.back, self.forward):
            control.disabled = True
        for row in self.shown:
            row.end()

    def close(self) -> None:
        """Close all widgets; those on the page are in the panel's tree too."""
        for row in self._rows.values():
            row.close()


class Row:
    """One collection's line.

    Args:
        panel: The panel that it acts on.
        w: The module ipywidgets.
    """

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
        """Show the collection's state.

        Args:
            one: The state.
            largest: The bytes of a whole bar.
        """
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

    def end(self) -> None:
        """Leave it as it is; nothing can be clicked any more."""
        for control in (self.pin, self.ttl, self.unload):
            control.disabled = True

    def close(self) -> None:
        """Close the line's widgets."""
        close_tree(self.box)


def _is_kept(one: CollectionMemory) -> bool:
    """Say whether somebody has decided how long it stays."""
    return one.pinned or one.ttl_seconds is not None


def _ago(seconds: float | None) -> str:
    """Return a time in steps so coarse that a panel at rest does not change."""
    if seconds is None:
        return "not yet"
    for unit, size in (("h", 3_600), ("min", 60)):
        if seconds >= size:
            return f"{int(seconds // size)} {unit} ago"
    return "just now"
