"""`MetadataColumn`: kinds, exact numbers, rare keys, growth, and what it says of its own size."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest

import chroma_nb as chroma
from chroma_nb.db.stored_metadata import read_metadata
from chroma_nb.filters.expression import Among, Compare, ListContains
from chroma_nb.segment.metadata_column import MetadataColumn
from tests.stores import private_settings

VALUES: list[Any] = [
    *("x", "", 1, 1.0, True, False, 0, 0.0, -0.0, 2**53 + 1, 2.0**53, 2**63 - 1, -(2**63), 2.0**63),
    *(1.5, -1.5, ["x"], [1], [1.0], [True], [1, 2], ["", "x"], "1", "True"),
]


def build(values: list[Any], n_labels: int | None = None) -> MetadataColumn:
    labels = np.array([i for i, value in enumerate(values) if value is not None], dtype=np.int64)
    given = [value for value in values if value is not None]
    return MetadataColumn.build(n_labels or len(values), labels, given)


def found(column: MetadataColumn, leaf: Any) -> list[Any]:
    mask = column.match(leaf)
    assert mask.dtype == bool
    return np.flatnonzero(mask).tolist()


def kind(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    return "number" if isinstance(value, int | float) else type(value).__name__


COLUMNS = {"dense": build(VALUES), "sparse": build(VALUES, 10_000)}


@pytest.mark.parametrize("column", COLUMNS.values(), ids=COLUMNS)
@pytest.mark.parametrize(
    "value", [value for value in VALUES if not isinstance(value, list)], ids=repr
)
def test_equality_is_of_kind_and_exact_value(column: MetadataColumn, value: Any) -> None:
    expected = [i for i, one in enumerate(VALUES) if kind(one) == kind(value) and one == value]
    assert found(column, Compare("k", "$eq", value)) == expected
    assert found(column, Among("k", (value,))) == expected
    assert found(column, Compare("k", "$eq", value, negated=True)) == expected


@pytest.mark.parametrize("column", COLUMNS.values(), ids=COLUMNS)
@pytest.mark.parametrize("op", ["$gt", "$gte", "$lt", "$lte"])
@pytest.mark.parametrize(
    "value",
    [
        *(0, 1, 1.0, 1.25, -0.0, 2**53, 2**53 + 1, 2.0**53, 2**63 - 1, 2**63, 2.0**63),
        *(-(2**63) - 1, 10**400, -(10**400), float("inf"), float("-inf"), 1e300),
    ],
)
def test_order_is_by_exact_value(column: MetadataColumn, op: str, value: Any) -> None:
    compare = {
        "$gt": lambda one: one > value,
        "$gte": lambda one: one >= value,
        "$lt": lambda one: one < value,
        "$lte": lambda one: one <= value,
    }[op]
    expected = [i for i, one in enumerate(VALUES) if kind(one) == "number" and compare(one)]
    assert found(column, Compare("k", op, value)) == expected  # type: ignore[arg-type]


@pytest.mark.parametrize("column", COLUMNS.values(), ids=COLUMNS)
@pytest.mark.parametrize("value", ["x", "", 1, 2, 1.0, True, False, "nobody's"])
def test_lists_hold_values_of_exactly_one_kind(column: MetadataColumn, value: Any) -> None:
    expected = [
        i
        for i, one in enumerate(VALUES)
        if isinstance(one, list)
        and any(type(item) is type(value) and item == value for item in one)
    ]
    assert found(column, ListContains("k", value)) == expected


def test_values_are_set_changed_and_cleared() -> None:
    column = MetadataColumn(5)
    column.set(3, "x")
    column.set(1, 7)
    assert found(column, Compare("k", "$eq", "x")) == [3]
    column.set(3, ["x"])
    assert found(column, Compare("k", "$eq", "x")) == []
    assert found(column, ListContains("k", "x")) == [3]
    column.clear(np.array([3, 4]))
    assert found(column, ListContains("k", "x")) == []
    column.resize(200)
    column.set(199, 7)
    assert found(column, Compare("k", "$eq", 7)) == [1, 199]
    assert len(column.match(Compare("k", "$eq", 7))) == 200


def test_no_values_and_no_labels() -> None:
    for column in (MetadataColumn(0), MetadataColumn(3), build([None, None, None])):
        for leaf in (Compare("k", "$eq", 1), Among("k", ("x",)), ListContains("k", True)):
            assert found(column, leaf) == []
        assert column.nbytes < 2_000


def test_a_column_grows_from_rare_to_common() -> None:
    column = MetadataColumn(100_000)
    small = column.nbytes
    for label in range(0, 100_000, 50):
        column.set(label, label)
    rare = column.nbytes
    for label in range(0, 100_000, 5):
        column.set(label, label)
    assert small < rare < column.nbytes
    assert found(column, Compare("k", "$gte", 99_990)) == [99_990, 99_995]
    # Dense: a byte and eight for each label.
    assert column.nbytes < 100_000 * 9 * 1.2


def test_ten_thousand_rare_keys_cost_little() -> None:
    columns = [
        MetadataColumn.build(100_000, np.array([5], dtype=np.int64), [number])
        for number in range(10_000)
    ]
    assert sum(column.nbytes for column in columns) < 10_000_000


@pytest.mark.parametrize(
    "value", [lambda i: f"value {i}", lambda i: [f"a {i}", f"b {i}"]], ids=["texts", "lists"]
)
def test_values_that_nobody_has_any_more_are_forgotten(value: Any) -> None:
    column = build([value(i) for i in range(100)])
    first = column.nbytes
    for i in range(20_000):
        column.set(i % 100, value(i))
    assert column.nbytes < first + 2_000 * sys.getsizeof(("kind", "a 19999", "b 19999")) * 4
    leaf: Any
    for i in range(19_900, 20_000):
        one = value(i)
        leaf = ListContains("k", one[1]) if isinstance(one, list) else Compare("k", "$eq", one)
        assert found(column, leaf) == [i % 100]
    gone = value(19_899)
    leaf = ListContains("k", gone[0]) if isinstance(gone, list) else Compare("k", "$eq", gone)
    assert found(column, leaf) == []


def test_many_different_texts() -> None:
    column = build([f"id {i}" for i in range(50_000)])
    assert found(column, Compare("k", "$eq", "id 49999")) == [49_999]
    assert found(column, Among("k", tuple(f"id {i}" for i in range(100, 200)))) == list(
        range(100, 200)
    )
    # What the texts weigh is counted: they are the larger part here.
    assert column.nbytes > sum(sys.getsizeof(f"id {i}") for i in range(50_000))


def test_what_one_kind_costs_is_its_arrays() -> None:
    for values in ([1] * 10_000, [0.5] * 10_000, [True, False] * 5_000):
        assert build(values).nbytes < 10_000 * 9 + 1_000


def test_metadata_are_parsed_once_however_many_columns_there_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One record of many keys would else hold up a collection whose keys were asked for, for minutes."""
    texts: list[str | None] = []

    def read(text: str | None) -> Any:
        texts.append(text)
        return read_metadata(text)

    with chroma.EphemeralClient(private_settings()) as client:
        docs = client.create_collection("docs", embedding_function=None)
        old = {"kept": 1, "gone": 1, "k1": "x"}
        docs.add(ids=["a", "b"], embeddings=[[1.0], [2.0]], metadatas=[old, old])
        docs.query(query_embeddings=[[1.0]], n_results=1)
        keys = [f"k{n}" for n in range(50)]
        for key in ("kept", "gone", *keys):
            docs.get(where={key: 1})
        monkeypatch.setattr("chroma_nb.segment.loaded.read_metadata", read)
        new = {"kept": 2, "k2": 1}
        docs.upsert(ids=["b", "c"], embeddings=[[3.0], [4.0]], metadatas=[new, new])
        docs.update(ids=["a"], metadatas=[{"gone": None, "k3": 1}])
        assert len(texts) <= 3
        wheres: list[dict[str, Any]] = [{"k1": "x"}, {"kept": 2}, {"gone": 1}, {"k2": 1}, {"k3": 1}]
        found = [docs.get(where=where)["ids"] for where in wheres]
        assert found == [["a", "b"], ["b", "c"], ["b"], ["b", "c"], ["a"]]
        client.unload("docs")
        assert [docs.get(where=where)["ids"] for where in wheres] == found
