"""`Process`: one of several processes at a shared store, with its own view of one collection."""

from __future__ import annotations

import random
import uuid
from typing import TYPE_CHECKING, Any

import numpy as np

from chroma_nb.segment import writer
from chroma_nb.testing._api_base import EVERYTHING, PLACE
from chroma_nb.testing.local import local_api
from chroma_nb.types import RecordBatch

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

    from chroma_nb.db.base import DB
    from chroma_nb.settings import Settings

DIMENSION = 4


def vector_of(id: str, version: int = 0) -> np.ndarray:
    seed = random.Random(f"{id} {version}")
    return np.array([seed.uniform(-1, 1) for _ in range(DIMENSION)], dtype=np.float32)


class Process:
    """One process: its DB, its segments, and its API."""

    def __init__(self, db: DB, settings: Settings) -> None:
        self.db = db
        self.api = local_api(db, settings)
        self.segments = self.api.segments
        self.id = uuid.UUID(int=0)

    @property
    def slot(self) -> Any:
        return self.segments._slots.get(self.id)

    def batch(self, ids: list[str], version: int, **columns: Any) -> RecordBatch:
        embeddings = np.stack([vector_of(id, version) for id in ids])
        documents = [f"{id} in version {version}" for id in ids]
        metadatas: Any = [{"version": version, "id": id} for id in ids]
        values = {"embeddings": embeddings, "documents": documents, "metadatas": metadatas}
        return RecordBatch(ids, **{**values, **columns})

    def add(self, *ids: str, version: int = 0, on_conflict: Any = "skip") -> None:
        self.api.add(self.id, self.batch(list(ids), version), on_conflict=on_conflict, **PLACE)

    def upsert(self, *ids: str, version: int) -> None:
        self.api.upsert(self.id, self.batch(list(ids), version), **PLACE)

    def update(self, *ids: str, version: int) -> None:
        self.api.update(self.id, self.batch(list(ids), version), **PLACE)

    def delete(self, *ids: str) -> int:
        return self.api.delete(self.id, ids=list(ids), **PLACE)

    def load(self) -> None:
        self.api.load(self.id, **PLACE)

    def records(self) -> dict[str, tuple[Any, ...]]:
        """Return everything, by id in storage order: document, metadata, vector."""
        found = self.api.get(self.id, include=EVERYTHING, **PLACE)
        assert len(set(found.ids)) == len(found.ids)
        assert found.embeddings is not None
        columns = (found.documents, found.metadatas, found.embeddings.tolist())
        return dict(zip(found.ids, zip(*columns, strict=True), strict=True))  # type: ignore[arg-type]

    def nearest(self, id: str, version: int = 0, **asked: Any) -> str:
        found = self.api.query(self.id, vector_of(id, version)[None], 1, **asked, **PLACE)
        return found.ids[0][0]

    def count(self) -> int:
        return self.api.count(self.id, **PLACE)


def record_of(id: str, version: int = 0) -> tuple[Any, ...]:
    vector = vector_of(id, version).tolist()
    return f"{id} in version {version}", {"version": version, "id": id}, vector


def records_of(versions: dict[str, int]) -> dict[str, tuple[Any, ...]]:
    return {id: record_of(id, version) for id, version in versions.items()}


def interfering(
    process: Process, monkeypatch: pytest.MonkeyPatch, *first: Callable[[], object]
) -> None:
    """Have another process commit just before each of the next commits of this one."""
    commit, waiting = process.db.commit, list(first)

    def late(*given: Any) -> Any:
        if waiting:
            waiting.pop(0)()
        return commit(*given)

    monkeypatch.setattr(process.db, "commit", late)
    monkeypatch.setattr(writer, "_LONGEST_WAIT", 0.0)
