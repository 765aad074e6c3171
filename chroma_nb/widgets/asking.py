"""What panels ask a collection with: conditions joined, calls as code, numbers that were typed."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


#: More ids than these are named by the variable that holds them.
WRITTEN_IDS = 12


class Code(str):
    """An argument of a call that is written as it is here."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def all_of(conditions: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return conditions that all have to hold, at least one, as one of Chroma's."""
    return conditions[0] if len(conditions) == 1 else {"$and": list(conditions)}


def call_code(method: str, arguments: Mapping[str, Any]) -> str:
    """Return a call of a collection's method as code."""
    return f"collection.{method}({arguments_code(arguments)})"


def arguments_code(arguments: Mapping[str, Any]) -> str:
    """Return the arguments of a call as code."""
    return ", ".join(f"{name}={value!r}" for name, value in arguments.items())


def number_of(text: str) -> int | float:
    """Return the number that was typed.

    Raises:
        ValueError: It is none, or not a finite one.
    """
    # Python reads 1_0 as ten.
    if "_" in text or not math.isfinite(float(text)):
        raise ValueError(text)
    try:
        return int(text)
    except ValueError:
        return float(text)
