"""Which of DuckDB's errors mean that a part of its file is not as it was written."""

from __future__ import annotations

import duckdb

#: How they begin, after the name of the class that DuckDB 1 gives them. DuckDB 2 raises a bare `duckdb.Error`.
_SIGNS = ("Corrupt database file", "Could not read enough bytes from file")


def is_damage(error: BaseException) -> bool:
    """Say whether an error of DuckDB's means that its file is damaged or was cut."""
    said = str(error).removeprefix("IO Error: ")
    return isinstance(error, duckdb.Error) and said.startswith(_SIGNS)
