"""Operations in the middle of others of the same thread, and clients that Python frees there."""

from __future__ import annotations

import gc
import threading
from typing import TYPE_CHECKING, Any

import numpy as np

import chroma_nb
from chroma_nb.db._duckdb import DuckDB

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pytest

N = 60


class Holder:
    """Something of a user's that holds a client, and itself."""

    def __init__(self, path: Path) -> None:
        self.client = chroma_nb.PersistentClient(path)
        self.me = self


def fill(path: Path) -> Any:
    client = chroma_nb.PersistentClient(path, chroma_nb.Settings(progress=False))
    notes = client.create_collection("notes", embedding_function=None)
    vectors = np.random.default_rng(0).standard_normal((N, 8)).astype(np.float32)
    notes.add(ids=[str(i) for i in range(N)], embeddings=vectors)
    return client


def in_each_commit(monkeypatch: pytest.MonkeyPatch, work: Callable[[], object]) -> None:
    real = DuckDB.commit

    def commit(self: Any, *arguments: Any) -> None:
        work()
        real(self, *arguments)

    monkeypatch.setattr(DuckDB, "commit", commit)


def delete_by_two(notes: Any) -> None:
    """Have two threads delete the same records, one after the other."""
    threads = [
        threading.Thread(target=lambda: [notes.delete(ids=[str(i)]) for i in range(N)], daemon=True)
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive(), "a lock was lost"


def test_clients_that_are_freed_in_a_commit_take_no_lock_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with fill(tmp_path / "store") as client:
        notes = client.get_collection("notes", embedding_function=None)

        def drop() -> None:
            Holder(tmp_path / "other")
            gc.collect()

        in_each_commit(monkeypatch, drop)
        delete_by_two(notes)
        assert notes.count() == len(notes.get()["ids"]) == 0
    # Closed in the end, by a thread of its own.
    with chroma_nb.PersistentClient(tmp_path / "other") as other:
        assert other.list_collections() == []


def test_a_call_in_the_middle_of_a_commit_takes_no_lock_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with fill(tmp_path / "store") as client:
        notes = client.get_collection("notes", embedding_function=None)
        in_each_commit(monkeypatch, lambda: (notes.count(), client.list_collections()))
        delete_by_two(notes)
        assert notes.count() == len(notes.get()["ids"]) == 0


def test_everything_is_closed_while_clients_are_freed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = DuckDB.close

    def close(self: Any) -> None:
        gc.collect()
        real(self)

    monkeypatch.setattr(DuckDB, "close", close)
    client = fill(tmp_path / "store")
    Holder(tmp_path / "other")
    thread = threading.Thread(target=client.clear_system_cache, daemon=True)
    thread.start()
    thread.join(60)
    assert not thread.is_alive()
    with chroma_nb.PersistentClient(tmp_path / "store") as again:
        assert again.get_collection("notes", embedding_function=None).count() == N
