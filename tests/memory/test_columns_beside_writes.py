"""Columns that filters make while somebody writes: each byte of them is taken before it is there."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import chroma_nb
from chroma_nb.segment.loaded import LoadedMetadata
from chroma_nb.segment.metadata_column import MetadataColumn
from tests.memory.test_budget_is_kept import WatchedLedger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

N_RECORDS = 2_000


class Watched:
    """A store with one loaded collection, and what is inside."""

    def __init__(self) -> None:
        settings = chroma_nb.Settings(memory_budget="1 GB", index_engine="exact")
        self.client = chroma_nb.EphemeralClient(settings)
        self.notes = self.client.create_collection("notes", embedding_function=None)
        self.segments: Any = self.client.api.segments  # type: ignore[attr-defined]
        self.ledger = self.segments.residents.ledger = WatchedLedger(10**9)
        self.add(0, N_RECORDS)
        # The buffers have grown beyond what is in them: one record more takes none of the bytes to come.
        self.add(N_RECORDS, 1)
        self.slot = self.segments._slots.get(self.notes.id)

    @property
    def segment(self) -> Any:
        return self.slot.segment

    def add(self, first: int, n: int) -> None:
        self.notes.add(
            ids=[str(row) for row in range(first, first + n)],
            embeddings=np.ones((n, 4), dtype=np.float32),
            metadatas=[{"n": row % 7, "half": row % 2} for row in range(first, first + n)],
        )

    def filter(self, key: str = "n") -> None:
        """Filter on a key, in a thread of its own: this one may be in the middle of a write."""
        in_a_thread(lambda: self.notes.get(where={key: 1}, limit=1))

    @property
    def column_keys(self) -> set[str]:
        return set(self.segment.metadata._columns)

    @property
    def is_covered(self) -> bool:
        """Whether all that is there was taken."""
        return bool(self.segment.resident_bytes <= self.ledger.held(self.slot.collection_id))


def in_a_thread(work: Callable[[], object]) -> None:
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


@pytest.fixture
def watched() -> Iterator[Watched]:
    watched = Watched()
    with watched.client:
        yield watched


def test_a_column_that_made_room_for_a_write_and_came_back_grows_within_what_was_taken(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare = watched.ledger.used
    watched.filter()
    column_bytes = watched.ledger.used - bare
    assert column_bytes > 9 * N_RECORDS
    # Enough for the record and for the column, not for a column that grows.
    watched.ledger.lower(watched.ledger.used + 1_000)
    commit, forgotten = watched.segments.db.commit, []

    def commit_beside_a_reader(*arguments: Any) -> Any:
        forgotten.append(not watched.column_keys)
        watched.filter()
        assert watched.column_keys == {"n"}
        return commit(*arguments)

    monkeypatch.setattr(watched.segments.db, "commit", commit_beside_a_reader)
    watched.add(N_RECORDS + 1, 1)

    assert forgotten == [True]
    assert not watched.ledger.broken
    assert watched.is_covered
    assert len(watched.notes.get(where={"n": 1})["ids"]) == len(range(1, N_RECORDS + 2, 7))


def test_columns_that_a_write_took_no_room_for_are_let_go_and_the_others_stay(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched.filter("n")
    commit = watched.segments.db.commit

    def commit_beside_a_reader(*arguments: Any) -> Any:
        watched.filter("half")
        return commit(*arguments)

    monkeypatch.setattr(watched.segments.db, "commit", commit_beside_a_reader)
    watched.add(N_RECORDS + 1, 1)

    assert watched.column_keys == {"n"}
    assert not watched.ledger.broken
    assert watched.is_covered


def test_a_filter_may_make_a_column_while_a_write_reckons_what_it_takes(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched.filter("n")
    nbytes, growth = MetadataColumn.nbytes.fget, LoadedMetadata.growth  # type: ignore[attr-defined]
    to_make: list[str] = []

    def growth_beside_a_reader(metadata: LoadedMetadata, changes: Any) -> int:
        to_make.append("half")
        return growth(metadata, changes)

    def nbytes_beside_a_reader(column: MetadataColumn) -> int:
        if to_make:
            watched.filter(to_make.pop())
        return int(nbytes(column))

    monkeypatch.setattr(LoadedMetadata, "growth", growth_beside_a_reader)
    monkeypatch.setattr(MetadataColumn, "nbytes", property(nbytes_beside_a_reader))
    watched.add(N_RECORDS + 1, 1)

    assert not to_make
    assert watched.notes.count() == N_RECORDS + 2
    assert not watched.ledger.broken
    assert watched.is_covered


def test_what_a_deletes_filter_makes_is_counted_whoever_counts_meanwhile(watched: Watched) -> None:
    """Whoever builds a graph sets the account to what is there, with the collection's lock to itself."""
    metadata, slot = watched.segment.metadata, watched.slot
    may_hold, asked = metadata._may_hold, []

    def count() -> None:
        if slot.lock.acquire_write(wait=False):
            watched.ledger.set_held(slot.collection_id, watched.segment.resident_bytes)
            slot.lock.release()

    def granted(n_bytes: int) -> bool:
        is_had = bool(may_hold(n_bytes))
        asked.append(n_bytes)
        in_a_thread(count)
        return is_had

    metadata._may_hold = granted
    watched.notes.delete(where={"n": 50})  # matches nothing: no commit counts again

    assert asked
    assert watched.column_keys == {"n"}
    assert watched.is_covered
