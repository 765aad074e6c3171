"""RSS over time under one limit, of both engines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks.memory_report import label

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

OWN, OTHER, LIMIT, TEXT = "#2a78d6", "#8f8e89", "#b5483a", "#1f1f1d"
PAPER = "#fcfcfb"
#: The limit that is shown, if it was measured.
SHOWN = 400


def plot(results: Mapping[str, Any], path: Path) -> None:
    """Draw RSS over time with the limit, mark who was killed, and save a small PNG."""
    from matplotlib.figure import Figure

    limits = sorted({row["limit_mb"] for row in results["survival"]})
    if not limits:
        return
    shown = SHOWN if SHOWN in limits else limits[len(limits) // 2]
    rows = [row for row in results["survival"] if row["limit_mb"] == shown and row["samples"]]
    figure = Figure(figsize=(9, 4.2), facecolor=PAPER, layout="constrained")
    axis = figure.subplots()
    axis.set_facecolor(PAPER)
    axis.axhline(shown, color=LIMIT, linewidth=1.2, linestyle=(0, (5, 4)))
    longest = max((row["samples"][-1][0] for row in rows), default=1.0)
    for row in rows:
        own = row["engine"] != "chromadb"
        seconds, sizes = zip(*row["samples"], strict=True)
        colour = OWN if own else OTHER
        name = f"{label(row['engine'])}: {row['outcome']}"
        axis.plot(seconds, sizes, color=colour, linewidth=1.8 if own else 1.6, label=name)
        if not row["survived"]:
            axis.plot(seconds[-1], sizes[-1], "x", color=LIMIT, markersize=9, markeredgewidth=2.2)
            axis.annotate(
                f"{label(row['engine'])} is killed" if row["killed"] else "fails",
                (seconds[-1], sizes[-1]),
                xytext=(9, -3),
                textcoords="offset points",
                fontsize=9,
                color=LIMIT,
            )
    axis.annotate(
        f"limit: {shown} MB",
        (1, shown),
        xycoords=("axes fraction", "data"),
        xytext=(-4, 5),
        textcoords="offset points",
        ha="right",
        fontsize=9,
        color=LIMIT,
    )
    axis.legend(loc="lower right", frameon=False, fontsize=9, labelcolor=TEXT)
    highest = max([shown, *(size for row in rows for _, size in row["samples"])])
    axis.set_ylim(0, highest * 1.15)
    axis.set_xlim(0, longest * 1.03)
    # Why a line may lie above the limit for a while.
    axis.set_xlabel(
        "seconds since the process began; RSS also counts code and files that the system's cache "
        "held already, the limit does not",
        fontsize=8.5,
        color=TEXT,
    )
    axis.set_ylabel("RSS, MB", fontsize=9, color=TEXT)
    axis.tick_params(labelsize=8.5, colors=TEXT, length=0)
    axis.grid(axis="y", color="#e6e5e1", linewidth=0.8)
    axis.set_axisbelow(True)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axis.spines[side].set_color(OTHER)
    plan = results["plan"]
    axis.set_title(
        f"{plan['collections']} collections of {plan['size']:,} x 384 queried in turn, "
        f"{plan['rounds']} rounds, under a limit of {shown} MB",
        fontsize=10,
        loc="left",
        color=TEXT,
    )
    figure.savefig(path, dpi=100)
