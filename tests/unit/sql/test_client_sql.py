"""`client.sql()` over the collections of a store on disk."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

import chroma_nb
from chroma_nb.errors import InvalidArgumentError
from tests.unit.transfer.records import content, make_notes

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Any]:
    with chroma_nb.PersistentClient(tmp_path / "store") as client:
        yield client


@pytest.fixture
def notes(client: Any) -> Any:
    return make_notes(client)


def test_sql_reads_collections_as_views(client: Any, notes: Any) -> None:
    frame = client.sql("SELECT id, n, f, b, document FROM notes ORDER BY id")
    assert frame["id"].tolist() == ["a", "b", "c"]
    assert client.sql("SELECT sum(n) AS total FROM notes")["total"].tolist() == [3]
    assert client.sql("SELECT id FROM notes WHERE b").id.tolist() == ["c"]
    assert client.sql("SELECT id FROM notes WHERE n > ? AND f IS NULL", [1]).id.tolist() == ["c"]
    assert client.sql("SELECT metadata->>'n' AS n FROM notes WHERE id = 'a'").n.tolist() == ["1"]
    other = client.create_collection("odd.name-1", embedding_function=None)
    other.add(ids=["a"], embeddings=[[1.0]], metadatas=[{"w": "x", "k'e\"y": 3}])
    joined = 'SELECT notes.id, o.w, o."k\'e""y" AS k FROM notes JOIN "odd.name-1" o USING (id)'
    assert client.sql(joined).values.tolist() == [["a", "x", 3]]
    notes.add(ids=["d"], embeddings=[[1.0, 1.0]], metadatas=[{"n": 10}])
    assert client.sql("SELECT max(n) AS n FROM notes").n.tolist() == [10]


@pytest.mark.parametrize(
    "query",
    [
        "DELETE FROM notes",
        "DROP VIEW notes",
        "INSERT INTO tenants VALUES ('x')",
        "UPDATE collections SET name = 'x'",
        "SET threads = 1",
        "COPY (SELECT 1) TO 'stolen.csv'",
        "ATTACH 'other.duckdb'",
        "SELECT 1; SELECT 2",
        "CREATE TABLE x (a INTEGER)",
        "",
    ],
)
def test_sql_does_nothing_but_read(client: Any, notes: Any, query: str) -> None:
    before = content(notes)
    with pytest.raises(InvalidArgumentError, match=r"one SELECT"):
        client.sql(query)
    assert content(notes) == before


def test_a_wrong_query_says_what_there_is(client: Any, notes: Any) -> None:
    with pytest.raises(InvalidArgumentError, match=r"each collection is a view: 'notes'"):
        client.sql("SELECT * FROM nots")
    with pytest.raises(InvalidArgumentError, match="cannot be read"):
        client.sql("SELEC id")
