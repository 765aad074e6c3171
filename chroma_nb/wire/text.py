"""JSON as it crosses the wire: by orjson where it is installed, else by Python's own module."""

from __future__ import annotations

import json
from typing import Any

from chroma_nb.errors import InvalidArgumentError

try:
    import orjson
except ImportError:  # The extra `server` brings it; a client does without.
    orjson = None  # type: ignore[assignment, unused-ignore]

_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


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
        return _encode(value).encode()
    except (TypeError, ValueError) as error:
        raise InvalidArgumentError(f"This cannot be sent as JSON: {error}") from None


def loads(data: bytes) -> Any:
    """Return the value of a JSON text.

    Raises:
        ValueError: It is none.
    """
    return json.loads(data) if orjson is None else orjson.loads(data)
