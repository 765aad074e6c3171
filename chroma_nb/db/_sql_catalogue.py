"""`open_catalogue`: a DuckDB instance in which there is an empty table for each collection, and nothing else.

It answers what there is: ``SHOW TABLES``, ``information_schema`` and the like. The store's own instance would
show its own tables, and other tenants'.
"""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import duckdb

from chroma_nb.db._sql_columns import quoted, text
from chroma_nb.db._sql_statement import fold

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

#: Views that can be named without a schema.
VIEWS = {
    *("duckdb_columns", "duckdb_databases", "duckdb_schemas", "duckdb_tables", "duckdb_types"),
    *("duckdb_views", "sqlite_master", "sqlite_schema", "pg_tables", "pg_class", "pg_attribute"),
    *("pg_namespace", "pg_views", "pg_type"),
}
#: What says nothing about columns.
_NAMES_ALONE = {
    *("show tables", "show databases", "information_schema.tables", "information_schema.schemata"),
    *("pg_catalog.pg_tables", "pg_tables", "duckdb_databases()", "duckdb_schemas()"),
}
#: Names that DuckDB gives to views; SHOW TABLES is answered with one.
_OF_A_VIEW = re.compile("duckdb_|sqlite_|pragma_|pg_", re.IGNORECASE)
#: What DuckDB says of a table's size is that of the empty one.
_SIZES = (
    "CREATE MACRO duckdb_tables() AS TABLE SELECT * REPLACE (CAST(coalesce([{0}][list_position([{1}], "
    "table_name)], estimated_size) AS BIGINT) AS estimated_size) FROM system.main.duckdb_tables()"
)
_CONFIG = {
    "threads": 1,
    "memory_limit": "64MB",
    "temp_directory": "",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "python_enable_replacements": "false",
}


@dataclass(frozen=True)
class Shown:
    """One collection as it is shown."""

    name: str
    n_records: int
    #: Column -> DuckDB type.
    columns: Mapping[str, str]


def is_about_names_alone(asked: Iterable[str]) -> bool:
    """Say whether an answer needs no columns: finding them reads all metadata."""
    return _NAMES_ALONE.issuperset(map(fold, asked))


@contextlib.contextmanager
def open_catalogue(collections: Iterable[Shown]) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open the instance, and close it again."""
    with contextlib.closing(duckdb.connect(":memory:", config=_CONFIG)) as con:
        con.execute("SET enable_external_access = false")
        con.execute("SET enable_progress_bar = false")
        schemas, sizes = ["main"], {}
        taken: dict[str, int] = {}
        for one in collections:
            # Names that case alone tells apart are in schemas of their own. So are those that a view may
            # have: the views come before them.
            place = taken.get(fold(one.name), 1 if _OF_A_VIEW.match(one.name) else 0)
            taken[fold(one.name)] = place + 1
            while place >= len(schemas):
                schemas.append(f"main ({len(schemas) + 1})")
                con.execute(f"CREATE SCHEMA {quoted(schemas[-1])}")
            columns = ", ".join(f"{quoted(name)} {kind}" for name, kind in one.columns.items())
            con.execute(f"CREATE TABLE {quoted(schemas[place])}.{quoted(one.name)} ({columns})")
            sizes[text(one.name)] = str(one.n_records)
        if sizes:
            con.execute(_SIZES.format(", ".join(sizes.values()), ", ".join(sizes)))
        path = ",".join(["main", "system.main", *map(quoted, schemas[1:])])
        con.execute(f"SET search_path = {text(path)}")
        con.execute("SET lock_configuration = true")
        yield con
