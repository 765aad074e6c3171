"""`shown`: a value as errors show it."""

from __future__ import annotations


def shown(value: object) -> str:
    """Return a value, cut to 100 characters, and the name of its kind."""
    text = str(value)[:100]
    return (
        f"{text!r} ({type(value).__name__})"
        if isinstance(value, str)
        else f"{text} ({type(value).__name__})"
    )
