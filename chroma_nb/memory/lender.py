"""`Lender`: a holder of memory that can give it back when others need it, such as a store's loaded collections."""

from __future__ import annotations

import math
import threading
import weakref
from abc import ABC, abstractmethod
from operator import itemgetter
from typing import TYPE_CHECKING

from chroma_nb import forked

if TYPE_CHECKING:
    from collections.abc import Iterator


class LenderDatabase(ABC):
    """The memory of a lender's database: its caches, and what its statements take without asking."""

    #: `tighten` was called, and `loosen` was not since.
    is_tight = False

    @property
    @abstractmethod
    def cache_bytes(self) -> int:
        """The most bytes that `tighten` may take from it."""

    @property
    @abstractmethod
    def statement_bytes(self) -> int:
        """Bytes that it may take for the statements of this moment; 0 where it executes none."""

    @abstractmethod
    def tighten(self) -> None:
        """Shrink its caches, until `loosen` is called."""

    @abstractmethod
    def loosen(self) -> None:
        """Let its caches grow again."""


class Lender(ABC):
    """Holds memory that can be unloaded and loaded again. `LENDERS` knows all of this process."""

    #: The memory of its database.
    database: LenderDatabase

    @abstractmethod
    def lend(self, n_bytes: int, reason: str, until: float = math.inf) -> int:
        """Unload what was not used for longest, without waiting for locks; return the bytes.

        Args:
            n_bytes: How many are wanted. It may return more, as collections are unloaded whole, or fewer.
            reason: Why, in words, for the report.
            until: Stop at what was used after this moment (monotonic clock): another lender has something older.
        """

    @property
    @abstractmethod
    def lendable(self) -> int:
        """Bytes that could be given back if none of them were in use at this moment."""

    @abstractmethod
    def oldest_use(self) -> float | None:
        """Return the last use (monotonic clock) of what would be unloaded first; None where there is nothing."""

    @abstractmethod
    def room_returned(self) -> None:
        """Called when memory is free again: what was given up or put off may be done now."""


class Lenders:
    """All lenders of this process: a query of one store may need the memory of another store's collections."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        #: Replaced as a whole, so that it is read without the lock: a signal handler may ask a store for something at any
        #: moment.
        self._all: tuple[weakref.ref[Lender], ...] = ()

    def add(self, lender: Lender) -> None:
        """Register a lender. It is held weakly."""
        with self._lock:
            self._all = *self._others(lender), weakref.ref(lender)

    def remove(self, lender: Lender) -> None:
        """Remove a lender."""
        with self._lock:
            self._all = self._others(lender)

    def _others(self, lender: Lender) -> tuple[weakref.ref[Lender], ...]:
        return tuple(one for one in self._all if one() not in (None, lender))

    def __iter__(self) -> Iterator[Lender]:
        return iter([lender for one in self._all if (lender := one()) is not None])

    def lendable(self, but: Lender | None = None) -> int:
        """Return the bytes that all lenders together could give back, `but` left out."""
        return sum(lender.lendable for lender in self if lender is not but)

    def give_back(self, n_bytes: int, reason: str, *, but: Lender | None = None) -> int:
        """Have bytes given back, least recently used first over all lenders; return how many were.

        Args:
            n_bytes: How many are needed.
            reason: Why, in words.
            but: A lender that is left alone.
        """
        returned = 0
        left = [lender for lender in self if lender is not but]
        while returned < n_bytes and left:
            ages = [(age, lender) for lender in left if (age := lender.oldest_use()) is not None]
            if not ages:
                break
            ages.sort(key=itemgetter(0))
            (_, oldest), *others = ages
            # One call for all that is older than the other lenders' oldest: each call sorts its collections anew.
            got = oldest.lend(n_bytes - returned, reason, others[0][0] if others else math.inf)
            if not got:
                # Its collections are in use at this moment.
                left.remove(oldest)
            returned += got
        return returned


LENDERS = Lenders()


# After a fork the child sees its parent's stores, but may not use them.
forked.call_in_child(LENDERS.__init__)  # type: ignore[misc]
