"""The vocabulary: plain data and type names that every other module shares."""

from __future__ import annotations

import copy
import enum
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from chroma_nb import display, schema_json

if TYPE_CHECKING:
    from uuid import UUID

DEFAULT_TENANT = "default_tenant"
DEFAULT_DATABASE = "default_database"
#: Names of collections, but for a few that Chroma refuses as well: see `validation.check_collection_name`.
COLLECTION_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9._-]{1,510}[a-zA-Z0-9]")

ID: TypeAlias = str
IDs: TypeAlias = list[str]
Document: TypeAlias = str
Documents: TypeAlias = list[str]
URI: TypeAlias = str
URIs: TypeAlias = list[str]
#: Pixels, shape (height, width, channels).
Image: TypeAlias = NDArray[Any]
Images: TypeAlias = list[Image]
#: What an embedding function may be given.
Embeddable: TypeAlias = Documents | Images
Vector: TypeAlias = NDArray[np.float32]
Embedding: TypeAlias = NDArray[np.float32]
Embeddings: TypeAlias = list[Embedding]
#: A metadata value: str, int (64 bit), float (finite), bool, a non-empty list of one of these kinds, a sparse vector.
MetadataValue: TypeAlias = Any
Metadata: TypeAlias = Mapping[str, MetadataValue]
Metadatas: TypeAlias = list[Metadata]
#: The same; None removes a key.
UpdateMetadata: TypeAlias = Mapping[str, MetadataValue]
CollectionMetadata: TypeAlias = dict[str, Any]
UpdateCollectionMetadata: TypeAlias = dict[str, Any]
Where: TypeAlias = dict[str, Any]
WhereDocument: TypeAlias = dict[str, Any]
Include: TypeAlias = list[str]
Space: TypeAlias = Literal["l2", "cosine", "ip"]
OnConflict: TypeAlias = Literal["skip", "error", "replace"]
#: What a write does about ids that exist: those of `OnConflict`; "merge" (upsert); "only" (update).
Existing: TypeAlias = Literal["skip", "error", "replace", "merge", "only"]

SPACES: tuple[Space, ...] = ("l2", "cosine", "ip")
#: Links of a record in a graph (max_neighbors): with one a graph is a rope, and hnswlib has no more than this.
MIN_NEIGHBORS, MAX_NEIGHBORS = 2, 10_000
#: Neighbours that are looked at while a graph is built or searched (ef_construction, ef_search).
MAX_EF = 1_000_000
#: Floats of an embedding: 64 MiB.
MAX_DIMENSION = 1 << 24
#: Metadata keys that are listed at most.
MOST_METADATA_KEYS = 20_000
#: The column of a DataFrame that has the metadata for which there is no column of its own, as dicts.
OTHER_METADATA = "other metadata"
INCLUDES = ("documents", "embeddings", "metadatas", "distances", "uris", "data")


class ReadLevel(str, enum.Enum):
    """Chroma's read levels. A local store is always up to date, so all of them answer alike."""

    INDEX_AND_WAL = "index_and_wal"
    INDEX_ONLY = "index_only"
    INDEX_AND_BOUNDED_WAL = "index_and_bounded_wal"


