"""Filters as they cross the wire: JSON has no infinite numbers."""

from __future__ import annotations

import math
import sys
from typing import Any

_LARGEST = sys.float_info.max


def finite_filter(where: Any) -> Any:
    """Return a filter that means the same and holds no infinite number.

    No stored number is infinite. So a comparison with one is true of all numbers or of none, and can be
    written with the largest finite number.
    """
    if isinstance(where, list):
        return [finite_filter(part) for part in where]
    if not isinstance(where, dict):
        return where
    ((key, value), *others) = where.items()
    if others or key in ("$and", "$or"):
        return {name: finite_filter(part) for name, part in where.items()}
    if not isinstance(value, dict):
        return _nothing(key) if _is_infinite(value) else where
    if len(value) != 1:
        return where
    ((operator, operand),) = value.items()
    if operator in ("$in", "$nin") and isinstance(operand, list):
        kept = [one for one in operand if not _is_infinite(one)]
        if len(kept) == len(operand):
            return where
        if kept:
            return {key: {operator: kept}}
        return _nothing(key) if operator == "$in" else _everything(key)
    if not _is_infinite(operand):
        return where
    if operator in ("$eq", "$ne"):
        return _nothing(key) if operator == "$eq" else _everything(key)
    if operand > 0:
        # Below infinity is the same as up to the largest number.
        return {key: {{"$lt": "$lte", "$gte": "$gt"}.get(operator, operator): _LARGEST}}
    return {key: {{"$gt": "$gte", "$lte": "$lt"}.get(operator, operator): -_LARGEST}}


def _is_infinite(value: Any) -> bool:
    return isinstance(value, float) and math.isinf(value)


def _nothing(key: str) -> dict[str, Any]:
    return {key: {"$gt": _LARGEST}}


def _everything(key: str) -> dict[str, Any]:
    # No value equals two numbers, and a record without the key equals none.
    return {"$or": [{key: {"$ne": 0}}, {key: {"$ne": 1}}]}
