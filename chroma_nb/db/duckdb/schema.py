"""The tables of a store in DuckDB, and the formats in which they are stored."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

from chroma_nb.types import DEFAULT_DATABASE, DEFAULT_TENANT

if TYPE_CHECKING:
    import duckdb

#: The format of a new store. Raise this when the tables or the vector file change, and teach `Transactions.upgrade`
#: the older format.
FORMAT_VERSION = 2
#: The format of a store that has padding (`db/chunks.py`), which an older chroma_nb would take for records.
PADDED_FORMAT = 3
#: Format 1 has no checksums of vectors. Such a store is read as it is, and becomes format 2 when vectors are next
#: written to it. Until then the older chroma_nb that wrote it can still open it.
READABLE = ("1", "2", "3")

#: `schema_check` reads the names and types of columns from it.
SCHEMA = """
CREATE TABLE meta (key VARCHAR, value VARCHAR);
CREATE TABLE tenants (name VARCHAR);
CREATE TABLE databases (id VARCHAR, name VARCHAR, tenant VARCHAR, created BIGINT);
CREATE TABLE collections (
  id VARCHAR, name VARCHAR, tenant VARCHAR, database VARCHAR, created BIGINT,
  configuration VARCHAR, metadata VARCHAR, dimension BIGINT,
  n_records BIGINT, next_label BIGINT, next_sequence BIGINT, generation BIGINT,
  ttl_seconds DOUBLE, version BIGINT DEFAULT 0, tail_rows BIGINT, tail_sum UBIGINT, text_sizes VARCHAR,
  padding BIGINT);
CREATE TABLE vector_sums (collection VARCHAR, generation BIGINT, first_block BIGINT, sums BLOB);
"""
#: What `cached_catalogue.entry_from_row` reads, in its order; after these come tail_rows, tail_sum, text_sizes and
#: padding.
COLLECTION_COLUMNS = (
    "id, name, tenant, database, created, configuration, metadata, dimension, n_records, "
    "next_label, next_sequence, generation, ttl_seconds, version"
)
SET_TAIL = ", tail_rows = ?, tail_sum = ?"
#: Columns that were added later without a new format: a store that lacks them gets them when it is opened.
LATER_COLUMNS = {
    "ttl_seconds": "DOUBLE",
    "version": "BIGINT DEFAULT 0",
    "text_sizes": "VARCHAR",
    "padding": "BIGINT",
}
#: What format 1 lacks.
_FORMAT_2 = """
ALTER TABLE collections ADD COLUMN tail_rows BIGINT;
ALTER TABLE collections ADD COLUMN tail_sum UBIGINT;
CREATE TABLE vector_sums (collection VARCHAR, generation BIGINT, first_block BIGINT, sums BLOB);
UPDATE meta SET value = '2' WHERE key = 'format_version';
"""


def create_schema(con: duckdb.DuckDBPyConnection) -> None:
    """Make the tables of a new store, with the default tenant and database."""
    for statement in SCHEMA.split(";"):
        if statement.strip():
            con.execute(statement)
    con.execute("INSERT INTO meta VALUES ('format_version', ?)", [str(FORMAT_VERSION)])
    insert_defaults(con)


def upgrade_schema(con: duckdb.DuckDBPyConnection) -> None:
    """Turn the tables of format 1 into those of format 2."""
    for statement in _FORMAT_2.split(";"):
        if statement.strip():
            con.execute(statement)


def insert_defaults(con: duckdb.DuckDBPyConnection) -> None:
    """Add the default tenant and its default database."""
    con.execute("INSERT INTO tenants VALUES (?)", [DEFAULT_TENANT])
    con.execute(
        "INSERT INTO databases VALUES (?, ?, ?, 0)",
        [str(uuid4()), DEFAULT_DATABASE, DEFAULT_TENANT],
    )


def create_records(table: str) -> str:
    """Return the statement that makes the table of one generation of a collection."""
    return (
        f'CREATE TABLE "{table}" (label BIGINT, sequence BIGINT, id VARCHAR, document VARCHAR, '
        "uri VARCHAR, metadata VARCHAR)"
    )
