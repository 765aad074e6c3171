"""`SegmentManager`: what is in memory, and how it gets there and goes again.

Each collection has a slot. A reader holds the slot's lock together with other readers; a commit, an
unload and a step of graph building hold it alone, for milliseconds. So nothing is freed under a reader,
and a collection is loaded once however many threads ask for it.

Everything that makes memory grow or shrink goes through `_load` and `_drop`; a memory budget has its
place there.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import sys
import threading
import time
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from chroma_nb.errors import StoreCorruptError
from chroma_nb.index.base import GraphParameters, VectorIndex
from chroma_nb.segment.builder import Builder
from chroma_nb.segment.index_file import open_graph, save_graph
from chroma_nb.segment.rwlock import RWLock
from chroma_nb.segment.segment import LoadedSegment, Segment, stored_segment
from chroma_nb.types import CollectionInfo, IndexingStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from uuid import UUID

    from chroma_nb.db.base import DB, Changes
    from chroma_nb.settings import Settings

logger = logging.getLogger("chroma_nb")

#: Vectors given to a graph that nobody searches yet, at a time: large enough to keep the cores busy.
_BUILD_STEP = 4_096
#: The same for a graph in use: queries wait for one step, some 15 ms.
_EXTEND_STEP = 128
#: A tail is added to the graph when scanning it costs about as much as searching the graph.
_TAIL_RECORDS = 1_000
_TAIL_SHARE = 0.02
#: A commit or a build of so many records ends with giving freed memory back; that takes some 10 ms.
_MANY_RECORDS = 20_000
#: Dead vectors that are not worth a compaction.
_MIN_DEAD_BYTES = 1 << 20
#: Quiet time after a write before building starts, so that a loop of adds is not slowed down.
_BUILD_DELAY_SECONDS = 0.25


@dataclass
class _Slot:
    """One collection's place in memory."""

    lock: RWLock = field(default_factory=RWLock)
    #: Held by whoever writes to the collection, from the first look to the commit.
    write_lock: threading.RLock = field(default_factory=threading.RLock)
    #: Held by whoever builds its graph; never waited for while holding the others.
    build_lock: threading.Lock = field(default_factory=threading.Lock)
    segment: LoadedSegment | None = None


