"""`Writer`: writes batches of records to a collection, and deletes records.

It hands out labels and sequence numbers, merges what is given with what is there, encodes metadata as JSON text, and
commits. Where another process was first, it looks again and repeats.
"""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from chroma_nb.db.base import Changes, RecordRows
from chroma_nb.errors import ConflictError, InvalidDimensionException
from chroma_nb.schema_json import discovered
from chroma_nb.segment.written_texts import WrittenTexts
from chroma_nb.types import MAX_DIMENSION
from chroma_nb.validation import check_dimension, ids_exist

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from uuid import UUID

    from numpy.typing import NDArray

    from chroma_nb.db.base import DB
    from chroma_nb.filters.expression import Expression
    from chroma_nb.segment.manager import SegmentManager
    from chroma_nb.segment.segment import Segment
    from chroma_nb.types import Existing, RecordBatch

_Result = TypeVar("_Result")

#: A write is tried up to this many times, where another process commits before it each time.
_MOST_TRIES = 50
#: It waits before it tries again: a random time of up to this many seconds, twice as many each time.
_FIRST_WAIT = 0.001
#: It waits no longer than this, seconds.
_LONGEST_WAIT = 0.1


class Writer:
    """Writes to the collections of one store. Safe for threads.

    Args:
        db: The store.
        segments: Holds the records that a write starts from, and takes the commits.
    """

    def __init__(self, db: DB, segments: SegmentManager) -> None:
        self._db = db
        self._segments = segments

    def write(self, collection_id: UUID, batch: RecordBatch, existing: Existing) -> None:
        """Write a batch of records: all of them or none.

        Args:
            collection_id: The collection.
            batch: The records, each id once.
            existing: What to do about ids that the collection has: "skip" leaves those records as they are, "error"
                refuses the batch, "replace" replaces the records whole, "merge" keeps of them what the batch does
                not give. "only" merges as well, and leaves out the ids that the collection does not have.

        Raises:
            InvalidArgumentError: The embeddings are not of the collection's dimension.
            IDAlreadyExistsError: Ids exist, and `existing` is "error".
            MemoryBudgetError: There is not enough memory for it.
            ConflictError: Other processes have written to the collection again and again.
        """
        self._retry_conflicts(collection_id, lambda: self._write(collection_id, batch, existing))

    def delete(
        self,
        collection_id: UUID,
        expression: Expression | None,
        *,
        ids: Sequence[str] | None,
        limit: int | None,
    ) -> int:
        """Delete the matching records, all of them or none; return how many.

        Args:
            collection_id: The collection.
            expression: A filter; None matches all.
            ids: Only these records; None is all.
            limit: At most this many, the first in storage order; None is all.

        Raises:
            ConflictError: Other processes have written to the collection again and again.
        """

        def delete() -> int:
            return self._delete(collection_id, expression, ids, limit)

        return self._retry_conflicts(collection_id, delete)

    def _retry_conflicts(self, collection_id: UUID, work: Callable[[], _Result]) -> _Result:
        """Do what ends in a commit; where another process has committed first, do it again with what is there now."""
        longest_wait = _FIRST_WAIT
        for _ in range(_MOST_TRIES - 1):
            try:
                return work()
            except ConflictError:
                # Of random length: processes that wait equally long meet again.
                time.sleep(random.uniform(0, longest_wait))
                longest_wait = min(2 * longest_wait, _LONGEST_WAIT)
        try:
            return work()
        except ConflictError as error:
            name = self._db.get_collection(collection_id).name
            raise ConflictError(
                f"Collection [{name}] was written to by other processes each of the {_MOST_TRIES} times that this "
                "call tried to; nothing of it was written. Repeat the call, or write more records in each call and "
                "fewer calls."
            ) from error

    def _write(self, collection_id: UUID, batch: RecordBatch, existing: Existing) -> None:
        with self._segments.writing(collection_id) as segment:
            info = self._db.get_collection(collection_id)
            if batch.embeddings is not None and batch.embeddings.shape[1] > MAX_DIMENSION:
                raise InvalidDimensionException(
                    f"Expected embeddings of at most {MAX_DIMENSION:,} dimensions, got {batch.embeddings.shape[1]:,}. "
                    "Embed shorter parts, or store the arrays in files that the metadata names."
                )
            if batch.embeddings is not None and info.dimension is not None:
                check_dimension(info.dimension, batch.embeddings.shape[1], info.name)
            labels = segment.metadata.find(batch.ids)
            is_there = labels >= 0
            if existing == "error" and is_there.any():
                there = [batch.ids[row] for row in np.flatnonzero(is_there).tolist()]
                raise ids_exist(there, len(batch), info.name)
            if existing == "skip":
                rows = np.flatnonzero(~is_there)
            elif existing == "only":
                rows = np.flatnonzero(is_there)
            else:
                rows = np.arange(len(batch))
            if len(rows):
                keep = existing in ("merge", "only")
                self._commit(segment, batch, rows, labels[rows], keep=keep)

    def _commit(
        self,
        segment: Segment,
        batch: RecordBatch,
        rows: NDArray[np.int64],
        labels: NDArray[np.int64],
        *,
        keep: bool,
    ) -> None:
        """Commit some rows of a batch.

        Args:
            segment: Where existing records are read from.
            batch: The records.
            rows: Rows of the batch to write, int64, shape (n,).
            labels: The label of the record that each row changes, -1 for a new one; int64, shape (n,).
            keep: Keep what a row does not give of the record that it changes; else replace it whole.
        """
        info = segment.info
        extent = self._db.extent(info.id)
        is_new = labels < 0
        n_new = int(np.count_nonzero(is_new))
        sequences = np.empty(len(rows), dtype=np.int64)
        sequences[is_new] = np.arange(extent.next_sequence, extent.next_sequence + n_new)
        # New vectors take the next labels; a record whose vector stays keeps its label.
        is_embedded = _embedded(batch, rows)
        n_vectors = int(np.count_nonzero(is_embedded))
        new_labels = labels.copy()
        new_labels[is_embedded] = np.arange(extent.next_label, extent.next_label + n_vectors)
        is_whole = len(rows) == len(batch)
        chosen: Any = slice(None) if is_whole else rows
        texts = WrittenTexts(batch, rows, labels, sequences, segment.metadata, keep=keep)
        vectors = np.empty((0, info.dimension or 0), dtype=np.float32)
        if batch.embeddings is not None and n_vectors:
            vectors = batch.embeddings[chosen]
            if n_vectors < len(rows):
                vectors = np.ascontiguousarray(vectors[is_embedded])
        given = batch.metadatas if is_whole else None
        if batch.metadatas is not None and not is_whole:
            given = [batch.metadatas[row] for row in rows.tolist()]
        # Of the catalogue, not the segment's, which does not follow what is discovered.
        schema = discovered(self._db.get_collection(info.id).schema, given or ())
        with texts.merged(info.name, self._segments.residents.budget, self._db):
            after = self._segments.commit(
                info.id,
                Changes(
                    rows=RecordRows(
                        labels=new_labels,
                        sequences=sequences,
                        ids=batch.ids if is_whole else [batch.ids[row] for row in rows.tolist()],
                        documents=texts.documents,
                        uris=texts.uris,
                        metadatas=texts.metadatas,
                    ),
                    removed=labels[~is_new],
                    vectors=vectors,
                    first_label=extent.next_label,
                    n_new=n_new,
                    dimension=vectors.shape[1] if n_vectors else None,
                    schema=schema,
                    n_records_delta=n_new,
                    base_version=extent.version,
                ),
            )
        # Where no record lost a key, the known keys can only have grown.
        if texts.keys is not None and (n_new == len(rows) or (keep and not texts.drops_keys)):
            self._segments.metadata_cache.grown(info.id, extent, after, texts.keys)

    def _delete(
        self,
        collection_id: UUID,
        expression: Expression | None,
        ids: Sequence[str] | None,
        limit: int | None,
    ) -> int:
        with self._segments.writing(collection_id) as segment:
            with self._segments.filtering(collection_id):
                labels = segment.metadata.select(expression, ids=ids, limit=limit)
            if len(labels):
                extent = self._db.extent(collection_id)
                changes = Changes(
                    rows=RecordRows.empty(),
                    removed=labels,
                    vectors=np.empty((0, segment.info.dimension or 0), dtype=np.float32),
                    first_label=extent.next_label,
                    n_new=0,
                    n_records_delta=-len(labels),
                    base_version=extent.version,
                )
                self._segments.commit(collection_id, changes)
        return len(labels)


def _embedded(batch: RecordBatch, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which of the rows (int64, shape (n,)) bring a vector: bool, shape (n,)."""
    if batch.embeddings is None:
        return np.zeros(len(rows), dtype=bool)
    if batch.embedded is None:
        return np.ones(len(rows), dtype=bool)
    return batch.embedded[rows]
