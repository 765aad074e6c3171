"""`CheckpointMemory`: what DuckDB holds in memory until the next checkpoint, and what that checkpoint will take."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import duckdb

from chroma_nb.db.chunks import (
    CHUNK_ROWS,
    PADDED_BYTES,
    Padding,
    largest_chunk_bytes,
    padded_chunk_bytes,
)
from chroma_nb.db.memory_share import is_out_of_memory
from chroma_nb.memory.workspace import WORKSPACE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from uuid import UUID

    from chroma_nb.db.base import TextSizes
    from chroma_nb.db.duckdb.cached_catalogue import CachedCatalogue, CatalogueEntry
    from chroma_nb.db.memory_share import MemoryShare
    from chroma_nb.memory.workspace import Grant

#: What DuckDB holds of a small table from one checkpoint to the next, where rows were added (measured in 2.0.1: 25 kB).
UNCHECKPOINTED_BYTES = 32 << 10
#: The same where rows were removed: everything in the same block.
_REMOVALS_BYTES = 320 << 10
#: A checkpoint holds a chunk in two forms (measured: 0.6 to 1.4 times its texts; a text may take a block of its own).
_CHECKPOINT_COPIES = 2
#: What a checkpoint takes besides.
CHECKPOINT_BYTES = 4 << 20
#: In memory a checkpoint gives each changed table blocks of its own, of this size. DuckDB moves them to the temporary folder,
#: but only where its limit makes it, and a store in memory has this much above its limit while a checkpoint runs.
BLOCK_BYTES = 256 << 10
SAFE_CHECKPOINT_BYTES = 32 << 20
#: In a folder a checkpoint tries several compressions of a row group's texts, which takes this many times their bytes
#: (measured: 2). It tries them on texts of up to `_COMPRESSED_TEXT_BYTES`.
_COMPRESSION_COPIES = 2
_COMPRESSED_TEXT_BYTES = 4_096
#: Rows of one of DuckDB's row groups. A checkpoint rewrites a changed row group whole.
GROUP_ROWS = 122_880
#: Up to this many bytes the descriptions of all collections are part of `CHECKPOINT_BYTES`.
_LONG_CATALOGUE = 16 << 20
#: A store in memory makes a checkpoint after about this many bytes were written: it frees the rows that were removed.
CHANGED_BYTES = 16 << 20
#: Bytes that a row takes in DuckDB beside its texts.
ROW_BYTES = 16
#: Measuring a collection's chunks reads all its texts: only when these have grown by this factor since.
_REMEASURE_FACTOR = 1.1


class CheckpointMemory:
    """Which collections the next checkpoint will write, and the memory for that.

    Args:
        cached: The catalogue in memory.
        share: DuckDB's memory limit.
        threads: DuckDB's threads.
        persists: The store is in a folder: only then are texts compressed.
    """

    def __init__(
        self, cached: CachedCatalogue, share: MemoryShare, threads: int, persists: bool
    ) -> None:
        self._cached = cached
        self._share = share
        self._threads = threads
        self._persists = persists
        #: Collections that were written to since the last checkpoint: DuckDB holds more memory for these, ... With the
        #: bytes that the checkpoint rewrites of each, as each write asks for their sum; None where they are not known.
        self.uncheckpointed: dict[UUID, int | None] = {}
        #: ... and most for those of which records were deleted or replaced.
        self.with_removals: set[UUID] = set()
        #: (collection, generation) -> (bytes of the texts of its largest chunk, bytes of all its texts at that time).
        #: A chunk is the 2,048 rows that DuckDB reads at a time.
        self.chunk_bytes: dict[tuple[UUID, int], tuple[int, int]] = {}
        #: About how many bytes were written to a store in memory since the last checkpoint, ...
        self.changed_bytes = 0
        #: ... and at how many the next one is due.
        self.changed_limit = CHANGED_BYTES

    def changed(self, entry: CatalogueEntry) -> None:
        """Take note that a collection is written to."""
        known = entry.texts
        rewritten = None if known is None else _group_bytes(entry, known)
        self.uncheckpointed[entry.info.id] = rewritten

    def measured(self, entry: CatalogueEntry) -> None:
        """Take note that a collection's entry says now what it has after a write."""
        # A checkpoint may have been made after the commit.
        if entry.info.id in self.uncheckpointed:
            self.changed(entry)

    def reloaded(self) -> None:
        """Take note that the catalogue was read again: collections may have more or less than before."""
        for collection_id in list(self.uncheckpointed):
            entry = self._cached.entries.get(collection_id)
            if entry is None:
                self.uncheckpointed[collection_id] = 0
            else:
                self.changed(entry)

    def forget(self, collection_id: UUID) -> None:
        """Leave out a collection that was deleted."""
        self.uncheckpointed.pop(collection_id, None)
        self.with_removals.discard(collection_id)

    def written(self) -> None:
        """Take note that a checkpoint was made."""
        self.uncheckpointed.clear()
        self.with_removals.clear()
        self.changed_bytes, self.changed_limit = 0, CHANGED_BYTES

    def holds_much(self) -> bool:
        """Say whether memory that only a checkpoint frees is more than two thirds of DuckDB's limit."""
        held = (
            len(self.uncheckpointed) * UNCHECKPOINTED_BYTES
            + len(self.with_removals) * _REMOVALS_BYTES
        )
        return 3 * held > 2 * self._share.n_bytes

    def rewritten_bytes(self) -> int:
        """Return the bytes that a checkpoint writes of changed row groups, at most."""
        known = list(self.uncheckpointed.values())
        if None in known:
            # Texts that an older chroma_nb has written are measured when they are first read.
            return sum(_group_bytes(entry, texts) for entry, texts in self.texts())
        return sum(known)  # type: ignore[arg-type]

    def n_bytes(self) -> int:
        """Return an upper bound of the bytes of memory that a checkpoint takes, without trying compressions."""
        need = (self._text_bytes(entry, texts) for entry, texts in self.texts())
        n_bytes = _CHECKPOINT_COPIES * max(need, default=0) + self.catalogue_bytes()
        if not self._persists:
            n_bytes += min(len(self.uncheckpointed) * BLOCK_BYTES, SAFE_CHECKPOINT_BYTES)
        return n_bytes + CHECKPOINT_BYTES

    def catalogue_bytes(self, more: int = 0) -> int:
        """Return what a checkpoint takes for the descriptions of collections, where these are long.

        Args:
            more: Bytes that will be added to them.
        """
        n_bytes = self._cached.description_bytes + more
        return _CHECKPOINT_COPIES * n_bytes if n_bytes > _LONG_CATALOGUE else 0

    def _text_bytes(self, entry: CatalogueEntry, texts: TextSizes) -> int:
        """Return the most bytes of texts that a checkpoint of one collection reads at the same time."""
        at_once = self._groups_at_once(texts)
        most = min(texts.n_bytes, at_once * CHUNK_ROWS * texts.most_in_record)
        if entry.padding == Padding.ALL:
            most = min(most, at_once * padded_chunk_bytes(texts.most_in_record))
        measured = self.chunk_bytes.get((entry.info.id, entry.extent.generation))
        if measured is not None and measured[1] <= texts.n_bytes:
            most = min(most, at_once * measured[0] + texts.n_bytes - measured[1])
        return most

    def _groups_at_once(self, texts: TextSizes) -> int:
        """Return how many row groups of a table DuckDB writes at the same time."""
        n_rows = texts.n_records + texts.n_bytes // PADDED_BYTES
        return min(self._threads, -(-n_rows // GROUP_ROWS) or 1)

    def compression_bytes(self) -> int:
        """Return the bytes of memory that DuckDB takes to try several compressions of texts."""
        if not self._persists:
            return 0
        need = [0]
        for _, texts in self.texts():
            rows = self._groups_at_once(texts) * min(texts.n_records, GROUP_ROWS)
            columns = (texts.ids, texts.documents, texts.uris, texts.metadatas)
            need.append(sum(min(column, rows * _COMPRESSED_TEXT_BYTES) for column in columns))
        return _COMPRESSION_COPIES * max(need)

    def measure_chunks(self, connection: duckdb.DuckDBPyConnection) -> bool:
        """Measure the largest chunks of changed collections, for a lower bound of a checkpoint's memory.

        Args:
            connection: The connection whose database is measured.

        Returns:
            Whether something new was measured.
        """
        least = (
            min(
                min(CHUNK_ROWS, texts.n_records) * texts.row_bytes(),
                self._text_bytes(entry, texts),
            )
            for entry, texts in self.texts()
        )
        grant = self.grant(_CHECKPOINT_COPIES * max(least, default=0))
        if grant is None:
            return False
        is_new = False
        with grant, contextlib.closing(connection.cursor()) as cursor:
            for entry, texts in list(self.texts()):
                key = entry.info.id, entry.extent.generation
                before = self.chunk_bytes.get(key, (0, 0))[1]
                # Measuring reads all texts, so not after every write.
                if before <= texts.n_bytes <= _REMEASURE_FACTOR * before:
                    continue
                try:
                    self.chunk_bytes[key] = largest_chunk_bytes(cursor, entry.table), texts.n_bytes
                    is_new = True
                except duckdb.Error as error:
                    if not is_out_of_memory(error):
                        raise
        return is_new

    def texts(self) -> Iterator[tuple[CatalogueEntry, TextSizes]]:
        """Yield the collections that were written to since the last checkpoint and whose text sizes are known."""
        for collection_id in list(self.uncheckpointed):
            entry = self._cached.entries.get(collection_id)
            if entry is not None and entry.texts is not None:
                yield entry, entry.texts

    def grant(self, n_bytes: int) -> Grant | None:
        """Take the memory of a checkpoint that is not within DuckDB's limit already; return None where it is not free."""
        if self._persists:
            n_bytes = 0 if self._share.is_fixed else n_bytes - self._share.limit
        return WORKSPACE.take_now(max(0, n_bytes))


def _group_bytes(entry: CatalogueEntry, texts: TextSizes) -> int:
    """Return an upper bound of the bytes of a row group of a collection."""
    n_bytes = min(GROUP_ROWS, entry.extent.n_records) * (texts.row_bytes() + ROW_BYTES)
    if entry.padding == Padding.ALL:
        n_bytes = min(n_bytes, GROUP_ROWS * (PADDED_BYTES + ROW_BYTES) + texts.most_in_record)
    return n_bytes
