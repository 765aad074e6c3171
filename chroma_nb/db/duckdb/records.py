"""`StoredRecords`: reads the records of a collection from DuckDB, and its vectors from their file."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, TypeVar

import duckdb
import numpy as np

from chroma_nb.db import _fields
from chroma_nb.db.base import TEXT_COLUMNS, RecordRows, TextSizes
from chroma_nb.db.chunks import IS_RECORD, Padding, padded_chunk_bytes
from chroma_nb.db.damaged_database import is_damage
from chroma_nb.db.duckdb.catalogue import StoredCatalogue
from chroma_nb.db.memory_share import with_more_memory
from chroma_nb.db.read_again import read_again
from chroma_nb.db.record_table import (
    RecordTable,
    in_order,
    joined,
    key_columns,
    longest_document,
    measure,
)
from chroma_nb.db.vector_file import VectorFile
from chroma_nb.errors import (
    InternalError,
    InvalidArgumentError,
    MemoryBudgetError,
    StoreCorruptError,
)
from chroma_nb.filters.expression import Expression, field_conditions, patterns
from chroma_nb.filters.pattern_parts import count_parts
from chroma_nb.filters.regex import rust_regex_to_re2
from chroma_nb.filters.sql import DuckDBDialect, compile_sql
from chroma_nb.memory.workspace import WORKSPACE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from uuid import UUID

    from numpy.typing import NDArray

    from chroma_nb.db.base import Extent
    from chroma_nb.db.duckdb.cached_catalogue import CatalogueEntry
    from chroma_nb.db.duckdb.database import Database
    from chroma_nb.db.duckdb.vector_files import VectorFiles
    from chroma_nb.db.vector_source import VectorSource
    from chroma_nb.types import FieldSummary

_Found = TypeVar("_Found")

#: Added to DuckDB's limit for a filter on long metadata, where it is free: enough for 2,048 rows of 4 kB.
_FILTER_BYTES = 64 << 20
#: Regular expressions are evaluated in pieces of at most this many bytes of documents, times the parts of the expressions. DuckDB looks
#: for an interrupt once for 2,048 rows, whatever their size; between two pieces Python does. 4 s in the worst case.
_PIECE_WORK = 100_000_000
#: DuckDB has the texts of a chunk this many times while it reads it, and this many bytes beside (measured with 8 MB of them).
_CHUNK_COPIES, _CHUNK_MORE = 2, 2 << 20
#: A scan yields pieces of at most this many bytes.
_SCAN_BYTES = 8 << 20
#: The sizes of a collection's texts still count deleted records. They are measured again when they count more than
#: `_REMEASURE_FACTOR` times the live records plus `_FEW_RECORDS`. Below that, taking too much memory for a moment
#: costs less than reading all texts.
_REMEASURE_FACTOR = 1.1
_FEW_RECORDS = 1_000
#: What DuckDB raises when its file is damaged or the disk has failed.
_STORAGE_ERRORS = (
    duckdb.IOException,
    duckdb.InternalException,
    duckdb.FatalException,
    duckdb.SerializationException,
)


class StoredRecords(StoredCatalogue):
    """The part of a `DB` that reads records.

    Args:
        database: See `StoredCatalogue`; so is `files`.
    """

    def __init__(self, database: Database, files: VectorFiles) -> None:
        super().__init__(database, files)
        self.memory_share = database.memory_share

    @property
    def is_closing(self) -> bool:
        """The store is being closed: nothing is repeated any more."""
        return self._database.is_closing

    def wait_for_writer(self) -> None:
        """Wait for a thread that is writing, for a moment."""
        self._database.wait_for_writer()

    def extent(self, collection_id: UUID) -> Extent:
        return self._database.entry(collection_id).extent

    # -- records ------------------------------------------------------------------------------

    @with_more_memory
    @read_again
    def find_labels(self, collection_id: UUID, ids: Sequence[str]) -> NDArray[np.int64]:
        entry = self._database.entry(collection_id)
        found: dict[str, int] = {}
        if entry.extent.n_records and ids:
            with self._database.reading() as cursor:
                cursor.execute(
                    f'SELECT id, label FROM "{entry.table}" WHERE id IN (SELECT unnest(?))',
                    [list(ids)],
                )
                found = dict(cursor.fetchall())
        if found:
            _check_labels(entry, np.fromiter(map(_number, found.values()), dtype=np.int64))
        return np.fromiter(
            (found.get(record_id, -1) for record_id in ids), dtype=np.int64, count=len(ids)
        )

    @with_more_memory
    @read_again
    def select(
        self,
        collection_id: UUID,
        expression: Expression | None = None,
        *,
        ids: Sequence[str] | None = None,
        limit: int | None = None,
        offset: int = 0,
    ) -> NDArray[np.int64]:
        entry = self._database.entry(collection_id)
        keys = list(dict.fromkeys(leaf.key for leaf in field_conditions(expression)))
        every, parameters = _condition(expression, ids, DuckDBDialect())
        conditions = [every] if every else []
        if entry.padding:
            conditions.append(IS_RECORD)
        query = f'SELECT label FROM "{entry.table}"'
        if conditions:
            query += f" WHERE {' AND '.join(conditions)}"
        query += " ORDER BY sequence"
        with self._database.reading() as cursor:
            try:
                table = None if expression is None else self.record_table(cursor, entry)
                ends = None if table is None else _ends(table, patterns(expression))
                if table is not None and (ends is not None or table.is_large_for(every, keys)):
                    end = entry.extent.next_label
                    dialect = DuckDBDialect(key_columns(keys))
                    every, parameters = _condition(expression, ids, dialect)
                    with self._more_for_filters(cursor):
                        table = self.record_table(cursor, entry)
                        check = self._check_not_closing
                        labels = table.select(every, parameters, 0, end, keys, ends, check)
                else:
                    labels = cursor.execute(query, parameters).fetchnumpy()["label"]
            except duckdb.InvalidInputException as error:
                raise _bad_filter(expression, error) from error
            except (duckdb.OutOfMemoryException, *_STORAGE_ERRORS):
                raise
            except duckdb.Error as error:
                if is_damage(error):
                    raise
                raise InternalError(f"The filter could not be evaluated: {error}") from error
        _check_labels(entry, labels)
        # Cut here and not by SQL's LIMIT, which loses rows: see `chroma_nb.db.duckdb.connection._disable_pruner`.
        chosen = labels[offset : None if limit is None else offset + limit]
        return np.ascontiguousarray(chosen, dtype=np.int64)

    def _check_not_closing(self) -> None:
        """End a filter that takes several statements when the store is being closed."""
        if self.is_closing:
            raise InternalError(
                f"{self._database.name} is being closed. Open a new client to go on."
            )

    @contextlib.contextmanager
    def _more_for_filters(self, cursor: duckdb.DuckDBPyConnection) -> Iterator[None]:
        """Let DuckDB parse the metadata of more rows at once, as far as there is memory for that."""
        if self.memory_share.is_fixed:
            yield
            return
        with WORKSPACE.take(_FILTER_BYTES) as room, self.memory_share.raised(room.n_bytes, cursor):
            yield

    @with_more_memory
    @read_again
    def fetch(
        self,
        collection_id: UUID,
        labels: NDArray[np.int64],
        columns: Sequence[str] = TEXT_COLUMNS,
    ) -> RecordRows:
        entry = self._database.entry(collection_id)
        # A label may be repeated: a record may answer many queries.
        wanted = np.unique(labels)
        with self._database.reading() as cursor:
            table = self.record_table(cursor, entry)
            with (
                self._room_for_chunk(entry, table, columns, cursor),
                WORKSPACE.take(len(wanted) * table.row_bytes(columns)) as room,
            ):
                rows = joined(list(table.fetch(wanted, columns, room.n_bytes)))
        _check_rows(entry, rows, len(wanted), columns)
        return in_order(rows, labels)

    @contextlib.contextmanager
    def _room_for_chunk(
        self,
        entry: CatalogueEntry,
        table: RecordTable,
        columns: Sequence[str],
        cursor: duckdb.DuckDBPyConnection,
    ) -> Iterator[None]:
        """Take the memory for a chunk with long texts where DuckDB's limit may not be enough for it.

        Where it is not free, the present limit has to do: the texts that are wanted may be short ones. If it does not,
        `with_more_memory` waits for other threads.
        """
        missing = 0
        # With padding for some long texts alone it is not known how much a chunk may have.
        if entry.texts is not None and entry.padding is not Padding.SOME:
            chunk = min(table.chunk_bytes(columns), padded_chunk_bytes(entry.texts.most_in_record))
            missing = _CHUNK_COPIES * chunk + _CHUNK_MORE - self.memory_share.n_bytes
        if missing <= 0 or self.memory_share.is_fixed:
            yield
            return
        with contextlib.ExitStack() as held:
            with contextlib.suppress(MemoryBudgetError):
                what = "What the database reads at once"
                held.enter_context(WORKSPACE.take_all(missing, what, waits=False))
                held.enter_context(self.memory_share.raised(missing, cursor))
            yield

    def scan(self, collection_id: UUID) -> Iterator[RecordRows]:
        entry = self._database.entry(collection_id)
        row_bytes = self._row_bytes(entry)
        start, end = 0, entry.extent.next_label
        while start < end:
            with WORKSPACE.take(min((end - start) * row_bytes, _SCAN_BYTES)) as room:
                stop = min(start + room.rows(row_bytes), end)
                rows = self.fetch(collection_id, np.arange(start, stop))
                if len(rows):
                    yield rows
            start = stop

    @with_more_memory
    @read_again
    def _row_bytes(self, entry: CatalogueEntry) -> int:
        """Return how many bytes a row of a collection takes, about."""
        with self._database.reading() as cursor:
            return self.record_table(cursor, entry).row_bytes()

    def record_table(self, cursor: duckdb.DuckDBPyConnection, entry: CatalogueEntry) -> RecordTable:
        """Return a reader of the collection's table; the sizes of its texts are measured where they are not known."""
        sizes = entry.texts
        if sizes is None:
            sizes = entry.texts = measure(cursor, entry.table)
        return RecordTable(cursor, entry.table, sizes, self.memory_share.limit)

    @with_more_memory
    @read_again
    def text_sizes(self, collection_id: UUID) -> TextSizes:
        entry = self._database.entry(collection_id)
        known = entry.texts
        if (
            known is None
            or known.n_records > _REMEASURE_FACTOR * entry.extent.n_records + _FEW_RECORDS
        ):
            measured_at = entry.extent
            known = self._read_current_generation(collection_id, measure)
            now = self._database.entry(collection_id)
            # Not where somebody has written meanwhile: these sizes may lack what is new.
            if now.extent == measured_at:
                now.texts = known
        return known

    @with_more_memory
    @read_again
    def longest_document(self, collection_id: UUID) -> int:
        return self._read_current_generation(collection_id, longest_document)

    # -- metadata -----------------------------------------------------------------------------

    @with_more_memory
    @read_again
    def describe_fields(self, collection_id: UUID, n_values: int) -> list[FieldSummary]:
        limit = self.memory_share.limit
        return self._read_current_generation(
            collection_id, lambda cursor, table: _fields.describe(cursor, table, n_values, limit)
        )

    @with_more_memory
    @read_again
    def metadata_keys(self, collection_id: UUID) -> list[str]:
        limit = self.memory_share.limit
        return self._read_current_generation(
            collection_id, lambda cursor, table: _fields.metadata_keys(cursor, table, limit)
        )

    def _read_current_generation(
        self, collection_id: UUID, read: Callable[[duckdb.DuckDBPyConnection, str], _Found]
    ) -> _Found:
        """Read a collection's table; once more where a compaction has replaced it meanwhile.

        The caller holds no lock that would keep a compaction out.
        """
        while True:
            entry = self._database.entry(collection_id)
            try:
                with self._database.reading() as cursor:
                    return read(cursor, entry.table)
            except InternalError as error:
                if not isinstance(error.__cause__, duckdb.CatalogException):
                    raise
                # A compaction holds the write lock until the catalogue in memory names the new table.
                with self._database.write_lock:
                    now = self._database.entry(collection_id)
                if now.extent.generation == entry.extent.generation:
                    raise

    # -- vectors ------------------------------------------------------------------------------

    def vectors(self, collection_id: UUID) -> VectorSource:
        return self._files.of(collection_id)

    def is_at(self, collection_id: UUID, generation: int) -> bool:
        """Say whether a generation of a collection is still there."""
        entry = self._cached.entries.get(collection_id)
        return (
            entry is not None
            and entry.extent.generation == generation
            and not self._database.is_closed
        )

    def vectors_at(self, collection_id: UUID, generation: int) -> VectorSource | None:
        """Return the vectors of one generation of a collection, or None where it is gone."""
        # A compaction holds the lock until it has put the new files in the place of the old ones.
        with self._database.write_lock:
            return self.vectors(collection_id) if self.is_at(collection_id, generation) else None

    def rows_to_skip(self, collection_id: UUID) -> int:
        entry = self._database.entry(collection_id)
        if entry.tail is None or not entry.extent.next_label:
            return 0
        try:
            vectors = self.vectors(collection_id)
        except StoreCorruptError:
            # Deleting needs no vectors, so it must not fail here. A write opens the file and raises this itself.
            return 0
        return vectors.rows_to_skip() if isinstance(vectors, VectorFile) else 0


