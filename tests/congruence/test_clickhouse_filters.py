"""Filters in ClickHouse, with plain Python as the referee: as `test_filter_compilers` does it with DuckDB and masks."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, note, settings
from hypothesis import strategies as st

from chroma_nb.filters.expression import DocumentMatches, Expression
from chroma_nb.filters.parsing import parse_where, parse_where_document
from chroma_nb.settings import Settings
from chroma_nb.testing import matches
from tests.congruence.test_filter_compilers import moment, rows, where_documents, wheres
from tests.support.clickhouse import HAS_CLICKHOUSE, NO_CLICKHOUSE, at_clickhouse

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif(not HAS_CLICKHOUSE, reason=NO_CLICKHOUSE)


@pytest.fixture(scope="module")
def connection(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    from chroma_nb.db.clickhouse.connection import Connection

    path = str(tmp_path_factory.mktemp("clickhouse") / "store")
    opened = Connection(at_clickhouse(Settings(path=path)))
    yield opened
    opened.close()


def answers(connection: Any, expression: Expression, table: list[tuple[Any, Any]]) -> list[bool]:
    from chroma_nb.db.clickhouse.dialect import condition
    from chroma_nb.db.clickhouse.literals import text

    values = ", ".join(
        f"({row}, 'r{row}', {text('' if metadata is None else json.dumps(metadata, ensure_ascii=False))}, "
        f"{'NULL' if document is None else text(document)})"
        for row, (metadata, document) in enumerate(table)
    )
    kinds = "'row Int64, id String, metadata String, document Nullable(String)'"
    found = connection.rows(
        f"SELECT ({condition(expression)}) AS found FROM values({kinds}, {values}) ORDER BY row"
    )
    return [bool(value) for (value,) in found]


def check(connection: Any, expression: Expression | None, table: list[tuple[Any, Any]]) -> None:
    assert expression is not None
    note(repr(expression))
    expected = [matches(expression, f"r{at}", *row, moment) for at, row in enumerate(table)]
    assert answers(connection, expression, table) == expected


def test_where(connection: Any) -> None:
    @settings(max_examples=150, deadline=None)
    @given(rows, wheres)
    def ask(table: list[tuple[Any, Any]], where: dict[str, Any]) -> None:
        check(connection, parse_where(where), table)

    ask()


def test_where_document(connection: Any) -> None:
    @settings(max_examples=60, deadline=None)
    @given(rows, where_documents)
    def ask(table: list[tuple[Any, Any]], where_document: dict[str, Any]) -> None:
        check(connection, parse_where_document(where_document), table)

    ask()


@pytest.mark.parametrize(
    ("pattern", "document", "is_found"),
    [
        ("a.b", "a\nb", False),
        ("(?s)a.b", "a\nb", True),
        ("a$", "a\n", False),
        ("^b", "a\nb", False),
        ("(?m)^b", "a\nb", True),
        ("(?i)É", "é", True),
        (r"\d", "٣", True),
        (r"\w+", "ü", True),
        ("a\0b", "xa\0by", True),
        ("'", "it's", True),
        (r"\\", "\\", True),
        ("{x:String}", "{x:String}", True),
        ("[?]", "?", True),
    ],
)
def test_patterns_are_rusts(connection: Any, pattern: str, document: str, is_found: bool) -> None:
    table = [(None, document), (None, None)]
    for negated in (False, True):
        expression = DocumentMatches(pattern, negated=negated)
        assert answers(connection, expression, table) == [is_found != negated, negated]


def test_literals_are_what_they_stand_for(connection: Any) -> None:
    from chroma_nb.db.clickhouse.literals import literal, number, one_of_labels

    @settings(max_examples=150, deadline=None)
    @given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1))
    def texts(values: list[str]) -> None:
        ((found, one),) = connection.rows(
            f"SELECT {literal(values)} AS a, {literal(values[0])} AS b"
        )
        assert (found, one) == (values, values[0])

    @settings(max_examples=100, deadline=None)
    @given(
        st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1),
        st.floats(allow_nan=False),
    )
    def numbers(integers: list[int], real: float) -> None:
        ((found, one, same),) = connection.rows(
            f"SELECT {literal(integers)} AS a, {literal(integers[0])} AS b, {number(real)} AS c"
        )
        assert (found, one) == (integers, integers[0])
        assert (same, math.copysign(1, same)) == (real, math.copysign(1, real))

    @settings(max_examples=60, deadline=None)
    @given(st.lists(st.integers(0, 3000), max_size=1200))
    def labels(chosen: list[int]) -> None:
        condition = one_of_labels("label", np.array(chosen, dtype=np.int64))
        found = connection.rows(
            f"SELECT toInt64(number) AS label FROM numbers(3001) WHERE {condition} ORDER BY label"
        )
        assert [label for (label,) in found] == sorted(set(chosen))

    texts()
    numbers()
    labels()
