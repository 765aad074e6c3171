"""The keys of a collection's metadata, and a summary of each, computed by DuckDB.

DuckDB reads the JSON with all cores and without Python's lock: the keys of 200,000 records with nine keys take 60 ms,
where parsing them in Python takes a second. DuckDB reads 2,048 records at a time, however large they are. Where so
many would not fit into its memory, they are read in pieces.
"""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

import duckdb

from chroma_nb.db.chunks import CHUNK_ROWS
from chroma_nb.db.field_summary import MOST_FIELDS, WHOLE, FieldKind, summary_of
from chroma_nb.filters.sql import json_pointer
from chroma_nb.types import MOST_METADATA_KEYS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from chroma_nb.types import FieldSummary

#: DuckDB's names of JSON types -> ours; all others are lists.
_KINDS = {
    "VARCHAR": "str",
    "BIGINT": "int",
    "UBIGINT": "int",
    "HUGEINT": "int",
    "DOUBLE": "float",
    "BOOLEAN": "bool",
    "OBJECT": "SparseVector",
}
#: A query over metadata takes this many times the bytes of the texts of a chunk.
TEXT_FACTOR = 8
#: Records that are measured at each of three places to estimate how large a record is.
_SAMPLE = 16

#: A query for (key, kind, value as JSON) of some keys; `_key_parameters` are its parameters.
_PAIRS = (
    "SELECT key, json_type(atom) AS kind, CAST(atom AS VARCHAR) AS atom FROM (SELECT "
    "unnest(?::VARCHAR[]) AS key, unnest(json_extract(metadata, ?::VARCHAR[])) AS atom "
    'FROM "{table}" {condition}) WHERE atom IS NOT NULL'
)
#: The same from the temporary table that `_keep_pairs` fills.
_TEMPORARY = "SELECT key, kind, atom FROM chroma_nb_pairs"


def metadata_keys(cursor: duckdb.DuckDBPyConnection, table: str, memory_limit: int) -> list[str]:
    """Return the metadata keys of a table, sorted by code points; of too many the first `MOST_METADATA_KEYS`.

    Args:
        cursor: A cursor of the store's DuckDB.
        table: The name of the collection's table.
        memory_limit: DuckDB's memory limit, bytes.
    """
    most = MOST_METADATA_KEYS
    found: set[str] = set()

    def take(condition: str) -> None:
        rows = cursor.execute(
            "SELECT DISTINCT key FROM (SELECT unnest(json_keys(metadata)) AS key FROM "
            f'"{table}" {condition}) ORDER BY key LIMIT {most}'
        ).fetchall()
        found.update(key for (key,) in rows)
        if len(found) > most:
            found.intersection_update(sorted(found)[:most])

    with _one_moment(cursor):
        _by_pieces(cursor, table, memory_limit, found.clear, take)
    return sorted(found)


def describe(
    cursor: duckdb.DuckDBPyConnection, table: str, n_values: int, memory_limit: int
) -> list[FieldSummary]:
    """Return a summary of each metadata key, the most frequent first, at most 200.

    Args:
        cursor: A cursor of the store's DuckDB.
        table: The name of the collection's table.
        n_values: The values of a key are counted where it has at most this many different ones.
        memory_limit: DuckDB's memory limit, bytes.
    """
    with _one_moment(cursor):
        keys, is_large = _frequent_keys(cursor, table, memory_limit)
        if not is_large:
            try:
                return _summaries(cursor, keys, n_values, _PAIRS.format(table=table, condition=""))
            except duckdb.OutOfMemoryException:
                # Records are larger than the sample said: read them in pieces.
                _begin_again(cursor)
        _keep_pairs(cursor, table, memory_limit, keys)
        found = _summaries(cursor, keys, n_values, _TEMPORARY)
        cursor.execute("DROP TABLE chroma_nb_pairs")
        return found


