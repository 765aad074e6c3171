"""What SQL needs of the store, and what one query sees of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from uuid import UUID

    import duckdb

    from chroma_nb.db.base import TextSizes
    from chroma_nb.db.sql.columns import ColumnsCache
    from chroma_nb.db.sql.vectors import VectorFunction
    from chroma_nb.db.vector_source import VectorSource
    from chroma_nb.errors import MemoryBudgetError, StoreCorruptError
    from chroma_nb.filters.limits import FilterLimits


class SqlStore(Protocol):
    """The store as `answer_sql` uses it; `DuckDB` is one."""

    @property
    def sql_columns(self) -> ColumnsCache:
        """The columns of collections that were queried lately."""

    @property
    def sql_vectors(self) -> VectorFunction:
        """The function by which queries read vectors."""

    @property
    def memory_limit(self) -> int:
        """Bytes of memory that DuckDB may take."""

    @property
    def filter_limits(self) -> FilterLimits:
        """How large filters may be; its limits of regular expressions hold in SQL as well."""

    def sql_cursor(self) -> AbstractContextManager[duckdb.DuckDBPyConnection]:
        """Open a cursor for one query; closing it ends its transaction."""

    def one_thread(self, cursor: duckdb.DuckDBPyConnection) -> AbstractContextManager[None]:
        """Have DuckDB work with one thread until the end of the block."""

    def vectors_at(self, collection_id: UUID, generation: int) -> VectorSource | None:
        """Return the vectors of one generation of a collection, or None where it is gone."""

    def text_sizes(self, collection_id: UUID) -> TextSizes:
        """Return the sizes of a collection's texts."""

    def is_at(self, collection_id: UUID, generation: int) -> bool:
        """Say whether that generation is still there."""

    def damage_of(
        self, collection_id: object, tenant: str, database: str, name: str
    ) -> StoreCorruptError | None:
        """Return the error of a collection whose row in the catalogue, with this id, cannot be right; None: it can."""

    def memory_error(self) -> MemoryBudgetError:
        """Return the error for a query that DuckDB has not enough memory for."""

    def read_error(self, error: duckdb.Error) -> Exception:
        """Return the error that stands for one of DuckDB's, met while reading."""

    def mark_broken(self) -> None:
        """Take note that DuckDB itself has failed."""


@dataclass(frozen=True)
class CollectionVersion:
    """A collection as one transaction sees it."""

    id: UUID
    name: str
    dimension: int | None
    n_records: int
    generation: int
    version: int
    #: Its table has rows that are no records (`db/chunks.py`).
    has_padding: bool = False

    @property
    def table(self) -> str:
        """The name of the table that holds its records."""
        return f"records_{self.id.hex}_{self.generation}"


@dataclass
class Snapshot:
    """What one transaction sees of one tenant's database."""

    #: The database of DuckDB's that holds the store's tables, as SQL.
    database: str = ""
    #: Name -> collection.
    collections: dict[str, CollectionVersion] = field(default_factory=dict)
    #: Name -> the error of a collection whose row in the catalogue cannot be right.
    damaged: dict[str, StoreCorruptError] = field(default_factory=dict)
