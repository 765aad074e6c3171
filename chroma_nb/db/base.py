"""`Catalogue` and `DB`: tenants, databases and collections; their records and vectors. Everything else is derived.

A record has a *label*, the row of its vector, and a *sequence* number, its place in storage order (the order in which
ids were first added). Labels are never used twice within one *generation* of a collection. A compaction starts a new
generation.

A DB is *shared* where other processes may write to the same store. Then each process has a *view* of each collection:
the state that it has looked at last. All reads answer from the view, and only `refresh`, `commit` and `compact` move
it. A DB that is not shared has one view, which its own writes move.
"""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from chroma_nb.errors import NotFoundError, NotSupportedError
from chroma_nb.memory.sizes import utf8_length
from chroma_nb.settings import real_path

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from uuid import UUID

    from numpy.typing import NDArray

    from chroma_nb.check_report import CollectionCheck
    from chroma_nb.db.ranking import VectorRanking
    from chroma_nb.db.vector_source import VectorSource
    from chroma_nb.filters.expression import Expression
    from chroma_nb.settings import Settings
    from chroma_nb.types import CollectionInfo, FieldSummary


@dataclass(frozen=True)
class Extent:
    """A collection's counters, which a reader or a writer needs before it starts."""

    n_records: int
    #: The label that the next vector gets; rows at and past it are not committed.
    next_label: int
    #: The sequence number that the next new id gets.
    next_sequence: int
    #: One more with each compaction. Labels of different generations have nothing to do with each other.
    generation: int
    #: A random number that each commit replaces. What was derived from another version is out of date.
    version: int


#: The texts of a record.
TEXT_COLUMNS = ("id", "document", "uri", "metadata")


