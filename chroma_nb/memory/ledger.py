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
        self._accounts: dict[Hashable, int] = {}
        self._budget = budget
        #: Below the budget while a smaller one is being brought about.
        self._ceiling = budget
        self._used = 0

    @property
    def budget(self) -> int:
        """Bytes that all accounts together may hold."""
        return self._budget

    @property
    def used(self) -> int:
        """Bytes that they hold."""
        return self._used

    @property
    def free(self) -> int:
        """Bytes that can still be taken."""
        return max(0, self._ceiling - self._used)

    @property
    def is_over(self) -> bool:
        """Whether somebody has to give back, as a smaller budget is being brought about."""
        return self._used > self._ceiling

    def held(self, owner: Hashable) -> int:
        """Return the bytes of one account."""
        return self._accounts.get(owner, 0)

    def take(self, owner: Hashable, n_bytes: int) -> bool:
        """Add bytes to an account if they fit; say whether they did."""
        with self._lock:
            if n_bytes > 0 and self._used + n_bytes > self._ceiling:
                return False
            self._set(owner, self._accounts.get(owner, 0) + n_bytes)
            return True

    def settle(self, owner: Hashable, n_bytes: int) -> None:
        """Set an account to what is really used; 0 closes it."""
        with self._lock:
            self._set(owner, n_bytes)

    def hand_over(self, source: Hashable, target: Hashable) -> None:
        """Add one account to another and close it."""
        with self._lock:
            moved = self._accounts.get(source, 0)
            self._set(source, 0)
            self._set(target, self._accounts.get(target, 0) + moved)

    def _set(self, owner: Hashable, n_bytes: int) -> None:
        self._used += n_bytes - self._accounts.get(owner, 0)
        if n_bytes:
            self._accounts[owner] = n_bytes
        else:
            self._accounts.pop(owner, None)

    def lower(self, budget: int) -> bool:
        """Refuse whatever would pass this budget from now on, and make it the budget once it is kept.

        Returns:
            True when the accounts are within it, False while others have to give back first.
        """
        with self._lock:
            self._ceiling = budget
            if self._used > budget:
                return False
            self._budget = budget
            return True

    def keep(self) -> None:
        """Stay with the budget in force, where `lower` could not be carried through."""
        with self._lock:
            self._ceiling = self._budget
