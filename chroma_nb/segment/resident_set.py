"""`ResidentSet`: which collections of a store are in memory, under which budget, and why.

Memory grows only after `reserve` has allowed it, and `reserve` unloads other collections first. So by the ledger
the loaded collections never grow beyond the budget.
"""

from __future__ import annotations

import contextlib
import logging
import math
import threading
import time
from collections import deque
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING
from uuid import UUID

import numpy as np

from chroma_nb.db.base import TextSizes
from chroma_nb.index import forms_of
from chroma_nb.index.base import GraphParameters, VectorIndex
from chroma_nb.memory.budget import LEAST_DATABASE, database_share, is_auto, read_budget
from chroma_nb.memory.ledger import Ledger
from chroma_nb.memory.lender import LENDERS, Lender
from chroma_nb.memory.machine import MACHINE, process_rss
from chroma_nb.memory.preflight import over_budget
from chroma_nb.memory.pressure import PRESSURE
from chroma_nb.memory.report import (
    ELSEWHERE,
    CollectionMemory,
    Estimate,
    MemoryEvent,
    MemoryReport,
    MemorySample,
)
from chroma_nb.memory.shared_budget import SHARED_BUDGET
from chroma_nb.memory.sizes import format_bytes
from chroma_nb.memory.trim import return_memory
from chroma_nb.memory.workspace import WORKSPACE
from chroma_nb.segment import policy
from chroma_nb.segment.index_file import damaged_graphs, has_graph, open_graph, save_graph
from chroma_nb.segment.segment import OBJECT_BYTES, LoadedSegment, Segment
from chroma_nb.segment.slot import Slot
from chroma_nb.segment.snapshot import is_damaged as snapshot_is_damaged
from chroma_nb.segment.snapshot import snapshot_bytes
from chroma_nb.segment.worker import Worker
from chroma_nb.types import DEFAULT_DATABASE, DEFAULT_TENANT

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator

    from numpy.typing import NDArray

    from chroma_nb.db.base import DB
    from chroma_nb.errors import MemoryBudgetError
    from chroma_nb.segment.slot import Slots
    from chroma_nb.settings import Settings
    from chroma_nb.types import CollectionInfo

logger = logging.getLogger("chroma_nb")

#: Events kept for the report.
_EVENTS = 200
#: Samples of what was held that are kept, and the least time between two of them: one that comes earlier replaces
#: the last one.
_SAMPLES = 1_000
_SAMPLE_SECONDS = 0.5
#: The size of the process is not read again within this time: reading it takes 0.1 ms.
_RSS_SECONDS = 0.01
#: The machine's free memory is checked once this many bytes were reserved since the last check: reading it takes
#: 0.1 ms.
_UNCHECKED_BYTES = 1 << 20
#: Memory is tight below this many times `DB.working_bytes`. Then a small collection that is loaded replaces
#: another one, ...
_TIGHT_FACTOR = 10
#: ... if the loaded ones hold more than the budget divided by this.
_REPLACE_FROM = 64
#: Freed memory is given back to the system when this much was unloaded: it takes some ms each time.
_TRIM_BYTES = 1 << 20
#: Where many collections are unloaded at once, small ones are saved for this long. The others are read from the
#: DB when they are next used.
SAVING_SECONDS = 0.02
#: Up to this size, reading a collection from the DB again takes 1 or 2 ms.
_SMALL_BYTES = 64 << 10
#: An order of unloading is used for this many times as long as it took to make, and so is a search for leftover
#: accounts. So both take at most 5 % of the time, however many collections there are.
_REUSE_FACTOR = 20
#: A collection that is in use when its idle time ends is looked at again after this long.
_BUSY_SECONDS = 1.0
#: `set_budget` gives up when nothing was released for this long.
_PATIENCE_SECONDS = 30.0
#: A request to the janitor with this id gives freed memory back, this long after the last collection was unloaded.
_TRIM_REQUEST = UUID(int=0)
_TRIM_DELAY_SECONDS = 0.05
#: UTF-8 bytes of a record's texts where nothing is known of them: an id, a sentence, two metadata fields.
_TYPICAL_TEXT_BYTES = 200


