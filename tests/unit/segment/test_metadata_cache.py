"""`MetadataCache`: asked of the DB once for each version of a collection, and never out of date."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from chroma_nb.db.base import Changes, Extent, RecordRows
from chroma_nb.errors import NotFoundError
from chroma_nb.segment import metadata_cache
from chroma_nb.segment.metadata_cache import MetadataCache
from chroma_nb.settings import Settings
from chroma_nb.testing import SharedMemoryDB
from tests.unit.segment.conftest import create

if TYPE_CHECKING:
    from uuid import UUID

    from chroma_nb.types import FieldSummary


class Asked(SharedMemoryDB):
    """Counts what it is asked."""

    def __init__(self) -> None:
        super().__init__(Settings())
        self.n: Counter[str] = Counter()
        self.id = create(self, "notes")

    def metadata_keys(self, collection_id: UUID) -> list[str]:
        self.n["keys"] += 1
        return super().metadata_keys(collection_id)

    def describe_fields(self, collection_id: UUID, n_values: int) -> list[FieldSummary]:
        self.n["fields"] += 1
        return super().describe_fields(collection_id, n_values)

    def put(self, *metadatas: str) -> tuple[Extent, Extent]:
        """Commit a record for each of these metadata; return the extents before and after it."""
        before, n = self.extent(self.id), len(metadatas)
        at = np.arange(before.next_label, before.next_label + n)
        nothing: list[Any] = [None] * n
        rows = RecordRows(at, at, [f"id{i}" for i in at], nothing, nothing, list(metadatas))
        vectors, removed = np.zeros((n, 2), dtype=np.float32), np.empty(0, dtype=np.int64)
        changes = Changes(rows, removed, vectors, before.next_label, n, n_records_delta=n)
        return before, self.commit(self.id, changes)


@pytest.fixture
def db() -> Asked:
    return Asked()


@pytest.fixture
def known(db: Asked) -> MetadataCache:
    return MetadataCache(db)


def test_keys_are_asked_for_once_per_version(db: Asked, known: MetadataCache) -> None:
    assert known.keys(db.id) == []
    assert not db.n, "a collection without records has none"
    db.put('{"b":1,"a":2}')
    assert known.keys(db.id) == known.keys(db.id) == ["a", "b"]
    assert db.n["keys"] == 1
    db.put('{"c":1}')
    assert known.keys(db.id) == ["a", "b", "c"]
    assert db.n["keys"] == 2


def test_what_grew_is_not_asked_for(db: Asked, known: MetadataCache) -> None:
    known.grown(db.id, *db.put('{"a":1}'), {"a"})
    assert known.keys(db.id) == ["a"], "as there was no record before"
    known.grown(db.id, *db.put('{"b":1}'), {"b"})
    known.grown(db.id, *db.put('{"b":2}'), {"b"})
    assert known.keys(db.id) == ["a", "b"]
    assert not db.n
    db.put('{"c":1}')  # a commit of which nobody has told
    known.grown(db.id, *db.put('{"d":1}'), {"d"})
    assert known.keys(db.id) == ["a", "b", "c", "d"]
    assert db.n["keys"] == 1


def test_where_there_are_too_many_keys_the_db_says_which(
    db: Asked, known: MetadataCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metadata_cache, "MOST_METADATA_KEYS", 2)
    known.grown(db.id, *db.put('{"a":1}'), {"a"})
    known.grown(db.id, *db.put('{"b":1}'), {"b"})
    assert known.keys(db.id) == ["a", "b"]
    assert db.n["keys"] == 1


def test_the_callers_lists_are_their_own(db: Asked, known: MetadataCache) -> None:
    db.put('{"a":1}')
    known.keys(db.id).append("mine")
    assert known.keys(db.id) == ["a"]
    db.n.clear()
    first = known.fields(db.id, 10)
    first[0].values.clear()
    first.clear()
    (again,) = known.fields(db.id, 10)
    assert again.values == [(1, 1)]
    assert db.n["fields"] == 1


def test_descriptions_are_kept_by_the_number_of_values(db: Asked, known: MetadataCache) -> None:
    db.put('{"a":1}', '{"a":2}')
    for n_values in (1, 2, 3, 4, 1, 2, 3, 4):
        known.fields(db.id, n_values)
    assert db.n["fields"] == 4
    known.fields(db.id, 5)
    known.fields(db.id, 1)
    assert db.n["fields"] == 6, "the one that was made first is gone"
    db.put('{"a":3}')
    assert known.fields(db.id, 5)[0].n_records == 3
    assert db.n["fields"] == 7


def test_a_deleted_collection_is_not_found_and_many_are_not_all_kept(
    db: Asked, known: MetadataCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metadata_cache, "_COLLECTIONS", 2)
    db.put('{"a":1}')
    known.keys(db.id)
    others = [create(db, f"other{n}") for n in range(3)]
    for other in others:
        known.keys(other)
    assert known.keys(db.id) == ["a"]
    assert db.n["keys"] == 2
    assert len(known._known) == 2
    db.delete_collection(db.id)
    for asked in (lambda: known.keys(db.id), lambda: known.fields(db.id, 1)):
        with pytest.raises(NotFoundError):
            asked()
