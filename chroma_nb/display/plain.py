"""`plain`: an object in the few lines that a terminal, a log or a saved notebook's text shows."""

from __future__ import annotations

import itertools
import textwrap
from typing import TYPE_CHECKING, Any

from markupsafe import Markup, escape

from chroma_nb.display.empty import why_empty
from chroma_nb.display.extent import current
from chroma_nb.display.facts import within
from chroma_nb.display.views import view
from chroma_nb.display.words import shorten
from chroma_nb.harmless import clean
from chroma_nb.words import counted

if TYPE_CHECKING:
    from collections.abc import Callable

    from chroma_nb.collection.results import CollectionList, Explanation, GetResult, QueryResult
    from chroma_nb.collection.search_result import SearchResult
    from chroma_nb.display.cells import Cell
    from chroma_nb.progress import ProgressState
    from chroma_nb.schema import Schema

#: Records and characters of a line.
_RECORDS = 5
_LINE = 100
#: Keys of a schema.
_KEYS = 20


def plain(shown: object) -> str:
    """Return the text; an object without one of its own has its repr."""
    if current().is_wanted:
        return _tables(shown)
    make = _TEXTS.get(getattr(shown, "_view", ""))
    if make is not None:
        return make(shown)
    if isinstance(shown, BaseException):
        return f"{type(shown).__name__}: {clean(str(shown))}"
    return clean(repr(shown))


def _tables(shown: object) -> str:
    """Return the tables of a result, as much of them as somebody asked for."""
    _, values = view(shown)
    lines = []
    for table in values["tables"]:
        rows = [[*map(_cell, table.heads)], *([*map(_cell, row)] for row in table.rows)]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        numbers = [head.number for head in table.heads]
        lines.append(clean(table.caption))
        for row in rows if table.rows else ():
            padded = [
                text.rjust(width) if number else text.ljust(min(width, _LINE))
                for text, width, number in zip(row, widths, numbers, strict=True)
            ]
            lines.append("  ".join(padded).rstrip())
    return "\n".join(filter(None, [*lines, values["more"]]))


def _cell(cell: Cell) -> str:
    """Return a cell's text on one line, without what is folded away."""
    first = Markup(escape(cell.first)).striptags()
    return clean(first if cell.below is None else f"{first}  {_cell(cell.below)}".strip())


def _line(*parts: object) -> str:
    return shorten(clean("  ".join(" ".join(str(part).split()) for part in parts)), _LINE)


def _first_of(values: list[str | None] | None, at: int) -> str:
    text = None if values is None else values[at]
    return "" if text is None else text[:_LINE]


def _collections(shown: CollectionList) -> str:
    if not shown:
        return "[]"
    names = ", ".join(clean(collection.name) for collection in shown[:_RECORDS])
    more = ", …" if len(shown) > _RECORDS else ""
    return shorten(f"{counted(len(shown), 'collection')}: {names}{more}", _LINE)


def _progress(shown: ProgressState) -> str:
    return clean(shown.sentence())


def _get(shown: GetResult) -> str:
    ids = shown["ids"]
    lines = [f"GetResult: {counted(len(ids), 'record')}"]
    for at, record in enumerate(ids[:_RECORDS]):
        lines.append(_line(" ", record[:_LINE], _first_of(shown.get("documents"), at)))
    if len(ids) > _RECORDS:
        lines.append("  …")
    if not ids:
        lines.append(why_empty(shown))
    return "\n".join(filter(None, lines))


def _explanation(shown: Explanation) -> str:
    first = shorten(clean(f"{shown.get('strategy')}: {shown.get('reason')}"), _LINE)
    rest = [f"{key} {shown[key]}" for key in shown if key not in ("strategy", "reason", "parts")]
    lines = textwrap.wrap(
        clean(", ".join(rest)), _LINE, initial_indent="  ", subsequent_indent="  ", max_lines=8
    )
    parts = shown.get("parts")
    for name, part in itertools.islice((parts if isinstance(parts, dict) else {}).items(), _KEYS):
        numbers = f"rows_read {part.get('rows_read')}, work_bytes {part.get('work_bytes')}"
        said = f"{name}: {part.get('strategy')} ({numbers}): {part.get('reason')}"
        lines.append(_line(" ", said))
    return "\n".join([first, *lines])


def _query(shown: QueryResult) -> str:
    queries = shown["ids"]
    lines = [f"QueryResult: {len(queries):,} {'query' if len(queries) == 1 else 'queries'}"]
    for row, ids in enumerate(queries[:_RECORDS]):
        asked = shorten(clean(shown.asked[row]), 60) if shown.asked else f"query {row + 1}"
        lines.append(f" {' '.join(asked.split())}: {counted(len(ids), 'record')}")
        distances, documents = shown.get("distances"), shown.get("documents")
        for at, record in enumerate(ids[:_RECORDS]):
            distance = "" if distances is None else f"{distances[row][at]:.4f}"
            document = _first_of(None if documents is None else documents[row], at)
            lines.append(_line(" ", distance, record[:_LINE], document))
    if len(queries) > _RECORDS:
        lines.append(" …")
    if not any(queries):
        lines.append(why_empty(shown))
    return "\n".join(filter(None, lines))


def _search(shown: SearchResult) -> str:
    searches = shown.get("ids") or []
    lines = [f"SearchResult: {len(searches):,} {'search' if len(searches) == 1 else 'searches'}"]
    for at, ids in enumerate(searches[:_RECORDS]):
        text = shown.asked[at]
        asked = shorten(clean(text), 60) if text else f"search {at + 1}"
        lines.append(f" {' '.join(asked.split())}: {counted(len(ids), 'record')}")
        if shown.reasons[at]:
            lines += textwrap.wrap(
                clean(f"{shown.reasons[at]}"), _LINE, initial_indent="  ", subsequent_indent="  "
            )
        scores, documents = (
            (shown.get(name) or [None])[at:][:1] for name in ("scores", "documents")
        )
        for row, record in enumerate(ids[:_RECORDS]):
            score = scores[0][row] if scores and scores[0] else None
            document = _first_of(documents[0] if documents else None, row)
            lines.append(
                _line(" ", "" if score is None else f"{score:.4f}", record[:_LINE], document)
            )
    if len(searches) > _RECORDS:
        lines.append(" …")
    if searches and not any(searches):
        lines.append(why_empty(shown))
    return "\n".join(filter(None, lines))


def _schema(shown: Schema) -> str:
    *lines, others = shown.lines()
    said = [_line(" ", one.name[:_LINE], str(one)[:_LINE]) for one in lines[:_KEYS]]
    more = [f"  … {len(lines) - _KEYS:,} more"] if len(lines) > _KEYS else []
    rest = _line(" ", others.name, str(others)[:_LINE])
    return "\n".join([f"Schema: {counted(len(lines), 'key')}", *said, *more, rest])


def _in_time(shown: object) -> str:
    """Return the repr of what asks its store for it; a short one where the store is busy."""
    found = within(lambda: repr(shown))
    if isinstance(found, Exception):
        found = f"{type(shown).__name__}({shorten(str(found), _LINE)})"
    return clean(found)


#: What an object's `_view` may be -> its text, where that is not its repr.
_TEXTS: dict[str, Callable[[Any], str]] = {
    "collections": _collections,
    "explanation": _explanation,
    "fields": _in_time,
    "get": _get,
    "memory": _in_time,
    "progress": _progress,
    "query": _query,
    "schema": _schema,
    "search": _search,
}
