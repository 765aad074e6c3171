"""Databases: `DB` is the interface, `DuckDB`, `PersistentDuckDB` and `Clickhouse` keep records and vectors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from chroma_nb.lazy import lazy_attributes

if TYPE_CHECKING:
    from chroma_nb.db.base import DB as DB
    from chroma_nb.db.clickhouse.store import Clickhouse as Clickhouse
    from chroma_nb.db.duckdb.persistent import PersistentDuckDB as PersistentDuckDB
    from chroma_nb.db.duckdb.store import DuckDB as DuckDB

_ATTRIBUTES = {
    "Clickhouse": "chroma_nb.db.clickhouse.store",
    "DB": "chroma_nb.db.base",
    "DuckDB": "chroma_nb.db.duckdb.store",
    "PersistentDuckDB": "chroma_nb.db.duckdb.persistent",
}
__all__ = ["DB", "Clickhouse", "DuckDB", "PersistentDuckDB"]


def __getattr__(name: str) -> Any:
    return lazy_attributes(__name__, _ATTRIBUTES, name)
