"""Copy a collection's records to another collection, in one store or between two; `PagedScan`."""

from __future__ import annotations

import contextlib
import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from chroma_nb.api.scanning import COPIES, EVERYTHING, PIECE_BYTES, Pieces, Scan, ScanPiece
from chroma_nb.errors import ChromaError, UniqueConstraintError
from chroma_nb.memory.workspace import WORKSPACE
from chroma_nb.schema_json import declared, for_copy
from chroma_nb.types import RecordBatch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from uuid import UUID

    from chroma_nb.api.base import API, Records
    from chroma_nb.types import CollectionInfo, Where

#: Records of a piece at most, whatever their size: Chroma's servers take no more at a time.
PIECE_RECORDS = 5_000


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

    def ids(self) -> list[str]:
        """Return all ids, in storage order.

        Raises:
            MemoryBudgetError: There is no room for them.
        """
        return self.get(include=()).ids

    def scan(self, **arguments: Any) -> Scan:
        """Return a scan of the collection.

        Args:
            **arguments: As for `API.scan`.
        """
        return self.api.scan(self.collection_id, **arguments, **self.where_to)

    @property
    def ids_at_once(self) -> int:
        """How many ids are asked for in one call."""
        return min(PIECE_RECORDS, self.api.max_ids or PIECE_RECORDS)

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


class _ById(Pieces["Records"]):
    """Reads the records of ids that are still there, piece by piece.

    Args:
        source: Where from.
        ids: Which.
        include: What is wanted beside the ids.
        piece_bytes: What a piece may have, bytes.
    """

    def __init__(
        self,
        source: Place,
        ids: list[str],
        include: Sequence[str] = EVERYTHING,
        piece_bytes: int = PIECE_BYTES // COPIES,
    ) -> None:
        super().__init__(len(ids), source.record_bytes(), piece_bytes, source.ids_at_once)
        self._source = source
        self._ids = ids
        self._include = include
        self._names_rows = source.api.is_near

    def read(self, start: int, stop: int, waits: bool) -> Records:
        wanted = self._ids[start:stop]
        return self._source.get(ids=wanted, include=self._include, waits=waits, copies=COPIES)

    def name(self, row: int) -> str:
        return self._ids[row]


def pieces_by_id(source: Place, ids: list[str]) -> Iterator[Records]:
    """Yield the records of these ids that are still there, with everything that is in them, piece by piece.

    Until the next one is asked for, a piece has its memory, and that of what is made of it.

    Raises:
        MemoryBudgetError: There is no room for a record alone.
    """
    pieces = _ById(source, ids)
    try:
        while (found := pieces.next()) is not None:
            yield found
    finally:
        pieces.release()


class PagedScan(Scan):
    """A scan of an API that has no snapshots: its ids are chosen at the beginning, and read when their turn comes.

    So a record that is deleted meanwhile is left out, and never moves another one out of its place, as paging by an
    offset would; one that is changed meanwhile is returned as it is then.

    Args:
        source: The collection.
        ids, where, where_document, include, piece_bytes: As for `API.scan`.
    """

    def __init__(
        self,
        source: Place,
        *,
        ids: Sequence[str] | None = None,
        where: Where | None = None,
        where_document: Where | None = None,
        include: Sequence[str] = EVERYTHING,
        piece_bytes: int | None = None,
    ) -> None:
        found = source.get(ids=ids, where=where, where_document=where_document, include=()).ids
        info = source.api.get_collection_by_id(source.collection_id, **source.where_to)
        super().__init__(len(found), info.dimension or 0)
        self._pieces: _ById | None = _ById(
            source, found, include, piece_bytes or PIECE_BYTES // COPIES
        )

    def _next(self) -> ScanPiece | None:
        assert self._pieces is not None
        found = self._pieces.next()
        if found is None:
            return None
        metadatas = found.metadatas
        texts = None if metadatas is None else [_as_json(one) for one in metadatas]
        return ScanPiece(found.ids, found.embeddings, found.documents, texts, found.uris)

    def _end(self, reason: str) -> None:
        super()._end(reason)
        if self._pieces is not None:
            self._pieces.release()
        self._pieces = None


def _as_json(metadata: dict[str, Any] | None) -> str | None:
    if metadata is None:
        return None
    return json.dumps(metadata, ensure_ascii=False, separators=(",", ":"))


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
    # Asked once, where nothing else needs it: `replace` looks at each piece when its turn has come.
    there = set(target.ids()) if mirror or not replace else set()
    surplus = set(there) if mirror else set()
    batches: Iterable[RecordBatch]
    with contextlib.ExitStack() as held:
        if there and not replace:
            # Records that are there stay, and need not even be read. A copy that is resumed is of several versions.
            ids = source.ids()
            wanted = [one for one in ids if one not in there]
            copied.skipped = len(ids) - len(wanted)
            n_records, batches = len(wanted), map(_batch, pieces_by_id(source, wanted))
            surplus.difference_update(ids)
        else:
            scan = held.enter_context(source.scan())
            n_records, batches = scan.n_records, (piece.batch() for piece in scan)
        if on_total is not None:
            on_total(n_records)
        for found in batches:
            known, same = _compare(found, target) if replace else (set(), set())
            batch = found
            if same:
                batch = found.at([row for row, one in enumerate(found.ids) if one not in same])
            if len(batch):
                # Chroma's server knows "skip" alone, which is enough where none of the records is there.
                on_conflict: Any = "replace" if known else "skip"
                target.api.add(
                    target.collection_id, batch, on_conflict=on_conflict, **target.where_to
                )
            copied.skipped += len(same)
            copied.changed += len(known) - len(same)
            copied.added += len(found.ids) - len(known)
            surplus.difference_update(found.ids)
            if on_progress is not None:
                on_progress(len(found.ids))
    doomed = list(surplus)
    for start in range(0, len(doomed), target.ids_at_once):
        part = doomed[start : start + target.ids_at_once]
        copied.removed += target.api.delete(target.collection_id, ids=part, **target.where_to)
    return copied


