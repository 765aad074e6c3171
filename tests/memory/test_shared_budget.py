"""The budget ``"auto"``, which the stores of a process have in common."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import chroma_nb
from chroma_nb.memory.ledger import Ledger
from chroma_nb.memory.lender import Lenders
from chroma_nb.memory.pressure import Pressure
from chroma_nb.memory.shared_budget import SharedBudget
from chroma_nb.memory.workspace import Workspace
from chroma_nb.segment import resident_set
from tests.memory.fakes import MIB, PLENTY, FakeMachine

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


# -- the class --------------------------------------------------------------------------------


@pytest.fixture
def shared() -> SharedBudget:
    """60 % of 100 MiB, however much of it is taken by its ledgers."""
    machine = FakeMachine(100 * MIB)
    shared = SharedBudget(machine)  # type: ignore[arg-type]
    machine.held = lambda: shared.used
    return shared


def test_the_parts_of_all_stores_are_the_total(shared: SharedBudget) -> None:
    ledgers = [Ledger(0, shared) for _ in range(3)]
    assert shared.total == 60 * MIB
    assert [one.budget for one in ledgers] == [20 * MIB] * 3
    assert ledgers[0].take("a", 30 * MIB)
    assert [one.budget for one in ledgers] == [40 * MIB, 10 * MIB, 10 * MIB]
    assert ledgers[1].take("a", 24 * MIB)
    assert [one.budget for one in ledgers] == [32 * MIB, 26 * MIB, 2 * MIB]
    assert shared.reckon() == 60 * MIB


def test_what_one_holds_another_cannot_have(shared: SharedBudget) -> None:
    one, two = Ledger(0, shared), Ledger(0, shared)
    assert one.take("a", 45 * MIB)
    assert (two.free, two.most) == (15 * MIB, 60 * MIB)
    assert not two.take("a", 15 * MIB + 1)
    assert two.take("a", 15 * MIB)
    one.set_held("a", 5 * MIB)
    assert two.take("a", 40 * MIB)
    assert (one.free, two.free) == (0, 0)


def test_what_is_pinned_is_promised_to_nobody_else(shared: SharedBudget) -> None:
    one, two = Ledger(0, shared), Ledger(0, shared)
    one.pinned_bytes = lambda: 25 * MIB
    assert (one.most, two.most) == (60 * MIB, 35 * MIB)


def test_it_falls_and_rises_with_what_others_take_and_give_back() -> None:
    machine = FakeMachine(100 * MIB)
    shared = SharedBudget(machine)  # type: ignore[arg-type]
    machine.held = lambda: shared.used
    ledger = Ledger(0, shared)
    assert ledger.take("a", 50 * MIB)
    assert not ledger.is_over
    machine.n_bytes = 90 * MIB
    assert shared.reckon() == 54 * MIB
    assert not ledger.is_over
    # 48: a little too much is passed over.
    machine.n_bytes = 80 * MIB
    shared.reckon()
    assert (shared.excess, ledger.is_over, ledger.free) == (0, False, 0)
    machine.n_bytes = 60 * MIB
    shared.reckon()
    assert (shared.excess, ledger.is_over) == (14 * MIB, True)
    machine.n_bytes = 100 * MIB
    assert shared.reckon() == 60 * MIB
    assert not ledger.is_over


def test_what_is_on_its_way_is_not_counted_as_held_already(shared: SharedBudget) -> None:
    """It has been taken and not been allocated: the machine has it as free."""
    machine: Any = shared._machine
    ledger = Ledger(0, shared)
    machine.held = lambda: ledger.used - ledger.passing
    assert ledger.take("a", 20 * MIB)
    assert ledger.take(("a", "graph"), 30 * MIB)
    assert shared.reckon() == 60 * MIB
    assert ledger.free == 10 * MIB


def test_a_budget_of_ones_own_leaves_it_and_comes_back(shared: SharedBudget) -> None:
    one, two = Ledger(0, shared), Ledger(0, shared)
    assert one.take("a", 10 * MIB)
    assert one.lower(20 * MIB)
    assert (one.budget, one.free, one.is_shared) == (20 * MIB, 10 * MIB, False)
    assert shared.used == 0
    assert two.budget == shared.total
    one.share(shared)
    assert one.is_shared
    assert one.budget + two.budget == shared.total
    one.close()
    assert two.budget == shared.total


# -- stores -----------------------------------------------------------------------------------

VECTORS = np.random.default_rng(1).standard_normal((4_000, 4), dtype=np.float32)
#: Most of what is held: it cannot be left out, as mapped vectors can.
DOCUMENTS = [f"{row:0500}" for row in range(len(VECTORS))]


class Place:
    """Stores of one process on a machine of their own."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._folder = folder
        self._stack = contextlib.ExitStack()
        self.lenders = Lenders()
        self.machine = FakeMachine(100 * MIB)
        machine: Any = self.machine
        self.shared = SharedBudget(machine)
        self.outside = 0
        self.machine.held = lambda: self.shared.used + self.outside
        names = {
            "LENDERS": self.lenders,
            "SHARED_BUDGET": self.shared,
            # For what is there for a moment there is plenty.
            "WORKSPACE": Workspace(FakeMachine(PLENTY), self.lenders),  # type: ignore[arg-type]
            # Nobody watches here: what happens is what these tests do.
            "PRESSURE": Quiet(machine, self.lenders, self.shared),
        }
        for name, value in names.items():
            monkeypatch.setattr(resident_set, name, value)

    def open(self, number: int) -> Any:
        settings = chroma_nb.Settings(progress=False, graph_min_records=10**6, fsync=False)
        store = chroma_nb.PersistentClient(self._folder / str(number), settings)
        self._stack.callback(store.close)
        return store

    def close(self) -> None:
        self._stack.close()


