"""`did_you_mean`: the name that was probably meant."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def did_you_mean(given: object, known: Iterable[str], shape: str = " Did you mean {}?") -> str:
    """Return a hint where a known name is close to the one given, else an empty text.

    Args:
        given: What was given; only a text of reasonable length is looked at.
        known: The names that would have done.
        shape: What is returned, with the name in place of the braces.
    """
    if not isinstance(given, str) or len(given) > 200:
        return ""
    close = difflib.get_close_matches(given, list(known), n=1)
    return shape.format(close[0]) if close else ""
