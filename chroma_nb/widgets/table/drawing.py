"""`whole_record`: what stands beside the table, as texts that are safe to show."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from chroma_nb.display.cells import text_of
from chroma_nb.display.words import shorten
from chroma_nb.harmless import clean
from chroma_nb.words import counted

if TYPE_CHECKING:
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
