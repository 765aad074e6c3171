"""`PivotValues`: PIVOT with its columns written out, so that the query is one SELECT that can be read.

DuckDB runs ``PIVOT docs ON pos USING count(*)`` as two statements, the first of which finds the values of
``pos`` and keeps them as a type. Neither can be looked at before it runs. Here the values are found by a query
that can, and put into the text: ``ON (CAST((pos) AS VARCHAR)) IN ('noun', 'verb')``, which is what DuckDB does.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chroma_nb.db._sql_statement import tokens
from chroma_nb.errors import InvalidArgumentError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chroma_nb.db._sql_statement import Token

_PIVOTS = {"PIVOT", "PIVOT_WIDER"}
#: What ends the list after ON, within the same parentheses.
_ENDS = {
    *(
        "USING",
        "GROUP",
        "ORDER",
        "LIMIT",
        "OFFSET",
        "UNION",
        "EXCEPT",
        "INTERSECT",
        "SELECT",
        "WHERE",
    ),
    ";",
}
_OPEN, _CLOSE = set("([{"), set(")]}")
#: Columns that a PIVOT makes of one expression at most.
_MAX_VALUES = 10_000


@dataclass
class _Gap:
    """One expression after ON whose values are not written out."""

    start: int
    stop: int
    inquiry: str


class PivotValues:
    """Fills in one expression after the other.

    Args:
        text: The query.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._n_filled = 0

    @property
    def text(self) -> str | None:
        """The query with what was filled in; None where there was nothing to fill in."""
        return self._text if self._n_filled else None

    def next_inquiry(self) -> str | None:
        """Return a query for the values of the next expression that lacks them."""
        gap = _find_gap(self._text)
        return None if gap is None else gap.inquiry

    def give(self, values: Sequence[str]) -> None:
        """Fill in the values of that expression."""
        gap = _find_gap(self._text)
        assert gap is not None
        if not values:
            raise InvalidArgumentError(
                "This PIVOT has no columns: what it is ON has no value. Name some: ON name IN ('a', 'b')."
            )
        if len(values) > _MAX_VALUES:
            raise InvalidArgumentError(
                f"This PIVOT would have more than {_MAX_VALUES:,} columns. Name those that you want: ON name "
                "IN ('a', 'b')."
            )
        if any("\0" in value for value in values):
            raise InvalidArgumentError(
                "What this PIVOT is ON has values with the character NUL, which cannot be names."
            )
        data = self._text.encode()
        item = data[gap.start : gap.stop].decode()
        listed = ", ".join("'" + value.replace("'", "''") + "'" for value in values)
        # A new line, as a comment may be the last of it.
        filled = f"(CAST(({item}\n) AS VARCHAR)) IN ({listed}) "
        self._text = data[: gap.start].decode() + filled + data[gap.stop :].decode()
        self._n_filled += 1


def _find_gap(text: str) -> _Gap | None:
    found = tokens(text)
    depths = _depths(found)
    for place, token in enumerate(found):
        if token.head not in _PIVOTS or _is_operator(found, place):
            continue
        depth = depths[place]
        inside = [at for at in range(place + 1, len(found)) if depths[at] == depth]
        stop = next((at for at in range(place + 1, len(found)) if depths[at] < depth), len(found))
        inside = [at for at in inside if at < stop]
        on = next((at for at in inside if found[at].head == "ON"), None)
        if on is None:
            continue
        end = next((at for at in inside if at > on and found[at].head in _ENDS), stop)
        for first, last in _items(found, depths, on + 1, end, depth):
            heads = [found[at].head for at in range(first, last) if depths[at] == depth]
            if "IN" not in heads:
                start = found[first].start
                finish = found[last].start if last < len(found) else len(text.encode())
                source = text.encode()[found[place].stop : found[on].start].decode()
                item = text.encode()[start:finish].decode()
                return _Gap(start, finish, _inquiry(text, found, depths, place, source, item))
    return None


def _depths(found: Sequence[Token]) -> list[int]:
    """Return how deep in parentheses each token is; a parenthesis is as deep as what is around it."""
    depth, out = 0, []
    for token in found:
        if token.head in _CLOSE:
            depth -= 1
        out.append(depth)
        if token.head in _OPEN:
            depth += 1
    return out


def _is_operator(found: Sequence[Token], place: int) -> bool:
    """Say whether PIVOT stands behind a table, where its values are always written out."""
    return (
        place + 1 < len(found)
        and found[place + 1].head == "("
        and place > 0
        and found[place - 1].head not in ("(", ")", ";", "AS")
    )


def _items(
    found: Sequence[Token], depths: Sequence[int], first: int, end: int, depth: int
) -> list[tuple[int, int]]:
    """Return where the expressions after ON begin and end."""
    commas = [at for at in range(first, end) if found[at].head == "," and depths[at] == depth]
    bounds = [first - 1, *commas, end]
    return [
        (before + 1, after) for before, after in itertools.pairwise(bounds) if before + 1 < after
    ]


def _inquiry(
    text: str,
    found: Sequence[Token],
    depths: Sequence[int],
    place: int,
    source: str,
    item: str,
) -> str:
    """Return a query for the values of an expression, with what WITH has made around it."""
    values = f"SELECT DISTINCT CAST(({item}\n) AS VARCHAR) AS value FROM {source}"
    query = _with_before(text, found, depths, place) + values
    # One more than allowed: then it is known to be too many.
    return f"SELECT value FROM ({query}\n) WHERE value IS NOT NULL ORDER BY value LIMIT {_MAX_VALUES + 1}"


def _with_before(text: str, found: Sequence[Token], depths: Sequence[int], place: int) -> str:
    """Return the WITH whose tables a PIVOT can read, whole tables of it alone."""
    data = text.encode()
    for at in range(place - 1, -1, -1):
        if found[at].head != "WITH" or depths[at] > depths[place]:
            continue
        depth = depths[at]
        if any(depths[between] < depth for between in range(at, place)):
            # In parentheses that were closed before.
            continue
        ends = _ends_of_with(found, depths, at, depth)
        complete = [end for end in ends if end <= place]
        if not complete:
            continue
        last = complete[-1]
        return data[found[at].start : found[last].start].decode().rstrip().rstrip(",") + " "
    return ""


def _ends_of_with(
    found: Sequence[Token], depths: Sequence[int], start: int, depth: int
) -> list[int]:
    """Return where each table that a WITH makes is complete: at the comma or the query after it."""
    ends = []
    for at in range(start + 1, len(found)):
        if depths[at] < depth:
            break
        if depths[at] == depth and found[at - 1].head == ")" and found[at].head not in ("AS", ")"):
            ends.append(at)
            if found[at].head != ",":
                break
    return ends