def _batch(found: Records) -> RecordBatch:
    return RecordBatch(found.ids, found.embeddings, found.documents, found.uris, found.metadatas)


@dataclass(frozen=True)
class Contents:
    """What a collection holds, in two numbers that are equal where the records are, whatever their order.

    Attributes:
        n_records: How many records.
        checksum: 128 bits: the sum of a hash (XXH3) of each record's id, texts, metadata and embedding.
    """

    n_records: int
    checksum: int


def contents_of(place: Place, on_progress: Callable[[int], object] | None = None) -> Contents:
    """Read all records of a collection, piece by piece, and sum them up.

    Args:
        place: The collection.
        on_progress: Called with the number of records of each piece.
    """
    n_records = checksum = 0
    with place.scan() as scan:
        for piece in scan:
            found = piece.batch()
            for row, one in enumerate(found.ids):
                said = json.dumps([one, _record(found, row)]).encode()
                summed = hashlib.blake2b(said, digest_size=16)
                if found.embeddings is not None:
                    summed.update(found.embeddings[row].tobytes())
                checksum = (checksum + int.from_bytes(summed.digest(), "big")) % 2**128
            n_records += len(found.ids)
            if on_progress is not None:
                on_progress(len(found.ids))
    return Contents(n_records, checksum)


def fork_collection(
    source: Place,
    new_name: str,
    on_progress: Callable[[int], object] | None,
    on_total: Callable[[int], object] | None,
) -> CollectionInfo:
    """Copy a collection under another name in its own store; see `API.fork`."""
    api, where_to = source.api, source.where_to
    info = api.get_collection_by_id(source.collection_id, **where_to)
    configuration, schema = for_copy(info.configuration, info.schema, with_discovered=True)
    try:
        copy = api.create_collection(
            new_name, configuration, info.metadata, schema=schema, get_or_create=False, **where_to
        )
    except UniqueConstraintError as error:
        copy = api.get_collection(new_name, **where_to)
        there = Place(api, copy.id, source.tenant, source.database)
        if not is_unfinished_copy(source, info, there, copy):
            raise UniqueConstraintError(
                f"Collection [{new_name}] already exists, and is no copy of [{info.name}] that a call before "
                "left unfinished. Choose another name, or delete it first."
            ) from error
    target = Place(api, copy.id, source.tenant, source.database)
    try:
        copy_records(source, target, on_progress, on_total=on_total)
    except Exception as error:
        if isinstance(error, ChromaError):
            # A store that has failed cannot be counted; its error is then the one to be seen.
            with contextlib.suppress(ChromaError):
                n_there, wanted = (api.count(one, **where_to) for one in (copy.id, info.id))
                say_what_is_copied(
                    error,
                    f"The copy [{new_name}] is unfinished: {n_there:,} of {wanted:,} records are in it. Run the "
                    "same call again to copy the rest, or delete it.",
                )
        raise
    return api.get_collection_by_id(copy.id, **where_to)


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
    mine, theirs = ((one.configuration, one.metadata, declared(one.schema)) for one in (info, copy))
    if info.id == copy.id or mine != theirs:
        return False
    there = target.ids()
    if not set(there).issubset(source.ids()):
        return False
    for found in pieces_by_id(source, there):
        known, same = _compare(found, target)
        if known != same:
            return False
    return True


def _compare(found: Records | RecordBatch, target: Place) -> tuple[set[str], set[str]]:
    """Return which ids the target has at this moment, and which of them with the same record."""
    known: set[str] = set()
    same: set[str] = set()
    for start in range(0, len(found.ids), target.ids_at_once):
        wanted = found.ids[start : start + target.ids_at_once]
        there = target.get(ids=wanted, include=EVERYTHING)
        rows = {one: row for row, one in enumerate(there.ids)}
        known.update(rows)
        for row, one in enumerate(wanted, start):
            other = rows.get(one)
            if other is not None and _record(found, row) == _record(there, other):
                mine, theirs = found.embeddings, there.embeddings
                if mine is None or theirs is None or mine[row].tobytes() == theirs[other].tobytes():
                    same.add(one)
    return known, same


def _record(records: Records | RecordBatch, row: int) -> str:
    """Return a record's texts and metadata as JSON: Python's == takes 1, 1.0 and True for equal."""
    parts = (records.documents, records.metadatas, records.uris)
    return json.dumps([None if part is None else part[row] for part in parts], sort_keys=True)
