"""`Graphs`: when a graph is due, what it covers, and that a saved one is opened again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.unit.segment.conftest import Store


def ids_of(n: int, word: str = "r") -> list[str]:
    return [f"{word}{number}" for number in range(n)]


@pytest.fixture
def idle(store: Store) -> Store:
    """The store, which builds nothing by itself."""
    store.segments._builder.close()
    return store


def status(store: Store) -> tuple[int, int]:
    found = store.segments.status(store.id)
    return found.num_indexed_ops, found.num_unindexed_ops


def test_few_records_get_no_graph(idle: Store) -> None:
    idle.write(*ids_of(99))
    assert not idle.segments._graphs.tail_is_long(idle.slot().segment)
    idle.segments.build(idle.id)
    assert idle.slot().segment.form == "exact"
    assert status(idle) == (99, 0)


def test_a_graph_is_due_and_built_and_covers_a_tail_later(idle: Store) -> None:
    idle.write(*ids_of(150))
    segment = idle.slot().segment
    assert idle.segments._graphs.tail_is_long(segment)
    assert status(idle) == (0, 150)
    idle.segments.build(idle.id)
    assert segment.form != "exact"
    assert segment.vectors.graph_end == 150
    idle.write(*ids_of(10, "late"))
    assert not idle.segments._graphs.tail_is_long(segment), "a short tail is scanned"
    assert status(idle) == (150, 10)
    idle.segments.build(idle.id)
    assert (segment.vectors.graph_end, status(idle)) == (160, (160, 0))
    ledger = idle.segments.residents.ledger
    assert ledger.held(idle.id) == segment.resident_bytes
    assert ledger.held(idle.slot().graph_account) == 0


def test_a_saved_graph_is_opened_without_what_was_deleted(idle: Store) -> None:
    idle.write(*ids_of(150))
    idle.segments.build(idle.id)
    idle.segments.unload(idle.id)
    assert idle.writer.delete(idle.id, None, ids=["r7"], limit=None) == 1
    idle.segments.load(idle.id)
    segment = idle.slot().segment
    assert segment.form != "exact"
    assert segment.vectors.graph_end == 150
    assert len(segment.vectors.graph) == 149
    query = idle.db.vectors(idle.id).read_range(7, 8)
    found, _ = segment.search(query, 149)
    assert 7 not in found.labels
