"""`SegmentManager`: gives readers and writers the segments of the collections, and runs the background work.

Each collection has a slot with locks. Readers, and the thread that builds the graph, hold `Slot.lock` for reading;
a commit and an unload hold it for writing, for milliseconds. So nothing is freed while it is read. A collection is
loaded under `Slot.write_lock`, so it is loaded once, however many threads ask for it.

`ResidentSet` decides what is in memory; `Graphs` builds the graphs.
"""

from __future__ import annotations

import contextlib
import logging
import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from chroma_nb.db.base import Changes, RecordRows
from chroma_nb.errors import MemoryBudgetError, NotFoundError, StoreCorruptError
from chroma_nb.filters.expression import patterns
from chroma_nb.memory.lender import LENDERS
from chroma_nb.memory.trim import return_memory
from chroma_nb.memory.workspace import NOTHING, SMALL_BYTES, WORKSPACE
from chroma_nb.segment.graphs import Graphs
from chroma_nb.segment.locks import hands_over
from chroma_nb.segment.resident_set import SAVING_SECONDS, ResidentSet
from chroma_nb.segment.segment import LoadedSegment, Segment, stored_segment
from chroma_nb.segment.slot import Slot, Slots
from chroma_nb.segment.worker import Worker
from chroma_nb.shielded import finish, shielded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from uuid import UUID

    from chroma_nb.check_report import CollectionCheck
    from chroma_nb.db.base import DB
    from chroma_nb.filters.expression import Expression
    from chroma_nb.index.base import VectorIndex
    from chroma_nb.memory.workspace import Grant
    from chroma_nb.settings import Settings
    from chroma_nb.types import CollectionInfo, IndexingStatus

logger = logging.getLogger("chroma_nb")

#: After a commit of this many records, freed memory is given back to the system; that takes some 10 ms.
_MANY_RECORDS = 20_000
#: Texts of so many bytes are written however little is free: imports and copies send pieces of about this size.
_ALWAYS_WRITTEN_BYTES = 8 << 20
#: Fewer bytes of deleted vectors are not worth a compaction.
_MIN_DEAD_BYTES = 1 << 20
#: `close` saves small collections for this long; the others are read from the DB when they are next used.
_CLOSING_SECONDS = 0.5
#: A build starts this long after the last write, so that a loop of adds is not slowed down.
_BUILD_DELAY_SECONDS = 0.25


