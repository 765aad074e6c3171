"""Values as table cells: shortened, formatted and still plain."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from chroma_nb.display.extent import FIRST_CHARACTERS, current, head_name
from chroma_nb.display.words import marked
from chroma_nb.harmless import clean
from chroma_nb.special_keys import is_tagged
from chroma_nb.words import counted, nearness_names

if TYPE_CHECKING:
    import re
    from collections.abc import Container, Sequence

    from markupsafe import Markup
    from numpy.typing import NDArray

#: Characters of a name.
NAME_CHARACTERS = 80
#: Characters of a line of a table that is 900 pixels wide. Between two columns there are as many as `_BETWEEN`.
LINE = 122
#: Of one that is 830 pixels wide, as in a notebook of 900.
NARROW_LINE = 112
_BETWEEN = 3
#: Characters of a line that a column of documents takes at least: 24em.
DOCUMENT = 48
#: Characters that a bar takes.
_BAR = 15
#: Characters that a column of metadata takes at most. Longer texts take several lines.
_WIDEST = 22
#: Keys of metadata that are tried as columns.
_TRIED = 24
#: Entries of a sparse vector that are shown.
_ENTRIES = 5
#: Texts of up to this many characters, such as dates and names, stay on one line.
_ONE_LINE = 24


@dataclass(frozen=True)
class Cell:
    """One value, ready to be put into a template."""

    first: str | Markup
    #: What is folded away behind it.
    rest: str | Markup = ""
    #: A second text below it.
    below: Cell | None = None
    number: bool = False
    #: A class of style.css: "w" stays on one line, "d" is a document, which gets the room that is left.
    kind: str = ""
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
    #: What bars mean, after the caption. Plain text, which has none, does without.
    bars: str = ""


def text_cell(text: str, pattern: re.Pattern[str] | None = None, limit: int = 120) -> Cell:
    """Return a text, folded after `limit` characters, or as many as the extent says, and cut after some more."""
    extent = current()
    end = extent.folded
    limit = min(limit, extent.first) if extent.characters is None else extent.characters
    if len(text) <= limit:
        return Cell(marked(text, pattern))
    if end <= limit:
        long = f"… ({len(text):,} characters)" if limit > FIRST_CHARACTERS else "…"
        return Cell(marked(text[:limit] + long, pattern))
    cut = text[limit:end] + (f"… ({len(text):,} characters)" if len(text) > end else "")
    return Cell(marked(text[:limit] + "…", pattern), marked(cut, pattern))


def text_of(value: Any) -> str:
    """Return any metadata value as text."""
    if value is None:
        return ""
    if isinstance(value, bool | np.bool_):
        return str(bool(value)).lower()
    if isinstance(value, float | np.floating):
        return f"{value:.6g}"
    if isinstance(value, str | int | np.integer):
        return str(value)
    if hasattr(value, "to_dict"):
        value = value.to_dict()
    if is_tagged(value):
        return _text_of_sparse(value)
    return json.dumps(value, ensure_ascii=False, default=str)


def _text_of_sparse(vector: dict[str, Any]) -> str:
    """Return the largest entries of a sparse vector, by their labels where it has some, and how many it has."""
    try:
        indices, values = vector["indices"], vector["values"]
        entries = list(zip(vector.get("tokens") or indices, values, strict=True))
        largest = sorted(entries, key=lambda entry: -abs(entry[1]))[:_ENTRIES]
        shown = [f"{name}: {value:.3g}" for name, value in largest]
    except (KeyError, TypeError, ValueError):
        # Somebody else has written it.
        return json.dumps(vector, ensure_ascii=False, default=str)
    more = ["…"] if len(entries) > len(shown) else []
    return f"{{{', '.join(shown + more)}}} ({counted(len(entries), 'value')})"


def value_cell(value: Any) -> Cell:
    """Return any metadata value."""
    text = text_of(value)
    if isinstance(value, int | float | np.number) and not isinstance(value, bool):
        return Cell(text, number=True)
    return replace(text_cell(text), kind="w" if len(text) <= _ONE_LINE else "")


def vector_cell(vector: Any) -> Cell:
    """Return an embedding: its first values and its dimension."""
    if vector is None:
        return Cell("")
    values = np.asarray(vector).ravel()
    first = ", ".join(f"{value:.3g}" for value in values[:3].tolist())
    return Cell(f"[{first}{', …' if len(values) > 3 else ''}] {len(values)}-d")


def nearness_cells(distances: Sequence[float], space: str) -> dict[str, list[Cell]]:
    """Return columns that say how near records are, by their heads. The nearest has the longest bar.

    Args:
        distances: Of the records, nearest first.
        space: ``cosine`` and ``ip`` have a similarity as well, which is 1 - distance, and larger for what is nearer. The bar
            shows that: of ``ip`` in relation to the largest. For ``l2`` half a bar is the middle one of the distances.
    """
    found = np.asarray(distances, dtype=np.float64)
    known = found[np.isfinite(found)]
    shown = [Cell(_number(distance), number=True) for distance in found.tolist()]
    names = nearness_names(space)
    if len(names) == 1:
        middle = _median(known)
        bars = 1 / (1 + found / (middle or 1.0))
        return {names[0]: _with_bars(shown, bars)}
    similarities = 1 - found
    largest = max(1e-9, float((1 - known).max())) if known.size else 1.0
    bars = similarities if space == "cosine" else similarities / largest
    cells = [Cell(_number(one), number=True) for one in similarities.tolist()]
    return {names[0]: _with_bars(cells, bars), names[1]: shown}


def score_cells(scores: Sequence[float | None], *, bars: bool) -> list[Cell]:
    """Return the scores of a search, of which the lowest is the best.

    Args:
        scores: Of the records; one that is not finite has no bar.
        bars: Whether to add bars: the best has the longest one, and the worst a tenth of it.
    """
    cells = [Cell("") if one is None else Cell(_number(one), number=True) for one in scores]
    if not bars:
        return cells
    found = np.asarray([np.nan if one is None else one for one in scores], dtype=np.float64)
    known = found[np.isfinite(found)]
    if not known.size:
        return cells
    best, worst = float(known.min()), float(known.max())
    with np.errstate(over="ignore", invalid="ignore"):
        lengths = 1 - 0.9 * (found - best) / ((worst - best) or 1.0)
    lengths[~np.isfinite(found)] = 0.0
    return _with_bars(cells, lengths)


def _median(numbers: NDArray[np.float64]) -> float:
    """Return the median of n numbers, shape (n,); 0 of none. NumPy's own imports more than all of a display."""
    ordered = np.sort(numbers)
    n = len(ordered)
    return float(ordered[(n - 1) // 2] + ordered[n // 2]) / 2 if n else 0.0


def _number(value: float) -> str:
    return f"{value:.4f}" if abs(value) < 1e4 else f"{value:.5g}"


def _with_bars(cells: Sequence[Cell], bars: NDArray[np.float64]) -> list[Cell]:
    """Add bars to cells: shape (n,), from 0 to 1; others are cut off, and NaN is no bar."""
    lengths = np.clip(np.nan_to_num(bars), 0.0, 1.0).round(3).tolist()
    return [replace(cell, bar=length) for cell, length in zip(cells, lengths, strict=True)]


def are_numbers(cells: Sequence[Cell]) -> bool:
    """Return whether the cells of a column are numbers, those that have something."""
    return any(cell.number for cell in cells) and all(
        cell.number or not cell.first for cell in cells
    )


def head(name: str, *, number: bool = False) -> Cell:
    """Return the head of a column."""
    return Cell(clean(head_name(name)), number=number)


def metadata_columns(
    metadatas: Sequence[dict[str, Any] | None], room: int
) -> tuple[list[tuple[str, list[Cell]]], list[Cell | None]]:
    """Return metadata as columns, and what has no column of its own.

    Args:
        metadatas: Of the records.
        room: Characters of a line that the columns may take. The commonest keys get them.

    Returns:
        The columns with their keys, and for each record the other keys with their values as one text; None where there
        are none.
    """
    counts: dict[str, int] = {}
    for metadata in metadatas:
        for key in metadata or {}:
            counts[key] = counts.get(key, 0) + 1
    order = list(counts)
    # Only of keys that may get a column: a record may have thousands of others.
    chosen: dict[str, list[Cell]] = {}
    for key in sorted(order, key=lambda key: -counts[key])[:_TRIED]:
        cells = [value_cell((metadata or {}).get(key)) for metadata in metadatas]
        # A head stays on one line.
        least = _BETWEEN + max(_WIDEST, len(str(head(key).first)))
        width = min(least, width_of(head(key), cells))
        if width > room:
            continue
        chosen[key] = cells
        room -= width
    others = [other_keys(metadata or {}, chosen) for metadata in metadatas]
    return [(key, chosen[key]) for key in order if key in chosen], others


def width_of(name: Cell, cells: Sequence[Cell]) -> int:
    """Return about how many characters of a line a column takes."""
    widest = max((len(str(cell.first)) for cell in cells), default=0)
    bar = _BAR if any(cell.bar is not None for cell in cells) else 0
    return _BETWEEN + max(len(str(name.first)), widest) + bar


def other_keys(metadata: dict[str, Any], chosen: Container[str]) -> Cell | None:
    """Return the metadata that has no column, as one text; None where there is none."""
    others = {key: value for key, value in metadata.items() if key not in chosen}
    if not others:
        return None
    texts = [f"{key}: {text_of(value)}" for key, value in others.items() if value is not None]
    return text_cell(" · ".join(texts), limit=DOCUMENT)


def showing(shown: int, total: int, what: str) -> str:
    """Return "10 of 12,345 records", or "3 records" where that is all."""
    many = counted(total, what)
    return many if shown >= total else f"showing {shown:,} of {many}"
