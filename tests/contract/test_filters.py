"""Filters: section 5. Meaning first, then what is refused, for get, query and delete alike."""

from __future__ import annotations

import re
import time
from typing import Any

import pytest

IDS = ["i1", "i2", "i3", "i4", "i5", "i6"]


@pytest.fixture
def table(create: Any) -> Any:
    """The contract's own example table."""
    collection = create("table")
    collection.add(
        ids=IDS,
        embeddings=[[float(i), 0.0] for i in range(6)],
        metadatas=[
            {"s": "a", "n": 1, "f": 1.0, "b": True},
            {"s": "b", "n": 2, "f": 2.5, "b": False},
            {"s": "A", "n": 3},
            {"tags": ["x", "y"], "nums": [1, 2], "fl": [1.5, 2.0], "bools": [True]},
            None,
            {"s": "c", "n": 1.0},
        ],
    )
    return collection


def check(collection: Any, where: Any, expected: str) -> None:
    """The same records, whichever way they are asked for."""
    ids = expected.split()
    assert collection.get(where=where)["ids"] == ids
    assert collection.get(where=where, include=[])["ids"] == ids
    assert collection.get(where=where, ids=IDS[1:4])["ids"] == [i for i in ids if i in IDS[1:4]]
    found = collection.query(query_embeddings=[0.0, 0.0], n_results=10, where=where)
    assert found["ids"] == [ids]  # distance grows with the place
    found = collection.query(query_embeddings=[0.0, 0.0], n_results=2, where=where)
    assert found["ids"] == [ids[:2]]


ALL = " ".join(IDS)
MEANINGS = [
    ({"s": "a"}, "i1"),
    ({"s": {"$eq": "a"}}, "i1"),
    ({"s": "A"}, "i3"),
    ({"s": "nope"}, ""),
    ({"zz": "a"}, ""),
    # numbers compare by value
    ({"n": 1}, "i1 i6"),
    ({"n": 1.0}, "i1 i6"),
    ({"f": 1}, "i1"),
    ({"f": 1.0}, "i1"),
    ({"f": 2.5}, "i2"),
    # bool is its own kind
    ({"b": True}, "i1"),
    ({"b": False}, "i2"),
    ({"b": 1}, ""),
    ({"b": 0}, ""),
    ({"n": True}, ""),
    # text is no number
    ({"n": "1"}, ""),
    ({"s": 1}, ""),
    # order
    ({"n": {"$gt": 1}}, "i2 i3"),
    ({"n": {"$gt": 1.5}}, "i2 i3"),
    ({"n": {"$gte": 1}}, "i1 i2 i3 i6"),
    ({"n": {"$lt": 2}}, "i1 i6"),
    ({"n": {"$lte": 2}}, "i1 i2 i6"),
    ({"n": {"$lt": 1}}, ""),
    ({"f": {"$gte": 1}}, "i1 i2"),
    ({"f": {"$lt": 2}}, "i1"),
    ({"s": {"$gt": 0}}, ""),
    ({"b": {"$gt": -1}}, ""),
    ({"b": {"$lte": 1}}, ""),
    ({"tags": {"$gt": 0}}, ""),
    ({"nums": {"$gt": 0}}, ""),
    # $ne and $nin are the negation, so records without the field match
    ({"s": {"$ne": "a"}}, "i2 i3 i4 i5 i6"),
    ({"n": {"$ne": 1}}, "i2 i3 i4 i5"),
    ({"b": {"$ne": True}}, "i2 i3 i4 i5 i6"),
    ({"b": {"$ne": 1}}, ALL),
    ({"zz": {"$ne": 1}}, ALL),
    ({"s": {"$in": ["a", "c"]}}, "i1 i6"),
    ({"n": {"$in": [1, 3]}}, "i1 i3 i6"),
    ({"n": {"$in": [1.0]}}, "i1 i6"),
    ({"b": {"$in": [True]}}, "i1"),
    ({"b": {"$in": [True, False]}}, "i1 i2"),
    ({"s": {"$in": ["zz"]}}, ""),
    ({"s": {"$nin": ["a", "b"]}}, "i3 i4 i5 i6"),
    ({"n": {"$nin": [1, 2]}}, "i3 i4 i5"),
    ({"zz": {"$nin": ["a"]}}, ALL),
    # lists
    ({"tags": {"$contains": "x"}}, "i4"),
    ({"tags": {"$contains": "z"}}, ""),
    ({"nums": {"$contains": 1}}, "i4"),
    ({"nums": {"$contains": 1.0}}, ""),
    ({"nums": {"$contains": 3}}, ""),
    ({"fl": {"$contains": 1.5}}, "i4"),
    ({"bools": {"$contains": True}}, "i4"),
    ({"bools": {"$contains": False}}, ""),
    ({"nums": {"$contains": True}}, ""),
    ({"s": {"$contains": "a"}}, ""),
    ({"n": {"$contains": 1}}, ""),
    ({"tags": {"$not_contains": "x"}}, "i1 i2 i3 i5 i6"),
    ({"tags": {"$not_contains": "z"}}, ALL),
    ({"s": {"$not_contains": "a"}}, ALL),
    ({"zz": {"$not_contains": "a"}}, ALL),
    ({"tags": "x"}, ""),
    ({"tags": {"$in": ["x", "y"]}}, ""),
    ({"tags": {"$ne": "x"}}, ALL),
    ({"tags": {"$nin": ["x"]}}, ALL),
    # logic
    ({"$and": [{"s": "a"}, {"n": 1}]}, "i1"),
    ({"$and": [{"s": "a"}, {"n": 2}]}, ""),
    ({"$or": [{"s": "a"}, {"n": 2}]}, "i1 i2"),
    ({"$or": [{"s": "zz"}, {"n": 22}]}, ""),
    ({"$and": [{"n": {"$gte": 1}}, {"n": {"$lt": 3}}, {"s": {"$ne": "c"}}]}, "i1 i2"),
    ({"$or": [{"$and": [{"s": "a"}, {"b": True}]}, {"tags": {"$contains": "y"}}]}, "i1 i4"),
    ({"$and": [{"$or": [{"s": "a"}, {"s": "b"}]}, {"$or": [{"n": 2}, {"n": 3}]}]}, "i2"),
    ({"$and": [{"zz": {"$ne": 1}}, {"s": {"$nin": ["a"]}}]}, "i2 i3 i4 i5 i6"),
]


