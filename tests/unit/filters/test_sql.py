"""Filters compiled to SQL: any key, any text, and many values."""

from __future__ import annotations

import json
from typing import Any

import pytest

from chroma_nb.filters.expression import (
    Among,
    And,
    Compare,
    DocumentContains,
    DocumentMatches,
    ListContains,
)
from chroma_nb.filters.sql import DuckDBDialect, compile_sql
from tests.unit.filters.matching_rows import matching_rows


@pytest.mark.parametrize(
    "key",
    [
        "",
        "a/b",
        "/",
        "~",
        "~1",
        "~0",
        "a~/b",
        '"',
        "'",
        "a.b",
        "$",
        "$.a",
        "*",
        "0",
        "1",
        "-",
        "[0]",
        "\\",
        "é",
        "😀",
        "a b",
        "\n",
        "\t",
        "\0",
        "\x1f",
        "\u2028",
        "?",
        "$1",
        "#",
    ],
    ids=ascii,
)
def test_any_key_can_be_asked_for(key: str) -> None:
    rows = [{key: 1}, {key + "x": 1}, {"x" + key: 1}, {key: {"": 1}}, {key: 2}]
    texts: list[Any] = [json.dumps(row, ensure_ascii=False, separators=(",", ":")) for row in rows]
    assert matching_rows(Compare(key, "$eq", 1), "metadata", [*texts, None]) == [0]
    assert matching_rows(Compare(key, "$eq", 1, negated=True), "metadata", [*texts, None]) == [
        1,
        2,
        3,
        4,
        5,
    ]


@pytest.mark.parametrize(
    "text",
    ["", "x", "\0", "a\0b", "\\u0000", '"', "\\", "null", "true", "1", "\n", "\x1f", "\x7f", "😀"],
    ids=ascii,
)
def test_any_text_can_be_asked_for(text: str) -> None:
    rows: list[Any] = [{"k": text}, {"k": text + "x"}, {"k": [text]}, {"k": "other"}, {"j": text}]
    rows = [json.dumps(row, ensure_ascii=False, separators=(",", ":")) for row in rows]
    assert matching_rows(Compare("k", "$eq", text), "metadata", rows) == [0]
    assert matching_rows(Among("k", (text, "nobody's")), "metadata", rows) == [0]
    assert matching_rows(ListContains("k", text), "metadata", rows) == [2]


def test_the_parameters_are_numbered_in_the_order_of_the_values() -> None:
    expression = And(
        (Among("?", ("?", "y")), DocumentContains("?"), Among("n", (1, 2.5)), DocumentMatches("a?"))
    )
    condition, parameters = compile_sql(expression, DuckDBDialect())
    assert "?" not in condition
    for number in range(1, len(parameters) + 1):
        assert condition.count(f"${number}") >= 1
    assert f"${len(parameters) + 1}" not in condition
    rows: list[Any] = [json.dumps({"?": "y", "n": 1})]
    assert matching_rows(And(expression.children[::2]), "metadata", rows) == [0]


def test_a_list_of_ten_thousand_values() -> None:
    rows: list[Any] = [json.dumps({"n": n}) for n in range(20_000)]
    found = matching_rows(Among("n", tuple(range(5_000, 15_000))), "metadata", rows[::100])
    assert found == list(range(50, 150))
