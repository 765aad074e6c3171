"""`UnloadOrder`: the loaded collections in the order in which they are unloaded, made once for many that go."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING

from chroma_nb.segment import policy

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from chroma_nb.segment.slot import Slot, Slots

#: An order is used for this many times as long as it took to make. So making orders takes at most 5 % of the time,
#: however many collections there are.
REUSE_FACTOR = 20


class UnloadOrder:
    """The collections to unload, the first ones first. Safe for threads.

    Args:
        slots: The collections' slots.
        residents: Returns the loaded collections.
        idle_seconds: The store's `Settings.idle_unload_seconds`.
    """

    def __init__(
        self,
        slots: Slots,
        residents: Callable[[], Sequence[policy.Resident]],
        idle_seconds: float,
    ) -> None:
        self._slots = slots
        self._residents = residents
        self._idle_seconds = idle_seconds
        #: Slot, its last use when the order was made, reason.
        self._order: deque[tuple[Slot, float, str]] = deque()
        #: Until when (monotonic) this order is used.
        self._until = 0.0

    def renew(self) -> bool:
        """Make a new order if the last one is empty or too old; say whether that was done."""
        is_over = time.monotonic() >= self._until or not self._order
        if is_over:
            self._make()
        return is_over

    def _make(self) -> None:
        started = time.monotonic()
        found: deque[tuple[Slot, float, str]] = deque()
        for resident, reason in policy.ranked_for_unload(
            self._residents(), started, self._idle_seconds
        ):
            slot = self._slots.find(resident.collection_id)
            if slot is not None:
                found.append((slot, resident.last_used, reason))
        ended = time.monotonic()
        self._order, self._until = found, ended + REUSE_FACTOR * (ended - started)

    def take(self, but: Slot | None) -> tuple[Slot, str] | None:
        """Take the first collection out of the order; return it with the reason, or None where there is none.

        Args:
            but: A slot that is left alone.
        """
        order = self._order
        while order:
            try:
                slot, last_used, reason = order.popleft()
            except IndexError:  # another thread has taken it
                break
            if slot is not but and _may_go(slot, last_used):
                return slot, reason
        return None

    def oldest_use(self) -> float | None:
        """Return when the first collection was last used (monotonic); None where there is none to unload."""
        is_new = self.renew()
        while True:
            order = self._order
            while order:
                try:
                    slot, last_used, _ = order[0]
                    if _may_go(slot, last_used):
                        return last_used
                    order.popleft()
                except IndexError:  # another thread has taken it
                    break
            if is_new:
                return None
            is_new = self.renew()


def _may_go(slot: Slot, last_used: float) -> bool:
    """Say whether an entry of the order still holds: loaded, not pinned, and not used since the order was made."""
    return not slot.pinned and slot.segment is not None and (slot.last_used or 0.0) == last_used
