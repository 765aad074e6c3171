"""Placeholders in a query: names for its tables that nobody can guess, and ``?`` of parameters."""

from __future__ import annotations

import itertools
import re
import secrets
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

#: What a ``?`` is no placeholder in, and the ``?`` itself: texts, quoted names, comments, heredocs.
_TOKEN = re.compile(
    r"'(?:[^'\\]|\\.|'')*'|\"(?:[^\"\\]|\\.)*\"|`(?:[^`\\]|\\.)*`|--[^\n]*|#[ !][^\n]*|/\*.*?\*/|"
    r"\$(?P<tag>\w*)\$.*?\$(?P=tag)\$|(?P<mark>\?)",
    re.DOTALL,
)


def names() -> Callable[[], str]:
    """Return a function that returns another name at each call."""
    prefix, numbers = f"chroma_nb_sql_{secrets.token_hex(12)}", itertools.count(1)
    # With a sign behind the number: none is the beginning of another.
    return lambda: f"{prefix}_{next(numbers)}_"


def numbered(query: str) -> str:
    """Return a query with ``$1``, ``$2``, ... in place of each ``?``.

    ClickHouse has no ``?`` for parameters. This is tried where it cannot read a query as it is: so a mistake here changes
    at most where a value goes, and the query is checked afterwards like any other.
    """
    count = itertools.count(1)
    return _TOKEN.sub(
        lambda found: f"${next(count)}" if found["mark"] else found[0],
        query,
    )
