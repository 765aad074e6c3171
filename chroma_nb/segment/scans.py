"""`LocalScan`: reads a collection as it was when the scan began, whatever is written meanwhile.

A scan notes down the labels of its records. Between two pieces it holds no lock and no transaction. A commit that
removes records first *keeps* those that a scan has yet to return: their texts and embeddings go to a temporary file of
the scan (`Scans.before_commit`). A compaction gives the other records new labels, which the scan takes over. So a write
takes longer by what it removes itself, and only while there is a scan.

`Slot.write_lock` is held while a scan begins and while records are kept; `Slot.lock` for reading while a piece is read.
A commit changes what readers see under `Slot.lock` for writing, so what a piece needs is kept by then, or is read as it was.
"""

from __future__ import annotations

import contextlib
import weakref
from typing import TYPE_CHECKING, Any

import numpy as np

from chroma_nb.api.scanning import COPIES, EVERYTHING, ScanPiece, SizedScan
from chroma_nb.errors import ChromaError, InternalError, MemoryBudgetError, StoreCorruptError
from chroma_nb.memory.workspace import WORKSPACE
from chroma_nb.segment.base import COLUMNS, piece_of
from chroma_nb.segment.kept_records import KeptRecords
from chroma_nb.segment.segment import stored_segment
from chroma_nb.texts import Texts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from chroma_nb.db.base import DB
    from chroma_nb.memory.workspace import Grant
    from chroma_nb.segment.segment import Segment
    from chroma_nb.segment.slot import Slot

#: A record that no commit has removed since; one that was removed, whose embedding is damaged. Other numbers are
#: places in the temporary file.
_UNTOUCHED, _DAMAGED = -1, -2
#: Records are kept in pieces of at most this many bytes, which are in memory this many times.
_KEEP_BYTES = 8 << 20
_KEEP_COPIES = 3
#: A scan holds for each record its label and, once records are kept, their places.
_PLACE_BYTES = 16
#: A record in the temporary file begins with the length of its texts.
#: What does not fit into the memory, and the ways out, for the error.
_PIECE = "A piece of a scan"
_WAYS = (
    "scan less of each record: include=[...]",
    "do this where there is more memory",
)


