"""`MemoryPlot`: what was held over time, and what happened."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from chroma_nb.memory.sizes import format_bytes
from chroma_nb.plotting.picture import COLORS, FAINT, INK, Picture, calm, label, new_figure, on_any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chroma_nb.memory.report import MemoryReport, MemorySample

#: Events whose collection is named in the picture, and how far apart these are at least, as a share.
_NAMED = 8
_APART = 0.11
_MARKS = {
    "load": ("^", COLORS[2]),
    "unload": ("v", on_any(COLORS[1])),
    "stay on disk": ("x", FAINT),
}
_MARKS |= {"stay exact": ("s", FAINT)}


class MemoryPlot(Picture):
    """Bytes of the loaded collections over time, the budget, the process, and the events.

    Args:
        report: Its `history` and `events` are shown.
    """

    def __init__(self, report: MemoryReport) -> None:
        self.report = report
        self._figure: Any = None

    def __repr__(self) -> str:
        used, budget = format_bytes(self.report.used), format_bytes(self.report.budget)
        return f"MemoryPlot({used} of {budget}, {len(self.report.events)} events)"

    @property
    def _about(self) -> str:
        used, budget = format_bytes(self.report.used), format_bytes(self.report.budget)
        return f"memory over time: now {used} of the budget of {budget}"

    @property
    def figure(self) -> Any:
        if self._figure is None:
            self._figure = self._draw()
        return self._figure

    def _draw(self) -> Any:
        figure = new_figure(8.4, 4.4, "client.memory.plot()")
        index, kernel = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1.2])
        history = self.report.history
        start = history[0].time if history else 0.0
        times = [sample.time - start for sample in history]
        unit, divisor = _unit(max((sample.used for sample in history), default=0))
        used = [sample.used / divisor for sample in history]
        index.fill_between(
            times, used, step="post", color=on_any(COLORS[0]), alpha=0.16, linewidth=0
        )
        index.step(
            times, used, where="post", color=on_any(COLORS[0]), linewidth=1.8, label="loaded"
        )
        budget = [sample.budget / divisor for sample in history]
        # A budget far above what is held would flatten everything else.
        if budget and max(budget) <= 4 * max(used):
            index.step(
                times, budget, where="post", color=INK, ls=(0, (4, 3)), lw=1.1, label="budget"
            )
        self._mark_events(index, start, divisor)
        budget_now = format_bytes(self.report.budget)
        index.set_title("Memory", loc="left", color=INK, fontsize=12, weight="bold", pad=22)
        about = f"collections in the index, of a budget of {budget_now}; below, the whole kernel"
        index.text(0, 1.03, about, transform=index.transAxes, color=FAINT, fontsize=9)
        index.set_ylabel(unit, color=FAINT, fontsize=9)
        unit, divisor = _unit(max((sample.process for sample in history), default=0))
        process = [sample.process / divisor for sample in history]
        kernel.step(
            times, process, where="post", color=COLORS[3], linewidth=1.4, label="this kernel"
        )
        kernel.set_ylabel(unit, color=FAINT, fontsize=9)
        kernel.set_xlabel("seconds", color=FAINT, fontsize=9)
        for at, (begin, end) in enumerate(_shortages(history)):
            named = None if at else "memory short"
            kernel.axvspan(
                begin - start, end - start, color=on_any(COLORS[1]), alpha=0.14, lw=0, label=named
            )
        for axes, values in ((index, used), (kernel, process)):
            axes.set_ylim(0, 1.25 * max(values, default=0) or 1)
            place = {"loc": "upper left", "bbox_to_anchor": (1.01, 1.0)}
            axes.legend(frameon=False, fontsize=9, labelcolor=INK, **place)
            calm(axes)
        if len(history) < 2:
            words = "nothing has happened yet"
            index.text(0.5, 0.5, words, transform=index.transAxes, ha="center", color=FAINT)
        return figure

    def _mark_events(self, axes: Any, start: float, divisor: float) -> None:
        history = self.report.history
        span = max(1e-9, history[-1].time - start) if history else 1.0
        places: dict[str, list[tuple[float, float]]] = {}
        named: list[float] = []
        for event in self.report.events:
            at = event.time - start
            if at < 0:
                continue
            # An unload is marked where it starts from, a load where it leads to.
            near = [one.used for one in history if abs(one.time - event.time) <= 0.02 * span]
            height = max(near, default=0) / divisor
            places.setdefault(event.action, []).append((at, height))
            if all(abs(at - other) > _APART * span for other in named) and len(named) < _NAMED:
                named.append(at)
                axes.annotate(
                    label(event.collection, 16),
                    (at, height),
                    xytext=(3, 7),
                    textcoords="offset points",
                    fontsize=8,
                    color=FAINT,
                )
        for action, (marker, color) in _MARKS.items():
            if action in places:
                x, y = zip(*places[action], strict=True)
                axes.scatter(x, y, marker=marker, c=color, s=34, zorder=4, label=action)


def _shortages(history: Sequence[MemorySample]) -> list[tuple[float, float]]:
    """Return from when to when the machine's memory was short."""
    found: list[tuple[float, float]] = []
    since: float | None = None
    for sample in history:
        if sample.short and since is None:
            since = sample.time
        elif not sample.short and since is not None:
            found.append((since, sample.time))
            since = None
    return found if since is None else [*found, (since, history[-1].time)]


def _unit(top: float) -> tuple[str, float]:
    return ("GB", 1e9) if top >= 2e9 else ("MB", 1e6)