@pytest.mark.parametrize(("where", "expected"), MEANINGS, ids=[str(w) for w, _ in MEANINGS])
def test_where(table: Any, where: Any, expected: str) -> None:
    check(table, where, expected)


@pytest.mark.parametrize(("where", "expected"), [m for m in MEANINGS if m[1]][::6], ids=str)
def test_delete_takes_the_same_filters(table: Any, where: Any, expected: str) -> None:
    assert table.delete(where=where) == {"deleted": len(expected.split())}
    assert table.get()["ids"] == [i for i in IDS if i not in expected.split()]


@pytest.mark.quirk(
    "a fraction is cut to an int for records that hold an int; by value, says 5.2", by="server"
)
@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ({"n": 1.5}, ""),
        ({"n": {"$ne": 1.5}}, ALL),
        ({"n": {"$gte": 1.5}}, "i2 i3"),
        ({"n": {"$lt": 1.5}}, "i1 i6"),
        ({"n": {"$in": [1.5, 3.5]}}, ""),
        ({"n": {"$nin": [1.5]}}, ALL),
    ],
    ids=str,
)
def test_ints_are_compared_with_fractions_by_value(table: Any, where: Any, expected: str) -> None:
    check(table, where, expected)


def test_deep_nesting(table: Any) -> None:
    where: Any = {"s": "a"}
    for _ in range(30):
        where = (
            {"$and": [where, {"$or": [where, {"zz": 1}]}]} if _ < 8 else {"$or": [where, {"zz": 1}]}
        )
    assert table.get(where=where)["ids"] == ["i1"]


def test_a_long_list(table: Any) -> None:
    assert table.get(where={"n": {"$in": list(range(2, 5_000))}})["ids"] == ["i2", "i3"]
    assert table.get(where={"s": {"$nin": [str(i) for i in range(5_000)]}})["ids"] == IDS


def test_big_ints_are_compared_exactly(create: Any) -> None:
    notes = create()
    big = 2**53
    notes.add(ids=["a", "b"], embeddings=[[1.0], [2.0]], metadatas=[{"n": big}, {"n": big + 1}])
    assert notes.get(where={"n": big})["ids"] == ["a"]
    assert notes.get(where={"n": big + 1})["ids"] == ["b"]
    assert notes.get(where={"n": {"$gt": big}})["ids"] == ["b"]
    assert notes.get(where={"n": {"$in": [big + 1, 5]}})["ids"] == ["b"]


