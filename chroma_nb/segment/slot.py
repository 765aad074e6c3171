"""`Slot`: one collection's place in memory, its locks and what is known of its use."""

from __future__ import annotations

import contextlib
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from chroma_nb.index.cores import CORES
from chroma_nb.segment.locks import Mutex, RWLock
from chroma_nb.types import DEFAULT_DATABASE, DEFAULT_TENANT

if TYPE_CHECKING:
    import weakref
    from collections.abc import Iterator
    from uuid import UUID

    from chroma_nb.db.base import DB
    from chroma_nb.segment.scans import LocalScan
    from chroma_nb.segment.segment import LoadedSegment


class CollectionName(NamedTuple):
    """A collection's name, with whose it is."""

    name: str
    tenant: str
    database: str

    def __str__(self) -> str:
        """Return ``name``, or ``tenant/database/name`` where these are not the defaults."""
        if (self.tenant, self.database) in ((DEFAULT_TENANT, DEFAULT_DATABASE), ("", "")):
            return self.name
        return f"{self.tenant}/{self.database}/{self.name}"


@dataclass(eq=False, slots=True)
class Slot:
    """One collection's place in memory.

    Locks are taken in the order in which they stand here. A thread that looks for memory holds the
    locks of its own slot and only ever tries those of others.
    """

    collection_id: UUID
    #: Held by the thread that builds the collection's graph.
    build_lock: Mutex = field(default_factory=Mutex)
    #: Held by the thread that writes to the collection, from its first read to the commit, or that loads or drops
    #: its segment.
    write_lock: Mutex = field(default_factory=Mutex)
    #: Held for reading by readers; for writing by a thread that changes what they read.
    lock: RWLock = field(default_factory=RWLock)
    segment: LoadedSegment | None = None
    #: A commit is being applied to the segment. If no thread holds `write_lock`, it was interrupted, and the segment
    #: may lack changes that are in the DB.
    in_doubt: bool = False
    #: A commit that began while the collection was loaded is under way. `in_doubt` ends when the segment is dropped, this does
    #: not: if the collection was evicted meanwhile, readers wait for the commit. They would find some of their records from
    #: before it, and some from after it.
    is_committing: bool = False
    pinned: bool = False
    loading: bool = False
    #: A compaction has dropped the graph that the database held; the builder makes it anew.
    lost_graph: bool = False
    #: How much of a first graph is built, from 0 to 1; None where none is being built.
    graph_progress: float | None = None
    #: Monotonic time of the last use; None before the first.
    last_used: float | None = None
    #: The bytes that loading takes at least. Set when they did not fit, until the collection changes.
    least_bytes: int | None = None
    #: The scans that are under way; None where there never was one. Used under `write_lock`.
    scans: weakref.WeakSet[LocalScan] | None = None
    hits: int = 0
    misses: int = 0
    loads: int = 0
    unloads: int = 0

    @property
    def growth_account(self) -> tuple[UUID, str]:
        """The ledger's account for what a running commit will add."""
        return (self.collection_id, "growth")

    @property
    def graph_account(self) -> tuple[UUID, str]:
        """The ledger's account for a graph that is being built, until queries use it."""
        return (self.collection_id, "graph")

    def touch(self, *, writing: bool = False) -> None:
        """Note a use: a write, or a read, which may hold `write_lock` as well."""
        self.last_used = time.monotonic()
        if writing:
            CORES.note_writing()
        else:
            CORES.note_reading()


class Slots:
    """The slots of a store's collections, made when they are first asked for."""

    def __init__(self, db: DB) -> None:
        self._db = db
        self._slots: dict[UUID, Slot] = {}
        #: Those that are pinned, and for a moment some that are not (any more).
        self._pins: dict[UUID, Slot] = {}
        self._lock = threading.Lock()

    def get(self, collection_id: UUID) -> Slot:
        """Return a collection's slot; `NotFoundError` where there is no such collection."""
        slot = self._slots.get(collection_id)
        if slot is None:
            self._db.get_collection(collection_id)
            with self._lock:
                slot = self._slots.setdefault(collection_id, Slot(collection_id))
        return slot

    def find(self, collection_id: UUID) -> Slot | None:
        """Return a collection's slot if it has one."""
        return self._slots.get(collection_id)

    def name_of(self, slot: Slot) -> CollectionName:
        """Return a collection's name; its id where it was deleted."""
        info = None if slot.segment is None else slot.segment.info
        if info is None:
            with contextlib.suppress(Exception):
                info = self._db.get_collection(slot.collection_id)
        if info is None:
            return CollectionName(str(slot.collection_id), "", "")
        return CollectionName(info.name, info.tenant, info.database)

    def remove(self, collection_id: UUID) -> None:
        """Forget a collection."""
        with self._lock:
            self._slots.pop(collection_id, None)
            self._pins.pop(collection_id, None)

    def pin(self, slot: Slot, pinned: bool) -> None:
        """Mark a slot as pinned, or not."""
        with self._lock:
            # In this order, so that no pinned one is missing among the pins, wherever an interrupt comes.
            if pinned:
                self._pins[slot.collection_id] = slot
                slot.pinned = True
            else:
                slot.pinned = False
                self._pins.pop(slot.collection_id, None)

    def pins(self) -> list[Slot]:
        """Return the slots that are pinned: few, whatever the number of collections."""
        with self._lock:
            return [slot for slot in self._pins.values() if slot.pinned]

    def __iter__(self) -> Iterator[Slot]:
        with self._lock:
            return iter(list(self._slots.values()))
