"""`Lender`: somebody who holds memory that can be made again, such as a store's loaded collections."""

from __future__ import annotations

import threading
import weakref
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


class Lender(ABC):
    """Holds memory that others may need more; known by `LENDERS` as long as it is there."""

    @abstractmethod
    def lend(self, reason: str) -> int:
        """Give back what was not used for longest, if it can be had without waiting; return the bytes.

        Args:
            reason: Why, in words, for the report.
        """

    @abstractmethod
    def least_recent(self) -> float | None:
        """Return when that was used last, by the monotonic clock; None where there is nothing to give."""

    @abstractmethod
    def room_returned(self) -> None:
        """Take notice that there is room again for what was given up or put off."""


class Lenders:
    """The lenders of this process: one store's queries may need what another store has loaded."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._all: weakref.WeakSet[Lender] = weakref.WeakSet()

    def add(self, lender: Lender) -> None:
        """Know a lender from now on."""
        with self._lock:
            self._all.add(lender)

    def remove(self, lender: Lender) -> None:
        """Know it no longer."""
        with self._lock:
            self._all.discard(lender)

    def __iter__(self) -> Iterator[Lender]:
        with self._lock:
            return iter(list(self._all))

    def give_back(self, n_bytes: int, reason: str, *, but: Lender | None = None) -> int:
        """Have so many bytes given back, least recently used first; return how many were.

        Args:
            n_bytes: How much is needed.
            reason: Why, in words.
            but: Leave this one alone.
        """
        came = 0
        left = [lender for lender in self if lender is not but]
        while came < n_bytes and left:
            ages = [(age, lender) for lender in left if (age := lender.least_recent()) is not None]
            if not ages:
                break
            _, oldest = min(ages, key=lambda pair: pair[0])
            got = oldest.lend(reason)
            if not got:
                # Its collections are in use at this moment.
                left.remove(oldest)
            came += got
        return came


LENDERS = Lenders()
