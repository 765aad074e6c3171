"""What the harness asks of an engine."""

from __future__ import annotations

import importlib.util
from abc import ABC, abstractmethod
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.data import Vectors

#: The graph's parameters, the same in every engine that has an HNSW graph.
GRAPH_M = 16
EF_CONSTRUCTION = 100
EF_SEARCH = 100
TOP_K = 10
#: Rows per call, for engines that don't take everything at once.
BATCH = 5_000


class UnsupportedError(Exception):
    """The engine has no such operation; the text goes into the table."""


@dataclass
class Payload:
    """Records handed to one `Engine.add`: made for it, and dropped after it."""

    ids: list[str]
    vectors: Vectors
    documents: list[str]
    metadatas: list[dict[str, Any]]
    #: Number of the first record in the data set.
    first: int = 0


class Engine(ABC):
    """One vector store, driven the way its documentation shows.

    Args:
        folder: Where a persistent store may write. Exists and is empty.
        dimensions: Length of a vector.
        threads: Threads for building a graph and for many queries in one call.
    """

    #: What stands at the head of the column.
    label: ClassVar[str]
    #: The module timed by the import row.
    module: ClassVar[str]
    #: The distributions whose versions are reported; the engine needs all of them.
    distributions: ClassVar[tuple[str, ...]]
    #: Modules that must be importable besides `module`.
    needs: ClassVar[tuple[str, ...]] = ()
    #: Rows per call of `add` in the main run; 0 is everything in one call.
    batch: ClassVar[int] = BATCH
    #: The graph is complete when `add` returns, so there is no `build`.
    builds_in_add: ClassVar[bool] = False
    #: Holds ids, documents and metadata, and has a filter language.
    is_store: ClassVar[bool] = True

    def __init__(self, folder: Path, dimensions: int, threads: int) -> None:
        self.folder = folder
        self.dimensions = dimensions
        self.threads = threads

    @classmethod
    def missing(cls) -> list[str]:
        """Return the modules that are not installed."""
        return [m for m in (cls.module, *cls.needs) if importlib.util.find_spec(m) is None]

    @classmethod
    def versions(cls) -> str:
        """Return the versions of the engine's distributions as one text."""
        texts = []
        for name in cls.distributions:
            try:
                texts.append(f"{name} {version(name)}")
            except PackageNotFoundError:
                texts.append(f"{name} (source tree)")
        return ", ".join(texts)

    @abstractmethod
    def open(self, capacity: int) -> None:
        """Create the empty store."""

    @abstractmethod
    def add(self, payload: Payload) -> None:
        """Add records; afterwards they are stored and a query finds them."""

    def build(self) -> None:
        """Return when the graph covers every record."""
        raise UnsupportedError("no graph")

    @abstractmethod
    def query(self, vector: Vectors) -> Any:
        """Return the engine's own answer: ids, distances, documents and metadata of the nearest."""

    @abstractmethod
    def ids(self, answer: Any) -> list[str] | list[int]:
        """Read the ids (or record numbers) of an answer; not timed."""

    def lend(self, vectors: Vectors, shards: Any) -> None:  # noqa: B027 - stores need no help
        """Offer the caller's own data to an engine that has no metadata."""

    def query_shard(self, vector: Vectors, shard: int) -> Any:
        """Query among the records whose metadata ``shard`` equals `shard`."""
        raise UnsupportedError("no filter")

    def query_contains(self, vector: Vectors, word: str) -> Any:
        """Query among the records whose document contains `word`."""
        raise UnsupportedError("no documents")

    def query_many(self, vectors: Vectors) -> Any:
        """Query with many vectors in one call."""
        raise UnsupportedError("one query per call")

    def ids_many(self, answer: Any) -> list[list[str]] | list[list[int]]:
        """Read the ids of an answer to `query_many`; not timed."""
        raise UnsupportedError("one query per call")

    def add_one(self, payload: Payload) -> None:
        """Add one record."""
        self.add(payload)

    def get_all(self) -> int:
        """Get every id, document and metadata as Python objects; return how many."""
        raise UnsupportedError("no records")

    def close(self) -> None:  # noqa: B027 - most engines have nothing to close
        """Release the store."""