@dataclass(frozen=True)
class TextSizes:
    """UTF-8 bytes of a collection's texts, by column: what loading them will take.

    They may still count some records that were deleted or replaced.
    """

    #: Records that were counted.
    n_records: int
    ids: int
    documents: int
    uris: int
    metadatas: int
    #: All texts of the longest record; 0 where an older chroma_nb has stored the sizes without it.
    longest: int = 0

    def row_bytes(self, columns: Sequence[str] = TEXT_COLUMNS) -> int:
        """Return the bytes of these columns in an average record."""
        total = self.ids * ("id" in columns) + self.documents * ("document" in columns)
        total += self.uris * ("uri" in columns) + self.metadatas * ("metadata" in columns)
        return -(-total // max(1, self.n_records))

    @property
    def most_in_record(self) -> int:
        """Bytes of the texts of one record at most."""
        return self.longest or self.n_bytes

    @property
    def n_bytes(self) -> int:
        """Bytes of all texts."""
        return self.ids + self.documents + self.uris + self.metadatas

    def plus(self, rows: RecordRows) -> TextSizes:
        """Return the sizes after these rows were written. Records that they replace stay counted."""
        ids, documents, uris, metadatas = rows.lengths.sum(axis=1).tolist()
        return TextSizes(
            n_records=self.n_records + len(rows),
            ids=self.ids + ids,
            documents=self.documents + documents,
            uris=self.uris + uris,
            metadatas=self.metadatas + metadatas,
            longest=max(self.longest, int(rows.text_bytes.max(initial=0))),
        )


@dataclass
class RecordRows:
    """Records as the DB holds them, one row each; metadata as compact JSON text or None.

    A column of texts that was not asked for is empty.
    """

    #: Shape (n,), int64.
    labels: NDArray[np.int64]
    #: Shape (n,), int64.
    sequences: NDArray[np.int64]
    ids: list[str]
    documents: list[str | None]
    uris: list[str | None]
    metadatas: list[str | None]

    def __len__(self) -> int:
        return len(self.labels)

    @cached_property
    def lengths(self) -> NDArray[np.int64]:
        """UTF-8 bytes of the ids, documents, URIs and metadata, int64, shape (4, n). All columns must be there."""
        columns = (self.ids, self.documents, self.uris, self.metadatas)
        return np.array([list(map(utf8_length, column)) for column in columns], dtype=np.int64)

    @property
    def text_bytes(self) -> NDArray[np.int64]:
        """UTF-8 bytes of each row's texts, int64, shape (n,)."""
        return self.lengths.sum(axis=0)  # type: ignore[no-any-return]

    @classmethod
    def empty(cls) -> RecordRows:
        """Return no rows."""
        nothing = np.empty(0, dtype=np.int64)
        return cls(nothing, nothing, [], [], [], [])


#: The sizes of a collection that never had a record.
NO_TEXTS = TextSizes(0, 0, 0, 0, 0)


@dataclass
class Changes:
    """What one commit does, all or nothing.

    The rows of `removed` go first, then `rows` are inserted, so a changed record is in both.
    """

    rows: RecordRows
    #: Shape (m,), int64: labels of the records that are deleted or replaced.
    removed: NDArray[np.int64]
    #: Shape (v, dimension), float32: the vectors of labels first_label .. first_label + v - 1.
    vectors: NDArray[np.float32]
    first_label: int
    #: How many ids of `rows` are new to the collection.
    n_new: int
    #: Set when this commit fixes the collection's dimension.
    dimension: int | None = None
    #: Added to `Extent.n_records`; negative where more records are deleted than added.
    n_records_delta: int = 0
    #: The `Extent.version` that the labels and sequence numbers were taken from. A commit is refused where the
    #: collection is at another one. None: it is not compared.
    base_version: int | None = None
    #: The collection's schema (`CollectionInfo.schema`), where this commit brings metadata keys that it lacks.
    schema: dict[str, Any] | None = None


class Catalogue(ABC):
    """Tenants, databases and collections. Safe for threads; changes are made one after the other.

    A method that names a collection raises `NotFoundError` when there is none. In a shared DB every call sees what
    other processes have made, renamed and deleted.
    """

    # -- tenants and databases ----------------------------------------------------------------

    @abstractmethod
    def create_tenant(self, name: str) -> None:
        """Add a tenant; `UniqueConstraintError` if there is one of that name."""

    @abstractmethod
    def has_tenant(self, name: str) -> bool:
        """Say whether the tenant exists."""

    @abstractmethod
    def create_database(self, name: str, tenant: str) -> UUID:
        """Add a database to a tenant; `UniqueConstraintError` if it is there."""

    @abstractmethod
    def find_database(self, name: str, tenant: str) -> UUID | None:
        """Return the database's id, or None."""

    @abstractmethod
    def list_databases(self, tenant: str) -> list[tuple[UUID, str]]:
        """Return (id, name) of the tenant's databases in order of creation."""

    @abstractmethod
    def delete_database(self, name: str, tenant: str) -> None:
        """Delete a database and all its collections."""

    # -- collections --------------------------------------------------------------------------

    @abstractmethod
    def create_collection(self, info: CollectionInfo) -> None:
        """Add a collection; `UniqueConstraintError` if its name is taken in its database."""

    @abstractmethod
    def find_collection(self, name: str, tenant: str, database: str) -> CollectionInfo | None:
        """Return the collection of that name, or None."""

    @abstractmethod
    def get_collection(self, collection_id: UUID) -> CollectionInfo:
        """Return the collection of that id."""

    @abstractmethod
    def list_collections(
        self, tenant: str | None = None, database: str | None = None
    ) -> list[CollectionInfo]:
        """Return the collections of a database (or all) in order of creation."""

    @abstractmethod
    def update_collection(
        self, collection_id: UUID, change: Callable[[CollectionInfo], CollectionInfo]
    ) -> CollectionInfo:
        """Change a collection's name, metadata, configuration or `ttl_seconds`, and return what it is then.

        Args:
            collection_id: Which.
            change: Returns the new state, given the present one, so that two changes of different fields both
                count. Called under the write lock, so it should be quick.

        Raises:
            UniqueConstraintError: The new name is taken; nothing was changed.
        """

    @abstractmethod
    def delete_collection(self, collection_id: UUID) -> None:
        """Delete a collection, its records and its files."""


class DB(Catalogue):
    """A catalogue, and the records and vectors of its collections. Safe for threads.

    A commit and a compaction of one collection are made one after the other, and atomically: a read sees all of them
    or nothing.
    """

    #: Records outlive the process.
    persists: ClassVar[bool]
    #: Other processes may write to the same store at the same time.
    shared: ClassVar[bool] = False

    # -- life cycle ---------------------------------------------------------------------------

    @classmethod
    def place(cls, settings: Settings) -> str:
        """Return what is equal for settings that name the same store: by default the folder. It is not shown to anybody."""
        return real_path(settings.path)

    @abstractmethod
    def close(self) -> None:
        """Release every file, lock and byte. Closing twice is allowed."""

    def is_there(self) -> bool:
        """Say whether the folder that was opened is still there, and not moved, deleted or replaced."""
        return True

    def damaged_collections(self) -> list[CollectionCheck]:
        """Return what is wrong with collections that are left out of lists, as what the DB has of them cannot be right."""
        return []

    def unnamed_files(self) -> list[str]:
        """Return the paths of vector files that no collection names. The next write deletes those found at opening."""
        return []

    def abandon(self) -> None:
        """Close without writing anything: the folder is gone, or holds another store now."""
        self.close()

    def __enter__(self) -> DB:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @abstractmethod
    def reset(self) -> None:
        """Delete everything, and make the default tenant and database again."""

    # -- records ------------------------------------------------------------------------------

    @abstractmethod
    def extent(self, collection_id: UUID) -> Extent:
        """Return the extent of this process's view of a collection; cheap, no I/O."""

    def one_look(self, *, joins: bool = False) -> contextlib.AbstractContextManager[None]:
        """Be one call: what this thread looks at first may count until the call ends, or until `refresh` has used it.

        So `refresh` moves the view to what `is_behind` has found. Outside of it, each method of the catalogue, `is_behind`
        and `refresh` look again. The default looks each time.

        Args:
            joins: Be part of the call that is under way in this thread, if there is one. Otherwise a new one begins.
        """
        return contextlib.nullcontext()

    def is_behind(self, collection_id: UUID) -> bool:
        """Say whether another process has committed since this one looked last. Moves nothing; asked before each read.

        Called only where the DB is shared. The default always looks again, with `refresh`.
        """
        return True

    def refresh(self, collection_id: UUID) -> Extent:
        """Move the view to what is committed now, and return its extent. No I/O and no lock where not shared.

        The caller keeps readers of the old view out.
        """
        return self.extent(collection_id)

    def changes_since(self, collection_id: UUID, version: int) -> Iterator[Changes] | None:
        """Return the commits between a version and the view, so that what is derived from that version can catch up.

        Args:
            collection_id: The collection.
            version: An earlier `Extent.version`.

        Returns:
            The commits in their order, as they were given to `commit`; several may be made into one. None where they
            are not known any more, as after a compaction: then the records are read again.
        """
        return None

    @abstractmethod
    def commit(self, collection_id: UUID, changes: Changes) -> Extent:
        """Write all changes durably, or none. When it returns, they are acknowledged, and the view has them.

        The caller has taken `commit_bytes` of memory for it.

        Returns:
            The extent after the commit.

        Raises:
            ConflictError: The collection is not at `changes.base_version`; nothing was written.
            InternalError: The disk is full or has failed.
            MemoryBudgetError: There is too little memory; nothing was written.
        """

    def commit_bytes(self, text_bytes: NDArray[np.int64]) -> int:
        """Return the bytes of memory that a commit takes while it runs, beside the changes themselves.

        Args:
            text_bytes: UTF-8 bytes of the texts of each row, int64, shape (n,).
        """
        return 0

    @abstractmethod
    def find_labels(self, collection_id: UUID, ids: Sequence[str]) -> NDArray[np.int64]:
        """Return the label of each id: int64, shape (len(ids),), -1 where there is none."""

    @abstractmethod
    def select(
        self,
        collection_id: UUID,
        expression: Expression | None = None,
        *,
        ids: Sequence[str] | None = None,
        limit: int | None = None,
        offset: int = 0,
    ) -> NDArray[np.int64]:
        """Return the labels of the matching records in storage order: int64, shape (n,).

        Args:
            collection_id: The collection.
            expression: A filter; None matches all.
            ids: Only these records; None is all.
            limit: At most this many; None is all.
            offset: Leave this many matches out first.

        Raises:
            InvalidArgumentError: The filter cannot be evaluated, such as a wrong regular expression.
        """

    @abstractmethod
    def fetch(
        self,
        collection_id: UUID,
        labels: NDArray[np.int64],
        columns: Sequence[str] = TEXT_COLUMNS,
    ) -> RecordRows:
        """Return the records of these labels in the order of `labels`, one row each; unknown labels are left out.

        Args:
            collection_id: The collection.
            labels: int64, shape (n,).
            columns: The texts that are wanted; others are not read.
        """

    def longest_document(self, collection_id: UUID) -> int:
        """Return the UTF-8 bytes of the longest document, or of more: by default of the longest record's texts."""
        return self.text_sizes(collection_id).longest

    @abstractmethod
    def text_sizes(self, collection_id: UUID) -> TextSizes:
        """Return how large the collection's texts are. Cheap: each commit stores it."""

    @abstractmethod
    def describe_fields(self, collection_id: UUID, n_values: int) -> list[FieldSummary]:
        """Return a summary of each metadata key, the most frequent key first; see `API.describe_fields`."""

    @abstractmethod
    def metadata_keys(self, collection_id: UUID) -> list[str]:
        """Return the keys of the metadata; see `API.metadata_keys`."""

    @abstractmethod
    def scan(self, collection_id: UUID) -> Iterator[RecordRows]:
        """Yield every record with all its texts in the order of labels, in pieces that fit into memory.

        The caller keeps writers out.
        """

    @abstractmethod
    def vectors(self, collection_id: UUID) -> VectorSource:
        """Return the collection's vectors, once it has a dimension; valid until compaction, deletion or close.

        What later commits append can be read from it, too. Where the DB is shared, the commit that has fixed the
        dimension may be newer than the view.
        """

    @property
    def ranking(self) -> VectorRanking | None:
        """What compares vectors in the database, where a collection does not fit into memory; None: they are read for that."""
        return None

    @abstractmethod
    def compact(self, collection_id: UUID) -> None:
        """Rewrite a collection without dead rows, labels 0, 1, 2, ... in storage order, as a new generation.

        Where the DB is shared, it gets a new version as well: a write that another process has prepared has old labels.

        Raises:
            ConflictError: Another process has committed since this one looked last; nothing was changed.
        """

    def rows_to_skip(self, collection_id: UUID) -> int:
        """Return how many labels the next commit must leave unused.

        More than 0 where the last block of vectors is damaged, as its checksum cannot be continued. The writer then
        writes this many rows of zeros first, which no record names.
        """
        return 0

    @abstractmethod
    def check(
        self, collection_id: UUID, on_bytes: Callable[[int], object] = lambda _: None
    ) -> CollectionCheck:
        """Read all of a collection from the disk, whatever was checked before, and report what is damaged.

        Args:
            collection_id: The collection.
            on_bytes: Called with the bytes of each piece that was read.
        """

    def settle(self) -> None:
        """Free memory: make a checkpoint and drop caches, where that is possible now. Called when nothing is urgent."""
        return

    # -- memory -------------------------------------------------------------------------------

    @property
    def memory_bytes(self) -> int:
        """Bytes of this process's memory that the database itself holds."""
        return 0

    @property
    def memory_limit(self) -> int:
        """Bytes of memory that the database may hold; what does not fit goes to temporary files. 0: it has no limit."""
        return 0

    def set_memory_limit(self, n_bytes: int) -> None:
        """Change `memory_limit`, unless the settings name one, or there is none."""
        return

    @property
    def is_at_work(self) -> bool:
        """Whether statements are executed at this moment, which take memory of `memory_limit`."""
        return False

    @property
    def working_bytes(self) -> int:
        """Bytes of memory that the database may take for a moment beyond its limit."""
        return 0

    # -- beyond Chroma ------------------------------------------------------------------------

    def sql(self, query: str, parameters: Any, tenant: str, database: str) -> Any:
        """Run one read-only SQL statement, each collection a view; return a pandas DataFrame.

        Raises:
            NotSupportedError: The database has no SQL.
        """
        raise NotSupportedError(f"{type(self).__name__} has no SQL. Use get() and query().")

    @property
    def derived_folder(self) -> str | None:
        """A local folder that belongs to the store, for what is derived from it (`segment/derived_files.py`).

        None: there is none, and a temporary folder is used.
        """
        return None

    def bytes_on_disk(self, collection_id: UUID) -> int:
        """Return the bytes of the collection's own files on this machine."""
        return 0

    def sizes(self, collection_ids: Sequence[UUID]) -> list[tuple[int, int, int]]:
        """Return (records, bytes of files, bytes of texts) of each collection, without reading the collections.

        A collection that was deleted meanwhile has (0, 0, 0).
        """
        found = []
        for collection_id in collection_ids:
            size = 0, 0, 0
            with contextlib.suppress(NotFoundError):
                n_records = self.extent(collection_id).n_records
                size = n_records, self.bytes_on_disk(collection_id), 0
            found.append(size)
        return found
