"""`ResidentSet`: which collections of a store are in memory, under which budget, and why.

Memory grows only after `reserve` has allowed it, and `reserve` unloads other collections first. So by the ledger
the loaded collections never grow beyond the budget.
"""

from __future__ import annotations

import math
import threading
import time
from functools import partial
from typing import TYPE_CHECKING
from uuid import UUID

from chroma_nb.index.base import graph_parameters
from chroma_nb.memory.budget import is_auto, read_budget
from chroma_nb.memory.ledger import Ledger
from chroma_nb.memory.lender import LENDERS, Lender
from chroma_nb.memory.pressure import PRESSURE
from chroma_nb.memory.shared_budget import SHARED_BUDGET
from chroma_nb.memory.sizes import format_bytes
from chroma_nb.memory.trim import return_memory
from chroma_nb.memory.workspace import WORKSPACE
from chroma_nb.segment import policy, refusals
from chroma_nb.segment.database_memory import DatabaseMemory
from chroma_nb.segment.history import History
from chroma_nb.segment.index_file import has_graph
from chroma_nb.segment.saved_graphs import SavedGraphs
from chroma_nb.segment.segment import OBJECT_BYTES, LoadedSegment
from chroma_nb.segment.snapshot import snapshot_bytes
from chroma_nb.segment.unload_order import REUSE_FACTOR, UnloadOrder
from chroma_nb.segment.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from chroma_nb.db.base import DB
    from chroma_nb.index.base import VectorIndex
    from chroma_nb.segment.derived_files import DerivedFiles
    from chroma_nb.segment.slot import Slot, Slots
    from chroma_nb.settings import Settings
    from chroma_nb.types import CollectionInfo

#: The machine's free memory is checked once this many bytes were reserved since the last check, as it takes 0.1 ms.
_UNCHECKED_BYTES = 1 << 20
#: Memory is tight below this many times `DB.working_bytes`. Then a small collection that is loaded replaces another one.
_TIGHT_FACTOR = 10
#: It does so only where the loaded collections hold more than the budget divided by this.
_REPLACE_FROM = 64
#: Freed memory is given back to the system when this much was unloaded: it takes some ms each time.
_TRIM_BYTES = 1 << 20
#: Where many collections are unloaded at once, small ones are saved for this long; others are read from the DB again.
SAVING_SECONDS = 0.02
#: Up to this size, reading a collection from the DB again takes 1 or 2 ms.
_SMALL_BYTES = 64 << 10
#: A collection that is in use when its idle time ends is looked at again after this long.
_BUSY_SECONDS = 1.0
#: `set_budget` gives up when nothing was released for this long.
_PATIENCE_SECONDS = 30.0
#: Asks the janitor to give freed memory back, in the place of a collection's id. No collection has this one.
_RETURN_FREED = UUID(int=0)
#: It is asked this long after the last collection was unloaded.
_TRIM_DELAY_SECONDS = 0.05


