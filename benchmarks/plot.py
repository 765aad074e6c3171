"""The main figures as bars."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

#: (figure, title, logarithmic)
PANELS = (
    ("add", "Add, durable and searchable\nrows/s, more is better", True),
    ("graph", "Graph built\nvectors/s, more is better", False),
    ("plain", "Query, median\nms, less is better", True),
    ("shard", "Query with a filter (9 % match)\nms, less is better", True),
    ("contains", "Query with $contains\nms, less is better", True),
    ("many", "500 queries in one call\nqueries/s, more is better", False),
    ("add_one", "One record added\nms, less is better", True),
    ("memory", "Growth of memory (RSS)\nMB, less is better", False),
    ("import", "import\ns, less is better", False),
)

OWN, OTHER, TEXT = "#2a78d6", "#b9b8b3", "#1f1f1d"


def plot(results: Mapping[str, Any], path: Path) -> None:
    """Draw one panel of horizontal bars per figure and save it as a small PNG."""
    from matplotlib.figure import Figure

    engines = {n: e for n, e in results["engines"].items() if e["figures"]}
    names = list(engines)[::-1]
    figure = Figure(figsize=(11, 8.2), facecolor="#fcfcfb", layout="constrained")
    axes = figure.subplots(3, 3)
    for number, (axis, (key, title, logarithmic)) in enumerate(zip(axes.flat, PANELS, strict=True)):
        axis.set_facecolor("#fcfcfb")
        values = [engines[name]["figures"].get(key) for name in names]
        shown = [value for value in values if value and value > 0]
        if logarithmic and shown:
            axis.set_xscale("log")
            axis.set_xlim(min(shown) / 2.5, max(shown) * 6)
        elif shown:
            axis.set_xlim(0, max(shown) * 1.3)
        left = axis.get_xlim()[0]
        for row, (name, value) in enumerate(zip(names, values, strict=True)):
            colour = OWN if name.startswith("chroma_nb") else OTHER
            label = "-"
            if value and value > 0:
                if logarithmic:  # a bar's length would mean nothing
                    axis.plot([left, value], [row, row], color="#e6e5e1", linewidth=1.2, zorder=1)
                    axis.plot(value, row, "o", color=colour, markersize=8)
                else:
                    axis.barh(row, value, height=0.6, color=colour)
                label = f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
            weight = "bold" if name.startswith("chroma_nb") else "normal"
            axis.annotate(
                label,
                (value if value and value > 0 else left, row),
                xytext=(7 if logarithmic else 4, 0),
                textcoords="offset points",
                va="center",
                fontsize=8,
                color=TEXT,
                weight=weight,
            )
        axis.set_title(title, fontsize=9.5, loc="left", color=TEXT)
        axis.set_ylim(-0.6, len(names) - 0.4)
        labels = [engines[name]["label"] for name in names] if number % 3 == 0 else []
        axis.set_yticks(range(len(names)) if labels else [], labels, fontsize=8.5, color=TEXT)
        axis.set_xticks([])
        axis.minorticks_off()
        axis.tick_params(length=0)
        for side in ("top", "right", "bottom"):
            axis.spines[side].set_visible(False)
        axis.spines["left"].set_color(OTHER)
    figure.suptitle(
        f"{results['records']:,} x {results['dimensions']} MiniLM embeddings, "
        f"{results['machine']['processor']}; bars are linear, dots are on a logarithmic axis",
        fontsize=9,
        color=TEXT,
        x=0.01,
        ha="left",
    )
    figure.savefig(path, dpi=100)
