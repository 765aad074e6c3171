"""Names and texts: how DuckDB compares them, and how they are written in SQL."""

from __future__ import annotations

_FOLDING = {code: code + 32 for code in range(ord("A"), ord("Z") + 1)}


def fold(name: str) -> str:
    """Return a name as DuckDB compares names: only A to Z lose their case."""
    return name.translate(_FOLDING)


def sql_identifier(name: str) -> str:
    """Return a name as SQL, in double quotes."""
    return '"' + name.replace('"', '""') + '"'


def sql_string(value: str) -> str:
    """Return a text as SQL, in single quotes."""
    return "'" + value.replace("'", "''") + "'"
