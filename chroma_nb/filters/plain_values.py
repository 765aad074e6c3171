"""Filters of Python's own types: NumPy's values, dates and sequences become what JSON can hold."""

from __future__ import annotations

from typing import Any

import numpy as np

from chroma_nb.filters.operators import LOGICAL
from chroma_nb.scalars import date_spellings, plain_scalar

#: Types that JSON has: their values need no conversion.
_PLAIN_KINDS = frozenset({str, int, float, bool, type(None)})
#: Operator of equality -> its form that takes several values.
_EQUALITIES = {"$eq": "$in", "$in": "$in", "$ne": "$nin", "$nin": "$nin"}


def plain_filter(value: Any) -> Any:
    """Return a filter of Python's own types, ready for JSON.

    NumPy's scalars and arrays, tuples, sets and pandas' Series become Python's, dates become ISO 8601 text.
    What a filter cannot hold stays as it is, for `parse_where` to refuse.
    """
    if isinstance(value, dict):
        return dict(_plain_condition(key, operand) for key, operand in value.items())
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value[()]
    if isinstance(value, list | tuple | set | frozenset | range | np.ndarray):
        if is_plain_list(value):
            return list(value)
        return [plain_filter(item) for item in value]
    if (
        hasattr(value, "__array__")
        and hasattr(value, "tolist")
        and not isinstance(value, np.generic)
    ):
        # pandas' and other Series: iterating them keeps the types of the values.
        return [plain_filter(item) for item in value]
    return plain_scalar(value)


def is_plain_list(value: Any) -> bool:
    """Say whether a value is a list of nothing but scalars of Python's own types."""
    return isinstance(value, list | tuple) and _PLAIN_KINDS.issuperset(map(type, value))


def _plain_condition(key: Any, value: Any) -> tuple[Any, Any]:
    """Convert a key and its value as `plain_filter` does; a date equals midnight of that day.

    A date may have been stored as '2024-05-01' or as '2024-05-01T00:00:00'.
    """
    plain = plain_filter(value)
    if isinstance(value, dict) or key in LOGICAL:
        return key, plain
    operator = _EQUALITIES.get(key) if isinstance(key, str) and key.startswith("$") else "$eq"
    if operator is None:
        return key, plain
    if isinstance(plain, list) and is_plain_list(value):
        return key, plain
    if isinstance(plain, list):
        spelled = [date_spellings(item) or [plain_filter(item)] for item in value]
        return key, [text for texts in spelled for text in texts]
    texts = date_spellings(value)
    if len(texts) < 2:
        return key, plain
    return (operator, texts) if key in _EQUALITIES else (key, {"$in": texts})
