"""Filters, parsed once: Chroma's `where` and `where_document` become one small tree.

The nodes are frozen and hashable. Two compilers read them: `mask` (NumPy, for what is in memory) and
`sql` (for what is not). Negation is a flag of the leaves, and means "not": a record that has no
such field, or no document, matches it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from chroma_nb.errors import InvalidArgumentError

Scalar: TypeAlias = str | int | float | bool
Comparison: TypeAlias = Literal["$eq", "$gt", "$gte", "$lt", "$lte"]


@dataclass(frozen=True)
class And:
    """All of them match."""

    children: tuple[Expression, ...]


@dataclass(frozen=True)
class Or:
    """One of them matches."""

    children: tuple[Expression, ...]


@dataclass(frozen=True)
class Compare:
    """The field's value compares so with `value`; numbers by value, bool apart from numbers."""

    key: str
    op: Comparison
    value: Scalar
    negated: bool = False


@dataclass(frozen=True)
class Among:
    """The field's value equals one of these."""

    key: str
    values: tuple[Scalar, ...]
    negated: bool = False


@dataclass(frozen=True)
class ListContains:
    """The field is a list that holds a value of exactly this kind."""

    key: str
    value: Scalar
    negated: bool = False


@dataclass(frozen=True)
class DocumentContains:
    """The document contains the text, case-sensitively."""

    text: str
    negated: bool = False


@dataclass(frozen=True)
class DocumentMatches:
    """The document matches the regular expression somewhere."""

    pattern: str
    negated: bool = False


Leaf: TypeAlias = Compare | Among | ListContains | DocumentContains | DocumentMatches
Expression: TypeAlias = And | Or | Leaf

_LOGICAL = ("$and", "$or")
_ORDERED = ("$gt", "$gte", "$lt", "$lte")
_MEMBERSHIP = ("$in", "$nin")
_LISTS = ("$contains", "$not_contains")
_OPERATORS = (*_ORDERED, "$ne", "$eq", *_MEMBERSHIP, *_LISTS)
_DOCUMENT_OPERATORS = ("$contains", "$not_contains", "$regex", "$not_regex")
#: The pseudo-field of `where` that stands for the document.
_DOCUMENT_KEY = "#document"
_INVALID = "Invalid where clause"


def parse_where(where: Any) -> Expression | None:
    """Parse a metadata filter.

    Args:
        where: Chroma's grammar, or None.

    Raises:
        ValueError: It is not of the grammar; the text says where.
        InvalidArgumentError: It is, and means nothing (an order of texts, a list of mixed kinds).
    """
    if where is None:
        return None
    if not isinstance(where, dict):
        raise ValueError(f"Expected where to be a dict, got {_short(where)}")
    if len(where) != 1:
        raise ValueError(
            f"Expected where to have exactly one operator, got {_short(where)}"
            + (". Join conditions with $and." if where else "")
        )
    ((key, value),) = where.items()
    if not isinstance(key, str):
        raise ValueError(f"Expected where key to be a str, got {_short(key)}")
    if key in _LOGICAL:
        if not isinstance(value, list):
            raise ValueError(
                f"Expected where value for $and or $or to be a list of where expressions, got {_short(value)}"
            )
        if len(value) < 2:
            raise ValueError(
                "Expected where value for $and or $or to be a list with at least two where "
                f"expressions, got {_short(value)}"
            )
        children = tuple(child for child in map(parse_where, value) if child is not None)
        return And(children) if key == "$and" else Or(children)
    if key.startswith("$"):
        raise ValueError(
            "Expected where key to be a metadata field name or a logical operator ($and, $or), "
            f"got {_short(key)}"
        )
    if isinstance(value, dict):
        return _parse_operator(key, value)
    if not isinstance(value, str | int | float | bool):
        raise ValueError(
            f"Expected where value to be a str, int, float, or operator expression, got {_short(value)}"
        )
    return _leaf(key, "$eq", value)