@contextlib.contextmanager
def _one_moment(cursor: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """Have all statements of the block see the same records.

    Otherwise one that is written meanwhile, which gets a new label, could be counted in two pieces, or in none.
    """
    cursor.execute("BEGIN TRANSACTION")
    yield
    # Where it fails, the cursor is closed, and the transaction with it.
    cursor.execute("COMMIT")


def _begin_again(cursor: duckdb.DuckDBPyConnection) -> None:
    """Begin the transaction again, where DuckDB ran out of memory and may have ended it."""
    with contextlib.suppress(duckdb.TransactionException):
        cursor.execute("ROLLBACK")
    cursor.execute("BEGIN TRANSACTION")


def _summaries(
    cursor: duckdb.DuckDBPyConnection, keys: list[str], n_values: int, source: str
) -> list[FieldSummary]:
    """Return the summaries of these keys; `source` is the query that gives (key, kind, value)."""
    whole = "CASE WHEN kind IN ('BIGINT', 'UBIGINT') THEN TRY_CAST(atom AS HUGEINT) END"
    real = "CASE WHEN kind = 'DOUBLE' THEN TRY_CAST(atom AS DOUBLE) END"
    kinds: dict[str, list[FieldKind]] = {key: [] for key in keys}
    for key, kind, *rest in cursor.execute(
        f"SELECT key, kind, count(*), min({whole}), max({whole}), min({real}), max({real}), "
        f"approx_count_distinct(atom) FROM ({source}) GROUP BY key, kind",
        None if source == _TEMPORARY else _key_parameters(keys),
    ).fetchall():
        kinds[key].append(FieldKind(_KINDS.get(kind, "list"), *rest))
    few = [
        key
        for key, found in kinds.items()
        # `n_distinct` is an estimate: twice as many are let through, and `summary_of` cuts off what is too much.
        if sum(kind.n_distinct for kind in found if kind.name not in WHOLE) <= 2 * n_values + 2
    ]
    values: dict[str, list[tuple[Any, int]]] = {key: [] for key in few}
    plain = ", ".join(f"'{name}'" for name in _KINDS if name != "OBJECT")
    for key, atom, n in cursor.execute(
        f"SELECT key, atom, count(*) FROM ({source}) WHERE kind IN ({plain}) "
        "AND key IN (SELECT unnest(?::VARCHAR[])) GROUP BY key, atom",
        [*([] if source == _TEMPORARY else _key_parameters(few)), few],
    ).fetchall():
        values[key].append((json.loads(atom), n))
    return [summary_of(key, found, values.get(key), n_values) for key, found in kinds.items()]


def _key_parameters(keys: list[str]) -> list[list[str]]:
    """Return the parameters of `_PAIRS`: the keys, and the same as JSON pointers."""
    return [keys, [json_pointer(key) for key in keys]]


def _frequent_keys(
    cursor: duckdb.DuckDBPyConnection, table: str, memory_limit: int
) -> tuple[list[str], bool]:
    """Return the most frequent keys, and whether the table has to be read in pieces."""
    first = f"ORDER BY n DESC, key LIMIT {MOST_FIELDS}"
    found: list[tuple[str, int]] = []

    def begin() -> None:
        cursor.execute("CREATE OR REPLACE TEMP TABLE chroma_nb_counts (key VARCHAR, n BIGINT)")

    def count(condition: str) -> None:
        counts = (
            "SELECT key, count(*) AS n FROM (SELECT unnest(json_keys(metadata)) AS key FROM "
            f'"{table}" {condition}) GROUP BY key'
        )
        if condition:
            cursor.execute(f"INSERT INTO chroma_nb_counts {counts}")
        else:
            found.extend(cursor.execute(f"{counts} {first}").fetchall())

    is_large = _by_pieces(cursor, table, memory_limit, begin, count)
    if is_large:
        found = cursor.execute(
            f"SELECT key, sum(n) AS n FROM chroma_nb_counts GROUP BY key {first}"
        ).fetchall()
    cursor.execute("DROP TABLE chroma_nb_counts")
    return [key for key, _ in found], is_large


def _keep_pairs(
    cursor: duckdb.DuckDBPyConnection, table: str, memory_limit: int, keys: list[str]
) -> None:
    """Copy the values of some keys into a temporary table, piece by piece."""

    def begin() -> None:
        cursor.execute(
            "CREATE OR REPLACE TEMP TABLE chroma_nb_pairs (key VARCHAR, kind VARCHAR, atom VARCHAR)"
        )

    def insert(condition: str) -> None:
        pairs = _PAIRS.format(table=table, condition=condition)
        cursor.execute(f"INSERT INTO chroma_nb_pairs {pairs}", _key_parameters(keys))

    _by_pieces(cursor, table, memory_limit, begin, insert)


def _by_pieces(
    cursor: duckdb.DuckDBPyConnection,
    table: str,
    memory_limit: int,
    begin: Callable[[], object],
    take: Callable[[str], None],
) -> bool:
    """Read a table once in pieces; see `Pieces.read`."""
    pieces = Pieces(cursor, f'"{table}"', memory_limit, lambda: _begin_again(cursor))
    return pieces.read(begin, take)


class Pieces:
    """Reads the records of a table in pieces that fit into DuckDB's memory.

    Args:
        cursor: A cursor of the store's DuckDB.
        table: The table of the records, as SQL.
        memory_limit: DuckDB's memory limit, bytes.
        restart: Called where a piece did not fit, before reading starts again from the beginning. DuckDB has ended
            the transaction by then.
    """

    def __init__(
        self,
        cursor: duckdb.DuckDBPyConnection,
        table: str,
        memory_limit: int,
        restart: Callable[[], object] = lambda: None,
    ) -> None:
        self._restart = restart
        (lowest, highest), *_ = cursor.execute(
            f"SELECT min(label), max(label) FROM {table}"
        ).fetchall()
        self._lowest, self._end, self._step = 0, 0, 1
        #: About the bytes of one record's metadata.
        self.record_bytes = 0
        if lowest is not None:
            self._lowest, self._end = lowest, highest + 1
            self.record_bytes = max(1, _record_bytes(cursor, table, lowest, self._end))
            fitting = max(1, memory_limit // (TEXT_FACTOR * self.record_bytes))
            self._step = self._end - lowest if fitting >= CHUNK_ROWS else fitting

    @property
    def is_one(self) -> bool:
        """The table is read as one piece."""
        return self._lowest + self._step >= self._end

    def read(self, begin: Callable[[], object], take: Callable[[str], None]) -> bool:
        """Call `take` with the SQL condition of each piece, or once with "" where the table is one piece.

        Where a piece does not fit into memory, everything starts again with smaller pieces. Later calls keep them.

        Args:
            begin: Called before the first piece, each time that reading starts.
            take: Reads one piece.

        Returns:
            Whether there were several pieces.
        """
        while True:
            begin()
            try:
                if self.is_one:
                    take("")
                    return False
                for start in range(self._lowest, self._end, self._step):
                    take(f"WHERE label >= {start} AND label < {start + self._step}")
                return True
            except duckdb.OutOfMemoryException:
                if self._step == 1:
                    raise
                self._step = max(1, min(self._step, CHUNK_ROWS) // 4)
            self._restart()


def _record_bytes(cursor: duckdb.DuckDBPyConnection, table: str, lowest: int, end: int) -> int:
    """Estimate the bytes of a record's metadata from samples at the beginning, the middle and the end."""
    n_records = n_bytes = 0
    for start in {lowest, (lowest + end) // 2, max(lowest, end - _SAMPLE)}:
        rows = cursor.execute(
            f"SELECT count(*), coalesce(sum(strlen(metadata)), 0) FROM {table} "
            f"WHERE label >= {start} AND label < {start + _SAMPLE}"
        ).fetchall()
        n_records, n_bytes = n_records + rows[0][0], n_bytes + int(rows[0][1])
    return n_bytes // max(1, n_records)
