"""Copy a collection's records to another collection, in one store or between two."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from chroma_nb.types import RecordBatch

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

    from chroma_nb.api.base import API

#: Records copied at a time: some 8 MB of embeddings at 384 dimensions.
PIECE_RECORDS = 5_000
_EVERYTHING = ("embeddings", "documents", "metadatas", "uris")


@dataclass(frozen=True)
class Place:
    """A collection, and the store that it is in."""

    api: API
    collection_id: UUID
    tenant: str
    database: str

    @property
    def where_to(self) -> dict[str, Any]:
        """The arguments that each call of the API wants."""
        return {"tenant": self.tenant, "database": self.database}


def copy_records(
    source: Place, target: Place, on_progress: Callable[[int], object] | None = None
) -> None:
    """Copy the records that the target lacks, piece by piece; a copy that was stopped is gone on with.

    Args:
        source: Where from.
        target: Where to; records whose ids it has stay as they are.
        on_progress: Called with the number of records of each piece that is there.
    """
    resumed = target.api.count(target.collection_id, **target.where_to) > 0
    offset = 0
    while True:
        found = source.api.get(
            source.collection_id,
            limit=PIECE_RECORDS,
            offset=offset,
            include=_EVERYTHING,
            **source.where_to,
        )
        if not found.ids:
            return
        batch = RecordBatch(
            found.ids, found.embeddings, found.documents, found.uris, found.metadatas
        )
        if resumed:
            # Asking for ids is cheaper than sending vectors that are there.
            there = target.api.get(
                target.collection_id, ids=found.ids, include=(), **target.where_to
            )
            known = set(there.ids)
            batch = batch.at([row for row, one in enumerate(found.ids) if one not in known])
        if len(batch):
            target.api.add(target.collection_id, batch, **target.where_to)
        offset += len(found.ids)
        if on_progress is not None:
            on_progress(len(found.ids))
