"""Checks that a store's database has our tables and nothing that stands in their way.

Somebody else may have made the folder. A view in the place of a table runs a query of theirs, a macro named like a
function takes its place in ours, and a column of another type brings texts where numbers are expected.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from chroma_nb.db.duckdb.schema import SCHEMA, create_records
from chroma_nb.errors import StoreCorruptError
from chroma_nb.words import brief

if TYPE_CHECKING:
    import duckdb

#: Databases of DuckDB's own.
_BUILT_IN = ("system", "temp")
#: What is looked for -> how DuckDB lists it. Named in full: a macro may have the same name.
_OBJECTS = {
    "function": "SELECT database_name, function_name FROM system.main.duckdb_functions() WHERE NOT internal",
    "view": "SELECT database_name, view_name FROM system.main.duckdb_views() WHERE NOT internal",
    "type": "SELECT database_name, type_name FROM system.main.duckdb_types() WHERE NOT internal",
}
#: Called after `check_objects`: until then each function may be a macro.
_COLUMNS = (
    "SELECT table_name, string_agg(column_name || ' ' || data_type || coalesce(' = ' || column_default, ''), ', ' "
    "ORDER BY column_index) FROM system.main.duckdb_columns() "
    "WHERE NOT internal AND schema_name = 'main' AND database_name NOT IN ('system', 'temp') GROUP BY table_name"
)


def _columns_of(create: str) -> list[str]:
    """Return "name TYPE" of each column in a CREATE TABLE statement."""
    inner = create[create.index("(") + 1 : create.rindex(")")]
    return [re.sub(r" DEFAULT .*", "", column.strip()) for column in inner.split(",")]


_TABLES = {
    statement.split()[2]: _columns_of(statement)
    for statement in SCHEMA.split(";")
    if statement.strip()
}
_RECORDS = ", ".join(_columns_of(create_records("records")))


def check_objects(con: duckdb.DuckDBPyConnection, name: str) -> None:
    """Refuse a database that has functions, views or types, of which a store has none.

    Args:
        con: A connection to it, before anything else was asked.
        name: How errors name the store.

    Raises:
        StoreCorruptError: It has some.
    """
    for kind, query in _OBJECTS.items():
        found = sorted(
            {one for database, one in con.execute(query).fetchall() if database not in _BUILT_IN}
        )
        if found:
            raise StoreCorruptError(
                f"The database of {name} has a {kind} {brief(found[0])!r}, which no store has: it could take the place "
                "of what a store asks for, so nothing was read. If you made it yourself, drop it with DuckDB; else do "
                "not use this store."
            )


def check_tables(con: duckdb.DuckDBPyConnection, name: str) -> dict[str, str]:
    """Check the columns of all tables; return for each table of records what is wrong with it: "" where nothing is.

    Args:
        con: A connection to the database, which `check_objects` has passed.
        name: How errors name the store.

    Raises:
        StoreCorruptError: One of the other tables is not as we make it.
    """
    found: dict[str, str] = dict(con.execute(_COLUMNS).fetchall())
    for table, columns in _TABLES.items():
        if table not in found:
            # Format 1 has no checksums; that others are missing is noticed when they are read.
            continue
        there = {column.partition(" = ")[0] for column in found[table].split(", ")}
        names = {column.split(" ")[0] for column in there}
        # A column that is missing may have come with a later version; one that is there has our type.
        wrong = [one for one in columns if one not in there and one.split()[0] in names]
        if wrong:
            raise StoreCorruptError(
                f"The database of {name} is not one of a store: column {wrong[0].split()[0]!r} of its table {table!r} "
                f"is not of type {wrong[0].split()[1]}. Restore the store from a backup."
            )
    return {
        table: "" if columns == _RECORDS else "its table has other columns than those of records"
        for table, columns in found.items()
        if table.startswith("records_")
    }
