"""`DatabaseMemory`: the limit of a store's database."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from chroma_nb.memory.budget import LEAST_DATABASE, database_share
from chroma_nb.memory.ledger import Ledger
from chroma_nb.segment.database_memory import DatabaseMemory

if TYPE_CHECKING:
    from tests.unit.segment.conftest import Store

MB = 1_000_000


def test_the_limit_goes_with_the_budget_unless_memory_is_short(store: Store) -> None:
    ledger = Ledger(500 * MB)
    memory = DatabaseMemory(store.db, ledger)
    memory.set_limit()
    assert store.db.memory_limit == database_share(500 * MB)
    assert memory.cache_bytes == store.db.memory_limit - LEAST_DATABASE
    memory.tighten()
    assert store.db.memory_limit == LEAST_DATABASE
    ledger.lower(800 * MB)
    ledger.end_lowering()
    memory.set_limit()
    assert store.db.memory_limit == LEAST_DATABASE, "it is still short"
    memory.loosen()
    assert store.db.memory_limit == database_share(800 * MB)


@pytest.mark.parametrize("work", ["read", "write"])
def test_it_may_take_its_limit_while_a_statement_is_executed(store: Store, work: str) -> None:
    memory = DatabaseMemory(store.db, Ledger(500 * MB))
    memory.set_limit()
    assert memory.statement_bytes == 0
    database = store.db._database  # type: ignore[attr-defined]
    with database.reading() if work == "read" else database.transaction():
        assert memory.statement_bytes == 32 << 20 < store.db.memory_limit
        memory.tighten()
        assert memory.statement_bytes == LEAST_DATABASE
    assert memory.statement_bytes == 0