def test_one_key_may_hold_several_kinds(create: Any) -> None:
    notes = create()
    values: list[Any] = [1, "1", 1.0, True, ["1"], [1], None]
    notes.add(
        ids=[str(i) for i in range(7)],
        embeddings=[[float(i)] for i in range(7)],
        metadatas=[None if v is None else {"x": v} for v in values],
    )
    assert notes.get(where={"x": 1})["ids"] == ["0", "2"]
    assert notes.get(where={"x": "1"})["ids"] == ["1"]
    assert notes.get(where={"x": True})["ids"] == ["3"]
    assert notes.get(where={"x": {"$contains": "1"}})["ids"] == ["4"]
    assert notes.get(where={"x": {"$contains": 1}})["ids"] == ["5"]
    assert notes.get(where={"x": {"$gte": 0}})["ids"] == ["0", "2"]
    assert notes.get(where={"x": {"$ne": 1}})["ids"] == ["1", "3", "4", "5", "6"]


# -- what is refused -----------------------------------------------------------------------------

REFUSED = [
    ([], "Expected where to be a dict, got []"),
    ({}, "Expected where to have exactly one operator, got {}"),
    ({"a": 1, "b": 2}, "Expected where to have exactly one operator, got"),
    (
        {"a": None},
        "Expected where value to be a str, int, float, or operator expression, got None",
    ),
    ({"a": [1]}, "Expected where value to be a str, int, float, or operator expression, got [1]"),
    ({"a": {}}, "Expected operator expression to have exactly one operator, got {}"),
    (
        {"a": {"$gt": 1, "$lt": 2}},
        "Expected operator expression to have exactly one operator, got",
    ),
    (
        {"a": {"$gt": "a"}},
        "Expected operand value to be an int or a float for operator $gt, got a",
    ),
    ({"a": {"$in": "a"}}, "Expected operand value to be an list for operator $in, got a"),
    (
        {"a": {"$in": []}},
        "Expected where operand value to be a non-empty list, and all values to be of the same type",
    ),
    (
        {"a": {"$nin": [1, "a"]}},
        "Expected where operand value to be a non-empty list, and all values to be of the same type",
    ),
    (
        {"a": {"$like": 1}},
        "Expected where operator to be one of $gt, $gte, $lt, $lte, $ne, $eq, $in, $nin, $contains, "
        "$not_contains, got $like",
    ),
    ({"a": {"$regex": "x"}}, "Expected where operator to be one of"),
    ({"a": {"$not": {"$eq": 1}}}, "Expected where operator to be one of"),
    (
        {"$and": [{"a": 1}]},
        "Expected where value for $and or $or to be a list with at least two where expressions, got",
    ),
    (
        {"$or": []},
        "Expected where value for $and or $or to be a list with at least two where expressions, got",
    ),
    (
        {"$and": {"a": 1}},
        "Expected where value for $and or $or to be a list of where expressions, got",
    ),
    ({"$and": [{"a": 1}, {}]}, "Expected where to have exactly one operator, got {}"),
    ({"$and": [{"a": 1}, 5]}, "Expected where to be a dict, got 5"),
    ({1: 2}, "Expected where key to be a str, got 1"),
    (
        {"$contains": "x"},
        "Expected where key to be a metadata field name or a logical operator ($and, $or), got "
        "$contains",
    ),
    ({"a": {"$eq": None}}, "Expected where operand value to be a str, int, float, bool, or list"),
    ({"a": {"$contains": None}}, "operand value to be a str, int, float"),
]


@pytest.mark.parametrize(("where", "message"), REFUSED, ids=[str(w) for w, _ in REFUSED])
def test_bad_where(table: Any, where: Any, message: str) -> None:
    for call, name in (
        (lambda: table.get(where=where), "get"),
        (lambda: table.query(query_embeddings=[0.0, 0.0], where=where), "query"),
        (lambda: table.delete(where=where), "delete"),
    ):
        with pytest.raises(ValueError, match=re.escape(message)) as caught:
            call()
        assert f"in {name}." in str(caught.value)
    assert table.count() == 6


