"""`StoredMetadata`: the same answers from the DB, for a collection that is not loaded."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from chroma_nb.segment.base import MetadataReader, StoredRecord

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from numpy.typing import NDArray

    from chroma_nb.db.base import DB, RecordRows
    from chroma_nb.filters.expression import Expression


class StoredMetadata(MetadataReader):
    """Reads records where they are; holds nothing but the last rows that were asked for."""

    def __init__(self, db: DB, collection_id: UUID) -> None:
        self._db = db
        self._collection_id = collection_id
        self._last: tuple[bytes, RecordRows] | None = None

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

    def _rows(self, labels: NDArray[np.int64]) -> RecordRows:
        key = labels.tobytes()
        if self._last is None or self._last[0] != key:
            self._last = (key, self._db.fetch(self._collection_id, labels))
        return self._last[1]

    def ids(self, labels: NDArray[np.int64]) -> list[str]:
        return self._rows(labels).ids

    def documents(self, labels: NDArray[np.int64]) -> list[str | None]:
        return self._rows(labels).documents

    def uris(self, labels: NDArray[np.int64]) -> list[str | None]:
        return self._rows(labels).uris

    def metadatas(self, labels: NDArray[np.int64]) -> list[dict[str, Any] | None]:
        texts = self._rows(labels).metadatas
        return [None if text is None else json.loads(text) for text in texts]

    def records(self, labels: NDArray[np.int64]) -> list[StoredRecord]:
        rows = self._rows(labels)
        columns = zip(
            rows.labels.tolist(),
            rows.sequences.tolist(),
            rows.ids,
            rows.documents,
            rows.uris,
            self.metadatas(labels),
            strict=True,
        )
        return [StoredRecord(*row) for row in columns]
