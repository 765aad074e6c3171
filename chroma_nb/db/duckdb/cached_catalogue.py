"""`CachedCatalogue`: the catalogue as it is kept in memory, one `CatalogueEntry` for each collection."""

from __future__ import annotations

import json
import weakref
from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID

from chroma_nb.db.base import NO_TEXTS, Extent, TextSizes
from chroma_nb.db.chunks import Padding
from chroma_nb.types import CollectionInfo

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from chroma_nb.db.block_sums import BlockSums
    from chroma_nb.db.vector_file import VectorFile


def _no_vectors() -> None:
    return None


@dataclass
class CatalogueEntry:
    """One collection in the cached catalogue."""

    info: CollectionInfo
    created: int
    extent: Extent
    #: How large its texts are; None where the store does not say it, which an older chroma_nb has written.
    texts: TextSizes | None = None
    #: Returns its vector file, or None where that is not open.
    find_vectors: Callable[[], VectorFile | None] = _no_vectors
    #: Rows after the last full block of vectors, and their checksum; None where the DB has no checksums of it.
    tail: tuple[int, int] | None = None
    #: Which records of its table have padding.
    padding: Padding = Padding.NONE
    #: `CachedCatalogue.touched`.
    touched: set[UUID] | None = None

    @property
    def vectors(self) -> VectorFile | None:
        """Its vector file, where that is open.

        A file that can be opened again is held weakly here. Its users and `VectorFiles.recent` keep it alive, so there
        is never a second object for the same file. A temporary one is lost with its object.
        """
        return self.find_vectors()

    @vectors.setter
    def vectors(self, vectors: VectorFile | None) -> None:
        if vectors is None:
            self.find_vectors = _no_vectors
        elif vectors.is_temporary:
            self.find_vectors = lambda: vectors
        else:
            self.find_vectors = weakref.ref(vectors)

    @property
    def table(self) -> str:
        """The name of its table in DuckDB. It is asked for to be used in a statement, so it counts as touched."""
        if self.touched is not None:
            self.touched.add(self.info.id)
        return f"records_{self.info.id.hex}_{self.extent.generation}"

    @property
    def file_stem(self) -> str:
        """The first part of the names of its files: ``<id>.<generation>``."""
        return f"{self.info.id}.{self.extent.generation}"


class CachedCatalogue:
    """A copy in memory of what DuckDB has of tenants, databases and collections.

    Whoever changes DuckDB's holds the write lock, and changes this copy after the commit; see `Transactions.changing`.
    """

    def __init__(self) -> None:
        self.entries: dict[UUID, CatalogueEntry] = {}
        #: (tenant, database, name) -> the collection's id.
        self.by_name: dict[tuple[str, str, str], UUID] = {}
        self.tenants: set[str] = set()
        #: (tenant, name) -> the database's id.
        self.databases: dict[tuple[str, str], UUID] = {}
        #: The last number that a database or a collection got: their order of creation.
        self.created = 0
        #: Collections whose table a statement has named since DuckDB was opened: DuckDB holds some memory for each.
        self.touched: set[UUID] = set()

    def next_created(self) -> int:
        """Return the number of the next database or collection."""
        self.created += 1
        return self.created

    def remember(self, entry: CatalogueEntry) -> None:
        """Add a new entry, or one in the place of an older one of the same collection."""
        info = entry.info
        entry.touched = self.touched
        self.entries[info.id] = entry
        self.by_name[info.tenant, info.database, info.name] = info.id

    def comparable(self) -> list[tuple[Any, ...]]:
        """Return the catalogue in memory as plain values that can be compared with ``==``."""
        collections = [
            (
                str(key),
                *astuple(entry.extent),
                entry.info.name,
                entry.info.ttl_seconds,
                metadata_json(entry.info.metadata),
                json.dumps(entry.info.configuration),
                int(entry.padding),
            )
            for key, entry in sorted(self.entries.items())
        ]
        databases = [(tenant, name, str(key)) for (tenant, name), key in self.databases.items()]
        return [*sorted((tenant,) for tenant in self.tenants), *sorted(databases), *collections]


def entry_from_row(row: Sequence[Any]) -> CatalogueEntry:
    """Return the entry for a row of `schema.COLLECTION_COLUMNS`, tail_rows, tail_sum, text_sizes and padding."""
    info = CollectionInfo(
        id=UUID(row[0]),
        name=row[1],
        tenant=row[2],
        database=row[3],
        configuration=json.loads(row[5]),
        metadata=None if row[6] is None else json.loads(row[6]),
        dimension=row[7],
        ttl_seconds=row[12],
    )
    extent = Extent(row[8], row[9], row[10], row[11], row[13])
    tail = None if row[14] is None else (int(row[14]), int(row[15]))
    texts, padding = _read_texts(row[16], extent), Padding(row[17] or 0)
    return CatalogueEntry(info, row[4], extent, texts=texts, tail=tail, padding=padding)


def _read_texts(stored: str | None, extent: Extent) -> TextSizes | None:
    """Return the sizes that the last commit has stored; None where it stored none.

    Sizes of an earlier version are left from before an older chroma_nb, which stores none, wrote to the collection.
    """
    if not extent.n_records and not extent.next_label:
        return NO_TEXTS
    if stored is None:
        return None
    version, *sizes = json.loads(stored)
    return TextSizes(*sizes) if version == extent.version else None


def text_bytes(entry: CatalogueEntry) -> int:
    """Return the bytes of a collection's texts; 0 where they are not known without reading them."""
    sizes = entry.texts
    return 0 if sizes is None else sizes.row_bytes() * entry.extent.n_records


def stored_texts(sizes: TextSizes | None, extent: Extent) -> str | None:
    """Return what a commit stores of the sizes of texts; `_read_texts` reads it."""
    return None if sizes is None else json.dumps([extent.version, *astuple(sizes)])


def is_in_step(entry: CatalogueEntry, sums: BlockSums | None) -> bool:
    """Say whether the checksums in memory are those that DuckDB has."""
    if entry.tail is None or sums is None:
        return entry.tail is None and sums is None
    return sums.n_rows == entry.extent.next_label and sums.tail == entry.tail


def metadata_json(metadata: dict[str, Any] | None) -> str | None:
    """Return a collection's metadata as it is stored."""
    return None if metadata is None else json.dumps(metadata)


def close_vectors(entry: CatalogueEntry) -> None:
    """Close the vector file of a collection, where it is open."""
    if entry.vectors is not None:
        entry.vectors.close()
        entry.vectors = None