class LocalScan(SizedScan):
    """A scan in this process. It is made by `Scans.start`.

    Args:
        segment: What answers when the scan begins.
        labels: The records, int64, shape (n,), in the order in which they are returned.
        include: What is returned beside the ids.
        row_bytes: What a record takes on average, bytes.
        piece_bytes: What a piece may have, bytes; None is the default.
        skip_damaged: Leave out records whose embeddings are damaged.
        room: The memory that the labels take.
        scans: Who reads for it.
        slot: The collection's.
        check: Called before each piece; raises where the collection or the store is gone.
    """

    def __init__(
        self,
        segment: Segment,
        labels: NDArray[np.int64],
        include: Sequence[str],
        *,
        row_bytes: int,
        piece_bytes: int | None,
        skip_damaged: bool,
        room: Grant,
        scans: Scans,
        slot: Slot,
        check: Callable[[], object],
    ) -> None:
        dimension = 0 if segment.vectors is None else segment.info.dimension or 0
        super().__init__(len(labels), dimension, row_bytes, piece_bytes)
        #: What a record takes on average, bytes.
        self.row_bytes = max(1, row_bytes)
        self._include = [name for name in EVERYTHING if name in include]
        self._columns = ["id", *(COLUMNS[name] for name in self._include if name in COLUMNS)]
        self._skip_damaged = skip_damaged
        self._collection_name = segment.info.name
        self._room = room
        self._scans = scans
        self._slot = slot
        self._check = check
        self._generation = scans.generation(slot)
        #: Why records could not be kept, where that was for memory.
        self._lacked: MemoryBudgetError | None = None
        self._set_labels(labels)
        #: Where each record is kept, int64, shape (n,); None: none is.
        self._places: NDArray[np.int64] | None = None
        self._file: KeptRecords | None = None

    def _set_labels(self, labels: NDArray[np.int64]) -> None:
        is_small = not len(labels) or labels.max() <= np.iinfo(np.uint32).max
        self._labels = labels.astype(np.uint32 if is_small else np.int64)
        self._rises = bool((labels[1:] > labels[:-1]).all())

    def __next__(self) -> ScanPiece:
        try:
            self._check()
        except ChromaError:
            self._end("its collection or its store is gone")
            raise
        return super().__next__()

    def _end(self, reason: str) -> None:
        super()._end(reason)
        self._room.give_back()
        # Not closed here: a commit of another thread may be writing to it at this moment, see `KeptRecords`.
        self._file = self._places = None
        self._labels = self._labels[:0]

    @property
    def is_open(self) -> bool:
        """Whether it has something to return yet."""
        return not self._ended

    def end(self, reason: str) -> None:
        """End it, and let go of what it holds. The caller keeps its reader out."""
        self._end(reason)

    def fail(self, reason: str, error: Exception) -> None:
        """Let the next piece be an error. A thread may be reading one now, so nothing is taken away from it.

        Args:
            reason: Why, after "The scan was ended before all was read".
            error: What was raised. Where memory was lacking, that is what the reader is told.
        """
        if isinstance(error, MemoryBudgetError):
            self._lacked = error
        self._ended = self._ended or reason

    def _check_not_ended(self) -> None:
        try:
            super()._check_not_ended()
        except InternalError as error:
            lacked = self._lacked
            if lacked is None:
                raise
            raise MemoryBudgetError(
                f"{error} Begin it again when there is more memory, or nobody writes.",
                need=lacked.need,
                free=lacked.free,
                budget=lacked.budget,
            ) from lacked

    # -- reading ------------------------------------------------------------------------------

    def name(self, row: int) -> str:
        with self._scans.present(self._slot) as segment:
            label = self._labels[row : row + 1].astype(np.int64)
            if self._is_touched(row, row + 1).any():
                return "(deleted)"
            return "".join(map(str, segment.metadata.texts(label, ["id"])["id"]))

    def _is_touched(self, start: int, stop: int) -> NDArray[np.bool_]:
        places = self._places
        if places is None:
            return np.zeros(stop - start, dtype=bool)
        return np.asarray(places[start:stop] != _UNTOUCHED)

    def read(self, start: int, stop: int, waits: bool) -> ScanPiece:
        with self._scans.present(self._slot) as segment:
            # It may have been ended while this thread waited for the collection: then its labels are gone.
            self._check_not_ended()
            rows = np.arange(start, stop)
            touched = self._is_touched(start, stop)
            # What is kept needs no labels, such as all that others have compacted.
            if not touched.all() and self._generation != self._scans.generation(self._slot):
                raise InternalError(
                    f"The files of collection [{self._collection_name}] were replaced by a compaction that was "
                    "interrupted. Begin the scan again."
                )
            piece, there = self._live(segment, rows[~touched], waits)
            return self._with_kept(piece, there, rows[touched], waits) if touched.any() else piece

    def _live(
        self, segment: Segment, rows: NDArray[np.int64], waits: bool
    ) -> tuple[ScanPiece, NDArray[np.int64]]:
        """Return records that are where they were, and their rows of the scan: int64, shape (n,).

        Args:
            segment: What has them.
            rows: Which, int64, shape (m,). Damaged ones are left out where the scan leaves them out.
            waits: Whether to wait for memory.
        """
        labels = self._labels[rows].astype(np.int64)
        n_bytes = segment.metadata.text_bytes(labels, self._include)
        if "embeddings" in self._include:
            n_bytes += 4 * self.dimension * len(labels)
        with WORKSPACE.take_all(COPIES * n_bytes, _PIECE, *_WAYS, waits=waits):
            texts = segment.metadata.texts(labels, self._columns)
            if len(texts["id"]) != len(labels):
                raise self._missing()
            piece = piece_of(texts)
            if "embeddings" not in self._include:
                return piece, rows
            if segment.vectors is None:
                piece.embeddings = np.empty((0, 0), dtype=np.float32)
                return piece, rows
            while True:
                try:
                    piece.embeddings = segment.vectors.source.read(labels)
                    return piece, rows
                except StoreCorruptError as error:
                    damaged = set(error.ids).intersection(piece.ids)
                    if not self._skip_damaged or not damaged:
                        raise
                whole = [at for at, one in enumerate(piece.ids) if one not in damaged]
                labels, rows = labels[whole], rows[whole]
                piece = _at(piece, whole, piece.n_damaged + len(damaged))

    def _missing(self) -> StoreCorruptError:
        return StoreCorruptError(
            f"Records of collection [{self._collection_name}] are not in the database any more. client.check() says "
            "what is damaged. Restore the store from a backup."
        )

    def _with_kept(
        self, live: ScanPiece, there: NDArray[np.int64], rows: NDArray[np.int64], waits: bool
    ) -> ScanPiece:
        """Return the live records of a piece and those that were removed since, in the order of the scan.

        Args:
            live: The records that are where they were.
            there: Their rows of the scan, int64, shape (n,).
            rows: The rows of the others, int64, shape (m,).
            waits: Whether to wait for memory.
        """
        assert self._places is not None
        assert self._file is not None
        places = self._places[rows]
        is_damaged = places == _DAMAGED
        if is_damaged.any():
            if not self._skip_damaged:
                raise StoreCorruptError(
                    f"The embedding of a record of collection [{self._collection_name}] that was deleted or changed "
                    "meanwhile is damaged. Leave such records out: export(path, skip_damaged=True)."
                )
            live.n_damaged += int(is_damaged.sum())
            rows, places = rows[~is_damaged], places[~is_damaged]
        with WORKSPACE.take_all(COPIES * self._file.size(places), _PIECE, *_WAYS, waits=waits):
            texts, vectors = self._file.get(places)
            order = np.argsort(np.concatenate([there, rows])).tolist()

            def merged(column: Sequence[Any] | None, at: int) -> Any:
                if column is None:
                    return None
                both = [*column, *(record[at] for record in texts)]
                return [both[row] for row in order]

            piece = ScanPiece(
                merged(live.ids, 0),
                documents=merged(live.documents, 1),
                uris=merged(live.uris, 2),
                metadatas=merged(live.metadatas, 3),
                n_damaged=live.n_damaged,
            )
            if live.embeddings is not None:
                before = live.embeddings.reshape(len(there), self.dimension)
                piece.embeddings = np.concatenate([before, vectors])[order]
            return piece

    # -- keeping ------------------------------------------------------------------------------

    def lacking(self, removed: NDArray[np.int64] | None) -> NDArray[np.int64]:
        """Return the rows that are still to be returned and are not kept, int64, shape (n,), ascending.

        Args:
            removed: Only those of these labels (int64, shape (m,)); None is all.
        """
        start, rest = self.at, self._labels[self.at :]
        if removed is None:
            rows = np.arange(len(rest))
        elif self._rises and len(rest):
            wanted = np.sort(removed).astype(rest.dtype)
            found = np.searchsorted(rest, wanted)
            found[found == len(rest)] = 0
            rows = found[rest[found] == wanted]
        else:
            rows = np.flatnonzero(np.isin(rest, removed.astype(rest.dtype)))
        rows = np.unique(rows) + start
        places = self._places
        return rows if places is None else rows[places[rows] == _UNTOUCHED]

    def keep(self, segment: Segment, rows: NDArray[np.int64]) -> None:
        """Write records that will be removed to the temporary file.

        Args:
            segment: What has them; the caller holds it.
            rows: Which rows of the scan, int64, shape (n,).
        """
        with_vectors = "embeddings" in self._include and segment.vectors is not None
        file, places = self._file, self._places
        if file is None:
            file = KeptRecords(self._scans.folder, self.dimension if with_vectors else 0)
        if places is None:
            places = np.full(self.n_records, _UNTOUCHED, dtype=np.int64)
        self._file, self._places = file, places
        if self._ended:
            # By its reader, just now: what is kept for it would stay until it is dropped.
            self._file = self._places = None
            return
        labels = self._labels[rows].astype(np.int64)
        stored = segment.metadata.stored(labels, self._columns)
        if len(stored) != len(labels):
            raise StoreCorruptError("records are not in the database any more")
        vectors = None
        if with_vectors and segment.vectors is not None:
            try:
                vectors = segment.vectors.source.read(labels)
            except StoreCorruptError:
                if len(rows) == 1:
                    places[rows] = _DAMAGED
                    return
                for row in rows:
                    self.keep(segment, np.array([row]))
                return
        empty: list[None] = [None] * len(labels)
        texts = list(
            zip(
                stored.ids,
                stored.documents or empty,
                stored.uris or empty,
                stored.metadatas or empty,
                strict=True,
            )
        )
        places[rows] = file.put(texts, vectors)

    def move(self, labels: NDArray[np.int64], generation: int) -> None:
        """Take over the labels that a compaction has given the records.

        Args:
            labels: The new label of each old one: int64, shape (n_old,).
            generation: The new generation.
        """
        old = self._labels.astype(np.int64)
        touched = self._is_touched(0, len(old))
        # Those before the next piece are not needed any more, and may be of records that are gone.
        touched[: self.at] = True
        old[touched] = 0
        moved = labels[old] if len(labels) else old
        moved[touched] = 0
        self._set_labels(moved)
        self._generation = generation


