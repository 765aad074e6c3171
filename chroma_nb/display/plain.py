"""`plain`: an object in the few lines that a terminal, a log or a saved notebook's text shows."""

from __future__ import annotations

import textwrap

from chroma_nb.collection.results import CollectionList, Explanation, GetResult, QueryResult
from chroma_nb.display.empty import why_empty
from chroma_nb.display.words import shorten
from chroma_nb.harmless import clean
from chroma_nb.progress import ProgressState
from chroma_nb.words import counted

#: Records and characters of a line.
_RECORDS = 5
_LINE = 100


def plain(shown: object) -> str:
    """Return the text; an object without one of its own has its repr."""
    if isinstance(shown, QueryResult):
        return _query(shown)
    if isinstance(shown, GetResult):
        return _get(shown)
    if isinstance(shown, CollectionList):
        names = ", ".join(clean(one.name) for one in shown[:_RECORDS])
        more = ", …" if len(shown) > _RECORDS else ""
        return shorten(
            f"{counted(len(shown), 'collection')}: {names}{more}" if shown else "[]", _LINE
        )
    if isinstance(shown, Explanation):
        return _explanation(shown)
    if isinstance(shown, ProgressState):
        return clean(shown.sentence())
    if isinstance(shown, BaseException):
        return f"{type(shown).__name__}: {clean(str(shown))}"
    return clean(repr(shown))


def _line(*parts: object) -> str:
    return shorten(clean("  ".join(" ".join(str(part).split()) for part in parts)), _LINE)


def _first_of(values: list[str | None] | None, at: int) -> str:
    text = None if values is None else values[at]
    return "" if text is None else text[:_LINE]


def _get(shown: GetResult) -> str:
    ids = shown["ids"]
    lines = [f"GetResult: {counted(len(ids), 'record')}"]
    for at, one in enumerate(ids[:_RECORDS]):
        lines.append(_line(" ", one[:_LINE], _first_of(shown.get("documents"), at)))
    if len(ids) > _RECORDS:
        lines.append("  …")
    if not ids:
        lines.append(why_empty(shown))
    return "\n".join(filter(None, lines))


def _explanation(shown: Explanation) -> str:
    first = shorten(clean(f"{shown.get('strategy')}: {shown.get('reason')}"), _LINE)
    rest = [f"{key} {shown[key]}" for key in shown if key not in ("strategy", "reason")]
    lines = textwrap.wrap(
        clean(", ".join(rest)), _LINE, initial_indent="  ", subsequent_indent="  ", max_lines=8
    )
    return "\n".join([first, *lines])


def _query(shown: QueryResult) -> str:
    queries = shown["ids"]
    lines = [f"QueryResult: {len(queries):,} {'query' if len(queries) == 1 else 'queries'}"]
    for row, ids in enumerate(queries[:_RECORDS]):
        asked = shorten(clean(shown.asked[row]), 60) if shown.asked else f"query {row + 1}"
        lines.append(f" {' '.join(asked.split())}: {counted(len(ids), 'record')}")
        distances, documents = shown.get("distances"), shown.get("documents")
        for at, one in enumerate(ids[:_RECORDS]):
            distance = "" if distances is None else f"{distances[row][at]:.4f}"
            document = _first_of(None if documents is None else documents[row], at)
            lines.append(_line(" ", distance, one[:_LINE], document))
    if len(queries) > _RECORDS:
        lines.append(" …")
    if not any(queries):
        lines.append(why_empty(shown))
    return "\n".join(filter(None, lines))
