"""What a database computes of metadata, in plain Python: slow, and the referee of all faster ways.

It is enough for the first version of a `DB` of one's own. Regular expressions are read by Python's `re` here, which knows
most of what Rust's syntax has, and not all of it.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Any

from chroma_nb.errors import InvalidArgumentError
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
    unknown_leaf,
)
from chroma_nb.scalars import instant
from chroma_nb.types import FieldSummary

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_KINDS = {str: "str", int: "int", float: "float", bool: "bool", list: "list", dict: "SparseVector"}
_ORDERS: dict[str, Any] = {
    "$eq": lambda left, right: left == right,
    "$gt": lambda left, right: left > right,
    "$gte": lambda left, right: left >= right,
    "$lt": lambda left, right: left < right,
    "$lte": lambda left, right: left <= right,
}


def _kind(value: Any) -> str:
    """Return the kind within which values are compared."""
    if isinstance(value, bool):
        return "bool"
    return "number" if isinstance(value, int | float) else type(value).__name__


def matches(
    expression: Expression,
    id: str,
    metadata: dict[str, Any] | None,
    document: str | None,
    moment: Callable[[str], int | None] = instant,
) -> bool:
    """Say whether a record matches. Python compares int and float by exact value.

    Args:
        expression: The filter.
        id: The record's.
        metadata: The record's.
        document: The record's.
        moment: Reads a date: nanoseconds since 1970, None where it is none.

    Raises:
        InvalidArgumentError: A regular expression cannot be read.
    """
    if isinstance(expression, And | Or):
        every = all if isinstance(expression, And) else any
        return every(
            matches(child, id, metadata, document, moment) for child in expression.children
        )
    if isinstance(expression, DocumentContains):
        result = document is not None and expression.text in document
    elif isinstance(expression, DocumentMatches):
        result = document is not None and _finds(expression.pattern, document)
    elif isinstance(expression, IdAmong):
        result = id in expression.ids
    else:
        value = (metadata or {}).get(expression.key)
        if isinstance(expression, Compare):
            result = value is not None and _kind(value) == _kind(expression.value)
            if result:
                result = _ORDERS[expression.op](value, expression.value)
        elif isinstance(expression, CompareDate):
            then = moment(value) if isinstance(value, str) else None
            result = then is not None and _ORDERS[expression.op](then, expression.moment)
        elif isinstance(expression, Among):
            result = value is not None and any(
                _kind(value) == _kind(each) and value == each for each in expression.values
            )
        elif isinstance(expression, ListContains):
            result = isinstance(value, list) and any(
                type(item) is type(expression.value) and item == expression.value for item in value
            )
        else:
            raise unknown_leaf(expression)
    return result != expression.negated


def _finds(pattern: str, document: str) -> bool:
    try:
        return re.search(pattern, document) is not None
    except re.error as error:
        raise InvalidArgumentError(
            f"Invalid where clause: the regular expression {pattern!r} cannot be read: {error}."
        ) from error


def describe(metadatas: Iterable[dict[str, Any] | None], n_values: int) -> list[FieldSummary]:
    """Summarize each key of the metadata, the most frequent key first, then by name.

    Args:
        metadatas: Of all records of a collection.
        n_values: A key with at most so many different values has them counted.
    """
    values: dict[str, list[Any]] = {}
    for metadata in metadatas:
        for key, value in (metadata or {}).items():
            values.setdefault(key, []).append(value)
    found = [_summary(key, of_key, n_values) for key, of_key in values.items()]
    return sorted(found, key=lambda summary: (-summary.n_records, summary.key))


def _summary(key: str, values: list[Any], n_values: int) -> FieldSummary:
    kinds = {_KINDS[type(value)] for value in values}
    numbers = [value for value in values if type(value) in (int, float)]
    counts = Counter(value for value in values if not isinstance(value, list | dict))
    return FieldSummary(
        key,
        tuple(kind for kind in _KINDS.values() if kind in kinds),
        len(values),
        min(numbers, default=None),
        max(numbers, default=None),
        len(counts),
        counts.most_common() if len(counts) <= n_values else [],
    )
