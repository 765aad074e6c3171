"""A store in memory has nothing to be read anew from: its commits and checkpoints have memory, and errors tell the truth."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import duckdb
import numpy as np
import pytest

import chroma_nb
from chroma_nb.errors import InternalError

if TYPE_CHECKING:
    from collections.abc import Iterator

N = 600


@pytest.fixture
def client() -> Iterator[Any]:
    with chroma_nb.EphemeralClient(chroma_nb.Settings(progress=False)) as client:
        yield client


def written(collection: Any, version: int, n: int = N, size: int = 40) -> list[str]:
    ids = [str(number) for number in range(n)]
    documents = [f"{version} of {one} {'é' * size}" for one in ids]
    collection.upsert(ids=ids, embeddings=np.ones((n, 2), dtype=np.float32), documents=documents)
    return documents


def test_a_commit_comes_through_while_others_use_all_of_the_databases_memory(client: Any) -> None:
    # DuckDB 2 ends where it has too little for a COMMIT; 1.3.2 joins texts with those that it takes back.
    db = client.api.segments.db
    share, expected = db.memory_share, []
    with db._changing(), db._transaction() as con:
        con.execute("CREATE TABLE texts (label BIGINT, text VARCHAR)")
    for number in range(30):
        rows = [(number * 50 + at, f"{number} " * (at % 9) * 30) for at in range(50)]
        with db._changing(), db._transaction() as con:
            con.execute(
                "INSERT INTO texts SELECT unnest(?), unnest(?)",
                [list(one) for one in zip(*rows, strict=True)],
            )
            share.n_bytes = db._held(con)
            share.apply()
        expected += rows
        share.n_bytes = 64 << 20
        share.apply()
    with db._reading() as cursor:
        assert cursor.execute("SELECT * FROM texts ORDER BY label").fetchall() == expected


def test_a_commit_that_failed_when_it_was_there_says_so_and_is_not_made_again(
    client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    collection = client.create_collection("notes", embedding_function=None)
    db = client.api.segments.db

    @contextlib.contextmanager
    def too_late() -> Iterator[None]:
        yield
        monkeypatch.undo()
        raise duckdb.OutOfMemoryException("failed to pin block of size 256.0 KiB")

    monkeypatch.setattr(db, "_memory_for_commit", too_late)
    with pytest.raises(InternalError, match="All of this call is there all the same"):
        written(collection, 1)
    assert collection.count() == N
    documents = written(collection, 2)
    assert collection.get()["documents"] == documents
    assert client.list_collections()[0].name == "notes"


def test_a_commit_that_failed_before_it_was_there_is_made_again(
    client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    collection = client.create_collection("notes", embedding_function=None, metadata={"a": 0.1})
    db = client.api.segments.db

    @contextlib.contextmanager
    def too_early() -> Iterator[None]:
        monkeypatch.undo()
        raise duckdb.OutOfMemoryException("failed to pin block of size 256.0 KiB")
        yield

    monkeypatch.setattr(db, "_memory_for_commit", too_early)
    documents = written(collection, 1)
    assert collection.get()["documents"] == documents


def test_checkpoints_are_made_here_and_not_in_the_middle_of_a_commit(client: Any) -> None:
    collection = client.create_collection("notes", embedding_function=None)
    db = client.api.segments.db
    (limit,) = db._connection.execute("SELECT current_setting('checkpoint_threshold')").fetchone()
    assert limit == "931.3 GiB"
    for version in range(12):
        documents = written(collection, version, size=1_500)
    assert 0 < db._changed_bytes < 12 * N * 3_000
    assert db._changed_bytes <= 20 << 20
    assert collection.get()["documents"] == documents
