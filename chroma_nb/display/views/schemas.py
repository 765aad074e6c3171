"""Schemas: which indexes each key has, and what embeds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chroma_nb.display.cells import Cell, Table, head, showing, text_cell
from chroma_nb.display.words import shorten

if TYPE_CHECKING:
    from chroma_nb.display.cells import View
    from chroma_nb.schema import Schema
    from chroma_nb.schema.lines import SchemaLine

#: Keys that are shown, and characters of a name.
_KEYS = 20
_NAME = 60
_HEADS = ("key", "indexes that are on", "off", "embedded by", "from", "made with")


def view_schema(shown: Schema) -> View:
    """Return a line for each of the first keys, and one for all others."""
    *lines, others = shown.lines()
    rows = [_row(one) for one in (*lines[:_KEYS], others)]
    # What no line has needs no column.
    columns = [at for at in range(len(_HEADS)) if at < 2 or any(row[at].first for row in rows)]
    caption = "Schema: " + showing(min(len(lines), _KEYS), len(lines), "key")
    heads = [head(_HEADS[at]) for at in columns]
    table = Table(caption, heads, [[row[at] for at in columns] for row in rows])
    return "table", {"lead": "", "table": table}


def _row(line: SchemaLine) -> list[Cell]:
    return [
        text_cell(shorten(line.name, _NAME) or "(empty)"),
        text_cell(", ".join(line.on) or "none"),
        text_cell(", ".join(line.off)),
        text_cell(shorten(line.function, _NAME)),
        text_cell(shorten(line.source, _NAME)),
        text_cell(", ".join(line.made_with)),
    ]