def _check_labels(entry: CatalogueEntry, labels: NDArray[np.int64]) -> None:
    """Check that these labels (shape (n,), in any order) can be records'; a missing one is masked.

    Raises:
        StoreCorruptError: One is missing, or no vector was written for it.
    """
    if not len(labels):
        return
    if np.ma.is_masked(labels) or labels.min() < 0 or labels.max() >= entry.extent.next_label:
        raise _corrupt(entry, "a record names a vector that was never written")


def _check_rows(
    entry: CatalogueEntry, rows: RecordRows, n_wanted: int, columns: Sequence[str]
) -> None:
    """Check rows that were read for `n_wanted` labels, each of which one record can have.

    Raises:
        StoreCorruptError: There are more rows, or a record has no id.
    """
    if len(rows) > n_wanted:
        raise _corrupt(entry, "a label is there twice")
    if "id" in columns and None in rows.ids:
        raise _corrupt(entry, "a record has no id")


def _corrupt(entry: CatalogueEntry, problem: str) -> StoreCorruptError:
    return StoreCorruptError(
        f"The records of collection [{entry.info.name}] in the database cannot be right: {problem}. client.check() says "
        "what else is damaged. Restore the store from a backup."
    )


def _number(label: int | None) -> int:
    """Return a label, -2 for a missing one: -1 says that there is no such record."""
    return -2 if label is None else label


