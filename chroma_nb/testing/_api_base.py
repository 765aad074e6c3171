"""What the tests of an `API` share: how one is made, and what is written to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pytest

from chroma_nb.search import Search
from chroma_nb.settings import Settings
from chroma_nb.types import RecordBatch

if TYPE_CHECKING:
    import uuid
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from chroma_nb.api.base import API
    from chroma_nb.types import CollectionInfo

TENANT, DATABASE = "default_tenant", "default_database"
PLACE: Any = {"tenant": TENANT, "database": DATABASE}
EVERYTHING = ("documents", "metadatas", "uris", "embeddings")
#: Every call that names a collection, given the API, the collection's id, and tenant and database.
CALLS: dict[str, Callable[..., Any]] = {
    "get_collection_by_id": lambda api, id, at: api.get_collection_by_id(id, **at),
    "modify": lambda api, id, at: api.modify(id, name="other", **at),
    "fork": lambda api, id, at: api.fork(id, "copy", **at),
    "count": lambda api, id, at: api.count(id, **at),
    "add": lambda api, id, at: api.add(id, batch_of(["z"], [[1.0, 0.0]]), **at),
    "update": lambda api, id, at: api.update(id, batch_of(["a"], documents=["z"]), **at),
    "upsert": lambda api, id, at: api.upsert(id, batch_of(["a"], [[1.0, 0.0]]), **at),
    "get": lambda api, id, at: api.get(id, **at),
    "scan": lambda api, id, at: list(api.scan(id, **at)),
    "query": lambda api, id, at: api.query(id, vectors_of([[1.0, 0.0]]), 1, **at),
    "search": lambda api, id, at: api.search(id, [Search(limit=1)], **at),
    "delete": lambda api, id, at: api.delete(id, ids=["a"], **at),
    "unload": lambda api, id, at: api.unload(id, **at),
    "load": lambda api, id, at: api.load(id, **at),
    "pin": lambda api, id, at: api.pin(id, True, **at),
    "set_ttl": lambda api, id, at: api.set_ttl(id, 60, **at),
    "describe_fields": lambda api, id, at: api.describe_fields(id, **at),
    "metadata_keys": lambda api, id, at: api.metadata_keys(id, **at),
    "indexing_status": lambda api, id, at: api.indexing_status(id, **at),
    "build_index": lambda api, id, at: api.build_index(id, **at),
    "explain": lambda api, id, at: api.explain(id, vectors_of([[1.0, 0.0]]), 1, **at),
}


def configuration_of(space: str = "l2") -> dict[str, Any]:
    return {"hnsw": {"space": space, "ef_search": 100}, "spann": None, "embedding_function": None}


def vectors_of(rows: Any) -> np.ndarray:
    return np.ascontiguousarray(rows, dtype=np.float32)


def batch_of(ids: list[str], embeddings: Any = None, **columns: Any) -> RecordBatch:
    return RecordBatch(ids, None if embeddings is None else vectors_of(embeddings), **columns)


def create(api: API, name: str, space: str = "l2", **at: Any) -> CollectionInfo:
    return api.create_collection(
        name, configuration_of(space), None, get_or_create=False, **{**PLACE, **at}
    )


def rows(api: API, collection_id: uuid.UUID) -> dict[str, tuple[Any, ...]]:
    """Return all records by id, in storage order: vector, document, metadata, URI."""
    found = api.get(collection_id, include=EVERYTHING, **PLACE)
    assert found.embeddings is not None
    parts: Any = [found.embeddings.tolist(), found.documents, found.metadatas, found.uris]
    return dict(zip(found.ids, zip(*parts, strict=True), strict=True))


class APITests:
    """An API under test, and a collection in it."""

    #: Names of methods that raise `NotSupportedError`.
    lacks: ClassVar[frozenset[str]] = frozenset()
    #: What an API says that is closed, as a regular expression.
    says_closed: ClassVar[str] = "closed"

    def make_api(self, settings: Settings) -> API:
        """Return an API whose store is empty and may be reset.

        Args:
            settings: `path` is a folder of this test's own, which may be missing, and `temp_path` one for temporary
                files.
        """
        raise NotImplementedError("A subclass says how its API is made.")

    @pytest.fixture
    def api(self, tmp_path: Path) -> Iterator[API]:
        """One whose store is empty."""
        values: Any = {"path": str(tmp_path / "store"), "temp_path": str(tmp_path)}
        api = self.make_api(Settings(**values, allow_reset=True, progress=False))
        yield api
        api.close()

    @pytest.fixture
    def notes(self, api: API) -> uuid.UUID:
        """Three records: a (everything), b (no document), c (no metadata)."""
        info = create(api, "notes")
        batch = batch_of(
            ["a", "b", "c"],
            [[1.0, 0.0], [0.0, 1.0], [2.0, 2.0]],
            metadatas=[{"k": "v", "n": 1}, {"k": "w", "n": 2}, None],
            documents=["alpha", None, "gamma"],
            uris=["file:///a", None, None],
        )
        api.add(info.id, batch, **PLACE)
        return info.id
