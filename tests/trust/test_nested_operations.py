"""Operations within other operations of the same thread, and clients that Python frees within an operation."""

from __future__ import annotations

import gc
import threading
import weakref
from typing import TYPE_CHECKING, Any

import numpy as np

import chroma_nb
from chroma_nb.db import DuckDB
from chroma_nb.errors import InternalError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from uuid import UUID

    import pytest

N = 20


class Holder:
    """An object in a reference cycle that holds a client, so that the garbage collector frees both."""

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

    def commit(self: Any, *arguments: Any) -> Any:
        work()
        return real(self, *arguments)

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
        thread.join(180)
        assert not thread.is_alive(), "a lock was lost"


def test_freeing_a_client_within_a_commit_keeps_the_commits_locks(
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


def test_a_call_within_a_commit_keeps_the_commits_locks(
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
    thread.join(180)
    assert not thread.is_alive()
    with chroma_nb.PersistentClient(tmp_path / "store") as again:
        assert again.get_collection("notes", embedding_function=None).count() == N


def test_what_an_interrupted_cell_left_does_not_keep_a_dropped_client_open(tmp_path: Path) -> None:
    client: Any = fill(tmp_path / "store")
    notes = client.get_collection("notes", embedding_function=None)
    notes.query(query_embeddings=[[0.0] * 8], n_results=1)

    def interrupted(segments: Any, collection_id: UUID) -> None:
        segments._slots.get(collection_id).write_lock.acquire()

    interrupted(client.api.segments, notes.id)
    del client, notes
    gc.collect()
    # A background thread closes the store, and needs the lock that this thread has left locked.
    with chroma_nb.PersistentClient(tmp_path / "store") as again:
        assert again.get_collection("notes", embedding_function=None).count() == N


def test_a_store_cannot_be_opened_by_the_thread_that_closes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[Exception] = []
    real = DuckDB.close

    def close(self: Any) -> None:
        try:
            chroma_nb.PersistentClient(tmp_path / "store")
        except InternalError as error:
            said.append(error)
        real(self)

    client = fill(tmp_path / "store")
    with monkeypatch.context() as patch:
        patch.setattr(DuckDB, "close", close)
        client.close()
    assert "in the middle of being closed" in str(said[0])
    with chroma_nb.PersistentClient(tmp_path / "store") as again:
        assert again.get_collection("notes", embedding_function=None).count() == N


def test_a_lock_that_an_interrupt_left_keeps_no_frame_alive(tmp_path: Path) -> None:
    with fill(tmp_path / "store") as client:
        notes = client.get_collection("notes", embedding_function=None)

        class Large:
            pass

        def call() -> weakref.ref[Large]:
            large = Large()
            interrupted()
            notes.count()
            return weakref.ref(large)

        def interrupted() -> None:
            client.api.segments._slots.get(notes.id).write_lock.acquire()

        gc.collect()
        gc.disable()
        try:
            assert call()() is None
        finally:
            gc.enable()
