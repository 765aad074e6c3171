"""A search, its page, its fields and its groups: built step by step, written as JSON and read from it."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from chroma_nb import K, Knn, Search
from chroma_nb.search import Aggregate, GroupBy, Limit, MaxK, MinK, Select

WHOLE = (
    Search()
    .where((K("a") == 1) & K.DOCUMENT.contains("x"))
    .rank(Knn([0.5]) * 2)
    .group_by(GroupBy(K("c"), MinK([K.SCORE, "n"], 3)))
    .limit(5, offset=2)
    .select("title", K.SCORE)
)


def test_a_search_that_was_written_is_read_as_itself() -> None:
    assert Search.from_dict(WHOLE.to_dict()) == WHOLE
    assert Search.from_dict(Search().to_dict()) == Search() == Search.from_dict({})
    assert Search.from_dict({"filter": {}}) == Search()


def test_the_parts_of_a_search_can_be_read() -> None:
    assert WHOLE.condition is not None
    assert WHOLE.condition.to_dict()["$and"][0] == {"a": {"$eq": 1}}
    assert WHOLE.score == Knn([0.5]) * 2
    assert WHOLE.page == Limit(2, 5)
    assert WHOLE.selected == Select({"title", "#score"})
    assert WHOLE.grouping.keys == ("c",)
    with pytest.raises(dataclasses.FrozenInstanceError):
        WHOLE.page = Limit()  # type: ignore[misc]


def test_arguments_are_the_steps() -> None:
    assert (
        Search(
            where={"$and": [{"a": 1}, {"#document": {"$contains": "x"}}]},
            rank={"$mul": [{"$knn": {"query": [0.5]}}, {"$val": 2}]},
            group_by={"keys": ["c"], "aggregate": {"$min_k": {"keys": ["#score", "n"], "k": 3}}},
            limit={"limit": 5, "offset": 2},
            select=["title", "#score"],
        )
        == WHOLE
    )
    assert Search(limit=3, select={"a"}) == Search().limit(3).select("a")
    assert WHOLE.where(None).rank(None).group_by(None) == Search().limit(5, 2).select(
        "title", K.SCORE
    )


def test_a_step_leaves_the_search_before_it_as_it_was() -> None:
    first = Search().limit(1)
    first.limit(2)
    assert first == Search().limit(1)


def test_select() -> None:
    assert Search().select_all().to_dict()["select"] == {
        "keys": ["#document", "#embedding", "#metadata", "#score"]
    }
    assert Search().select("a").select("b", K("b")).to_dict()["select"] == {"keys": ["b"]}


def test_groups() -> None:
    assert GroupBy().to_dict() == GroupBy(["a"]).to_dict() == {}
    assert GroupBy("a", MaxK(K("b"), 2)).to_dict() == {
        "keys": ["a"],
        "aggregate": {"$max_k": {"keys": ["b"], "k": 2}},
    }
    assert MinK("a", 1) != MaxK("a", 1)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"where": 5}, TypeError, "where"),
        ({"where": K("a")}, TypeError, "where"),
        ({"where": {"a": 1, "b": 2}}, ValueError, "one condition"),
        ({"rank": 0.5}, TypeError, "rank"),
        ({"rank": {"$val": 1, "$abs": 1}}, ValueError, "exactly one operator"),
        ({"group_by": "a"}, TypeError, "group_by"),
        ({"limit": "5"}, TypeError, "limit"),
        ({"limit": 0}, ValueError, "positive"),
        ({"limit": {"offset": -1}}, ValueError, "offset"),
        ({"limit": {"offset": "1"}}, TypeError, "offset"),
        ({"limit": {"limits": 1}}, ValueError, "Did you mean limit"),
        ({"select": "title"}, TypeError, "select"),
        ({"select": {"keys": "title"}}, TypeError, "must be a list"),
        ({"select": {"keys": [1]}}, TypeError, "must be a string, got 1"),
        ({"select": {"fields": []}}, ValueError, "Unexpected keys in select: 'fields'"),
    ],
)
def test_arguments_that_mean_nothing_are_refused(options: Any, error: Any, words: str) -> None:
    with pytest.raises(error, match=words):
        Search(**options)


@pytest.mark.parametrize(
    ("data", "error", "words"),
    [
        ({"keys": ["a"]}, ValueError, "group_by requires 'aggregate'"),
        (
            {"keys": [], "aggregate": {"$min_k": {"keys": ["a"], "k": 1}}},
            ValueError,
            "keys cannot be empty",
        ),
        ({"keys": "a", "aggregate": {"$min_k": {"keys": ["a"], "k": 1}}}, TypeError, "list of str"),
        ({"keys": ["a"], "aggregate": 5}, TypeError, "aggregate"),
        ({"keys": ["a"], "aggregate": {}}, ValueError, "one operator"),
        ({"keys": ["a"], "aggregate": {"$min": {}}}, ValueError, "Did you mean"),
        (
            {"keys": ["a"], "aggregate": {"$min_k": {"keys": ["a"]}}},
            ValueError,
            "min_k requires 'k'",
        ),
        ({"keys": ["a"], "aggregate": {"$min_k": {"keys": ["a"], "k": 0}}}, ValueError, "positive"),
        ({"keys": ["a"], "aggregate": {"$min_k": {"keys": ["a"], "k": "1"}}}, TypeError, "int"),
        (
            {"keys": ["a"], "aggregate": {"$max_k": {"keys": [], "k": 1}}},
            ValueError,
            "keys cannot be empty",
        ),
    ],
)
def test_json_that_is_no_grouping_is_refused(data: Any, error: Any, words: str) -> None:
    with pytest.raises(error, match=words):
        GroupBy.from_dict(data)


def test_an_unknown_member_is_named_however_long_the_rest_is() -> None:
    keys = [f"a key that takes much room, and another {at}" for at in range(9)]
    inner = {"$min_k": {"keys": keys, "k": 1}}
    val = {"$val": 1}
    for search in (
        {"group_by": {"keys": keys, "aggregate": inner, "odd": 1}},
        {"group_by": {"keys": keys, "aggregate": {"$min_k": {**inner["$min_k"], "odd": 1}}}},
        {"rank": {"$sub": {"left": {"$sum": [val] * 99}, "right": val, "odd": 1}}},
        {"rank": {"$knn": {"query": [1.0] * 99, "odd": 1}}},
        {"limit": {"limit": 1, "odd": 1}},
        {"select": {"keys": keys, "odd": 1}},
        {"odd": 1},
    ):
        with pytest.raises(ValueError, match="'odd'"):
            Search.from_dict(search)


def test_other_json_is_refused() -> None:
    for read in (Search, GroupBy, Aggregate, Limit, Select):
        with pytest.raises(TypeError, match="Expected dict"):
            read.from_dict(5)  # type: ignore[arg-type, attr-defined]
    with pytest.raises(ValueError, match="Did you mean filter"):
        Search.from_dict({"filters": {}})
