"""Refusals: the figures in the sentence are true, what is free is less than the need, and the ways out work."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from chroma_nb.errors import MemoryBudgetError
from chroma_nb.memory.sizes import format_bytes
from chroma_nb.segment.refusals import no_room, pinned_too_large, still_held
from chroma_nb.types import RecordBatch

if TYPE_CHECKING:
    import uuid

    from chroma_nb.segment.resident_set import ResidentSet
    from tests.unit.segment.conftest import Store


def fill(store: Store, name: str, kilobytes: int) -> uuid.UUID:
    collection = store.create(name)
    batch = RecordBatch(["a"], embeddings=store.vectors(1), documents=["x" * 1_000 * kilobytes])
    store.writer.write(collection, batch, "skip")
    return collection


@pytest.fixture
def residents(plain_store: Store) -> ResidentSet:
    return plain_store.segments.residents


def suggested(error: MemoryBudgetError) -> int:
    """Return the budget that the error names as a way out."""
    found = re.search(r"client\.memory\.budget = ([\d_]+)", str(error))
    assert found, str(error)
    return int(found[1])


def figures(error: MemoryBudgetError) -> str:
    assert error.free < error.need
    return f"needs about {format_bytes(error.need)}; {format_bytes(error.free)} are free"


def test_what_is_pinned_is_named_and_the_budget_that_holds_it_works(
    plain_store: Store, residents: ResidentSet
) -> None:
    for n, name in enumerate(("small", "large")):
        plain_store.segments.pin(fill(plain_store, name, 50 + 100 * n), True)
    with pytest.raises(MemoryBudgetError) as refused:
        residents.set_budget(10_000)
    error = refused.value
    assert "what is pinned (large, small) needs about" in str(error), "the largest first"
    assert figures(error) in str(error)
    assert suggested(error) == error.need == residents.pinned_bytes()
    assert residents.set_budget(suggested(error)) == error.need
    assert len(residents.loaded_collections()) == 2


def test_of_many_pinned_ones_some_are_named(plain_store: Store, residents: ResidentSet) -> None:
    for n in range(7):
        plain_store.segments.pin(fill(plain_store, f"pinned{n}", 1 + n), True)
    error = pinned_too_large(residents, residents.pinned_bytes(), 5)
    assert "(pinned6, pinned5, pinned4, pinned3, pinned2 and 2 more)" in str(error)


def test_what_is_in_use_is_named_by_what_it_does(
    plain_store: Store, residents: ResidentSet
) -> None:
    gone = fill(plain_store, "gone", 1)
    plain_store.write("a")
    slot = plain_store.slot()
    residents.ledger.set_held(slot.graph_account, 30_000)
    residents.ledger.set_held(slot.growth_account, 20_000)
    residents.slots.remove(gone)
    error = still_held(residents, 10)
    assert "(notes, its graph being built: 30.0 kB, notes, a write to it: 20.0 kB, " in str(error)
    assert f"a deleted collection ({gone}): " in str(error)
    assert figures(error) in str(error)
    assert suggested(error) == error.need == residents.ledger.used
    # By the time it is said, less may be held than the budget that was refused.
    for account in residents.ledger.accounts():
        residents.ledger.set_held(account, 0)
    assert figures(still_held(residents, 10)) in str(still_held(residents, 10))


def test_the_budget_that_is_named_has_room(plain_store: Store, residents: ResidentSet) -> None:
    pinned = fill(plain_store, "pinned", 50)
    large = fill(plain_store, "large", 300)
    plain_store.segments.pin(pinned, True)
    plain_store.segments.unload(large)
    residents.set_budget(residents.pinned_bytes() + 100_000)
    with pytest.raises(MemoryBudgetError, match=r"Collection \[large\] needs about") as refused:
        plain_store.segments.load(large)
    error = refused.value
    assert figures(error) in str(error)
    assert error.free == residents.room_for(residents.slots.get(large)) == 100_000
    assert (error.budget, "leave it on disk" in str(error)) == (residents.budget, True)
    residents.set_budget(suggested(error) - 1)
    with pytest.raises(MemoryBudgetError):
        plain_store.segments.load(large)
    residents.set_budget(suggested(error))
    assert plain_store.segments.load(large) > 300_000


def test_what_the_collection_holds_already_is_no_room(
    plain_store: Store, residents: ResidentSet
) -> None:
    plain_store.write("a")
    slot, budget = plain_store.slot(), residents.budget
    error = no_room(residents, slot, 3 * budget, "This", "do without", held=budget // 2)
    assert (error.need, error.free) == (3 * budget, budget - budget // 2)
    assert suggested(error) == 3 * budget + budget // 2


@pytest.mark.parametrize("free", [0, 10**12])
def test_where_the_machine_is_full_the_budget_is_no_way_out(
    plain_store: Store, residents: ResidentSet, monkeypatch: pytest.MonkeyPatch, free: int
) -> None:
    plain_store.write("a")
    with monkeypatch.context() as patch:
        patch.setattr(type(residents), "machine_room", lambda self: free)
        patch.setattr(type(residents), "lendable", 0)
        error = no_room(residents, plain_store.slot(), 1_000, "This", "do without")
        assert figures(error) in str(error), (
            "though there is more by now, it is not said that it fits"
        )
        assert "client.memory.budget" not in str(error)
        assert ("make room on the machine" in str(error)) == (not free)
        assert ("others are in use at this moment" in str(error)) == bool(free)
        more = no_room(residents, plain_store.slot(), 10**10, "This", "do without")
        assert suggested(more) >= 10**10
        assert ("make room on the machine" in str(more)) == (not free)
