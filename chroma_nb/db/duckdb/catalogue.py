"""`StoredCatalogue`: tenants, databases and collections, each change a transaction in DuckDB."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

from chroma_nb.check_report import CollectionCheck
from chroma_nb.db.base import DB, NO_TEXTS, Extent
from chroma_nb.db.duckdb.cached_catalogue import (
    CatalogueEntry,
    DamagedEntry,
    characters_of_description,
    entry_from_row,
    is_in_step,
    metadata_json,
    schema_text,
    text_bytes,
)
from chroma_nb.db.duckdb.catalogue_checks import BadRowError, uuid, whole
from chroma_nb.db.duckdb.catalogue_rows import read_collections
from chroma_nb.db.duckdb.checkpoint_memory import SAFE_CHECKPOINT_BYTES
from chroma_nb.db.duckdb.schema import COLLECTION_COLUMNS, create_records, insert_defaults
from chroma_nb.db.duckdb.schema_check import check_tables
from chroma_nb.errors import StoreCorruptError, UniqueConstraintError
from chroma_nb.memory.workspace import WORKSPACE
from chroma_nb.words import brief

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import duckdb

    from chroma_nb.db.duckdb.database import Database
    from chroma_nb.db.duckdb.vector_files import VectorFiles
    from chroma_nb.types import CollectionInfo

logger = logging.getLogger("chroma_nb")

#: What DuckDB holds of each collection of a store in memory (measured).
_COLLECTION_BYTES = 56 << 10
#: Memory is checked each time that this many collections were made.
_ROOM_FOR_COLLECTIONS = 64
#: What a checkpoint in memory takes for each collection, up to `SAFE_CHECKPOINT_BYTES` in all.
_CHECKPOINT_BYTES_EACH = 8 << 10
#: A collection that counts more vectors is compared with what there is when the store is opened.
_MANY_LABELS = 10_000_000


class StoredCatalogue(DB):
    """The part of a `DB` that knows which collections there are.

    Args:
        database: The store's DuckDB, not opened yet.
        files: The store's vector files.
    """

    def __init__(self, database: Database, files: VectorFiles) -> None:
        self._database = database
        self._files = files
        self._cached = database.cached
        database.read_catalogue = self._read_catalogue
        #: What is wrong with the tables that were there at opening, by their names; an empty text where nothing is.
        self._tables: dict[str, str] | None = None
        #: The catalogue was read once: from then on tables come and go.
        self._has_read = False

    def _read_catalogue(self) -> None:
        """Read the catalogue from DuckDB into memory; vector files that are open stay so."""
        con = self._database.connection
        if self._tables is None and self.persists:
            self._tables = check_tables(con, repr(self))
        tenants = {name for (name,) in con.execute("SELECT name FROM tenants").fetchall()}
        rows = con.execute("SELECT id, name, tenant, created FROM databases ORDER BY created")
        databases = {
            (tenant, name): self._database_id(database_id, name, created)
            for database_id, name, tenant, created in rows.fetchall()
        }
        entries: dict[UUID, CatalogueEntry] = {}
        by_name: dict[tuple[str, str, str], UUID] = {}
        damaged: list[DamagedEntry] = []
        tails = "tail_rows, tail_sum" if self._database.has_checksums else "NULL, NULL"
        columns = f"{COLLECTION_COLUMNS}, {tails}, text_sizes, padding, schema"
        for row in read_collections(con, columns, self._database.memory_share):
            try:
                entry = entry_from_row(row)
                self._check_entry(con, entry, entries)
                info = entry.info
                if by_name.setdefault((info.tenant, info.database, info.name), info.id) != info.id:
                    raise BadRowError("its name is there twice")
            except BadRowError as error:
                damaged.append(self._damaged(row, str(error)))
                continue
            key = entry.info.id, entry.extent.generation
            before = self._cached.entries.get(entry.info.id)
            if before is not None and before.extent.generation == entry.extent.generation:
                entry.vectors = before.vectors
            entry.vectors = self._files.compacting.get(key, entry.vectors)
            if entry.vectors is not None and not is_in_step(entry, entry.vectors.sums):
                # A commit succeeded after its writer was told that it had failed, or was interrupted.
                try:
                    self._files.attach_sums(entry, entry.vectors)
                except StoreCorruptError:
                    # Raised again when this collection is used. The others must stay usable.
                    entry.vectors = None
            entry.touched = self._cached.touched
            entries[entry.info.id] = entry
        last = con.execute(
            "SELECT max(created) FROM (SELECT created FROM databases UNION ALL "
            "SELECT created FROM collections)"
        ).fetchall()
        there = {(key, entry.extent.generation) for key, entry in entries.items()}
        gone = [
            entry
            for key, entry in self._cached.entries.items()
            if (key, entry.extent.generation) not in there
        ]
        cached = self._cached
        # One assignment: other threads may be reading, and an interrupt may come between two statements.
        (
            cached.tenants,
            cached.databases,
            cached.created,
            cached.entries,
            cached.by_name,
            cached.damaged,
            cached.described,
        ) = tenants, databases, last[0][0] or 0, entries, by_name, damaged, None
        self._has_read = True
        for entry in gone:
            self._files.drop(entry)

    def _database_id(self, stored: Any, name: str, created: Any) -> UUID:
        """Return the id of a tenant's database, as it is stored."""
        try:
            whole(created, "created")
            return uuid(stored, "id")
        except BadRowError as error:
            raise StoreCorruptError(
                f"The catalogue of {self!r} has an entry for database [{brief(name)}] that cannot be right: {error}. "
                "Restore the store from a backup."
            ) from error

    def _check_entry(
        self,
        con: duckdb.DuckDBPyConnection,
        entry: CatalogueEntry,
        others: dict[UUID, CatalogueEntry],
    ) -> None:
        """Compare an entry with the tables that it names; `BadRowError` where they do not belong together."""
        info, extent = entry.info, entry.extent
        if info.id in others:
            raise BadRowError("its id is there twice")
        if self._tables is not None:
            table = f"records_{info.id.hex}_{extent.generation}"
            wrong = self._tables.get(table, "" if self._has_read else "its table is missing")
            if wrong:
                raise BadRowError(wrong)
        if extent.next_label <= _MANY_LABELS or not self.persists:
            return
        # Work and memory are proportional to the labels, so a number that large is not believed without proof.
        there = self._files.stored_rows(con, entry)
        if there < extent.next_label:
            raise BadRowError(
                f"it counts {extent.next_label:,} vectors, of which {there:,} can be there"
            )

    def _damaged(self, row: Sequence[Any], problem: str) -> DamagedEntry:
        """Return what is known of a collection whose row cannot be right."""
        try:
            collection_id = str(uuid(row[0], "id"))
        except BadRowError:
            collection_id = None
        tenant, database, name = (str(one) for one in (row[2], row[3], row[1]))
        one = DamagedEntry(collection_id, tenant, database, name, problem, repr(self))
        if one not in self._cached.damaged:
            logger.warning("%s", one.error)
        return one

    def damaged_collections(self) -> list[CollectionCheck]:
        self._database.reload_if_stale()
        return [
            CollectionCheck(one.name, one.tenant, one.database, 0, problems=[one.problem])
            for one in self._cached.damaged
        ]

    def damage_of(
        self, collection_id: object, tenant: str, database: str, name: str
    ) -> StoreCorruptError | None:
        """Return the error of a collection whose row, with this id, cannot be right; None: it can."""
        for one in self._cached.damaged:
            is_named = (one.tenant, one.database, one.name) == (tenant, database, name)
            if is_named and one.collection_id in (None, str(collection_id)):
                return one.error
        return None

    def reset(self) -> None:
        with self._database.changing():
            with self._database.small_transaction() as con:
                for entry in self._cached.entries.values():
                    self._delete_collection(con, entry)
                self._drop_damaged(con, self._cached.damaged)
                con.execute("DELETE FROM collections")
                con.execute("DELETE FROM databases")
                con.execute("DELETE FROM tenants")
                insert_defaults(con)
            self._database.load_catalogue()

    # -- tenants and databases ----------------------------------------------------------------

    def create_tenant(self, name: str) -> None:
        with self._database.changing():
            if name in self._cached.tenants:
                raise UniqueConstraintError(f"Tenant [{name}] already exists")
            with self._database.small_transaction() as con:
                con.execute("INSERT INTO tenants VALUES (?)", [name])
            self._cached.tenants.add(name)

    def has_tenant(self, name: str) -> bool:
        self._database.reload_if_stale()
        return name in self._cached.tenants

    def create_database(self, name: str, tenant: str) -> UUID:
        with self._database.changing():
            if (tenant, name) in self._cached.databases:
                raise UniqueConstraintError(f"Database [{name}] already exists")
            database_id = uuid4()
            with self._database.small_transaction() as con:
                row = [str(database_id), name, tenant, self._cached.next_created()]
                con.execute("INSERT INTO databases VALUES (?, ?, ?, ?)", row)
            self._cached.databases[tenant, name] = database_id
            return database_id

    def find_database(self, name: str, tenant: str) -> UUID | None:
        self._database.reload_if_stale()
        return self._cached.databases.get((tenant, name))

    def list_databases(self, tenant: str) -> list[tuple[UUID, str]]:
        self._database.reload_if_stale()
        databases = list(self._cached.databases.items())
        return [(key, name) for (owner, name), key in databases if owner == tenant]

    def delete_database(self, name: str, tenant: str) -> None:
        with self._database.changing():
            entries = [
                self._database.entry(info.id) for info in self.list_collections(tenant, name)
            ]
            with self._database.small_transaction() as con:
                for entry in entries:
                    self._delete_collection(con, entry)
                damaged = self._cached.damaged
                self._drop_damaged(
                    con, [one for one in damaged if (one.tenant, one.database) == (tenant, name)]
                )
                for table, column in (("collections", "database"), ("databases", "name")):
                    con.execute(
                        f"DELETE FROM {table} WHERE {column} = ? AND tenant = ?", [name, tenant]
                    )
            self._database.load_catalogue()

    # -- collections --------------------------------------------------------------------------

    def create_collection(self, info: CollectionInfo) -> None:
        n = len(self._cached.entries)
        if n % _ROOM_FOR_COLLECTIONS == 0 and n and not self.persists:
            # DuckDB does not count this memory against its limit, so it is checked here. What the next checkpoint takes is
            # left free: without it, what is deleted could not be freed any more.
            WORKSPACE.take_all(
                _ROOM_FOR_COLLECTIONS * _COLLECTION_BYTES
                + min(n * _CHECKPOINT_BYTES_EACH, SAFE_CHECKPOINT_BYTES),
                f"A store in memory with more than {n:,} collections",
                "keep them in a folder, where each takes a third: PersistentClient(path)",
                "make one collection of several, with a metadata key that tells them apart",
                "delete collections",
            ).give_back()
        self._check_catalogue(info, characters_of_description(info))
        self._database.retry_with_freed_memory(lambda: self._create_collection(info))

    def _check_catalogue(self, info: CollectionInfo, more: int) -> None:
        """Refuse a description, of `more` bytes, where the store could not write all of them to the disk any more.

        Raises:
            MemoryBudgetError: There is too little memory for that. Deleting collections is still possible.
        """
        WORKSPACE.take_all(
            self._database.checkpoint_memory.catalogue_bytes(more),
            f"Writing the metadata and configurations of all collections, with those of [{info.name}],",
            "give collections less metadata",
            "delete collections",
            waits=False,
        ).give_back()

    def _create_collection(self, info: CollectionInfo) -> None:
        with self._database.changing():
            key = info.tenant, info.database, info.name
            if key in self._cached.by_name:
                raise UniqueConstraintError(f"Collection [{info.name}] already exists")
            self._cached.check_not_damaged(key=key)
            entry = CatalogueEntry(
                info,
                self._cached.next_created(),
                Extent(0, 0, 0, 0, 0),
                texts=NO_TEXTS,
                description_characters=characters_of_description(info),
            )
            with self._database.small_transaction() as con:
                con.execute(
                    f"INSERT INTO collections ({COLLECTION_COLUMNS}, schema) "
                    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0, 0, 0, 0, NULL, 0, ?)",
                    [
                        str(info.id),
                        info.name,
                        info.tenant,
                        info.database,
                        entry.created,
                        json.dumps(info.configuration),
                        metadata_json(info.metadata),
                        info.dimension,
                        schema_text(info.schema),
                    ],
                )
                con.execute(create_records(entry.table))
            self._cached.remember(entry)

    def find_collection(self, name: str, tenant: str, database: str) -> CollectionInfo | None:
        self._database.reload_if_stale()
        collection_id = self._cached.by_name.get((tenant, database, name))
        if collection_id is None:
            self._cached.check_not_damaged(key=(tenant, database, name))
            return None
        return self._cached.entries[collection_id].info

    def get_collection(self, collection_id: UUID) -> CollectionInfo:
        return self._database.entry(collection_id).info

    def list_collections(
        self, tenant: str | None = None, database: str | None = None
    ) -> list[CollectionInfo]:
        self._database.check_open()
        self._database.reload_if_stale()
        infos = [
            entry.info for entry in sorted(self._cached.entries.values(), key=lambda e: e.created)
        ]
        if tenant is None:
            return infos
        return [info for info in infos if (info.tenant, info.database) == (tenant, database)]

    def update_collection(
        self, collection_id: UUID, change: Callable[[CollectionInfo], CollectionInfo]
    ) -> CollectionInfo:
        with self._database.changing():
            entry = self._database.entry(collection_id)
            old = entry.info
            info = replace(change(old), dimension=old.dimension)
            taken = self._cached.by_name.get((info.tenant, info.database, info.name))
            if taken is not None and taken != info.id:
                raise UniqueConstraintError(f"Collection [{info.name}] already exists")
            self._cached.check_not_damaged(key=(info.tenant, info.database, info.name))
            size = characters_of_description(info)
            if size > entry.description_characters:
                self._check_catalogue(info, size - entry.description_characters)
            with self._database.small_transaction() as con:
                con.execute(
                    "UPDATE collections SET name = ?, metadata = ?, configuration = ?, "
                    "ttl_seconds = ?, schema = ? WHERE id = ?",
                    [
                        info.name,
                        metadata_json(info.metadata),
                        json.dumps(info.configuration),
                        info.ttl_seconds,
                        schema_text(info.schema),
                        str(info.id),
                    ],
                )
            self._cached.by_name.pop((old.tenant, old.database, old.name), None)
            entry.info, entry.description_characters = info, size
            self._cached.remember(entry)
            return info

    def delete_collection(self, collection_id: UUID) -> None:
        with self._database.changing():
            entry = self._database.entry(collection_id)
            with self._database.small_transaction() as con:
                self._delete_collection(con, entry)
            self._cached.forget(entry)
            self._files.drop(entry)

    def _delete_collection(self, con: duckdb.DuckDBPyConnection, entry: CatalogueEntry) -> None:
        con.execute("DELETE FROM collections WHERE id = ?", [str(entry.info.id)])
        con.execute(f'DROP TABLE "{entry.table}"')
        self._files.delete_sums(con, entry.info.id)

    def _drop_damaged(
        self, con: duckdb.DuckDBPyConnection, damaged: Sequence[DamagedEntry]
    ) -> None:
        """Drop the tables of collections whose rows in the catalogue cannot be right."""
        ids = {UUID(one.collection_id) for one in damaged if one.collection_id}
        # A second row may have the id of a collection that is whole.
        stems = {f"records_{one.hex}" for one in ids - self._cached.entries.keys()}
        if not stems:
            return
        tables = con.execute("SELECT table_name FROM duckdb_tables() WHERE NOT internal").fetchall()
        for (table,) in tables:
            stem, _, generation = table.rpartition("_")
            if stem in stems and generation.isdecimal():
                con.execute(f'DROP TABLE "{table}"')

    def sizes(self, collection_ids: Sequence[UUID]) -> list[tuple[int, int, int]]:
        found = super().sizes(collection_ids)
        entries = [self._cached.entries.get(collection_id) for collection_id in collection_ids]
        return [
            (n_records, disk_bytes, 0 if entry is None else text_bytes(entry))
            for (n_records, disk_bytes, _), entry in zip(found, entries, strict=True)
        ]

    def bytes_on_disk(self, collection_id: UUID) -> int:
        entry = self._database.entry(collection_id)
        return 0 if entry.vectors is None else entry.vectors.bytes_on_disk
