"""`VectorFiles`: the vector files of a store and what DuckDB knows of them, the checksums of their blocks.

The checksums of full blocks are in the table ``vector_sums``, that of the rows after these in the collection's row.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections import deque
from typing import TYPE_CHECKING

from chroma_nb.check_report import some_ids
from chroma_nb.db.block_sums import SUM_BYTES, BlockSums, rows_per_block
from chroma_nb.db.duckdb.cached_catalogue import close_vectors
from chroma_nb.db.read_again import read_again
from chroma_nb.db.vector_file import HEADER_BYTES, VectorFile
from chroma_nb.errors import InternalError, StoreCorruptError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    import duckdb

    from chroma_nb.db.block_sums import Block, Growth
    from chroma_nb.db.duckdb.cached_catalogue import CatalogueEntry
    from chroma_nb.db.duckdb.database import Database
    from chroma_nb.db.temp_folder import TempFolder

logger = logging.getLogger("chroma_nb")

#: This many vector files are kept open, with what is known of their checksums.
_RECENT_FILES = 1_024


class VectorFiles:
    """Vectors in unnamed temporary files, which have no checksums.

    Args:
        database: The store's DuckDB.
        temp: The folder for temporary files.
    """

    def __init__(self, database: Database, temp: TempFolder) -> None:
        self._database = database
        self._temp = temp
        #: The vector files that were used last. Others are closed and checked again when they are next used: what is
        #: known of ten thousand collections would take 20 MB.
        self.recent: deque[VectorFile] = deque(maxlen=_RECENT_FILES)
        #: Vector files of compactions under way, by collection and generation.
        self.compacting: dict[tuple[UUID, int], VectorFile] = {}

    @property
    def is_closing(self) -> bool:
        """The store is being closed: nothing is repeated any more."""
        return self._database.is_closing

    def wait_for_writer(self) -> None:
        """Wait for a thread that is writing, for a moment."""
        self._database.wait_for_writer()

    # -- files --------------------------------------------------------------------------------

    def path(self, entry: CatalogueEntry) -> str | None:
        """Return the path of a vector file; None for one without a name."""
        return None

    def open(self, entry: CatalogueEntry, dimension: int, *, create: bool) -> VectorFile:
        """Open the vector file of one generation of a collection; `attach_sums` comes next.

        Args:
            entry: The collection, of that generation.
            dimension: Floats per vector.
            create: Make it anew, without rows.

        Raises:
            StoreCorruptError: It should be there and is missing, or is of another format or dimension.
            OSError: It cannot be opened or written.
        """
        return VectorFile(
            self.path(entry),
            dimension,
            folder=self._temp.path,
            spare_path=self._spare_path(entry),
            fsync=False,
        )

    def _spare_path(self, entry: CatalogueEntry) -> str:
        """Return the name that a vector file gets where there are too many without one."""
        return os.path.join(self._temp.path, f"{entry.file_stem}.f32")

    def remove(self, entry: CatalogueEntry) -> None:
        """Delete the files of one generation of a collection. One without a name is gone once it is closed."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._spare_path(entry))

    def of(self, collection_id: UUID) -> VectorFile:
        """Return a collection's vector file, which is opened where it is not open.

        Raises:
            InternalError: The collection never had a vector.
            StoreCorruptError: The file is missing, or DuckDB's checksums do not fit it.
        """
        with self._database.write_lock:
            # Within the lock: while this thread waits for it, another may reopen the database and read the catalogue
            # again. An entry from before would get a second object for the same file, which never learns what is added.
            entry = self._database.entry(collection_id)
            vectors = entry.vectors
            if vectors is None:
                if entry.info.dimension is None:
                    raise InternalError(f"Collection [{entry.info.name}] has no vectors yet.")
                create = entry.extent.next_label == 0
                vectors = self.open(entry, entry.info.dimension, create=create)
                self.attach_sums(entry, vectors)
                if vectors.sums is None:
                    vectors.check_length(entry.extent.next_label)
                entry.vectors = vectors
            self.recent.append(vectors)
            return vectors

    def writable(self, entry: CatalogueEntry, dimension: int) -> VectorFile:
        """Return the collection's vector file, with checksums that a commit can add to."""
        if entry.vectors is not None and entry.vectors.dimension != dimension:
            # The collection's first write failed and fixed no dimension; this one has another.
            close_vectors(entry)
        vectors = entry.vectors
        if vectors is None:
            create = entry.extent.next_label == 0
            vectors = self.open(entry, dimension, create=create)
            self.attach_sums(entry, vectors)
            entry.vectors = vectors
        self.recent.append(vectors)
        if self._database.persists and vectors.sums is None:
            # An older chroma_nb has written it, without checksums.
            sums = vectors.compute_sums(entry.extent.next_label)
            collection_id = entry.info.id
            vectors.check_against(sums, lambda blocks: self._report_damage(collection_id, blocks))
        return vectors

    def drop(self, entry: CatalogueEntry) -> None:
        """Close and delete the files of an entry that is no longer in DuckDB's catalogue."""
        if entry.info.id not in self._database.cached.entries:
            self._database.cached.touched.discard(entry.info.id)
            self._database.checkpoint_memory.forget(entry.info.id)
        self._database.checkpoint_memory.chunk_bytes.pop(
            (entry.info.id, entry.extent.generation), None
        )
        close_vectors(entry)
        try:
            self.remove(entry)
        except OSError as error:
            # The collection is deleted all the same. Its files are orphans: after the next opening a write removes them.
            logger.warning("Files of a deleted collection could not be removed: %s", error)

    # -- checksums ----------------------------------------------------------------------------

    def attach_sums(self, entry: CatalogueEntry, vectors: VectorFile) -> None:
        """Have a vector file check its rows against the checksums that DuckDB has of them, if any.

        Raises:
            StoreCorruptError: DuckDB's checksums are not of as many rows as it counts.
        """
        collection_id, extent = entry.info.id, entry.extent
        if not self._database.persists:
            return
        if extent.next_label == 0:
            sums = BlockSums(vectors.row_bytes)
        elif entry.tail is None:
            vectors.sums = None
            return
        else:
            stored = self._read_sums(entry)
            try:
                sums = BlockSums(vectors.row_bytes, stored, *entry.tail)
            except ValueError as error:
                raise StoreCorruptError(
                    f"The checksums of vectors of collection [{entry.info.name}] in the database of "
                    f"{self._database.name} cannot be read: {error}. Restore the store from a backup."
                ) from error
            if sums.n_rows != extent.next_label:
                raise StoreCorruptError(
                    f"The database of {self._database.name} has checksums of {sums.n_rows:,} vectors of collection "
                    f"[{entry.info.name}], which has {extent.next_label:,}. Restore the store from a backup."
                )
        vectors.check_against(sums, lambda blocks: self._report_damage(collection_id, blocks))

    @read_again
    def _read_sums(self, entry: CatalogueEntry) -> bytes:
        with self._database.reading() as cursor:
            return self._stored_sums(cursor, entry)

    def _stored_sums(self, con: duckdb.DuckDBPyConnection, entry: CatalogueEntry) -> bytes:
        """Return the checksums of the full blocks of a collection, as DuckDB has them."""
        rows = con.execute(
            "SELECT sums FROM vector_sums WHERE collection = ? AND generation = ? ORDER BY first_block",
            [str(entry.info.id), entry.extent.generation],
        ).fetchall()
        return b"".join(piece or b"" for (piece,) in rows)

    def stored_rows(self, con: duckdb.DuckDBPyConnection, entry: CatalogueEntry) -> int:
        """Return how many vectors a collection can have: by its checksums, or else by the size of its file."""
        row_bytes = 4 * (entry.info.dimension or 1)
        if entry.tail is not None:
            n_blocks = len(self._stored_sums(con, entry)) // SUM_BYTES
            return n_blocks * rows_per_block(row_bytes) + entry.tail[0]
        path = self.path(entry)
        with contextlib.suppress(OSError):
            return max(0, os.path.getsize(path or "") - HEADER_BYTES) // row_bytes
        # It is missing, which its first use says.
        return entry.extent.next_label

    def write_sums(
        self, con: duckdb.DuckDBPyConnection, entry: CatalogueEntry, growth: Growth | None
    ) -> tuple[int, int] | tuple[()]:
        """Write the checksums that a commit adds; return (rows, checksum) of the new tail, empty where there is none."""
        if growth is None or entry.vectors is None or entry.vectors.sums is None:
            return ()
        first, found = growth.first_block, growth.sums.tobytes()
        if entry.tail is None:
            # These are the first checksums of the collection. An older chroma_nb may have written vectors before:
            # `writable` has computed theirs.
            first, found = 0, entry.vectors.sums.stored() + found
        if found:
            con.execute(
                "INSERT INTO vector_sums VALUES (?, ?, ?, ?)",
                [str(entry.info.id), entry.extent.generation, first, found],
            )
        return growth.tail_rows, growth.tail_sum

    def delete_sums(self, con: duckdb.DuckDBPyConnection, collection_id: UUID) -> None:
        """Delete the checksums of a collection, within a transaction."""
        if self._database.has_checksums and self._database.persists:
            con.execute("DELETE FROM vector_sums WHERE collection = ?", [str(collection_id)])

    @read_again
    def ids_in(self, collection_id: UUID, blocks: Sequence[Block]) -> list[str]:
        """Return the ids of the records whose vectors are in these blocks, in storage order."""
        entry = self._database.entry(collection_id)
        with self._database.reading() as cursor:
            rows = cursor.execute(
                f'SELECT r.id FROM "{entry.table}" r, '
                "(SELECT unnest(?::BIGINT[]) AS start, unnest(?::BIGINT[]) AS stop) b "
                "WHERE r.label >= b.start AND r.label < b.stop ORDER BY r.sequence",
                [[block.start for block in blocks], [block.stop for block in blocks]],
            ).fetchall()
        return [record_id for (record_id,) in rows]

    def _report_damage(self, collection_id: UUID, blocks: Sequence[Block]) -> None:
        """Raise `StoreCorruptError` where a record's vector is in one of these blocks."""
        entry = self._database.entry(collection_id)
        ids = self.ids_in(collection_id, blocks)
        if not ids:
            return
        n = f"{len(ids):,} record{'' if len(ids) == 1 else 's'}"
        vectors = entry.vectors
        how = "is damaged"
        if vectors is not None and vectors.is_shorter_than(entry.extent.next_label):
            how = "was cut short outside this program"
            if vectors.was_missing or vectors.bytes_on_disk <= HEADER_BYTES:
                # Another process may have made the file anew, without rows.
                how = "was missing, or is without its rows"
        raise StoreCorruptError(
            f"Vector file {self.path(entry)!r} of collection [{entry.info.name}] "
            f"{how}: the embeddings of {n} ({some_ids(ids)}) are not as they were written. Their documents and metadata "
            "are whole: collection.get(ids=[...]). collection.export(path, skip_damaged=True) saves all other "
            "records, and client.check() lists what is damaged. Then restore the file from a backup, or delete "
            "these ids, or give them new embeddings.",
            ids=ids,
        )


def remove_prefix(prefix: str) -> None:
    """Delete the files whose names are this path and a suffix that begins with a dot."""
    folder, name = os.path.split(prefix)
    with contextlib.suppress(FileNotFoundError):
        for found in os.listdir(folder):
            if found.startswith(name + "."):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(os.path.join(folder, found))
