"""How large a column of Arrow is once it is decoded, and its cells without copies of what is there once.

A dictionary, a run, or views of one text can stand for a million times their own size. So sizes are computed from
lengths and counts before anything is decoded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from chroma_nb.errors import InvalidArgumentError
from chroma_nb.memory.preflight import require
from chroma_nb.memory.sizes import format_bytes
from chroma_nb.memory.workspace import WORKSPACE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from chroma_nb.memory.workspace import Grant

#: At most this many bytes of records are decoded, checked and written at a time, and they are in memory this many
#: times meanwhile: as Arrow's, as objects, checked, and on their way to the store.
_PIECE_BYTES = 32 << 20
COPIES = 6
#: As many of them are held until the piece is written: as Arrow's, as objects, and checked.
HELD_COPIES = 3
#: A table of up to this many decoded bytes may have an encoded form of any size.
_SMALL_BYTES = 1 << 30
#: A larger table may be at most this many times as large as its encoded form. Repeated texts and zstd reach some hundred.
_MOST_TIMES = 1_000
_TEXT_OBJECT_BYTES = 49
_POINTER_BYTES = 8


def row_bytes(column: Any) -> NDArray[np.int64]:
    """Return how many bytes each row takes once it is decoded.

    Args:
        column: An Array or ChunkedArray of n rows.

    Returns:
        Shape (n,), int64. Texts count as Python objects, numbers as in NumPy's arrays.
    """
    if hasattr(column, "chunks"):
        parts = [row_bytes(chunk) for chunk in column.chunks]
        return np.concatenate(parts) if parts else np.zeros(0, np.int64)
    import pyarrow as pa
    import pyarrow.compute as pc

    from chroma_nb.wire.arrow_columns import to_numbers

    kind, types = column.type, pa.types
    if isinstance(kind, pa.BaseExtensionType):
        return row_bytes(column.storage)
    found = _distinct(column)
    if found is not None:
        values, rows = found
        sizes = np.append(row_bytes(values), 0)  # row -1 is null
        out: NDArray[np.int64] = sizes[rows]
    elif _is_text(types, kind):
        out = _TEXT_OBJECT_BYTES + _to_int64(pc.binary_length(column))
    elif _is_view(types, kind):
        # A view begins with its length.
        views = np.frombuffer(column.buffers()[1], np.int32)
        length = views[4 * column.offset :: 4][: len(column)].astype(np.int64)
        out = _TEXT_OBJECT_BYTES + length
    elif types.is_list(kind) or types.is_large_list(kind) or types.is_map(kind):
        offsets = to_numbers(column.offsets)
        inner = column.values if not types.is_map(kind) else None
        if inner is not None and (width := _width(inner.type)):
            # This needs no array with a size for each number.
            lengths: NDArray[np.int64] = offsets[1:].astype(np.int64) - offsets[:-1]
            out = lengths * width + _POINTER_BYTES
        else:
            if inner is None:
                ends = _sums(row_bytes(column.keys)) + _sums(row_bytes(column.items))
            else:
                ends = _sums(row_bytes(inner))
            out = np.diff(ends[offsets]) + _POINTER_BYTES
    elif types.is_fixed_size_list(kind):
        width = kind.list_size
        if each := _width(kind.value_type):
            return np.full(len(column), width * each + _POINTER_BYTES, np.int64)
        inner = column.values.slice(column.offset * width, len(column) * width)
        out = (
            row_bytes(inner).reshape(len(column), width).sum(axis=1, dtype=np.int64)
            + _POINTER_BYTES
        )
    elif types.is_struct(kind):
        fields = [row_bytes(column.field(at)) for at in range(kind.num_fields)]
        out = np.sum([np.zeros(len(column), np.int64), *fields], axis=0, dtype=np.int64)
    elif hasattr(types, "is_list_view") and (
        types.is_list_view(kind) or types.is_large_list_view(kind)
    ):
        sizes = row_bytes(column.values)
        largest = int(sizes.max()) if len(sizes) else 0
        out = _POINTER_BYTES + _to_int64(pc.list_value_length(column)) * largest
    else:
        width = _width(kind) or max(1, column.nbytes // max(1, len(column)))
        out = np.full(len(column), width, np.int64)
    return out


def _width(kind: Any) -> int:
    """Return the bytes of a number of this type, 0 for a type that is not of numbers or has no fixed width."""
    import pyarrow as pa

    types = pa.types
    if not (types.is_primitive(kind) or types.is_boolean(kind)):
        return 0
    return max(1, int(kind.bit_width) // 8)


def _sums(sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the running sums of sizes, shape (n,), with a leading 0: shape (n + 1,), int64."""
    return np.concatenate(([0], np.cumsum(sizes)))


def _to_int64(numbers: Any, null: int = 0) -> NDArray[np.int64]:
    """Return whole numbers of n rows, an Array, as NumPy's: shape (n,), int64.

    By their buffers alone: `fill_null` and `pyarrow.array` import pandas, which takes 46 MB.

    Args:
        numbers: The Array.
        null: What stands for null.
    """
    import pyarrow as pa

    from chroma_nb.wire.arrow_columns import is_given, to_numbers

    numbers = numbers.cast(pa.int64())
    out: NDArray[np.int64] = to_numbers(numbers).copy()
    out[~is_given(numbers)] = null
    return out


def _is_text(types: Any, kind: Any) -> bool:
    return bool(
        types.is_string(kind)
        or types.is_large_string(kind)
        or types.is_binary(kind)
        or types.is_large_binary(kind)
    )


