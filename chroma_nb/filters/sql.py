"""Filters over what is on disk: an expression becomes a WHERE condition and its parameters.

The columns are `id` (text), `metadata` (JSON text or NULL) and `document` (text or NULL). A condition is never NULL:
a leaf that meets a NULL is false, and its negation true.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
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
    Leaf,
    ListContains,
    Or,
    Scalar,
    unknown_leaf,
)
from chroma_nb.filters.numbers import Bound, equal_numbers, float_bound, int_bound
from chroma_nb.filters.regex import rust_regex_to_re2
from chroma_nb.scalars import ISO_DATE, ISO_GROUPS, SECOND

if TYPE_CHECKING:
    from collections.abc import Mapping

_SQL_OPS = {"==": "=", ">": ">", ">=": ">=", "<": "<", "<=": "<="}


class Dialect(ABC):
    """How one database spells the leaves.

    Each method returns a condition with a `?` for each of its values; it is NULL where it does not apply.
    """

    @abstractmethod
    def text_in(self, key: str, values: tuple[str, ...]) -> tuple[str, list[Any]]:
        """The key's value is one of these texts."""

    @abstractmethod
    def bool_in(self, key: str, values: tuple[bool, ...]) -> tuple[str, list[Any]]:
        """The key's value is one of these bools."""

    @abstractmethod
    def number_in(self, key: str, integers: list[int], reals: list[float]) -> tuple[str, list[Any]]:
        """The key's value is one of these integers, or a float and one of these floats."""

    @abstractmethod
    def integer(self, key: str, op: str | None, value: int) -> tuple[str, list[Any]]:
        """The key's value is an integer and compares so; any integer where `op` is None."""

    @abstractmethod
    def real(self, key: str, op: str | None, value: float) -> tuple[str, list[Any]]:
        """The key's value is a float and compares so; any float where `op` is None."""

    @abstractmethod
    def date(self, key: str, op: str, moment: int) -> tuple[str, list[Any]]:
        """The key's value is a date in ISO form and compares so with nanoseconds since 1970 UTC."""

    @abstractmethod
    def id_in(self, ids: tuple[str, ...]) -> tuple[str, list[Any]]:
        """The record's id is one of these."""

    @abstractmethod
    def list_has(self, key: str, value: Scalar) -> tuple[str, list[Any]]:
        """The key's value is a list of this kind that holds this value."""

    @abstractmethod
    def document_contains(self, text: str) -> tuple[str, list[Any]]:
        """The document contains the text."""

    @abstractmethod
    def document_matches(self, pattern: str) -> tuple[str, list[Any]]:
        """The document matches the regular expression."""


def json_pointer(key: str) -> str:
    """Return a metadata key as a JSON pointer (RFC 6901)."""
    return "/" + key.replace("~", "~0").replace("/", "~1")


