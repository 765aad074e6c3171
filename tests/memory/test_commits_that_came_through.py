"""A commit whose memory ran out after it was in DuckDB's log is a success, and is counted once."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import duckdb
import numpy as np
import pytest

import chroma_nb

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

#: 16 rows are a block, which has a checksum.
DIMENSION = 1_024
N = 53


def rows(n: int = N, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, DIMENSION)).astype(np.float32)


def ids(n: int = N, start: int = 0) -> list[str]:
    return [str(number) for number in range(start, start + n)]


def _notes(client: Any) -> Any:
    return client.get_collection("notes", embedding_function=None)


def add(client: Any) -> None:
    _notes(client).add(ids=ids(start=N), embeddings=rows(seed=1))


def upsert(client: Any) -> None:
    _notes(client).upsert(ids=ids(), embeddings=rows(seed=1))


def delete(client: Any) -> None:
    _notes(client).delete(ids=ids(20))


def compact(client: Any) -> None:
    _notes(client).delete(ids=ids(20))
    client.api.segments.compact(_notes(client).id)


def create_collection(client: Any) -> None:
    client.create_collection("third", embedding_function=None)


def modify(client: Any) -> None:
    client.get_collection("other", embedding_function=None).modify(name="renamed")


def delete_collection(client: Any) -> None:
    client.delete_collection("other")


def reset(client: Any) -> None:
    client.reset()
    notes = client.create_collection("notes", embedding_function=None)
    notes.add(ids=ids(), embeddings=rows())


CHANGES = [add, upsert, delete, compact, create_collection, modify, delete_collection, reset]


def state(client: Any) -> dict[str, list[Any]]:
    found = {}
    for one in client.list_collections():
        records = one.get(include=["embeddings", "documents"])
        embeddings = records["embeddings"]
        found[one.name] = [records["ids"], np.asarray(embeddings).tolist(), records["documents"]]
    return found


def _commit(failed: list[Any], connection: Any) -> None:
    """Commit, and fail."""
    connection.execute("COMMIT")
    failed.append(connection)
    raise duckdb.OutOfMemoryException("Out of Memory Error: failed to allocate data")


@pytest.mark.parametrize("change", CHANGES)
def test_it_is_as_if_nothing_had_happened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[Any], None]
) -> None:
    states = []
    for name in ("plain", "short of memory"):
        settings = chroma_nb.Settings(progress=False, allow_reset=True)
        with chroma_nb.PersistentClient(tmp_path / name, settings) as client:
            for collection in ("notes", "other"):
                client.create_collection(collection, embedding_function=None).add(
                    ids=ids(), embeddings=rows(), documents=ids()
                )
            _notes(client).query(query_embeddings=rows()[:1], n_results=1)
            failed: list[Any] = []
            with monkeypatch.context() as patch:
                if name != "plain":
                    patch.setattr(client.api.db._database, "_commit", partial(_commit, failed))
                change(client)
            assert bool(failed) == (name != "plain")
            # Later writes succeed.
            for number in range(40):
                row = rows(1, seed=number + 2)
                _notes(client).add(ids=[f"more {number}"], embeddings=row)
            assert client.check().is_whole
            assert (
                len(_notes(client).query(query_embeddings=rows()[:1], n_results=90)["ids"][0]) > 50
            )
            states.append(state(client))
        with chroma_nb.PersistentClient(tmp_path / name, settings) as client:
            assert client.check().is_whole
            states.append(state(client))
    assert states[0] == states[1] == states[2] == states[3]
