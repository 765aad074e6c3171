"""`Graphs`: builds the collections' graphs while queries go on, within the budget.

What is called *graph* here is any `VectorIndex`, also one of codes. A graph covers the labels below `graph_end`; the records
after it are its *tail*, which queries scan.
"""

from __future__ import annotations

import contextlib
import logging
import time
from typing import TYPE_CHECKING

import numpy as np

from chroma_nb.errors import StoreCorruptError
from chroma_nb.index.base import graph_parameters
from chroma_nb.index.cores import CORES, give_way
from chroma_nb.memory.preflight import over_budget
from chroma_nb.memory.pressure import PRESSURE
from chroma_nb.memory.sizes import format_bytes
from chroma_nb.memory.trim import return_memory
from chroma_nb.memory.workspace import WORKSPACE
from chroma_nb.progress import progress_bar
from chroma_nb.segment import policy
from chroma_nb.segment.index_file import has_died_building, has_graph, noted_build
from chroma_nb.segment.pace import Pace
from chroma_nb.segment.refusals import no_room
from chroma_nb.segment.worker import Worker
from chroma_nb.types import IndexingStatus

if TYPE_CHECKING:
    from uuid import UUID

    from numpy.typing import NDArray

    from chroma_nb.db.base import DB
    from chroma_nb.db.vector_source import VectorSource
    from chroma_nb.index.base import VectorIndex
    from chroma_nb.progress import ProgressBar
    from chroma_nb.segment.resident_set import ResidentSet
    from chroma_nb.segment.segment import LoadedSegment, Segment
    from chroma_nb.segment.slot import Slot
    from chroma_nb.settings import Settings

logger = logging.getLogger("chroma_nb")

#: A step of a first graph, which no query searches yet: long enough to keep the cores busy, short enough that a
#: query that begins soon gets a core.
_BUILD_SECONDS = 0.1
#: The same while other threads read or write.
_BUILD_SECONDS_WHILE_USED = 0.002
#: The vectors that such a step reads at most.
_BUILD_BYTES = 6 << 20
#: A step of a graph in use. Searches wait until it ends.
_EXTEND_SECONDS = 0.015
#: The same while other threads read or write: no longer than a search takes.
_EXTEND_SECONDS_WHILE_USED = 0.0005
#: The vectors that such a step reads at most.
_EXTEND_BYTES = 3 << 19
#: A graph that was built while others read is saved when nobody has read for this long: the engines hold Python's
#: global lock while they write, some 2 ms per MB.
_SAVE_SECONDS = 1.0
#: It is saved after this long in any case.
_SAVE_WITHIN_SECONDS = 60.0
#: A tail longer than both (records, and share of the graph) is added to the graph: scanning it costs about as much
#: as searching the graph.
_TAIL_RECORDS = 1_000
_TAIL_SHARE = 0.02
#: A graph whose build a process did not survive is built by itself only if this many times its size is free.
_AFTER_DEATH_FACTOR = 3
#: After a build of this many records, freed memory is given back to the system; that takes some 10 ms.
_MANY_RECORDS = 20_000
#: An index learns from a sample (`VectorIndex.learn`): so many bytes of vectors at each of so many places of a collection.
_SAMPLE_PLACES = 16
_SAMPLE_BYTES = 128 << 10


