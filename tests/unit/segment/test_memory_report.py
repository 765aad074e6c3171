"""What is said of a store's memory: each collection's state, the estimate, and why it has its form."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from chroma_nb.index.base import GraphParameters
from chroma_nb.segment.memory_report import estimate, report, why_this_form
from tests.support.own_index import OwnIndex

if TYPE_CHECKING:
    import uuid

    from chroma_nb.memory.report import CollectionMemory
    from chroma_nb.segment.resident_set import ResidentSet
    from tests.unit.segment.conftest import Store

PARAMETERS = GraphParameters("l2", 3)


@pytest.fixture
def residents(plain_store: Store) -> ResidentSet:
    # No graph is built but where a test asks for it.
    plain_store.segments._builder.close()
    return plain_store.segments.residents


def said_of(store: Store, *collections: uuid.UUID) -> list[CollectionMemory]:
    residents = store.segments.residents
    infos = [store.db.get_collection(one) for one in collections]
    return report(residents, infos, "default_tenant", "default_database").collections


def why(store: Store) -> str:
    with store.segments.present(store.id) as segment:
        return why_this_form(store.segments.residents, segment)


def test_each_state_has_its_word(plain_store: Store, residents: ResidentSet) -> None:
    empty, unused = plain_store.create("empty"), plain_store.create("unused")
    plain_store.write("a")
    first, second, third = said_of(plain_store, plain_store.id, empty, unused)
    assert (first.name, first.state, first.n_records) == ("notes", "loaded", 1)
    assert (
        first.resident_bytes == sum(first.parts.values()) == residents.ledger.held(plain_store.id)
    )
    assert first.idle_seconds is not None
    assert second.state == third.state == "empty"
    assert (third.idle_seconds, third.resident_bytes, third.parts) == (None, 0, {})
    assert residents.slots.find(unused) is None, "a report makes no slot"
    plain_store.segments.unload(plain_store.id)
    plain_store.slot().loading = True
    assert said_of(plain_store, plain_store.id)[0].state == "loading"
    plain_store.slot().loading = False
    (first,) = said_of(plain_store, plain_store.id)
    assert (first.state, first.resident_bytes, first.unloads) == ("on disk", 0, 1)


def test_what_is_reserved_is_the_collections(plain_store: Store, residents: ResidentSet) -> None:
    plain_store.write("a")
    slot = plain_store.slot()
    residents.ledger.set_held(slot.graph_account, 1_000)
    residents.ledger.set_held(slot.growth_account, 200)
    (found,) = said_of(plain_store, plain_store.id)
    assert (found.parts["being built"], found.parts["being written"]) == (1_000, 200)
    assert found.resident_bytes == residents.ledger.used
    for account in (slot.graph_account, slot.growth_account):
        residents.ledger.set_held(account, 0)
    (found,) = said_of(plain_store, plain_store.id)
    assert not {"being built", "being written"} & set(found.parts)


def test_an_estimate_says_what_would_be_taken(plain_store: Store, residents: ResidentSet) -> None:
    few = estimate(residents, 99, 3, PARAMETERS)
    assert (few.form, few.disk_bytes, list(few.by_form)) == ("exact", 99 * 3 * 4, ["exact"])
    many = estimate(residents, 100_000, 3, PARAMETERS, text_bytes=10)
    assert (many.form, many.n_bytes) == ("own", many.by_form["own"])
    assert many.n_bytes < estimate(residents, 100_000, 3, PARAMETERS).n_bytes, "of typical texts"
    # What is said of the whole budget is true.
    largest = many.largest["own"]
    full = estimate(residents, largest, 3, PARAMETERS, text_bytes=10)
    assert full.n_bytes <= residents.budget
    more = estimate(residents, largest + largest // 50, 3, PARAMETERS, text_bytes=10)
    assert (more.form, more.n_bytes, more.budget) == ("on disk", 0, residents.budget)
    nothing = estimate(residents, 0, 3, PARAMETERS)
    assert (nothing.form, nothing.largest, nothing.disk_bytes) == ("exact", {"exact": 0}, 0)


def test_a_real_collection_takes_no_more_than_its_estimate(
    plain_store: Store, residents: ResidentSet
) -> None:
    plain_store.write(*[f"id{n:03}" for n in range(200)])
    plain_store.segments.build(plain_store.id)
    plain_store.segments.unload(plain_store.id)
    real = plain_store.segments.load(plain_store.id)
    # Ids and documents are 5 letters each.
    expected = estimate(residents, 200, 3, PARAMETERS, text_bytes=10)
    graph = 200 * (8 + 4 * 3)
    assert graph < real <= expected.n_bytes
    assert OwnIndex.bytes_for(PARAMETERS, 200) == graph


def test_why_a_collection_has_its_form(plain_store: Store, residents: ResidentSet) -> None:
    assert why(plain_store) == "there was no room at the moment"
    plain_store.write("a")
    assert why(plain_store).startswith("it is small")
    plain_store.write(*[f"id{n}" for n in range(150)])
    assert "no index is loaded; the full index (own) takes" in why(plain_store)
    plain_store.slot().graph_progress = 0.25
    assert why(plain_store).startswith("the index is being built, 25% so far; the full index (own)")
    plain_store.slot().graph_progress = None
    plain_store.segments.build(plain_store.id)
    assert why(plain_store) == "the full index fits"
    segment = plain_store.slot().segment
    segment.vectors.drop_graph()
    segment.vectors.suits_graph = False
    assert "float32: exact search" in why(plain_store)


def test_one_that_does_not_fit_says_how_much_it_would_take(
    plain_store: Store, residents: ResidentSet
) -> None:
    plain_store.write("a", embeddings=plain_store.vectors(1), documents=["x" * 500_000])
    plain_store.segments.unload(plain_store.id)
    residents.set_budget(100_000)
    assert why(plain_store) == "there was no room at the moment", "it was not tried yet"
    with plain_store.segments.answering(plain_store.id):
        pass
    assert "kB do not fit the budget of 100 kB" in why(plain_store)
