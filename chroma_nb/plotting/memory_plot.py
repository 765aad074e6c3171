"""`MemoryPlot`: what was held over time, and what happened."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from chroma_nb.memory.sizes import format_bytes
from chroma_nb.plotting.picture import COLORS, FAINT, INK, Picture, calm, label, new_figure

if TYPE_CHECKING:
    from chroma_nb.memory.report import MemoryReport

#: Events whose collection is named in the picture.
_NAMED = 6


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
    def figure(self) -> Any:
        if self._figure is None:
            self._figure = self._draw()
        return self._figure

    def _draw(self) -> Any:
        figure = new_figure(8.4, 3.8, "client.memory.plot()")
        axes = figure.subplots()
        history = self.report.history
        start = history[0].time if history else 0.0
        times = [sample.time - start for sample in history]
        unit, divisor = _unit(self.report)
        used = [sample.used / divisor for sample in history]
        axes.fill_between(times, used, step="post", color=COLORS[0], alpha=0.16, linewidth=0)
        axes.step(times, used, where="post", color=COLORS[0], linewidth=1.8, label="index")
        top = max(used, default=0.0)
        budget = [sample.budget / divisor for sample in history]
        # A budget far above what is held would flatten everything else.
        if budget and max(budget) <= 4 * top:
            axes.step(times, budget, where="post", color=INK, linestyle=(0, (4, 3)), label="budget")
        process = [sample.process / divisor for sample in history]
        axes.step(times, process, where="post", color=COLORS[3], linewidth=1.2, label="this kernel")
        self._mark_events(axes, start, divisor)
        axes.set_title("Memory", loc="left", color=INK, fontsize=12, weight="bold")
        axes.set_ylabel(unit, color=FAINT, fontsize=9)
        axes.set_xlabel("seconds", color=FAINT, fontsize=9)
        axes.set_ylim(bottom=0)
        if len(history) < 2:
            axes.text(
                *(0.5, 0.5, "nothing has happened yet"),
                transform=axes.transAxes,
                ha="center",
                color=FAINT,
            )
        axes.legend(frameon=False, fontsize=9, loc="upper left", bbox_to_anchor=(1.01, 1.0))
        calm(axes)
        return figure

    def _mark_events(self, axes: Any, start: float, divisor: float) -> None:
        events = [event for event in self.report.events if event.time >= start]
        named = sorted(events, key=lambda event: -event.n_bytes)[:_NAMED]
        held = self.report.history
        for event in events:
            after = next(
                (one for one in held if one.time >= event.time), held[-1] if held else None
            )
            height = 0.0 if after is None else after.used / divisor
            marker, color = ("^", COLORS[2]) if event.action == "load" else ("v", COLORS[1])
            if event.action == "stay on disk":
                marker, color = "x", FAINT
            at = (event.time - start, height)
            axes.scatter([at[0]], [at[1]], marker=marker, c=color, s=34, zorder=4)
            if event in named:
                text = f"{event.action} {label(event.collection, 18)}"
                axes.annotate(
                    text, at, xytext=(4, 6), textcoords="offset points", fontsize=7.5, color=FAINT
                )


def _unit(report: MemoryReport) -> tuple[str, float]:
    top = max((max(one.used, one.process) for one in report.history), default=0)
    return ("GB", 1e9) if top >= 2e9 else ("MB", 1e6)
