"""The grammar of filters: what is parsed into which tree, and what is said of the rest."""

from __future__ import annotations

import enum
from typing import Any

import numpy as np
import pytest

from chroma_nb.errors import InvalidArgumentError
from chroma_nb.filters.expression import (
    Among,
    And,
    Compare,
    DocumentContains,
    DocumentMatches,
    ListContains,
    Or,
)
from chroma_nb.filters.parsing import parse_where, parse_where_document


class Colour(str, enum.Enum):
    RED = "red"


@pytest.mark.parametrize(
    ("where", "expression"),
    [
        (None, None),
        ({"a": 1}, Compare("a", "$eq", 1)),
        ({"a": {"$eq": 1}}, Compare("a", "$eq", 1)),
        ({"a": {"$ne": "x"}}, Compare("a", "$eq", "x", negated=True)),
        ({"a": {"$gte": 1.5}}, Compare("a", "$gte", 1.5)),
        ({"a": {"$in": ["x", "y"]}}, Among("a", ("x", "y"))),
        ({"a": {"$nin": [1]}}, Among("a", (1,), negated=True)),
        ({"a": {"$contains": True}}, ListContains("a", True)),
        ({"a": {"$not_contains": 1.0}}, ListContains("a", 1.0, negated=True)),
        ({"#document": {"$contains": "x"}}, DocumentContains("x")),
        ({"#document": {"$not_contains": "x"}}, DocumentContains("x", negated=True)),
        (
            {"$or": [{"a": 1}, {"$and": [{"b": 2}, {"c": 3}]}]},
            Or(
                (
                    Compare("a", "$eq", 1),
                    And((Compare("b", "$eq", 2), Compare("c", "$eq", 3))),
                )
            ),
        ),
    ],
)
def test_where(where: Any, expression: Any) -> None:
    parsed = parse_where(where)
    assert parsed == expression
    assert hash(parsed) == hash(expression)


@pytest.mark.parametrize(
    ("where_document", "expression"),
    [
        (None, None),
        ({"$contains": "x"}, DocumentContains("x")),
        ({"$not_contains": "x"}, DocumentContains("x", negated=True)),
        ({"$regex": "x"}, DocumentMatches("x")),
        ({"$not_regex": "x"}, DocumentMatches("x", negated=True)),
        (
            {"$or": [{"$contains": "x"}, {"$regex": "y"}]},
            Or((DocumentContains("x"), DocumentMatches("y"))),
        ),
    ],
)
def test_where_document(where_document: Any, expression: Any) -> None:
    assert parse_where_document(where_document) == expression


#: The sentences of chromadb 1.5.9.
BAD_WHERE: list[tuple[Any, str]] = [
    ([], "Expected where to be a dict, got []"),
    ("x", "Expected where to be a dict, got x"),
    ({}, "Expected where to have exactly one operator, got {}"),
    ({"a": 1, "b": 2}, "Expected where to have exactly one operator, got {'a': 1, 'b': 2}"),
    (
        {"a": None},
        "Expected where value to be a str, int, float, or operator expression, got None",
    ),
    ({"a": [1]}, "Expected where value to be a str, int, float, or operator expression, got [1]"),
    ({"a": {}}, "Expected operator expression to have exactly one operator, got {}"),
    (
        {"a": {"$gt": 1, "$lt": 2}},
        "Expected operator expression to have exactly one operator, got {'$gt': 1, '$lt': 2}",
    ),
    (
        {"a": {"$gt": "b"}},
        "Expected operand value to be an int or a float for operator $gt, got b",
    ),
    ({"a": {"$in": "b"}}, "Expected operand value to be an list for operator $in, got b"),
    (
        {"a": {"$in": []}},
        "Expected where operand value to be a non-empty list, and all values to be of the same type got []",
    ),
    (
        {"a": {"$nin": [1, "b"]}},
        "Expected where operand value to be a non-empty list, and all values to be of the same type got [1, 'b']",
    ),
    (
        {"a": {"$eq": []}},
        "Expected where operand value to be a non-empty list, and all values to be of the same type got []",
    ),
    (
        {"a": {"$like": "b"}},
        "Expected where operator to be one of $gt, $gte, $lt, $lte, $ne, $eq, $in, $nin, $contains, "
        "$not_contains, got $like",
    ),
    (
        {"$and": [{"a": 1}]},
        "Expected where value for $and or $or to be a list with at least two where expressions, got [{'a': 1}]",
    ),
    (
        {"$or": {"a": 1}},
        "Expected where value for $and or $or to be a list of where expressions, got {'a': 1}",
    ),
    ({"$and": [{"a": 1}, None]}, "Expected where to be a dict, got None"),
    ({"$or": [{"a": 1}, {}]}, "Expected where to have exactly one operator, got {}"),
    ({1: 2}, "Expected where key to be a str, got 1"),
    (
        {"$contains": "x"},
        "Expected where key to be a metadata field name or a logical operator ($and, $or), got $contains",
    ),
    (
        {"a": {"$eq": None}},
        "Expected where operand value to be a str, int, float, bool, or list of those type, got None",
    ),
]


