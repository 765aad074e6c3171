"""`UnloadOrder`: made once for many that go, and an entry holds only as long as nothing has happened to its slot."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

from chroma_nb.segment import unload_order
from chroma_nb.segment.policy import Resident
from chroma_nb.segment.slot import Slot, Slots
from chroma_nb.segment.unload_order import UnloadOrder

if TYPE_CHECKING:
    import pytest


class Loaded:
    """Collections that are loaded, the first one unused for longest, and the order in which they go."""

    def __init__(self, n: int) -> None:
        self.slots = Slots(db=None)  # type: ignore[arg-type]
        self.all = [Slot(uuid4(), last_used=float(at)) for at in range(n)]
        for slot in self.all:
            slot.segment = loaded()
            self.slots._slots[slot.collection_id] = slot
        self.n_made = 0
        self.order = UnloadOrder(self.slots, self.residents, idle_seconds=0)

    def residents(self) -> list[Resident]:
        self.n_made += 1
        return [
            Resident(slot.collection_id, 1, slot.last_used or 0.0, None, slot.pinned)
            for slot in self.all
            if slot.segment is not None
        ]

    def taken(self, but: Slot | None = None) -> list[int]:
        found = []
        while (one := self.order.take(but)) is not None:
            found.append(self.all.index(one[0]))
        return found


def loaded() -> Any:
    return object()


def test_the_least_recently_used_goes_first() -> None:
    three = Loaded(3)
    assert three.order.take(None) is None, "it was not made yet"
    assert three.order.renew()
    first = three.order.take(None)
    assert first == (three.all[0], "least recently used")
    assert three.taken() == [1, 2]
    assert three.order.take(None) is None


def test_what_has_happened_to_a_slot_meanwhile_counts() -> None:
    six = Loaded(6)
    six.order.renew()
    six.all[0].pinned = True
    six.all[1].last_used = 100.0
    six.all[2].segment = None
    six.slots.remove(six.all[3].collection_id)
    assert six.taken(but=six.all[4]) == [3, 5], (
        "a deleted one frees nothing more when it is dropped"
    )


def test_a_collection_without_a_slot_is_left_out() -> None:
    two = Loaded(2)
    two.slots.remove(two.all[0].collection_id)
    two.order.renew()
    assert two.taken() == [1]


def test_an_order_is_made_again_when_it_is_empty_or_too_old(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = [0.0]

    def monotonic() -> float:
        # Each look at the clock takes a second: so does making an order.
        clock[0] += 1.0
        return clock[0]

    monkeypatch.setattr(unload_order.time, "monotonic", monotonic)
    two = Loaded(2)
    assert two.order.renew()
    assert not two.order.renew()
    clock[0] += unload_order.REUSE_FACTOR
    assert two.order.renew(), "too old"
    two.taken()
    assert two.order.renew(), "empty"
    assert two.n_made == 3


def test_the_oldest_use_is_that_of_the_next_to_go() -> None:
    three = Loaded(3)
    assert three.order.oldest_use() == 0.0
    three.all[0].last_used = 100.0
    three.all[1].pinned = True
    assert three.order.oldest_use() == 2.0
    three.all[2].last_used = 101.0
    assert three.order.oldest_use() == 100.0, "by a new order: the old one is used up"
    for slot in three.all:
        slot.pinned = True
    assert three.order.oldest_use() is None


def test_two_threads_never_get_the_same() -> None:
    many = Loaded(2_000)
    many.order.renew()
    found: list[UUID] = []
    together = threading.Barrier(4)

    def take() -> None:
        together.wait()
        while (one := many.order.take(None)) is not None:
            found.append(one[0].collection_id)
            many.order.oldest_use()

    threads = [threading.Thread(target=take) for _ in range(4)]
    # An order that is used up is not made again.
    many.order._residents = list
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == len(set(found))
