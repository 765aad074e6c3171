"""`ResidentSet`: what is held is in the account, and others go before the budget is passed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from chroma_nb.errors import MemoryBudgetError
from chroma_nb.types import RecordBatch

if TYPE_CHECKING:
    import uuid

    from tests.unit.segment.conftest import Store


def fill(store: Store, name: str) -> uuid.UUID:
    collection = store.create(name)
    batch = RecordBatch(["a"], embeddings=store.vectors(1), documents=["x" * 10_000])
    store.writer.write(collection, batch, "skip")
    return collection


def loaded(store: Store) -> set[uuid.UUID]:
    residents = store.segments.residents
    return {slot.collection_id for slot in residents.slots if slot.segment is not None}


def test_the_account_says_what_is_held(store: Store) -> None:
    collection = fill(store, "first")
    residents = store.segments.residents
    segment = residents.slots.get(collection).segment
    assert segment is not None
    assert residents.ledger.held(collection) == segment.resident_bytes > 10_000
    assert store.segments.unload(collection) > 10_000
    assert residents.ledger.used == 0


def test_the_least_recently_used_goes_first_and_what_is_pinned_stays(store: Store) -> None:
    first, second, third = (fill(store, name) for name in ("first", "second", "third"))
    store.segments.pin(first, True)
    with store.segments.answering(second):
        pass
    residents = store.segments.residents
    budget = residents.ledger.used - 1
    assert [key for key, _, _ in residents.would_unload(budget)] == [third]
    residents.set_budget(budget)
    assert loaded(store) == {first, second}
    with pytest.raises(MemoryBudgetError, match=r"what is pinned \(first\)"):
        residents.set_budget(1_000)
    assert residents.budget == budget
    actions = [event.action for event in residents.history.events("default_tenant", "x")]
    assert "unload" in actions


def test_what_does_not_fit_is_answered_from_the_db(store: Store) -> None:
    collection = fill(store, "first")
    store.segments.unload(collection)
    store.segments.residents.set_budget(1_000)
    with store.segments.answering(collection) as segment:
        assert segment.resident_bytes == 0
        assert segment.metadata.n_live == 1
    assert store.slot().segment is None
    with pytest.raises(MemoryBudgetError):
        store.segments.load(collection)