@pytest.mark.parametrize(("where", "text"), BAD_WHERE, ids=[repr(where) for where, _ in BAD_WHERE])
def test_bad_where(where: Any, text: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        parse_where(where)
    assert str(caught.value).startswith(text)
    assert not isinstance(caught.value, InvalidArgumentError)


@pytest.mark.parametrize(
    "where",
    [
        {"a": {"$eq": ["x"]}},
        {"a": {"$gt": True}},
        {"a": {"$in": [1, True]}},
        {"a": float("nan")},
        {"a": {"$in": [float("nan")]}},
        {"a": "\ud800"},
        {"\ud800": 1},
        {"a": {"$contains": "\udfff"}},
        {"#document": {"$contains": "\udfff"}},
    ],
    ids=ascii,
)
def test_meaningless_where(where: Any) -> None:
    with pytest.raises(InvalidArgumentError, match=r"^Invalid where clause"):
        parse_where(where)


@pytest.mark.parametrize("condition", ["x", {"$eq": "x"}, {"$ne": "x"}, {"$in": ["x"]}])
def test_the_document_takes_no_comparison(condition: Any) -> None:
    with pytest.raises(InvalidArgumentError, match=r"'#document'.* because indexing is disabled"):
        parse_where({"#document": condition})


BAD_WHERE_DOCUMENT: list[tuple[Any, str]] = [
    ("x", "Expected where document to be a dictionary, got x"),
    ({}, "Expected where document to have exactly one operator, got {}"),
    (
        {"$bad": "x"},
        "Expected where document operator to be one of $contains, $not_contains, $regex, $not_regex, $and, $or, got $bad",
    ),
    (
        {"$contains": 1},
        "Expected where document operand value for operator $contains to be a str, got 1",
    ),
    (
        {"$regex": ""},
        "Expected where document operand value for operator $regex to be a non-empty str",
    ),
    (
        {"$and": [{"$contains": "x"}]},
        "Expected document value for $and or $or to be a list with at least two where document expressions, "
        "got [{'$contains': 'x'}]",
    ),
    (
        {"$or": [{"$contains": "x"}, None]},
        "Expected where document to be a dictionary, got None",
    ),
]


@pytest.mark.parametrize(
    ("where_document", "text"), BAD_WHERE_DOCUMENT, ids=[repr(bad) for bad, _ in BAD_WHERE_DOCUMENT]
)
def test_bad_where_document(where_document: Any, text: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        parse_where_document(where_document)
    assert str(caught.value).startswith(text)


def test_a_sentence_does_not_repeat_a_large_value() -> None:
    with pytest.raises(ValueError, match="non-empty list") as caught:
        parse_where({"a": {"$in": [*range(100_000), "x"]}})
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    "where",
    [
        {"a": Colour.RED},
        {"a": {"$in": ["x", Colour.RED]}},
        {"a": {"$contains": np.float64(0.5)}},
        {"a": np.str_("x")},
        {"a": {"$gt": np.float64(1.5)}},
    ],
    ids=repr,
)
def test_values_become_pythons_own_kinds(where: Any) -> None:
    leaf = parse_where(where)
    assert isinstance(leaf, Compare | Among | ListContains)
    values = leaf.values if isinstance(leaf, Among) else (leaf.value,)
    assert {type(value) for value in values} <= {str, int, float, bool}
    assert "Colour" not in repr(leaf)
