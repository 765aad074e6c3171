"""The rows of a log: its columns, its kinds of rows, and blocks of them as Arrow, which is how they are inserted.

Every row has the number of the commit that it belongs to in `version`, and that commit's random number in `stamp`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

#: A record without what is in rows of other kinds: label, sequence, texts; and its vector, where the commit brings one.
RECORD = 0
#: `label` is no record any more; the row that it had is that of the commit `sequence`.
REMOVED = 1
#: A commit: `label` is its number, `metadata` is what it says (JSON).
HEAD = 2
#: A vector alone, of a label that has no record.
VECTOR = 3

COLUMNS = (
    ("kind", "UInt8", pa.uint8()),
    ("label", "Int64", pa.int64()),
    ("version", "Int64", pa.int64()),
    ("stamp", "Int64", pa.int64()),
    # 1: inserted before the commit's head, by blocks of its own. It counts only where a head has its stamp.
    ("staged", "UInt8", pa.uint8()),
    ("sequence", "Int64", pa.int64()),
    ("id", "String CODEC(LZ4)", pa.large_string()),
    ("document", "Nullable(String) CODEC(LZ4)", pa.large_string()),
    ("uri", "Nullable(String) CODEC(LZ4)", pa.large_string()),
    # Empty where a record has none.
    ("metadata", "String CODEC(LZ4)", pa.large_string()),
    # Floats of embeddings do not get smaller.
    ("embedding", "Array(Float32) CODEC(NONE)", pa.list_(pa.float32())),
)
_NAMES = [name for name, _, _ in COLUMNS]
_SCHEMA = pa.schema([pa.field(name, kind) for name, _, kind in COLUMNS])


def create_table(table: str, *, fsync: bool, window: int) -> str:
    """Return the statement that makes the table of a log.

    Args:
        table: Its name, as SQL.
        fsync: Flush each commit, and each merge of commits, to the disk.
        window: For how many commits their tokens are known.
    """
    columns = ", ".join(f"`{name}` {kind}" for name, kind, _ in COLUMNS)
    durable = (
        ", fsync_after_insert = 1, fsync_part_directory = 1, min_rows_to_fsync_after_merge = 1, "
        "min_compressed_bytes_to_fsync_after_merge = 1"
    )
    return (
        f"CREATE TABLE IF NOT EXISTS {table} ({columns}, INDEX by_version version TYPE minmax GRANULARITY 1) "
        "ENGINE = MergeTree ORDER BY (kind, label) SETTINGS index_granularity = 1024, "
        # Each commit is a part until it is merged: slow down, and refuse, later than by default.
        "parts_to_delay_insert = 3000, parts_to_throw_insert = 10000, "
        f"non_replicated_deduplication_window = {window}{durable if fsync else ''}"
    )


def block(n_rows: int, **columns: Any) -> pa.RecordBatch:
    """Return rows of a log; a column that is not given is empty, or 0.

    Args:
        n_rows: How many.
        **columns: Values by the names in `COLUMNS`: an array, a list, or one value for all rows.
    """
    arrays = []
    for name, _, kind in COLUMNS:
        given = columns.get(name)
        if isinstance(given, pa.Array):
            arrays.append(given)
        elif given is None or isinstance(given, int | str):
            arrays.append(pa.repeat(pa.scalar(_default(kind, name, given), kind), n_rows))
        else:
            arrays.append(pa.array(given, kind))
    return pa.RecordBatch.from_arrays(arrays, schema=_SCHEMA)


def _default(kind: pa.DataType, name: str, given: Any) -> Any:
    if given is not None:
        return given
    if name in ("document", "uri"):
        return None
    if kind == pa.large_string():
        return ""
    return [] if kind == pa.list_(pa.float32()) else 0


def head_row(
    number: int, stamp: int, said: str, snapshot: str | None, *, staged: bool
) -> pa.RecordBatch:
    """Return the row of a commit."""
    return block(
        1,
        kind=HEAD,
        label=number,
        version=number,
        stamp=stamp,
        staged=int(staged),
        metadata=said,
        document=[snapshot],
    )


def vector_column(vectors: NDArray[np.float32], places: NDArray[np.int64], n_rows: int) -> pa.Array:
    """Return the embeddings of rows; those that have none are empty.

    Args:
        vectors: float32, shape (v, dimension).
        places: The row of each vector, rising: int64, shape (v,).
        n_rows: The number of rows.
    """
    lengths = np.zeros(n_rows, dtype=np.int64)
    lengths[places] = vectors.shape[1] if vectors.ndim == 2 else 0
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    # A copy: the caller may change its array meanwhile.
    flat = np.array(vectors, dtype=np.float32, order="C").reshape(-1)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(flat))


def joined(blocks: Sequence[pa.RecordBatch]) -> pa.RecordBatch:
    """Return the rows of several blocks as one: one block is all or nothing."""
    if len(blocks) == 1:
        return blocks[0]
    whole = pa.Table.from_batches(blocks).combine_chunks()
    (only,) = whole.to_batches() or [block(0)]
    return only
