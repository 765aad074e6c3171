"""Reads the rows of the catalogue, in pieces where they do not fit into DuckDB's memory at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import duckdb

from chroma_nb.memory.workspace import WORKSPACE

if TYPE_CHECKING:
    from chroma_nb.db.memory_share import MemoryShare

#: Rows of the first piece, where all at once do not fit.
_FIRST_ROWS = 256


def read_collections(
    con: duckdb.DuckDBPyConnection, columns: str, share: MemoryShare
) -> list[tuple[Any, ...]]:
    """Return all rows of ``collections``, in order of creation.

    An older chroma_nb took descriptions of any size. Such a store has to open, or they could not be deleted: so a row
    that does not fit alone gets memory beyond DuckDB's limit, even beyond one that the settings name.

    Args:
        con: A connection to the database.
        columns: What to select.
        share: DuckDB's memory limit.
    """
    rows: list[tuple[Any, ...]]
    try:
        rows = con.execute(f"SELECT {columns} FROM collections ORDER BY created").fetchall()
        return rows
    except duckdb.OutOfMemoryException:
        pass
    try:
        return _in_pieces(con, columns)
    except duckdb.OutOfMemoryException:
        with WORKSPACE.take(WORKSPACE.free()) as room, share.raised(room.n_bytes, con):
            return _in_pieces(con, columns)


def _in_pieces(con: duckdb.DuckDBPyConnection, columns: str) -> list[tuple[Any, ...]]:
    # DuckDB reads the texts of those rows alone that this condition leaves.
    query = f"SELECT {columns} FROM collections WHERE rowid IN (SELECT unnest(?::BIGINT[])) ORDER BY created"
    order = con.execute("SELECT rowid FROM collections ORDER BY created").fetchall()
    numbers = [number for (number,) in order]
    found: list[tuple[Any, ...]] = []
    step = _FIRST_ROWS
    while numbers:
        try:
            found += con.execute(query, [numbers[:step]]).fetchall()
        except duckdb.OutOfMemoryException:
            if step == 1:
                raise
            step = max(1, step // 2)
            continue
        del numbers[:step]
    return found
