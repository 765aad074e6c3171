"""`row`, `whole_record`, `snapshot`: what the browser draws, and what stays without it. All texts are safe to show."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from chroma_nb import display
from chroma_nb.display.cells import text_of
from chroma_nb.display.render import fill
from chroma_nb.display.words import shorten
from chroma_nb.harmless import clean
from chroma_nb.widgets.table.columns import CELL
from chroma_nb.words import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chroma_nb.collection.results import GetResult
    from chroma_nb.widgets.table.columns import Column
    from chroma_nb.widgets.table.media import Media
    from chroma_nb.widgets.table.sources import Page, Record

#: Characters of a document and of a metadata value, and metadata keys, that are shown.
_DOCUMENT = 1_000_000
_VALUE = 5_000
_KEYS = 200


def cut(text: str, limit: int) -> str:
    """Return a text as it can be shown, at most so many characters of it."""
    return shorten(clean(text[: limit + 1]), limit)


def place_line(page: Page, offset: int, is_filtered: bool, n_elsewhere: int | None) -> str:
    """Say which rows are shown, of how many.

    Args:
        page: The rows.
        offset: Rows before them.
        is_filtered: Whether a filter or a text is asked for.
        n_elsewhere: Records that were selected in another panel, and of which alone there are rows; None: all.
    """
    n, total = len(page.records), page.total
    first, last = offset + 1, offset + n
    if not n:
        line = "no records match" if is_filtered else "no records"
    elif total is None:
        line = f"{first:,}–{last:,}" + (" of more" if page.more else f" of {last:,}")
    else:
        found = " that match" if is_filtered else ""
        line = f"{first:,}–{last:,} of {counted(total, 'record')}{found}"
    if n_elsewhere is None:
        return line
    if total == n_elsewhere and n and not is_filtered:
        return f"{line} selected elsewhere"
    return f"{line}, of {n_elsewhere:,} selected elsewhere"


def row(record: Record, shown: Sequence[Column], media: Media) -> dict[str, Any]:
    """Return a record as a row of these columns."""
    cells = [_cell(record, column, media) for column in shown]
    return {"key": record.key, "label": cut(record.id, 60), "cells": cells}


def _cell(record: Record, column: Column, media: Media) -> dict[str, Any]:
    value = record.value(column)
    cell: dict[str, Any] = {"text": "" if value is None else cut(text_of(value), CELL)}
    if column.part == "uri" and (medium := media.of(record.uri)) is not None:
        cell["medium"] = medium
    if value is None and column.part == "metadata":
        cell["missing"] = True
    return cell


def whole_record(record: Record, media: Media) -> dict[str, Any]:
    """Return a record with its whole document and its metadata, as the browser draws it."""
    document = record.document or ""
    rest = f"\n… ({len(document):,} characters)" if len(document) > _DOCUMENT else ""
    metadata = list((record.metadata or {}).items())
    parts = [(name, text_of(value)) for name, value in record.numbers.items()]
    parts += [(name, text_of(value)) for name, value in metadata[:_KEYS]]
    if len(metadata) > _KEYS:
        parts.append(("…", f"{len(metadata) - _KEYS:,} more keys"))
    if record.uri is not None:
        parts.append(("uri", record.uri))
    return {
        "key": record.key,
        "id": clean(record.id),
        "gone": False,
        "document": None if record.document is None else clean(document[:_DOCUMENT]) + rest,
        "parts": [[cut(name, 80), cut(text, _VALUE)] for name, text in parts],
        "medium": media.of(record.uri),
    }


def snapshot(made: type[GetResult], place: str, shown: Sequence[Column], page: Page) -> str:
    """Return a page as HTML without widgets.

    Args:
        made: The result that the page is shown as.
        place: What is shown, in words.
        shown: The columns.
        page: The page.
    """
    records = page.records
    parts = {one.part for one in shown}
    keys = [one for one in shown if one.part in ("metadata", "number")]
    metadatas = [
        {one.key: value for one in keys if (value := record.value(one)) is not None} or None
        for record in records
    ]
    result = made(ids=[one.id for one in records], embeddings=None, included=[], data=None)
    result["documents"] = [one.document for one in records] if "document" in parts else None
    result["uris"] = [one.uri for one in records] if "uri" in parts else None
    result["metadatas"] = metadatas if keys else None
    code = fill("code", code=page.code) if page.code else ""
    return fill("label", label=place, kind="k") + (display.html(result) or "") + code
