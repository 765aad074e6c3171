"""Two answers beside each other."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from chroma_nb.display.cells import Cell, Table, head, text_cell
from chroma_nb.display.extent import current
from chroma_nb.display.words import marker, shorten, words_of
from chroma_nb.harmless import clean
from chroma_nb.words import counted

if TYPE_CHECKING:
    from chroma_nb.collection.comparing import ComparedQuery, ComparedRecord, Comparison
    from chroma_nb.display.cells import View

#: Queries that are shown, and characters of a name.
_QUERIES = 5
_NAME = 24


def view_comparison(shown: Comparison) -> View:
    """Return a table for each of the first queries."""
    first, second = (clean(shorten(name, _NAME)) for name in shown.names)
    n_rows = current().rows or shown.display_rows
    tables = [_table(query, first, second, n_rows) for query in shown.queries[:_QUERIES]]
    total = len(shown.queries)
    more = []
    if total > 1:
        more.append(f"{shown.overlap:.0%} in both, on average of {total:,} queries.")
    if total > _QUERIES:
        more.append(f"Showing {_QUERIES} of them.")
    if total > _QUERIES or any(len(query.records) > n_rows for query in shown.queries):
        more.append("All of it: .to_pandas()")
    return "records", {"tables": tables, "more": " ".join(more)}


def _table(query: ComparedQuery, first: str, second: str, n_rows: int) -> Table:
    asked = dict.fromkeys(one for one in query.asked if one is not None)
    words = [word for one in asked for word in words_of(one)]
    pattern = marker(words)
    some = query.records[:n_rows]
    heads = [head(first, number=True), head(second, number=True), head("change"), head("id")]
    has_texts = any(one.document is not None for one in some)
    rows = []
    for one in some:
        cells = [
            *(Cell("" if rank is None else str(rank), number=True) for rank in one.ranks),
            Cell(_change(one, first, second), kind="w"),
            replace(text_cell(one.id, limit=40), kind="w"),
        ]
        if has_texts:
            cells.append(replace(text_cell(one.document or "", pattern), kind="d"))
        rows.append(cells)
    if has_texts:
        heads.append(head("document"))
    caption = _caption(query, list(asked), first, second)
    if len(some) < len(query.records):
        caption += f"; showing {len(some):,} of {len(query.records):,}"
    return Table(caption, heads, rows)


def _caption(query: ComparedQuery, asked: list[str], first: str, second: str) -> str:
    total = len(query.records)
    if not total:
        return "No records in either."
    about = " and ".join(f"“{clean(shorten(one, 100))}”" for one in asked)
    only = [
        f"{counted(n, 'record')} only in {name}"
        for which, name in enumerate((first, second))
        if (n := query.n_only(which))
    ]
    said = ", ".join([f"{counted(query.n_shared, 'record')} in both", *only])
    return f"{about}: {said}" if about else said


def _change(one: ComparedRecord, first: str, second: str) -> str:
    """Return in words and with an arrow where a record has gone."""
    if one.change is None:
        return f"only in {first if one.ranks[1] is None else second}"
    if not one.change:
        return "same"
    return f"↑ {one.change}" if one.change > 0 else f"↓ {-one.change}"
