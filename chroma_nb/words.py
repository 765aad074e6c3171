"""Numbers, kinds and values as a sentence names them."""

from __future__ import annotations

import os
from typing import Any

#: Integers of more bits are not written out: Python refuses to, beyond 4,300 digits.
_MOST_BITS = 700


def counted(n: int, noun: str) -> str:
    """Return "1 record", or "12,345 records"; the noun is one whose plural has an s."""
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"


def with_article(kind: type[Any]) -> str:
    """Return a type's name with its article: "an int", "a list"."""
    name = kind.__name__
    return f"an {name}" if name[:1].lower() in "aeiou" else f"a {name}"


def brief(value: Any, limit: int = 200, *, quoted: bool = False) -> str:
    """Return a value's text for a message: at most `limit` characters of it, and how many there are.

    Args:
        value: Anything. An integer of a thousand digits is named by its size.
        limit: Characters of the text.
        quoted: As Python writes it, a text in quotes.
    """
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if isinstance(value, int) and value.bit_length() > _MOST_BITS:
        return f"one of {value.bit_length():,} bits"
    try:
        text = repr(value) if quoted else str(value)
    except ValueError:
        # It holds an integer that Python does not write out.
        return f"{with_article(type(value))} with an integer of thousands of digits in it"
    return text if len(text) <= limit else f"{text[:limit]}... ({len(text):,} characters)"


def nearness_names(space: str) -> tuple[str, ...]:
    """Return the names of the columns that say how near a record is; the first has the bar."""
    names = {"cosine": ("similarity", "distance"), "ip": ("inner product", "distance")}
    return names.get(space, ("distance",))
