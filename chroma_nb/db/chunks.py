"""Chunks, the 2,048 rows that DuckDB handles at a time, and the padding that limits their texts.

DuckDB reads, commits and writes a chunk at a time. With texts of 1 MB it would take 2 GB. So long texts are followed by
rows without a record, in which all texts are NULL: one for each further `PADDED_BYTES` of text. Then a chunk has some
megabytes of texts, however long they are. DuckDB stores NULLs in next to no space.

The `label` of a padding row is NULL. Its `sequence` is the label of the record that it belongs to, with which it is
deleted.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

import numpy as np

from chroma_nb.db._versions import IS_OLD_DUCKDB
from chroma_nb.db.base import TEXT_COLUMNS

if TYPE_CHECKING:
    import duckdb
    from numpy.typing import NDArray

#: Whether padding is written. With it the COMMIT of DuckDB before 2.0 took 90 MB for a text of 2 MB, and failed.
WRITES_PADDING = not IS_OLD_DUCKDB
#: Rows of a chunk (DuckDB's STANDARD_VECTOR_SIZE).
CHUNK_ROWS = 2_048
#: UTF-8 bytes of texts that a record has without padding. DuckDB gives each text of more bytes a block of its own.
PADDED_BYTES = 4_096
#: A commit writes texts in pieces of at most this many bytes, or of one longer record; after each comes its padding.
TEXT_PIECE_BYTES = 4 << 20
#: The condition for rows that are records.
IS_RECORD = "label IS NOT NULL"
#: `largest_chunk_bytes` adds texts up in parts of this many rows.
_PART_ROWS = 256
_ROW_TEXT_BYTES = " + ".join(f"coalesce(strlen({name}), 0)" for name in TEXT_COLUMNS)


class Padding(IntEnum):
    """Which long texts of a table have padding."""

    NONE = 0
    #: Not those that an older chroma_nb, or one with an older DuckDB, has written.
    SOME = 1
    ALL = 2


def padding_rows(text_bytes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return how many padding rows each record needs, int64, shape (n,).

    Args:
        text_bytes: UTF-8 bytes of all texts of each record, int64, shape (n,).
    """
    if not WRITES_PADDING:
        return np.zeros(len(text_bytes), dtype=np.int64)
    # With as many as a chunk has rows, a text is alone in its chunk.
    found: NDArray[np.int64] = np.minimum(np.maximum(text_bytes - 1, 0) // PADDED_BYTES, CHUNK_ROWS)
    return found


def insert_padding(con: duckdb.DuckDBPyConnection, table: str, owners: NDArray[np.int64]) -> None:
    """Insert padding rows.

    Args:
        con: The connection of the transaction.
        table: The table's name.
        owners: For each row the label of the record that it belongs to, int64, shape (n,).
    """
    con.execute(
        f'INSERT INTO "{table}" SELECT NULL, unnest(?::BIGINT[]), NULL, NULL, NULL, NULL',
        [owners.tolist()],
    )


def pad_stored(con: duckdb.DuckDBPyConnection, table: str, first: int, stop: int) -> None:
    """Insert the padding of records that were inserted last.

    Args:
        con: The connection of the transaction.
        table: The table's name.
        first: The first label.
        stop: One past the last label.
    """
    rows = con.execute(
        f'SELECT label, {_ROW_TEXT_BYTES} FROM "{table}" WHERE label BETWEEN {first} AND {stop - 1} '
        f"AND {_ROW_TEXT_BYTES} > {PADDED_BYTES}"
    ).fetchall()
    if rows:
        labels, text_bytes = np.array(rows, dtype=np.int64).T
        insert_padding(con, table, np.repeat(labels, padding_rows(text_bytes)))


def chunk_text_bytes(text_bytes: NDArray[np.int64]) -> int:
    """Return an upper bound of the bytes of texts in any chunk of a commit.

    Args:
        text_bytes: UTF-8 bytes of each row's texts, int64, shape (n,).
    """
    if len(text_bytes) <= CHUNK_ROWS:
        most = int(text_bytes.sum())
    else:
        ends = np.concatenate([[0], np.cumsum(text_bytes)])
        most = int((ends[CHUNK_ROWS:] - ends[:-CHUNK_ROWS]).max())
    if not WRITES_PADDING:
        return most
    return min(most, padded_chunk_bytes(int(text_bytes.max(initial=0))))


def padded_chunk_bytes(longest: int) -> int:
    """Return an upper bound of the bytes of texts in a chunk where long texts have padding.

    Args:
        longest: UTF-8 bytes of all texts of the longest record.
    """
    # The chunk may begin and end within a piece, in front of whose padding the texts are.
    return CHUNK_ROWS * PADDED_BYTES + TEXT_PIECE_BYTES + longest


def largest_chunk_bytes(cursor: duckdb.DuckDBPyConnection, table: str) -> int:
    """Return an upper bound of the bytes of texts in a chunk of this table. Reads all texts."""
    # It is not known at which rows chunks begin. So sums are taken over one part more than a chunk has.
    sums = np.array(
        cursor.execute(
            f'SELECT sum({_ROW_TEXT_BYTES})::BIGINT FROM "{table}" GROUP BY rowid // {_PART_ROWS} '
            f"ORDER BY rowid // {_PART_ROWS}"
        ).fetchall(),
        dtype=np.int64,
    ).ravel()
    parts = np.ones(CHUNK_ROWS // _PART_ROWS + 1, dtype=np.int64)
    return int(np.convolve(sums, parts).max(initial=0)) if len(sums) else 0
