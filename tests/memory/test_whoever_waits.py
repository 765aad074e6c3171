"""Who waits for memory ends: with it, or with an error that says who holds it. What has gone holds none."""

from __future__ import annotations

import contextlib
import logging
import math
import threading
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import duckdb
import numpy as np
import pytest

import chroma_nb
from chroma_nb.errors import MemoryBudgetError
from chroma_nb.memory.lender import LENDERS, Lender
from chroma_nb.memory.pressure import PRESSURE
from chroma_nb.segment import resident_set
from tests.memory.fakes import MIB, FakeDatabase, tight

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

LONG = "é" * 30_000
SECONDS = 20.0


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    # Its thread may run already, for another test.
    monkeypatch.setattr(PRESSURE, "watch", lambda: None)
    monkeypatch.setattr(PRESSURE, "look", lambda: 0.25)
    settings = chroma_nb.Settings(progress=False, fsync=False, memory_budget="40 MB")
    with chroma_nb.PersistentClient(tmp_path / "store", settings) as client:
        yield client


def filled(client: Any, name: str, n: int = 400, text: str = "text") -> Any:
    collection = client.create_collection(name, embedding_function=None)
    ids = [str(number) for number in range(n)]
    collection.add(ids=ids, embeddings=np.ones((n, 8), dtype=np.float32), documents=[text] * n)
    return collection


# -- budgets ----------------------------------------------------------------------------------


def test_a_budget_is_set_although_what_nobody_holds_is_still_on_the_account(client: Any) -> None:
    collection = filled(client, "notes")
    residents = client.api.segments.residents
    slot = residents.slots.get(collection.id)
    for owner in (slot.graph_account, slot.growth_account, uuid4(), (uuid4(), "graph")):
        assert residents.ledger.take(owner, 1_000_000)
    client.memory.budget = 500_000
    assert residents.ledger.used <= 500_000
    assert collection.query(query_embeddings=[1.0] * 8, n_results=1)["ids"]


def test_a_budget_that_waits_too_long_names_who_holds_it_up(
    client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    collection = filled(client, "notes")
    residents = client.api.segments.residents
    slot = residents.slots.get(collection.id)
    monkeypatch.setattr(resident_set, "_PATIENCE_SECONDS", 0.2)
    built, ends = threading.Event(), threading.Event()

    def build() -> None:
        with slot.build_lock:
            built.set()
            ends.wait(SECONDS)

    builder = threading.Thread(target=build)
    builder.start()
    built.wait(SECONDS)
    assert residents.ledger.take(slot.graph_account, 2_000_000)
    try:
        with pytest.raises(
            MemoryBudgetError, match=r"in use \(notes, its graph being built: 2\.0 MB\)"
        ) as found:
            client.memory.budget = 500_000
        assert client.memory.budget == 40_000_000
        assert found.value.need > found.value.free
    finally:
        ends.set()
        builder.join()
    client.memory.budget = 500_000
    assert residents.ledger.used <= 500_000


def test_what_takes_nothing_is_not_refused_however_little_there_is(
    client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    collection = filled(client, "notes")
    residents = client.api.segments.residents
    slot = residents.slots.get(collection.id)
    tight(monkeypatch, 0)
    residents._unchecked = 2 * MIB
    assert not residents.reserve(slot, 1)
    assert residents.reserve(slot, 0)


# -- room that is made in the middle of something ---------------------------------------------


class Asking(Lender):
    """Does something when it is asked for room."""

    def __init__(self, work: Callable[[], object]) -> None:
        self._work = work
        self.database = FakeDatabase([], "asking")
        self.asked = 0

    def lend(self, n_bytes: int, reason: str, until: float = math.inf) -> int:
        self.asked += 1
        self._work()
        return 0

    @property
    def lendable(self) -> int:
        return 100 * MIB

    def oldest_use(self) -> float | None:
        return -1.0

    def room_returned(self) -> None:
        pass


@pytest.fixture
def asking(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Any, Callable[[], object]], Any]]:
    """Have somebody asked for room for the checkpoints of a database."""
    known = []

    def ask(db: Any, work: Callable[[], object]) -> Asking:
        db.memory_share.n_bytes = 12 * MIB
        db.memory_share.apply()
        asking = Asking(work)
        known.append(asking)
        LENDERS.add(asking)
        tight(monkeypatch, MIB)
        return asking

    yield ask
    for one in known:
        LENDERS.remove(one)


