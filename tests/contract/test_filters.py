"""Filters: section 5. Meaning first, then what is refused, for get, query and delete alike."""

from __future__ import annotations

import re
import time
from typing import Any

import pytest

from chroma_nb.testing.cases import (
    ALL,
    DOCS,
    DOCUMENT_MEANINGS,
    DOCUMENT_REFUSED,
    IDS,
    MEANINGLESS,
    MEANINGS,
    METADATAS,
    REFUSED,
    TEXTS,
)


@pytest.fixture
def table(create: Any) -> Any:
    """The contract's own example table."""
    collection = create("table")
    collection.add(
        ids=IDS,
        embeddings=[[float(i), 0.0] for i in range(6)],
        metadatas=METADATAS,
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


@pytest.mark.parametrize("where", MEANINGLESS, ids=str)
def test_meaningless_where(table: Any, errors: Any, where: Any) -> None:
    with pytest.raises((errors.InvalidArgumentError, ValueError)):
        table.get(where=where)
    with pytest.raises((errors.InvalidArgumentError, ValueError)):
        table.delete(where=where)
    assert table.count() == 6


# -- where_document ------------------------------------------------------------------------------


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
    started = time.process_time()
    assert notes.get(where_document={"$regex": "^(a+)+$"})["ids"] == []
    assert time.process_time() - started < 1.0
