"""A ROLLBACK that runs out of memory leaves a transaction open: it is refused for memory, and ended when there is some."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import duckdb
import numpy as np
import pytest

import chroma_nb
from chroma_nb.errors import MemoryBudgetError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ROWS = np.eye(4, dtype=np.float32)


class Connection:
    """DuckDB's connection, some statements of which run out of memory."""

    def __init__(self, real: Any) -> None:
        self._real = real
        #: How often each may still fail, by how it begins.
        self.fails: dict[str, int] = {}

    def execute(self, statement: str, *arguments: Any) -> Any:
        for beginning, left in self.fails.items():
            if left and statement.startswith(beginning):
                self.fails[beginning] -= 1
                if beginning != "ROLLBACK":
                    # As a statement does that fails: its transaction is aborted.
                    with pytest.raises(duckdb.Error):
                        self._real.execute("SELECT error('out of memory')")
                raise duckdb.OutOfMemoryException("Out of Memory Error: failed to allocate data")
        return self._real.execute(statement, *arguments)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


@pytest.fixture(params=["in memory", "in a folder"])
def client(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    settings = chroma_nb.Settings(progress=False)
    in_memory = request.param == "in memory"
    with (
        chroma_nb.EphemeralClient(settings)
        if in_memory
        else chroma_nb.PersistentClient(tmp_path / "store", settings)
    ) as client:
        notes = client.create_collection("notes", embedding_function=None)
        notes.add(ids=list("abcd"), embeddings=ROWS)
        yield client


@pytest.mark.parametrize("n_failures", [1, 2, 6])
def test_the_store_refuses_for_memory_and_heals(client: Any, n_failures: int) -> None:
    database = client.api.db._database
    notes = client.get_collection("notes", embedding_function=None)
    connection = Connection(database.connection)
    database.connection = connection
    # Whatever is written to the records, and the ROLLBACKs that follow.
    connection.fails = {"INSERT": 1, "ROLLBACK": n_failures}
    refused = 0
    for number in range(20):
        try:
            notes.add(ids=[f"new {number}"], embeddings=ROWS[:1])
        except MemoryBudgetError:
            refused += 1
        else:
            break
    # A store in a folder was opened anew, with another connection.
    assert connection.fails["INSERT"] == 0
    assert connection.fails["ROLLBACK"] == 0 or database.connection is not connection
    assert refused < 20
    added = [f"new {number}" for number in range(refused, number + 1)]
    assert notes.get()["ids"] == [*"abcd", *added]
    assert notes.query(query_embeddings=ROWS, n_results=1)["ids"] == [["a"], ["b"], ["c"], ["d"]]
