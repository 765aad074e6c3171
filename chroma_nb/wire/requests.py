"""What an operation is asked with: `Target`, and one frozen class for each kind of request.

Plain values and arrays, which every transport carries in its own way; `wire.rest_requests` has their JSON. An
operation without a class of its own, such as `count`, needs its target alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    import numpy as np
    from numpy.typing import NDArray

    from chroma_nb.api.scanning import ScanPiece
    from chroma_nb.search.expression import Search
    from chroma_nb.types import OnConflict, RecordBatch, Where


@dataclass(frozen=True)
class Target:
    """What an operation is about; empty where it is about less.

    Args:
        tenant: The tenant.
        database: A database of the tenant.
        collection_id: A collection of the database.
    """

    tenant: str = ""
    database: str = ""
    collection_id: UUID | None = None


@dataclass(frozen=True)
class Request:
    """The arguments of an operation beside its target."""

    @property
    def is_repeatable(self) -> bool:
        """Has doing it twice the same effect as once, where the operation's table says so of others?"""
        return True


@dataclass(frozen=True)
class Name(Request):
    """The name of something in the target: what is looked for, deleted or made, or a copy's."""

    name: str


@dataclass(frozen=True)
class Page(Request):
    """Which part of a list."""

    limit: int | None = None
    offset: int = 0


@dataclass(frozen=True)
class NewCollection(Request):
    """A collection to make.

    Args:
        name: Its name.
        configuration: All of it, or what differs from the defaults; None is nothing.
        metadata: Its metadata.
        get_or_create: Return the one of that name, if there is one.
        schema: Its indexes in Chroma's JSON; None is the default one.
    """

    name: str
    configuration: dict[str, Any] | None
    metadata: dict[str, Any] | None
    get_or_create: bool
    schema: dict[str, Any] | None = None

    @property
    def is_repeatable(self) -> bool:
        """The second time the name would be taken."""
        return self.get_or_create


@dataclass(frozen=True)
class CollectionChanges(Request):
    """Changes of a collection; None leaves what is there.

    Args:
        name: The new name.
        metadata: The new metadata, whole.
        configuration: What changes: parameters of ``hnsw`` and ``spann``, and ``embedding_function``.
    """

    name: str | None = None
    metadata: dict[str, Any] | None = None
    configuration: dict[str, Any] | None = None


@dataclass(frozen=True, eq=False)
class Write(Request):
    """Records to add, update or upsert.

    Args:
        batch: The records.
        on_conflict: For `add`: what happens to ids that exist.
    """

    batch: RecordBatch
    on_conflict: OnConflict = "skip"

    @property
    def is_repeatable(self) -> bool:
        """With ``error`` the second time would find the ids that the first one wrote."""
        return self.on_conflict != "error"


@dataclass(frozen=True)
class Get(Request):
    """Which records, and what of them.

    Args:
        ids: Only these; None is all.
        where: Metadata filter.
        where_document: Document filter.
        limit: At most so many; None is all.
        offset: Leave out so many first.
        include: What to return beside the ids.
        columns: Answer with columns (`ScanPiece`) instead of `Records`: a transport sends them as they are.
    """

    ids: Sequence[str] | None = None
    where: Where | None = None
    where_document: Where | None = None
    limit: int | None = None
    offset: int = 0
    include: Sequence[str] = ("metadatas", "documents")
    columns: bool = False


@dataclass(frozen=True)
class ScanStep(Request):
    """A step of a scan: its beginning, a further piece, or its end. Each can be asked for again.

    Args:
        scan: The token of the scan that goes on; "": a new one begins, for which the rest below counts.
        piece: The number of the piece that is wanted; the first one, 0, comes with the beginning.
        close: Read no further.
        ids: Only these; None is all.
        where: Metadata filter.
        where_document: Document filter.
        include: What to return beside the ids.
        piece_bytes: What a piece may have, bytes; None is the server's choice.
        skip_damaged: Leave out records whose embeddings are damaged.
        key: The token that a new scan is to have. Its client can close it although the answer was lost, or begin it again
            and get the same one. "": the server chooses.
    """

    scan: str = ""
    piece: int = 0
    close: bool = False
    ids: Sequence[str] | None = None
    where: Where | None = None
    where_document: Where | None = None
    include: Sequence[str] = ("embeddings", "documents", "metadatas", "uris")
    piece_bytes: int | None = None
    skip_damaged: bool = False
    key: str = ""


@dataclass(frozen=True, eq=False)
class ScanAnswer:
    """What a server says to a `ScanStep`.

    Args:
        scan: The scan's token.
        n_records: How many records it has.
        dimension: Floats of an embedding, 0 where there are none.
        piece: The piece; None: there is no more, and the scan is closed.
    """

    scan: str
    n_records: int
    dimension: int
    piece: ScanPiece | None


@dataclass(frozen=True, eq=False)
class Query(Request):
    """Queries, and what to return of the records that are found; `explain` returns how they were found instead.

    Args:
        embeddings: Shape (n_queries, dimension), float32, C-contiguous.
        n_results: Records for each query.
        ids: Only these; None is all.
        where: Metadata filter.
        where_document: Document filter.
        include: What to return beside the ids.
    """

    embeddings: NDArray[np.float32]
    n_results: int
    ids: Sequence[str] | None = None
    where: Where | None = None
    where_document: Where | None = None
    include: Sequence[str] = ("metadatas", "documents", "distances")


@dataclass(frozen=True, eq=False)
class SearchRequest(Request):
    """Searches, whose queries are embeddings and sparse vectors.

    Args:
        searches: The searches.
        read_level: One of Chroma's.
        positions: Say where each `Knn` found each record. Chroma's clients do not ask for that.
        plans: Say how each `Knn` was answered.
    """

    searches: Sequence[Search]
    read_level: str = "index_and_wal"
    positions: bool = True
    plans: bool = False


@dataclass(frozen=True)
class Delete(Request):
    """Which records to delete.

    Args:
        ids: Only these; None is all that match.
        where: Metadata filter.
        where_document: Document filter.
        limit: At most so many; None is all.
    """

    ids: Sequence[str] | None = None
    where: Where | None = None
    where_document: Where | None = None
    limit: int | None = None


@dataclass(frozen=True)
class Pin(Request):
    """Keep a collection in memory, or let it go like any other."""

    pinned: bool


@dataclass(frozen=True)
class TimeToLive(Request):
    """After how many seconds without use a collection is unloaded; None is the store's interval."""

    seconds: float | None


@dataclass(frozen=True)
class Report(Request):
    """Of which collections; None is all."""

    collections: Sequence[UUID] | None = None


@dataclass(frozen=True)
class Budget(Request):
    """Bytes, ``"2 GB"``, ``"25%"`` or ``"auto"``."""

    budget: int | float | str


@dataclass(frozen=True)
class Estimate(Request):
    """A collection that may be made.

    Args:
        n_records: Its records.
        dimension: Floats of an embedding.
        configuration: All of it, or what differs from the defaults; None is nothing.
        text_bytes: Of a record's texts, in UTF-8; None: those of a sentence.
    """

    n_records: int
    dimension: int
    configuration: dict[str, Any] | None = None
    text_bytes: int | None = None


@dataclass(frozen=True)
class Fields(Request):
    """A key with at most `n_values` different values has them counted."""

    n_values: int = 20