class Scans:
    """The scans of one store.

    Args:
        db: Holds the records.
        present: Holds the segment of a slot for reading.
        folder: Where temporary files are made; empty is the system's place.
    """

    def __init__(
        self,
        db: DB,
        present: Callable[[Any], contextlib.AbstractContextManager[Segment]],
        folder: str,
    ) -> None:
        self._db = db
        self._present = present
        self.folder = folder

    def present(self, slot: Slot) -> contextlib.AbstractContextManager[Segment]:
        """Hold what answers for a collection."""
        return self._present(slot.collection_id)

    def generation(self, slot: Slot) -> int:
        """Return the generation of a collection's files."""
        return self._db.extent(slot.collection_id).generation

    def start(
        self,
        slot: Slot,
        segment: Segment,
        labels: NDArray[np.int64],
        include: Sequence[str],
        *,
        skip_damaged: bool,
        piece_bytes: int | None,
        check: Callable[[], object],
    ) -> LocalScan:
        """Return a scan of these records as they are now. The caller holds `write_lock` and the segment.

        Args:
            slot: The collection's.
            segment: What answers.
            labels: The records, int64, shape (n,), in storage order.
            include: What is returned beside the ids.
            skip_damaged: Leave out records whose embeddings are damaged.
            piece_bytes: What a piece may have, bytes; None is the default.
            check: See `LocalScan`.

        Raises:
            MemoryBudgetError: There is no room for the labels.
        """
        room = WORKSPACE.take_all(
            _PLACE_BYTES * len(labels),
            f"A scan of {len(labels):,} records of collection [{segment.info.name}]",
            "scan some of them: where=...",
        )
        columns = ["id", *(COLUMNS[name] for name in include if name in COLUMNS)]
        row_bytes = self._db.text_sizes(slot.collection_id).row_bytes(columns)
        row_bytes += 4 * (segment.info.dimension or 0) * ("embeddings" in include)
        scan = LocalScan(
            segment,
            labels,
            include,
            row_bytes=row_bytes,
            piece_bytes=piece_bytes,
            skip_damaged=skip_damaged,
            room=room,
            scans=self,
            slot=slot,
            check=check,
        )
        if slot.scans is None:
            slot.scans = weakref.WeakSet()
        slot.scans.add(scan)
        return scan

    def before_commit(self, slot: Slot, removed: NDArray[np.int64]) -> None:
        """Keep for each scan the records that a commit is about to remove. The caller holds `write_lock`.

        Args:
            slot: The collection's.
            removed: Their labels, int64, shape (n,).
        """
        if len(removed):
            for scan in _open_scans(slot):
                self._keep(slot, scan, removed)

    def before_refresh(self, slot: Slot) -> None:
        """Keep all that scans still need: the view of a shared DB moves to what others have committed.

        The caller holds `write_lock`.
        """
        for scan in _open_scans(slot):
            self._keep(slot, scan, None)

    def _keep(self, slot: Slot, scan: LocalScan, removed: NDArray[np.int64] | None) -> None:
        try:
            rows = scan.lacking(removed)
            start, most = 0, len(rows)
            while start < len(rows):
                n_bytes = min((len(rows) - start) * scan.row_bytes, _KEEP_BYTES)
                with WORKSPACE.take(_KEEP_COPIES * n_bytes) as room, slot.lock.read():
                    stop = start + min(most, room.rows(_KEEP_COPIES * scan.row_bytes))
                    segment = slot.segment or stored_segment(
                        self._db, self._db.get_collection(slot.collection_id)
                    )
                    try:
                        scan.keep(segment, rows[start:stop])
                    except MemoryBudgetError:
                        # These may be longer than others.
                        most = len(rows[start:stop]) // 2
                        if not most:
                            raise
                        continue
                start = stop
        except Exception as error:
            # No reason not to write. The scan cannot go on: its records will be gone.
            said = str(error).partition(" Ways out:")[0]
            scan.fail(
                f"records that were deleted or changed meanwhile could not be kept for it ({said})",
                error,
            )

    @contextlib.contextmanager
    def compacting(self, slot: Slot) -> Iterator[None]:
        """Let scans take over the labels that a compaction gives. The caller holds `write_lock`, and `lock` alone."""
        scans = _open_scans(slot)
        if not scans:
            yield
            return
        before = self._db.extent(slot.collection_id)
        order = self._db.select(slot.collection_id)
        try:
            yield
        finally:
            after = self._db.extent(slot.collection_id)
            if after.generation != before.generation:
                labels = np.zeros(before.next_label, dtype=np.int64)
                labels[order] = np.arange(len(order))
                for scan in scans:
                    scan.move(labels, after.generation)

    @staticmethod
    def end(slot: Slot, reason: str) -> None:
        """End the scans of a collection. The caller holds `write_lock`, and `lock` alone.

        Args:
            slot: The collection's.
            reason: Why, after "The scan was ended before all was read".
        """
        for scan in _open_scans(slot):
            scan.end(reason)


def _open_scans(slot: Slot) -> list[LocalScan]:
    return [] if slot.scans is None else [scan for scan in slot.scans if scan.is_open]


def _at(piece: ScanPiece, rows: Sequence[int], n_damaged: int) -> ScanPiece:
    """Return some rows of a piece, without its embeddings."""

    def part(column: Sequence[Any] | None) -> Any:
        return None if column is None else Texts.of(column).at(np.array(rows, dtype=np.int64))

    return ScanPiece(
        part(piece.ids),
        documents=part(piece.documents),
        metadatas=part(piece.metadatas),
        uris=part(piece.uris),
        n_damaged=n_damaged,
    )
