"""A filter is refused for its size before any work is done for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import chroma_nb as chroma
from chroma_nb.errors import InvalidArgumentError
from chroma_nb.filters.expression import Among, And, Compare, Or
from chroma_nb.filters.parsing import parse_where
from tests.stores import private_settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LIMIT = 20
N_VALUES = 10_000
MANY = [str(n) for n in range(N_VALUES + 1)]
HALF = MANY[: N_VALUES // 2 + 1]


@pytest.fixture
def notes() -> Iterator[Any]:
    settings = private_settings(
        max_filter_conditions=LIMIT,
        max_filter_depth=4,
        max_filter_values=N_VALUES,
        max_pattern_length=50,
    )
    with chroma.Client(settings) as client:
        notes = client.create_collection("notes", embedding_function=None)
        notes.add(ids=["a", "b"], embeddings=[[1.0]] * 2, documents=["one", "two"])
        yield notes


def nested(depth: int) -> dict[str, Any]:
    found: dict[str, Any] = {"k": 1}
    for _ in range(depth):
        found = {"$and": [found, {"k": 1}]}
    return found


def test_up_to_the_limits_filters_are_answered(notes: Any) -> None:
    notes.get(where={"$or": [{f"k{n}": n} for n in range(LIMIT)]})
    notes.get(where=nested(4))
    found = notes.get(where_document={"$or": [{"$regex": "^one$"}, {"$regex": "x" * 50}]})
    assert found["ids"] == ["a"]
    # One condition, however long its list is.
    assert notes.get(where={"k": {"$nin": list(range(N_VALUES))}})["ids"] == ["a", "b"]
    ids = [str(n) for n in range(N_VALUES - 2)]
    assert notes.get(ids=["a", *ids], where={"k": {"$ne": 1}})["ids"] == ["a"]


@pytest.mark.parametrize(
    ("filters", "setting"),
    [
        ({"where": {"$or": [{f"k{n}": n} for n in range(LIMIT + 1)]}}, "max_filter_conditions"),
        ({"where": nested(5)}, "max_filter_depth"),
        ({"where_document": {"$regex": "x" * 51}}, "max_pattern_length"),
        ({"where_document": {"$or": [{"$regex": "x"}] * 3}}, "max_filter_conditions"),
        ({"where": {"#document": {"$regex": "x" * 51}}}, "max_pattern_length"),
        ({"where_document": {"$not_regex": r"[\W\W]"}}, "max_pattern_length"),
        ({"ids": MANY}, "max_filter_values"),
        ({"where": {"k": {"$in": MANY}}}, "max_filter_values"),
        ({"where": {"#id": {"$nin": MANY}}}, "max_filter_values"),
        ({"where": {"$or": [{"k": {"$in": HALF}}, {"j": {"$nin": HALF}}]}}, "max_filter_values"),
        ({"ids": HALF, "where": {"k": {"$in": HALF}}}, "max_filter_values"),
        (
            {
                "where": {"$or": [{f"k{n}": n} for n in range(LIMIT - 1)]},
                "where_document": {"$and": [{"$contains": "x"}, {"$contains": "y"}]},
            },
            "max_filter_conditions",
        ),
    ],
)
def test_beyond_them_the_setting_is_named(notes: Any, filters: Any, setting: str) -> None:
    for call in (
        notes.get,
        notes.delete,
        lambda **filters: notes.query(query_embeddings=[1.0], **filters),
        lambda **filters: notes.explain(query_embeddings=[1.0], **filters),
    ):
        with pytest.raises(InvalidArgumentError, match=setting):
            call(**filters)
    assert notes.count() == 2


@pytest.mark.parametrize(
    ("filters", "said"),
    [
        (
            {"where": {"$or": [{f"k{n}": n} for n in range(2_000)]}},
            "the filter has 2,000 conditions; the limit is 20 (Settings.max_filter_conditions). For many values "
            "of one key use one $in; otherwise ask in several calls.",
        ),
        (
            {"where_document": {"$or": [{"$regex": f"x{n}"} for n in range(150)]}},
            "the filter has 1,500 conditions, as each of its 150 regular expressions counts as 10; the limit is 20 "
            "(Settings.max_filter_conditions). Join regular expressions in one with |, or ask in several calls.",
        ),
        (
            {"where": nested(9)},
            "the filter is nested more than 4 deep, which is the limit (Settings.max_filter_depth). Join "
            'conditions of one operator in one list: {"$and": [a, b, c]}.',
        ),
        (
            {"ids": HALF, "where": {"k": {"$in": MANY}}},
            "This call has 10,001 values in its lists of $in and $nin and 5,001 ids; the limit is 10,000 for both "
            "together (Settings.max_filter_values). Ask in several calls, or by a range ($gte, $lt).",
        ),
        (
            {"where_document": {"$regex": "x" * 51}},
            "has 51 characters, the limit is 50 (Settings.max_pattern_length). Split it into several, joined with "
            "$or.",
        ),
    ],
)
def test_a_refusal_says_how_large_it_is_and_what_to_do(notes: Any, filters: Any, said: str) -> None:
    with pytest.raises(InvalidArgumentError) as refused:
        notes.get(**filters)
    assert said in str(refused.value)


def test_adding_more_records_than_a_call_may_name() -> None:
    """What is there already is looked up in parts."""
    with chroma.Client(private_settings(max_filter_values=5_000, embedding="static")) as client:
        notes = client.create_collection("notes")
        ids = [str(n) for n in range(6_000)]
        notes.add(ids=ids[:1], documents=["x"])
        notes.add(ids=ids, documents=["x"] * len(ids))
        assert notes.count() == len(ids)


@pytest.mark.parametrize("depth", [1_000, 100_000])
def test_a_filter_deeper_than_pythons_stack(notes: Any, depth: int) -> None:
    deep: dict[str, Any] = {"$contains": "x"}
    for _ in range(depth):
        deep = {"$and": [deep, {"$contains": "x"}]}
    for filters in ({"where": nested(depth)}, {"where_document": deep}):
        with pytest.raises(InvalidArgumentError, match="nested"):
            notes.get(**filters)
    while isinstance(deep, dict) and "$and" in deep:  # or its end would need the stack as well
        deep = deep.pop("$and")[0]


def test_many_equalities_of_one_key_are_one_list() -> None:
    where = {"$or": [{"k": 1}, {"k": "1"}, {"k": {"$eq": 2}}, {"k": True}, {"j": 1}, {"k": 1}]}
    assert parse_where(where) == Or(
        (
            Among("k", (1, 2, 1)),
            Compare("k", "$eq", "1"),
            Compare("k", "$eq", True),
            Compare("j", "$eq", 1),
        )
    )
    assert parse_where({"$or": [{"k": 1}, {"k": 2}]}) == Among("k", (1, 2))
    none = {"$and": [{"k": {"$ne": 1}}, {"k": {"$ne": 2}}]}
    assert parse_where(none) == Among("k", (1, 2), negated=True)
    both = {"$and": [{"k": 1}, {"k": 2}]}
    assert parse_where(both) == And((Compare("k", "$eq", 1), Compare("k", "$eq", 2)))


def test_a_filter_of_many_conditions_lets_other_threads_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread that only waits for Python's lock may get it by luck; while this one sleeps it does."""
    pauses: list[float] = []
    with chroma.PersistentClient(tmp_path) as client:
        docs = client.create_collection("docs", embedding_function=None)
        n = 5_000
        docs.add(
            ids=[str(i) for i in range(n)],
            embeddings=np.ones((n, 2), dtype=np.float32),
            documents=[f"some text number {i} of words, twice as long as that" for i in range(n)],
        )
        where = {"$or": [{"$contains": f"no such text {i}"} for i in range(1_000)]}
        docs.get(where_document=where, limit=1)
        monkeypatch.setattr("chroma_nb.filters.mask.sleep", pauses.append)
        docs.get(where_document=where, limit=1)
    assert len(pauses) > 5