def _parse_operator(key: str, expression: dict[Any, Any]) -> Expression:
    if len(expression) != 1:
        raise ValueError(
            f"Expected operator expression to have exactly one operator, got {_short(expression)}"
        )
    ((operator, operand),) = expression.items()
    if operator in _ORDERED and (not isinstance(operand, int | float)):
        raise ValueError(
            f"Expected operand value to be an int or a float for operator {operator}, got {_short(operand)}"
        )
    if operator in _LISTS and key == _DOCUMENT_KEY and not isinstance(operand, str):
        raise ValueError(
            f"Expected operand value to be a str for operator {operator} on {_DOCUMENT_KEY}, "
            f"got {_short(operand)}"
        )
    if operator in _LISTS and not isinstance(operand, str | int | float | bool):
        raise ValueError(
            "Expected operand value to be a str, int, float, or bool for operator "
            f"{operator}, got {_short(operand)}"
        )
    if operator in _MEMBERSHIP:
        if not isinstance(operand, list):
            raise ValueError(
                f"Expected operand value to be an list for operator {operator}, got {_short(operand)}"
            )
        if not operand or not all(
            isinstance(value, str | int | float | bool) and isinstance(value, type(operand[0]))
            for value in operand
        ):
            raise ValueError(
                "Expected where operand value to be a non-empty list, and all values to be of the "
                f"same type got {_short(operand)}"
            )
    if operator not in _OPERATORS:
        raise ValueError(
            "Expected where operator to be one of $gt, $gte, $lt, $lte, $ne, $eq, $in, $nin, "
            f"$contains, $not_contains, got {_short(operator)}"
        )
    if not isinstance(operand, str | int | float | bool | list):
        raise ValueError(
            "Expected where operand value to be a str, int, float, bool, or list of those type, "
            f"got {_short(operand)}"
        )
    return _leaf(key, operator, operand)


def _leaf(key: str, operator: str, operand: Any) -> Expression:
    if key == _DOCUMENT_KEY:
        if operator not in _LISTS or not isinstance(operand, str):
            raise InvalidArgumentError(
                f"Cannot filter using metadata key '{_DOCUMENT_KEY}' with operator '{operator}' "
                "because indexing is disabled. Use where_document, or $contains with a text."
            )
        return DocumentContains(operand, operator == "$not_contains")
    values = operand if isinstance(operand, list) else [operand]
    for value in values:
        _check_scalar(value)
    if operator in _MEMBERSHIP:
        if len({_kind(value) for value in values}) != 1:
            raise InvalidArgumentError(f"{_INVALID}: values of several kinds in {_short(operand)}")
        return Among(key, tuple(values), operator == "$nin")
    if isinstance(operand, list):
        raise InvalidArgumentError(f"{_INVALID}: {operator} takes one value, got {_short(operand)}")
    if operator in _LISTS:
        return ListContains(key, operand, operator == "$not_contains")
    if operator == "$ne":
        return Compare(key, "$eq", operand, negated=True)
    if operator != "$eq" and isinstance(operand, bool):
        raise InvalidArgumentError(f"{_INVALID}: {operator} compares numbers, got {operand!r}")
    return Compare(key, operator, operand)  # type: ignore[arg-type]


def _check_scalar(value: Any) -> None:
    if isinstance(value, float) and value != value:
        raise InvalidArgumentError(f"{_INVALID}: NaN equals nothing")
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            raise InvalidArgumentError(
                f"{_INVALID}: {_short(value)} holds a lone surrogate, which no stored text can"
            ) from None


def _kind(value: Any) -> type:
    return bool if isinstance(value, bool) else type(value)


def parse_where_document(where_document: Any) -> Expression | None:
    """Parse a document filter.

    Args:
        where_document: Chroma's grammar, or None.

    Raises:
        ValueError: It is not of the grammar.
    """
    if where_document is None:
        return None
    if not isinstance(where_document, dict):
        raise ValueError(
            f"Expected where document to be a dictionary, got {_short(where_document)}"
        )
    if len(where_document) != 1:
        raise ValueError(
            f"Expected where document to have exactly one operator, got {_short(where_document)}"
        )
    ((operator, operand),) = where_document.items()
    if operator in _LOGICAL:
        if not isinstance(operand, list):
            raise ValueError(
                "Expected document value for $and or $or to be a list of where document "
                f"expressions, got {_short(operand)}"
            )
        if len(operand) < 2:
            raise ValueError(
                "Expected document value for $and or $or to be a list with at least two where "
                f"document expressions, got {_short(operand)}"
            )
        children = tuple(c for c in map(parse_where_document, operand) if c is not None)
        return And(children) if operator == "$and" else Or(children)
    if operator not in _DOCUMENT_OPERATORS:
        raise ValueError(
            "Expected where document operator to be one of $contains, $not_contains, $regex, "
            f"$not_regex, $and, $or, got {_short(operator)}"
        )
    if not isinstance(operand, str):
        raise ValueError(
            f"Expected where document operand value for operator {operator} to be a str, got {_short(operand)}"
        )
    if not operand:
        raise ValueError(
            f"Expected where document operand value for operator {operator} to be a non-empty str"
        )
    _check_scalar(operand)
    if operator in ("$contains", "$not_contains"):
        return DocumentContains(operand, operator == "$not_contains")
    return DocumentMatches(operand, operator == "$not_regex")


def _short(value: Any, limit: int = 200) -> str:
    text = str(value)
    return text if len(text) <= limit else text[:limit] + "..."
