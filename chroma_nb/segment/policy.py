"""Who goes first, and in which form a collection is held.

Plain functions over plain values: what `SegmentManager` does with locks and files is decided here.
"""

from __future__ import annotations

from dataclasses import dataclass
from operator import itemgetter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from uuid import UUID

    from chroma_nb.index.base import GraphParameters, VectorIndex


@dataclass(frozen=True)
class Resident:
    """What the order of unloading depends on."""

    collection_id: UUID
    n_bytes: int
    last_used: float
    #: Seconds without use after which it goes; None: the store's interval.
    ttl_seconds: float | None
    pinned: bool


def expiry(ttl_seconds: float | None, idle_seconds: float) -> float | None:
    """Return the seconds without use after which a collection goes; None is never."""
    if ttl_seconds is not None:
        return ttl_seconds
    return idle_seconds or None


def unload_order(
    residents: Sequence[Resident], now: float, idle_seconds: float
) -> list[tuple[Resident, str]]:
    """Return who goes, in order, each with the reason: TTL over, idle, least recently used.

    Pinned collections are not in it.
    """

    def rank(one: Resident) -> tuple[int, float]:
        idle = now - one.last_used
        if one.ttl_seconds is not None and idle >= one.ttl_seconds:
            return 0, one.last_used
        if one.ttl_seconds is None and idle_seconds and idle >= idle_seconds:
            return 1, one.last_used
        return 2, one.last_used

    reasons = ("its TTL was over", "idle", "least recently used")
    ranked = [(rank(one), one) for one in residents if not one.pinned]
    ranked.sort(key=itemgetter(0))
    return [(one, reasons[place]) for (place, _), one in ranked]


def forms_that_fit(
    forms: Iterable[type[VectorIndex]], parameters: GraphParameters, n_labels: int, room: int
) -> Iterator[type[VectorIndex]]:
    """Yield the forms of a graph over so many vectors that fit, the largest first."""
    return (form for form in forms if form.bytes_for(parameters, n_labels) <= room)
