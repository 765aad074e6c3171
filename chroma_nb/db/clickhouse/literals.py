"""Values as ClickHouse's SQL: whatever they hold, they stay one literal.

Literals are used instead of parameters, as these go through the URL of a request, which takes only so much.
"""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

#: What may end a literal or mean something in it. The parser takes a NUL for the end of the query.
_SPECIAL = re.compile(r"[\\'\x00-\x1f\x7f]")
#: Up to this many values are a list in brackets; of more the parser makes one node of a tree for each.
_FEW = 500


def text(value: str) -> str:
    """Return a text as a literal."""
    return "'" + _SPECIAL.sub(lambda found: f"\\x{ord(found[0]):02x}", value) + "'"


def number(value: float) -> str:
    """Return an expression for exactly this float64."""
    return f"reinterpretAsFloat64(unhex('{struct.pack('<d', value).hex()}'))"


def literal(value: Any) -> str:
    """Return one value, or a list of values of one kind, as SQL."""
    if isinstance(value, list):
        if value and isinstance(value[0], float):
            return f"[{', '.join(map(number, value))}]"
        if not value or isinstance(value[0], int):
            return f"CAST([{','.join(map(str, value))}], 'Array(Int64)')"
        return f"[{','.join(map(text, value))}]"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        # The smallest int64 is read as a float without the cast.
        return f"CAST('{value}', 'Int64')"
    if isinstance(value, float):
        return number(value)
    return text(value)


def vector(values: NDArray[np.float32] | NDArray[np.float64]) -> str:
    """Return an expression for exactly these numbers (shape (n,), little-endian), as an array of them."""
    kind = f"Array(Float{8 * values.itemsize})"
    return f"reinterpret(unhex('{values.tobytes().hex()}'), '{kind}')"


def identifier(name: str) -> str:
    """Return a name of a table or column as SQL."""
    return "`" + re.sub(r"[\\`\x00-\x1f\x7f]", lambda found: f"\\x{ord(found[0]):02x}", name) + "`"


def one_of_texts(column: str, values: Sequence[str]) -> str:
    """Return the condition that a column is one of these texts."""
    if len(values) <= _FEW:
        return f"{column} IN ({','.join(map(text, values))})" if values else "false"
    return f"{column} IN (SELECT arrayJoin({literal(list(values))}))"


def one_of_labels(column: str, labels: NDArray[np.int64]) -> str:
    """Return the condition that a column is one of these labels (int64, shape (n,))."""
    if not len(labels):
        return "false"
    first, last = int(labels.min()), int(labels.max())
    between = f"{column} BETWEEN {first} AND {last}"
    if last - first + 1 == len(labels) and np.all(labels[1:] > labels[:-1]):
        return between
    if len(labels) <= _FEW:
        return f"{column} IN ({','.join(map(str, labels.tolist()))})"
    return f"({between} AND {column} IN (SELECT arrayJoin({literal(labels.tolist())})))"
