"""Conditions are read as the filters' tree and written from it."""

from __future__ import annotations

import datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chroma_nb import K
from chroma_nb.errors import InvalidArgumentError
from chroma_nb.filters.expression import (
    Among,
    And,
    Compare,
    CompareDate,
    DocumentContains,
    DocumentMatches,
    IdAmong,
    ListContains,
    Or,
)
from chroma_nb.filters.parsing import parse_where
from chroma_nb.filters.where import where_of
from chroma_nb.search import Condition, as_filter

NOON = 1_714_564_800 * 10**9


@pytest.mark.parametrize(
    ("condition", "expression"),
    [
        (K("n") == 1, Compare("n", "$eq", 1)),
        (K("n") != 1, Compare("n", "$eq", 1, negated=True)),
        (K("n") <= 1.5, Compare("n", "$lte", 1.5)),
        (K("n").not_in([1, 2]), Among("n", (1, 2), negated=True)),
        (K("t").contains("x"), ListContains("t", "x")),
        (K.ID != "a", IdAmong(("a",), negated=True)),
        (K.DOCUMENT.contains("x"), DocumentContains("x")),
        (K.DOCUMENT.not_regex("x"), DocumentMatches("x", negated=True)),
        (K("when") > "2024-05-01T12:00:00Z", CompareDate("when", "$gt", NOON)),
        (K("when") > datetime.datetime(2024, 5, 1, 12), CompareDate("when", "$gt", NOON)),
        ((K("n") == 1) | (K("n") == 2), Among("n", (1, 2))),
        (
            (K("n") == 1) & {"$or": [K.ID == "a", {"s": "x"}]},
            And((Compare("n", "$eq", 1), Or((IdAmong(("a",)), Compare("s", "$eq", "x"))))),
        ),
    ],
)
def test_a_condition_is_read_as_the_filters_tree(condition: Condition, expression: Any) -> None:
    assert condition.expression == expression
    again = Condition.from_expression(expression)
    assert repr(again.expression) == repr(expression)


@pytest.mark.parametrize("condition", [K.SCORE > 1, K("s") > "x", K("n").is_in([]), K.ID == 5])
def test_what_cannot_be_evaluated_is_refused_when_it_is_read(condition: Condition) -> None:
    with pytest.raises((ValueError, InvalidArgumentError)):
        _ = condition.expression


KEYS = st.sampled_from(["a", "b", "#id", "#document"])
DATES = st.sampled_from(
    [
        "2024-05-01",
        "2024-05-01T23:59:59.000000001+02:00",
        "1969-12-31T23:59:59.5",
        "0001-01-01T00:00+23:59:59",
        "9999-12-31T23:59:59.999999999-23:59",
    ]
)
LISTS = [[1, 2], [True], ["x", "y"], [1.0], ["x"]]
OPERATIONS = st.one_of(
    st.tuples(st.sampled_from(["$eq", "$ne"]), st.sampled_from([1, 1.0, True, "x", ""])),
    st.tuples(st.sampled_from(["$gt", "$gte", "$lt", "$lte"]), st.sampled_from([0, 1.5]) | DATES),
    st.tuples(st.sampled_from(["$in", "$nin"]), st.sampled_from(LISTS)),
    st.tuples(st.sampled_from(["$contains", "$not_contains"]), st.sampled_from(["x", 1, 1.0])),
    st.tuples(st.sampled_from(["$regex", "$not_regex"]), st.just("x")),
)
LEAVES = st.builds(lambda key, operation: {key: dict([operation])}, KEYS, OPERATIONS)


def _is_read(where: Any) -> bool:
    try:
        parse_where(where)
    except (ValueError, InvalidArgumentError):
        return False
    return True


FILTERS = st.recursive(
    LEAVES.filter(_is_read),
    lambda parts: st.builds(
        lambda operator, several: {operator: several},
        st.sampled_from(["$and", "$or"]),
        st.lists(parts, min_size=2, max_size=3),
    ),
    max_leaves=6,
)


@settings(max_examples=150, deadline=None)
@given(FILTERS)
def test_a_tree_is_written_as_the_filter_that_gives_it_again(where: Any) -> None:
    tree = parse_where(where)
    assert tree is not None
    # By their text: to Python 1, 1.0 and True are equal.
    assert repr(parse_where(where_of(tree))) == repr(tree)
    assert repr(Condition.from_expression(tree).expression) == repr(tree)