class ResidentSet(Lender):
    """The loaded collections of one store.

    Args:
        db: Holds all records; what is in memory can be made again from it.
        engine: Returns the graph engine; None for exact search only.
        settings: `memory_budget`, `idle_unload_seconds`, `graph_min_records` and `progress` are used.
        slots: The collections' slots.
    """

    def __init__(
        self,
        db: DB,
        engine: Callable[[], type[VectorIndex] | None],
        settings: Settings,
        slots: Slots,
    ) -> None:
        self.db = db
        self._engine = engine
        self.settings = settings
        self._slots = slots
        if is_auto(settings.memory_budget):
            self.ledger = Ledger(0, SHARED_BUDGET)
        else:
            budget = read_budget(settings.memory_budget)
            self.ledger = Ledger(budget)
            db.set_memory_limit(database_share(budget))
        #: Each with the tenant and the database of its collection: only those are shown its name.
        self._events: deque[tuple[tuple[str, str], MemoryEvent]] = deque(maxlen=_EVENTS)
        self._history: deque[MemorySample] = deque(maxlen=_SAMPLES)
        self._save_lock = threading.Lock()
        self._sample_lock = threading.Lock()
        self._budget_lock = threading.Lock()
        #: Bytes reserved since the machine's free memory was last checked.
        self._unchecked = 0
        #: Bytes unloaded since freed memory was last given back to the system.
        self._freed = 0
        #: Little memory is left, so a small collection that is loaded replaces another one. This begins before there
        #: is too little: of many small collections, only a part of the memory goes back to the system.
        self._is_tight = False
        #: The collections to unload, the first ones first: slot, last use when the order was made, reason.
        self._order: deque[tuple[Slot, float, str]] = deque()
        #: Until when (monotonic) this order is used.
        self._order_until = 0.0
        #: The size of the process in bytes, and when it was read (monotonic).
        self._rss, self._rss_at = 0, float("-inf")
        #: No search for leftover accounts before this moment (monotonic).
        self._leftovers_from = 0.0
        self._janitor = Worker("janitor", self._unload_expired)
        #: Called when there is room again; collections may lack a graph for which there was none.
        self.on_room: Callable[[], None] = lambda: None
        self.ledger.kept = self.pinned_bytes
        LENDERS.add(self)

    # -- the budget ---------------------------------------------------------------------------

    @property
    def budget(self) -> int:
        """Bytes that the loaded collections may hold together."""
        return self.ledger.budget

    def read_budget(self, value: int | float | str) -> int:
        """Return a budget in bytes; of ``"auto"``, this store's part."""
        return SHARED_BUDGET.with_ledger(self.ledger) if is_auto(value) else read_budget(value)

    def set_budget(self, value: int | float | str) -> int:
        """Change the budget, and unload what no longer fits before this returns; return it in bytes.

        Raises:
            MemoryBudgetError: The pinned collections alone are larger, or collections were in use all the time and
                could not be unloaded. The budget does not change.
        """
        before, budget = self.budget, self.read_budget(value)
        saving_until = time.perf_counter() + SAVING_SECONDS
        with self._budget_lock:
            try:
                used, until = self.ledger.used, time.monotonic() + _PATIENCE_SECONDS
                while not self.ledger.lower(budget):
                    self._check_pinned(budget)
                    if self.ledger.used < used:
                        used, until = self.ledger.used, time.monotonic() + _PATIENCE_SECONDS
                    elif time.monotonic() > until:
                        raise self._still_held(budget)
                    if not self._evict_one(
                        None, wait=True, saving_until=saving_until
                    ) and not self._settle_leftovers(now=True):
                        # A graph is being built: its builder sees that the ledger is over the new budget, and stops.
                        time.sleep(0.005)
                if is_auto(value):
                    self.ledger.share(SHARED_BUDGET)
            finally:
                self.ledger.keep()
                self._return_freed(at_once=True)
                self._sample()
        self.db.set_memory_limit(database_share(budget))
        if budget > before:
            self.on_room()
        return budget

    def _check_pinned(self, budget: int) -> None:
        pinned = self.pinned_bytes()
        if budget < pinned:
            held = [slot for slot in self._slots.pins() if slot.segment]
            # The largest first: unpinning these frees the most.
            held.sort(key=lambda slot: self.ledger.held(slot.collection_id), reverse=True)
            names = [self._full_name(slot) for slot in held]
            raise over_budget(
                pinned,
                budget,
                self.budget,
                f"A budget of {format_bytes(budget)} is too small: what is pinned "
                f"({', '.join(names[:5])}{f' and {len(names) - 5:,} more' if len(names) > 5 else ''})",
                "unpin one of them: client.memory.unpin(name)",
                f"choose a budget that has room for it: client.memory.budget = {pinned:_}",
            )

    def _still_held(self, budget: int) -> MemoryBudgetError:
        """Return the error for a budget that is smaller than what is in use."""
        accounts = self.ledger.accounts()
        used = sum(accounts.values())
        largest = sorted(accounts, key=lambda owner: accounts[owner], reverse=True)
        held = [f"{self._account_name(one)}: {format_bytes(accounts[one])}" for one in largest[:5]]
        more = f" and {len(largest) - 5:,} more" if len(largest) > 5 else ""
        return over_budget(
            max(used, budget + 1),
            budget,
            self.budget,
            f"A budget of {format_bytes(budget)} is too small at the moment: what is in use ({', '.join(held)}{more})",
            "repeat the call when nobody builds a graph, writes or reads there",
            f"choose a budget that has room for it: client.memory.budget = {used:_}",
        )

    def _account_name(self, owner: Hashable) -> str:
        collection_id, doing = owner if isinstance(owner, tuple) else (owner, "")
        slot = self._slots.find(collection_id)
        if slot is None:
            return f"a deleted collection ({collection_id})"
        what = {"graph": ", its graph being built", "growth": ", a write to it"}.get(doing, "")
        return f"{self._full_name(slot)}{what}"

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
            self._is_tight
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
            ) and not self._settle_leftovers(slot):
                return False

    def _machine_shortfall(self, n_bytes: int) -> int:
        """Return how many bytes the machine lacks for `n_bytes` more; 0 where it has enough or is not checked."""
        if self._unchecked < _UNCHECKED_BYTES:
            return 0
        PRESSURE.watch()
        room = self._machine_room()
        self._is_tight = room < n_bytes + (_TIGHT_FACTOR - 1) * self.db.working_bytes
        shortfall = n_bytes - room
        if shortfall <= 0:
            self._unchecked = 0
        return max(0, shortfall)

    def _machine_room(self) -> int:
        """Return the machine's free bytes beyond the reserve: `Pressure` would unload what is loaded into that."""
        kept = max(0, PRESSURE.reserve() - WORKSPACE.headroom)
        return WORKSPACE.free() - kept - self.db.working_bytes

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

    def _settle_leftovers(self, but: Slot | None = None, *, now: bool = False) -> int:
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
            slot = self._slots.find(collection_id)
            if slot is None:
                # The collection was deleted, and what it held is freed.
                self.ledger.settle(owner, 0)
            elif slot is not but:
                self._settle_unused(slot, is_graph=doing == "graph")
        ended = time.monotonic()
        self._leftovers_from = ended + _REUSE_FACTOR * (ended - started)
        return max(0, before - self.ledger.used)

    def _settle_unused(self, slot: Slot, *, is_graph: bool) -> None:
        """Set a slot's accounts to what is really held, if no other thread is working on it."""
        lock = slot.build_lock if is_graph else slot.write_lock
        if lock.is_mine or not lock.acquire(wait=False):
            return
        try:
            if is_graph:
                self.ledger.settle(slot.graph_account, 0)
            elif slot.lock.acquire_write(wait=False):
                try:
                    there = 0 if slot.segment is None else slot.segment.resident_bytes
                    if there < self.ledger.held(slot.collection_id):
                        self.ledger.settle(slot.collection_id, there)
                    self.ledger.settle(slot.growth_account, 0)
                finally:
                    slot.lock.release()
        finally:
            lock.release()

    def room_for(self, slot: Slot | None) -> int:
        """Return the bytes that a collection could hold if all others that are not pinned were unloaded.

        With a shared budget that means those of other stores, too. The machine's free memory is not considered.
        """
        return max(0, self.ledger.most - self.pinned_bytes(but=slot))

    def no_room(
        self, slot: Slot, need: int, what: str, otherwise: str, held: int = 0
    ) -> MemoryBudgetError:
        """Return the error for bytes that a collection cannot get, because of the budget or of the machine.

        Args:
            slot: The collection's slot.
            need: Bytes that it would have taken.
            what: What needs them, as the start of a sentence.
            otherwise: A way out that needs no more memory.
            held: Bytes that the collection holds already, and goes on holding.
        """
        room = max(0, self.room_for(slot) - held)
        if need > room:
            budget = held + need + self.pinned_bytes(but=slot)
            way = f"raise the budget: client.memory.budget = {budget:_}"
        else:
            there = self._machine_room()
            way = "make room on the machine, such as by deleting arrays, and repeat the call"
            if need <= there:
                way = "repeat the call: others are in use at this moment, and could not go"
            # More may be free by now than when it was refused; the error has to name less than the need.
            room = max(0, min(room, there, self.ledger.free, need - 1))
        return over_budget(need, room, self.budget, what, way, otherwise)

    def pinned_bytes(self, but: Slot | None = None) -> int:
        """Return the bytes that pinned collections hold, `but` left out."""
        return sum(
            self.ledger.held(slot.collection_id) for slot in self._slots.pins() if slot is not but
        )

    # -- unloading for others: `Lender` -------------------------------------------------------

    @property
    def lendable(self) -> int:
        return max(0, self.ledger.used - self.ledger.passing - self.pinned_bytes())

    def least_recent(self) -> float | None:
        is_new = self._renew_order()
        while True:
            order = self._order
            while order:
                try:
                    slot, last_used, _ = order[0]
                    if _may_go(slot, last_used):
                        return last_used
                    order.popleft()
                except IndexError:  # another thread has taken it
                    break
            if is_new:
                return None
            is_new = self._renew_order()

    def lend(self, n_bytes: int, reason: str, until: float = math.inf) -> int:
        returned, saving_until = 0, time.perf_counter() + SAVING_SECONDS
        while returned < n_bytes:
            released = self._evict_one(None, saving_until=saving_until, reason=reason)
            returned += released
            following = self.least_recent() if released else None
            if following is None or following > until:
                break
        if returned:
            self._return_freed(at_once=True)
            self._sample()
        return returned

    def tighten(self) -> None:
        self.db.set_memory_limit(LEAST_DATABASE)
        return_memory()

    def room_returned(self) -> None:
        self.db.set_memory_limit(database_share(self.budget))
        self.on_room()

    def _evict_one(
        self,
        keep: Slot | None,
        *,
        wait: bool = False,
        saving_until: float | None = None,
        reason: str = "room was needed",
    ) -> int:
        """Unload the first collection in the order that is not in use; return its bytes, 0 where there is none.

        Args:
            keep: A slot that is left alone.
            wait: Wait for collections that are in use.
            saving_until: Of many, small ones are saved until then (`time.perf_counter`); None saves it.
            reason: Why, in words.
        """
        while True:
            is_new = self._renew_order()
            order = self._order
            while order:
                try:
                    slot, last_used, why = order.popleft()
                except IndexError:  # another thread has taken it
                    break
                if slot is keep or not _may_go(slot, last_used):
                    continue
                why = f"{why}, {reason}"
                if released := self._try_unload(slot, why, wait=wait, saving_until=saving_until):
                    return released
            if is_new:
                return 0

    def _renew_order(self) -> bool:
        """Make a new order of unloading if the last one is empty or too old; say whether that was done."""
        is_over = time.monotonic() >= self._order_until or not self._order
        if is_over:
            self._make_order()
        return is_over

    def _make_order(self) -> None:
        started = time.monotonic()
        order = policy.unload_order(self.residents(), started, self.settings.idle_unload_seconds)
        found: deque[tuple[Slot, float, str]] = deque()
        for one, reason in order:
            slot = self._slots.find(one.collection_id)
            if slot is not None:
                found.append((slot, one.last_used, reason))
        ended = time.monotonic()
        self._order, self._order_until = found, ended + _REUSE_FACTOR * (ended - started)

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
            self.save_graph(segment)
            segment.save(self.db)
        slot.segment = None
        slot.in_doubt = False
        if segment.vectors is not None:
            segment.vectors.graph = None
            segment.vectors.source.release()
        self.ledger.settle(slot.collection_id, 0)
        slot.unloads += 1
        slot.least_bytes = None
        seconds = time.perf_counter() - started
        self.note("unload", slot, reason, released, seconds, sample=sample)
        return released

    def save_graph(self, segment: LoadedSegment) -> None:
        """Write a segment's graph to its file if it has changed since it was last saved."""
        vectors = segment.vectors
        if vectors is None or vectors.graph is None or not vectors.graph_changed:
            return
        with self._save_lock:
            # Another thread may have saved it while this one waited.
            if vectors.graph_changed:
                prefix = self.db.derived_path(segment.info.id)
                end = vectors.graph_end
                if save_graph(prefix, vectors.graph, end, vectors.source.digest(end)):
                    vectors.graph_changed = False

    def damaged_files(self, collection_id: UUID, on_bytes: Callable[[int], object]) -> list[str]:
        """Read a collection's graphs and snapshot on the disk; return the paths of those that are damaged."""
        prefix = self.db.derived_path(collection_id)
        with self._save_lock:
            found = damaged_graphs(prefix, on_bytes)
        snapshot = snapshot_is_damaged(prefix, on_bytes)
        return [*found, snapshot] if snapshot else found

    def expect_idleness(self, slot: Slot) -> None:
        """Have the collection unloaded when it has not been used for its idle time."""
        after = policy.expiry(self._ttl(slot), self.settings.idle_unload_seconds)
        if after is not None and slot.segment is not None and not slot.pinned:
            idle = time.monotonic() - (slot.last_used or time.monotonic())
            self._janitor.request(slot.collection_id, max(0.0, after - idle))

    def _unload_expired(self, collection_id: UUID) -> None:
        if collection_id == _TRIM_REQUEST:
            self._return_freed(at_once=True)
            self.db.settle()
            return
        slot = self._slots.find(collection_id)
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
            self._janitor.request(_TRIM_REQUEST, _TRIM_DELAY_SECONDS)
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

    def wants_graph(self, n_records: int) -> bool:
        """Say whether a collection of `n_records` gets a graph. For a small one no engine is imported."""
        return n_records >= self.settings.graph_min_records and self._engine() is not None

    def forms(self, n_records: int) -> Iterator[type[VectorIndex]]:
        """Yield the forms that a graph of `n_records` may take, the largest in memory first."""
        engine = self._engine() if n_records >= self.settings.graph_min_records else None
        return iter(()) if engine is None else forms_of(engine)

    def load(self, slot: Slot) -> bool:
        """Load a collection; the caller holds its `write_lock`. Returns False where it does not fit.

        The largest saved graph that fits is opened. Where there is none, it is loaded for exact search.
        """
        if slot.segment is not None:
            return True
        if not self.may_fit(slot):
            return False
        started = time.perf_counter()
        info, extent = (
            self.db.get_collection(slot.collection_id),
            self.db.extent(slot.collection_id),
        )
        prefix = self.db.derived_path(info.id)
        base = snapshot_bytes(prefix, extent.version)
        if base is None:
            base = LoadedSegment.bytes_for(extent.next_label, self.db.text_sizes(info.id))
        else:
            base += OBJECT_BYTES
        choices: list[tuple[int, type[VectorIndex] | None]] = [(base, None)]
        if info.dimension is not None:
            parameters = graph_parameters(info)
            fitting = policy.forms_that_fit(
                self.forms(extent.n_records),
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
            self.ledger.settle(slot.collection_id, 0)
            raise
        finally:
            slot.loading = False
        slot.touch()
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
            self.db, info, partial(self.reserve, slot), progress=self.settings.progress
        )
        if form is not None and segment.vectors is not None:
            found = self.saved_graph(segment, form, segment.metadata.alive)
            if found is not None:
                segment.vectors.graph, segment.vectors.graph_end = found
        with slot.lock.write():
            slot.segment = segment
            self.ledger.settle(slot.collection_id, segment.resident_bytes)

    def saved_graph(
        self, segment: LoadedSegment, form: type[VectorIndex], alive: NDArray[np.bool_]
    ) -> tuple[VectorIndex, int] | None:
        """Open a collection's saved graph, without the deleted labels.

        Args:
            segment: The loaded collection.
            form: The form of the graph.
            alive: bool, one value for each label: False for a deleted one.

        Returns:
            The graph, and the first label that is not in it; None where no usable graph of this form is saved.
        """
        vectors, prefix = segment.vectors, self.db.derived_path(segment.info.id)
        if vectors is None or not has_graph(prefix, form):
            return None
        parameters = graph_parameters(segment.info)
        found = open_graph(prefix, form, parameters, len(alive), vectors.source.digest)
        if found is not None:
            graph, end = found
            graph.discard(np.flatnonzero(~alive[:end]))
        return found

    def explain_form(self, segment: Segment) -> str:
        """Say in words why a collection is held in its present form."""
        slot = self._slots.get(segment.info.id)
        form = next(self.forms(segment.metadata.n_live), None)
        if not isinstance(segment, LoadedSegment):
            if not self.may_fit(slot):
                need = format_bytes(slot.least_bytes or 0)
                return f"{need} do not fit the budget of {format_bytes(self.budget)}"
            return "there was no room at the moment"
        if form is None or segment.vectors is None:
            return "it is small, or graphs are switched off: exact search"
        if segment.form == form.engine:
            return "the full graph fits"
        if not segment.vectors.suits_graph:
            return "its vectors are too long or too short for a graph's float32: exact search"
        full = form.bytes_for(graph_parameters(segment.info), segment.metadata.n_labels)
        held = (
            "no graph is loaded"
            if segment.vectors.graph is None
            else f"{segment.form} is a smaller form"
        )
        return (
            f"{held}; the full graph ({form.engine}) takes {format_bytes(full)}, the budget is "
            f"{format_bytes(self.budget)}, of which {format_bytes(self.ledger.free)} are free"
        )

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
        name, place = self._name_and_place(slot)
        logger.debug("%s %s: %s, %d bytes, %.1f ms", action, name, reason, n_bytes, seconds * 1e3)
        event = MemoryEvent(time.time(), action, name, reason, n_bytes, seconds)
        self._events.append((place, event))
        if sample:
            self._sample()

    def _sample(self) -> None:
        """Take a sample of what is held, for the history."""
        history = self._history
        with self._sample_lock:
            now = MemorySample(
                *(time.time(), self.ledger.used, self.budget, self._process_bytes()),
                short=PRESSURE.is_on,
            )
            if len(history) > 1:
                before, last = history[-2], history[-1]
                held = {(one.used, one.budget, one.short) for one in (before, last, now)}
                # While nothing changes, the last sample is replaced, so that the history shows changes.
                at_rest = len(held) == 1
                if at_rest or now.time - before.time < _SAMPLE_SECONDS:
                    history.pop()
            history.append(now)

    def _process_bytes(self) -> int:
        """Return the resident memory of the process in bytes, read at most once in `_RSS_SECONDS`."""
        now = time.monotonic()
        if now - self._rss_at > _RSS_SECONDS:
            self._rss, self._rss_at = process_rss(), now
        return self._rss

    def _name_and_place(self, slot: Slot) -> tuple[str, tuple[str, str]]:
        info = None if slot.segment is None else slot.segment.info
        if info is None:
            with contextlib.suppress(Exception):
                info = self.db.get_collection(slot.collection_id)
        if info is None:
            return str(slot.collection_id), ("", "")
        return info.name, (info.tenant, info.database)

    def _full_name(self, slot: Slot) -> str:
        """Return ``name``, or ``tenant/database/name`` where these are not the defaults."""
        name, place = self._name_and_place(slot)
        return name if place == (DEFAULT_TENANT, DEFAULT_DATABASE) else "/".join((*place, name))

    def residents(self, but: Slot | None = None) -> list[policy.Resident]:
        """Return the loaded collections, pinned ones included."""
        return [
            policy.Resident(
                slot.collection_id,
                self.ledger.held(slot.collection_id),
                slot.last_used or 0.0,
                self._ttl(slot),
                slot.pinned,
            )
            for slot in self._slots
            if slot.segment is not None and slot is not but
        ]

    def would_unload(self, budget: int) -> list[tuple[UUID, str, int]]:
        """Return (collection, reason, bytes) of what a budget (bytes) would unload, in order.

        Raises:
            MemoryBudgetError: It would be refused, as the pinned collections alone are larger.
        """
        self._check_pinned(budget)
        used, out = self.ledger.used, []
        order = policy.unload_order(
            self.residents(), time.monotonic(), self.settings.idle_unload_seconds
        )
        for one, reason in order:
            if used <= budget:
                break
            used -= one.n_bytes
            out.append((one.collection_id, reason, one.n_bytes))
        return out

    def estimate(
        self,
        n_records: int,
        dimension: int,
        parameters: GraphParameters,
        text_bytes: int | None = None,
    ) -> Estimate:
        """Return what a collection would take; see `Estimate`.

        Args:
            n_records: Its records.
            dimension: Floats of each embedding.
            parameters: Of its graph.
            text_bytes: UTF-8 bytes of a record's id, document, uri and metadata; None is a typical size.
        """
        each = _TYPICAL_TEXT_BYTES if text_bytes is None else text_bytes
        base = LoadedSegment.bytes_for(n_records, TextSizes(n_records, n_records * each, 0, 0, 0))
        disk = 4 * n_records * dimension
        by_form = {
            form.engine: base + form.bytes_for(parameters, n_records)
            for form in self.forms(n_records)
        }
        if not by_form:
            by_form = {"exact": base + disk}
        budget = self.budget
        chosen = next((name for name, size in by_form.items() if size <= budget), "on disk")
        largest = {name: budget * n_records // size for name, size in by_form.items()}
        return Estimate(
            n_records=n_records,
            dimension=dimension,
            n_bytes=by_form.get(chosen, 0),
            form=chosen,
            by_form=by_form,
            largest=largest,
            disk_bytes=disk,
            budget=budget,
        )

    def report(self, infos: list[CollectionInfo], tenant: str, database: str) -> MemoryReport:
        """Return a report about these collections, the store and the process.

        Args:
            infos: The collections.
            tenant: Events of other tenants and databases are shown without a name.
            database: As `tenant`.
        """
        limit = MACHINE.limit()
        self._sample()
        sizes = self.db.sizes([info.id for info in infos])
        now = time.monotonic()
        return MemoryReport(
            budget=self.budget,
            used=self.ledger.used,
            collections=[
                self._report_on(info, *size, now) for info, size in zip(infos, sizes, strict=True)
            ],
            database_bytes=self.db.memory_bytes,
            database_limit=self.db.memory_limit,
            process_bytes=process_rss(),
            limit_bytes=limit.total,
            limit_source=limit.source,
            free_bytes=MACHINE.free(),
            idle_seconds=self.settings.idle_unload_seconds,
            events=[
                event if place == (tenant, database) else replace(event, collection=ELSEWHERE)
                for place, event in list(self._events)
            ],
            history=list(self._history),
            work_bytes=WORKSPACE.used,
            short=PRESSURE.is_on,
        )

    def _report_on(
        self, info: CollectionInfo, n_records: int, disk_bytes: int, text_bytes: int, now: float
    ) -> CollectionMemory:
        # A report makes no slot for a collection that was not used yet.
        slot = self._slots.find(info.id) or _UNUSED
        segment = slot.segment
        state = "loaded"
        if segment is None:
            state = "on disk" if n_records else "empty"
        parts = {} if segment is None else segment.parts_of(self.ledger.held(info.id))
        # The reservations of an unfinished build or commit count as the collection's; mostly there are none.
        if self.ledger.passing:
            for name, account in (
                ("being built", slot.graph_account),
                ("being written", slot.growth_account),
            ):
                if held := self.ledger.held(account):
                    parts[name] = held
        used = slot.last_used
        return CollectionMemory.of(
            name=info.name,
            id=str(info.id),
            state="loading" if slot.loading else state,
            form="exact" if segment is None else segment.form,
            n_records=n_records,
            resident_bytes=sum(parts.values()),
            parts=parts,
            disk_bytes=disk_bytes,
            pinned=slot.pinned,
            ttl_seconds=info.ttl_seconds,
            idle_seconds=None if used is None else now - used,
            hits=slot.hits,
            misses=slot.misses,
            loads=slot.loads,
            unloads=slot.unloads,
            built=slot.graph_progress,
            text_bytes=text_bytes,
        )


def _may_go(slot: Slot, last_used: float) -> bool:
    """Say whether an entry of the order still holds: loaded, not pinned, and not used since the order was made."""
    return not slot.pinned and slot.segment is not None and (slot.last_used or 0.0) == last_used


#: For the report on a collection that was not used yet.
_UNUSED = Slot(UUID(int=0))


def graph_parameters(info: CollectionInfo) -> GraphParameters:
    """Return the parameters of a collection's graph, from its configuration."""
    hnsw = info.configuration["hnsw"]
    assert info.dimension is not None
    return GraphParameters(
        space=info.space,
        dimension=info.dimension,
        m=int(hnsw.get("max_neighbors") or 16),
        ef_construction=int(hnsw.get("ef_construction") or 100),
        ef_search=int(hnsw.get("ef_search") or 100),
    )
