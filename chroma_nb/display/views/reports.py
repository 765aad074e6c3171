"""Progress, the check of a store, settings and errors."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from chroma_nb.byte_sizes import format_bytes
from chroma_nb.display.cells import (
    NAME_CHARACTERS,
    Cell,
    Table,
    head,
    showing,
    text_cell,
    value_cell,
)
from chroma_nb.display.extent import ROWS
from chroma_nb.display.words import shorten
from chroma_nb.harmless import clean

if TYPE_CHECKING:
    from chroma_nb.check_report import CheckReport
    from chroma_nb.display.cells import View
    from chroma_nb.errors import ChromaError, MemoryBudgetError
    from chroma_nb.progress import ProgressState
    from chroma_nb.settings import Settings
    from chroma_nb.types import IndexingStatus


def view_progress(shown: ProgressState) -> View:
    """Return how far some work is, or how it ended."""
    return "progress", {
        "sentence": shorten(shown.sentence(), 400),
        "going": not shown.ended,
        "done": shown.done,
        "total": shown.total,
    }


def view_indexing(shown: IndexingStatus) -> View:
    """Return how much of a graph is built."""
    return "status", {
        "done": shown.num_indexed_ops,
        "total": shown.total_ops,
        "percent": f"{100 * shown.op_indexing_progress:.0f}",
    }


def view_check(shown: CheckReport) -> View:
    """Return what of a store is whole; what is damaged comes first."""
    damaged = sum(not one.is_whole for one in shown.collections)
    n = f"{len(shown.collections):,} collection{'' if len(shown.collections) == 1 else 's'}"
    lead = f"{n}: all is whole." if not damaged else f"{n}, {damaged:,} of them damaged."
    if not shown.collections:
        lead = "There is no collection."
    lead = f"{lead} {shown.about_unnamed}".strip()
    # What is damaged comes first.
    named = zip(shown.names(), shown.collections, strict=True)
    some = sorted(named, key=lambda pair: pair[1].is_whole)[:ROWS]
    heads = [head("collection"), head("records", number=True), head("blocks", number=True)]
    heads += [head("damaged", number=True), head("found")]
    rows = [
        [
            text_cell(shorten(name, NAME_CHARACTERS)),
            Cell(f"{one.n_records:,}", number=True),
            Cell(f"{one.n_blocks:,}", number=True),
            Cell(f"{one.n_damaged_blocks:,}", number=True),
            text_cell(one.found),
        ]
        for name, one in some
    ]
    caption = showing(len(rows), len(shown.collections), "collection")
    return "table", {"lead": lead, "table": Table(caption, heads, rows)}


def view_settings(shown: Settings) -> View:
    """Return the settings that were changed, and all of them folded away."""
    changed, rows = [], []
    for name, value, default, variable, meaning in shown.described():
        if value != default:
            changed.append((name, dataclasses.replace(value_cell(value), number=False)))
        cell = dataclasses.replace(value_cell('""' if value == "" else value), number=False)
        rows.append([Cell(name), cell, Cell(meaning), Cell(variable)])
    heads = [head("setting"), head("value"), head("meaning"), head("environment")]
    return "pairs", {
        "lead": "" if changed else "Settings: none was changed.",
        "caption": "Settings that were changed",
        "rows": changed,
        "folded": Table(f"all {len(rows)} settings", heads, rows),
    }


def view_error(shown: ChromaError) -> View:
    """Return an error's sentence."""
    return _error_view(shown, [])


def view_budget_error(shown: MemoryBudgetError) -> View:
    """Return an error's sentence, and how much memory it is about."""
    rows = [("need", Cell(format_bytes(shown.need))), ("free", Cell(format_bytes(shown.free)))]
    if shown.budget is not None:
        rows.append(("budget", Cell(format_bytes(shown.budget))))
    return _error_view(shown, rows)


def _error_view(shown: ChromaError, rows: list[tuple[str, Cell]]) -> View:
    message = shorten(clean(str(shown) or shown.message()), 2_000)
    return "pairs", {
        "lead": f"{type(shown).__name__}: {message}",
        "caption": "in figures",
        "rows": rows,
        "folded": None,
    }
