"""The tables of a store in DuckDB, and the formats in which they are stored."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

from chroma_nb.types import DEFAULT_DATABASE, DEFAULT_TENANT

if TYPE_CHECKING:
    import duckdb

# A store is in the lowest format that says what it holds, so that the older chroma_nb that wrote it can open it for as
# long as that is safe. It is raised by the write that needs more. A new format is a constant here that is named after
# what it brings, a method of `Transactions` that turns an older store into it, and a number in `READABLE`.
#: The first format with checksums of vectors. A store of format 1 gets them when vectors are next written to it
#: (`Transactions.add_checksums`).
CHECKSUM_FORMAT = 2
#: The first format with padding (`db/chunks.py`), which an older chroma_nb would take for records
#: (`Transactions.allow_padding`).
PADDED_FORMAT = 3
#: The format of a new store.
NEW_STORE_FORMAT = CHECKSUM_FORMAT
#: The formats that are read.
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
  padding BIGINT, schema VARCHAR);
CREATE TABLE vector_sums (collection VARCHAR, generation BIGINT, first_block BIGINT, sums BLOB);
"""
#: What `cached_catalogue.entry_from_row` reads, in its order; after these come tail_rows, tail_sum, text_sizes,
#: padding and schema.
COLLECTION_COLUMNS = (
    "id, name, tenant, database, created, configuration, metadata, dimension, n_records, "
    "next_label, next_sequence, generation, ttl_seconds, version"
)
SET_SCHEMA = ", schema = ?"
SET_TAIL = ", tail_rows = ?, tail_sum = ?"
#: Columns that were added later without a new format: a store that lacks them gets them when it is opened.
LATER_COLUMNS = {
    "ttl_seconds": "DOUBLE",
    "version": "BIGINT DEFAULT 0",
    "text_sizes": "VARCHAR",
    "padding": "BIGINT",
    "schema": "VARCHAR",
}
#: What `CHECKSUM_FORMAT` adds to format 1, but for its number.
_CHECKSUM_TABLES = """
ALTER TABLE collections ADD COLUMN tail_rows BIGINT;
ALTER TABLE collections ADD COLUMN tail_sum UBIGINT;
CREATE TABLE vector_sums (collection VARCHAR, generation BIGINT, first_block BIGINT, sums BLOB);
"""


def create_schema(con: duckdb.DuckDBPyConnection) -> None:
    """Make the tables of a new store, with the default tenant and database."""
    for statement in SCHEMA.split(";"):
        if statement.strip():
            con.execute(statement)
    con.execute("INSERT INTO meta VALUES ('format_version', ?)", [str(NEW_STORE_FORMAT)])
    insert_defaults(con)


def add_checksum_tables(con: duckdb.DuckDBPyConnection) -> None:
    """Add to the tables of format 1 what `CHECKSUM_FORMAT` has, and write that format down."""
    for statement in _CHECKSUM_TABLES.split(";"):
        if statement.strip():
            con.execute(statement)
    write_format(con, CHECKSUM_FORMAT)


def write_format(con: duckdb.DuckDBPyConnection, number: int) -> None:
    """Write down which format a store is in."""
    con.execute("UPDATE meta SET value = ? WHERE key = 'format_version'", [str(number)])


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
