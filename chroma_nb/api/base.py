"""`API`: everything a client can ask of a store, in ids, arrays and filters.

`Collection` and `Client` embed, validate and name; an `API` sees texts to embed only where it has others do that. Its
implementations answer alike: in process (`Local`), or over a wire.
"""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

from chroma_nb.api.answers import Found as Found  # noqa: TC001 - and from here by others
from chroma_nb.api.answers import Matches as Matches  # noqa: TC001 - and from here by others
from chroma_nb.api.answers import Records as Records  # noqa: TC001 - and from here by others
from chroma_nb.api.copying import Place, fork_collection
from chroma_nb.api.scanning import EVERYTHING, ScanPiece
from chroma_nb.compact_json import json_text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager
    from uuid import UUID

    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from chroma_nb.api.known import Known
    from chroma_nb.api.scanning import Scan
    from chroma_nb.check_report import CheckReport
    from chroma_nb.memory.report import Estimate, Eviction, MemoryReport
    from chroma_nb.search.expression import Search
    from chroma_nb.settings import Settings
    from chroma_nb.tasks.workers import Workers
    from chroma_nb.types import (
        CollectionInfo,
        FieldSummary,
        IndexingStatus,
        OnConflict,
        RecordBatch,
        UserIdentity,
        Where,
    )