class Quiet(Pressure):
    def watch(self) -> None:
        """Start no thread."""

    def reserve(self) -> int:
        return 0


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    place = Place(tmp_path, monkeypatch)
    yield place
    place.close()


def fill(store: Any, name: str = "docs") -> Any:
    docs = store.create_collection(name, embedding_function=None)
    ids = [f"id{row}" for row in range(len(VECTORS))]
    docs.add(ids=ids, embeddings=VECTORS, documents=DOCUMENTS)
    use(docs)
    return docs


def use(docs: Any) -> None:
    assert docs.query(query_embeddings=VECTORS[7], n_results=1)["ids"] == [["id7"]]


def states(*stores: Any) -> list[str]:
    return [one.state for store in stores for one in store.memory.report().collections]


def test_two_stores_have_one_budget(place: Place) -> None:
    one = place.open(1)
    assert one.memory.budget == 60 * MIB
    two = place.open(2)
    assert (one.memory.budget, two.memory.budget) == (30 * MIB, 30 * MIB)
    fill(one)
    held = one.memory.report().used
    assert held > len(VECTORS) * 500
    assert one.memory.budget + two.memory.budget == pytest.approx(60 * MIB, abs=2)
    assert one.memory.budget - two.memory.budget == held
    two.close()
    assert one.memory.budget == 60 * MIB


def test_auto_said_again_is_the_same(place: Place) -> None:
    store = place.open(1)
    docs = fill(store)
    before, held = store.memory.budget, store.memory.report().used
    for _ in range(3):
        store.memory.budget = "auto"
        assert (store.memory.budget, store.memory.report().used) == (before, held)
        use(docs)
    # Also by way of another one.
    store.memory.budget = "50 MB"
    assert store.memory.budget == 50_000_000
    place.outside = held
    store.memory.budget = "auto"
    place.outside = 0
    place.shared.reckon()
    assert store.memory.budget == before


def test_a_query_of_one_store_makes_another_give_way(place: Place) -> None:
    one, two = place.open(1), place.open(2)
    first, second = fill(one), fill(two)
    held = one.memory.report().used
    assert states(one, two) == ["loaded", "loaded"]
    # Room for one and a half.
    one.memory.unload_all()
    place.machine.n_bytes = int(1.5 * held / 0.6)
    place.shared.reckon()
    use(first)
    assert states(one, two) == ["loaded", "on disk"]
    use(second)
    assert states(one, two) == ["on disk", "loaded"]
    event = next(one for one in reversed(one.memory.report().events) if one.action == "unload")
    assert event.reason == "least recently used, another store needed room"
    assert place.shared.used <= place.shared.total


def test_what_one_store_has_pinned_stays_and_is_not_promised(place: Place) -> None:
    one, two = place.open(1), place.open(2)
    first, second = fill(one), fill(two)
    one.memory.pin("docs")
    held = one.memory.report().used
    two.memory.unload_all()
    place.machine.n_bytes = int(1.5 * held / 0.6)
    place.shared.reckon()
    use(second)
    assert states(one, two) == ["loaded", "on disk"]
    with pytest.raises(chroma_nb.errors.MemoryBudgetError) as refused:
        two.memory.load("docs")
    assert refused.value.free <= held // 2 + 1
    one.memory.unpin("docs")
    two.memory.load("docs")
    assert states(one, two) == ["on disk", "loaded"]
    use(first)


def test_a_store_with_a_budget_of_its_own_has_no_part(place: Place) -> None:
    one, two = place.open(1), place.open(2)
    fill(one)
    fill(two)
    held = two.memory.report().used
    two.memory.budget = held
    place.outside = held
    place.shared.reckon()
    assert two.memory.budget == held
    assert one.memory.budget == place.shared.total == int(0.6 * (100 * MIB - held))
    # What the other holds is of no use to it: its own go.
    fill(two, "more")
    assert states(one) == ["loaded"]
    assert states(two).count("loaded") == 1
