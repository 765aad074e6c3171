"""A commit's rows as blocks: one, or several where that would be too large for one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from chroma_nb.db.clickhouse.blocks import RECORD, REMOVED, VECTOR, block, vector_column
from chroma_nb.db.row_pieces import row_pieces

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa
    from numpy.typing import NDArray

    from chroma_nb.db.base import Changes, RecordRows

#: A block has at most so many bytes and rows. ClickHouse takes six times as many bytes while it writes one.
BLOCK_BYTES, BLOCK_ROWS = 64 << 20, 50_000
#: Bytes of a row without its texts and its vector.
_ROW_BYTES = 64


def is_one_block(changes: Changes) -> bool:
    """Say whether a commit fits into one block."""
    n_rows = len(changes.rows) + len(changes.removed) + len(changes.vectors)
    n_bytes = int(changes.rows.text_bytes.sum()) + changes.vectors.nbytes + _ROW_BYTES * n_rows
    return n_rows <= BLOCK_ROWS and n_bytes <= BLOCK_BYTES


def blocks_of(
    changes: Changes, killed: NDArray[np.int64], number: int, stamp: int, *, staged: bool
) -> Iterator[pa.RecordBatch]:
    """Yield the blocks of a commit, each of at most `BLOCK_BYTES` where its records are smaller than that.

    Args:
        changes: The commit.
        killed: For each of `changes.removed` the commit that has written the row: int64, shape (m,).
        number: The commit's number.
        stamp: Its random number.
        staged: They are inserted before the commit's head.
    """
    common = {"version": number, "stamp": stamp, "staged": int(staged)}
    rows, removed = changes.rows, changes.removed
    for start in range(0, len(removed), BLOCK_ROWS):
        piece = slice(start, start + BLOCK_ROWS)
        labels = removed[piece]
        yield block(len(labels), kind=REMOVED, label=labels, sequence=killed[piece], **common)
    first, vectors = changes.first_label, changes.vectors
    row_bytes = rows.text_bytes + _ROW_BYTES
    if len(vectors):
        row_bytes = row_bytes + (rows.labels >= first) * (4 * vectors.shape[1])
    for piece in row_pieces(row_bytes, BLOCK_ROWS, BLOCK_BYTES):
        yield _record_block(rows, piece, first, vectors, common)
    alone = np.setdiff1d(np.arange(first, first + len(vectors)), rows.labels)
    step = max(1, BLOCK_BYTES // max(1, 4 * vectors.shape[1])) if len(alone) else 1
    for start in range(0, len(alone), step):
        labels = alone[start : start + step]
        column = vector_column(vectors[labels - first], np.arange(len(labels)), len(labels))
        yield block(len(labels), kind=VECTOR, label=labels, embedding=column, **common)


def _record_block(
    rows: RecordRows,
    piece: slice,
    first_label: int,
    vectors: NDArray[np.float32],
    common: dict[str, int],
) -> pa.RecordBatch:
    labels = rows.labels[piece]
    n = len(labels)
    embedding = None
    places = np.flatnonzero(labels >= first_label)
    if len(places) and len(vectors):
        embedding = vector_column(vectors[labels[places] - first_label], places, n)
    return block(
        n,
        kind=RECORD,
        label=labels,
        sequence=rows.sequences[piece],
        id=list(rows.ids[piece]),
        document=list(rows.documents[piece]),
        uri=list(rows.uris[piece]),
        metadata=[text or "" for text in rows.metadatas[piece]],
        embedding=embedding,
        **common,
    )
