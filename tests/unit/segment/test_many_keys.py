"""A filter on many keys reads the metadata once, whether or not the columns that it makes may stay."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import chroma_nb as chroma
from chroma_nb.memory.workspace import Grant, Workspace
from chroma_nb.segment import loaded
from chroma_nb.segment.loaded import LoadedMetadata
from chroma_nb.segment.text_pool import TextPool
from tests.stores import private_settings

if TYPE_CHECKING:
    from collections.abc import Iterator

N_KEYS = 40


def value_of(i: int, j: int) -> Any:
    return [j, float(i), f"t{i % 3}", i % 2 == 0, [i % 4, j]][(i + j) % 5]


@pytest.fixture
def docs() -> Iterator[Any]:
    with chroma.Client(private_settings()) as client:
        docs = client.create_collection("docs", embedding_function=None)
        n = 120
        docs.add(
            ids=[str(i) for i in range(n)],
            embeddings=np.ones((n, 2), dtype=np.float32),
            documents=[f"number {i}" for i in range(n)],
            metadatas=[
                None
                if i % 11 == 0
                else {f"k{j}": value_of(i, j) for j in range(i % N_KEYS)} | {"z": 1}
                for i in range(n)
            ],
        )
        docs.delete(ids=[str(i) for i in range(30, 40)])
        yield docs


FILTERS: list[dict[str, Any]] = [
    {"$or": [{f"k{j}": {"$ne": 1}} for j in range(N_KEYS)]},
    {"$or": [{f"k{j}": j} for j in range(N_KEYS)]},
    {"$or": [{f"k{j}": {"$gt": 20}} for j in range(N_KEYS)]},
    {
        "$and": [
            *({f"k{j}": {"$ne": "t1"}} for j in range(N_KEYS)),
            {"#document": {"$contains": "1"}},
        ]
    },
    {"$or": [{f"k{j}": {"$contains": 3}} for j in range(N_KEYS)]},
    {"$or": [*({f"no{j}": {"$eq": "t1"}} for j in range(N_KEYS)), {"k5": "t2"}]},
]


def answers(docs: Any) -> list[list[str]]:
    found = []
    for where in FILTERS:
        docs.unload()
        # So that it is answered from memory.
        docs.query(query_embeddings=[1.0, 1.0], n_results=1)
        got = docs.query(query_embeddings=[1.0, 1.0], n_results=200, where=where)["ids"][0]
        found.append(sorted(got))
    return found


@pytest.mark.parametrize("is_kept", [True, False])
def test_columns_are_made_together(
    docs: Any, monkeypatch: pytest.MonkeyPatch, is_kept: bool
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(loaded, "_MANY_KEYS", 1_000)
        expected = answers(docs)
    assert len({len(one) for one in expected}) > 3

    def refuse(self: TextPool, key: str, labels: Any) -> Any:
        raise AssertionError(f"the metadata is read again, for {key}")

    monkeypatch.setattr(TextPool, "json_values", refuse)
    if not is_kept:
        original = LoadedMetadata.__init__

        def without_room(self: LoadedMetadata, match: Any, may_hold: Any) -> None:
            original(self, match, lambda n_bytes: False)

        monkeypatch.setattr(LoadedMetadata, "__init__", without_room)
    assert answers(docs) == expected


def test_without_room_for_all_they_are_made_one_by_one(
    docs: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(loaded, "_MANY_KEYS", 1_000)
        expected = answers(docs)
    monkeypatch.setattr(Workspace, "take", lambda self, wanted: Grant(min(wanted, 100)))
    assert answers(docs) == expected
