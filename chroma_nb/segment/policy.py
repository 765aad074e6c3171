"""In which order collections are unloaded, and which forms of a graph fit.

Plain functions of plain values. `ResidentSet` and `Graphs` carry out what is decided here.
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
    """A loaded collection, with what the order of unloading depends on."""

    collection_id: UUID
    n_bytes: int
    #: Monotonic time of its last use.
    last_used: float
    #: Unloaded after this long without use; None: after the store's interval.
    ttl_seconds: float | None
    pinned: bool


def expiry(ttl_seconds: float | None, idle_seconds: float) -> float | None:
    """Return the seconds without use after which a collection is unloaded; None is never."""
    if ttl_seconds is not None:
        return ttl_seconds
    return idle_seconds or None


def ranked_for_unload(
    residents: Sequence[Resident], now: float, idle_seconds: float
) -> list[tuple[Resident, str]]:
    """Return the collections to unload, in order, each with the reason: TTL over, idle, least recently used.

    Pinned collections are left out. `now` is monotonic time.
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
    """Yield the forms of a graph of `n_labels` vectors that fit into `room` bytes, in the order of `forms`."""
    return (form for form in forms if form.bytes_for(parameters, n_labels) <= room)