def _sample(source: VectorSource, end: int) -> NDArray[np.float32]:
    """Return a sample of the vectors of labels 0 .. end - 1: float32, shape (n, dimension)."""
    n = max(1, _SAMPLE_BYTES // source.row_bytes)
    places = np.unique(np.linspace(0, max(0, end - n), _SAMPLE_PLACES).astype(np.int64))
    parts = [source.read_range(at, min(int(at) + n, end)) for at in places.tolist()]
    return np.ascontiguousarray(np.concatenate(parts))


class _ClosingError(Exception):
    """The store is being closed."""


class Graphs:
    """Builds graphs and brings them up to date.

    Args:
        db: Holds all records.
        residents: Reserves the memory of a graph before it is made.
        settings: `threads` and `progress` are used.
    """

    def __init__(self, db: DB, residents: ResidentSet, settings: Settings) -> None:
        self.db = db
        self._residents = residents
        self._saved = residents.saved_graphs
        self.settings = settings
        self._closing = False
        self._saver = Worker("saver", self._save_when_unused)
        #: Collections whose graph is to be saved: slot, and by when (monotonic).
        self._to_save: dict[UUID, tuple[Slot, float]] = {}

    @property
    def closing(self) -> bool:
        """Whether the store is being closed, so that no build is begun."""
        return self._closing

    def close(self) -> None:
        """Begin no more builds, stop the running one, and wait for graphs that are being saved."""
        self._closing = True
        self._saver.close()

    def _wants_graph(self, segment: LoadedSegment) -> bool:
        vectors = segment.vectors
        # Vectors of very large or very small length are compared in float64, which no graph does.
        suited = vectors is not None and vectors.suits_graph
        return suited and self._saved.are_wanted(
            segment.metadata.n_live, segment.info.dimension or 0
        )

    def tail_is_long(self, segment: LoadedSegment) -> bool:
        """Say whether the graph is due to be built or brought up to date."""
        vectors = segment.vectors
        if vectors is None or not self._wants_graph(segment):
            return False
        if vectors.graph is None:
            return True
        tail = vectors.n_labels - vectors.graph_end
        return tail > max(_TAIL_RECORDS, _TAIL_SHARE * vectors.graph_end)

    def status(self, segment: Segment, slot: Slot) -> IndexingStatus:
        """Return how much of the collection the graph covers; the slot's lock is held."""
        total = segment.metadata.n_live
        unindexed = 0
        loaded = slot.segment
        if loaded is not None and loaded.vectors is not None and self._wants_graph(loaded):
            if loaded.vectors.graph is None:
                unindexed = total - int(total * (slot.graph_progress or 0.0))
            else:
                tail = loaded.metadata.alive[loaded.vectors.graph_end :]
                unindexed = int(np.count_nonzero(tail))
        done = total - unindexed
        return IndexingStatus(done, unindexed, total, done / total if total else 1.0)

    def build(self, slot: Slot, *, in_background: bool) -> None:
        """Bring a loaded collection's graph up to date.

        Args:
            slot: The collection's.
            in_background: Nobody waits for it. Otherwise wait for a build that is running and then add the rest,
                show the progress, and raise where there is no memory for a graph.

        Raises:
            MemoryBudgetError: The smallest form of the graph does not fit, or the memory got short meanwhile.
        """
        if not slot.build_lock.acquire(wait=not in_background):
            return
        try:
            CORES.start_building()
            segment = slot.segment
            total = 0 if segment is None else segment.metadata.n_labels
            if (
                segment is not None
                and segment.vectors is not None
                and segment.vectors.graph is not None
            ):
                total -= segment.vectors.graph_end
            shown = self.settings.progress and not in_background
            threads = self.settings.threads
            dimension = 1 if segment is None else segment.info.dimension or 1
            most = max(1, _EXTEND_BYTES // (4 * dimension))
            pace = Pace(threads, _EXTEND_SECONDS, _EXTEND_SECONDS_WHILE_USED, most)
            with progress_bar(total, "Building the index", did="indexed", enabled=shown) as bar:
                while not self.closing and self._build_or_extend(
                    slot, pace, bar, must=not in_background
                ):
                    pass
        finally:
            CORES.stop_building()
            slot.build_lock.release()
        if not in_background or not CORES.used_lately:
            self._save(slot)
        else:
            self._to_save[slot.collection_id] = (slot, time.monotonic() + _SAVE_WITHIN_SECONDS)
            self._saver.request(slot.collection_id, _SAVE_SECONDS)

    def is_in_database(self, collection_id: UUID) -> bool:
        """Say whether the database holds a graph of a collection; a compaction drops it."""
        ranking = self.db.ranking
        return ranking is not None and ranking.has_graphs and ranking.n_covered(collection_id) > 0

    def build_in_database(self, collection_id: UUID, *, in_background: bool = False) -> bool:
        """Bring a graph up to date that the database holds; say whether it can.

        Args:
            collection_id: A collection that does not fit into memory.
            in_background: Nobody waits for it; it ends where the store is closed.
        """
        ranking, extent = self.db.ranking, self.db.extent(collection_id)
        if ranking is None or not ranking.has_graphs:
            return False
        info = self.db.get_collection(collection_id)
        if info.dimension is None or not self._saved.are_wanted(extent.n_records, info.dimension):
            return False
        shown = self.settings.progress and not in_background
        title = f"Building the graph in {ranking.name}"
        with progress_bar(extent.next_label, title, did="linked", enabled=shown) as bar:

            def on_labels(n: int) -> None:
                bar.update(n)
                if in_background and self.closing:
                    raise _ClosingError

            with contextlib.suppress(_ClosingError):
                return ranking.build(collection_id, info.space, on_labels)
        return False

    def _save_when_unused(self, collection_id: UUID) -> None:
        slot, until = self._to_save.pop(collection_id)
        if CORES.used_lately and time.monotonic() < until:
            self._to_save.setdefault(collection_id, (slot, until))
            self._saver.request(collection_id, _SAVE_SECONDS)
        else:
            self._save(slot)

    def _save(self, slot: Slot) -> None:
        with slot.lock.read():
            segment = slot.segment
            if segment is not None and segment.vectors is not None and self.db.persists:
                # Another build may have begun: it changes the graph while it holds the slot's lock for reading only.
                with segment.vectors.graph_lock.read():
                    self._saved.save(segment)

    def _build_or_extend(self, slot: Slot, pace: Pace, bar: ProgressBar, *, must: bool) -> bool:
        """Build a first graph, or add one step to a graph in use; say whether there is more to do."""
        with slot.lock.read():
            segment = slot.segment
            if segment is None or not self._wants_graph(segment):
                return False
            vectors = segment.vectors
            assert vectors is not None
            graph = vectors.graph
            is_whole = vectors.graph_claimed <= vectors.graph_end
            is_done = graph is not None and vectors.graph_end >= vectors.n_labels
            if graph is None:
                alive = segment.metadata.alive.copy()
        if not is_whole:
            self._drop_broken(slot, segment)
            return True
        if is_done:
            self._release_mapping(slot, segment)
            return False
        if graph is None:
            return self._build_first(slot, segment, alive, bar, must=must)
        return self._extend(slot, segment, graph, pace, bar)

    def _extend(
        self,
        slot: Slot,
        segment: LoadedSegment,
        graph: VectorIndex,
        pace: Pace,
        bar: ProgressBar,
    ) -> bool:
        """Add the beginning of the tail to the graph; say whether there is more to do."""
        owner, ledger = slot.graph_account, self._residents.ledger
        vectors = segment.vectors
        assert vectors is not None
        step = pace.next()
        growth = graph.growth(step)
        try:
            if not self._residents.reserve(slot, growth, owner):
                # The rest stays a tail, which queries scan.
                return False
            # For reading: queries go on. Only searches of the graph wait, and only while it changes.
            with slot.lock.read():
                if slot.segment is not segment or vectors.graph is not graph:
                    return slot.segment is not None
                start = vectors.graph_end
                stop = min(start + step, vectors.n_labels)
                labels = np.flatnonzero(segment.metadata.alive[start:stop]) + start
                block = vectors.source.read_range(start, stop)
                if len(labels) < len(block):
                    block = block[labels - start]
                n_held, held = graph.n_held, graph.resident_bytes
                # Before the graph grows, as other threads compare the account with what is held.
                ledger.hand_over(owner, slot.collection_id)
                with vectors.graph_lock.write():
                    started = time.perf_counter()
                    vectors.graph_claimed, vectors.graph_changed = stop, False
                    try:
                        graph.add(labels, block, pace.threads)
                        vectors.graph_end = stop
                    except KeyboardInterrupt:
                        # Python raises it after the engine's call. If all was added, the graph is whole.
                        if graph.n_held == n_held + len(labels):
                            vectors.graph_end = stop
                        raise
                    vectors.graph_changed = True
                    pace.took(stop - start, time.perf_counter() - started)
                unused = growth - (graph.resident_bytes - held)
                if unused:
                    ledger.take(slot.collection_id, -unused)
        except BaseException:
            self._drop_broken(slot, segment)
            raise
        finally:
            if ledger.held(owner):
                ledger.set_held(owner, 0)
        if pace.others_work:
            give_way()
        bar.update(stop - start)
        return True

    def _drop_broken(self, slot: Slot, segment: LoadedSegment) -> None:
        """Drop a graph to which a step was added only in part. It is built again from the records."""
        vectors = segment.vectors
        assert vectors is not None
        with slot.lock.write():
            if vectors.graph_claimed > vectors.graph_end:
                vectors.drop_graph()
            if slot.segment is segment:
                self._residents.ledger.set_held(slot.collection_id, segment.resident_bytes)

    def _release_mapping(self, slot: Slot, segment: LoadedSegment) -> None:
        """Unmap vectors that were mapped to scan a long tail; the graph has its own copy."""
        vectors = segment.vectors
        if vectors is None or not vectors.source.mapped_bytes:
            return
        with slot.lock.write():
            if slot.segment is segment and vectors.graph_end >= vectors.n_labels:
                vectors.source.release()
                self._residents.ledger.set_held(slot.collection_id, segment.resident_bytes)

    def _build_first(
        self,
        slot: Slot,
        segment: LoadedSegment,
        alive: np.ndarray[tuple[int], np.dtype[np.bool_]],
        bar: ProgressBar,
        *,
        must: bool,
    ) -> bool:
        """Open the saved graph or build one, and then put it in; until then queries are answered exactly.

        Args:
            slot: The collection's slot.
            segment: The loaded collection.
            alive: bool, shape (labels,): False for a deleted label.
            bar: Shows the progress.
            must: Raise where there is no memory for it.

        Returns:
            Whether there is more to do.
        """
        owner = slot.graph_account
        ledger = self._residents.ledger
        try:
            form = self._choose_form(slot, segment, len(alive), must=must)
            if form is None:
                return False
            found = self._saved.open(segment, form, alive)
            if found is not None:
                self._put_in(slot, segment, *found, alive, is_saved=True)
                return True
            prefix = self._residents.derived.prefix(segment.info.id, segment.generation)
            if self._build_elsewhere(slot, segment, alive, form, prefix, bar):
                found = self._saved.open(segment, form, alive)
                if found is not None:
                    self._put_in(slot, segment, *found, alive, is_saved=True)
                    return True
            if self.closing or slot.segment is not segment:
                return not self.closing and slot.segment is not None
            with noted_build(prefix) if self.db.persists else contextlib.nullcontext():
                return self._build_form(slot, segment, alive, form, bar, must=must)
        finally:
            slot.graph_progress = None
            # 0 already where the graph was put in.
            ledger.set_held(owner, 0)

    def _build_elsewhere(
        self,
        slot: Slot,
        segment: LoadedSegment,
        alive: np.ndarray[tuple[int], np.dtype[np.bool_]],
        form: type[VectorIndex],
        prefix: str,
        bar: ProgressBar,
    ) -> bool:
        """Have another process build the graph, where there is one; say whether its files are in their place.

        The graph is opened like any saved one, so it is checked. Records that came meanwhile are its tail.
        """
        if self._saved.elsewhere is None or not self.db.persists:
            return False
        end = len(alive)
        shown = 0

        def on_progress(done: int) -> None:
            nonlocal shown
            slot.graph_progress = done / end
            bar.update(max(0, done - shown))
            shown = max(shown, done)

        def is_wanted() -> bool:
            return not self.closing and slot.segment is segment

        vectors = segment.vectors
        assert vectors is not None
        parameters = graph_parameters(segment.info)
        built = self._saved.elsewhere.build(
            vectors.source, form, parameters, alive, prefix, on_progress, is_wanted
        )
        if built is None:
            bar.update(-shown)
            return False
        try:
            self._saved.adopt(built, segment, form)
        except OSError as error:
            logger.warning("A graph that a worker has built cannot be taken over: %s", error)
            bar.update(-shown)
            return False
        return True

    def _choose_form(
        self, slot: Slot, segment: LoadedSegment, n_labels: int, *, must: bool
    ) -> type[VectorIndex] | None:
        """Reserve the memory of the best form that fits, and return the form; None where none is built."""
        owner = slot.graph_account
        n_records = segment.metadata.n_live
        if not self._wants_graph(segment):
            # Since the build was requested, so many records were deleted that a graph is not worth it.
            return None
        parameters = graph_parameters(segment.info)
        started = time.perf_counter()
        held = self._residents.ledger.held(slot.collection_id)
        room = self._residents.room_for(slot) - held
        forms = self._saved.forms(n_records, parameters.dimension)
        prefix = self._residents.derived.prefix(segment.info.id, segment.generation)
        # A saved graph comes before a larger one that would have to be built.
        fitting = list(policy.forms_that_fit(forms, parameters, n_labels, room))
        fitting.sort(key=lambda form: not has_graph(prefix, form))
        for form in fitting:
            need = form.bytes_for(parameters, n_labels)
            if not must and self._may_be_fatal(prefix, form, need):
                reason = f"a process ended while it built this index, and {format_bytes(need)} are hardly free"
                self._residents.note("stay exact", slot, reason, need, 0.0)
                return None
            if self._residents.reserve(slot, need, owner):
                return form
        *_, smallest = self._saved.forms(n_records, parameters.dimension)
        need = smallest.bytes_for(parameters, n_labels)
        if must:
            raise no_room(
                self._residents,
                slot,
                need,
                f"The smallest index of collection [{segment.info.name}]",
                "go on without it: queries stay exact, and read the vectors from disk",
                held,
            )
        seconds = time.perf_counter() - started
        reason = f"an index of {format_bytes(need)} does not fit"
        self._residents.note("stay exact", slot, reason, need, seconds)
        return None

    def _may_be_fatal(self, prefix: str, form: type[VectorIndex], need: int) -> bool:
        """Say whether a process ended while it built this graph, and there is not much more memory now."""
        if has_graph(prefix, form) or not has_died_building(prefix):
            return False
        return WORKSPACE.free() < _AFTER_DEATH_FACTOR * need

    def _build_form(
        self,
        slot: Slot,
        segment: LoadedSegment,
        alive: np.ndarray[tuple[int], np.dtype[np.bool_]],
        form: type[VectorIndex],
        bar: ProgressBar,
        *,
        must: bool,
    ) -> bool:
        vectors = segment.vectors
        assert vectors is not None
        end = len(alive)
        graph = form.create(graph_parameters(segment.info), end + end // 8)
        most = max(1, _BUILD_BYTES // vectors.source.row_bytes)
        threads = self.settings.threads
        if not graph.code_bytes:
            pace = Pace(threads, _BUILD_SECONDS, _BUILD_SECONDS_WHILE_USED, most)
        else:
            # In full steps from the start: 100,000 codes are made within a second or two.
            pace = Pace(threads, _BUILD_SECONDS, _BUILD_SECONDS, most, first=most)
            with contextlib.suppress(OSError, StoreCorruptError):
                # A damaged vector raises below, where it is read to be encoded.
                graph.learn(_sample(vectors.source, end))
        start = 0
        while start < end:
            if self.closing or slot.segment is not segment or self._residents.ledger.is_over:
                return not self.closing and slot.segment is not None
            if PRESSURE.is_on:
                need = form.bytes_for(graph_parameters(segment.info), end)
                return self._give_up(slot, segment, need, must=must)
            slot.graph_progress = start / end
            stop = min(start + pace.next(), end)
            labels = np.flatnonzero(alive[start:stop]) + start
            try:
                # Read, not mapped: building should leave no pages of the file in this process.
                block = vectors.source.read_range(start, stop)
            except (OSError, StoreCorruptError):
                if slot.segment is segment:
                    raise
                # The collection was compacted or deleted meanwhile, and the file with it.
                return slot.segment is not None
            if len(labels) < len(block):
                block = block[labels - start]
            started = time.perf_counter()
            graph.add(labels, block, pace.threads)
            pace.took(stop - start, time.perf_counter() - started)
            if pace.others_work:
                give_way()
            bar.update(stop - start)
            start = stop
        self._put_in(slot, segment, graph, end, alive, is_saved=False)
        return True

    def _give_up(self, slot: Slot, segment: LoadedSegment, need: int, *, must: bool) -> bool:
        """Stop building, as the memory is short. The build starts from the beginning when there is room again.

        Args:
            slot: The collection's slot.
            segment: The loaded collection.
            need: Bytes of the graph.
            must: Raise.
        """
        if must:
            # Without the reserve. More may be free by now; the error has to name less than the need.
            free = min(max(0, WORKSPACE.free() - PRESSURE.reserve()), need - 1)
            raise over_budget(
                need,
                free,
                self._residents.budget,
                f"The index of collection [{segment.info.name}] was not finished, as the machine's memory got "
                "short: it",
                "make room, and call build_index() again",
                "go on without it: queries stay exact, and read the vectors from disk",
            )
        reason = "building its index was put off: the machine's memory is short"
        self._residents.note("stay exact", slot, reason, need, 0.0)
        return False

    def _put_in(
        self,
        slot: Slot,
        segment: LoadedSegment,
        graph: VectorIndex,
        end: int,
        alive: np.ndarray[tuple[int], np.dtype[np.bool_]],
        *,
        is_saved: bool,
    ) -> None:
        """Have queries use a graph from now on, unless its segment was unloaded.

        Args:
            slot: The collection's slot.
            segment: The segment that the graph was made for.
            graph: The graph of the labels below `end`.
            end: The first label that is not in it.
            alive: bool, shape (labels,): what was not deleted when the graph was made.
            is_saved: The graph is the one on the disk.
        """
        vectors = segment.vectors
        assert vectors is not None
        with slot.lock.write():
            if slot.segment is segment:
                graph.discard(np.flatnonzero(alive[:end] & ~segment.metadata.alive[:end]))
                vectors.graph, vectors.graph_end = graph, end
                vectors.graph_changed = not is_saved
                vectors.graph_claimed = end
                # The scans until now mapped the vectors; the graph has its own copy.
                vectors.source.release()
                ledger = self._residents.ledger
                ledger.hand_over(slot.graph_account, slot.collection_id)
                ledger.set_held(slot.collection_id, segment.resident_bytes)
        self.db.settle()
        if end >= _MANY_RECORDS:
            return_memory()
