"""`RecordTable`: reads one collection's records from DuckDB, only the wanted columns, in pieces that fit into memory.

A *label* is the number of a record in the vector file and in the graph. Its *sequence* is its place in storage order.
Between the records of a table there may be rows of *padding* (`chunks.py`).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import duckdb
import numpy as np

from chroma_nb.db.base import TEXT_COLUMNS, RecordRows, TextSizes
from chroma_nb.db.chunks import CHUNK_ROWS, IS_RECORD, pad_stored
from chroma_nb.filters.sql import json_pointer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

#: A chunk may take DuckDB's memory limit divided by this. Where it would take more, rows are read in ranges of labels.
_READ_SHARE = 8
#: A JSON function parses its text into this many times as many bytes (measured with 200 keys).
_JSON_TIMES = 5
#: What it is parsed into has at least this many bytes for each row (measured: 60 to 110).
_JSON_BYTES = 128
#: These may take DuckDB's memory limit divided by this.
_JSON_SHARE = 2
#: Bytes of a row without its texts: label, sequence and Python's objects.
_ROW_BYTES = 300
#: A range of labels is read whole where at least one in this many is wanted.
_ROWS_PER_WANTED = 2


class RecordTable:
    """The table that holds a collection's records.

    Args:
        cursor: A cursor of the store's DuckDB.
        table: The table's name.
        sizes: The sizes of its texts.
        share: DuckDB's memory limit, bytes.
    """

    def __init__(
        self, cursor: duckdb.DuckDBPyConnection, table: str, sizes: TextSizes, share: int
    ) -> None:
        self._cursor = cursor
        self._table = table
        self._sizes = sizes
        self._read_bytes = share // _READ_SHARE
        self._json_bytes = share // _JSON_SHARE

    def row_bytes(self, columns: Sequence[str] = TEXT_COLUMNS) -> int:
        """Return the bytes that a row with these columns takes in this process, on average."""
        return _ROW_BYTES + self._sizes.row_bytes(columns)

    def chunk_bytes(self, columns: Sequence[str] = TEXT_COLUMNS) -> int:
        """Return the bytes of these columns in a chunk, on average; too many where there is padding."""
        return min(CHUNK_ROWS, self._sizes.n_records) * self._sizes.row_bytes(columns)

    def is_large(self, columns: Sequence[str] = TEXT_COLUMNS) -> bool:
        """Say whether a chunk of these columns would take too much of DuckDB's memory."""
        return CHUNK_ROWS * self._sizes.row_bytes(columns) > self._read_bytes

    def is_large_for(self, condition: str, keys: Sequence[str]) -> bool:
        """Say whether a condition has to be evaluated in ranges of labels, as `select` does."""
        return self._rows_at_once(condition, keys) < CHUNK_ROWS

    def _rows_at_once(self, condition: str, keys: Sequence[str]) -> int:
        """Return for how many rows a condition on these metadata keys is evaluated at once."""
        rows = self._read_bytes // max(1, self._sizes.row_bytes(_columns_in(condition)))
        # Each function that reads metadata parses it again, once for each key: see `select`.
        parsed = _JSON_TIMES * len(keys) * self._sizes.row_bytes(["metadata"])
        return max(1, min(rows, self._json_bytes // max(1, parsed)))

    def _rows_of_keys(self, condition: str, keys: Sequence[str]) -> int:
        """Return for how many rows `select` evaluates a condition at once."""
        columns = [*_columns_in(condition), *(["metadata"] if keys else [])]
        rows = self._read_bytes // max(1, self._sizes.row_bytes(columns))
        if not keys:
            return max(1, rows)
        # The metadata is parsed once for all keys; each function of the condition then parses the value of one.
        metadata = _JSON_TIMES * self._sizes.row_bytes(["metadata"])
        n_functions = condition.count("json_")
        values = min(metadata * n_functions // len(keys), metadata * _JSON_TIMES)
        parsed = metadata + values + _JSON_BYTES * n_functions
        return max(1, min(rows, self._json_bytes // parsed))

    def ends(self, n_bytes: int) -> NDArray[np.int64] | None:
        """Return where pieces end that have at most so many bytes of documents, or one document: int64, ascending labels.

        Each is one past the last label of a piece; None: all of it is one piece.
        """
        if self._sizes.documents <= n_bytes:
            return None
        found = self._cursor.execute(
            f'SELECT label, coalesce(strlen(document), 0)::BIGINT AS size FROM "{self._table}" ORDER BY label'
        ).fetchnumpy()
        ends, held = [], 0
        sizes = np.asarray(found["size"], dtype=np.int64).tolist()
        for label, size in zip(
            np.asarray(found["label"], dtype=np.int64).tolist(), sizes, strict=True
        ):
            if held and held + size > n_bytes:
                ends.append(label)
                held = 0
            held += size
        return np.asarray(ends, dtype=np.int64)

    def fetch(
        self, labels: NDArray[np.int64], columns: Sequence[str], room: int
    ) -> Iterator[RecordRows]:
        """Yield the records of these labels, piece by piece, in no particular order.

        Args:
            labels: int64, shape (n,), ascending.
            columns: The text columns that are wanted.
            room: Bytes that a piece may take.
        """
        selected = ", ".join(("label", "sequence", *columns))
        query = f'SELECT {selected} FROM "{self._table}" WHERE '
        if self.is_large(columns):
            most = max(1, min(room, self._read_bytes) // self.row_bytes(columns))
            for first, last in _runs(labels, most):
                rows = self._cursor.execute(query + "label BETWEEN ? AND ?", [first, last])
                yield rows_of(rows.fetchall(), columns)
            return
        step = max(1, room // self.row_bytes(columns))
        for start in range(0, len(labels), step):
            piece = labels[start : start + step]
            first, last = int(piece[0]), int(piece[-1])
            if last - first < _ROWS_PER_WANTED * len(piece):
                rows = self._cursor.execute(query + "label BETWEEN ? AND ?", [first, last])
                yield _only(rows_of(rows.fetchall(), columns), piece)
            else:
                chosen = self._cursor.execute(
                    query + "label IN (SELECT unnest(?))", [piece.tolist()]
                )
                yield rows_of(chosen.fetchall(), columns)

    def select(
        self,
        condition: str,
        parameters: Sequence[Any],
        first: int,
        stop: int,
        keys: Sequence[str] = (),
        ends: NDArray[np.int64] | None = None,
        check: Callable[[], object] = lambda: None,
    ) -> NDArray[np.int64]:
        """Return the labels of the matching records of a range, in storage order: int64, shape (n,).

        Args:
            condition: SQL over the table's columns and `key_columns`.
            parameters: The values of its placeholders.
            first: The first label.
            stop: One past the last label.
            keys: The metadata keys that it is about, each once.
            ends: Ascending labels before which a piece has to end: int64.
            check: Called before each piece; raises to end it.
        """
        labels, sequences = [], []
        step = self._rows_of_keys(condition, keys)
        columns = ["label", "sequence", *_columns_in(condition)]
        values = list(parameters)
        read = list(columns)
        if keys:
            # Each JSON function holds whatever it has parsed until the end: one of them finds all keys.
            values.append([json_pointer(key) for key in keys])
            read.append(f"json_extract(metadata, ${len(values)}::VARCHAR[]) AS found")
            columns += [
                f"found[{place}] AS {column}"
                for place, column in enumerate(key_columns(keys).values(), 1)
            ]
        start = first
        while start < stop:
            check()
            end = min(start + step, stop)
            if ends is not None and (place := int(ends.searchsorted(start, "right"))) < len(ends):
                end = min(end, int(ends[place]))
            try:
                # MATERIALIZED: otherwise DuckDB would evaluate the condition for all rows, not for those of the range.
                found = self._cursor.execute(
                    f'WITH parsed AS MATERIALIZED (SELECT {", ".join(read)} FROM "{self._table}" '
                    f"WHERE label BETWEEN {start} AND {end - 1}), "
                    f"piece AS MATERIALIZED (SELECT {', '.join(columns)} FROM parsed) "
                    f"SELECT label, sequence FROM piece WHERE {condition}",
                    values,
                ).fetchnumpy()
            except duckdb.OutOfMemoryException:
                # The sizes are averages: the records of this range may be longer.
                if step == 1:
                    raise
                step = max(1, step // 2)
                continue
            labels.append(np.asarray(found["label"], dtype=np.int64))
            sequences.append(np.asarray(found["sequence"], dtype=np.int64))
            start = end
        everything = np.concatenate([np.empty(0, dtype=np.int64), *labels])
        order = np.argsort(np.concatenate([np.empty(0, dtype=np.int64), *sequences]), kind="stable")
        return everything[order]

    def copy_to(self, table: str) -> None:
        """Copy all records into an empty table, with new labels in storage order and with padding."""
        sequences = self._cursor.execute(
            f'SELECT sequence FROM "{self._table}" WHERE {IS_RECORD} ORDER BY sequence'
        ).fetchnumpy()["sequence"]
        step = max(1, self._read_bytes // self.row_bytes())
        for start in range(0, len(sequences), step):
            piece = sequences[start : start + step]
            self._cursor.execute(
                f'INSERT INTO "{table}" SELECT {start} + row_number() OVER (ORDER BY sequence) - 1, '
                f'sequence, id, document, uri, metadata FROM "{self._table}" '
                f"WHERE sequence BETWEEN {piece[0]} AND {piece[-1]} AND {IS_RECORD}"
            )
            pad_stored(self._cursor, table, start, start + len(piece))


def key_columns(keys: Sequence[str]) -> dict[str, str]:
    """Return metadata keys with the columns in which `RecordTable.select` has their values."""
    return {key: f"key_{place}" for place, key in enumerate(keys)}


def _columns_in(condition: str) -> list[str]:
    """Return the columns of texts that a condition names. Its values and keys are parameters, so they do not match."""
    return [name for name in TEXT_COLUMNS if re.search(rf"\b{name}\b", condition)]


def measure(cursor: duckdb.DuckDBPyConnection, table: str) -> TextSizes:
    """Measure the texts of a table, bytes. Reads all of them."""
    sums = ", ".join(f"coalesce(sum(strlen({name})), 0)" for name in TEXT_COLUMNS)
    longest = " + ".join(f"coalesce(strlen({name}), 0)" for name in TEXT_COLUMNS)
    # fetchall, not fetchone, here and everywhere: in DuckDB 1.3 a result that is not read to its end holds a lock,
    # and the next checkpoint would wait for it forever.
    rows = cursor.execute(
        f'SELECT count(*), {sums}, coalesce(max({longest}), 0) FROM "{table}" WHERE {IS_RECORD}'
    ).fetchall()
    return TextSizes(*(int(value) for value in rows[0]))


def longest_document(cursor: duckdb.DuckDBPyConnection, table: str) -> int:
    """Return the bytes of the longest document of a table. Reads all of them."""
    rows = cursor.execute(f'SELECT coalesce(max(strlen(document)), 0) FROM "{table}"').fetchall()
    return int(rows[0][0])


def rows_of(rows: Sequence[Sequence[Any]], columns: Sequence[str] = TEXT_COLUMNS) -> RecordRows:
    """Turn rows of (label, sequence, columns...) into columns; text columns that were not asked for are empty."""
    turned: list[Any] = list(zip(*rows, strict=True)) if rows else [()] * (2 + len(columns))
    texts: dict[str, list[Any]] = {name: [] for name in TEXT_COLUMNS}
    texts.update({name: list(column) for name, column in zip(columns, turned[2:], strict=True)})
    return RecordRows(
        np.array(turned[0], dtype=np.int64),
        np.array(turned[1], dtype=np.int64),
        *(texts[name] for name in TEXT_COLUMNS),
    )


def joined(pieces: Sequence[RecordRows]) -> RecordRows:
    """Return the rows of all pieces."""
    if len(pieces) == 1:
        return pieces[0]
    if not pieces:
        return RecordRows.empty()
    return RecordRows(
        np.concatenate([one.labels for one in pieces]),
        np.concatenate([one.sequences for one in pieces]),
        [text for one in pieces for text in one.ids],
        [text for one in pieces for text in one.documents],
        [text for one in pieces for text in one.uris],
        [text for one in pieces for text in one.metadatas],
    )


def in_order(rows: RecordRows, labels: NDArray[np.int64]) -> RecordRows:
    """Return rows in the order of `labels`. A repeated label repeats its row; a label without a row is left out.

    Args:
        rows: The rows, each label once.
        labels: int64, shape (n,).
    """
    if np.array_equal(rows.labels, labels):
        return rows
    order = np.argsort(rows.labels, kind="stable")
    rising = rows.labels[order]
    at = np.searchsorted(rising, labels)
    at[at == len(rising)] = 0
    there = rising[at] == labels if len(rising) else np.zeros(len(labels), dtype=bool)
    return _at(rows, order[at[there]] if len(rising) else order)


def _only(rows: RecordRows, labels: NDArray[np.int64]) -> RecordRows:
    """Return the rows whose label is in `labels` (int64, shape (n,))."""
    wanted = np.isin(rows.labels, labels)
    return rows if wanted.all() else _at(rows, np.flatnonzero(wanted))


def _at(rows: RecordRows, places: NDArray[np.int64]) -> RecordRows:
    """Return the rows at these positions (int64, shape (n,)), in their order."""

    def chosen(column: list[Any]) -> list[Any]:
        return [column[at] for at in places.tolist()] if column else []

    return RecordRows(
        rows.labels[places],
        rows.sequences[places],
        chosen(rows.ids),
        chosen(rows.documents),
        chosen(rows.uris),
        chosen(rows.metadatas),
    )


def _runs(labels: NDArray[np.int64], most: int) -> Iterator[tuple[int, int]]:
    """Yield (first, last) of runs of successive labels, each of at most `most` labels.

    Args:
        labels: int64, shape (n,), ascending.
        most: The length of the longest run.
    """
    ends = np.flatnonzero(np.diff(labels) != 1)
    firsts = np.concatenate([labels[:1], labels[ends + 1]])
    lasts = np.concatenate([labels[ends], labels[-1:]])
    for first, last in zip(firsts.tolist(), lasts.tolist(), strict=True):
        for start in range(first, last + 1, most):
            yield start, min(start + most - 1, last)