MEANINGLESS = [
    {"s": {"$eq": ["a"]}},
    {"s": {"$ne": ["a"]}},
    {"n": {"$gt": True}},
    {"$in": ["a"]},
    {"n": {"$in": [1, True]}},
    {"$eq": "a"},
]


@pytest.mark.parametrize("where", MEANINGLESS, ids=str)
def test_meaningless_where(table: Any, errors: Any, where: Any) -> None:
    with pytest.raises((errors.InvalidArgumentError, ValueError)):
        table.get(where=where)
    with pytest.raises((errors.InvalidArgumentError, ValueError)):
        table.delete(where=where)
    assert table.count() == 6


# -- where_document ------------------------------------------------------------------------------

TEXTS = [
    "the quick brown fox",
    "The Quick red fox",
    "100% of a_b",
    None,
    "first line\nsecond line",
    "",
    "naïve café",
]
DOCS = ["d0", "d1", "d2", "d3", "d4", "d5", "d6"]


@pytest.fixture
def texts(create: Any) -> Any:
    collection = create("texts")
    collection.add(
        ids=DOCS,
        embeddings=[[float(i), 0.0] for i in range(7)],
        documents=TEXTS,
        metadatas=[{"n": i} for i in range(7)],
    )
    return collection


DOCUMENT_MEANINGS = [
    ({"$contains": "quick"}, "d0"),
    ({"$contains": "fox"}, "d0 d1"),
    ({"$contains": "FOX"}, ""),
    ({"$contains": "q"}, "d0"),
    ({"$contains": "ick r"}, "d1"),
    ({"$contains": "%"}, "d2"),
    ({"$contains": "_"}, "d2"),
    ({"$contains": "1_0"}, ""),
    ({"$contains": "a%b"}, ""),
    ({"$contains": "line\nsecond"}, "d4"),
    ({"$contains": "é"}, "d6"),
    ({"$contains": "ïv"}, "d6"),
    ({"$not_contains": "fox"}, "d2 d3 d4 d5 d6"),
    ({"$not_contains": "zzz"}, "d0 d1 d2 d3 d4 d5 d6"),
    ({"$regex": "qu.ck"}, "d0"),
    ({"$regex": "(?i)quick"}, "d0 d1"),
    ({"$regex": "^the"}, "d0"),
    ({"$regex": "fox$"}, "d0 d1"),
    ({"$regex": "(brown|red) fox"}, "d0 d1"),
    ({"$regex": "[0-9]+%"}, "d2"),
    ({"$regex": "line.second"}, ""),
    ({"$regex": "(?s)line.second"}, "d4"),
    ({"$regex": "^second"}, ""),
    ({"$regex": "na.ve"}, "d6"),
    ({"$regex": r"\bred\b"}, "d1"),
    ({"$regex": "a_b$"}, "d2"),
    ({"$not_regex": "fox"}, "d2 d3 d4 d5 d6"),
    ({"$not_regex": "(?i)QUICK"}, "d2 d3 d4 d5 d6"),
    ({"$and": [{"$contains": "fox"}, {"$contains": "red"}]}, "d1"),
    ({"$or": [{"$contains": "brown"}, {"$contains": "red"}]}, "d0 d1"),
    ({"$and": [{"$contains": "fox"}, {"$not_contains": "red"}]}, "d0"),
    (
        {"$or": [{"$and": [{"$contains": "fox"}, {"$regex": "^The"}]}, {"$contains": "100%"}]},
        "d1 d2",
    ),
    ({"$and": [{"$not_contains": "fox"}, {"$not_regex": "line"}]}, "d2 d3 d5 d6"),
]


@pytest.mark.parametrize(
    ("where_document", "expected"), DOCUMENT_MEANINGS, ids=[str(w) for w, _ in DOCUMENT_MEANINGS]
)
def test_where_document(texts: Any, where_document: Any, expected: str) -> None:
    ids = expected.split()
    assert texts.get(where_document=where_document)["ids"] == ids
    found = texts.query(query_embeddings=[0.0, 0.0], where_document=where_document)
    assert found["ids"] == [ids]
    assert texts.get(where_document=where_document, where={"n": {"$gte": 2}})["ids"] == [
        i for i in ids if i >= "d2"
    ]


