"""A store in memory with one collection, as the modules of `segment/` see it."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from chroma_nb.db import DuckDB
from chroma_nb.index import load_engine
from chroma_nb.segment.manager import SegmentManager
from chroma_nb.segment.writer import Writer
from chroma_nb.settings import Settings
from chroma_nb.testing import SharedMemoryDB
from chroma_nb.types import CollectionInfo, RecordBatch
from tests.support.own_index import OwnIndex

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from chroma_nb.db.base import DB
    from chroma_nb.index.base import VectorIndex

CONFIGURATION = {"hnsw": {"space": "l2"}, "spann": None, "embedding_function": None}


def create(db: DB, name: str) -> uuid.UUID:
    """Add a collection to the default database; return its id."""
    info = CollectionInfo(uuid.uuid4(), name, "default_tenant", "default_database", CONFIGURATION)
    db.create_collection(info)
    return info.id


class Store:
    """A store in memory, its segments, and the collection "notes".

    Args:
        temp_path: Where its temporary folder is.
        db: Makes the DB.
        engine: Returns the graph engine.
        collection: The collection, where another process has made it.
    """

    def __init__(
        self,
        temp_path: Path,
        db: Callable[[Settings], DB] = DuckDB,
        engine: Callable[[], type[VectorIndex] | None] = lambda: load_engine("auto"),
        collection: uuid.UUID | None = None,
    ) -> None:
        settings = Settings(
            temp_path=str(temp_path),
            progress=False,
            memory_budget="100 MB",
            idle_unload_seconds=0,
            graph_min_records=100,
        )
        self.db = db(settings)
        self.segments = SegmentManager(self.db, engine, settings)
        self.writer = Writer(self.db, self.segments)
        self.id = collection or self.create("notes")

    def create(self, name: str) -> uuid.UUID:
        return create(self.db, name)

    def write(self, *ids: str, existing: Any = "skip", **columns: Any) -> None:
        """Write records whose documents are their ids, unless columns are given."""
        if not columns:
            columns = {"embeddings": self.vectors(len(ids)), "documents": list(ids)}
        self.writer.write(self.id, RecordBatch(list(ids), **columns), existing)

    def vectors(self, n: int) -> np.ndarray:
        return np.random.default_rng(n).standard_normal((n, 3), dtype=np.float32)

    def texts(self) -> dict[str, tuple[str | None, dict[str, Any] | None]]:
        """Return document and metadata of each record, in storage order."""
        with self.segments.present(self.id) as segment:
            reader = segment.metadata
            found = reader.read(reader.select(), ("documents", "metadatas"))
        assert found.documents is not None
        assert found.metadatas is not None
        columns = zip(found.documents, found.metadatas, strict=True)
        return dict(zip(found.ids, columns, strict=True))

    def slot(self) -> Any:
        return self.segments._slots.get(self.id)

    def close(self) -> None:
        self.segments.close()
        self.db.close()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path)
    yield store
    store.close()


@pytest.fixture
def plain_store(tmp_path: Path) -> Iterator[Store]:
    """A store whose DB is plain dicts, for tests that need no DuckDB, and whose graphs compare with everything."""
    store = Store(tmp_path, SharedMemoryDB, lambda: OwnIndex)
    yield store
    store.close()
