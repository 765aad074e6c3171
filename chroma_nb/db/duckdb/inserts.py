"""Writes the rows of a commit into a collection's table, each piece in the way that is fastest for its size."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import duckdb
import numpy as np

from chroma_nb.db.chunks import TEXT_PIECE_BYTES, Padding, insert_padding, padding_rows
from chroma_nb.db.row_pieces import row_pieces

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from chroma_nb.db.base import RecordRows
    from chroma_nb.progress import ProgressBar

#: Up to this many rows are inserted as plain VALUES (one row: 0.8 ms, as lists 1.1 ms).
_PLAIN_ROWS = 8
#: From this many rows on columns are inserted as NumPy arrays; in between, list parameters are faster.
_COLUMNAR_ROWS = 512
#: Arrays are inserted in pieces of at most this many bytes, so that a progress bar can move during a long write.
_PIECE_BYTES = 8 << 20
#: A row takes 8 bytes in each of ten arrays. Its texts are not copied into them.
_ROW_ARRAY_BYTES = 10 * 8
#: How many copies of a piece's texts exist while it is inserted; DuckDB frees them before the next piece.
PIECE_COPIES = 3
#: The name under which DuckDB reads the arrays of a piece.
ROWS_VIEW = "chroma_nb_rows"
#: A text of this many characters or more is copied before DuckDB gets it; see `_own_copy`.
_LONG_TEXT = 1 << 10


def delete_rows(
    con: duckdb.DuckDBPyConnection, table: str, removed: NDArray[np.int64], padding: Padding
) -> None:
    """Delete the removed rows of a commit; the caller has begun the transaction.

    Args:
        con: The connection of the transaction.
        table: The collection's table.
        removed: Labels of rows, int64, shape (n,).
        padding: Which records of the table had padding before.
    """
    condition = "label IN (SELECT unnest($1::BIGINT[]))"
    if padding:
        condition += " OR (label IS NULL AND sequence IN (SELECT unnest($1::BIGINT[])))"
    con.execute(f'DELETE FROM "{table}" WHERE {condition}', [removed.tolist()])


def write_rows(
    con: duckdb.DuckDBPyConnection,
    table: str,
    rows: RecordRows,
    bar: ProgressBar,
) -> None:
    """Insert the new rows of a commit; the caller has begun the transaction.

    Args:
        con: The connection of the transaction.
        table: The collection's table.
        rows: The rows.
        bar: Moves on with each piece.
    """
    if not len(rows):
        return
    step = _PIECE_BYTES // _ROW_ARRAY_BYTES
    n_padding = padding_rows(rows.text_bytes)
    for piece in row_pieces(rows.text_bytes, step, TEXT_PIECE_BYTES):
        _insert_piece(con, table, rows, piece, is_part=piece.stop - piece.start < len(rows))
        if n_padding[piece].any():
            insert_padding(con, table, np.repeat(rows.labels[piece], n_padding[piece]))
        bar.update(piece.stop - piece.start)


def _insert_piece(
    con: duckdb.DuckDBPyConnection, table: str, rows: RecordRows, piece: slice, *, is_part: bool
) -> None:
    """Insert some rows in the fastest way.

    Args:
        con: The connection of the transaction.
        table: The collection's table.
        rows: Rows of a commit.
        piece: Which of them.
        is_part: Others of the same commit are inserted apart, since their texts are many or long. They are inserted
            as arrays then, as the other ways copy each text five times.
    """
    n_rows = piece.stop - piece.start
    if n_rows >= _COLUMNAR_ROWS or is_part:
        _insert_columns(con, table, rows, piece)
        return
    texts = [column[piece] for column in (rows.ids, rows.documents, rows.uris, rows.metadatas)]
    labels, sequences = rows.labels[piece].tolist(), rows.sequences[piece].tolist()
    if n_rows <= _PLAIN_ROWS:
        marks = ", ".join(["(?, ?, ?, ?, ?, ?)"] * n_rows)
        values = [value for row in zip(labels, sequences, *texts, strict=True) for value in row]
        con.execute(f'INSERT INTO "{table}" VALUES {marks}', values)
        return
    con.execute(
        f'INSERT INTO "{table}" SELECT unnest(?::BIGINT[]), unnest(?::BIGINT[]), '
        "unnest(?::VARCHAR[]), unnest(?::VARCHAR[]), unnest(?::VARCHAR[]), unnest(?::VARCHAR[])",
        [labels, sequences, *texts],
    )


def _insert_columns(
    con: duckdb.DuckDBPyConnection, table: str, rows: RecordRows, piece: slice
) -> None:
    """Insert some rows as NumPy arrays, one for each column."""
    arrays: dict[str, NDArray[Any]] = {
        "label": rows.labels[piece],
        "sequence": rows.sequences[piece],
    }
    selected = ["label", "sequence"]
    texts: list[Sequence[str | None]] = [rows.ids, rows.documents, rows.uris, rows.metadatas]
    for name, column in zip(("id", "document", "uri", "metadata"), texts, strict=True):
        values = [
            text if text is None or len(text) < _LONG_TEXT else _own_copy(text)
            for text in column[piece]
        ]
        # DuckDB guesses a column's type from a thousand of its values, and versions before 2.0 fail where these are
        # all None. So every value is a text, and a column of booleans says which of them are given.
        given = np.fromiter((text is not None for text in values), dtype=bool, count=len(values))
        if given.all():
            arrays[name] = np.array(values, dtype=object)
            selected.append(f"{name}::VARCHAR")
        elif not given.any():
            selected.append("NULL")
        else:
            arrays[name] = np.array([text or "" for text in values], dtype=object)
            arrays[f"{name}_given"] = given
            selected.append(f"CASE WHEN {name}_given THEN {name}::VARCHAR END")
    con.register(ROWS_VIEW, arrays)
    try:
        con.execute(f'INSERT INTO "{table}" SELECT {", ".join(selected)} FROM {ROWS_VIEW}')
    finally:
        # In a failed transaction this raises, and would hide the reason. `Transactions._undo` unregisters it then.
        with contextlib.suppress(duckdb.TransactionException):
            con.unregister(ROWS_VIEW)
        # DuckDB keeps the arrays until the transaction ends; without this, their texts as well.
        for array in arrays.values():
            if array.dtype == object:
                array.fill(None)


def _own_copy(text: str) -> str:
    """Return a long text to give to DuckDB: a copy where it is not ASCII.

    DuckDB asks Python for the text's UTF-8, which Python then keeps as long as the text. With a copy, the caller's
    text does not grow.
    """
    return text if text.isascii() else text.encode().decode()
