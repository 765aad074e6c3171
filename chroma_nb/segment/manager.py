"""`SegmentManager`: gives readers and writers the segments of the collections, and runs the background work.

Each collection has a slot with locks. Readers, and the thread that builds the graph, hold `Slot.lock` for reading;
a commit and an unload hold it for writing, for milliseconds. So nothing is freed while it is read. A collection is
loaded under `Slot.write_lock`, so it is loaded once, however many threads ask for it.

`ResidentSet` decides what is in memory; `Graphs` builds the graphs; `SharedView` follows other processes' commits where
the DB is shared.
"""

from __future__ import annotations

import contextlib
import logging
import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from chroma_nb.db.base import Changes, RecordRows
from chroma_nb.errors import (
    ConflictError,
    InternalError,
    MemoryBudgetError,
    NotFoundError,
    ServerUnavailableError,
    StoreCorruptError,
)
from chroma_nb.filters.expression import patterns
from chroma_nb.memory.trim import return_memory
from chroma_nb.segment.commit_room import CommitRoom
from chroma_nb.segment.derived_files import DerivedFiles
from chroma_nb.segment.graphs import Graphs
from chroma_nb.segment.locks import hands_over
from chroma_nb.segment.metadata_cache import MetadataCache
from chroma_nb.segment.refusals import no_room
from chroma_nb.segment.resident_set import SAVING_SECONDS, ResidentSet
from chroma_nb.segment.scans import Scans
from chroma_nb.segment.segment import Segment, stored_segment
from chroma_nb.segment.shared_view import SharedView
from chroma_nb.segment.slot import Slot, Slots
from chroma_nb.segment.worker import Worker
from chroma_nb.shielded import finish, shielded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from uuid import UUID

    from chroma_nb.check_report import CollectionCheck
    from chroma_nb.db.base import DB, Extent
    from chroma_nb.filters.expression import Expression
    from chroma_nb.index.base import VectorIndex
    from chroma_nb.segment.scans import LocalScan
    from chroma_nb.settings import Settings
    from chroma_nb.types import CollectionInfo, FieldSummary, IndexingStatus

logger = logging.getLogger("chroma_nb")