def _is_view(types: Any, kind: Any) -> bool:
    # pyarrow has views since 16.
    return hasattr(types, "is_string_view") and bool(
        types.is_string_view(kind) or types.is_binary_view(kind)
    )


def _distinct(column: Any) -> tuple[Any, NDArray[np.int64]] | None:
    """Return the values that a dictionary or runs hold once, and which of them each row has.

    Returns:
        The values as an Array, and their index for each row, shape (n,), int64, -1 for null. None for a column
        that is neither.
    """
    import pyarrow as pa

    from chroma_nb.wire.arrow_columns import from_numbers, to_numbers

    kind, types = column.type, pa.types
    if types.is_dictionary(kind):
        rows = _to_int64(column.indices, null=-1)
        used, rows = np.unique(rows, return_inverse=True)
        is_null = bool(len(used)) and used[0] < 0
        values = column.dictionary.take(from_numbers(used[1:] if is_null else used))
        return values, rows.reshape(-1).astype(np.int64) - is_null
    if hasattr(types, "is_run_end_encoded") and types.is_run_end_encoded(kind):
        ends = to_numbers(column.run_ends).astype(np.int64) - column.offset
        counts = np.diff(np.clip(ends, 0, len(column)), prepend=0)
        return column.values, np.repeat(np.arange(len(counts)), counts)
    return None


def with_used_values(column: Any) -> Any:
    """Return an Array with a dictionary of the values that it has, where it has few of them; others as they are.

    Each batch that pyarrow reads has a copy of all values that the row group had so far.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    if not pa.types.is_dictionary(column.type):
        return column
    used = pc.unique(column.indices).drop_null()
    if 2 * len(used) > len(column.dictionary):
        return column
    places = pc.index_in(column.indices, value_set=used).cast(column.type.index_type)
    return pa.DictionaryArray.from_arrays(places, column.dictionary.take(used))


def cells(column: Any) -> list[Any]:
    """Return an Array or ChunkedArray as a list; rows of one dictionary value or run share one object.

    Raises:
        MemoryBudgetError: There is no room for the list.
        OverflowError, ValueError: It has dates that Python cannot hold.
    """
    if hasattr(column, "chunks"):
        return [cell for chunk in column.chunks for cell in cells(chunk)]
    found = _distinct(column)
    if found is not None:
        values, rows = found
        once = [*cells(values), None]
        return [once[row] for row in rows.tolist()]
    require(
        int(row_bytes(column).sum()),
        f"Reading {len(column):,} cells of type {column.type}",
        "add the table in parts: table.slice(start, length)",
    )
    out: list[Any] = column.to_pylist()
    return out


def piece_bytes() -> int:
    """Return how many bytes may be decoded at once: what there is room for, up to a useful maximum."""
    with piece_room() as room:
        return room.n_bytes // COPIES


def piece_room() -> Grant:
    """Return the memory for a piece: `COPIES` of the bytes that it may decode to."""
    return WORKSPACE.take(COPIES * _PIECE_BYTES)


class Expansion:
    """Watches how much larger the rows of a table are than what they are stored in.

    Args:
        what: The table's name for messages: "The file 'x.parquet'".
        n_bytes: Bytes that hold it.
    """

    def __init__(self, what: str, n_bytes: int) -> None:
        self._what = what
        self._n_bytes = n_bytes
        self._decoded = 0
        self._rows = 0

    def rows_within(self, start: int, sizes: NDArray[np.int64], most_bytes: int) -> tuple[int, int]:
        """Return how many rows may be read at once, one at least, and what they decode to in bytes.

        Args:
            start: The first row.
            sizes: Decoded bytes of the rows from `start` on that are wanted, shape (n,), int64, n at least 1.
            most_bytes: What they may decode to.

        Raises:
            InvalidArgumentError: The rows so far are too large for what they are stored in.
            MemoryBudgetError: There is no room for them.
        """
        ends = np.cumsum(sizes)
        n_rows = max(1, int(np.searchsorted(ends, most_bytes, side="right")))
        n_bytes = int(ends[n_rows - 1])
        stop = start + n_rows
        self.count(stop, n_bytes)
        require(
            n_bytes,
            f"{self._what}: rows {start:,} to {stop - 1:,}",
            "read it where there is more memory",
            "leave out its largest records",
        )
        return n_rows, n_bytes

    def require_all(self) -> None:
        """Require room for everything that was counted.

        Raises:
            MemoryBudgetError: There is no room.
        """
        require(
            self._decoded,
            f"{self._what}: rows 0 to {self._rows - 1:,}",
            "read it where there is more memory",
        )

    def count(self, stop: int, n_bytes: int) -> None:
        """Count rows up to `stop`, unless they were counted before.

        Raises:
            InvalidArgumentError: The rows so far are too large for what they are stored in.
        """
        if stop <= self._rows:
            return
        self._rows = stop
        self._decoded += n_bytes
        if self._decoded > max(_SMALL_BYTES, _MOST_TIMES * self._n_bytes):
            raise InvalidArgumentError(
                f"{self._what} has {format_bytes(self._n_bytes)}, and its rows 0 to {stop - 1:,} would take "
                f"{format_bytes(self._decoded)}; the limit is {_MOST_TIMES:,} times as much, or "
                f"{format_bytes(_SMALL_BYTES)}. If you trust it, add its rows in parts: "
                "collection.add(ids=..., documents=...). Nothing was added."
            )