@dataclass(frozen=True)
class CollectionInfo:
    """What the catalogue knows of one collection; a snapshot, never updated in place."""

    id: UUID
    name: str
    tenant: str
    database: str
    #: ``{"hnsw": {...}, "spann": None, "embedding_function": {...} | None}``, as on Chroma's wire.
    configuration: dict[str, Any]
    metadata: dict[str, Any] | None = None
    #: None until the first embedding is written.
    dimension: int | None = None
    #: Seconds without use after which its memory is given back; None: as the store's settings say.
    ttl_seconds: float | None = None
    #: What its schema says beyond the default one, in Chroma's JSON (`schema_json.stated`); None: nothing.
    schema: dict[str, Any] | None = None

    @property
    def space(self) -> Space:
        """The distance: ``l2``, ``cosine`` or ``ip``."""
        space: Space = self.configuration["hnsw"]["space"]
        return space

    # As Chroma's model of a collection has it: `get_model()["version"]`.
    @property
    def configuration_json(self) -> dict[str, Any]:
        """The configuration as plain values, as on Chroma's wire."""
        return copy.deepcopy(self.configuration)

    @property
    def serialized_schema(self) -> dict[str, Any]:
        """The whole schema as plain values, as on Chroma's wire."""
        return schema_json.complete(self.configuration, self.schema)

    def get_serialized_schema(self) -> dict[str, Any]:
        """The same as `serialized_schema`."""
        return self.serialized_schema

    @property
    def version(self) -> int:
        """Chroma's count of compactions of its distributed store: 0, as of any local one."""
        return 0

    @property
    def log_position(self) -> int:
        """Chroma's place in the log of its distributed store: 0, as of any local one."""
        return 0

    def keys(self) -> tuple[str, ...]:
        """Return the names that can be subscripted."""
        return (
            "id",
            "name",
            "configuration_json",
            "serialized_schema",
            "metadata",
            "dimension",
            "tenant",
            "database",
            "version",
            "log_position",
        )

    def __getitem__(self, name: str) -> Any:
        if name not in self.keys():
            raise KeyError(name)
        return getattr(self, name)


@dataclass
class RecordBatch:
    """Records as they cross the API: one row per id, missing parts None.

    Rows of ``documents``, ``uris`` and ``metadatas`` may be None; in an update None means "leave".
    """

    ids: list[str]
    #: Shape (n, dimension), float32, C-contiguous.
    embeddings: NDArray[np.float32] | None = None
    documents: Sequence[str | None] | None = None
    uris: Sequence[str | None] | None = None
    metadatas: Sequence[Metadata | None] | None = None
    #: Shape (n,), bool: rows whose embedding is given (None: all of them, where embeddings are given).
    embedded: NDArray[np.bool_] | None = field(default=None, repr=False)

    def __len__(self) -> int:
        return len(self.ids)

    def at(self, rows: Sequence[int]) -> RecordBatch:
        """Return some of the rows."""

        def part(values: Sequence[Any] | None) -> list[Any] | None:
            return None if values is None else [values[row] for row in rows]

        chosen = list(rows)
        return RecordBatch(
            ids=[self.ids[row] for row in rows],
            embeddings=None if self.embeddings is None else self.embeddings[chosen],
            documents=part(self.documents),
            uris=part(self.uris),
            metadatas=part(self.metadatas),
            embedded=None if self.embedded is None else self.embedded[chosen],
        )


class Neighbors(NamedTuple):
    """Answer of a vector search; row i answers query i.

    ``labels`` is int64 and ``distances`` float32, both (n_queries, k), nearest first. A row that
    has fewer than k neighbours is padded with label -1 and distance inf.
    """

    labels: NDArray[np.int64]
    distances: NDArray[np.float32]


@dataclass(frozen=True)
class FieldSummary:
    """What the records of a collection have under one metadata key."""

    key: str
    #: Of ``str``, ``int``, ``float``, ``bool``, ``list``, ``SparseVector``, in this order.
    kinds: tuple[str, ...]
    n_records: int
    #: Of the numbers; None where there are none.
    minimum: float | None
    maximum: float | None
    #: Different values, lists and sparse vectors left out; never more than records.
    n_distinct: int
    #: The values and their counts, the most frequent first; empty where there are too many.
    values: list[tuple[str | int | float | bool, int]]
    #: `n_distinct` is an estimate, off by a few per cent: there are too many values to count them.
    is_estimate: bool = False


class IndexingStatus(NamedTuple):
    """How far the graph has got; Chroma's four fields."""

    num_indexed_ops: int
    num_unindexed_ops: int
    total_ops: int
    op_indexing_progress: float

    # As `Displayed` has them: a named tuple has no other bases.
    @property
    def _view(self) -> str:
        return "indexing"

    def _repr_html_(self) -> str | None:
        return display.html(self)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        return display.bundle(self, include, exclude)


class UserIdentity(NamedTuple):
    """Who a store takes a client for."""

    user_id: str
    tenant: str | None = None
    databases: list[str] | None = None
