"""`Ledger`: whose bytes they are, and that together they stay within the budget."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Hashable


class Ledger:
    """Accounts of bytes under one budget. Safe for threads.

    Whoever is going to use memory takes it here first, and is refused where it does not fit; nobody is
    pushed out by the ledger itself.

    Args:
        budget: Bytes that all accounts together may hold.
    """

    def __init__(self, budget: int) -> None:
        self._lock = threading.Lock()
        #: The accounts and their sum, replaced as one: a stopped cell leaves a step undone or done.
        self._state: tuple[dict[Hashable, int], int] = ({}, 0)
        self._budget = budget
        #: Below the budget while a smaller one is being brought about.
        self._ceiling = budget

    @property
    def budget(self) -> int:
        """Bytes that all accounts together may hold."""
        return self._budget

    @property
    def used(self) -> int:
        """Bytes that they hold."""
        return self._state[1]

    @property
    def free(self) -> int:
        """Bytes that can still be taken."""
        return max(0, self._ceiling - self.used)

    @property
    def is_over(self) -> bool:
        """Whether somebody has to give back, as a smaller budget is being brought about."""
        return self.used > self._ceiling

    def held(self, owner: Hashable) -> int:
        """Return the bytes of one account."""
        return self._state[0].get(owner, 0)

    def take(self, owner: Hashable, n_bytes: int) -> bool:
        """Add bytes to an account if they fit; say whether they did."""
        with self._lock:
            if n_bytes > 0 and self.used + n_bytes > self._ceiling:
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

    def _set(self, changed: dict[Hashable, int]) -> None:
        accounts = {owner: size for owner, size in {**self._state[0], **changed}.items() if size}
        self._state = (accounts, sum(accounts.values()))

    def lower(self, budget: int) -> bool:
        """Refuse whatever would pass this budget from now on, and make it the budget once it is kept.

        Returns:
            True when the accounts are within it, False while others have to give back first.
        """
        with self._lock:
            self._ceiling = budget
            if self.used > budget:
                return False
            self._budget = budget
            return True

    def keep(self) -> None:
        """Stay with the budget in force, where `lower` could not be carried through."""
        with self._lock:
            self._ceiling = self._budget
