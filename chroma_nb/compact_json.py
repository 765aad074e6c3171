"""Compact JSON, written and read: one form of it for the database and for the wire."""

from __future__ import annotations

import json
import secrets
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Writes compact JSON: texts as they are, no spaces, and no NaN, which is not JSON.
json_text = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode

#: Stands between JSON texts that are parsed together; each process has its own.
_BETWEEN = secrets.token_hex(8)


def parsed_together(texts: Sequence[str | None]) -> list[Any] | None:
    """Return what JSON texts say, None for one that is missing; None where one of them is no JSON.

    To parse them one by one takes three times as long. Halves of JSON in several texts are none, although they may be some
    where they are put together: between each two texts stands a value that nobody else knows, and which would end up within
    what the halves make.
    """
    joined = f',"{_BETWEEN}",'.join(["null" if text is None else text for text in texts])
    try:
        found: list[Any] = json.loads(f"[{joined}]")
    except (ValueError, RecursionError):
        return None
    if len(found) != max(0, 2 * len(texts) - 1) or found[1::2] != [_BETWEEN] * (len(texts) - 1):
        return None
    return found[::2]