class DuckDBDialect(Dialect):
    """DuckDB's JSON functions; a key becomes a JSON pointer, so any key can be asked for.

    Args:
        columns: Key -> the column that has its value alone, as JSON. Others are looked up in `metadata`.
    """

    def __init__(self, columns: Mapping[str, str] | None = None) -> None:
        self._columns = columns or {}

    def _place(self, key: str) -> tuple[str, str]:
        """Return the column that has a key's value, and the value's JSON pointer there."""
        column = self._columns.get(key)
        return ("metadata", json_pointer(key)) if column is None else (column, "")

    _INTEGERS = "('BIGINT', 'UBIGINT')"
    #: What `scalars.instant` computes, of a struct of the groups of `ISO_DATE`. A text that is no date has
    #: empty groups, which no cast takes: the moment is NULL then.
    _MOMENT = (
        "((datediff('day', DATE '1970-01-01', TRY_CAST(iso.year || '-' || iso.month || '-' || iso.day AS DATE))"
        "::HUGEINT * 86400"
        " + coalesce(TRY_CAST(iso.hour AS INTEGER), 0) * 3600"
        " + coalesce(TRY_CAST(iso.minute AS INTEGER), 0) * 60"
        " + coalesce(TRY_CAST(iso.second AS INTEGER), 0)"
        " + (CASE WHEN iso.sign = '-' THEN 1 ELSE -1 END)"
        " * (coalesce(TRY_CAST(iso.offset_hour AS INTEGER), 0) * 3600"
        " + coalesce(TRY_CAST(iso.offset_minute AS INTEGER), 0) * 60"
        f" + coalesce(TRY_CAST(iso.offset_second AS INTEGER), 0))) * {SECOND}"
        " + TRY_CAST(rpad(iso.fraction, 9, '0') AS INTEGER))"
    )

    def text_in(self, key: str, values: tuple[str, ...]) -> tuple[str, list[Any]]:
        return self._in(key, "('VARCHAR')", "VARCHAR", list(values))

    def bool_in(self, key: str, values: tuple[bool, ...]) -> tuple[str, list[Any]]:
        texts = ["true" if value else "false" for value in values]
        return self._in(key, "('BOOLEAN')", "VARCHAR", texts)

    def number_in(self, key: str, integers: list[int], reals: list[float]) -> tuple[str, list[Any]]:
        left, left_values = self._in(key, self._INTEGERS, "BIGINT", integers)
        right, right_values = self._in(key, "('DOUBLE')", "DOUBLE", reals)
        condition = f"(coalesce({left}, FALSE) OR coalesce({right}, FALSE))"
        return condition, [*left_values, *right_values]

    def _in(self, key: str, kinds: str, column: str, values: list[Any]) -> tuple[str, list[Any]]:
        place, pointer = self._place(key)
        value = f"json_extract_string({place}, ?)"
        if column != "VARCHAR":
            value = f"TRY_CAST({value} AS {column})"
        if len(values) == 1:
            members, operand = f"= ?::{column}", values[0]
        else:
            # One list, however long: as many marks as values would be a plan of that size.
            members, operand = f"IN (SELECT unnest(?::{column}[]))", values
        return f"json_type({place}, ?) IN {kinds} AND {value} {members}", [
            pointer,
            pointer,
            operand,
        ]

    def integer(self, key: str, op: str | None, value: int) -> tuple[str, list[Any]]:
        place, pointer = self._place(key)
        kind = f"json_type({place}, ?) IN {self._INTEGERS}"
        if op is None:
            return kind, [pointer]
        return (
            f"{kind} AND TRY_CAST(json_extract_string({place}, ?) AS BIGINT) {op} ?::BIGINT",
            [pointer, pointer, value],
        )

    def real(self, key: str, op: str | None, value: float) -> tuple[str, list[Any]]:
        place, pointer = self._place(key)
        kind = f"json_type({place}, ?) = 'DOUBLE'"
        if op is None:
            return kind, [pointer]
        return (
            f"{kind} AND TRY_CAST(json_extract_string({place}, ?) AS DOUBLE) {op} ?::DOUBLE",
            [pointer, pointer, value],
        )

    def date(self, key: str, op: str, moment: int) -> tuple[str, list[Any]]:
        place, pointer = self._place(key)
        groups = ", ".join(f"'{name}'" for name in ISO_GROUPS)
        condition = (
            "(SELECT iso.year <> '0000' AND "
            f"{self._MOMENT} {op} ?::HUGEINT "
            f"FROM (SELECT regexp_extract(json_extract_string({place}, ?), ?, [{groups}]) AS iso))"
        )
        return f"json_type({place}, ?) = 'VARCHAR' AND {condition}", [
            pointer,
            moment,
            pointer,
            ISO_DATE,
        ]

    def id_in(self, ids: tuple[str, ...]) -> tuple[str, list[Any]]:
        if len(ids) == 1:
            return "id = ?::VARCHAR", [ids[0]]
        return "id IN (SELECT unnest(?::VARCHAR[]))", [list(ids)]

    def list_has(self, key: str, value: Scalar) -> tuple[str, list[Any]]:
        place, pointer = self._place(key)
        if isinstance(value, bool):
            kinds, column = "('BOOLEAN')", "BOOLEAN"
        elif isinstance(value, int):
            kinds, column = self._INTEGERS, "BIGINT"
        elif isinstance(value, float):
            kinds, column = "('DOUBLE')", "DOUBLE"
        else:
            kinds, column = "('VARCHAR')", "VARCHAR"
        if column == "BIGINT" and int_bound("$eq", value).op == "none":  # type: ignore[arg-type]
            return "FALSE", []
        return (
            f"json_type({place}, ?) = 'ARRAY' "
            f"AND json_type({place}, ?) IN {kinds} "
            f"AND list_contains(TRY_CAST(json_extract({place}, ?) AS {column}[]), ?::{column})",
            [pointer, pointer + "/0", pointer, value],
        )

    def document_contains(self, text: str) -> tuple[str, list[Any]]:
        return "contains(document, ?)", [text]

    def document_matches(self, pattern: str) -> tuple[str, list[Any]]:
        return "regexp_matches(document, ?)", [rust_regex_to_re2(pattern)]


