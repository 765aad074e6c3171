"""`check_collection`: reads all of a collection from the disk and reports what is damaged."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chroma_nb.check_report import CollectionCheck, some_ids
from chroma_nb.db.chunks import IS_RECORD
from chroma_nb.db.read_again import read_again
from chroma_nb.db.stored_metadata import read_metadata
from chroma_nb.errors import StoreCorruptError

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

    from chroma_nb.db.block_sums import Block
    from chroma_nb.db.duckdb.cached_catalogue import CatalogueEntry
    from chroma_nb.db.duckdb.database import Database
    from chroma_nb.db.duckdb.records import StoredRecords
    from chroma_nb.db.duckdb.vector_files import VectorFiles


def check_collection(
    store: StoredRecords,
    database: Database,
    files: VectorFiles,
    collection_id: UUID,
    on_bytes: Callable[[int], object],
) -> CollectionCheck:
    """Check one collection; see `DB.check`."""
    entry = database.entry(collection_id)
    info, problems, damaged = entry.info, [], []
    found: list[Block] = []
    try:
        problems += _check_records(store, database, entry, on_bytes)
    except StoreCorruptError as error:
        # Its vectors are read all the same: what can be saved is told by all that is damaged.
        problems.append(str(error))
    try:
        if info.dimension is not None and entry.extent.next_label:
            vectors = files.of(collection_id)
            found = vectors.damaged_blocks(on_bytes)
            damaged = files.ids_in(collection_id, found) if found else []
    except StoreCorruptError as error:
        problems.append(str(error))
    sums = None if entry.vectors is None else entry.vectors.sums
    return CollectionCheck(
        name=info.name,
        tenant=info.tenant,
        database=info.database,
        n_records=entry.extent.n_records,
        n_blocks=0 if sums is None else sums.n_blocks,
        n_damaged_blocks=len(found),
        has_checksums=sums is not None or not entry.extent.next_label or not database.persists,
        damaged_ids=damaged,
        problems=problems,
    )


def _check_records(
    store: StoredRecords,
    database: Database,
    entry: CatalogueEntry,
    on_bytes: Callable[[int], object],
) -> list[str]:
    """Read every record; return a sentence for each thing that is wrong."""
    problems = []
    #: Ids whose metadata is no JSON.
    unreadable: list[str] = []
    for rows in store.scan(entry.info.id):
        n_bytes = 16 * len(rows)
        for text in (*rows.ids, *rows.documents, *rows.uris, *rows.metadatas):
            n_bytes += len(text or "")
        for record_id, text in zip(rows.ids, rows.metadatas, strict=True):
            try:
                read_metadata(text)
            except StoreCorruptError:
                unreadable.append(record_id)
        on_bytes(n_bytes)
    n_records, n_labels, n_ids, first, last = _counts(database, entry)
    extent = entry.extent
    if unreadable:
        n = f"{len(unreadable):,} record{'' if len(unreadable) == 1 else 's'}"
        problems.append(f"the metadata of {n} ({some_ids(unreadable)})")
    if n_records != extent.n_records:
        problems.append(
            f"the catalogue counts {extent.n_records:,} records, there are {n_records:,}"
        )
    if min(n_labels, n_ids) < n_records:
        problems.append("an id or a label is there twice")
    if first < 0 or last >= extent.next_label:
        problems.append("a record names a vector that was never written")
    return problems


@read_again
def _counts(database: Database, entry: CatalogueEntry) -> tuple[int, ...]:
    """Return the numbers of records, of different labels and of different ids, the first label and the last."""
    with database.reading() as cursor:
        found = cursor.execute(
            "SELECT count(*), count(DISTINCT label), count(DISTINCT id), coalesce(min(label), 0), "
            f'coalesce(max(label), -1) FROM "{entry.table}" WHERE {IS_RECORD}'
        ).fetchall()
    counts: tuple[int, ...] = found[0]
    return counts
