"""JSON as it crosses the wire: by orjson where it is installed, else by Python's own module.

What comes in is untrusted, and a value takes far more memory than its text. So values are counted before anything is parsed.
"""

from __future__ import annotations

import json
from typing import Any

from chroma_nb.compact_json import json_text
from chroma_nb.errors import InvalidArgumentError
from chroma_nb.memory.preflight import require

try:
    import orjson
except ImportError:  # The extra `server` brings it; a client does without.
    orjson = None  # type: ignore[assignment, unused-ignore]

#: What is received may hold one JSON value for each this many bytes of its limit.
BYTES_PER_VALUE = 8
#: What a value may take while it is parsed, however short its text is: the parser's own form of it, Python's, and
#: the list or dictionary that grows around it. Measured; the worst are ``{"key": 1}`` and ``"key": 1``, all keys different.
VALUE_BYTES = 160
#: First bytes of characters that take four bytes in Python, in UTF-8 and escaped.
_WIDE = (b"\xf0", b"\xf1", b"\xf2", b"\xf3", b"\xf4", b"\\ud", b"\\uD")


def dumps(value: Any) -> bytes:
    """Return a value as JSON in UTF-8.

    Raises:
        InvalidArgumentError: It holds something that JSON or UTF-8 cannot, such as NaN or half of a
            surrogate pair.
    """
    if orjson is not None:
        try:
            return orjson.dumps(value)
        except TypeError:
            # An integer beyond 64 bits is JSON all the same; the rest fails again below.
            pass
    try:
        return json_text(value).encode()
    except (TypeError, ValueError) as error:
        raise InvalidArgumentError(f"This cannot be sent as JSON: {error}") from None


class NoJsonError(ValueError):
    """A text is no JSON."""


class TooManyValuesError(ValueError):
    """A text holds more JSON values than it may; says "1,000 values, more than 100"."""


def count_values(data: bytes | bytearray, most: int) -> int:
    """Return how many values a JSON text holds, without parsing it. Those within its texts are counted too many.

    Raises:
        TooManyValuesError: There are more than `most`.
    """
    # Each value but the first has one of these before it.
    n_values = sum(data.count(sign) for sign in (b",", b"[", b"{"))
    if n_values > most:
        raise TooManyValuesError(f"{n_values:,} values, more than {most:,}")
    return n_values


def loads(data: bytes | bytearray, most_values: int) -> Any:
    """Return the value of a JSON text, an answer.

    Raises:
        TooManyValuesError: It holds more values than that.
        MemoryBudgetError: There is no room for it.
        NoJsonError: It is none.
    """
    n_values = count_values(data, most_values)
    require(
        n_values * VALUE_BYTES + _text_bytes(data),
        f"Reading an answer of {n_values:,} values",
        "ask for less at a time: limit= and offset=",
    )
    try:
        return json.loads(data) if orjson is None else orjson.loads(data)
    except (ValueError, RecursionError) as error:
        raise NoJsonError(str(error)) from None


def _text_bytes(data: bytes | bytearray) -> int:
    """Return what the texts of a JSON text may take: each character as much as the widest, and a copy on the way."""
    if data.isascii() and b"\\u" not in data:
        widest = 1
    else:
        widest = 4 if any(data.find(first) >= 0 for first in _WIDE) else 2
    # orjson copies the bytes, Python's module makes characters of them.
    return len(data) * (widest + (widest if orjson is None else 1))
