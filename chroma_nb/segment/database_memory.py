"""`DatabaseMemory`: the limit of a store's database, in proportion to the budget, and lower while memory is short."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chroma_nb.memory.budget import LEAST_DATABASE, database_share
from chroma_nb.memory.lender import LenderDatabase
from chroma_nb.memory.trim import return_memory

if TYPE_CHECKING:
    from chroma_nb.db.base import DB
    from chroma_nb.memory.ledger import Ledger


#: So much a statement may take before the watcher of the machine's memory has looked once more. The limit may be far higher.
_STATEMENT_BYTES = 32 << 20


class DatabaseMemory(LenderDatabase):
    """The memory of one database.

    Args:
        db: The database.
        ledger: Has the budget of the store's collections.
    """

    def __init__(self, db: DB, ledger: Ledger) -> None:
        self._db = db
        self._ledger = ledger

    @property
    def cache_bytes(self) -> int:
        return database_share(self._ledger.budget) - LEAST_DATABASE

    @property
    def statement_bytes(self) -> int:
        return min(self._db.memory_limit, _STATEMENT_BYTES) if self._db.is_at_work else 0

    def tighten(self) -> None:
        self.is_tight = True
        self.set_limit()
        return_memory()

    def loosen(self) -> None:
        self.is_tight = False
        self.set_limit()

    def set_limit(self) -> None:
        """Set the limit anew, after the budget has changed."""
        share = database_share(self._ledger.budget)
        self._db.set_memory_limit(LEAST_DATABASE if self.is_tight else share)
