"""The database of a closed store, opened with DuckDB alone."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import duckdb

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextlib.contextmanager
def edited_database(store: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open the database of a store, to change it.

    It ends with a checkpoint. DuckDB makes one by itself when it closes, but on a busy machine that may come after
    `close` has returned; and a log that chroma_nb did not write keeps the store from being opened.
    """
    with duckdb.connect(str(store / "records.duckdb")) as connection:
        yield connection
        connection.execute("CHECKPOINT")
    assert not (store / "records.duckdb.wal").exists()
