"""Vectors of a store in memory that are in files with names, as too many without one are open."""

from __future__ import annotations

import os
import uuid
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from chroma_nb.db import DuckDB, vector_file
from chroma_nb.db.base import Changes, RecordRows
from chroma_nb.settings import Settings
from chroma_nb.types import CollectionInfo

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

N = 2_000
VECTORS = np.random.default_rng(0).standard_normal((N, 300), dtype=np.float32)


@pytest.fixture
def db(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[DuckDB]:
    monkeypatch.setattr(vector_file, "_MOST_UNNAMED", 0)
    db = DuckDB(Settings(temp_path=str(tmp_path), progress=False))
    yield db
    db.close()


@pytest.fixture
def notes(db: DuckDB) -> uuid.UUID:
    """A collection of `N` records, of which the first half was deleted."""
    configuration: dict[str, Any] = {"hnsw": {"space": "l2"}, "embedding_function": None}
    info = CollectionInfo(
        uuid.uuid4(), "notes", "default_tenant", "default_database", configuration
    )
    db.create_collection(info)
    every = np.arange(N)
    rows = RecordRows(every, every, [str(n) for n in range(N)], [None] * N, [None] * N, [None] * N)
    none = np.empty(0, dtype=np.int64)
    db.commit(info.id, Changes(rows, none, VECTORS, 0, N, dimension=300, n_records_delta=N))
    no_vectors = np.empty((0, 300), dtype=np.float32)
    half = every[: N // 2]
    deleted = Changes(RecordRows.empty(), half, no_vectors, N, 0, n_records_delta=-len(half))
    db.commit(info.id, deleted)
    assert files_of(db) == [f"{info.id}.0.f32"]
    return info.id


def files_of(db: DuckDB) -> list[str]:
    return [name for name in os.listdir(db.derived_folder) if name.endswith(".f32")]


def test_a_compaction_keeps_them(db: DuckDB, notes: uuid.UUID) -> None:
    db.compact(notes)
    assert np.array_equal(db.vectors(notes).read(np.arange(N // 2)), VECTORS[N // 2 :])
    assert files_of(db) == [f"{notes}.1.f32"]
    db.delete_collection(notes)
    assert files_of(db) == []


def test_they_are_there_after_the_catalogue_was_read_again(db: DuckDB, notes: uuid.UUID) -> None:
    db._files.recent.clear()
    db._database._is_stale = True
    assert np.array_equal(db.vectors(notes).read(np.arange(N)), VECTORS)


def test_a_compaction_that_fails_leaves_none(
    db: DuckDB, notes: uuid.UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("chroma_nb.db.duckdb.compaction.create_records", failed)
    with pytest.raises(KeyboardInterrupt):
        db.compact(notes)
    assert files_of(db) == [f"{notes}.0.f32"]
    assert np.array_equal(db.vectors(notes).read(np.arange(N)), VECTORS)
