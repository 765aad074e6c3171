"""`SharedBudget`: the budget ``"auto"``, which the stores of a process have in common."""

from __future__ import annotations

import threading
import time
import weakref
from typing import TYPE_CHECKING

from chroma_nb import forked
from chroma_nb.memory.budget import index_share
from chroma_nb.memory.machine import MACHINE, Machine

if TYPE_CHECKING:
    from chroma_nb.memory.ledger import Ledger

#: It may be passed by this share before somebody has to go: it moves with every byte that anybody takes.
_TOLERANCE = 0.05
#: What was reckoned is kept so long, seconds: whoever watches the pressure reckons anew all the time.
_KEPT_SECONDS = 0.5


class SharedBudget:
    """A share of what is free on the machine and of what these stores hold of it already.

    So it stays the same while they load and unload, falls when somebody else takes memory, and rises when
    that is given back.

    Args:
        machine: What says how much is free.
    """

    def __init__(self, machine: Machine = MACHINE) -> None:
        self._machine = machine
        #: Held while one of the ledgers takes bytes, as what it may take depends on the others.
        self.lock = threading.RLock()
        self._ledgers: weakref.WeakSet[Ledger] = weakref.WeakSet()
        self._total = 0
        self._until = 0.0

    def join(self, ledger: Ledger) -> None:
        """Count what a ledger holds from now on."""
        with self.lock:
            self._ledgers.add(ledger)
            self._until = 0.0

    def leave(self, ledger: Ledger) -> None:
        """Count it no longer."""
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
        """Bytes by which the stores hold too much, by the total that was reckoned last; a little is passed over."""
        with self.lock:
            over = self.used - self._total
            return over if over > _TOLERANCE * self._total else 0

    @property
    def is_over(self) -> bool:
        """Whether the stores hold too much, as somebody else has taken memory."""
        return self.excess > 0

    def part_of(self, ledger: Ledger) -> int:
        """Return what a ledger holds, and its part of what nobody holds yet: all parts together are the total."""
        with self.lock:
            free = max(0, self.total - self.used)
            return ledger.used + free // max(1, len(self._ledgers))

    def kept(self, but: Ledger) -> int:
        """Return what the other ledgers hold of pinned collections."""
        with self.lock:
            return sum(ledger.kept() for ledger in self._ledgers if ledger is not but)

    def reckon(self) -> int:
        """Look at the machine, and return the total."""
        with self.lock:
            there = sum(ledger.used - ledger.passing for ledger in self._ledgers)
            self._total = index_share(self._machine.free() + there)
            self._until = time.monotonic() + _KEPT_SECONDS
            return self._total

    def with_ledger(self, ledger: Ledger) -> int:
        """Return what the part of a ledger would be if it had one."""
        with self.lock:
            if ledger in self._ledgers:
                self.reckon()
                return self.part_of(ledger)
            total = self.reckon() + index_share(ledger.used)
            free = max(0, total - self.used - ledger.used)
            return ledger.used + free // (len(self._ledgers) + 1)


SHARED_BUDGET = SharedBudget()


forked.call_in_child(SHARED_BUDGET.__init__)  # type: ignore[misc]
