"""Writes the rows of a commit into a collection's table, each piece in the way that is fastest for its size."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import duckdb
import numpy as np

from chroma_nb.db.base import text_pieces
from chroma_nb.db.record_table import CHUNK_ROWS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from chroma_nb.db.base import Changes, RecordRows
    from chroma_nb.progress import ProgressBar

#: Up to this many rows are inserted as plain VALUES (one row: 0.8 ms, as lists 1.1 ms).
_PLAIN_ROWS = 8
#: From this many rows on columns are inserted as NumPy arrays; in between, list parameters are faster.
_COLUMNAR_ROWS = 512
#: Arrays are inserted in pieces of at most this many bytes, so that a progress bar can move during a long write ...
_PIECE_BYTES = 8 << 20
#: ... where each row takes 8 bytes in each of ten arrays. Its texts are not copied into them.
_ROW_ARRAY_BYTES = 10 * 8
#: A piece has at most this many bytes of text, or one longer row. DuckDB frees its copies of a piece before the next.
TEXT_PIECE_BYTES = 4 << 20
#: How many copies of a piece's texts exist while it is inserted.
PIECE_COPIES = 3
#: The name under which DuckDB reads the arrays of a piece.
ROWS_VIEW = "chroma_nb_rows"
#: A text of this many characters or more is copied before DuckDB gets it; see `_own_copy`.
_LONG_TEXT = 1 << 10


def write_rows(
    con: duckdb.DuckDBPyConnection, table: str, changes: Changes, bar: ProgressBar
) -> None:
    """Delete the removed rows of a commit and insert its new ones; the caller has begun the transaction."""
    rows = changes.rows
    if len(changes.removed):
        con.execute(
            f'DELETE FROM "{table}" WHERE label IN (SELECT unnest(?))', [changes.removed.tolist()]
        )
    if not len(rows):
        return
    step = _PIECE_BYTES // _ROW_ARRAY_BYTES
    for piece in text_pieces(rows, step, TEXT_PIECE_BYTES):
        _insert_piece(con, table, rows, piece, is_long=piece.stop - piece.start < len(rows))
        bar.update(piece.stop - piece.start)


def chunk_text_bytes(text_bytes: NDArray[np.int64]) -> int:
    """Return the most bytes of texts in any chunk (2,048 successive rows), which COMMIT handles at a time.

    Args:
        text_bytes: UTF-8 bytes of each row's texts, int64, shape (n,).
    """
    if len(text_bytes) <= CHUNK_ROWS:
        return int(text_bytes.sum())
    ends = np.concatenate([[0], np.cumsum(text_bytes)])
    return int((ends[CHUNK_ROWS:] - ends[:-CHUNK_ROWS]).max())


def _insert_piece(
    con: duckdb.DuckDBPyConnection, table: str, rows: RecordRows, piece: slice, *, is_long: bool
) -> None:
    """Insert some rows in the fastest way.

    Args:
        con: The connection of the transaction.
        table: The collection's table.
        rows: Rows of a commit.
        piece: Which of them.
        is_long: Their texts are long: they are inserted as arrays, as the other ways copy each text five times.
    """
    n_rows = piece.stop - piece.start
    if n_rows >= _COLUMNAR_ROWS or is_long:
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
        values = [_own_copy(text) for text in column[piece]]
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


def _own_copy(text: str | None) -> str | None:
    """Return a text to give to DuckDB: a copy where it is long and not ASCII.

    DuckDB asks Python for the text's UTF-8, which Python then keeps as long as the text. With a copy, the caller's
    text does not grow.
    """
    if text is None or len(text) < _LONG_TEXT or text.isascii():
        return text
    return text.encode().decode()
