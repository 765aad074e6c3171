"""Copy a collection's records to another collection, in one store or between two."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from chroma_nb.errors import ChromaError, MemoryBudgetError, StoreCorruptError
from chroma_nb.memory.preflight import over_budget, with_ways
from chroma_nb.memory.sizes import objects_bytes, utf8_length
from chroma_nb.memory.workspace import WORKSPACE
from chroma_nb.types import RecordBatch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from uuid import UUID

    from chroma_nb.api.base import API, Records
    from chroma_nb.types import CollectionInfo, Where

#: Records of a piece at most, whatever their size: Chroma's servers take no more at a time.
PIECE_RECORDS = 5_000
#: What a piece takes on its way: the records, and what is made of them to be written or sent.
PIECE_BYTES = 32 << 20
COPIES = 4
#: Long texts take more where they are written.
_TEXT_COPIES = 8
#: The first piece at most, where the sizes of texts are known, else it is one record; the next ones grow so much.
_FIRST_RECORDS = 64
_GROWTH = 8
#: Records that the size of a piece's metadata is judged by.
_SAMPLE = 32
_MORE_MEMORY = "do this where there is more memory"
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

    def get(self, *, waits: bool = True, copies: int = 1, **arguments: Any) -> Records:
        """Ask for records, to go on with them: in a server too they are no answer to anybody.

        Args:
            waits: Whether to wait for memory.
            copies: There has to be room for so many of them.
            **arguments: As for `API.get`.
        """
        with WORKSPACE.reading_pieces(waits, copies):
            return self.api.get(self.collection_id, **arguments, **self.where_to)

    def ids(
        self, where: Where | None = None, where_document: Where | None = None, way: str = ""
    ) -> list[str]:
        """Return the ids of the matching records, in storage order.

        Args:
            where: Metadata filter.
            where_document: Document filter.
            way: What else the caller can do where there are too many.

        Raises:
            MemoryBudgetError: There is no room for them.
        """
        try:
            return self.get(where=where, where_document=where_document, include=()).ids
        except MemoryBudgetError as error:
            in_parts = "read them in parts: collection.get(limit=..., offset=...)"
            with_ways(error, *filter(None, (way, in_parts, _MORE_MEMORY)))
            raise

    def record_bytes(self) -> int | None:
        """Return what a record takes on average, bytes; None: not known."""
        return self.api.record_bytes(self.collection_id, **self.where_to)


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
    ids = source.ids(where, where_document)
    yield from pieces_by_id(source, ids, on_damaged)


def pieces_by_id(
    source: Place, ids: list[str], on_damaged: Callable[[int], object] | None = None
) -> Iterator[Records]:
    """Yield the records of these ids that are still there, piece by piece; see `pieces_of`.

    Until the next one is asked for, a piece has its memory, and that of what is made of it.

    Raises:
        MemoryBudgetError: There is no room for a record alone.
    """
    known = source.record_bytes()
    each, most = (1, 1) if known is None else (known, _FIRST_RECORDS)
    start = 0
    while start < len(ids):
        with WORKSPACE.take(PIECE_BYTES) as room:
            n_records = min(most, PIECE_RECORDS, room.rows(COPIES * each))
            n_free = room.n_bytes
        wanted = ids[start : start + n_records]
        try:
            # Those of a piece may be longer than others: refused before they are read, where that is known.
            # Half of them now are better than all of them later.
            found = _whole(source, wanted, on_damaged, waits=len(wanted) == 1)
            n_bytes = made = to_write = 0
            if found is not None:
                n_bytes = _piece_bytes(found, objects_bytes)
                # What is made of it is in UTF-8: of most texts beyond Latin less than what was read.
                made = _piece_bytes(found, _utf8_bytes)
                to_write = _TEXT_COPIES * _text_bytes(found)
            held = WORKSPACE.take_all((COPIES - 1) * made, *_a_record(wanted))
        except MemoryBudgetError as error:
            found = None
            if len(wanted) == 1:
                if not source.api.is_near:
                    raise
                raise _too_large(error, wanted) from error
            most = len(wanted) // 2
            continue
        if len(wanted) > 1 and to_write > n_free:
            # Long texts after short ones: to write them at once takes many times their size.
            found = None
            held.give_back()
            most = len(wanted) // 2
            continue
        start += len(wanted)
        with held:
            if found is not None and found.ids:
                # The next piece is not read twice because its texts are too long to be written at once.
                each = max(n_bytes, to_write // COPIES) // len(found.ids)
                most = _GROWTH * len(wanted)
                yield found


def _a_record(wanted: list[str]) -> tuple[str, ...]:
    """Return what is said of a record that does not fit: what it is, and the ways out."""
    return (
        f"A copy of the record {wanted[0]!r:.80}, in any form,",
        f"read it alone, and part by part: get(ids=[{wanted[0]!r:.80}], include=[...])",
        _MORE_MEMORY,
    )


def _too_large(error: MemoryBudgetError, wanted: list[str]) -> MemoryBudgetError:
    """Return the error of one record that does not fit."""
    made = over_budget(error.need, error.free, error.budget, *_a_record(wanted))
    made.may_fit_later = error.may_fit_later
    return made


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
            return source.get(ids=wanted, include=_EVERYTHING, waits=waits, copies=COPIES)
        except StoreCorruptError as error:
            damaged = set(error.ids).intersection(wanted)
            if on_damaged is None or not damaged:
                raise
            on_damaged(len(damaged))
            wanted = [one for one in wanted if one not in damaged]
    return None


def _text_bytes(found: Records) -> int:
    """Return the bytes of the documents and uris of these records."""
    return objects_bytes(found.documents or ()) + objects_bytes(found.uris or ())


def _utf8_bytes(texts: Sequence[str | None]) -> int:
    return sum(map(utf8_length, texts))


def _piece_bytes(found: Records, of_texts: Callable[[Sequence[Any]], int]) -> int:
    """Return what these records take, bytes: of their metadata, judged by some of them.

    Args:
        found: The records.
        of_texts: Returns what a column of texts takes.
    """
    n_bytes = 0 if found.embeddings is None else found.embeddings.nbytes
    for column in (found.ids, found.documents, found.uris):
        n_bytes += of_texts(column or ())
    some = (found.metadatas or [])[:: max(1, len(found.ids) // _SAMPLE)]
    return n_bytes + objects_bytes(some) * len(found.ids) // max(1, len(some))


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
    ids = source.ids()
    # Asked once, where nothing else needs it: `replace` looks at each piece when its turn has come.
    there = set(target.ids()) if mirror or not replace else set()
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


def say_what_is_copied(error: ChromaError, state: str) -> None:
    """Let the error of a copy that was stopped half-way say what is so: it speaks of one piece alone.

    Args:
        error: The error.
        state: What was copied, and what to do, as sentences.
    """
    error.args = (f"{state} Of the next records none was copied: {error.message()}",)


def is_unfinished_copy(
    source: Place, info: CollectionInfo, target: Place, copy: CollectionInfo
) -> bool:
    """Say whether a collection has the settings of another, and nothing but records that are the other's."""
    if info.id == copy.id or (info.configuration, info.metadata) != (
        copy.configuration,
        copy.metadata,
    ):
        return False
    there = target.ids()
    if not set(there).issubset(source.ids()):
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
