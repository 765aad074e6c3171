"""`compact`: rewrites a collection without dead rows, as a new generation with files of its own."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from chroma_nb.db.chunks import PADDED_BYTES, WRITES_PADDING, Padding
from chroma_nb.db.duckdb.cached_catalogue import CatalogueEntry
from chroma_nb.db.duckdb.schema import SET_TAIL, create_records
from chroma_nb.memory.workspace import WORKSPACE

if TYPE_CHECKING:
    from uuid import UUID

    from chroma_nb.db.duckdb.database import Database
    from chroma_nb.db.duckdb.records import StoredRecords
    from chroma_nb.db.duckdb.vector_files import VectorFiles

#: A compaction copies vectors in pieces of at most this many bytes.
_COMPACT_BYTES = 32 << 20
#: Each piece is in memory twice: the range that was read from the file, and the live rows of it.
_COMPACT_COPIES = 2


def compact(
    store: StoredRecords, database: Database, files: VectorFiles, collection_id: UUID
) -> None:
    """Rewrite a collection; what an interrupt or an error leaves unfinished is deleted."""
    with database.changing():
        old = database.entry(collection_id)
        if old.info.dimension is None:
            return
        database.add_checksums()
        source = store.vectors(collection_id)
        # Damage that came after a row was checked must not get a right checksum in the new file.
        source.forget_checks()
        extent = old.extent
        pads = WRITES_PADDING and store.text_sizes(collection_id).most_in_record > PADDED_BYTES
        if pads:
            database.allow_padding()
        new = CatalogueEntry(
            old.info,
            old.created,
            replace(extent, generation=extent.generation + 1),
            padding=Padding.ALL if pads else Padding.NONE,
        )
        target = files.open(new, old.info.dimension, create=True)
        # `new` still has the old extent, but its file is empty so far.
        files.attach_sums(replace(new, extent=replace(new.extent, next_label=0)), target)
        key = collection_id, new.extent.generation
        files.compacting[key] = target
        try:
            labels = store.select(collection_id)
            with WORKSPACE.take(len(labels) * _COMPACT_COPIES * source.row_bytes) as room:
                step = (
                    min(room.n_bytes, _COMPACT_BYTES) // (_COMPACT_COPIES * source.row_bytes) or 1
                )
                for start in range(0, len(labels), step):
                    piece = source.read(labels[start : start + step])
                    growth = target.append(start, piece)
                    if growth is not None and target.sums is not None:
                        target.sums.adopt(growth)
            new.extent = replace(new.extent, next_label=len(labels), n_records=len(labels))
            with database.transaction() as con:
                con.execute(create_records(new.table))
                store.record_table(con, old).copy_to(new.table)
                con.execute(f'DROP TABLE "{old.table}"')
                files.delete_sums(con, collection_id)
                tail: tuple[int, ...] = ()
                if target.sums is not None:
                    con.execute(
                        "INSERT INTO vector_sums VALUES (?, ?, 0, ?)",
                        [str(collection_id), new.extent.generation, target.sums.stored()],
                    )
                    tail = new.tail = target.sums.tail
                database.begin_commit()
                con.execute(
                    f"UPDATE collections SET next_label = ?, generation = ?, padding = ?{SET_TAIL if tail else ''} "
                    "WHERE id = ?",
                    [
                        new.extent.next_label,
                        new.extent.generation,
                        int(new.padding),
                        *tail,
                        str(collection_id),
                    ],
                )
        except BaseException:
            # An interrupt may have come after the COMMIT: DuckDB's catalogue says which generation counts.
            database.reload_if_stale()
            del files.compacting[key]
            if database.cached.entries[collection_id].vectors is not target:
                new.vectors = target
                files.drop(new)
            raise
        new.vectors, new.texts = target, old.texts
        database.cached.remember(new)
        del files.compacting[key]
        files.drop(old)