def test_delete_by_document(texts: Any) -> None:
    assert texts.delete(where_document={"$contains": "fox"}) == {"deleted": 2}
    assert texts.delete(where_document={"$regex": "line"}, where={"n": 4}) == {"deleted": 1}
    assert texts.get()["ids"] == ["d2", "d3", "d5", "d6"]


def test_document_as_a_field(texts: Any) -> None:
    assert texts.get(where={"#document": {"$contains": "fox"}})["ids"] == ["d0", "d1"]
    both = {"$and": [{"#document": {"$contains": "fox"}}, {"n": 1}]}
    assert texts.get(where=both)["ids"] == ["d1"]
    absent = texts.get(where={"#document": {"$not_contains": "fox"}})["ids"]
    assert absent == ["d2", "d3", "d4", "d5", "d6"]


def test_document_as_a_field_cannot_be_equal(texts: Any, errors: Any) -> None:
    with pytest.raises(errors.InvalidArgumentError, match="Cannot filter using metadata key '#doc"):
        texts.get(where={"#document": "the quick brown fox"})


def test_document_as_a_field_wants_text(texts: Any) -> None:
    with pytest.raises(ValueError, match="#document"):
        texts.get(where={"#document": {"$contains": 1}})


def test_documents_are_no_metadata(texts: Any) -> None:
    assert texts.get(where={"document": {"$ne": "x"}})["ids"] == DOCS
    assert texts.get(where={"document": "the quick brown fox"})["ids"] == []


@pytest.mark.quirk(
    "its internal key chroma:document shows through; advice: a field like any other", by="server"
)
def test_no_internal_key_shows_through(texts: Any) -> None:
    assert texts.get(where={"chroma:document": "the quick brown fox"})["ids"] == []


DOCUMENT_REFUSED = [
    ("x", "Expected where document to be a dictionary, got x"),
    ({}, "Expected where document to have exactly one operator, got {}"),
    (
        {"$contains": "a", "$regex": "b"},
        "Expected where document to have exactly one operator, got",
    ),
    (
        {"$bad": "x"},
        "Expected where document operator to be one of $contains, $not_contains, $regex, $not_regex, "
        "$and, $or, got $bad",
    ),
    (
        {"$contains": 1},
        "Expected where document operand value for operator $contains to be a str, got 1",
    ),
    (
        {"$contains": ""},
        "Expected where document operand value for operator $contains to be a non-empty str",
    ),
    ({"$regex": ""}, "to be a non-empty str"),
    ({"$not_regex": None}, "to be a str, got None"),
    (
        {"$and": [{"$contains": "a"}]},
        "Expected document value for $and or $or to be a list with at least two where document "
        "expressions, got",
    ),
    (
        {"$or": {"$contains": "a"}},
        "Expected document value for $and or $or to be a list of where document expressions, got",
    ),
    (
        {"$and": [{"$contains": "a"}, {"$bad": "b"}]},
        "Expected where document operator to be one of",
    ),
]


@pytest.mark.parametrize(
    ("where_document", "message"), DOCUMENT_REFUSED, ids=[str(w) for w, _ in DOCUMENT_REFUSED]
)
def test_bad_where_document(texts: Any, where_document: Any, message: str) -> None:
    for call in (
        lambda: texts.get(where_document=where_document),
        lambda: texts.query(query_embeddings=[0.0, 0.0], where_document=where_document),
        lambda: texts.delete(where_document=where_document),
    ):
        with pytest.raises(ValueError, match=re.escape(message)):
            call()
    assert texts.count() == 7


@pytest.mark.parametrize("pattern", ["(", "[a", "*", r"(?=a)", r"(a)\1", "(?P<n"])
def test_bad_regex(texts: Any, errors: Any, pattern: str) -> None:
    """Rust's syntax: no look-around and no back-references, so time stays linear."""
    with pytest.raises(errors.InvalidArgumentError):
        texts.get(where_document={"$regex": pattern})


def test_a_regex_takes_linear_time(create: Any) -> None:
    """^(a+)+$ takes a backtracking engine 2**26 steps on twenty-six a's: several seconds."""
    notes = create()
    notes.add(ids="x", embeddings=[1.0], documents="a" * 26 + "b")
    started = time.perf_counter()
    assert notes.get(where_document={"$regex": "^(a+)+$"})["ids"] == []
    assert time.perf_counter() - started < 1.0