class SegmentManager:
    """Gives readers and writers the segments of one store.

    Args:
        db: Holds all records; what is in memory can be made again from it.
        engine: Returns the graph engine when the first graph is due; None for exact search only.
        settings: `compact_ratio` is used here.
    """

    def __init__(
        self, db: DB, engine: Callable[[], type[VectorIndex] | None], settings: Settings
    ) -> None:
        self.db = db
        self.settings = settings
        self._slots = Slots(db)
        self.residents = ResidentSet(db, engine, settings, self._slots)
        self._graphs = Graphs(db, self.residents, settings)
        self._closing = False
        self._builder = Worker("builder", self._build_in_background)
        self.residents.on_room = self._request_graphs

    # -- reading ------------------------------------------------------------------------------

    @contextlib.contextmanager
    def answering(
        self, collection_id: UUID, expression: Expression | None = None
    ) -> Iterator[Segment]:
        """Hold the segment that answers a query: the loaded one, or one that reads the DB where that does not fit.

        Args:
            collection_id: The collection; it is loaded first where it fits.
            expression: The filter of the query.
        """
        slot = self._slots.get(collection_id)
        with _between_commits(slot, expression):
            self._hold(slot)
            try:
                slot.touch()
                segment = slot.segment
                if segment is not None:
                    slot.hits += 1
                    yield segment
                else:
                    slot.misses += 1
                    yield stored_segment(self.db, self.db.get_collection(collection_id))
            finally:
                slot.lock.release()

    def _drop_if_in_doubt(self, slot: Slot) -> None:
        """Drop a segment that lacks the changes of an interrupted commit. It is loaded again from the DB."""
        if slot.in_doubt and slot.write_lock.acquire(wait=False):
            try:
                if slot.in_doubt:
                    with slot.lock.write():
                        self.residents.drop(slot, save=False, reason="a write was interrupted")
                        slot.in_doubt = False
            finally:
                slot.write_lock.release()

    @hands_over
    def _hold(self, slot: Slot) -> None:
        """Take a slot's lock for reading; its segment is loaded first where it fits."""
        self._drop_if_in_doubt(slot)
        slot.lock.acquire_read()
        if slot.segment is None and self.residents.may_fit(slot):
            slot.lock.release()
            with slot.write_lock:
                self._load(slot)
                # Unloading takes both locks, so it cannot come between loading and reading.
                slot.lock.acquire_read()

    @contextlib.contextmanager
    def present(
        self, collection_id: UUID, expression: Expression | None = None
    ) -> Iterator[Segment]:
        """Hold the loaded segment, or one that reads the DB; loads nothing."""
        slot = self._slots.get(collection_id)
        with _between_commits(slot, expression):
            self._drop_if_in_doubt(slot)
            with slot.lock.read():
                slot.touch()
                yield slot.segment or stored_segment(self.db, self.db.get_collection(collection_id))

    # -- writing ------------------------------------------------------------------------------

    @contextlib.contextmanager
    def writing(self, collection_id: UUID) -> Iterator[Segment]:
        """Be the collection's only writer. Yields the segment of the existing records; see also `filtering`."""
        slot = self._slots.get(collection_id)
        with slot.write_lock:
            self._drop_if_in_doubt(slot)
            # Raises where the collection was deleted while this writer waited.
            info = self.db.get_collection(collection_id)
            slot.touch()
            if slot.segment is None and self.db.extent(collection_id).next_label == 0:
                # A new collection has nothing to read, and is in memory from its first record on.
                self._load(slot)
            self._skip_damaged_rows(collection_id)
            yield slot.segment or stored_segment(self.db, info)

    def filtering(self, collection_id: UUID) -> contextlib.AbstractContextManager[None]:
        """Return the context in which a writer filters.

        It holds the slot's lock for reading. Otherwise the thread that builds the graph could set the account to what
        is held, after the bytes of a filter's column were reserved and before the column is there.
        """
        return self._slots.get(collection_id).lock.read()

    def _skip_damaged_rows(self, collection_id: UUID) -> None:
        """Write rows of zeros after damaged vectors, as nothing can be added to their checksum. No record uses them."""
        n_rows = self.db.rows_to_skip(collection_id)
        if n_rows:
            zeros = np.zeros(
                (n_rows, self.db.get_collection(collection_id).dimension or 0), dtype=np.float32
            )
            self.commit(
                collection_id,
                Changes(
                    rows=RecordRows.empty(),
                    removed=np.empty(0, dtype=np.int64),
                    vectors=zeros,
                    first_label=self.db.extent(collection_id).next_label,
                    n_new=0,
                ),
            )

    def commit(self, collection_id: UUID, changes: Changes) -> None:
        """Write changes to the DB, then to the loaded segment. Call it inside `writing`.

        Raises:
            MemoryBudgetError: There is not enough memory for it; nothing was changed.
        """
        slot = self._slots.get(collection_id)
        with self._room_to_commit(slot, changes):
            self._commit(slot, changes)
        if len(changes.rows) >= _MANY_RECORDS:
            # Encoding and writing the rows has left free blocks all over the heap.
            return_memory()
        self._request_work(slot)

    def _commit(self, slot: Slot, changes: Changes) -> None:
        collection_id, segment = slot.collection_id, slot.segment
        try:
            counted: frozenset[str] | None = None
            if segment is not None:
                counted = self._make_room(slot, segment, changes)
                if counted is None and slot.pinned:
                    counted = self._make_room_by_dropping_graph(slot, segment, changes)
                elif counted is None:
                    with slot.lock.write():
                        self.residents.drop(
                            slot, save=True, reason="it grew and did not fit any more"
                        )
            if segment is None or counted is None:
                # Without a segment an answer takes several queries of the DB: no commit may come between them.
                with slot.lock.write():
                    self.db.commit(collection_id, changes)
                slot.least_bytes = None
            else:
                slot.in_doubt = True
                self.db.commit(collection_id, changes)
                with slot.lock.write():
                    # No room was reserved for the growth of columns that readers have made since.
                    segment.metadata.forget_columns(but=counted)
                    segment.apply(self.db, changes)
                    self.residents.ledger.hand_over(slot.growth_account, collection_id)
                    self.residents.ledger.settle(collection_id, segment.resident_bytes)
                slot.in_doubt = False
        except BaseException:
            # The DB has failed, or an interrupt came between the DB and the segment. Should this call be
            # interrupted as well, the next access finds `in_doubt` set.
            self._drop_if_in_doubt(slot)
            raise
        finally:
            self.residents.ledger.settle(slot.growth_account, 0)

    def _room_to_commit(self, slot: Slot, changes: Changes) -> Grant:
        """Take what the DB needs for a commit; one of a few megabytes has to do with what there is.

        The collection itself is unloaded for it where nothing else is left.

        Raises:
            MemoryBudgetError: It is not free.
        """
        text_bytes = changes.rows.text_bytes
        n_bytes = self.db.commit_bytes(text_bytes)
        if n_bytes <= SMALL_BYTES:
            return NOTHING
        if text_bytes.sum() <= _ALWAYS_WRITTEN_BYTES:
            return WORKSPACE.take(n_bytes)
        name = self.db.get_collection(slot.collection_id).name
        what = f"Writing {len(text_bytes):,} records to collection [{name}]"
        try:
            return WORKSPACE.take_all(n_bytes, what)
        except MemoryBudgetError:
            pass
        if slot.segment is not None and not slot.pinned:
            with slot.lock.write():
                self.residents.drop(slot, save=True, reason="a write needed room")
        longest = text_bytes.max(keepdims=True)
        # Half of what is free: what was written last may not be out of memory yet.
        half = (WORKSPACE.free() + LENDERS.lendable()) // 2
        n_rows = max(
            _ALWAYS_WRITTEN_BYTES // int(longest[0]), half // self.db.commit_bytes(longest)
        )
        ways = [f"write them in parts of {n_rows:,}"] if 0 < n_rows < len(text_bytes) else []
        return WORKSPACE.take_all(
            n_bytes,
            what,
            *ways,
            *(() if ways else ("split the longest texts into several records",)),
            "make room on the machine: restart notebooks that are not used",
        )

    def _make_room(
        self, slot: Slot, segment: LoadedSegment, changes: Changes
    ) -> frozenset[str] | None:
        """Reserve the bytes that a commit will add, on the slot's `growth_account`.

        Where they do not fit, the columns that filters have made are dropped first.

        Returns:
            The keys of the columns whose growth is included; None where there is no room even without columns.
        """
        counted = self._reserve_growth(slot, segment, changes)
        if counted is None:
            with slot.lock.write():
                segment.metadata.forget_columns()
                self.residents.ledger.settle(slot.collection_id, segment.resident_bytes)
            counted = self._reserve_growth(slot, segment, changes)
        return counted

    def _reserve_growth(
        self, slot: Slot, segment: LoadedSegment, changes: Changes
    ) -> frozenset[str] | None:
        # Read before reserving: readers may make more columns until the commit, whose growth is not included.
        counted = segment.metadata.column_keys
        is_had = self.residents.reserve(slot, segment.growth(changes), slot.growth_account)
        return counted if is_had else None

    def _make_room_by_dropping_graph(
        self, slot: Slot, segment: LoadedSegment, changes: Changes
    ) -> frozenset[str]:
        """Reserve as `_make_room`, after dropping the graph of a pinned collection; it is built again in a form that fits.

        Returns:
            The keys of the columns whose growth is included.

        Raises:
            MemoryBudgetError: It does not fit without one; nothing is written.
        """
        vectors = segment.vectors
        if vectors is not None and vectors.graph is not None:
            self.residents.save_graph(segment)
            with slot.lock.write():
                vectors.drop_graph()
                self.residents.ledger.settle(slot.collection_id, segment.resident_bytes)
        counted = self._reserve_growth(slot, segment, changes)
        if counted is None:
            raise self._pin_outgrown(slot, segment, changes)
        return counted

    def _pin_outgrown(
        self, slot: Slot, segment: LoadedSegment, changes: Changes
    ) -> MemoryBudgetError:
        """Return the error for a write after which a pinned collection could not stay in memory."""
        return self.residents.no_room(
            slot,
            segment.growth(changes),
            f"This write of {len(changes.rows):,} records to collection [{segment.info.name}], which is pinned,",
            f"unpin it: client.memory.unpin({segment.info.name!r})",
            self.residents.ledger.held(slot.collection_id),
        )

    def check(self, collection_id: UUID, on_bytes: Callable[[int], object]) -> CollectionCheck:
        """Read all of a collection that is on the disk, and report what is damaged; writers wait.

        Args:
            collection_id: The collection.
            on_bytes: Called with the size of each piece that was read.
        """
        slot = self._slots.get(collection_id)
        with slot.write_lock:
            found = self.db.check(collection_id, on_bytes)
            return replace(found, derived=self.residents.damaged_files(collection_id, on_bytes))

    def configuration_changed(self, info: CollectionInfo) -> None:
        """Apply a collection's new name, configuration or TTL to its segment."""
        slot = self._slots.get(info.id)
        with slot.lock.write():
            if slot.segment is not None:
                slot.segment.info = info
                vectors = slot.segment.vectors
                if vectors is not None and vectors.graph is not None:
                    vectors.graph.set_ef_search(slot.segment.ef_search)
        self.residents.expect_idleness(slot)

    def forget(self, collection_ids: Iterable[UUID], delete: Callable[[], None]) -> None:
        """Delete collections: drop their segments and run `delete` while no thread reads them.

        An interrupt is raised before or after all of it.
        """
        # Sorted, so that two threads that delete several do not wait for each other.
        slots = [self._slots.get(one) for one in sorted(collection_ids)]

        def work() -> None:
            for slot in slots:
                self.residents.drop(slot, save=False, reason="deleted")
            delete()
            for slot in slots:
                self._slots.remove(slot.collection_id)

        with contextlib.ExitStack() as held:
            for slot in slots:
                held.enter_context(slot.write_lock)
                held.enter_context(slot.lock.write())
            shielded(work)

    def compact(self, collection_id: UUID) -> None:
        """Rewrite a collection's files without deleted records; readers and writers wait."""
        slot = self._slots.get(collection_id)
        with slot.write_lock:
            with slot.lock.write():
                was_loaded = slot.segment is not None
                self.residents.drop(slot, save=False, reason="its file is compacted")
                self.db.compact(collection_id)
            slot.least_bytes = None
            if was_loaded:
                self._load(slot)

    # -- memory -------------------------------------------------------------------------------

    def _load(self, slot: Slot) -> bool:
        loaded = self.residents.load(slot)
        segment = slot.segment
        if segment is not None and self._graphs.tail_is_long(segment):
            self._builder.request(slot.collection_id, 0)
        return loaded

    def load(self, collection_id: UUID) -> int:
        """Load a collection now, and unload others where needed; return its bytes.

        Raises:
            MemoryBudgetError: It does not fit.
        """
        slot = self._slots.get(collection_id)
        with slot.write_lock:
            if self._load(slot):
                return self.residents.ledger.held(collection_id)
        raise self.residents.no_room(
            slot,
            slot.least_bytes or 0,
            f"Collection [{self.db.get_collection(collection_id).name}]",
            "leave it on disk: every query is answered from there, exactly",
        )

    def unload(self, collection_id: UUID) -> int:
        """Free the collection's memory once its readers are done; return the bytes.

        Nothing is lost: the next access loads it again. Unloading what is not loaded returns 0.
        """
        return self.unload_all([collection_id])

    def unload_all(self, collection_ids: Iterable[UUID]) -> int:
        """Free the memory of these collections, as `unload` does, and return the bytes."""
        released = 0
        saving_until = time.perf_counter() + SAVING_SECONDS
        try:
            for collection_id in collection_ids:
                slot = self._slots.find(collection_id)
                if slot is None:
                    # Never used, or deleted by another thread meanwhile.
                    continue
                with slot.write_lock, slot.lock.write():
                    save = self.residents.is_worth_saving(slot, saving_until)
                    released += self.residents.drop(slot, save=save, reason="asked for")
        finally:
            if released:
                self.db.settle()
                return_memory()
        return released

    def pin(self, collection_id: UUID, pinned: bool) -> None:
        """Load a collection and keep it in memory whatever else needs room; or end that.

        Raises:
            MemoryBudgetError: It does not fit; it is not pinned.
        """
        slot = self._slots.get(collection_id)
        if pinned:
            self.load(collection_id)
        self._slots.pin(slot, pinned)
        self.residents.expect_idleness(slot)

    def is_pinned(self, collection_id: UUID) -> bool:
        """Say whether a collection is pinned."""
        slot = self._slots.find(collection_id)
        return slot is not None and slot.pinned

    def resident_bytes(self, collection_id: UUID) -> int:
        """Return the bytes of memory that the collection holds, 0 where it is not loaded."""
        return self.residents.ledger.held(collection_id)

    def close(self, *, save: bool = True) -> None:
        """Stop building, save the graphs of a store in a folder, and free everything.

        Args:
            save: False: write nothing, as the store's folder is gone.
        """
        self._closing = True
        keep = save and self.db.persists
        saving_until = time.perf_counter() + _CLOSING_SECONDS
        finish(
            *(self._graphs.close, self._builder.close, self.residents.close),
            *(partial(self._close_slot, slot, keep, saving_until) for slot in self._slots),
            return_memory,
        )

    def _close_slot(self, slot: Slot, keep: bool, saving_until: float) -> None:
        # An interrupted cell may have left the lock held by this thread.
        slot.lock.abandon()
        with slot.write_lock, slot.lock.write():
            try:
                # The disk space of deleted records is given back now at the latest.
                compact = keep and self._is_worth_compacting(slot.collection_id)
                wanted = keep and not compact
                wanted = wanted and self.residents.is_worth_saving(slot, saving_until)
                self.residents.drop(slot, save=wanted, reason="the store is closed")
                if compact:
                    self.db.compact(slot.collection_id)
            except StoreCorruptError as error:
                # No reason not to close: reading the damaged records raises it, too.
                logger.warning(
                    "%s was not compacted: %s", self.db.derived_path(slot.collection_id), error
                )
            except NotFoundError:
                pass  # The collection was deleted, with its database, while its slot was made.
            finally:
                self.residents.drop(slot, save=False, reason="the store is closed")
                self._slots.remove(slot.collection_id)

    # -- graphs -------------------------------------------------------------------------------

    def _request_graphs(self) -> None:
        """Have the graphs opened or built for which there was no room before."""
        for slot in self._slots:
            segment = slot.segment
            if segment is not None and self._graphs.tail_is_long(segment):
                self._builder.request(slot.collection_id, 0)

    def _request_work(self, slot: Slot) -> None:
        segment = slot.segment
        if self._is_worth_compacting(slot.collection_id) or (
            segment is not None and self._graphs.tail_is_long(segment)
        ):
            self._builder.request(slot.collection_id, _BUILD_DELAY_SECONDS)

    def _is_worth_compacting(self, collection_id: UUID) -> bool:
        extent = self.db.extent(collection_id)
        dead = extent.next_label - extent.n_records
        row_bytes = 4 * (self.db.get_collection(collection_id).dimension or 0)
        return (
            dead * row_bytes > _MIN_DEAD_BYTES
            and dead > self.settings.compact_ratio * extent.next_label
        )

    def _build_in_background(self, collection_id: UUID) -> None:
        slot = self._slots.find(collection_id)
        if slot is None or self._closing:
            return
        try:
            self._compact_or_build(slot, collection_id)
        except StoreCorruptError as error:
            # The user did not ask for this work. Reading the damaged records raises the error.
            logger.warning("Neither compacted nor put into a graph: %s", error)
        except NotFoundError:
            # Another thread has deleted it meanwhile.
            pass
        except MemoryBudgetError as error:
            # The next write requests it again, and so does memory that becomes free.
            logger.debug("Put off: %s", error)

    def _compact_or_build(self, slot: Slot, collection_id: UUID) -> None:
        """Compact a collection, and bring its graph up to date, where that is worth it."""
        if self._is_worth_compacting(collection_id):
            self.compact(collection_id)
        self._drop_if_in_doubt(slot)
        with slot.lock.read():
            segment = slot.segment
            wanted = segment is not None and self._graphs.tail_is_long(segment)
        if wanted:
            self._graphs.build(slot, wait=False)

    def status(self, collection_id: UUID) -> IndexingStatus:
        """Return how much of the collection the graph covers."""
        slot = self._slots.get(collection_id)
        self._drop_if_in_doubt(slot)
        # Not `present`, which counts as a use: that would keep it in memory, and slow its build down.
        with slot.lock.read():
            segment = slot.segment or stored_segment(self.db, self.db.get_collection(collection_id))
            return self._graphs.status(segment, slot)

    def build(self, collection_id: UUID) -> None:
        """Load a collection, and add all its records to its graph, if it is large enough for one.

        Raises:
            MemoryBudgetError: The collection, or the smallest form of its graph, does not fit.
        """
        self.load(collection_id)
        self._graphs.build(self._slots.get(collection_id), wait=True)

    def why_this_form(self, segment: Segment) -> str:
        """Say in words why a collection is held in its present form."""
        return self.residents.explain_form(segment)


def _between_commits(
    slot: Slot, expression: Expression | None
) -> contextlib.AbstractContextManager[None]:
    """Keep writers out while a filter needs the DB, even where the collection is loaded.

    The DB evaluates regular expressions. A commit is in the DB a moment before it is in the segment, so without
    this the texts that are matched could be other than those that are returned.
    """
    return slot.write_lock if patterns(expression) else contextlib.nullcontext()
