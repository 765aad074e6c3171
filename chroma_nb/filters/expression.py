"""A filter as a small tree: `parsing` makes it, and `mask` and `sql` compile it.

A node is an `And`, an `Or`, or a *leaf*: one condition, on a metadata field, the id or the document. The nodes are
frozen and hashable, and their values are of Python's own types. (Do not cache results by expression: 1, 1.0 and True
are equal in Python, and so are nodes that hold them.) Negation is a flag of the leaves and means "not": a record that
has no such field, or no document, matches it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, NoReturn, TypeAlias

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

    asks: ClassVar[Literal["value"]] = "value"

    key: str
    op: Comparison
    value: Scalar
    negated: bool = False


@dataclass(frozen=True)
class CompareDate:
    """The field's value is a date in ISO form, and compares so with a moment.

    `moment` is in nanoseconds since 1970 UTC, as `scalars.instant` reads it.
    """

    asks: ClassVar[Literal["date"]] = "date"

    key: str
    op: Comparison
    moment: int
    negated: bool = False


@dataclass(frozen=True)
class Among:
    """The field's value equals one of these."""

    asks: ClassVar[Literal["values"]] = "values"

    key: str
    values: tuple[Scalar, ...]
    negated: bool = False


@dataclass(frozen=True)
class ListContains:
    """The field is a list that holds a value of exactly this kind."""

    asks: ClassVar[Literal["list"]] = "list"

    key: str
    value: Scalar
    negated: bool = False


@dataclass(frozen=True)
class IdAmong:
    """The record's id is one of these."""

    ids: tuple[str, ...]
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


#: A condition on a metadata field.
FieldLeaf: TypeAlias = Compare | CompareDate | Among | ListContains
Leaf: TypeAlias = FieldLeaf | IdAmong | DocumentContains | DocumentMatches
Expression: TypeAlias = And | Or | Leaf


def unknown_leaf(leaf: NoReturn) -> AssertionError:
    """Return the error for a leaf that is not evaluated. mypy finds each place that a new kind of leaf would reach."""
    return AssertionError(f"A leaf of filters that nothing evaluates here: {leaf!r}")


def patterns(expression: Expression | None) -> list[str]:
    """Return the regular expressions in a filter."""
    if isinstance(expression, And | Or):
        return [pattern for child in expression.children for pattern in patterns(child)]
    return [expression.pattern] if isinstance(expression, DocumentMatches) else []


def contained_texts(expression: Expression | None) -> list[str]:
    """Return the texts that a filter wants documents to contain."""
    if isinstance(expression, And | Or):
        return [text for child in expression.children for text in contained_texts(child)]
    wanted = isinstance(expression, DocumentContains) and not expression.negated
    return [expression.text] if wanted else []  # type: ignore[union-attr]


def field_conditions(expression: Expression | None) -> list[FieldLeaf]:
    """Return the conditions on metadata fields in a filter, in their order."""
    if isinstance(expression, And | Or):
        return [leaf for child in expression.children for leaf in field_conditions(child)]
    return [expression] if isinstance(expression, FieldLeaf) else []