def compile_sql(expression: Expression, dialect: Dialect) -> tuple[str, list[Any]]:
    """Return a condition and the values of its parameters.

    The parameters have numbers (``$1``), as the order in which a parser meets ``?`` marks is its own
    affair: DuckDB 1.3 counts those of a subquery first.
    """
    condition, values = compile_condition(expression, dialect)
    pieces = condition.split("?")
    numbered = "".join(f"{piece}${n}" for n, piece in enumerate(pieces[:-1], start=1))
    return numbered + pieces[-1], values


def compile_condition(expression: Expression, dialect: Dialect) -> tuple[str, list[Any]]:
    """Return a condition with a `?` for each value, and the values. There is no other `?` in it."""
    if isinstance(expression, And | Or):
        word = " AND " if isinstance(expression, And) else " OR "
        parts = [compile_condition(child, dialect) for child in expression.children]
        condition = word.join(f"({text})" for text, _ in parts)
        return condition, [value for _, values in parts for value in values]
    text, values = _leaf(expression, dialect)
    condition = f"coalesce({text}, FALSE)"
    return (f"NOT {condition}" if expression.negated else condition), values


def _leaf(leaf: Leaf, dialect: Dialect) -> tuple[str, list[Any]]:
    if isinstance(leaf, IdAmong):
        return dialect.id_in(leaf.ids)
    if isinstance(leaf, CompareDate):
        op = {"$gt": ">", "$gte": ">=", "$lt": "<", "$lte": "<="}[leaf.op]
        return dialect.date(leaf.key, op, leaf.moment)
    if isinstance(leaf, DocumentContains):
        return dialect.document_contains(leaf.text)
    if isinstance(leaf, DocumentMatches):
        return dialect.document_matches(leaf.pattern)
    if isinstance(leaf, ListContains):
        return dialect.list_has(leaf.key, leaf.value)
    if isinstance(leaf, Compare):
        return _compare(leaf.key, leaf.op, leaf.value, dialect)
    if isinstance(leaf, Among):
        return _equal(leaf.key, leaf.values, dialect)
    raise unknown_leaf(leaf)


def _equal(key: str, values: tuple[Scalar, ...], dialect: Dialect) -> tuple[str, list[Any]]:
    """The key's value equals one of these, which are all of one kind."""
    first = values[0]
    if isinstance(first, str):
        return dialect.text_in(key, tuple(str(value) for value in values))
    if isinstance(first, bool):
        return dialect.bool_in(key, tuple(bool(value) for value in values))
    return dialect.number_in(key, *equal_numbers(values))


def _compare(key: str, op: str, value: Scalar, dialect: Dialect) -> tuple[str, list[Any]]:
    if op == "$eq" or isinstance(value, str | bool):
        return _equal(key, (value,), dialect)
    parts = []
    bounds: list[tuple[Any, Bound]] = [
        (dialect.integer, int_bound(op, value)),
        (dialect.real, float_bound(op, value)),
    ]
    for spell, bound in bounds:
        if bound.op != "none":
            parts.append(spell(key, _SQL_OPS.get(bound.op), bound.operand))
    if not parts:
        return "FALSE", []
    condition = " OR ".join(f"coalesce({text}, FALSE)" for text, _ in parts)
    return f"({condition})", [each for _, values in parts for each in values]