class SegmentManager:
    """Owns the loaded segments of one store.

    Args:
        db: The truth.
        engine: Returns the graph engine when the first graph is due, or None for exact search only.
        settings: `graph_min_records`, `threads` and `compact_ratio` are used.
    """

    def __init__(
        self, db: DB, engine: Callable[[], type[VectorIndex] | None], settings: Settings
    ) -> None:
        self.db = db
        self._engine = engine
        self.settings = settings
        self._slots: dict[UUID, _Slot] = {}
        self._slots_lock = threading.Lock()
        self._save_lock = threading.Lock()
        self._closing = False
        self._builder = Builder(self._build_in_background)

    def _slot(self, collection_id: UUID) -> _Slot:
        slot = self._slots.get(collection_id)
        if slot is None:
            self.db.get_collection(collection_id)
            with self._slots_lock:
                slot = self._slots.setdefault(collection_id, _Slot())
        return slot

    # -- reading ------------------------------------------------------------------------------

    @contextlib.contextmanager
    def loaded(self, collection_id: UUID) -> Iterator[LoadedSegment]:
        """Hold the collection's segment for reading, loading it first where it is not."""
        slot = self._slot(collection_id)
        while True:
            with slot.lock.read():
                segment = slot.segment
                if segment is not None:
                    yield segment
                    return
            # No commit may come between what is read of the DB and the segment's place in its slot.
            with slot.write_lock, slot.lock.write():
                if slot.segment is None:
                    slot.segment = self._load(collection_id)

    @contextlib.contextmanager
    def present(self, collection_id: UUID) -> Iterator[Segment]:
        """Hold what answers without loading: the loaded segment, or one that reads the DB."""
        slot = self._slot(collection_id)
        with slot.lock.read():
            if slot.segment is not None:
                yield slot.segment
                return
        # Several questions to the DB make up one answer: no commit may come between them.
        with slot.write_lock, slot.lock.read():
            yield slot.segment or stored_segment(self.db, self.db.get_collection(collection_id))

    def resident_bytes(self, collection_id: UUID) -> int:
        """Return the bytes of memory that the collection holds, 0 where it is not loaded."""
        slot = self._slot(collection_id)
        with slot.lock.read():
            return 0 if slot.segment is None else slot.segment.resident_bytes

    # -- writing ------------------------------------------------------------------------------

    @contextlib.contextmanager
    def writing(self, collection_id: UUID) -> Iterator[Segment]:
        """Be the collection's only writer; yields what existing records are read from."""
        slot = self._slot(collection_id)
        with slot.write_lock:
            # Deleted while this writer waited: say so instead of writing into nothing.
            info = self.db.get_collection(collection_id)
            if slot.segment is None and self.db.extent(collection_id).next_label == 0:
                # Nothing to load: a new collection is in memory from its first record on.
                with slot.lock.write():
                    slot.segment = LoadedSegment(self.db, info)
            yield slot.segment or stored_segment(self.db, info)

    def commit(self, collection_id: UUID, changes: Changes) -> None:
        """Write changes to the DB, then to the loaded segment. Call it inside `writing`."""
        slot = self._slot(collection_id)
        segment = slot.segment
        try:
            self.db.commit(collection_id, changes)
            if segment is not None:
                with slot.lock.write():
                    segment.apply(self.db, changes)
        except BaseException:
            # Interrupted between the DB and the segment: the segment may lag behind the truth. It is
            # derived, so it goes, and the next access reads it anew.
            if segment is not None:
                with slot.lock.write():
                    self._drop(slot, save=False)
            raise
        if len(changes.rows) >= _MANY_RECORDS:
            # What the call took to encode and write its rows is scattered over the heap by now.
            return_memory()
        self._request_work(collection_id, slot)

    def configuration_changed(self, info: CollectionInfo) -> None:
        """Take notice of a collection's new configuration."""
        slot = self._slot(info.id)
        with slot.lock.write():
            if slot.segment is not None:
                slot.segment.info = info
                vectors = slot.segment.vectors
                if vectors is not None and vectors.graph is not None:
                    vectors.graph.set_ef_search(slot.segment.ef_search)

    # -- loading and unloading ----------------------------------------------------------------

    def _load(self, collection_id: UUID) -> LoadedSegment:
        started = time.perf_counter()
        info = self.db.get_collection(collection_id)
        segment = LoadedSegment.load(self.db, info)
        engine = self._engine_for(segment)
        if segment.vectors is not None and engine is not None:
            n_labels = segment.metadata.n_labels
            prefix = self.db.derived_path(collection_id)
            found = open_graph(prefix, engine, graph_parameters(info), n_labels)
            if found is not None:
                segment.vectors.graph, segment.vectors.graph_end = found
                segment.vectors.discard(np.flatnonzero(~segment.metadata.alive))
        logger.debug(
            "loaded %s: %d bytes in %.1f ms",
            *(info.name, segment.resident_bytes, (time.perf_counter() - started) * 1e3),
        )
        if self._tail_is_long(segment):
            self._builder.request(collection_id, 0)
        return segment

    def unload(self, collection_id: UUID) -> int:
        """Free the collection's memory once its readers are done; return the bytes.

        Nothing is lost: the next access loads it again. Unloading what is not loaded returns 0.
        """
        slot = self._slot(collection_id)
        with slot.write_lock, slot.lock.write():
            released = self._drop(slot, save=True)
        if released:
            self.db.settle()
            return_memory()
        return released

    def _drop(self, slot: _Slot, *, save: bool) -> int:
        """Let go of a slot's segment; its lock is held for writing."""
        segment = slot.segment
        if segment is None:
            return 0
        released = segment.resident_bytes
        if save:
            self._save_graph(segment)
        slot.segment = None
        if segment.vectors is not None:
            segment.vectors.graph = None
            segment.vectors.source.release()
        return released

    def forget(self, collection_id: UUID, delete: Callable[[], None]) -> None:
        """Delete a collection: drop its segment and run `delete` while nobody reads."""
        slot = self._slot(collection_id)
        with slot.write_lock, slot.lock.write():
            self._drop(slot, save=False)
            delete()
        with self._slots_lock:
            self._slots.pop(collection_id, None)

    def _save_graph(self, segment: LoadedSegment) -> None:
        vectors = segment.vectors
        if vectors is None or vectors.graph is None or not vectors.graph_changed:
            return
        with self._save_lock:
            # The builder and somebody who waited for it may both come to this point.
            if vectors.graph_changed:
                prefix = self.db.derived_path(segment.info.id)
                if save_graph(prefix, vectors.graph, vectors.graph_end):
                    vectors.graph_changed = False

    def close(self) -> None:
        """Stop building, save the graphs of a store that persists, and free everything."""
        self._closing = True
        self._builder.close()
        for collection_id, slot in list(self._slots.items()):
            with slot.write_lock, slot.lock.write():
                # What deleting left over gives its disk space back now at the latest.
                compact = self.db.persists and self._is_worth_compacting(collection_id)
                self._drop(slot, save=self.db.persists and not compact)
                if compact:
                    self.db.compact(collection_id)
        self._slots.clear()
        return_memory()

    # -- graphs -------------------------------------------------------------------------------

    def _engine_for(self, segment: LoadedSegment) -> type[VectorIndex] | None:
        """Return the engine, None where the collection gets no graph; small ones import none."""
        if segment.vectors is None or segment.metadata.n_live < self.settings.graph_min_records:
            return None
        return self._engine()

    def _wants_graph(self, segment: LoadedSegment) -> bool:
        return self._engine_for(segment) is not None

    def _tail_is_long(self, segment: LoadedSegment) -> bool:
        vectors = segment.vectors
        if vectors is None or not self._wants_graph(segment):
            return False
        if vectors.graph is None:
            return True
        tail = vectors.n_labels - vectors.graph_end
        return tail > max(_TAIL_RECORDS, _TAIL_SHARE * vectors.graph_end)

    def _request_work(self, collection_id: UUID, slot: _Slot) -> None:
        segment = slot.segment
        if self._is_worth_compacting(collection_id) or (
            segment is not None and self._tail_is_long(segment)
        ):
            self._builder.request(collection_id, _BUILD_DELAY_SECONDS)

    def _is_worth_compacting(self, collection_id: UUID) -> bool:
        extent = self.db.extent(collection_id)
        dead = extent.next_label - extent.n_records
        row_bytes = 4 * (self.db.get_collection(collection_id).dimension or 0)
        return (
            dead * row_bytes > _MIN_DEAD_BYTES
            and dead > self.settings.compact_ratio * extent.next_label
        )

    def _build_in_background(self, collection_id: UUID) -> None:
        slot = self._slots.get(collection_id)
        if slot is None or self._closing:
            return
        if self._is_worth_compacting(collection_id):
            self.compact(collection_id)
        with slot.lock.read():
            segment = slot.segment
            wanted = segment is not None and self._tail_is_long(segment)
        if wanted:
            self.build(collection_id, wait=False)

    def compact(self, collection_id: UUID) -> None:
        """Rewrite a collection without its dead labels; readers wait."""
        slot = self._slot(collection_id)
        with slot.write_lock, slot.lock.write():
            was_loaded = slot.segment is not None
            self._drop(slot, save=False)
            self.db.compact(collection_id)
            if was_loaded:
                slot.segment = self._load(collection_id)

    def status(self, collection_id: UUID) -> IndexingStatus:
        """Return how much of the collection the graph covers."""
        with self.present(collection_id) as segment:
            total = segment.metadata.n_live
            unindexed = 0
            if isinstance(segment, LoadedSegment) and self._wants_graph(segment):
                vectors = segment.vectors
                assert vectors is not None
                if vectors.graph is None:
                    unindexed = total
                else:
                    tail = segment.metadata.alive[vectors.graph_end :]
                    unindexed = int(np.count_nonzero(tail))
        done = total - unindexed
        return IndexingStatus(done, unindexed, total, done / total if total else 1.0)

    def build(self, collection_id: UUID, *, wait: bool = True) -> None:
        """Bring the graph up to date: every record of a collection that is large enough for one.

        Args:
            collection_id: The collection.
            wait: Wait for a build that is going on, then see to the rest; else leave it alone.
        """
        slot = self._slot(collection_id)
        with self.loaded(collection_id):
            pass
        if not slot.build_lock.acquire(blocking=wait):
            return
        try:
            while not self._closing and self._build_once(collection_id, slot):
                pass
        finally:
            slot.build_lock.release()
        with slot.lock.read():
            if slot.segment is not None and self.db.persists:
                self._save_graph(slot.segment)

    def _build_once(self, collection_id: UUID, slot: _Slot) -> bool:
        """Build a first graph, or take one step; say whether there is more to do."""
        with slot.lock.read():
            segment = slot.segment
            if segment is None or not self._wants_graph(segment):
                return False
            vectors = segment.vectors
            assert vectors is not None
            if vectors.graph is None:
                alive = segment.metadata.alive.copy()
                start = None
            else:
                start = vectors.graph_end
                if start >= vectors.n_labels:
                    return False
        if start is None:
            return self._build_first(slot, segment, alive)
        with slot.lock.write():
            if slot.segment is not segment or vectors.graph is None:
                return slot.segment is not None
            stop = min(start + _EXTEND_STEP, vectors.n_labels)
            labels = np.flatnonzero(segment.metadata.alive[start:stop]) + start
            block = vectors.source.block(start, stop)[labels - start]
            vectors.graph.add(labels, block, self.settings.threads)
            vectors.graph_end = stop
            vectors.graph_changed = True
        return True

    def _build_first(
        self, slot: _Slot, segment: LoadedSegment, alive: np.ndarray[tuple[int], np.dtype[np.bool_]]
    ) -> bool:
        """Build a graph beside the segment, which goes on answering exactly, and put it in."""
        engine = self._engine_for(segment)
        vectors = segment.vectors
        if engine is None or vectors is None:
            # So many records were deleted since the decision that a graph is not worth it.
            return False
        end = len(alive)
        graph = engine.create(graph_parameters(segment.info), end + end // 8)
        for start in range(0, end, _BUILD_STEP):
            if self._closing or slot.segment is not segment:
                return not self._closing and slot.segment is not None
            stop = min(start + _BUILD_STEP, end)
            labels = np.flatnonzero(alive[start:stop]) + start
            try:
                # Read, not mapped: building should leave no pages of the file in this process.
                block = vectors.source.block(start, stop)
            except (OSError, StoreCorruptError):
                if slot.segment is segment:
                    raise
                # Compacted or deleted in between, and the file is gone.
                return slot.segment is not None
            if len(labels) < len(block):
                block = block[labels - start]
            graph.add(labels, block, self.settings.threads)
        with slot.lock.write():
            if slot.segment is segment:
                vectors.graph, vectors.graph_end, vectors.graph_changed = graph, end, True
                vectors.discard(np.flatnonzero(alive & ~segment.metadata.alive[:end]))
                # The scans that answered until now mapped the vectors; the graph has its own.
                vectors.source.release()
        self.db.settle()
        if end >= _MANY_RECORDS:
            return_memory()
        return True


def graph_parameters(info: CollectionInfo) -> GraphParameters:
    """Return the parameters of a collection's graph by its configuration."""
    hnsw = info.configuration["hnsw"]
    assert info.dimension is not None
    return GraphParameters(
        space=info.space,
        dimension=info.dimension,
        m=int(hnsw.get("max_neighbors") or 16),
        ef_construction=int(hnsw.get("ef_construction") or 100),
        ef_search=int(hnsw.get("ef_search") or 100),
    )


def return_memory() -> None:
    """Give freed memory back to the operating system, where the allocator has to be asked (glibc)."""
    trim = _malloc_trim()
    if trim is not None:
        trim(0)


@lru_cache(maxsize=1)
def _malloc_trim() -> Callable[[int], int] | None:
    if not sys.platform.startswith("linux"):
        return None
    try:
        trim: Callable[[int], int] = ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError):
        return None
    return trim
