"""`CommitRoom`: a commit's memory is reserved before it, and the account is what is held after it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from chroma_nb.db.base import Changes, RecordRows
from chroma_nb.errors import MemoryBudgetError
from chroma_nb.filters.expression import Compare
from chroma_nb.memory.workspace import WORKSPACE, Workspace
from tests.support.own_index import OwnIndex

if TYPE_CHECKING:
    from chroma_nb.segment.commit_room import CommitRoom
    from chroma_nb.segment.slot import Slot
    from tests.unit.segment.conftest import Store

LARGE = 9_000_000


@pytest.fixture
def room(plain_store: Store) -> CommitRoom:
    """That of a store with 150 loaded records, which have a graph."""
    plain_store.segments._builder.close()
    plain_store.write(*[f"id{n}" for n in range(150)])
    plain_store.segments.build(plain_store.id)
    return plain_store.segments._room


@pytest.fixture
def slot(plain_store: Store) -> Slot:
    found: Slot = plain_store.slot()
    return found


def added(store: Store, n: int, *documents: str) -> Changes:
    """Return a commit that adds `n` records."""
    extent = store.db.extent(store.id)
    at = np.arange(extent.next_label, extent.next_label + n)
    texts: list[Any] = [*documents, *["text"] * (n - len(documents))]
    nothing: list[Any] = [None] * n
    rows = RecordRows(at, at, [f"id{label}" for label in at], texts, nothing, ['{"n":1}'] * n)
    removed = np.empty(0, dtype=np.int64)
    return Changes(rows, removed, store.vectors(n), extent.next_label, n, n_records_delta=n)


def fill_up(store: Store, free: int) -> None:
    """Have the budget be what is held, and so many bytes more."""
    residents = store.segments.residents
    residents.set_budget(residents.ledger.used + free)


def test_what_a_segment_grows_by_is_reserved_and_handed_over(
    plain_store: Store, room: CommitRoom, slot: Slot
) -> None:
    ledger, segment = plain_store.segments.residents.ledger, slot.segment
    assert segment is not None
    segment.metadata.select(Compare("n", "$eq", 1))
    changes = added(plain_store, 50)
    held = ledger.held(slot.collection_id)
    with slot.write_lock:
        counted = room.for_segment(slot, segment, changes)
        assert counted == {"n"}
        assert ledger.held(slot.growth_account) == segment.growth(changes) > 0
        # A reader makes a column in the meantime, for whose growth nothing was reserved.
        segment.metadata.select(Compare("m", "$eq", 1))
        after = plain_store.db.commit(plain_store.id, changes)
        room.use(slot, segment, changes, after.version, counted)
    assert segment.metadata.column_keys == {"n"}
    assert segment.version == after.version
    assert ledger.held(slot.growth_account) == 0
    assert held < ledger.held(slot.collection_id) == segment.resident_bytes
    assert list(plain_store.texts())[-1] == "id199"


def test_columns_go_where_a_commit_does_not_fit_with_them(
    plain_store: Store, room: CommitRoom, slot: Slot
) -> None:
    ledger, segment = plain_store.segments.residents.ledger, slot.segment
    assert segment is not None
    changes = added(plain_store, 1)
    without = segment.growth(changes)
    segment.metadata.select(Compare("n", "$eq", 1))
    assert segment.growth(changes) > without
    fill_up(plain_store, without - 1)
    with slot.write_lock:
        assert room.for_segment(slot, segment, changes) == frozenset()
        assert segment.metadata.column_keys == frozenset()
        assert ledger.held(slot.collection_id) == segment.resident_bytes
        ledger.set_held(slot.growth_account, 0)
        fill_up(plain_store, 0)
        assert room.for_segment(slot, segment, added(plain_store, 1_000)) is None
    assert ledger.held(slot.growth_account) == 0, "nothing stays reserved"


def test_a_segment_that_was_evicted_for_the_commit_is_left_alone(
    plain_store: Store, room: CommitRoom, slot: Slot
) -> None:
    segment, residents = slot.segment, plain_store.segments.residents
    assert segment is not None
    changes = added(plain_store, 1)
    with slot.write_lock:
        counted = room.for_segment(slot, segment, changes)
        assert counted is not None
        after = plain_store.db.commit(plain_store.id, changes)
        with slot.lock.write():
            residents.drop(slot, save=False, reason="the database needed room")
        room.use(slot, segment, changes, after.version, counted)
    assert residents.ledger.held(slot.collection_id) == 0
    assert len(plain_store.texts()) == 151


def test_a_pinned_collections_graph_goes_before_a_write_is_refused(
    plain_store: Store, room: CommitRoom, slot: Slot
) -> None:
    plain_store.segments.pin(plain_store.id, True)
    segment = slot.segment
    assert segment is not None
    assert segment.vectors is not None
    assert segment.vectors.graph is not None
    changes = added(plain_store, 1)
    fill_up(plain_store, segment.growth(changes) - 1)
    with slot.write_lock:
        assert room.for_segment(slot, segment, changes) is None
        assert room.by_dropping_graph(slot, segment, changes) == frozenset()
        assert segment.vectors.graph is None
        found = plain_store.segments.residents.saved_graphs.open(
            segment, OwnIndex, segment.metadata.alive
        )
        assert found is not None, "it was saved"
        ledger = plain_store.segments.residents.ledger
        ledger.set_held(slot.growth_account, 0)
        fill_up(plain_store, 0)
        with pytest.raises(
            MemoryBudgetError, match=r"of 900 records to collection \[notes\], which"
        ) as refused:
            room.by_dropping_graph(slot, segment, added(plain_store, 900))
    assert "client.memory.unpin('notes')" in str(refused.value)
    assert refused.value.free < refused.value.need
    assert ledger.accounts() == {slot.collection_id: segment.resident_bytes}


@pytest.fixture
def costly(plain_store: Store, monkeypatch: pytest.MonkeyPatch) -> Store:
    """The store, whose DB takes three times the texts for a commit."""
    monkeypatch.setattr(
        plain_store.db, "commit_bytes", lambda text_bytes: 3 * int(text_bytes.sum())
    )
    return plain_store


def test_a_commit_of_a_few_megabytes_is_never_refused(
    costly: Store, room: CommitRoom, slot: Slot, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert room.for_db(slot, added(costly, 1)).n_bytes == 0
    with monkeypatch.context() as patch:
        patch.setattr(Workspace, "_free", lambda self: 0)
        patch.setattr(type(WORKSPACE._lenders), "give_back", lambda *_, **__: 0)
        with room.for_db(slot, added(costly, 1, "x" * 5_000_000)) as grant:
            assert 0 < grant.n_bytes < 15_000_000
    assert WORKSPACE.used == 0


@pytest.mark.parametrize(
    ("documents", "way"),
    [
        (["x" * 1_000_000] * 20, "write them in parts of 8"),
        (["x" * 2 * LARGE], "split the longest texts into several records"),
    ],
)
def test_a_larger_one_is_refused_with_a_part_that_does_fit(
    costly: Store,
    room: CommitRoom,
    slot: Slot,
    monkeypatch: pytest.MonkeyPatch,
    documents: list[str],
    way: str,
) -> None:
    changes = added(costly, len(documents), *documents)
    with monkeypatch.context() as patch:
        patch.setattr(Workspace, "_free", lambda self: LARGE)
        with slot.write_lock, pytest.raises(MemoryBudgetError, match="Writing") as refused:
            room.for_db(slot, changes)
        assert way in str(refused.value)
        assert refused.value.free < refused.value.need
        assert slot.segment is None, "the collection itself was unloaded for it"
        part = replace(changes, rows=added(costly, 8, *documents[:8]).rows)
        if len(documents) > 1:
            room.for_db(slot, part).give_back()
    assert WORKSPACE.used == 0
