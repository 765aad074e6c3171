"""Several threads on one collection: no error, no lost record, no record twice."""

from __future__ import annotations

import random
import threading
import time
import traceback
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import chroma_nb

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SECONDS = 4.0
DIMENSION = 16


@pytest.mark.parametrize("store", ["ephemeral", "persistent"])
def test_six_threads(tmp_path: Path, store: str) -> None:
    settings = chroma_nb.Settings(graph_min_records=150, compact_ratio=0.3, allow_reset=True)
    if store == "persistent":
        client = chroma_nb.PersistentClient(tmp_path / "store", settings)
    else:
        client = chroma_nb.EphemeralClient(settings)
        client.reset()
    notes = client.create_collection("notes", embedding_function=None)
    stop = time.monotonic() + SECONDS
    errors: list[Any] = []
    mine: list[dict[str, np.ndarray]] = [{} for _ in range(4)]

    def write(number: int) -> None:
        rng, chance = np.random.default_rng(number), random.Random(number)
        state = mine[number]
        while time.monotonic() < stop:
            ids = [f"{number}-{chance.randrange(400)}" for _ in range(chance.choice([1, 5, 40]))]
            ids = list(dict.fromkeys(ids))
            if chance.random() < 0.25 and state:
                notes.delete(ids=ids)
                for one in ids:
                    state.pop(one, None)
                continue
            vectors = rng.standard_normal((len(ids), DIMENSION)).astype(np.float32)
            notes.upsert(ids=ids, embeddings=vectors, metadatas=[{"of": number}] * len(ids))
            state.update(zip(ids, vectors, strict=True))
            one = chance.choice(ids)
            found = notes.query(query_embeddings=state[one], n_results=1, where={"of": number})
            assert found["ids"] == [[one]], (found["ids"], one)
            assert len(notes.get(where={"of": number}, include=[])["ids"]) == len(state)

    def read() -> None:
        rng = np.random.default_rng(9)
        while time.monotonic() < stop:
            query = rng.standard_normal((3, DIMENSION)).astype(np.float32)
            for ids in notes.query(query_embeddings=query, n_results=20)["ids"]:
                assert len(ids) == len(set(ids))
            notes.get(limit=10, include=["embeddings", "metadatas"])
            notes.count()

    def unload() -> None:
        while time.monotonic() < stop:
            time.sleep(0.03)
            notes.unload()

    def guarded(work: Any, *arguments: Any) -> None:
        try:
            work(*arguments)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(write, number)) for number in range(4)]
    threads += [threading.Thread(target=guarded, args=(work,)) for work in (read, unload)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors, "".join(traceback.format_exception(errors[0]))
    expected = {one: vector for state in mine for one, vector in state.items()}
    got = notes.get(include=["embeddings"])
    assert sorted(got["ids"]) == sorted(expected)
    for one, vector in zip(got["ids"], got["embeddings"], strict=True):
        np.testing.assert_array_equal(vector, expected[one])
    client.close()


@pytest.mark.parametrize("ask", ["get", "query"])
def test_a_pattern_sees_the_texts_that_are_answered_with(ask: str) -> None:
    """The DB matches patterns, also for a loaded collection, and has a commit a moment earlier."""
    texts = ("an early bear", "a late bear")
    with chroma_nb.EphemeralClient(chroma_nb.Settings(compact_ratio=0.9)) as client:
        notes = client.get_or_create_collection(f"texts-{ask}", embedding_function=None)
        ids = [str(n) for n in range(200)]
        notes.add(ids=ids, embeddings=np.eye(200, dtype=np.float32), documents=[texts[0]] * 200)
        gone = threading.Event()

        def write() -> None:
            turn = 0
            while not gone.is_set():
                turn += 1
                notes.update(ids=ids, documents=[texts[turn % 2]] * 200, embeddings=np.eye(200))

        writer = threading.Thread(target=write)
        writer.start()
        try:
            stop = time.monotonic() + 1.5
            while time.monotonic() < stop:
                for pattern, text in zip(("late", "early"), texts, strict=True):
                    where: Any = {"$not_regex": f"{pattern} b"}
                    if ask == "get":
                        found = notes.get(where_document=where)["documents"]
                    else:
                        found = notes.query(
                            query_embeddings=np.eye(200)[:1], n_results=200, where_document=where
                        )["documents"][0]
                    assert set(found) <= {text}
                    assert len(found) in (0, 200)
        finally:
            gone.set()
            writer.join()


def test_a_reader_leaves_nothing_open_that_a_checkpoint_would_wait_for(tmp_path: Path) -> None:
    # In DuckDB 1.3 an answer that is not read to its end keeps a lock on its table.
    with chroma_nb.PersistentClient(tmp_path / "store") as client:
        collection = client.create_collection("notes", embedding_function=None)
        collection.add(ids=["a", "b"], embeddings=[[1.0], [2.0]], metadatas=[{"n": 1}, None])
        db = client.api.db  # type: ignore[attr-defined]
        asks: list[Callable[[], object]] = [
            lambda: db.text_sizes(collection.id),
            lambda: next(iter(db.scan(collection.id))),
            lambda: db.describe_fields(collection.id, 5),
            lambda: db.metadata_keys(collection.id),
            lambda: db.memory_bytes,
            lambda: db.select(collection.id, limit=1),
        ]
        for ask in asks:
            ask()
            collection.upsert(ids=["c"], embeddings=[[3.0]])
            thread = threading.Thread(target=db.settle, daemon=True)
            thread.start()
            thread.join(180)
            assert not thread.is_alive(), "the checkpoint waits for a reader that has gone"