def _condition(
    expression: Expression | None, ids: Sequence[str] | None, dialect: DuckDBDialect
) -> tuple[str, list[Any]]:
    """Return the SQL condition for a filter and for ids, and its parameters; an empty text where there is neither."""
    conditions: list[str] = []
    parameters: list[Any] = []
    if expression is not None:
        condition, parameters = compile_sql(expression, dialect)
        conditions.append(f"({condition})")
    if ids is not None:
        conditions.append(f"id IN (SELECT unnest(${len(parameters) + 1}::VARCHAR[]))")
        parameters = [*parameters, list(ids)]
    return " AND ".join(conditions), parameters


def _ends(table: RecordTable, expressions: Sequence[str]) -> NDArray[np.int64] | None:
    """Return where the pieces end in which regular expressions are evaluated; None where one statement is enough."""
    n_parts = sum(count_parts(rust_regex_to_re2(pattern)) for pattern in expressions)
    return table.ends(_PIECE_WORK // n_parts) if n_parts else None


def _bad_filter(expression: Expression | None, error: duckdb.Error) -> InvalidArgumentError:
    """Return the error for a filter that DuckDB cannot evaluate."""
    reason = str(error).removeprefix("Invalid Input Error: ")[:300]
    given = " or ".join(repr(pattern[:200]) for pattern in patterns(expression))
    if not given:
        return InvalidArgumentError(f"Invalid where clause: {reason}")
    return InvalidArgumentError(
        f"Invalid where clause: the regular expression {given} cannot be read: {reason}. The syntax is "
        "that of Rust's regex, without look-around and back-references."
    )
