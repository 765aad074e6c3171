"""`SharedBudget`: the budget ``"auto"``, which the stores of a process share."""

from __future__ import annotations

import threading
import time
import weakref
from typing import TYPE_CHECKING

from chroma_nb import forked
from chroma_nb.memory.budget import loaded_share
from chroma_nb.memory.machine import MACHINE, Machine

if TYPE_CHECKING:
    from chroma_nb.memory.ledger import Ledger

#: Nothing is unloaded before the total is passed by this share: it changes whenever any process takes memory.
_TOLERANCE = 0.05
#: How long a total is used before it is computed anew (seconds). `Pressure` computes it more often.
_KEPT_SECONDS = 0.5


class SharedBudget:
    """A share of the memory that is free or held by these stores' collections.

    So it stays the same while they load and unload. It falls when something else takes memory, and rises when
    that is freed.

    Args:
        machine: Says how much is free.
    """

    def __init__(self, machine: Machine = MACHINE) -> None:
        self._machine = machine
        #: Held while one of the ledgers takes bytes, as what it may take depends on all of them.
        self.lock = threading.RLock()
        self._ledgers: weakref.WeakSet[Ledger] = weakref.WeakSet()
        self._total = 0
        self._until = 0.0

    def join(self, ledger: Ledger) -> None:
        """Add a ledger."""
        with self.lock:
            self._ledgers.add(ledger)
            self._until = 0.0

    def leave(self, ledger: Ledger) -> None:
        """Remove a ledger."""
        with self.lock:
            self._ledgers.discard(ledger)
            self._until = 0.0

    @property
    def used(self) -> int:
        """Bytes that all stores hold together."""
        with self.lock:
            return sum(ledger.used for ledger in self._ledgers)

    @property
    def total(self) -> int:
        """Bytes that they may hold together."""
        with self.lock:
            return self._total if time.monotonic() < self._until else self.reckon()

    @property
    def excess(self) -> int:
        """Bytes that the stores hold beyond the total that was computed last; 0 up to 5 % of the total."""
        with self.lock:
            over = self.used - self._total
            return over if over > _TOLERANCE * self._total else 0

    @property
    def is_over(self) -> bool:
        """Whether the stores hold too much, as the total has fallen."""
        return self.excess > 0

    def part_of(self, ledger: Ledger) -> int:
        """Return what a ledger holds and an equal part of what no ledger holds. All parts add up to the total."""
        with self.lock:
            free = max(0, self.total - self.used)
            return ledger.used + free // max(1, len(self._ledgers))

    def pinned_bytes(self, but: Ledger) -> int:
        """Return the bytes of the pinned collections of all ledgers, `but` left out."""
        with self.lock:
            return sum(ledger.pinned_bytes() for ledger in self._ledgers if ledger is not but)

    def reckon(self) -> int:
        """Read how much is free, compute the total anew and return it, bytes."""
        with self.lock:
            # Without unfinished commits and builds: their bytes are not written yet, so they count as free still.
            loaded = sum(ledger.used - ledger.passing for ledger in self._ledgers)
            self._total = loaded_share(self._machine.free() + loaded)
            self._until = time.monotonic() + _KEPT_SECONDS
            return self._total

    def with_ledger(self, ledger: Ledger) -> int:
        """Return what the part of a ledger would be if it shared this budget."""
        with self.lock:
            if ledger in self._ledgers:
                self.reckon()
                return self.part_of(ledger)
            total = self.reckon() + loaded_share(ledger.used)
            free = max(0, total - self.used - ledger.used)
            return ledger.used + free // (len(self._ledgers) + 1)


SHARED_BUDGET = SharedBudget()


forked.call_in_child(SHARED_BUDGET.__init__)  # type: ignore[misc]
