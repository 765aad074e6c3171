"""Finding the columns of metadata keys, and keeping what was found."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import numpy as np
import pandas as pd
import pytest

import chroma_nb
from chroma_nb.db import _fields
from chroma_nb.db.sql import columns
from chroma_nb.db.sql import query as query_module
from chroma_nb.db.sql.store import CollectionVersion
from tests.unit.sql.conftest import make, refusal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def test_columns_are_found_once_for_each_version(
    client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    plain = query_module.read_columns

    def counted(cursor: Any, table: str, *rest: Any) -> Any:
        asked.append(table)
        return plain(cursor, table, *rest)

    monkeypatch.setattr(query_module, "read_columns", counted)
    made = make(client, "versions", [{"n": 1}])
    try:
        client.sql("SELECT count(*), max(id), max(document) FROM versions")
        assert asked == []
        client.sql("SELECT n FROM versions")
        client.sql("SELECT * FROM versions")
        assert len(asked) == 1
        made.update(ids=["r0"], metadatas=[{"later": "x"}])
        assert client.sql("SELECT later FROM versions").later.tolist() == ["x"]
        assert len(asked) == 2
    finally:
        client.delete_collection("versions")


def test_a_collection_of_very_many_keys_says_so(
    client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(columns, "_MOST_STARRED", 3)
    assert "metadata keys, and * has 3 columns" in refusal(client, "SELECT * FROM docs")
    assert client.sql("SELECT n FROM docs WHERE n = 1").n.tolist() == [1]


def seen(name: str, version: int = 1) -> CollectionVersion:
    return CollectionVersion(uuid4(), name, 2, 1, 0, version)


def test_columns_of_few_collections_are_kept() -> None:
    cache = columns.ColumnsCache()
    found = columns.Columns({"n": "BIGINT"}, 2)
    collections = [seen(f"c{number}") for number in range(columns._MOST_KEPT + 1)]
    for one in collections[:-1]:
        cache.add(one, found)
    assert cache.get(collections[0]) is found
    # The one that was used least recently makes room.
    cache.add(collections[-1], found)
    assert [one.name for one in collections if cache.get(one) is None] == ["c1"]


def test_columns_of_another_version_and_of_too_many_keys_are_not_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cache = columns.ColumnsCache()
    before = seen("docs")
    cache.add(before, columns.Columns({"n": "BIGINT"}, 2))
    after = dataclasses.replace(before, version=2)
    assert cache.get(after) is None
    monkeypatch.setattr(columns, "_MOST_STARRED", 1)
    cache.add(after, columns.Columns({"n": "BIGINT", "m": "BIGINT"}, 2))
    assert cache.get(after) is None
    assert cache.get(before) is None


def test_an_error_knows_columns_that_are_not_kept(
    client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(columns, "_MOST_STARRED", 1)
    monkeypatch.setattr(client.api.db, "sql_columns", columns.ColumnsCache())
    assert 'Did you mean "pos"?' in refusal(client, "SELECT poss FROM docs")


MIXED = [
    {"n": 1, "both": 1, "large": 2**60, "texts": ["a"], "numbers": [1], "any": 1, "a/~b": 0.5},
    {"n": 2, "both": 0.5, "large": 0.25, "texts": ["b"], "numbers": [2.5], "any": "x"},
    {"late": True, "both": 2, "large": -7, "any": [1], "nul\0": "c"},
]


@pytest.fixture
def mixed(client: Any) -> Iterator[Any]:
    yield make(client, "mixed", [{**MIXED[row % 3], "n": row} for row in range(30)])
    client.delete_collection("mixed")


@pytest.mark.parametrize("is_small", [True, False], ids=["one by one", "many keys at once"])
def test_types_are_the_same_in_pieces_and_extracted_together(
    client: Any, mixed: Any, monkeypatch: pytest.MonkeyPatch, is_small: bool
) -> None:
    db = client.api.db
    described, star = client.sql("DESCRIBE mixed"), client.sql("SELECT * FROM mixed")
    monkeypatch.setattr(db, "sql_columns", columns.ColumnsCache())
    monkeypatch.setattr(columns, "_LARGE_RECORD", 1 << 30 if is_small else 0)
    monkeypatch.setattr(columns, "_KEYS_AT_ONCE", 3)
    monkeypatch.setattr(columns, "_MEMORY_SHARE", 1 << 40)
    if not is_small:
        monkeypatch.setattr(_fields, "TEXT_FACTOR", db.memory_limit // 500)
    pd.testing.assert_frame_equal(client.sql("DESCRIBE mixed"), described)
    pd.testing.assert_frame_equal(client.sql("SELECT * FROM mixed"), star)
    pieces = _fields.Pieces(
        db._database.connection, f'"{db._cached.entries[mixed.id].table}"', db.memory_limit
    )
    assert pieces.is_one == is_small


def wide(client: Any, n_keys: int, n_records: int, first: int = 0) -> Any:
    """Add records of many keys, and a few small ones before and after them."""
    collection = client.get_or_create_collection("wide", embedding_function=None)
    rows = [{f"key {k:04d}": (row + k) % 10 for k in range(n_keys)} for row in range(n_records)]
    collection.add(
        ids=[str(first + row) for row in range(n_records)],
        embeddings=np.zeros((n_records, 1), dtype=np.float32),
        metadatas=rows,
    )
    return collection


LITTLE = chroma_nb.Settings(duckdb_memory_limit="70 MB", threads=2, progress=False)


@pytest.mark.parametrize(("n_keys", "n_records"), [(100, 400), (500, 200)])
def test_a_star_of_many_keys_fits_into_little_memory(
    tmp_path: Path, n_keys: int, n_records: int
) -> None:
    with chroma_nb.PersistentClient(tmp_path / "store", LITTLE) as client:
        collection = wide(client, n_keys, n_records)
        assert len(client.api.db.describe_fields(collection.id, 5)) == min(n_keys, 200)
        frame = client.sql("SELECT * FROM wide")
        assert frame.shape == (n_records, 4 + n_keys)
        assert frame["key 0007"].tolist() == [(row + 7) % 10 for row in range(n_records)]


def test_large_records_where_nobody_looked_are_read_in_pieces(tmp_path: Path) -> None:
    with chroma_nb.PersistentClient(tmp_path / "store", LITTLE) as client:
        # Where the sizes of records are estimated they are small.
        wide(client, 1, 300)
        collection = wide(client, 2_000, 200, first=300)
        wide(client, 1, 500, first=500)
        restarts: list[int] = []
        plain = query_module._Query._begin_again

        def begin_again(self: Any) -> None:
            restarts.append(1)
            plain(self)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(query_module._Query, "_begin_again", begin_again)
            described = client.sql("DESCRIBE wide")
        assert restarts
        assert len(described) == 5 + 2_000
        assert len(client.api.db.describe_fields(collection.id, 5)) == 200


def test_a_query_begins_anew_when_the_columns_change_while_they_are_read_again(
    client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = make(client, "changed", [{"n": 1}])
    plain, calls = query_module.read_columns, []

    def fails(cursor: Any, table: str, *rest: Any) -> Any:
        calls.append(1)
        if len(calls) == 1:
            made.update(ids=["r0"], metadatas=[{"later": 2}])
            # As after too little memory.
            rest[-1]()
        return plain(cursor, table, *rest)

    monkeypatch.setattr(query_module, "read_columns", fails)
    try:
        assert client.sql("SELECT n, later FROM changed").values.tolist() == [[1, 2]]
        assert len(calls) == 2
    finally:
        client.delete_collection("changed")
