"""`shown`: values in messages."""

from __future__ import annotations

from typing import Any


def shown(value: Any, limit: int = 100) -> str:
    """Return a value as a message may show it: quoted, on one line, of bounded length."""
    text = " ".join(repr(value).split())
    return text if len(text) <= limit else f"{text[: limit - 3]}..."
