"""`Ledger`: the accounts of memory of one store, in bytes, under one budget.

An owner is a collection's id, or the tuple (id, ``"growth"`` or ``"graph"``): bytes of a commit or of a build
that is not finished. The latter are called *passing*.
"""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from chroma_nb.memory.shared_budget import SharedBudget


class _State(NamedTuple):
    """All accounts at one moment, in bytes."""

    #: The accounts before the last change. The same dict is in the states before and after this one.
    accounts: dict[Hashable, int]
    #: The last change: owners, and what they hold since.
    change: dict[Hashable, int]
    #: The sum of all accounts.
    used: int
    #: The sum of the accounts of unfinished commits and builds.
    passing: int

    def held(self, owner: Hashable) -> int:
        """Return the bytes of one account."""
        size = self.change.get(owner)
        return self.accounts.get(owner, 0) if size is None else size


class Ledger:
    """Accounts of bytes under one budget. Safe for threads.

    Memory is taken here before it is allocated, and refused where it does not fit. The ledger unloads nothing
    itself.

    Args:
        budget: Bytes that all accounts together may hold.
        shared: A budget that several ledgers share. Where it is given, `budget` is not used.
    """

    def __init__(self, budget: int, shared: SharedBudget | None = None) -> None:
        #: Returns the bytes of pinned collections, which are not unloaded for others.
        self.pinned_bytes: Callable[[], int] = lambda: 0
        self._lock = threading.Lock()
        self._shared = shared
        if shared is not None:
            shared.join(self)
        #: Replaced by a single assignment, so that an interrupt leaves a change done or not done, never half done.
        #: The accounts are not copied for it: each change first writes the one before it into the dict, which may
        #: safely be done twice. So a change takes the same time, however many accounts there are.
        self._state = _State({}, {}, 0, 0)
        self._budget = budget
        #: Below the budget while `lower` waits for collections to go; None where only the shared budget counts.
        self._ceiling: int | None = budget if shared is None else None

    @property
    def budget(self) -> int:
        """Bytes that all accounts together may hold; with a shared budget, this ledger's part of it."""
        shared = self._shared
        return self._budget if shared is None else shared.part_of(self)

    @property
    def most(self) -> int:
        """Bytes that the accounts could hold if the other ledgers of a shared budget held only what is pinned."""
        shared = self._shared
        return self._budget if shared is None else max(0, shared.total - shared.pinned_bytes(self))

    @property
    def is_shared(self) -> bool:
        """Whether the budget is shared with other ledgers."""
        return self._shared is not None

    @property
    def used(self) -> int:
        """Bytes that all accounts hold together."""
        return self._state.used

    @property
    def passing(self) -> int:
        """Bytes of unfinished commits and builds: the accounts whose owner is a tuple."""
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
        """Whether the accounts hold more than allowed, so that something has to be unloaded."""
        ceiling, shared = self._ceiling, self._shared
        if ceiling is not None and self.used > ceiling:
            return True
        return shared is not None and shared.is_over

    def held(self, owner: Hashable) -> int:
        """Return the bytes of one account."""
        return self._state.held(owner)

    def accounts(self) -> dict[Hashable, int]:
        """Return the owners that hold something at this moment, and their bytes."""
        with self._lock:
            state = self._state
            found = {**state.accounts, **state.change}
        return {owner: size for owner, size in found.items() if size}

    def take(self, owner: Hashable, n_bytes: int) -> bool:
        """Add bytes to an account if they fit (fewer than 0 always do); say whether they did."""
        while True:
            shared = self._shared
            with contextlib.nullcontext() if shared is None else shared.lock, self._lock:
                if self._shared is not shared:
                    # The budget was replaced meanwhile. Start again: the lock of the shared budget is always taken
                    # before this ledger's, or two threads could wait for each other.
                    continue
                if n_bytes > 0 and n_bytes > self.free:
                    return False
                self._set({owner: self.held(owner) + n_bytes})
                return True

    def set_held(self, owner: Hashable, n_bytes: int) -> None:
        """Set an account to the bytes that are really used; 0 closes it."""
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
        """Refuse from now on what would pass this budget; it becomes the budget once the accounts fit it.

        Returns:
            True when it is the budget; False while something has to be unloaded first. Then call it again.
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
        """Use a shared budget from now on."""
        shared.join(self)
        with self._lock:
            self._shared, self._ceiling = shared, None

    def end_lowering(self) -> None:
        """End what `lower` began: the budget in force counts, whether `lower` succeeded or not."""
        with self._lock:
            self._ceiling = self._budget if self._shared is None else None

    def close(self) -> None:
        """Leave the shared budget."""
        if self._shared is not None:
            self._shared.leave(self)
