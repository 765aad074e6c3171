"""`CachedCatalogue`: the catalogue as it is kept in memory, one `CatalogueEntry` for each collection."""

from __future__ import annotations

import json
import weakref
from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING, Any

from chroma_nb.db.chunks import Padding
from chroma_nb.db.duckdb.catalogue_checks import (
    read_extent,
    read_info,
    read_padding,
    read_tail,
    read_texts,
    whole,
)
from chroma_nb.db.own_file import collection_stem
from chroma_nb.errors import StoreCorruptError
from chroma_nb.words import brief

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from uuid import UUID

    from chroma_nb.db.base import Extent, TextSizes
    from chroma_nb.db.block_sums import BlockSums
    from chroma_nb.db.vector_file import VectorFile
    from chroma_nb.types import CollectionInfo


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
    #: Characters of its names, configuration, metadata and schema, as they are stored.
    description_characters: int = 0
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
        return collection_stem(self.info.id, self.extent.generation)


@dataclass(frozen=True)
class DamagedEntry:
    """A row of the catalogue that no store of ours has. Nothing is done with the collection but to say so."""

    #: The first part of the names of its files, as far as it is an id; None: the id cannot be read, so no file may be deleted
    #: as one of no collection.
    collection_id: str | None
    tenant: str
    database: str
    name: str
    #: What is wrong, in words.
    problem: str
    #: How the store is named.
    store: str

    @property
    def error(self) -> StoreCorruptError:
        """The error for a call that names the collection."""
        return StoreCorruptError(
            f"The catalogue of {self.store} has an entry for collection [{brief(self.name)}] that cannot be right: "
            f"{self.problem}. The other collections can be used. Restore the store from a backup; or copy the others "
            "into a new store (client.copy_to(other))."
        )


class CachedCatalogue:
    """A copy in memory of what DuckDB has of tenants, databases and collections.

    Whoever changes DuckDB's holds the write lock, and changes this copy after the commit; see `Transactions.changing`.
    """

    def __init__(self) -> None:
        self.entries: dict[UUID, CatalogueEntry] = {}
        #: (tenant, database, name) -> the collection's id.
        self.by_name: dict[tuple[str, str, str], UUID] = {}
        #: Collections whose rows cannot be right.
        self.damaged: list[DamagedEntry] = []
        self.tenants: set[str] = set()
        #: (tenant, name) -> the database's id.
        self.databases: dict[tuple[str, str], UUID] = {}
        #: The last number that a database or a collection got: their order of creation.
        self.created = 0
        #: Collections whose table a statement has named since DuckDB was opened: DuckDB holds some memory for each.
        self.touched: set[UUID] = set()
        #: The sum of `description_bytes`, as each new collection asks for it; None: to be added up again.
        self.described: int | None = None

    def next_created(self) -> int:
        """Return the number of the next database or collection."""
        self.created += 1
        return self.created

    def remember(self, entry: CatalogueEntry) -> None:
        """Add a new entry, or one in the place of an older one of the same collection."""
        info = entry.info
        entry.touched = self.touched
        before, self.described = self.described, None
        is_new = info.id not in self.entries
        self.entries[info.id] = entry
        if before is not None and is_new:
            self.described = before + entry.description_characters
        self.by_name[info.tenant, info.database, info.name] = info.id

    def redescribe(self, entry: CatalogueEntry, info: CollectionInfo) -> None:
        """Give an entry another description of its collection, of the same name; no other collection is looked at."""
        before, self.described = self.described, None
        old = entry.description_characters
        entry.info, entry.description_characters = info, characters_of_description(info)
        if before is not None:
            self.described = before + entry.description_characters - old

    def forget(self, entry: CatalogueEntry) -> None:
        """Leave out a collection that was deleted; it may be left out already, as the catalogue was read again."""
        info = entry.info
        self.described = None
        self.entries.pop(info.id, None)
        self.by_name.pop((info.tenant, info.database, info.name), None)

    @property
    def description_bytes(self) -> int:
        """About how many bytes the names, configurations, metadata and schemas of all collections have: one for a character."""
        if self.described is None:
            self.described = sum(entry.description_characters for entry in self.entries.values())
        return self.described

    def check_not_damaged(
        self, *, collection_id: UUID | None = None, key: tuple[str, str, str] | None = None
    ) -> None:
        """Raise `StoreCorruptError` where a collection's entry cannot be right.

        Args:
            collection_id: Which one.
            key: Which one: (tenant, database, name).
        """
        for one in self.damaged:
            if one.collection_id == str(collection_id) or key == (
                one.tenant,
                one.database,
                one.name,
            ):
                raise one.error

    def comparable(self) -> list[tuple[Any, ...]]:
        """Return the catalogue in memory as plain values that can be compared with ``==``."""
        collections = [
            (
                str(key),
                *astuple(entry.extent),
                entry.info.name,
                entry.info.ttl_seconds,
                metadata_json(entry.info.metadata),
                schema_text(entry.info.schema),
                json.dumps(entry.info.configuration),
                int(entry.padding),
            )
            for key, entry in sorted(self.entries.items())
        ]
        databases = [(tenant, name, str(key)) for (tenant, name), key in self.databases.items()]
        return [*sorted((tenant,) for tenant in self.tenants), *sorted(databases), *collections]


def entry_from_row(row: Sequence[Any]) -> CatalogueEntry:
    """Return the entry for a row of `schema.COLLECTION_COLUMNS`, tail_rows, tail_sum, text_sizes, padding and schema.

    Raises:
        BadRowError: It is not a row as we write it.
    """
    extent = read_extent(row)
    return CatalogueEntry(
        read_info(row),
        whole(row[4], "created"),
        extent,
        texts=read_texts(row[16], extent),
        tail=read_tail(row),
        padding=read_padding(row[17]),
        description_characters=sum(len(one or "") for one in (*row[1:4], *row[5:7], row[18])),
    )


def text_bytes(entry: CatalogueEntry) -> int:
    """Return the bytes of a collection's texts; 0 where they are not known without reading them."""
    sizes = entry.texts
    return 0 if sizes is None else sizes.row_bytes() * entry.extent.n_records


def stored_texts(sizes: TextSizes | None, extent: Extent) -> str | None:
    """Return what a commit stores of the sizes of texts; `read_texts` reads it."""
    return None if sizes is None else json.dumps([extent.version, *astuple(sizes)])


def is_in_step(entry: CatalogueEntry, sums: BlockSums | None) -> bool:
    """Say whether the checksums in memory are those that DuckDB has."""
    if entry.tail is None or sums is None:
        return entry.tail is None and sums is None
    return sums.n_rows == entry.extent.next_label and sums.tail == entry.tail


def characters_of_description(info: CollectionInfo) -> int:
    """Return the characters of a collection's names, configuration, metadata and schema, as they are stored."""
    texts = info.name, info.tenant, info.database, json.dumps(info.configuration)
    stored = metadata_json(info.metadata), schema_text(info.schema)
    return sum(map(len, texts)) + sum(len(text or "") for text in stored)


def metadata_json(metadata: dict[str, Any] | None) -> str | None:
    """Return a collection's metadata as it is stored."""
    return None if metadata is None else json.dumps(metadata)


def schema_text(schema: dict[str, Any] | None) -> str | None:
    """Return what a collection's schema says beyond the default one, as it is stored."""
    return None if schema is None else json.dumps(schema)


def close_vectors(entry: CatalogueEntry) -> None:
    """Close the vector file of a collection, where it is open."""
    if entry.vectors is not None:
        entry.vectors.close()
        entry.vectors = None