#: After a commit of this many records, freed memory is given back to the system; that takes some 10 ms.
_MANY_RECORDS = 20_000
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
        settings: `compact_ratio` and `temp_path` are used here.
    """

    def __init__(
        self, db: DB, engine: Callable[[], type[VectorIndex] | None], settings: Settings
    ) -> None:
        self.db = db
        self.settings = settings
        self._slots = Slots(db)
        self._derived = DerivedFiles(db, settings.temp_path)
        self.residents = ResidentSet(db, engine, settings, self._slots, self._derived)
        self.metadata_cache = MetadataCache(db)
        self._room = CommitRoom(db, self.residents)
        self._scans = Scans(db, self.present, settings.temp_path)
        self._view = SharedView(
            db, self._slots, self.residents, self._room, self._derived, self._scans
        )
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
        slot = self._current(collection_id)
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

    @hands_over
    def _hold(self, slot: Slot) -> None:
        """Take a slot's lock for reading; its segment is loaded first where it fits."""
        self.residents.drop_if_in_doubt(slot)
        self._begin_reading(slot)
        if slot.segment is None and self.residents.may_fit(slot):
            slot.lock.release()
            with slot.write_lock:
                self._load(slot)
                # Unloading takes both locks, so it cannot come between loading and reading.
                slot.lock.acquire_read()

    @hands_over
    def _begin_reading(self, slot: Slot) -> None:
        """Take a slot's lock for reading. If the collection was evicted during a commit, wait for the commit first."""
        slot.lock.acquire_read()
        if slot.segment is None and slot.is_committing:
            slot.lock.release()
            with slot.write_lock:
                slot.lock.acquire_read()

    @contextlib.contextmanager
    def present(
        self, collection_id: UUID, expression: Expression | None = None
    ) -> Iterator[Segment]:
        """Hold the loaded segment, or one that reads the DB; loads nothing."""
        slot = self._current(collection_id)
        with _between_commits(slot, expression):
            self.residents.drop_if_in_doubt(slot)
            self._begin_reading(slot)
            try:
                slot.touch()
                yield slot.segment or stored_segment(self.db, self.db.get_collection(collection_id))
            finally:
                slot.lock.release()

    def scan(
        self,
        collection_id: UUID,
        expression: Expression | None,
        ids: Sequence[str] | None,
        include: Sequence[str],
        **options: Any,
    ) -> LocalScan:
        """Return a scan of the matching records as they are now; see `Scans.start` for the options."""
        slot = self._current(collection_id)
        # No writer: a commit is in the DB a moment before it is in the segment.
        with slot.write_lock:
            return self._start_scan(slot, expression, ids, include, options)

    def _start_scan(
        self,
        slot: Slot,
        expression: Expression | None,
        ids: Sequence[str] | None,
        include: Sequence[str],
        options: dict[str, Any],
    ) -> LocalScan:
        with self.present(slot.collection_id, expression) as segment:
            labels = segment.metadata.select(expression, ids=ids)
            return self._scans.start(slot, segment, labels, include, **options)

    def _current(self, collection_id: UUID) -> Slot:
        """Return a collection's slot; where the DB is shared, what others have committed is seen from now on."""
        slot = self._slots.get(collection_id)
        if self.db.shared and self._view.catch_up(slot):
            self._request_work(slot)
        return slot

    def extent(self, collection_id: UUID) -> Extent:
        """Return the collection's counters as they are now."""
        if self.db.shared:
            self._current(collection_id)
        return self.db.extent(collection_id)

    def metadata_keys(self, collection_id: UUID) -> list[str]:
        """Return the metadata keys; see `API.metadata_keys`."""
        if self.db.shared:
            self._current(collection_id)
        return self.metadata_cache.keys(collection_id)

    def describe_fields(self, collection_id: UUID, n_values: int) -> list[FieldSummary]:
        """Return a description of the metadata; see `API.describe_fields`."""
        if self.db.shared:
            self._current(collection_id)
        return self.metadata_cache.fields(collection_id, n_values)

    def deleted_elsewhere(self, collection_id: UUID) -> None:
        """Free what is held of a collection that another process has deleted."""
        self._view.free_deleted(collection_id)

    # -- writing ------------------------------------------------------------------------------

    @contextlib.contextmanager
    def writing(self, collection_id: UUID) -> Iterator[Segment]:
        """Be the collection's only writer in this process. Yields the segment of the existing records; see `filtering`."""
        slot = self._slots.get(collection_id)
        with slot.write_lock:
            self.residents.drop_if_in_doubt(slot)
            if self.db.shared:
                self._view.catch_up_locked(slot)
            self._derived.remove_unnamed()
            # Raises where the collection was deleted while this writer waited.
            info = self.db.get_collection(collection_id)
            slot.touch(writing=True)
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
            dimension = self.db.get_collection(collection_id).dimension or 0
            extent = self.db.extent(collection_id)
            self.commit(
                collection_id,
                Changes(
                    rows=RecordRows.empty(),
                    removed=np.empty(0, dtype=np.int64),
                    vectors=np.zeros((n_rows, dimension), dtype=np.float32),
                    first_label=extent.next_label,
                    n_new=0,
                    base_version=extent.version,
                ),
            )

    def commit(self, collection_id: UUID, changes: Changes) -> Extent:
        """Write changes to the DB, then to the loaded segment. Call it inside `writing`.

        Returns:
            The extent after the commit.

        Raises:
            ConflictError: Another process has committed since `writing` began; nothing was changed.
            MemoryBudgetError: There is not enough memory for it; nothing was changed.
        """
        slot = self._slots.get(collection_id)
        self._scans.before_commit(slot, changes.removed)
        with self._room.for_db(slot, changes):
            extent = self._commit(slot, changes)
        if len(changes.rows) >= _MANY_RECORDS:
            # Encoding and writing the rows has left free blocks all over the heap.
            return_memory()
        self._request_work(slot)
        return extent

    def _commit(self, slot: Slot, changes: Changes) -> Extent:
        collection_id, segment = slot.collection_id, slot.segment
        try:
            counted: frozenset[str] | None = None
            if segment is not None:
                counted = self._room.for_segment(slot, segment, changes)
                if counted is None and slot.pinned:
                    counted = self._room.by_dropping_graph(slot, segment, changes)
                elif counted is None:
                    with slot.lock.write():
                        self.residents.drop(
                            slot, save=True, reason="it grew and did not fit any more"
                        )
            if segment is None or counted is None:
                # Without a segment an answer takes several queries of the DB: no commit may come between them.
                with slot.lock.write():
                    extent = self.db.commit(collection_id, changes)
                slot.least_bytes = None
            else:
                slot.in_doubt = slot.is_committing = True
                extent = self.db.commit(collection_id, changes)
                self._room.use(slot, segment, changes, extent.version, counted)
                slot.in_doubt = False
        except ConflictError:
            # Nothing was committed, so the segment is as right as it was.
            slot.in_doubt = False
            raise
        except BaseException:
            # The DB has failed, or an interrupt came between the DB and the segment. Should this call be
            # interrupted as well, the next access finds `in_doubt` set.
            self.residents.drop_if_in_doubt(slot)
            raise
        finally:
            slot.is_committing = False
            self.residents.ledger.set_held(slot.growth_account, 0)
        return extent

    def check(self, collection_id: UUID, on_bytes: Callable[[int], object]) -> CollectionCheck:
        """Read all of a collection that is on the disk, and report what is damaged; writers wait.

        Args:
            collection_id: The collection.
            on_bytes: Called with the size of each piece that was read.
        """
        slot = self._slots.get(collection_id)
        with slot.write_lock:
            if self.db.shared:
                self._view.catch_up_locked(slot)
            found = self.db.check(collection_id, on_bytes)
            damaged = self.residents.saved_graphs.damaged_files(collection_id, on_bytes)
            return replace(found, derived=damaged)

    def configuration_changed(self, info: CollectionInfo) -> None:
        """Apply a collection's new name, configuration or TTL to its segment."""
        self.residents.configure(self._slots.get(info.id))

    def delete_collections(
        self, collection_ids: Iterable[UUID], delete: Callable[[], None]
    ) -> None:
        """Delete collections: free what is held of them, and have the DB delete them, while no thread reads them.

        An interrupt is raised before or after all of it.

        Args:
            collection_ids: The collections.
            delete: Deletes them in the DB.
        """
        # Sorted, so that two threads that delete several do not wait for each other.
        slots = [self._slots.get(collection_id) for collection_id in sorted(collection_ids)]

        def work() -> None:
            for slot in slots:
                self.residents.drop(slot, save=False, reason="deleted")
            with self._derived.looking_again():
                delete()
            for slot in slots:
                self._scans.end(slot, "its collection was deleted")
                self._slots.remove(slot.collection_id)
            self._derived.remove(slot.collection_id for slot in slots)

        with contextlib.ExitStack() as held:
            for slot in slots:
                held.enter_context(slot.write_lock)
                held.enter_context(slot.lock.write())
            shielded(work)

    def compact(self, collection_id: UUID) -> None:
        """Rewrite a collection's files without deleted records; readers and writers wait.

        Raises:
            ConflictError: Another process has committed meanwhile; nothing was changed.
        """
        slot = self._slots.get(collection_id)
        with slot.write_lock:
            if self.db.shared:
                self._view.catch_up_locked(slot)
            slot.lost_graph = slot.lost_graph or self._graphs.is_in_database(collection_id)
            with slot.lock.write():
                was_loaded = slot.segment is not None
                self.residents.drop(slot, save=False, reason="its file is compacted")
                with self._scans.compacting(slot):
                    self._compact_files(collection_id)
            slot.least_bytes = None
            if was_loaded:
                self._load(slot)
            if slot.lost_graph:
                self._builder.request(collection_id, 0)

    def _compact_files(self, collection_id: UUID) -> None:
        with self._derived.looking_again():
            self.db.compact(collection_id)
            self._derived.remove_earlier(collection_id)

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
        slot = self._current(collection_id)
        with slot.write_lock:
            if self._load(slot):
                return self.residents.ledger.held(collection_id)
        raise no_room(
            self.residents,
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
            self._graphs.close,
            self._builder.close,
            self.residents.close,
            *(partial(self._close_slot, slot, keep, saving_until) for slot in self._slots),
            self._derived.close,
        )

    def _close_slot(self, slot: Slot, keep: bool, saving_until: float) -> None:
        # An interrupted cell may have left the lock held by this thread.
        slot.lock.abandon()
        with slot.write_lock, slot.lock.write():
            self._scans.end(slot, "the store was closed")
            try:
                # The disk space of deleted records is given back now at the latest.
                compact = keep and self._is_worth_compacting(slot.collection_id)
                compact = compact and not self._graphs.is_in_database(slot.collection_id)
                wanted = keep and not compact
                wanted = wanted and self.residents.is_worth_saving(slot, saving_until)
                self.residents.drop(slot, save=wanted, reason="the store is closed")
                if compact:
                    self._compact_files(slot.collection_id)
            except (InternalError, MemoryBudgetError) as error:
                # No reason not to close, as what was committed is there: its records are damaged, which reading them says, too;
                # or the disk is full, and the space is given back later.
                logger.warning("Collection %s was not compacted: %s", slot.collection_id, error)
            except (NotFoundError, ConflictError):
                pass  # Deleted while its slot was made, or another process writes to it and can compact it.
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
            logger.warning("Neither compacted nor put into an index: %s", error)
        except NotFoundError:
            # Another thread has deleted it meanwhile.
            pass
        except (MemoryBudgetError, ConflictError, ServerUnavailableError) as error:
            # The next write requests it again, and so does memory that becomes free.
            logger.debug("Put off: %s", error)

    def _compact_or_build(self, slot: Slot, collection_id: UUID) -> None:
        """Compact a collection, and bring its graph up to date, where that is worth it."""
        if self._is_worth_compacting(collection_id):
            self.compact(collection_id)
        if slot.lost_graph:
            slot.lost_graph = False
            self._graphs.build_in_database(collection_id, in_background=True)
        self.residents.drop_if_in_doubt(slot)
        with slot.lock.read():
            segment = slot.segment
            wanted = segment is not None and self._graphs.tail_is_long(segment)
        if wanted:
            self._graphs.build(slot, in_background=True)

    def status(self, collection_id: UUID) -> IndexingStatus:
        """Return how much of the collection the graph covers."""
        slot = self._current(collection_id)
        self.residents.drop_if_in_doubt(slot)
        # Not `present`, which counts as a use: that would keep it in memory, and slow its build down.
        with slot.lock.read():
            segment = slot.segment or stored_segment(self.db, self.db.get_collection(collection_id))
            return self._graphs.status(segment, slot)

    def build(self, collection_id: UUID) -> None:
        """Load a collection, and add all its records to its graph, if it is large enough for one.

        One that does not fit gets a graph in the database, where that can hold one.

        Raises:
            MemoryBudgetError: The collection, or the smallest form of its graph, does not fit.
        """
        try:
            self.load(collection_id)
        except MemoryBudgetError:
            if not self._graphs.build_in_database(collection_id):
                raise
            return
        self._graphs.build(self._slots.get(collection_id), in_background=False)


def _between_commits(
    slot: Slot, expression: Expression | None
) -> contextlib.AbstractContextManager[None]:
    """Keep writers out while a filter needs the DB, even where the collection is loaded.

    The DB evaluates regular expressions. A commit is in the DB a moment before it is in the segment, so without
    this the texts that are matched could be other than those that are returned.
    """
    return slot.write_lock if patterns(expression) else contextlib.nullcontext()
