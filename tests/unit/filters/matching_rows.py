"""`matching_rows`: a filter, evaluated by DuckDB."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import duckdb

from chroma_nb.filters.sql import DuckDBDialect, compile_sql

if TYPE_CHECKING:
    from chroma_nb.filters.expression import Expression


def matching_rows(expression: Expression, column: str, values: list[Any]) -> list[int]:
    """Return the rows that match, where `values` are the rows' values of one column."""
    condition, parameters = compile_sql(expression, DuckDBDialect())
    with duckdb.connect() as connection:
        connection.execute("CREATE TABLE records (row INTEGER, metadata VARCHAR, document VARCHAR)")
        connection.executemany(
            f"INSERT INTO records (row, {column}) VALUES (?, ?)",
            [[row, value] for row, value in enumerate(values)],
        )
        found = connection.execute(
            f"SELECT row FROM records WHERE {condition} ORDER BY row", parameters
        )
        return [row for (row,) in found.fetchall()]
