"""Answers to searches: the records with their scores, and at which place each part of a search found each."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from chroma_nb.display.cells import (
    Cell,
    Table,
    are_numbers,
    head,
    score_cells,
    showing,
    text_cell,
    value_cell,
    vector_cell,
)
from chroma_nb.display.empty import why_empty
from chroma_nb.display.extent import PART_CHARACTERS, current, head_name
from chroma_nb.display.views.results import (
    ID,
    chosen_columns,
    how_to_see_more,
    rows_shown,
    with_room,
)
from chroma_nb.display.words import marker, shorten, words_of
from chroma_nb.harmless import clean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chroma_nb.collection.search_result import SearchPart, SearchResult
    from chroma_nb.display.cells import View

#: Searches of one result that are shown.
_SEARCHES = 5
#: Parts of one search that are shown.
_PARTS = 6
_BARS = "; the best score has the longest bar"


def view_search(shown: SearchResult) -> View:
    """Return the best records of the first searches, or why there are none."""
    total = len(shown.get("ids") or ())
    rows = rows_shown(shown)
    tables = [_table(shown, at, rows) for at in range(min(total, _SEARCHES))]
    more = [] if total else ["No searches."]
    if total > _SEARCHES:
        more.append(f"Showing {_SEARCHES} of {total:,} searches.")
    most = max(map(len, shown.get("ids") or ()), default=0)
    more.append(how_to_see_more(rows, most))
    if total > _SEARCHES and most <= rows:
        more.append("All of them: .to_pandas()")
    if total and not any(shown["ids"]):
        more.append(why_empty(shown))
    return "records", {"tables": tables, "more": " ".join(filter(None, more))}


def _table(shown: SearchResult, at: int, rows: int) -> Table:
    ids = shown["ids"][at]
    asked = shown.asked[at]
    parts = (shown.parts[at] or [])[:_PARTS]
    caption = _caption(shown, at, rows, parts)
    if not ids:
        return Table(clean(caption))
    metadatas = _of(shown, "metadatas", at, rows)
    short = {_column(one): head_name(one.name, PART_CHARACTERS) for one in shown.parts[at] or ()}
    if current().columns is None:
        # The place in the only part is the rank.
        some = parts if len(parts) > 1 else []
        before, after, has_bars = _own_columns(shown, at, rows, some, asked)
        columns = with_room(before, after, metadatas, short)
    else:
        before, after, has_bars = _own_columns(shown, at, rows, shown.parts[at] or [], asked)
        columns = chosen_columns(shown, before | after, metadatas, len(ids[:rows]))
    heads = [head(short.get(name, name), number=are_numbers(cells)) for name, cells in columns]
    table = Table(clean(caption), heads, list(zip(*(cells for _, cells in columns), strict=True)))
    return replace(table, bars=_BARS if has_bars else "")


def _caption(shown: SearchResult, at: int, rows: int, parts: Sequence[SearchPart]) -> str:
    n, asked = len(shown["ids"][at]), shown.asked[at]
    caption = showing(min(n, rows), n, "record") if n else "No records"
    if asked is not None:
        caption += f" for “{shorten(asked, 200)}”"
    elif len(shown["ids"]) > 1:
        caption += f" for search {at + 1}"
    if not n:
        reason = shown.reasons[at]
        return caption + (f". {reason}" if reason else ".")
    if shown.parts[at] is not None:
        reranked = shown.rerank_scores is not None and shown.rerank_scores[at] is not None
        caption += ", as the reranker orders them" if reranked else ", best first"
    if len(parts) > 1:
        named = ", ".join(head_name(part.name, PART_CHARACTERS) for part in parts)
        caption += f"; {named}: at which place each found it"
    return caption


def _own_columns(
    shown: SearchResult, at: int, rows: int, parts: Sequence[SearchPart], asked: str | None
) -> tuple[dict[str, list[Cell]], dict[str, list[Cell]], bool]:
    """Return the columns before the metadata and after it, and whether one has bars."""
    ids = shown["ids"][at][:rows]
    before = {"#": [Cell(str(place), number=True) for place in range(1, len(ids) + 1)]}
    scores, ranked = _of(shown, "scores", at, None), shown.parts[at] is not None
    if scores is not None:
        before["score"] = score_cells(scores, bars=ranked)[:rows]
    reranked = None if shown.rerank_scores is None else shown.rerank_scores[at]
    if reranked is not None:
        before["rerank"] = [value_cell(one) for one in reranked[:rows]]
    for part in parts:
        before[_column(part)] = [
            Cell("") if one is None else Cell(f"{one + 1:,}", number=True)
            for one in part.positions[:rows]
        ]
    before["id"] = [replace(text_cell(one, limit=ID), kind="w") for one in ids]
    documents = _of(shown, "documents", at, rows)
    if documents is not None:
        pattern = marker(words_of(asked) if asked else (), shown.contains)
        texts = [Cell("") if text is None else text_cell(text, pattern) for text in documents]
        before["document"] = [replace(one, kind="d") for one in texts]
    vectors = _of(shown, "embeddings", at, rows)
    after = {} if vectors is None else {"embedding": [vector_cell(one) for one in vectors]}
    return before, after, scores is not None and ranked


def _of(shown: SearchResult, column: str, at: int, rows: int | None) -> list[Any] | None:
    values = shown.get(column)
    return None if values is None or values[at] is None else values[at][:rows]


def _column(part: SearchPart) -> str:
    """Return what the column of a part is called, as in pandas: a sparse key may be called "id"."""
    return f"rank by {part.name}"
