"""`Ledger`: whose bytes they are, and that together they stay within the budget."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from chroma_nb.memory.shared_budget import SharedBudget


class _State(NamedTuple):
    """What is known at one moment."""

    #: The accounts as they were before the last change, shared with the states before and after this one.
    accounts: dict[Hashable, int]
    #: The last change: owners and what they hold since.
    change: dict[Hashable, int]
    #: The sum of all accounts, and of those of what is on its way (`Slot.growth_account`, ...).
    used: int
    passing: int

    def held(self, owner: Hashable) -> int:
        """Return the bytes of one account."""
        size = self.change.get(owner)
        return self.accounts.get(owner, 0) if size is None else size


class Ledger:
    """Accounts of bytes under one budget. Safe for threads.

    Whoever is going to use memory takes it here first, and is refused where it does not fit; nobody is
    pushed out by the ledger itself.

    Args:
        budget: Bytes that all accounts together may hold.
        shared: The budget that several ledgers have in common; `budget` does not count then.
    """

    def __init__(self, budget: int, shared: SharedBudget | None = None) -> None:
        #: Returns the bytes that make no room for others: of pinned collections.
        self.kept: Callable[[], int] = lambda: 0
        self._lock = threading.Lock()
        self._shared = shared
        if shared is not None:
            shared.join(self)
        #: The accounts, their sum and the last change, replaced as one: a stopped cell leaves a step undone
        #: or done. The next change carries the last one over into the accounts first, which may be done
        #: twice: so each takes the same time, however many accounts there are.
        self._state = _State({}, {}, 0, 0)
        self._budget = budget
        #: Below the budget while a smaller one is being brought about; None where only the shared one counts.
        self._ceiling: int | None = budget if shared is None else None

    @property
    def budget(self) -> int:
        """Bytes that all accounts together may hold; of a shared budget, the part of it that is this ledger's."""
        shared = self._shared
        return self._budget if shared is None else shared.part_of(self)

    @property
    def most(self) -> int:
        """Bytes that they could hold if the other ledgers of a shared budget held nothing."""
        shared = self._shared
        return self._budget if shared is None else max(0, shared.total - shared.kept(self))

    @property
    def is_shared(self) -> bool:
        """Whether the budget is one that other ledgers have a part in."""
        return self._shared is not None

    @property
    def used(self) -> int:
        """Bytes that they hold."""
        return self._state.used

    @property
    def passing(self) -> int:
        """Bytes of what is on its way into a collection: accounts whose owner is a tuple."""
        return self._state.passing

    @property
    def free(self) -> int:
        """Bytes that can still be taken."""
        ceiling, shared = self._ceiling, self._shared
        left = [] if ceiling is None else [ceiling - self.used]
        left += [] if shared is None else [shared.total - shared.used]
        return max(0, min(left))

    @property
    def is_over(self) -> bool:
        """Whether somebody has to give back, as a smaller budget is being brought about."""
        ceiling, shared = self._ceiling, self._shared
        if ceiling is not None and self.used > ceiling:
            return True
        return shared is not None and shared.is_over

    def held(self, owner: Hashable) -> int:
        """Return the bytes of one account."""
        return self._state.held(owner)

    def accounts(self) -> dict[Hashable, int]:
        """Return who holds something at this moment, and how many bytes."""
        with self._lock:
            state = self._state
            found = {**state.accounts, **state.change}
        return {owner: size for owner, size in found.items() if size}

    def take(self, owner: Hashable, n_bytes: int) -> bool:
        """Add bytes to an account if they fit; say whether they did."""
        while True:
            shared = self._shared
            with contextlib.nullcontext() if shared is None else shared.lock, self._lock:
                if self._shared is not shared:
                    # Another budget since: its lock comes first, or two threads wait for each other.
                    continue
                if n_bytes > 0 and n_bytes > self.free:
                    return False
                self._set({owner: self.held(owner) + n_bytes})
                return True

    def settle(self, owner: Hashable, n_bytes: int) -> None:
        """Set an account to what is really used; 0 closes it."""
        with self._lock:
            self._set({owner: n_bytes})

    def hand_over(self, source: Hashable, target: Hashable) -> None:
        """Add one account to another and close it."""
        with self._lock:
            if source != target:
                self._set({source: 0, target: self.held(target) + self.held(source)})

    def _set(self, change: dict[Hashable, int]) -> None:
        before = self._state
        for owner, size in before.change.items():
            if size:
                before.accounts[owner] = size
            else:
                before.accounts.pop(owner, None)
        used, passing = before.used, before.passing
        for owner, size in change.items():
            more = size - before.held(owner)
            used += more
            if isinstance(owner, tuple):
                passing += more
        self._state = _State(before.accounts, change, used, passing)

    def lower(self, budget: int) -> bool:
        """Refuse whatever would pass this budget from now on, and make it the budget once it is kept.

        Returns:
            True when the accounts are within it, False while others have to give back first.
        """
        shared = self._shared
        with self._lock:
            self._ceiling = budget
            if self.used > budget:
                return False
            self._budget, self._shared = budget, None
        if shared is not None:
            shared.leave(self)
        return True

    def share(self, shared: SharedBudget) -> None:
        """Have a part in a budget from now on."""
        shared.join(self)
        with self._lock:
            self._shared, self._ceiling = shared, None

    def keep(self) -> None:
        """Stay with the budget in force, where `lower` could not be carried through."""
        with self._lock:
            self._ceiling = self._budget if self._shared is None else None

    def close(self) -> None:
        """Have no part in a shared budget any more."""
        if self._shared is not None:
            self._shared.leave(self)
