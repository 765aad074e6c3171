"""`Lender`: somebody who holds memory that can be made again, such as a store's loaded collections."""

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


class Lender(ABC):
    """Holds memory that others may need more; known by `LENDERS` as long as it is there."""

    @abstractmethod
    def lend(self, n_bytes: int, reason: str, until: float = math.inf) -> int:
        """Give back what was not used for longest, as far as that needs no waiting; return the bytes.

        Args:
            n_bytes: How many are wanted. It may be more, as what goes goes as a whole, or fewer.
            reason: Why, in words, for the report.
            until: Stop before what was used after this moment: others have something older.
        """

    @property
    @abstractmethod
    def lendable(self) -> int:
        """Bytes that could be given back, if nobody used them at this moment."""

    @abstractmethod
    def least_recent(self) -> float | None:
        """Return when that was used last which goes first, by the monotonic clock; None where there is nothing."""

    @abstractmethod
    def tighten(self) -> None:
        """Get along with as little as possible beside what could be lent, until `room_returned`."""

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

    def lendable(self, but: Lender | None = None) -> int:
        """Return what all others could give back."""
        return sum(lender.lendable for lender in self if lender is not but)

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
            ages.sort(key=itemgetter(0))
            (_, oldest), *others = ages
            # All at once, as far as its turn goes: it finds out anew each time what goes next.
            got = oldest.lend(n_bytes - came, reason, others[0][0] if others else math.inf)
            if not got:
                # Its collections are in use at this moment.
                left.remove(oldest)
            came += got
        return came


LENDERS = Lenders()


# A child has its parent's stores and none of their files.
forked.call_in_child(LENDERS.__init__)  # type: ignore[misc]
