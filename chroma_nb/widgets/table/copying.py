"""Records as text for the clipboard: JSON that says all of them, CSV that no spreadsheet runs."""

from __future__ import annotations

import csv
import io
import json
import math
from typing import TYPE_CHECKING, Any

from chroma_nb.errors import InvalidArgumentError
from chroma_nb.search.sparse import SparseVector
from chroma_nb.widgets.formulas import no_formula

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chroma_nb.widgets.table.columns import Column
    from chroma_nb.widgets.table.sources import Record

#: Characters that a clipboard gets.
MOST_CHARACTERS = 2_000_000


def as_json(record: Record) -> str:
    """Return a record with everything that a table knows of it."""
    # JSON has no number that is not finite, which a score may be.
    numbers = {
        name: value if math.isfinite(value) else str(value)
        for name, value in record.numbers.items()
    }
    parts: dict[str, Any] = {"id": record.id, **numbers}
    parts |= {"document": record.document, "metadata": record.metadata}
    if record.uri is not None:
        parts["uri"] = record.uri
    return _within(json.dumps(parts, ensure_ascii=False, indent=2, default=SparseVector.to_dict))


def as_csv(columns: Sequence[Column], records: Sequence[Record]) -> str:
    """Return records as CSV (RFC 4180) with these columns.

    A text that a spreadsheet would take for a formula gets an apostrophe before it. Numbers stay numbers: -5 is no
    formula.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow([no_formula(column.key or column.part) for column in columns])
    for record in records:
        writer.writerow([_cell(record.value(column)) for column in columns])
        if out.tell() > MOST_CHARACTERS:
            break
    return _within(out.getvalue())


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    text = (
        value
        if isinstance(value, str)
        else json.dumps(value, ensure_ascii=False, default=SparseVector.to_dict)
    )
    return no_formula(text)


def _within(text: str) -> str:
    if len(text) > MOST_CHARACTERS:
        raise InvalidArgumentError(
            f"More than {MOST_CHARACTERS:,} characters are too many for a clipboard. Use panel.selection().to_pandas()."
        )
    return text
