"""`StoredMetadata`: the same answers from the DB, for a collection that is not loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from chroma_nb.api.scanning import ScanPiece
from chroma_nb.db.stored_metadata import metadata_json, read_metadatas
from chroma_nb.memory.sizes import objects_bytes
from chroma_nb.memory.workspace import WORKSPACE
from chroma_nb.segment.base import COLUMNS, MetadataReader, RecordTexts
from chroma_nb.segment.sparse_entries import TEXT_TIMES, Entries, Terms, entries_of
from chroma_nb.segment.sparse_scores import scan
from chroma_nb.special_keys import DOCUMENT_KEY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from uuid import UUID

    from numpy.typing import NDArray

    from chroma_nb.db.base import DB, RecordRows
    from chroma_nb.filters.expression import Expression
    from chroma_nb.search.sparse import SparseVector

#: A piece of rows is there as DuckDB's answer, as tuples and as columns.
_COPIES = 2
#: A search reads so much at once, at most.
_PIECE_BYTES = 32 << 20


class StoredMetadata(MetadataReader):
    """Reads records where they are, and holds nothing."""

    def __init__(self, db: DB, collection_id: UUID) -> None:
        self._db = db
        self._collection_id = collection_id

    @property
    def n_labels(self) -> int:
        return self._db.extent(self._collection_id).next_label

    @property
    def n_live(self) -> int:
        return self._db.extent(self._collection_id).n_records

    def find(self, ids: Sequence[str]) -> NDArray[np.int64]:
        return self._db.find_labels(self._collection_id, ids)

    def select(
        self,
        expression: Expression | None = None,
        *,
        ids: Sequence[str] | None = None,
        limit: int | None = None,
        offset: int = 0,
    ) -> NDArray[np.int64]:
        return self._db.select(self._collection_id, expression, ids=ids, limit=limit, offset=offset)

    def mask(
        self, expression: Expression | None, ids: Sequence[str] | None
    ) -> NDArray[np.bool_] | None:
        if expression is None and ids is None and self.n_live == self.n_labels:
            return None
        mask = np.zeros(self.n_labels, dtype=bool)
        mask[self._db.select(self._collection_id, expression, ids=ids)] = True
        return mask

    def sequences(self) -> NDArray[np.int64] | None:
        labels = self._db.select(self._collection_id)
        if np.all(labels[1:] > labels[:-1]):
            return None
        order = np.zeros(self.n_labels, dtype=np.int64)
        order[labels] = np.arange(len(labels))
        return order

    def read(
        self,
        labels: NDArray[np.int64],
        include: Sequence[str],
        measured: Callable[[float, int], None] | None = None,
    ) -> RecordTexts:
        columns = ("id", *(COLUMNS[name] for name in include if name in COLUMNS))
        # Rising, and each once: a piece is a range of the table then.
        wanted, places = np.unique(labels, return_inverse=True)
        found = RecordTexts([])
        for name in ("documents", "uris", "metadatas"):
            if name in include:
                setattr(found, name, [])
        row_bytes = _COPIES * (self._db.text_sizes(self._collection_id).row_bytes(columns) + 300)
        start = n_bytes = 0
        while start < len(wanted):
            with WORKSPACE.take((len(wanted) - start) * row_bytes) as room:
                rows = self._db.fetch(
                    self._collection_id, wanted[start : start + room.rows(row_bytes)], columns
                )
                start += room.rows(row_bytes)
                found.ids += rows.ids
                if found.documents is not None:
                    found.documents += rows.documents
                if found.uris is not None:
                    found.uris += rows.uris
                if found.metadatas is not None:
                    found.metadatas += read_metadatas(rows.metadatas)
                if measured is not None:
                    n_bytes += objects_bytes(rows.ids)
                    n_bytes += objects_bytes(rows.documents) + objects_bytes(rows.uris)
                    measured(min(1.0, start / len(wanted)), n_bytes)
        if len(wanted) == len(labels) and np.array_equal(wanted, labels):
            return found
        return found.at(places.ravel().tolist())

    def columns(
        self,
        labels: NDArray[np.int64],
        include: Sequence[str],
        measured: Callable[[float, int], None] | None = None,
    ) -> ScanPiece:
        # In pieces for which there is memory.
        found = self.read(labels, include, measured)
        metadatas = found.metadatas
        texts = None if metadatas is None else [metadata_json(one or {}) for one in metadatas]
        return ScanPiece(found.ids, None, found.documents, texts, found.uris)

    @property
    def longest(self) -> int:
        return self._db.text_sizes(self._collection_id).longest

    def text_bytes(self, labels: NDArray[np.int64], include: Sequence[str]) -> int:
        columns = ("id", *(COLUMNS[name] for name in include if name in COLUMNS))
        return len(labels) * self._db.text_sizes(self._collection_id).row_bytes(columns)

    def stored(self, labels: NDArray[np.int64], columns: Sequence[str]) -> RecordRows:
        return self._db.fetch(self._collection_id, labels, columns)

    def sparse_distances(
        self, key: str, query: SparseVector, *, idf: bool, mask: NDArray[np.bool_] | None
    ) -> NDArray[np.float32]:
        pieces = self._sparse_entries(key)
        return scan(Terms.of(query), pieces, self.n_labels, self.n_live, idf=idf, mask=mask)

    def _sparse_entries(self, key: str) -> Iterator[Entries]:
        column = "document" if key == DOCUMENT_KEY else "metadata"
        labels = np.sort(self._db.select(self._collection_id))
        row_bytes = TEXT_TIMES * self._db.text_sizes(self._collection_id).row_bytes((column,)) + 600
        start = 0
        while start < len(labels):
            with WORKSPACE.take(min(_PIECE_BYTES, (len(labels) - start) * row_bytes)) as room:
                stop = start + room.rows(row_bytes)
                rows = self._db.fetch(self._collection_id, labels[start:stop], (column,))
                start = stop
                if key == DOCUMENT_KEY:
                    yield entries_of(key, rows.labels, rows.documents)
                else:
                    found = [(one or {}).get(key) for one in read_metadatas(rows.metadatas)]
                    yield entries_of(key, rows.labels, found)
