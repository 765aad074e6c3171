"""`PivotValues`: PIVOT with its columns written out, so that the query is one SELECT that can be checked.

DuckDB runs ``PIVOT docs ON pos USING count(*)`` as two statements, the first of which finds the values of
``pos`` and keeps them as a type. Neither can be checked before it runs. Here a query that can be
checked finds the values, and they are put into the text: ``ON (CAST((pos) AS VARCHAR)) IN ('noun', 'verb')``, which is what DuckDB does.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chroma_nb.db.sql.names import sql_string
from chroma_nb.db.sql.tokens import tokens
from chroma_nb.errors import InvalidArgumentError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chroma_nb.db.sql.tokens import Token

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
#: Columns that a PIVOT makes of one expression at most. Chosen, not measured.
_MAX_VALUES = 10_000


@dataclass
class _OpenPivot:
    """One expression after ON whose values are not written out.

    Attributes:
        start: Where it begins, in bytes of UTF-8.
        stop: Where it ends.
        values_query: A query for its values.
    """

    start: int
    stop: int
    values_query: str


class PivotValues:
    """Fills in the values of one expression after the other.

    Args:
        text: The query.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._n_filled = 0

    @property
    def text(self) -> str | None:
        """The query with its values filled in; None where no PIVOT lacked any."""
        return self._text if self._n_filled else None

    def next_values_query(self) -> str | None:
        """Return a query for the values of the next expression that lacks them."""
        found = _find_open_pivot(self._text)
        return None if found is None else found.values_query

    def fill_in(self, values: Sequence[str]) -> None:
        """Fill in the values of that expression."""
        found = _find_open_pivot(self._text)
        assert found is not None
        if not values:
            raise InvalidArgumentError(
                "This PIVOT has no columns, because the expression after ON has no values. Name the columns: ON name "
                "IN ('a', 'b')."
            )
        if len(values) > _MAX_VALUES:
            raise InvalidArgumentError(
                f"This PIVOT would have more than {_MAX_VALUES:,} columns. Name those that you want: ON name "
                "IN ('a', 'b')."
            )
        if any("\0" in value for value in values):
            raise InvalidArgumentError(
                "The expression after ON of this PIVOT has values with a NUL character, which cannot be column names."
            )
        data = self._text.encode()
        item = data[found.start : found.stop].decode()
        listed = ", ".join(map(sql_string, values))
        # The new line ends a comment that the expression may end with.
        filled = f"(CAST(({item}\n) AS VARCHAR)) IN ({listed}) "
        self._text = data[: found.start].decode() + filled + data[found.stop :].decode()
        self._n_filled += 1


def _find_open_pivot(text: str) -> _OpenPivot | None:
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
                return _OpenPivot(
                    start, finish, _values_query(text, found, depths, place, source, item)
                )
    return None


def _depths(found: Sequence[Token]) -> list[int]:
    """Return how deep in parentheses each token is; a parenthesis itself is as deep as its surroundings."""
    depth, out = 0, []
    for token in found:
        if token.head in _CLOSE:
            depth -= 1
        out.append(depth)
        if token.head in _OPEN:
            depth += 1
    return out


def _is_operator(found: Sequence[Token], place: int) -> bool:
    """Say whether PIVOT stands behind a table. There DuckDB demands that its values are written out."""
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


def _values_query(
    text: str,
    found: Sequence[Token],
    depths: Sequence[int],
    place: int,
    source: str,
    item: str,
) -> str:
    """Return a query for the values of an expression, with the WITH that stands before the PIVOT."""
    values = f"SELECT DISTINCT CAST(({item}\n) AS VARCHAR) AS value FROM {source}"
    query = _with_before(text, found, depths, place) + values
    # One more than allowed shows that there are too many.
    return f"SELECT value FROM ({query}\n) WHERE value IS NOT NULL ORDER BY value LIMIT {_MAX_VALUES + 1}"


def _with_before(text: str, found: Sequence[Token], depths: Sequence[int], place: int) -> str:
    """Return the WITH whose tables a PIVOT can read, with those that are complete before the PIVOT."""
    data = text.encode()
    for at in range(place - 1, -1, -1):
        if found[at].head != "WITH" or depths[at] > depths[place]:
            continue
        depth = depths[at]
        if any(depths[between] < depth for between in range(at, place)):
            # It stands in parentheses that are closed before the PIVOT.
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
