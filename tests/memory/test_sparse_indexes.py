"""Indexes of words and of sparse vectors: in the budget, in every report, given up, and made again."""

from __future__ import annotations

import tracemalloc
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import chroma_nb
from chroma_nb import SparseVector
from chroma_nb.display.views.memory import totals
from chroma_nb.embedding import ChromaBm25EmbeddingFunction
from chroma_nb.segment.stored import StoredMetadata
from tests.stores import private_settings
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

N = 5_000
BM25 = ChromaBm25EmbeddingFunction()


def documents(n: int, seed: int = 0) -> list[str]:
    rng = np.random.default_rng(seed)
    return [" ".join(f"word{one}" for one in rng.zipf(1.3, 12) % 5_000) for _ in range(n)]


@pytest.fixture
def client() -> Iterator[Any]:
    # Without graphs, whose builder would change what is counted meanwhile.
    settings = private_settings(memory_budget="100 MB", graph_min_records=1_000_000)
    with chroma_nb.Client(settings) as client:
        yield client


def filled(client: Any, name: str, texts: list[str] | None = None) -> Any:
    notes = client.create_collection(name, embedding_function=None)
    texts = documents(N) if texts is None else texts
    notes.add(
        ids=[str(one) for one in range(len(texts))],
        embeddings=np.ones((len(texts), 2), dtype=np.float32),
        documents=texts,
        metadatas=[{"sp": SparseVector([one % 7, 10], [1.0, 0.5])} for one in range(len(texts))],
    )
    return notes


def words(client: Any, notes: Any, key: str = "#document", query: Any = None) -> Any:
    query = BM25(["word1 word2 word77"])[0] if query is None else query
    with client.api.segments.present(notes.id) as segment:
        return segment.metadata.sparse_distances(key, query, idf=True, mask=None)


def referee(client: Any, notes: Any) -> Any:
    reader = StoredMetadata(client.api.db, notes.id)
    return reader.sparse_distances(
        "#document", BM25(["word1 word2 word77"])[0], idf=True, mask=None
    )


def memory_of(client: Any, name: str) -> Any:
    return next(one for one in client.memory.report().collections if one.name == name)


def test_they_are_counted_and_shown(client: Any) -> None:
    notes = filled(client, "notes")
    before = client.api.segments.residents.ledger.used
    assert "sparse_bytes" not in notes.explain(query_embeddings=[[1.0, 1.0]])
    words(client, notes)
    words(client, notes, "sp", SparseVector([10], [1.0]))
    sparse = memory_of(client, "notes").parts["sparse"]
    assert sparse == client.api.segments.residents.ledger.used - before > 50_000
    assert notes.explain(query_embeddings=[[1.0, 1.0]])["sparse_bytes"] == sparse
    assert "for searches by words and sparse vectors" in totals(client.memory.report())[0][3]
    assert client.memory.unload("notes") > sparse
    assert client.api.segments.residents.ledger.used == 0


def test_what_is_counted_is_what_they_take(client: Any) -> None:
    notes = filled(client, "notes", documents(20_000))
    words(client, notes)
    client.unload("notes")
    client.memory.load("notes")
    with client.api.segments.present(notes.id) as segment:
        tracemalloc.start()
        try:
            segment.metadata.sparse_distances("#document", BM25(["word1"])[0], idf=True, mask=None)
            counted = segment.parts()["sparse"]
            before = tracemalloc.get_traced_memory()[0]
            segment.metadata.forget_columns()
            released = before - tracemalloc.get_traced_memory()[0]
        finally:
            tracemalloc.stop()
    assert abs(counted - released) < 0.05 * counted


def test_another_collection_is_unloaded_for_them(client: Any) -> None:
    other = filled(client, "other")
    notes = filled(client, "notes")
    words(client, notes)
    found = words(client, other)
    both = client.api.segments.residents.ledger.used
    client.memory.budget = both - 100_000
    assert {memory_of(client, name).state for name in ("other", "notes")} == {"loaded", "on disk"}
    assert np.array_equal(words(client, notes), found, equal_nan=True)
    assert client.api.segments.residents.ledger.used <= both - 100_000


@pytest.mark.parametrize("pinned", [False, True])
def test_a_write_without_room_gives_them_up_first(client: Any, pinned: bool) -> None:
    notes = filled(client, "notes")
    words(client, notes)
    if pinned:
        client.memory.pin("notes")
    held = client.api.segments.residents.ledger.used
    client.memory.budget = held + 300_000
    more = documents(2_000, seed=1)
    notes.add(
        ids=[f"more{one}" for one in range(len(more))],
        embeddings=np.ones((len(more), 2), dtype=np.float32),
        documents=more,
    )
    assert client.api.segments.residents.ledger.used <= held + 300_000
    assert np.array_equal(words(client, notes), referee(client, notes), equal_nan=True)
    assert client.api.segments.residents.ledger.used <= held + 300_000


def test_under_a_small_budget_words_are_found_without_an_index(client: Any) -> None:
    notes = filled(client, "notes")
    found = words(client, notes)
    sparse = memory_of(client, "notes").parts["sparse"]
    client.unload("notes")
    client.memory.load("notes")
    client.memory.pin("notes")
    client.memory.budget = client.api.segments.residents.ledger.used + sparse // 2
    assert np.array_equal(words(client, notes), found, equal_nan=True)
    assert "sparse" not in memory_of(client, "notes").parts
    client.memory.budget = "100 MB"
    assert np.array_equal(words(client, notes), found, equal_nan=True)
    assert memory_of(client, "notes").parts["sparse"] == sparse


def test_writes_between_searches_stay_within_the_budget(client: Any) -> None:
    notes = filled(client, "notes", documents(500))
    ledger = client.api.segments.residents.ledger

    def accounts_are_right() -> bool:
        with client.api.segments.present(notes.id) as segment:
            return bool(ledger.held(notes.id) == segment.resident_bytes > 0)

    for round_ in range(12):
        texts = documents(300, seed=round_)
        ids = [str(one) for one in range(100 * round_, 100 * round_ + 300)]
        notes.upsert(ids=ids, embeddings=np.ones((300, 2), dtype=np.float32), documents=texts)
        notes.delete(ids=ids[:50])
        assert np.array_equal(words(client, notes), referee(client, notes), equal_nan=True)
        # After a compaction the collection is loaded again, in the background.
        wait_until(accounts_are_right)
