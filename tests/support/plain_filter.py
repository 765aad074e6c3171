"""Filters in plain Python: the referee of all other ways to evaluate them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

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

if TYPE_CHECKING:
    from collections.abc import Callable

ORDERS: dict[str, Any] = {
    "$eq": lambda left, right: left == right,
    "$gt": lambda left, right: left > right,
    "$gte": lambda left, right: left >= right,
    "$lt": lambda left, right: left < right,
    "$lte": lambda left, right: left <= right,
}


def kind(value: Any) -> str:
    """Return the kind within which values are compared."""
    if isinstance(value, bool):
        return "bool"
    return "number" if isinstance(value, int | float) else type(value).__name__


def matches(
    expression: Expression,
    id: str,
    metadata: dict[str, Any] | None,
    document: str | None,
    moment: Callable[[str], int | None],
) -> bool:
    """Say whether a record matches. Python compares int and float by exact value.

    Args:
        expression: The filter.
        id: The record's.
        metadata: The record's.
        document: The record's.
        moment: Reads a date: nanoseconds since 1970, None where it is none.
    """
    if isinstance(expression, And | Or):
        every = all if isinstance(expression, And) else any
        return every(
            matches(child, id, metadata, document, moment) for child in expression.children
        )
    if isinstance(expression, DocumentContains):
        result = document is not None and expression.text in document
    elif isinstance(expression, DocumentMatches):
        result = document is not None and re.search(expression.pattern, document) is not None
    elif isinstance(expression, IdAmong):
        result = id in expression.ids
    else:
        value = (metadata or {}).get(expression.key)
        if isinstance(expression, Compare):
            result = value is not None and kind(value) == kind(expression.value)
            if result:
                result = ORDERS[expression.op](value, expression.value)
        elif isinstance(expression, CompareDate):
            then = moment(value) if isinstance(value, str) else None
            result = then is not None and ORDERS[expression.op](then, expression.moment)
        elif isinstance(expression, Among):
            result = value is not None and any(
                kind(value) == kind(each) and value == each for each in expression.values
            )
        else:
            assert isinstance(expression, ListContains)
            result = isinstance(value, list) and any(
                type(item) is type(expression.value) and item == expression.value for item in value
            )
    return result != expression.negated
