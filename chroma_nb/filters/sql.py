"""Filters over what is on disk: an expression becomes a WHERE condition and its parameters.

The columns are `metadata` (JSON text or NULL) and `document` (text or NULL). A condition is never NULL:
a leaf that meets a NULL is false, and its negation true.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from chroma_nb.filters.expression import (
    Among,
    And,
    Compare,
    DocumentContains,
    DocumentMatches,
    Expression,
    ListContains,
    Or,
    Scalar,
)
from chroma_nb.filters.numbers import Bound, float_bound, int_bound

_SQL_OPS = {"==": "=", ">": ">", ">=": ">=", "<": "<", "<=": "<="}


class Dialect(ABC):
    """How one database spells the leaves. Each returns a condition, NULL where it does not apply."""

    @abstractmethod
    def text_in(self, key: str, values: tuple[str, ...]) -> tuple[str, list[Any]]:
        """The key's value is one of these texts."""

    @abstractmethod
    def is_bool(self, key: str, value: bool) -> tuple[str, list[Any]]:
        """The key's value is this bool."""

    @abstractmethod
    def integer(self, key: str, op: str | None, value: int) -> tuple[str, list[Any]]:
        """The key's value is an integer and compares so; any integer where `op` is None."""

    @abstractmethod
    def real(self, key: str, op: str | None, value: float) -> tuple[str, list[Any]]:
        """The key's value is a float and compares so; any float where `op` is None."""

    @abstractmethod
    def list_has(self, key: str, value: Scalar) -> tuple[str, list[Any]]:
        """The key's value is a list of this kind that holds this value."""

    @abstractmethod
    def document_contains(self, text: str) -> tuple[str, list[Any]]:
        """The document contains the text."""

    @abstractmethod
    def document_matches(self, pattern: str) -> tuple[str, list[Any]]:
        """The document matches the regular expression."""


class DuckDBDialect(Dialect):
    """DuckDB's JSON functions; a key becomes a JSON pointer (RFC 6901), so any key can be asked for."""

    _INTEGERS = "('BIGINT', 'UBIGINT')"

    @staticmethod
    def _pointer(key: str) -> str:
        return "/" + key.replace("~", "~0").replace("/", "~1")

    def text_in(self, key: str, values: tuple[str, ...]) -> tuple[str, list[Any]]:
        pointer = self._pointer(key)
        marks = ", ".join("?" * len(values))
        return (
            f"json_type(metadata, ?) = 'VARCHAR' AND json_extract_string(metadata, ?) IN ({marks})",
            [pointer, pointer, *values],
        )

    def is_bool(self, key: str, value: bool) -> tuple[str, list[Any]]:
        pointer = self._pointer(key)
        return (
            "json_type(metadata, ?) = 'BOOLEAN' AND json_extract_string(metadata, ?) = ?",
            [pointer, pointer, "true" if value else "false"],
        )

    def integer(self, key: str, op: str | None, value: int) -> tuple[str, list[Any]]:
        pointer = self._pointer(key)
        kind = f"json_type(metadata, ?) IN {self._INTEGERS}"
        if op is None:
            return kind, [pointer]
        return (
            f"{kind} AND TRY_CAST(json_extract_string(metadata, ?) AS BIGINT) {op} ?::BIGINT",
            [pointer, pointer, value],
        )

    def real(self, key: str, op: str | None, value: float) -> tuple[str, list[Any]]:
        pointer = self._pointer(key)
        kind = "json_type(metadata, ?) = 'DOUBLE'"
        if op is None:
            return kind, [pointer]
        return (
            f"{kind} AND TRY_CAST(json_extract_string(metadata, ?) AS DOUBLE) {op} ?::DOUBLE",
            [pointer, pointer, value],
        )

    def list_has(self, key: str, value: Scalar) -> tuple[str, list[Any]]:
        pointer = self._pointer(key)
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
            "json_type(metadata, ?) = 'ARRAY' "
            f"AND json_type(metadata, ?) IN {kinds} "
            f"AND list_contains(TRY_CAST(json_extract(metadata, ?) AS {column}[]), ?::{column})",
            [pointer, pointer + "/0", pointer, value],
        )

    def document_contains(self, text: str) -> tuple[str, list[Any]]:
        return "contains(document, ?)", [text]

    def document_matches(self, pattern: str) -> tuple[str, list[Any]]:
        return "regexp_matches(document, ?)", [pattern]


def compile_sql(expression: Expression, dialect: Dialect) -> tuple[str, list[Any]]:
    """Return a condition and the values of its ``?`` marks, in order."""
    if isinstance(expression, And | Or):
        word = " AND " if isinstance(expression, And) else " OR "
        parts = [compile_sql(child, dialect) for child in expression.children]
        condition = word.join(f"({text})" for text, _ in parts)
        return condition, [value for _, values in parts for value in values]
    text, values = _leaf(expression, dialect)
    condition = f"coalesce({text}, FALSE)"
    return (f"NOT {condition}" if expression.negated else condition), values


def _leaf(
    leaf: Compare | Among | ListContains | DocumentContains | DocumentMatches, dialect: Dialect
) -> tuple[str, list[Any]]:
    if isinstance(leaf, DocumentContains):
        return dialect.document_contains(leaf.text)
    if isinstance(leaf, DocumentMatches):
        return dialect.document_matches(leaf.pattern)
    if isinstance(leaf, ListContains):
        return dialect.list_has(leaf.key, leaf.value)
    if isinstance(leaf, Compare):
        return _compare(leaf.key, leaf.op, leaf.value, dialect)
    texts = tuple(value for value in leaf.values if isinstance(value, str))
    if texts:
        return dialect.text_in(leaf.key, texts)
    parts = [_compare(leaf.key, "$eq", value, dialect) for value in leaf.values]
    condition = " OR ".join(f"coalesce({text}, FALSE)" for text, _ in parts)
    return f"({condition})", [value for _, values in parts for value in values]


def _compare(key: str, op: str, value: Scalar, dialect: Dialect) -> tuple[str, list[Any]]:
    if isinstance(value, bool):
        return dialect.is_bool(key, value)
    if isinstance(value, str):
        return dialect.text_in(key, (value,))
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
