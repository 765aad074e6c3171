"""Numbers compare by value: what a comparison with one number means for int64 and for float64 values.

Both kinds are compared in their own type. Going through float64 would make 2**53 + 1 equal to 2.0**53.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable

Op: TypeAlias = Literal["==", ">", ">=", "<", "<=", "none", "all"]

_OPS: dict[str, Op] = {"$eq": "==", "$gt": ">", "$gte": ">=", "$lt": "<", "$lte": "<="}
INT_MIN, INT_MAX = -(2**63), 2**63 - 1


class Bound(NamedTuple):
    """A comparison that needs no rounding; ``none`` and ``all`` need no operand either."""

    op: Op
    operand: int | float


def int_bound(op: str, value: int | float) -> Bound:
    """Return the comparison with `value` as one of int64 values with an integer in their range."""
    plain = _OPS[op]
    if isinstance(value, float):
        if math.isinf(value):
            upwards = plain in (">", ">=")
            return Bound("all" if (value < 0) == upwards and plain != "==" else "none", 0)
        if plain == "==":
            if not value.is_integer():
                return Bound("none", 0)
            value = int(value)
        else:
            value = math.floor(value) if plain in (">", "<=") else math.ceil(value)
    if INT_MIN <= value <= INT_MAX:
        return Bound(plain, value)
    if plain == "==":
        return Bound("none", 0)
    return Bound("all" if (value < 0) == (plain in (">", ">=")) else "none", 0)


def float_bound(op: str, value: int | float) -> Bound:
    """Return the comparison with `value` as one of float64 values with a float64."""
    plain = _OPS[op]
    try:
        nearest = float(value)
    except OverflowError:
        nearest = math.inf if value > 0 else -math.inf
        if plain == "==":
            return Bound("none", 0.0)
        return Bound("all" if (value < 0) == (plain in (">", ">=")) else "none", 0.0)
    if nearest == value:
        return Bound(plain, nearest)
    # The integer lies between two neighbouring floats, `nearest` is one of them.
    if plain == "==":
        return Bound("none", 0.0)
    if nearest > value:
        return Bound(">=" if plain in (">", ">=") else "<", nearest)
    return Bound(">" if plain in (">", ">=") else "<=", nearest)


def equal_numbers(values: Iterable[Any]) -> tuple[list[int], list[float]]:
    """Return the int64 and the float64 values that equal one of these numbers."""
    ints, floats = [], []
    for value in values:
        as_int, as_float = int_bound("$eq", value), float_bound("$eq", value)
        if as_int.op == "==":
            ints.append(int(as_int.operand))
        if as_float.op == "==":
            floats.append(float(as_float.operand))
    return ints, floats
