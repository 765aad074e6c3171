"""The tables of the memory benchmark, in Markdown, from plain results.

``python -m benchmarks.memory_report`` prints them again from ``benchmarks/memory_results.json``.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

CHROMADB_NOTE = (
    "* chromadb cannot unload a collection. Its figure is after `del collection` and "
    "`gc.collect()`, with the client open."
)


def label(engine: str) -> str:
    """Return an engine's name in the tables."""
    return engine if engine == "chromadb" else f"chroma_nb ({engine})"


def text(results: Mapping[str, Any]) -> str:
    """Return everything as Markdown."""
    parts = [_about(results)]
    for title, table in (
        ("Ten collections under a limit", survival_table(results)),
        ("Memory that `unload` releases", unload_table(results)),
        ("Time to load again", latency_table(results)),
    ):
        if len(table) > 2:
            name = title.replace("Ten", _count(results["plan"]["collections"]))
            parts += ["", f"### {name}", "", *table]
    notes = [f"* {note}" for note in results["notes"]]
    if "chromadb" in (row["engine"] for row in results["unload"]):
        notes.insert(0, CHROMADB_NOTE)
    return "\n".join([*parts, *([""] if notes else []), *notes]) + "\n"


def _about(results: Mapping[str, Any]) -> str:
    plan, machine = results["plan"], results["machine"]
    return (
        f"{plan['collections']} collections of {plan['size']:,} x 384 float32, cosine "
        f"({results['data']}), persistent; queried in turn, {plan['rounds']} rounds of "
        f"{plan['queries']} queries each, top 10. Limits by {results.get('limit_kind', '-')}; "
        f"files in the system's cache: {'dropped before' if results['cold_files'] else 'kept'}. "
        f"{results['versions']}; {machine['processor']}, {machine['memory']}; "
        f"{machine['system']}; {machine['python']}."
    )


def survival_table(results: Mapping[str, Any]) -> list[str]:
    """Return who survived which limit."""
    head = ["limit", "", "outcome", "correct", "first query in round 1, p50 / p95, ms"]
    head += ["first query of later visits, p50 / p95, ms", "other queries, p50, ms"]
    lines = [[*head, "peak of the cgroup, MB", "peak RSS, MB"]]
    for row in results["survival"]:
        outcome = row["outcome"]
        lines.append(
            [
                f"{row['limit_mb']} MB",
                label(row["engine"]),
                outcome if row["survived"] else f"**{outcome}**",
                f"{row['correct']} of {row['asked']}",
                *(_two(row[f"{key}_p50_ms"], row[f"{key}_p95_ms"]) for key in ("cold", "again")),
                _number(row["later_p50_ms"], 2),
                _number(row["peak_cgroup_mb"], 0),
                _number(row["peak_rss_mb"], 0),
            ]
        )
    return _table(lines)


def unload_table(results: Mapping[str, Any]) -> list[str]:
    """Return what RSS was before, with and after a collection."""
    head = ["records", "", "RSS opened, MB", "loaded", "unloaded", "fell by", "accounted, MB"]
    lines = [[*head, "fell / accounted"]]
    for row in sorted(results["unload"], key=lambda r: r["records"]):
        share = row.get("fell_share")
        other = row["engine"] == "chromadb"
        lines.append(
            [
                f"{row['records']:,}",
                label(row["engine"]),
                *(_number(row[f"{state}_mb"]) for state in ("opened", "loaded", "unloaded")),
                _number(row["fell_mb"]),
                "-" if other else _number(row["freed_mb"]),
                "-" if share is None else f"{share:.0%}",
            ]
        )
    return _table(lines)


def latency_table(results: Mapping[str, Any]) -> list[str]:
    """Return first, warm and reloading queries, and how they compare with chromadb's first."""
    rows = results["latency"]
    base = next((row["fresh_ms"] for row in rows if row["engine"] == "chromadb"), None)
    titles = {
        "fresh_ms": "first answer of a fresh process, ms",
        "unloaded_ms": "first answer after `unload`",
        "evicting_ms": "load that evicts another, and a query",
        "warm_ms": "warm query",
    }
    lines = [["", *titles.values()]]
    for row in rows:
        cells = [label(row["engine"])]
        for key in titles:
            value = row.get(key)
            cell = _number(value, 2)
            if value and base and key != "warm_ms" and row["engine"] != "chromadb":
                cell += f" ({value / base:.2f} x chromadb's first)"
            cells.append(cell)
        lines.append(cells)
    return _table(lines)


def _number(value: float | None, digits: int = 1) -> str:
    return "-" if value is None else f"{value:,.{digits}f}"


def _two(middle: float | None, high: float | None) -> str:
    return "-" if middle is None else f"{_number(middle)} / {_number(high)}"


def _count(number: int) -> str:
    return "Ten" if number == 10 else str(number)


def _table(lines: list[list[str]]) -> list[str]:
    """Return a Markdown table that also reads well as plain text."""
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    shown = [
        "| " + " | ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)) + " |"
        for line in lines
    ]
    rule = "|" + "|".join("-" * (w + 2) for w in widths) + "|"
    return [shown[0], rule, *shown[1:]]


def main() -> None:
    """Print the tables and, if asked, draw the plot again from saved results."""
    parser = argparse.ArgumentParser(description="Show saved results again.")
    parser.add_argument("--json", type=Path, default=Path(__file__).parent / "memory_results.json")
    parser.add_argument("--plot", type=Path, help="draw the plot into this file")
    given = parser.parse_args()
    if not given.json.is_file():
        parser.error("--json names no file; python -m benchmarks.memory writes one")
    results = json.loads(given.json.read_text(encoding="utf-8"))
    print(text(results))
    if given.plot:
        from benchmarks.memory_plot import plot

        plot(results, given.plot)


if __name__ == "__main__":
    main()
