"""Columns of texts and numbers to Arrow and back, through their buffers.

pyarrow's own ways, `pyarrow.array` and `numpy.asarray` of an Arrow array, import pandas where it is installed: a long import,
and tens of megabytes, for a process that needs nothing of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from chroma_nb.errors import InvalidArgumentError
from chroma_nb.texts import Texts

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

#: Offsets of a column of strings are int32.
_MOST_TEXT_BYTES = np.iinfo(np.int32).max


def from_texts(texts: Iterable[str | None]) -> pa.Array:
    """Return texts as a column of strings.

    Raises:
        InvalidArgumentError: They have more than 2 GiB together.
    """
    column = Texts.of(texts)
    start, n_bytes = int(column.offsets[0]), column.n_bytes
    if n_bytes > _MOST_TEXT_BYTES:
        raise too_much_text()
    offsets = pa.py_buffer((column.offsets - start).astype(np.int32))
    data = pa.py_buffer(column.data[start : start + n_bytes])
    valid = None if column.given is None else _to_bits(column.given)
    return pa.StringArray.from_buffers(len(column), offsets, data, valid)


def to_texts(column: pa.Array) -> Texts:
    """Return a column of strings without a copy of them.

    Args:
        column: Strings, large strings or nulls, checked with `pyarrow.Array.validate(full=True)`.
    """
    n = len(column)
    if pa.types.is_null(column.type):
        return Texts.missing(n)
    _, offsets, data = column.buffers()
    letter = "<i8" if pa.types.is_large_string(column.type) else "<i4"
    # A column of no rows may have no offsets.
    ends = np.frombuffer(offsets or b"", letter)[column.offset : column.offset + n + 1]
    if not len(ends):
        ends = np.zeros(1, dtype=np.int64)
    if not column.null_count:
        return Texts(data or b"", ends)
    given = is_given(column)
    firsts, lasts = ends[:-1], ends[1:]
    if (lasts == firsts)[~given].all():
        return Texts(data or b"", ends, given)
    # Whatever stands behind one that is missing is nobody's, and need not even be UTF-8.
    return Texts.cut(memoryview(data), firsts, np.where(given, lasts, firsts), given)


def too_much_text() -> InvalidArgumentError:
    """Return the error of texts that do not fit into a column."""
    return InvalidArgumentError("More than 2 GiB of texts in one column: send them in parts")


def from_numbers(numbers: NDArray[Any]) -> pa.Array:
    """Return numbers as a column, without a copy.

    Args:
        numbers: Shape (n,), C-contiguous, float32, int32 or int64.
    """
    kind = pa.from_numpy_dtype(numbers.dtype)
    return pa.Array.from_buffers(kind, len(numbers), [None, pa.py_buffer(numbers)])


def from_vectors(vectors: NDArray[np.float32], given: NDArray[np.bool_] | None = None) -> pa.Array:
    """Return embeddings as a column of lists of one length, without a copy.

    Args:
        vectors: Shape (n, dimension), float32.
        given: Shape (n,), bool: the others are null; None is all.
    """
    flat = from_numbers(np.ascontiguousarray(vectors, dtype="<f4").reshape(-1))
    kind = pa.list_(pa.float32(), vectors.shape[1])
    valid = None if given is None or given.all() else _to_bits(given)
    return pa.FixedSizeListArray.from_buffers(kind, len(vectors), [valid], children=[flat])


def to_numbers(column: pa.Array) -> NDArray[Any]:
    """Return numbers, shape (n,), without a copy.

    Args:
        column: Integers or floats; what stands for a missing one is any number.
    """
    kind = column.type
    letter = "f" if pa.types.is_floating(kind) else "i" if pa.types.is_signed_integer(kind) else "u"
    found = np.frombuffer(column.buffers()[1] or b"", np.dtype(f"<{letter}{kind.bit_width // 8}"))
    return found[column.offset : column.offset + len(column)]


def is_given(column: pa.Array) -> NDArray[np.bool_]:
    """Say which values of a column are there: shape (n,), bool."""
    bits = column.buffers()[0]
    if bits is None:
        return np.full(len(column), not pa.types.is_null(column.type))
    found = np.unpackbits(np.frombuffer(bits, np.uint8), bitorder="little")
    return found[column.offset : column.offset + len(column)].astype(bool)


def _to_bits(given: NDArray[np.bool_]) -> Any:
    return pa.py_buffer(np.packbits(given, bitorder="little").tobytes())