@settings(max_examples=150, deadline=None)
@given(FILTERS)
def test_a_condition_that_was_read_asks_the_same(where: Any) -> None:
    condition = Condition.from_dict(where)
    assert Condition.from_dict(condition.to_dict()) == condition
    flat = _flattened(parse_where(where))
    assert repr(_flattened(condition.expression)) == repr(flat)


def _flattened(tree: Any) -> Any:
    """Return a tree in which no ``And`` is directly in an ``And``, and the lists of equalities are taken apart."""
    if isinstance(tree, Among) and len(tree.values) > 1:
        kind = And if tree.negated else Or
        parts = [Compare(tree.key, "$eq", value, tree.negated) for value in tree.values]
        return kind(tuple(sorted(parts, key=repr)))
    if isinstance(tree, Among):
        return Compare(tree.key, "$eq", tree.values[0], tree.negated)
    if not isinstance(tree, And | Or):
        return tree
    children: list[Any] = []
    for child in map(_flattened, tree.children):
        children.extend(child.children if type(child) is type(tree) else (child,))
    return type(tree)(tuple(sorted(children, key=repr)))


@pytest.mark.parametrize(
    "tree",
    [
        And(()),
        Or((And(()), Compare("a", "$eq", 1))),
        Among("a", ()),
        IdAmong(()),
        Compare("a", "$gt", 1, negated=True),
        CompareDate("a", "$gt", 1, negated=True),
        CompareDate("a", "$eq", 1),
    ],
)
def test_a_tree_that_the_grammar_lacks_is_refused(tree: Any) -> None:
    with pytest.raises(ValueError, match="cannot say"):
        where_of(tree)


def test_a_junction_of_one_is_what_it_joins() -> None:
    assert where_of(Or((Compare("a", "$eq", 1),))) == {"a": {"$eq": 1}}


@pytest.mark.parametrize(
    ("where", "written"),
    [
        ({"a": 1}, {"a": {"$eq": 1}}),
        ({"$and": [{"a": 1}]}, {"a": {"$eq": 1}}),
        (
            {"$and": [{"a": 1}, {"$and": [{"b": {"$lt": 2}}, {"c": 3}]}]},
            {"$and": [{"a": {"$eq": 1}}, {"b": {"$lt": 2}}, {"c": {"$eq": 3}}]},
        ),
        ({"$or": [K("a") == 1, {"b": 2}]}, {"$or": [{"a": {"$eq": 1}}, {"b": {"$eq": 2}}]}),
        ({"#document": {"$regex": "x"}}, {"#document": {"$regex": "x"}}),
    ],
)
def test_a_dict_becomes_a_condition(where: Any, written: Any) -> None:
    assert Condition.from_dict(where).to_dict() == written


@pytest.mark.parametrize(
    ("where", "error", "words"),
    [
        ([], TypeError, "dict"),
        ({}, ValueError, "cannot be empty"),
        ({"a": 1, "b": 2}, ValueError, "one condition"),
        ({"$and": [{"a": 1}], "b": 2}, ValueError, "one condition"),
        ({1: 2}, TypeError, "key"),
        ({"$and": {"a": 1}}, TypeError, "list of conditions"),
        ({"$or": []}, ValueError, "at least one"),
        ({"a": {}}, ValueError, "one operator"),
        ({"a": {"$gt": 1, "$lt": 2}}, ValueError, "one operator"),
        ({"a": {"$gte ": 1}}, ValueError, r"Did you mean \$gte"),
        ({"a": {"$in": "x"}}, TypeError, "list"),
        ({"a": {"$contains": ["x"]}}, TypeError, "str, int, float, bool"),
        ({"a": {"$regex": 1}}, TypeError, "str"),
    ],
)
def test_a_dict_that_is_no_condition_is_refused(where: Any, error: Any, words: str) -> None:
    with pytest.raises(error, match=words):
        Condition.from_dict(where)


def test_a_filter_that_is_too_deep_is_refused_by_name() -> None:
    where: dict[str, Any] = {"a": 1}
    for _ in range(20_000):
        where = {"$and": [where, {"b": 1}]}
    for read in (Condition.from_dict, as_filter):
        with pytest.raises(InvalidArgumentError, match="too deeply"):
            read(where)


def test_to_dict_is_plain_json_of_its_own() -> None:
    condition = {"$and": [K("a") == 1, {"b": 2}]} & (K("c") == [1])
    where = condition.to_dict()
    assert where == {"$and": [{"a": {"$eq": 1}}, {"b": 2}, {"c": {"$eq": [1]}}]}
    where["$and"].append("x")
    where["$and"][2]["c"]["$eq"].append(2)
    assert condition.to_dict()["$and"][2:] == [{"c": {"$eq": [1]}}]