class ResidentSet(Lender):
    """The loaded collections of one store.

    Args:
        db: Holds all records; what is in memory can be made again from it.
        engine: Returns the graph engine; None for exact search only.
        settings: `memory_budget`, `idle_unload_seconds`, `graph_min_records` and `progress` are used.
        slots: The collections' slots.
        derived: The collections' derived files.
    """

    database: DatabaseMemory

    def __init__(
        self,
        db: DB,
        engine: Callable[[], type[VectorIndex] | None],
        settings: Settings,
        slots: Slots,
        derived: DerivedFiles,
    ) -> None:
        self.db = db
        self.settings = settings
        self.slots = slots
        self.derived = derived
        self.saved_graphs = SavedGraphs(engine, settings.graph_min_records, derived)
        given = settings.memory_budget
        self.ledger = Ledger(0, SHARED_BUDGET) if is_auto(given) else Ledger(read_budget(given))
        self.database = DatabaseMemory(db, self.ledger)
        if not is_auto(given):
            self.database.set_limit()
        self.history = History()
        self._budget_lock = threading.Lock()
        #: Bytes reserved since the machine's free memory was last checked.
        self._unchecked = 0
        #: Bytes unloaded since freed memory was last given back to the system.
        self._freed = 0
        #: Little memory is left, so a small collection that is loaded replaces another one. This begins before there
        #: is too little: of many small collections, only a part of the memory goes back to the system.
        self._replaces_small = False
        self._order = UnloadOrder(slots, self.loaded_collections, settings.idle_unload_seconds)
        #: No search for leftover accounts before this moment (monotonic).
        self._leftovers_from = 0.0
        self._janitor = Worker("janitor", self._unload_expired)
        #: Called when there is room again; collections may lack a graph for which there was none.
        self.on_room: Callable[[], None] = lambda: None
        self.ledger.pinned_bytes = self.pinned_bytes
        LENDERS.add(self)

    # -- the budget ---------------------------------------------------------------------------

    @property
    def budget(self) -> int:
        """Bytes that the loaded collections may hold together."""
        return self.ledger.budget

    def budget_bytes(self, value: int | float | str) -> int:
        """Return a budget in bytes; of ``"auto"``, this store's part."""
        return SHARED_BUDGET.with_ledger(self.ledger) if is_auto(value) else read_budget(value)

    def set_budget(self, value: int | float | str) -> int:
        """Change the budget, and unload what no longer fits before this returns; return it in bytes.

        Raises:
            MemoryBudgetError: The pinned collections alone are larger, or collections were in use all the time and
                could not be unloaded. The budget does not change.
        """
        before, budget = self.budget, self.budget_bytes(value)
        saving_until = time.perf_counter() + SAVING_SECONDS
        with self._budget_lock:
            try:
                used, until = self.ledger.used, time.monotonic() + _PATIENCE_SECONDS
                while not self.ledger.lower(budget):
                    self._check_pinned(budget)
                    if self.ledger.used < used:
                        used, until = self.ledger.used, time.monotonic() + _PATIENCE_SECONDS
                    elif time.monotonic() > until:
                        raise refusals.still_held(self, budget)
                    if not self._evict_one(
                        None, wait=True, saving_until=saving_until
                    ) and not self._correct_leftovers(now=True):
                        # A graph is being built: its builder sees that the ledger is over the new budget, and stops.
                        time.sleep(0.005)
                if is_auto(value):
                    self.ledger.share(SHARED_BUDGET)
            finally:
                self.ledger.end_lowering()
                self._return_freed(at_once=True)
                self.sample()
        self.database.set_limit()
        if budget > before:
            self.on_room()
        return budget

    def _check_pinned(self, budget: int) -> None:
        if budget < (pinned := self.pinned_bytes()):
            raise refusals.pinned_too_large(self, pinned, budget)

    def reserve(self, slot: Slot, n_bytes: int, owner: Hashable | None = None) -> bool:
        """Take bytes for a slot, and unload other collections where needed; say whether it was possible.

        Collections that are being read or written are passed over, so this never waits for another collection.

        Args:
            slot: The collection that needs them; it is not unloaded itself.
            n_bytes: How many more. 0 or fewer are always possible.
            owner: The account; None is the slot's own.
        """
        account = slot.collection_id if owner is None else owner
        if n_bytes <= 0:
            # Needs no free memory, however little the machine has left.
            return self.ledger.take(account, n_bytes)
        self._unchecked += n_bytes
        if (
            self._replaces_small
            and n_bytes < _SMALL_BYTES
            and self.ledger.used > self.budget // _REPLACE_FROM
            and self._evict_one(slot)
        ):
            self._return_freed()
        while True:
            shortfall = self._machine_shortfall(n_bytes)
            if not shortfall and self.ledger.take(account, n_bytes):
                return True
            if self._could_fit(slot, n_bytes, shortfall) and (
                self._evict_one(slot) or self._unload_elsewhere(n_bytes, shortfall)
            ):
                self._return_freed()
            elif not (
                shortfall and self._return_freed(at_once=True)
            ) and not self._correct_leftovers(slot):
                return False

    def _machine_shortfall(self, n_bytes: int) -> int:
        """Return how many bytes the machine lacks for `n_bytes` more; 0 where it has enough or is not checked."""
        if self._unchecked < _UNCHECKED_BYTES:
            return 0
        PRESSURE.watch()
        room = self.machine_room()
        self._replaces_small = room < n_bytes + (_TIGHT_FACTOR - 1) * self.db.working_bytes
        shortfall = n_bytes - room
        if shortfall <= 0:
            self._unchecked = 0
        return max(0, shortfall)

    def machine_room(self) -> int:
        """Return the machine's free bytes beyond the reserve: `Pressure` would unload what is loaded into that."""
        reserve = max(0, PRESSURE.reserve() - WORKSPACE.headroom)
        return WORKSPACE.free() - reserve - self.db.working_bytes

    def _could_fit(self, slot: Slot, n_bytes: int, shortfall: int) -> bool:
        """Say whether unloading everything that is not pinned would make room."""
        held = 0 if slot.pinned else self.ledger.held(slot.collection_id)
        mine = self.lendable - held
        others = LENDERS.lendable(but=self)
        # Unloading another store's collections makes no room in a budget that is not shared with it.
        counted = mine + others if self.ledger.is_shared else mine
        return shortfall <= mine + others and n_bytes <= self.ledger.free + counted

    def _unload_elsewhere(self, n_bytes: int, shortfall: int) -> bool:
        wanted = max(shortfall, n_bytes - self.ledger.free if self.ledger.is_shared else 0)
        reason = "another store needed room"
        return wanted > 0 and LENDERS.give_back(wanted, reason, but=self) > 0

    def _correct_leftovers(self, but: Slot | None = None, *, now: bool = False) -> int:
        """Correct accounts that hold more than there is, as an interrupted call leaves them; return the bytes.

        Args:
            but: A slot that is left alone.
            now: Search even where the last search was a moment ago.
        """
        started = time.monotonic()
        if started < self._leftovers_from and not now:
            return 0
        before = self.ledger.used
        for owner in self.ledger.accounts():
            collection_id, doing = owner if isinstance(owner, tuple) else (owner, "")
            slot = self.slots.find(collection_id)
            if slot is None:
                # The collection was deleted, and what it held is freed.
                self.ledger.set_held(owner, 0)
            elif slot is not but:
                self._correct_unused(slot, is_graph=doing == "graph")
        ended = time.monotonic()
        # As for orders: so searching takes at most 5 % of the time.
        self._leftovers_from = ended + REUSE_FACTOR * (ended - started)
        return max(0, before - self.ledger.used)

    def _correct_unused(self, slot: Slot, *, is_graph: bool) -> None:
        """Set a slot's accounts to what is really held, if no other thread is working on it."""
        lock = slot.build_lock if is_graph else slot.write_lock
        if lock.is_mine or not lock.acquire(wait=False):
            return
        try:
            if is_graph:
                self.ledger.set_held(slot.graph_account, 0)
            elif slot.lock.acquire_write(wait=False):
                try:
                    there = 0 if slot.segment is None else slot.segment.resident_bytes
                    if there < self.ledger.held(slot.collection_id):
                        self.ledger.set_held(slot.collection_id, there)
                    self.ledger.set_held(slot.growth_account, 0)
                finally:
                    slot.lock.release()
        finally:
            lock.release()

    def room_for(self, slot: Slot | None) -> int:
        """Return the bytes that a collection could hold if all others that are not pinned were unloaded.

        With a shared budget that means those of other stores, too. The machine's free memory is not considered.
        """
        return max(0, self.ledger.most - self.pinned_bytes(but=slot))

    def pinned_bytes(self, but: Slot | None = None) -> int:
        """Return the bytes that pinned collections hold, `but` left out."""
        return sum(
            self.ledger.held(slot.collection_id) for slot in self.slots.pins() if slot is not but
        )

    # -- unloading for others: `Lender` -------------------------------------------------------

    @property
    def lendable(self) -> int:
        return max(0, self.ledger.used - self.ledger.passing - self.pinned_bytes())

    def oldest_use(self) -> float | None:
        return self._order.oldest_use()

    def lend(self, n_bytes: int, reason: str, until: float = math.inf) -> int:
        returned, saving_until = 0, time.perf_counter() + SAVING_SECONDS
        while returned < n_bytes:
            released = self._evict_one(None, saving_until=saving_until, reason=reason)
            returned += released
            following = self.oldest_use() if released else None
            if following is None or following > until:
                break
        if returned:
            self._return_freed(at_once=True)
            self.sample()
        return returned

    def room_returned(self) -> None:
        # Of the shared budget this store's part may have grown.
        self.database.set_limit()
        self.on_room()

    def _evict_one(
        self,
        but: Slot | None,
        *,
        wait: bool = False,
        saving_until: float | None = None,
        reason: str = "room was needed",
    ) -> int:
        """Unload the first collection in the order that is not in use; return its bytes, 0 where there is none.

        Args:
            but: A slot that is left alone.
            wait: Wait for collections that are in use.
            saving_until: Of many, small ones are saved until then (`time.perf_counter`); None saves it.
            reason: Why, in words.
        """
        while True:
            is_new = self._order.renew()
            while (found := self._order.take(but)) is not None:
                slot, why = found
                why = f"{why}, {reason}"
                if released := self._try_unload(slot, why, wait=wait, saving_until=saving_until):
                    return released
            if is_new:
                return 0

    def _try_unload(
        self, slot: Slot, reason: str, *, wait: bool = False, saving_until: float | None = None
    ) -> int:
        """Unload a collection unless it is in use; return the bytes that were freed. See `_evict_one`."""
        if not slot.write_lock.acquire(wait=wait):
            return 0
        try:
            if not slot.lock.acquire_write(wait=wait):
                return 0
            try:
                save = saving_until is None or self.is_worth_saving(slot, saving_until)
                # Of many that are unloaded at once, the caller takes one sample at the end.
                released = self.drop(slot, save=save, reason=reason, sample=saving_until is None)
            finally:
                slot.lock.release()
        finally:
            slot.write_lock.release()
        self._freed += released
        return released

    def is_worth_saving(self, slot: Slot, until: float) -> bool:
        """Say whether to save one of many collections that are unloaded: a large one, or any before `until`."""
        return self.ledger.held(slot.collection_id) > _SMALL_BYTES or time.perf_counter() < until

    def _return_freed(self, *, at_once: bool = False) -> bool:
        """Give freed memory back to the system if enough was unloaded; say whether that was done.

        Args:
            at_once: Any unloaded byte is enough.
        """
        is_due = self._freed >= (1 if at_once else _TRIM_BYTES)
        if is_due:
            self._freed = 0
            return_memory()
        return is_due

    def drop(self, slot: Slot, *, save: bool, reason: str, sample: bool = True) -> int:
        """Unload a slot's segment and return its bytes. The caller holds its `write_lock`, and `lock` for writing.

        Args:
            slot: The collection's slot.
            save: Write its graph and a snapshot of its records to their files first.
            reason: Why, in words.
            sample: Take a sample for the history afterwards.
        """
        segment = slot.segment
        if segment is None:
            return 0
        started = time.perf_counter()
        released = self.ledger.held(slot.collection_id)
        if save and not slot.in_doubt:
            self.saved_graphs.save(segment)
            segment.save(self.derived)
        slot.segment = None
        slot.in_doubt = False
        if segment.vectors is not None:
            segment.vectors.graph = None
            segment.vectors.source.release()
        segment.metadata.release()
        self.ledger.set_held(slot.collection_id, 0)
        slot.unloads += 1
        slot.least_bytes = None
        seconds = time.perf_counter() - started
        self.note("unload", slot, reason, released, seconds, sample=sample)
        return released

    def drop_if_in_doubt(self, slot: Slot) -> None:
        """Drop a segment that lacks the changes of an interrupted commit. It is loaded again from the DB."""
        if slot.in_doubt and slot.write_lock.acquire(wait=False):
            try:
                if slot.in_doubt:
                    with slot.lock.write():
                        self.drop(slot, save=False, reason="a write was interrupted")
                        slot.in_doubt = False
            finally:
                slot.write_lock.release()

    def configure(self, slot: Slot) -> None:
        """Apply a collection's new name, configuration or TTL to its segment.

        Raises:
            NotFoundError: The collection was deleted meanwhile.
        """
        with slot.lock.write():
            segment = slot.segment
            if segment is not None:
                # Read under the lock, so that nobody puts back what is older: the first commit adds the dimension.
                segment.info = self.db.get_collection(slot.collection_id)
                if segment.vectors is not None and segment.vectors.graph is not None:
                    segment.vectors.graph.set_ef_search(segment.ef_search)
        self.expect_idleness(slot)

    def expect_idleness(self, slot: Slot) -> None:
        """Have the collection unloaded when it has not been used for its idle time."""
        after = policy.expiry(self._ttl(slot), self.settings.idle_unload_seconds)
        if after is not None and slot.segment is not None and not slot.pinned:
            idle = time.monotonic() - (slot.last_used or time.monotonic())
            self._janitor.request(slot.collection_id, max(0.0, after - idle))

    def _unload_expired(self, collection_id: UUID) -> None:
        if collection_id == _RETURN_FREED:
            self._return_freed(at_once=True)
            self.db.settle()
            return
        slot = self.slots.find(collection_id)
        if slot is None or slot.segment is None or slot.pinned:
            return
        ttl = self._ttl(slot)
        after = policy.expiry(ttl, self.settings.idle_unload_seconds)
        if after is None:
            return
        left = after - (time.monotonic() - (slot.last_used or 0.0))
        if left > 0:
            self._janitor.request(collection_id, left)
            return
        reason = f"not used for {after:g} s ({'idle' if ttl is None else 'its TTL'})"
        if self._try_unload(slot, reason):
            # Once for all collections whose time ends at this moment.
            self._janitor.request(_RETURN_FREED, _TRIM_DELAY_SECONDS)
        elif slot.segment is not None:
            self._janitor.request(collection_id, _BUSY_SECONDS)

    def _ttl(self, slot: Slot) -> float | None:
        segment = slot.segment
        return None if segment is None else segment.info.ttl_seconds

    def close(self) -> None:
        """Stop the janitor, leave the shared budget, and unload nothing for others any more."""
        LENDERS.remove(self)
        PRESSURE.rest()
        self.ledger.close()
        self._janitor.close()

    # -- loading ------------------------------------------------------------------------------

    def load(self, slot: Slot) -> bool:
        """Load a collection; the caller holds its `write_lock`. Returns False where it does not fit.

        The largest saved graph that fits is opened. Where there is none, it is loaded for exact search.
        """
        if slot.segment is not None:
            return True
        if not self.may_fit(slot):
            return False
        started = time.perf_counter()
        info = self.db.get_collection(slot.collection_id)
        extent = self.db.extent(slot.collection_id)
        prefix = self.derived.prefix(info.id, extent.generation)
        base = snapshot_bytes(prefix, extent.version)
        if base is None:
            base = LoadedSegment.bytes_for(extent.next_label, self.db.text_sizes(info.id))
        else:
            base += OBJECT_BYTES
        choices: list[tuple[int, type[VectorIndex] | None]] = [(base, None)]
        if info.dimension is not None:
            parameters = graph_parameters(info)
            fitting = policy.forms_that_fit(
                self.saved_graphs.forms(extent.n_records, info.dimension),
                parameters,
                extent.next_label,
                self.room_for(slot) - base,
            )
            saved = next((form for form in fitting if has_graph(prefix, form)), None)
            if saved is not None:
                choices.insert(0, (base + saved.bytes_for(parameters, extent.next_label), saved))
        slot.loading = True
        try:
            for need, chosen in choices:
                if self.reserve(slot, need):
                    self._read(slot, info, chosen)
                    break
            else:
                slot.least_bytes = base
                reason = f"{format_bytes(base)} do not fit"
                self.note("stay on disk", slot, reason, base, time.perf_counter() - started)
                return False
        except BaseException:
            with slot.lock.write():
                slot.segment = None
            self.ledger.set_held(slot.collection_id, 0)
            raise
        finally:
            slot.loading = False
        slot.last_used = time.monotonic()
        if extent.next_label:
            # A new collection is empty: nothing was loaded.
            slot.loads += 1
            held = self.ledger.held(slot.collection_id)
            self.note("load", slot, "used", held, time.perf_counter() - started)
        self.expect_idleness(slot)
        return True

    def may_fit(self, slot: Slot) -> bool:
        """Say whether loading is worth trying: False where it was too large before, and still is."""
        return slot.least_bytes is None or slot.least_bytes <= self.room_for(slot)

    def _read(self, slot: Slot, info: CollectionInfo, form: type[VectorIndex] | None) -> None:
        segment = LoadedSegment.load(
            self.db, info, self.derived, partial(self.reserve, slot), self.settings.progress
        )
        if form is not None and segment.vectors is not None:
            found = self.saved_graphs.open(segment, form, segment.metadata.alive)
            if found is not None:
                segment.vectors.graph, segment.vectors.graph_end = found
        with slot.lock.write():
            slot.segment = segment
            self.ledger.set_held(slot.collection_id, segment.resident_bytes)

    # -- reports ------------------------------------------------------------------------------

    def note(
        self,
        action: str,
        slot: Slot,
        reason: str,
        n_bytes: int,
        seconds: float,
        *,
        sample: bool = True,
    ) -> None:
        """Keep an event for the report; see `MemoryEvent`."""
        self.history.note(action, self.slots.name_of(slot), reason, n_bytes, seconds)
        if sample:
            self.sample()

    def sample(self) -> None:
        """Take a sample of what is held, for the history."""
        self.history.sample(self.ledger.used, self.budget, short=PRESSURE.is_on)

    def loaded_collections(self, but: Slot | None = None) -> list[policy.Resident]:
        """Return the loaded collections, pinned ones included."""
        return [
            policy.Resident(
                slot.collection_id,
                self.ledger.held(slot.collection_id),
                slot.last_used or 0.0,
                self._ttl(slot),
                slot.pinned,
            )
            for slot in self.slots
            if slot.segment is not None and slot is not but
        ]

    def would_unload(self, budget: int) -> list[tuple[UUID, str, int]]:
        """Return (collection, reason, bytes) of what a budget (bytes) would unload, in order.

        Raises:
            MemoryBudgetError: It would be refused, as the pinned collections alone are larger.
        """
        self._check_pinned(budget)
        used, out = self.ledger.used, []
        order = policy.ranked_for_unload(
            self.loaded_collections(), time.monotonic(), self.settings.idle_unload_seconds
        )
        for resident, reason in order:
            if used <= budget:
                break
            used -= resident.n_bytes
            out.append((resident.collection_id, reason, resident.n_bytes))
        return out
