"""Values as table cells: shortened, formatted and still plain."""

from __future__ import annotations

import contextlib
import json
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from chroma_nb.display.words import marked
from chroma_nb.harmless import clean
from chroma_nb.words import counted

if TYPE_CHECKING:
    import re
    from collections.abc import Iterator, Sequence

    from markupsafe import Markup

#: Characters of a text that are shown at once, and up to which its folded rest goes.
_limits: ContextVar[tuple[int, int]] = ContextVar("limits", default=(120, 2_000))
#: Rows of a table, metadata keys that get a column of their own, and characters of a name.
ROWS = 10
COLUMNS = 6
NAME_CHARACTERS = 80


@dataclass(frozen=True)
class Cell:
    """One value, ready to be put into a template."""

    first: str | Markup
    #: What is folded away behind it.
    rest: str | Markup = ""
    number: bool = False
    #: Length of a bar, 0 to 1.
    bar: float | None = None


#: A template, and the values to fill it with.
View: TypeAlias = tuple[str, dict[str, Any]]


@dataclass(frozen=True)
class Table:
    """A caption, heads and rows."""

    caption: str
    heads: Sequence[Cell] = ()
    rows: Sequence[Sequence[Cell]] = field(default_factory=list)


@contextlib.contextmanager
def limits(first: int, rest: int) -> Iterator[None]:
    """Show `first` characters of each text at once, and fold away what follows up to `rest`."""
    token = _limits.set((first, rest))
    try:
        yield
    finally:
        _limits.reset(token)


def text_cell(text: str, pattern: re.Pattern[str] | None = None, limit: int = 120) -> Cell:
    """Return a text, folded after `limit` characters at most and cut after some more."""
    first, end = _limits.get()
    limit = min(limit, first)
    if len(text) <= limit:
        return Cell(marked(text, pattern))
    if end <= limit:
        return Cell(marked(text[:limit] + "…", pattern))
    cut = text[limit:end] + (f"… ({len(text):,} characters)" if len(text) > end else "")
    return Cell(marked(text[:limit] + "…", pattern), marked(cut, pattern))


def value_cell(value: Any) -> Cell:
    """Return any metadata value."""
    if value is None:
        return Cell("")
    if isinstance(value, bool | np.bool_):
        return Cell(str(bool(value)).lower())
    if isinstance(value, int | np.integer):
        return Cell(str(value), number=True)
    if isinstance(value, float | np.floating):
        return Cell(f"{value:.6g}", number=True)
    if isinstance(value, str):
        return text_cell(value)
    return text_cell(json.dumps(value, ensure_ascii=False, default=str))


def vector_cell(vector: Any) -> Cell:
    """Return an embedding: its first values and its dimension."""
    if vector is None:
        return Cell("")
    values = np.asarray(vector).ravel()
    first = ", ".join(f"{value:.3g}" for value in values[:3].tolist())
    return Cell(f"[{first}{', …' if len(values) > 3 else ''}] {len(values)}-d")


def distance_cells(distances: Sequence[float]) -> list[Cell]:
    """Return distances with bars: the farthest of them has the longest."""
    finite = [distance for distance in distances if np.isfinite(distance)]
    low, high = min([0.0, *finite]), max([0.0, *finite])
    span = high - low or 1.0
    return [
        Cell(
            f"{distance:.4f}" if abs(distance) < 1e4 else f"{distance:.5g}",
            number=True,
            bar=round(max(0.0, min(1.0, (distance - low) / span)), 3)
            if np.isfinite(distance)
            else 1.0,
        )
        for distance in distances
    ]


def head(name: str, *, number: bool = False) -> Cell:
    """Return the head of a column."""
    return Cell(clean(name if len(name) <= 40 else name[:39] + "…"), number=number)


def metadata_columns(
    metadatas: Sequence[dict[str, Any] | None],
) -> tuple[list[Cell], list[list[Cell]]]:
    """Return heads and rows of metadata: a column for each common key, one for all the others."""
    counts: dict[str, int] = {}
    for metadata in metadatas:
        for key in metadata or {}:
            counts[key] = counts.get(key, 0) + 1
    order = list(counts)
    common = sorted(counts, key=lambda key: (-counts[key], order.index(key)))[:COLUMNS]
    common.sort(key=order.index)
    others = len(counts) > len(common)
    rows = []
    for metadata in metadatas:
        known = metadata or {}
        row = [value_cell(known.get(key)) for key in common]
        if others:
            left = {key: value for key, value in known.items() if key not in common}
            row.append(text_cell(json.dumps(left, ensure_ascii=False, default=str) if left else ""))
        rows.append(row)
    heads = [
        head(key, number=any(row[at].number for row in rows) and _all_numbers(rows, at))
        for at, key in enumerate(common)
    ]
    if others:
        more = len(counts) - len(common)
        heads.append(head(f"{more} more {'key' if more == 1 else 'keys'}"))
    return heads, rows


def _all_numbers(rows: Sequence[Sequence[Cell]], at: int) -> bool:
    return all(row[at].number or not row[at].first for row in rows)


def showing(shown: int, total: int, what: str) -> str:
    """Return "10 of 12,345 records", or "3 records" where that is all."""
    many = counted(total, what)
    return many if shown >= total else f"showing {shown:,} of {many}"
