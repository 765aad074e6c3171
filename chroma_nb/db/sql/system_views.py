"""`open_system_views`: a DuckDB instance that holds an empty table for each collection, and nothing else.

It answers ``SHOW TABLES``, ``information_schema`` and the like. The store's own instance would show the
store's tables, and those of other tenants.
"""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import duckdb

from chroma_nb.db.sql.names import fold, sql_identifier, sql_string

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

#: System views that say nothing about columns.
_NAMES_ALONE = {
    "show tables",
    "show databases",
    "information_schema.tables",
    "information_schema.schemata",
    "pg_catalog.pg_tables",
    "pg_tables",
    "duckdb_databases()",
    "duckdb_schemas()",
}
#: Names that views of DuckDB's may have. SHOW TABLES is a query over one of them.
_VIEW_NAME = re.compile("duckdb_|sqlite_|pragma_|pg_", re.IGNORECASE)
#: DuckDB would give the size of the empty table.
_SIZES = (
    "CREATE MACRO duckdb_tables() AS TABLE SELECT * REPLACE (CAST(coalesce([{0}][list_position([{1}], "
    "table_name)], estimated_size) AS BIGINT) AS estimated_size) FROM system.main.duckdb_tables()"
)
#: It holds no rows, so one thread and little memory are enough. Chosen, not measured.
_CONFIG = {
    "threads": 1,
    "memory_limit": "64MB",
    "temp_directory": "",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "python_enable_replacements": "false",
}


@dataclass(frozen=True)
class ListedCollection:
    """A collection as system views list it."""

    name: str
    n_records: int
    #: Column -> DuckDB type.
    columns: Mapping[str, str]


def need_names_alone(views: Iterable[str]) -> bool:
    """Say whether these system views need no columns: finding them reads all metadata."""
    return _NAMES_ALONE.issuperset(map(fold, views))


@contextlib.contextmanager
def open_system_views(
    collections: Iterable[ListedCollection],
) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open the instance, and close it again."""
    with contextlib.closing(duckdb.connect(":memory:", config=_CONFIG)) as con:
        con.execute("SET enable_external_access = false")
        con.execute("SET enable_progress_bar = false")
        schemas, sizes = ["main"], {}
        taken: dict[str, int] = {}
        for one in collections:
            # Names that case alone tells apart are put into schemas of their own. So are names that a view of
            # DuckDB's may have, as the view would be found first.
            place = taken.get(fold(one.name), 1 if _VIEW_NAME.match(one.name) else 0)
            taken[fold(one.name)] = place + 1
            while place >= len(schemas):
                schemas.append(f"main ({len(schemas) + 1})")
                con.execute(f"CREATE SCHEMA {sql_identifier(schemas[-1])}")
            columns = ", ".join(
                f"{sql_identifier(name)} {kind}" for name, kind in one.columns.items()
            )
            con.execute(
                f"CREATE TABLE {sql_identifier(schemas[place])}.{sql_identifier(one.name)} ({columns})"
            )
            sizes[sql_string(one.name)] = str(one.n_records)
        if sizes:
            con.execute(_SIZES.format(", ".join(sizes.values()), ", ".join(sizes)))
        path = ",".join(["main", "system.main", *map(sql_identifier, schemas[1:])])
        con.execute(f"SET search_path = {sql_string(path)}")
        con.execute("SET lock_configuration = true")
        yield con
