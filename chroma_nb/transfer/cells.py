"""What a cell of a table becomes: an id, a document, a metadata value."""

from __future__ import annotations

import datetime
import decimal
import math
import os
import uuid
from typing import TYPE_CHECKING, Any

import numpy as np

from chroma_nb.filters.numbers import INT_MAX, INT_MIN
from chroma_nb.scalars import plain_scalar
from chroma_nb.validation import check_metadata_value

if TYPE_CHECKING:
    from chroma_nb.transfer.report import TransferReport

#: Up to here every whole number is a float of its own.
_EXACT_FLOAT = 2**53
_PLAIN = (str, bool, int)


def as_id(value: Any) -> str:
    """Return a cell as an id.

    Texts are taken as they are, whole numbers are written without a point, UUIDs and dates as text.

    Raises:
        ValueError: It is missing, or of a kind whose text would be no id.
    """
    value = plain_scalar(value)
    if isinstance(value, decimal.Decimal) and value.is_nan():
        raise ValueError("the id is missing")
    if value is None or value != value:
        raise ValueError("the id is missing")
    if isinstance(value, str):
        if not value:
            raise ValueError("the id is empty")
        return value
    if isinstance(value, bool):
        raise ValueError(f"{value} is no id")
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float | decimal.Decimal) and math.isfinite(value) and value == int(value):
        if isinstance(value, float) and abs(value) > _EXACT_FLOAT:
            raise ValueError(
                f"{value!r} is a float beyond 2**53, which may have lost digits: read the column as integers or texts"
            )
        return str(int(value))
    if isinstance(value, uuid.UUID):
        return str(value)
    raise ValueError(f"{str(value)[:80]!r} ({type(value).__name__}) is no id: make it a text")


class MetadataCells:
    """Turns the cells of one column into metadata values, and keeps count of what changes on the way.

    Args:
        key: The metadata key.
    """

    def __init__(self, key: str) -> None:
        self.key = key
        self.n_left_out = 0
        #: The kinds of values that are stored as text, and as floats; empty where there are none.
        self.became_text = ""
        self.became_float = ""

    def describe(self, report: TransferReport, column: str) -> None:
        """Say in a report what changed."""
        if self.n_left_out:
            report.left_out[column] = self.n_left_out
        if self.became_text:
            report.became_text[column] = self.became_text
        if self.became_float:
            report.became_float[column] = self.became_float

    def value(self, cell: Any) -> Any:
        """Return a cell's value, None where there is none.

        Raises:
            ValueError: Metadata cannot hold it; the sentence says why.
        """
        kind = type(cell)
        if kind in _PLAIN:
            return check_metadata_value(self.key, cell) if kind is not bool else cell
        if cell is None or (kind is float and math.isnan(cell)):
            self.n_left_out += 1
            return None
        return self._converted(cell)

    def _converted(self, cell: Any) -> Any:
        if isinstance(cell, decimal.Decimal):
            cell = self._number(cell)
        elif isinstance(cell, datetime.timedelta | np.timedelta64):
            import pandas as pd

            # pandas' own is one of them, and may be missing.
            self.became_text = "duration"
            cell = float("nan") if pd.isna(cell) else pd.Timedelta(cell).isoformat()
        elif isinstance(cell, datetime.date | np.datetime64):
            self.became_text = "date"
        elif isinstance(cell, uuid.UUID | os.PathLike):
            self.became_text = type(cell).__name__
            cell = str(cell)
        elif isinstance(cell, (list, tuple, np.ndarray)):
            cell = [self._item(item) for item in cell]
        cell = plain_scalar(cell)
        if isinstance(cell, float) and math.isnan(cell):
            self.n_left_out += 1
            return None
        if isinstance(cell, list) and not cell:
            # A stored list has at least one item, as in Chroma.
            self.n_left_out += 1
            return None
        return check_metadata_value(self.key, cell)

    def _item(self, item: Any) -> Any:
        """Return what a list holds in the place of an item; what it cannot hold stays, to be refused."""
        if isinstance(item, decimal.Decimal):
            return self._number(item)
        if isinstance(item, uuid.UUID | os.PathLike):
            self.became_text = type(item).__name__
            return str(item)
        if isinstance(item, datetime.date | np.datetime64):
            self.became_text = "date"
        return plain_scalar(item)

    def _number(self, value: decimal.Decimal) -> int | float:
        """Return a Decimal without digits after the point as an integer where 64 bits hold it, else a float."""
        if value.is_finite() and value == value.to_integral_value():
            exponent = value.as_tuple().exponent
            if isinstance(exponent, int) and exponent >= 0 and INT_MIN <= value <= INT_MAX:
                return int(value)
        self.became_float = "Decimal"
        return float("nan") if value.is_nan() else float(value)
