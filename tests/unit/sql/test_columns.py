"""Finding the columns of metadata keys, and keeping what was found."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from chroma_nb.db.sql import columns
from chroma_nb.db.sql import query as query_module
from chroma_nb.db.sql.store import CollectionVersion
from tests.unit.sql.conftest import make, refusal

if TYPE_CHECKING:
    import pytest


def test_columns_are_found_once_for_each_version(
    client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    plain = query_module.read_types

    def counted(cursor: Any, table: str) -> Any:
        asked.append(table)
        return plain(cursor, table)

    monkeypatch.setattr(query_module, "read_types", counted)
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