def test_who_makes_room_for_opening_the_database_anew_can_read_it(
    client: Any, asking: Callable[[Any, Callable[[], object]], Any]
) -> None:
    collection = filled(client, "books", 220, LONG)
    client.memory.unload_all()
    collection.add(ids=["last"], embeddings=[[1.0] * 8], documents=["last"])
    db = client.api.segments.db
    found: list[Any] = []

    def read() -> None:
        reader = threading.Thread(target=lambda: found.append(db.find_labels(collection.id, ["3"])))
        reader.start()
        reader.join(SECONDS / 4)

    asked = asking(db, read)
    db._database._reopen_to_free_memory()
    assert asked.asked
    assert len(found) == asked.asked
    assert collection.count() == 221


def test_a_collection_that_makes_room_for_a_commits_checkpoint_leaves_the_catalogue_alone(
    client: Any, asking: Callable[[Any, Callable[[], object]], Any]
) -> None:
    collection = filled(client, "books", 220, LONG)
    filled(client, "notes")
    client.memory.unload_all()
    collection.add(ids=["last"], embeddings=[[1.0] * 8], documents=["last"])
    db = client.api.segments.db
    # As when a collection is saved before it goes.
    asked = asking(db, lambda: db.extent(collection.id))
    db._database._log_limit = 0
    client.delete_collection("notes")
    assert asked.asked
    assert list(client) == ["books"]
    assert collection.count() == 221


# -- reports and what goes on behind ----------------------------------------------------------


def test_a_report_is_not_refused_for_memory() -> None:
    settings = chroma_nb.Settings(progress=False, duckdb_memory_limit="12 MB")
    with chroma_nb.EphemeralClient(settings) as client:
        filled(client, "notes")
        db = client.api.segments.db  # type: ignore[attr-defined]
        fill_up(db)
        assert client.memory.report().database_bytes > 0


def test_a_write_that_was_not_carried_through_is_looked_up_whatever_is_in_use(client: Any) -> None:
    collection = filled(client, "notes")
    client.memory.unload_all()
    db = client.api.segments.db
    fill_up(db)
    db._database._is_stale = True
    assert list(client) == ["notes"]
    assert not db._database._is_stale
    db.memory_share.n_bytes = 64 * MIB
    db.memory_share.apply()
    assert collection.count() == 400


def test_a_database_that_ended_for_want_of_memory_is_opened_anew_by_the_next_question(
    client: Any,
) -> None:
    collection = filled(client, "books", 220, LONG)
    db = client.api.segments.db
    fill_up(db)
    with (
        contextlib.closing(db._database.connection.cursor()) as cursor,
        pytest.raises(duckdb.FatalException, match="checkpoint"),
    ):
        cursor.execute("CHECKPOINT")
    assert db.fetch(collection.id, np.array([7])).documents == [LONG]


def fill_up(db: Any) -> None:
    """Take a database's limit down to what cannot go, as where others use all of it."""
    share = db.memory_share
    step = 16 << 10
    with db._database.reading() as cursor:
        share.n_bytes = db._database._memory_used(cursor)
    # All of it may go, and DuckDB 1.3 takes a limit below zero for none.
    while not share.is_stale and share.n_bytes > step:
        share.n_bytes -= step
        share.apply()
    while share.is_stale:
        assert share.n_bytes < 1 << 30, "it takes no limit any more: it has ended"
        share.n_bytes += step
        share.apply()


def test_a_collection_that_is_deleted_before_it_is_improved_is_no_matter(
    client: Any, caplog: pytest.LogCaptureFixture
) -> None:
    collection = filled(client, "notes")
    segments = client.api.segments
    slot = segments._slots.get(collection.id)
    with caplog.at_level(logging.INFO, logger="chroma_nb"):
        client.api.db.delete_collection(collection.id)
        segments._builder.request(slot.collection_id, 0)
        # One after the other: this one has been done when the next is begun.
        done = threading.Event()
        improve = segments._compact_or_build

        def improved(slot: Any, collection_id: Any) -> None:
            try:
                improve(slot, collection_id)
            finally:
                done.set()

        segments._compact_or_build = improved
        segments._builder.request(slot.collection_id, 0)
        assert done.wait(SECONDS)
        segments._builder.close()
    assert not caplog.records
