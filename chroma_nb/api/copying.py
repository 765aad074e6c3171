"""Copy a collection's records to another collection, in one store or between two."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from chroma_nb.errors import MemoryBudgetError, StoreCorruptError
from chroma_nb.memory.sizes import objects_bytes
from chroma_nb.memory.workspace import WORKSPACE
from chroma_nb.types import RecordBatch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from uuid import UUID

    from chroma_nb.api.base import API, Records
    from chroma_nb.types import CollectionInfo, Where

#: Records of a piece at most, whatever their size: Chroma's servers take no more at a time.
PIECE_RECORDS = 5_000
#: What a piece takes on its way: the records, and what is made of them to be written or sent.
_PIECE_BYTES = 32 << 20
_COPIES = 4
#: Long texts take more where they are written.
_TEXT_COPIES = 8
#: The first piece, of which nothing is known yet; the next ones grow so much at most.
FIRST_RECORDS = 64
_GROWTH = 8
#: Records that the size of a piece is judged by.
_SAMPLE = 32
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

    def get(self, *, waits: bool = True, **arguments: Any) -> Records:
        """Ask for records, to go on with them: in a server too they are no answer to anybody.

        Args:
            waits: Whether to wait for memory.
            **arguments: As for `API.get`.
        """
        with WORKSPACE.reading_pieces(waits):
            return self.api.get(self.collection_id, **arguments, **self.where_to)


@dataclass
class Copied:
    """How many records a copy has added, left as they were, changed and removed."""

    added: int = 0
    skipped: int = 0
    changed: int = 0
    removed: int = 0


def pieces_of(
    source: Place,
    where: Where | None = None,
    where_document: Where | None = None,
    on_damaged: Callable[[int], object] | None = None,
) -> Iterator[Records]:
    """Yield a collection's matching records with everything that is in them, in storage order.

    Which they are is decided once, at the beginning. So a record that is deleted meanwhile is left out, and
    never moves another one out of its place: paging by an offset would pass over it.

    Args:
        source: Where from.
        where: Metadata filter.
        where_document: Document filter.
        on_damaged: Called with the number of records that were left out, as their embeddings are damaged;
            None: such a record is an error.
    """
    ids = source.get(where=where, where_document=where_document, include=()).ids
    yield from pieces_by_id(source, ids, on_damaged)


def pieces_by_id(
    source: Place, ids: list[str], on_damaged: Callable[[int], object] | None = None
) -> Iterator[Records]:
    """Yield the records of these ids that are still there, piece by piece; see `pieces_of`."""
    start, n_records = 0, FIRST_RECORDS
    while start < len(ids):
        with WORKSPACE.take(_PIECE_BYTES) as room:
            wanted = ids[start : start + n_records]
            try:
                # Half of it now is better than all of it later.
                found = _whole(source, wanted, on_damaged, waits=len(wanted) == 1)
            except MemoryBudgetError:
                if n_records > 1:
                    n_records = max(1, n_records // 2)
                    continue
                # One alone: what was taken for a piece may be what it lacks.
                room.give_back()
                found = _whole(source, wanted, on_damaged)
            need = 0 if found is None else _TEXT_COPIES * _text_bytes(found)
            if need > room.n_bytes and len(wanted) > 1:
                # Long texts after short ones: to write them at once takes many times their size.
                n_records = max(1, min(len(wanted) // 2, len(wanted) * room.n_bytes // need))
                found = None
                continue
            start += len(wanted)
            if found is not None and found.ids:
                fitting = room.n_bytes // (_COPIES * _record_bytes(found))
                n_records = max(1, min(fitting, _GROWTH * n_records, PIECE_RECORDS))
                yield found


def _whole(
    source: Place,
    wanted: list[str],
    on_damaged: Callable[[int], object] | None,
    *,
    waits: bool = True,
) -> Records | None:
    """Return these records without the damaged ones; None where nothing else is left."""
    while wanted:
        try:
            return source.get(ids=wanted, include=_EVERYTHING, waits=waits)
        except StoreCorruptError as error:
            damaged = set(error.ids).intersection(wanted)
            if on_damaged is None or not damaged:
                raise
            on_damaged(len(damaged))
            wanted = [one for one in wanted if one not in damaged]
    return None


def _text_bytes(found: Records) -> int:
    """Return the bytes of the documents and uris of these records."""
    columns = (found.documents or (), found.uris or ())
    return sum(sys.getsizeof(text) for column in columns for text in column if text is not None)


def _record_bytes(found: Records) -> int:
    """Return what one of these records takes, on average, bytes."""
    n_bytes = 0 if found.embeddings is None else found.embeddings.nbytes // len(found.ids)
    step = max(1, len(found.ids) // _SAMPLE)
    for column in (found.ids, found.documents, found.metadatas, found.uris):
        some = (column or [])[::step]
        n_bytes += objects_bytes(some) // max(1, len(some))
    return max(1, n_bytes)


def copy_records(
    source: Place,
    target: Place,
    on_progress: Callable[[int], object] | None = None,
    *,
    replace: bool = False,
    mirror: bool = False,
    on_total: Callable[[int], object] | None = None,
) -> Copied:
    """Copy records piece by piece. To resume a copy that was stopped, run the same call again.

    Args:
        source: Where from.
        target: Where to.
        on_progress: Called with the number of records of each piece that is there.
        replace: Write over the target's records of the same ids where they differ; else they stay.
        mirror: Delete the target's records whose ids the source does not have.
        on_total: Called once, with the number of records that are to be looked at or sent.
    """
    copied = Copied()
    ids = source.get(include=()).ids
    # Asked once, where nothing else needs it: `replace` looks at each piece when its turn has come.
    there = set(target.get(include=()).ids) if mirror or not replace else set()
    wanted = ids
    if not replace:
        # Records that are there stay, and need not even be read.
        wanted = [one for one in ids if one not in there]
        copied.skipped = len(ids) - len(wanted)
    if on_total is not None:
        on_total(len(wanted))
    for found in pieces_by_id(source, wanted):
        batch = RecordBatch(
            found.ids, found.embeddings, found.documents, found.uris, found.metadatas
        )
        known, same = _compare(found, target) if replace else (set(), set())
        if same:
            batch = batch.at([row for row, one in enumerate(found.ids) if one not in same])
        if len(batch):
            # Chroma's server knows "skip" alone, which is enough where none of the records is there.
            on_conflict: Any = "replace" if known else "skip"
            target.api.add(target.collection_id, batch, on_conflict=on_conflict, **target.where_to)
        copied.skipped += len(same)
        copied.changed += len(known) - len(same)
        copied.added += len(found.ids) - len(known)
        if on_progress is not None:
            on_progress(len(found.ids))
    if mirror:
        surplus = list(there.difference(ids))
        for start in range(0, len(surplus), PIECE_RECORDS):
            part = surplus[start : start + PIECE_RECORDS]
            copied.removed += target.api.delete(target.collection_id, ids=part, **target.where_to)
    return copied


def is_unfinished_copy(
    source: Place, info: CollectionInfo, target: Place, copy: CollectionInfo
) -> bool:
    """Say whether a collection has the settings of another, and nothing but records that are the other's."""
    if info.id == copy.id or (info.configuration, info.metadata) != (
        copy.configuration,
        copy.metadata,
    ):
        return False
    there = target.get(include=()).ids
    if not set(there).issubset(source.get(include=()).ids):
        return False
    for found in pieces_by_id(source, there):
        known, same = _compare(found, target)
        if known != same:
            return False
    return True


def _compare(found: Records, target: Place) -> tuple[set[str], set[str]]:
    """Return which ids the target has at this moment, and which of them with the same record."""
    there = target.get(ids=found.ids, include=_EVERYTHING)
    rows = {one: row for row, one in enumerate(there.ids)}
    same: set[str] = set()
    for row, one in enumerate(found.ids):
        other = rows.get(one)
        if other is not None and _record(found, row) == _record(there, other):
            mine, theirs = found.embeddings, there.embeddings
            if mine is None or theirs is None or mine[row].tobytes() == theirs[other].tobytes():
                same.add(one)
    return set(rows), same


def _record(records: Records, row: int) -> str:
    """Return a record's texts and metadata as JSON: Python's == takes 1, 1.0 and True for equal."""
    parts = (records.documents, records.metadatas, records.uris)
    return json.dumps([None if part is None else part[row] for part in parts], sort_keys=True)
