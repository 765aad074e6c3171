"""`where_of`: the tree of `expression` written as Chroma's `where` again, the way back of `parse_where`."""

from __future__ import annotations

import datetime
from typing import Any

from chroma_nb.filters.expression import (
    Among,
    And,
    Compare,
    CompareDate,
    DocumentContains,
    DocumentMatches,
    Expression,
    IdAmong,
    ListContains,
    Or,
)
from chroma_nb.scalars import SECOND
from chroma_nb.special_keys import DOCUMENT_KEY, ID_KEY

#: Seconds from 0001-01-01 to 1970, and from 1970 to the end of 9999: what a date without an offset can say.
_FIRST = -62_135_596_800
_LAST = 253_402_300_799
#: The largest offset of a date, which takes a moment just outside of those years back into them.
_LARGEST_OFFSET = 24 * 3_600 - 1
_EPOCH = datetime.datetime(1970, 1, 1)


def where_of(expression: Expression) -> dict[str, Any]:
    """Return a filter as Chroma's `where`, of new dicts and lists; `parse_where` gives the same tree again.

    Values keep their kinds. A date is written in UTC, in as many digits as it needs. A filter on the document
    is a condition on ``#document``.

    Raises:
        ValueError: A tree that Chroma's grammar cannot say, and that `parse_where` never makes: an ``And`` or
            ``Or`` of nothing, a list of no values, the negation of an order.
    """
    match expression:
        case And(children) | Or(children):
            if not children:
                raise _not_in_the_grammar(expression)
            parts = [where_of(child) for child in children]
            if len(parts) == 1:
                return parts[0]
            return {"$and" if isinstance(expression, And) else "$or": parts}
        case Compare(key, "$eq", value, negated):
            return {key: {"$ne" if negated else "$eq": value}}
        case Compare(key, operator, value, False):
            return {key: {operator: value}}
        case CompareDate(key, "$gt" | "$gte" | "$lt" | "$lte" as operator, moment, False):
            return {key: {operator: _date(moment)}}
        case Among(key, values, negated) if values:
            return {key: {"$nin" if negated else "$in": list(values)}}
        case ListContains(key, value, negated):
            return {key: {"$not_contains" if negated else "$contains": value}}
        case IdAmong(ids, negated) if ids:
            return {ID_KEY: {"$nin" if negated else "$in": list(ids)}}
        case DocumentContains(text, negated):
            return {DOCUMENT_KEY: {"$not_contains" if negated else "$contains": text}}
        case DocumentMatches(pattern, negated):
            return {DOCUMENT_KEY: {"$not_regex" if negated else "$regex": pattern}}
    raise _not_in_the_grammar(expression)


def _date(moment: int) -> str:
    """Return nanoseconds since 1970 UTC as ISO 8601 text that `scalars.instant` reads as the same moment."""
    seconds, nanoseconds = divmod(moment, SECOND)
    offset = 0
    if seconds < _FIRST:
        offset = _LARGEST_OFFSET
    elif seconds > _LAST:
        offset = -_LARGEST_OFFSET
    text = (_EPOCH + datetime.timedelta(seconds=seconds + offset)).isoformat()
    fraction = f"{nanoseconds:09}".rstrip("0")
    zone = "Z" if offset == 0 else f"{'+' if offset > 0 else '-'}23:59:59"
    return f"{text}{'.' * bool(fraction)}{fraction}{zone}"


def _not_in_the_grammar(expression: Expression) -> ValueError:
    text = str(expression)
    return ValueError(
        f"Chroma's filters cannot say {text[:200]}{'...' if len(text) > 200 else ''}: they have no negation of an "
        "order, and no empty list."
    )