class API(ABC):
    """A store as its clients see it. Safe to use from many threads.

    Methods that name a tenant, database or collection raise `NotFoundError` where there is none.
    `tenant` and `database` say through which door a collection is reached: one of another tenant is
    not found.
    """

    #: Is it made from a `DB` and a `SegmentManager`, ``(db, segments, settings)``, or from the settings alone (`open`)?
    needs_db: ClassVar[bool]
    #: Does it answer without asking another process? Displays ask another one briefly, if at all.
    is_near: ClassVar[bool]
    #: How many ids one call may name; None: as many as there are.
    max_ids: int | None = None
    #: What earlier answers have said, where asking again takes a request: for displays.
    known: Known | None = None
    #: Other processes that compute for it.
    workers: Workers | None = None

    @classmethod
    def open(cls, settings: Settings) -> API:
        """Return one that is made from the settings alone."""
        return cls(settings)  # type: ignore[call-arg]

    def briefly(self, seconds: float, each: float | None) -> AbstractContextManager[None]:
        """Return a context in which calls of this thread are not repeated, and none begins after `seconds`.

        Displays ask in it. Where asking takes no request there is nothing to limit.

        Args:
            seconds: From now.
            each: How long one request may take, seconds; None is what is left of `seconds`.
        """
        return contextlib.nullcontext()

    # -- the store ----------------------------------------------------------------------------

    @abstractmethod
    def heartbeat(self) -> int:
        """Return the store's clock, nanoseconds since 1970."""

    @abstractmethod
    def get_version(self) -> str:
        """Return the version of the store's software."""

    @abstractmethod
    def get_max_batch_size(self) -> int:
        """Return how many records one call should hold."""

    @abstractmethod
    def get_user_identity(self) -> UserIdentity:
        """Return who the store takes the caller for."""

    @abstractmethod
    def reset(self) -> bool:
        """Delete everything; refused unless the settings allow it."""

    def embed(
        self, function: Any, texts: Sequence[Any], on_progress: Callable[[int], object]
    ) -> NDArray[np.float32] | None:
        """Have other processes embed documents: shape (n, dimension), float32. None: the caller embeds them itself.

        Args:
            function: An embedding function.
            texts: n documents or images.
            on_progress: Called with the number of texts that are done, each time.
        """
        return None

    @abstractmethod
    def close(self) -> None:
        """Release every file, lock, thread and byte. Closing twice is allowed."""

    def abandon(self) -> None:
        """Close without writing anything more: the place that the store was opened on is gone."""
        self.close()

    def __enter__(self) -> API:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- tenants and databases ----------------------------------------------------------------

    @abstractmethod
    def create_tenant(self, name: str) -> None:
        """Add a tenant; `UniqueConstraintError` if it exists."""

    @abstractmethod
    def get_tenant(self, name: str) -> str:
        """Return the tenant's name."""

    @abstractmethod
    def create_database(self, name: str, tenant: str) -> None:
        """Add a database; `UniqueConstraintError` if it exists."""

    @abstractmethod
    def get_database(self, name: str, tenant: str) -> UUID:
        """Return the database's id."""

    @abstractmethod
    def list_databases(
        self, tenant: str, limit: int | None = None, offset: int = 0
    ) -> list[tuple[UUID, str]]:
        """Return (id, name) of the tenant's databases in order of creation."""

    @abstractmethod
    def delete_database(self, name: str, tenant: str) -> None:
        """Delete a database with all that is in it."""

    # -- collections --------------------------------------------------------------------------

    @abstractmethod
    def create_collection(
        self,
        name: str,
        configuration: dict[str, Any],
        metadata: dict[str, Any] | None,
        *,
        schema: dict[str, Any] | None = None,
        get_or_create: bool,
        tenant: str,
        database: str,
    ) -> CollectionInfo:
        """Add a collection, or return the one of that name unchanged where `get_or_create`.

        Args:
            name: Its name.
            configuration: All of it.
            metadata: About the collection as a whole.
            schema: Its indexes in Chroma's JSON (`Schema.serialize_to_json`); None is the default one. Where it says more
                than that, it says the configuration, too, and `configuration` has to be the default one.
            get_or_create: Whether the name may be taken.
            tenant: The tenant.
            database: The database.

        Raises:
            InvalidArgumentError: The schema is none, or both it and the configuration say something.
            UniqueConstraintError: The name is taken and `get_or_create` is False.
        """

    @abstractmethod
    def get_collection(self, name: str, *, tenant: str, database: str) -> CollectionInfo:
        """Return the collection of that name."""

    @abstractmethod
    def get_collection_by_id(
        self, collection_id: UUID, *, tenant: str, database: str
    ) -> CollectionInfo:
        """Return the collection of that id."""

    @abstractmethod
    def list_collections(
        self, limit: int | None = None, offset: int = 0, *, tenant: str, database: str
    ) -> list[CollectionInfo]:
        """Return collections in order of creation."""

    @abstractmethod
    def count_collections(self, *, tenant: str, database: str) -> int:
        """Return how many collections the database has."""

    @abstractmethod
    def modify(
        self,
        collection_id: UUID,
        *,
        name: str | None = None,
        metadata: dict[str, Any] | None = None,
        configuration: dict[str, Any] | None = None,
        tenant: str,
        database: str,
    ) -> CollectionInfo:
        """Change name, metadata (replaced whole) or fields of the configuration, and return the new state.

        Args:
            collection_id: Which.
            name: The new name.
            metadata: The new metadata.
            configuration: What changes: fields of ``hnsw``, and ``embedding_function`` as it is to be recorded.
            tenant: The collection's.
            database: The collection's.

        Raises:
            InvalidArgumentError: A field that cannot be changed.
            UniqueConstraintError: The name is taken.
        """

    @abstractmethod
    def delete_collection(self, name: str, *, tenant: str, database: str) -> None:
        """Delete a collection with its records."""

    def fork(
        self,
        collection_id: UUID,
        new_name: str,
        *,
        on_progress: Callable[[int], object] | None = None,
        on_total: Callable[[int], object] | None = None,
        tenant: str,
        database: str,
    ) -> CollectionInfo:
        """Copy a collection under another name, piece by piece, and return the copy.

        Args:
            collection_id: The collection.
            new_name: The copy's. A call that fails leaves what it copied; the same call again copies the rest.
            on_progress: Called with the number of records of each piece that was copied here.
            on_total: Called once, with the number of records that are to be copied here.
            tenant: The tenant.
            database: The database.

        Raises:
            UniqueConstraintError: There is a collection of that name, which is no unfinished copy of this one.
        """
        source = Place(self, collection_id, tenant, database)
        return fork_collection(source, new_name, on_progress, on_total)

    # -- records ------------------------------------------------------------------------------

    def record_bytes(self, collection_id: UUID, *, tenant: str, database: str) -> int | None:
        """Return what a record takes on average: its texts in UTF-8 and its embedding, bytes; None: not known."""
        return None

    @abstractmethod
    def count(self, collection_id: UUID, *, tenant: str, database: str) -> int:
        """Return how many records the collection has."""

    @abstractmethod
    def add(
        self,
        collection_id: UUID,
        batch: RecordBatch,
        *,
        on_conflict: OnConflict = "skip",
        tenant: str,
        database: str,
    ) -> None:
        """Insert records, all or none; every one has an embedding.

        Args:
            collection_id: The collection.
            batch: The records; ids are unique in it.
            on_conflict: What happens to ids that exist: ``skip`` leaves the old record (Chroma's
                way), ``error`` raises, ``replace`` puts the new record in its place, whole.
            tenant: The tenant.
            database: The database.

        Raises:
            InvalidArgumentError: The dimension is not the collection's.
            IDAlreadyExistsError: An id exists, and `on_conflict` is ``error``; nothing was written.
        """

    @abstractmethod
    def update(
        self, collection_id: UUID, batch: RecordBatch, *, tenant: str, database: str
    ) -> None:
        """Change existing records; unknown ids are ignored, missing parts stay, metadata is merged."""

    @abstractmethod
    def upsert(
        self, collection_id: UUID, batch: RecordBatch, *, tenant: str, database: str
    ) -> None:
        """Update records that exist and insert the others; every one has an embedding."""

    @abstractmethod
    def get(
        self,
        collection_id: UUID,
        *,
        ids: Sequence[str] | None = None,
        where: Where | None = None,
        where_document: Where | None = None,
        limit: int | None = None,
        offset: int = 0,
        include: Sequence[str] = ("metadatas", "documents"),
        tenant: str,
        database: str,
    ) -> Records:
        """Return the records that match all conditions, in storage order."""

    def get_columns(self, collection_id: UUID, **asked: Any) -> ScanPiece:
        """Return what `get` returns, whose arguments it takes, as columns: metadata as JSON text. For servers."""
        found = self.get(collection_id, **asked)
        metadatas = None
        if found.metadatas is not None:
            metadatas = [json_text(one) if one else None for one in found.metadatas]
        return ScanPiece(found.ids, found.embeddings, found.documents, metadatas, found.uris)

    @abstractmethod
    def scan(
        self,
        collection_id: UUID,
        *,
        ids: Sequence[str] | None = None,
        where: Where | None = None,
        where_document: Where | None = None,
        include: Sequence[str] = EVERYTHING,
        piece_bytes: int | None = None,
        skip_damaged: bool = False,
        tenant: str,
        database: str,
    ) -> Scan:
        """Return an iterator over the matching records as they are now, in storage order, piece by piece.

        What is written, deleted or compacted afterwards is not seen by it, and waits for it no longer than for a
        piece. Only for a server that cannot do this (Chroma's own) the records are chosen now, and read as they are
        when their piece is due; one that was deleted by then is left out.

        Args:
            collection_id: The collection.
            ids: Only these records; unknown ids are ignored. None is all.
            where: Metadata filter.
            where_document: Document filter.
            include: What to return beside the ids: of ``embeddings``, ``documents``, ``metadatas``, ``uris``.
            piece_bytes: What a piece may have, bytes, where there is that much memory; a single record may have
                more. None: 8 MiB.
            skip_damaged: Leave out records whose embeddings are damaged; each piece says how many (`n_damaged`).
            tenant: The tenant.
            database: The database.

        Returns:
            A `Scan`. It knows `n_records` and `dimension`, and yields a `ScanPiece` at a time: columns of n rows,
            embeddings as float32 of shape (n, dimension), metadata as JSON text.

        Raises:
            InvalidArgumentError: The filter cannot be evaluated.
            MemoryBudgetError: There is no room for it.
        """

    @abstractmethod
    def query(
        self,
        collection_id: UUID,
        embeddings: NDArray[np.float32],
        n_results: int,
        *,
        ids: Sequence[str] | None = None,
        where: Where | None = None,
        where_document: Where | None = None,
        include: Sequence[str] = ("metadatas", "documents", "distances"),
        tenant: str,
        database: str,
    ) -> Matches:
        """Return the nearest matching records of each embedding.

        Args:
            collection_id: The collection.
            embeddings: Shape (n_queries, dimension), float32, C-contiguous.
            n_results: Records wanted for each query, at least 1.
            ids: Only these records. Beside a filter, unknown ids are ignored.
            where: Metadata filter.
            where_document: Document filter.
            include: What to return beside the ids.
            tenant: The tenant.
            database: The database.

        Raises:
            IDNotFoundError: Some of `ids` are unknown, and there is no filter.
            InvalidArgumentError: The dimension is not the collection's.
        """

    @abstractmethod
    def search(
        self,
        collection_id: UUID,
        searches: Sequence[Search],
        *,
        read_level: str = "index_and_wal",
        plans: bool = False,
        tenant: str,
        database: str,
    ) -> list[Found]:
        """Carry out searches, all on one version of the collection; each has an answer of its own.

        Args:
            collection_id: The collection.
            searches: Their queries are embeddings and sparse vectors; texts are embedded before.
            read_level: One of `ReadLevel`. A store of ours is always up to date.
            plans: Say how each `Knn` was answered, too (`Found.plans`).
            tenant: The tenant.
            database: The database.

        Raises:
            InvalidArgumentError: One cannot be carried out; none is then.
            MemoryBudgetError: The answer does not fit into memory.
        """

    @abstractmethod
    def delete(
        self,
        collection_id: UUID,
        *,
        ids: Sequence[str] | None = None,
        where: Where | None = None,
        where_document: Where | None = None,
        limit: int | None = None,
        tenant: str,
        database: str,
    ) -> int:
        """Delete the records that match all conditions; return how many there were."""

    # -- memory and graphs --------------------------------------------------------------------

    @abstractmethod
    def unload(self, collection_id: UUID, *, tenant: str, database: str) -> int:
        """Free the collection's memory and return the bytes (CIP-28112023).

        A hint that changes no answer: the next access loads what it needs. Unloading what is not
        loaded returns 0.
        """

    @abstractmethod
    def load(self, collection_id: UUID, *, tenant: str, database: str) -> int:
        """Bring the collection into memory and return its bytes.

        Raises:
            MemoryBudgetError: It does not fit.
        """

    @abstractmethod
    def unload_all(self, *, tenant: str, database: str) -> int:
        """Unload the database's collections that are not pinned, and return the bytes."""

    @abstractmethod
    def pin(self, collection_id: UUID, pinned: bool, *, tenant: str, database: str) -> None:
        """Load the collection and keep it in memory, or let it go like any other again.

        Raises:
            MemoryBudgetError: It does not fit; it is not pinned then.
        """

    @abstractmethod
    def set_ttl(
        self, collection_id: UUID, seconds: float | None, *, tenant: str, database: str
    ) -> CollectionInfo:
        """Set after how many seconds without use the collection is unloaded; None: the store's interval."""

    @abstractmethod
    def memory_report(
        self, collections: Sequence[UUID] | None = None, *, tenant: str, database: str
    ) -> MemoryReport:
        """Return what the database's collections hold, and the totals of the store and the process.

        Args:
            collections: Only these; None is all of them. One that does not exist is left out.
            tenant: The tenant.
            database: The database.
        """

    @abstractmethod
    def get_memory_budget(self) -> int:
        """Return the bytes that the loaded collections of the store may hold together."""

    @abstractmethod
    def set_memory_budget(self, budget: int | float | str) -> int:
        """Set the budget and return it in bytes; what does not fit is unloaded before this returns.

        Args:
            budget: Bytes, a text such as ``"2 GB"``, a share of the machine's limit such as ``"25%"``, or
                ``"auto"``.

        Raises:
            InvalidArgumentError: It cannot be read.
            MemoryBudgetError: What is pinned is larger.
        """

    @abstractmethod
    def preview_memory_budget(
        self, budget: int | float | str, *, tenant: str, database: str
    ) -> list[Eviction]:
        """Return what setting the budget would unload, in order; collections of others have no name."""

    @abstractmethod
    def estimate_memory(
        self,
        n_records: int,
        dimension: int,
        configuration: dict[str, Any],
        text_bytes: int | None = None,
    ) -> Estimate:
        """Reckon what a collection of this size would take under the budget.

        Args:
            n_records: Records.
            dimension: Floats of each embedding.
            configuration: The collection's, whole.
            text_bytes: Of a record's id, document, uri and metadata, in UTF-8; None: those of a sentence.
        """

    @abstractmethod
    def describe_fields(
        self, collection_id: UUID, n_values: int = 20, *, tenant: str, database: str
    ) -> list[FieldSummary]:
        """Return what the records have in their metadata, without loading the collection.

        Args:
            collection_id: The collection.
            n_values: A key with at most so many different values has them counted.
            tenant: The collection's tenant.
            database: The collection's database.

        Returns:
            The most frequent keys first, at most 200 of them.
        """

    @abstractmethod
    def metadata_keys(self, collection_id: UUID, *, tenant: str, database: str) -> list[str]:
        """Return the keys in the records' metadata by their code points, the first 20,000 (`MOST_METADATA_KEYS`); loads nothing."""

    @abstractmethod
    def indexing_status(self, collection_id: UUID, *, tenant: str, database: str) -> IndexingStatus:
        """Return how much of the collection its graph covers."""

    @abstractmethod
    def build_index(self, collection_id: UUID, *, tenant: str, database: str) -> None:
        """Build the index now, up to the last record, and return when it is done."""

    @abstractmethod
    def explain(
        self,
        collection_id: UUID,
        embeddings: NDArray[np.float32],
        n_results: int,
        *,
        ids: Sequence[str] | None = None,
        where: Where | None = None,
        where_document: Where | None = None,
        tenant: str,
        database: str,
    ) -> dict[str, Any]:
        """Answer a query, and return how that was done instead of the answer."""

    @abstractmethod
    def check(self, *, tenant: str | None, database: str | None) -> CheckReport:
        """Read everything that is on the disk, and say what of it is whole.

        Args:
            tenant: The tenant; None is all of them, with all databases.
            database: The database; None is all of the store.
        """

    @abstractmethod
    def sql(
        self, query: str, parameters: Any = None, *, tenant: str, database: str
    ) -> pd.DataFrame:
        """Run one SELECT, or EXPLAIN of one, over the collections of a database; return a pandas DataFrame.

        Raises:
            InvalidArgumentError: It does not only read, names what is not there, or fails.
            MemoryBudgetError: DuckDB, or the answer, needs more memory than there is.
        """
