"""Columns of texts and numbers to Arrow and back, through their buffers.

pyarrow's own ways, `pyarrow.array` and `numpy.asarray` of an Arrow array, import pandas where it is installed: a long import,
and tens of megabytes, for a process that needs nothing of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from chroma_nb.errors import InvalidArgumentError

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
    data = bytearray()
    ends = [0]
    given = []
    for text in texts:
        if text is not None:
            data += text.encode()
        ends.append(len(data))
        given.append(text is not None)
    if len(data) > _MOST_TEXT_BYTES:
        raise too_much_text()
    offsets = pa.py_buffer(np.array(ends, np.int32))
    valid = None if all(given) else _to_bits(np.array(given, dtype=bool))
    return pa.StringArray.from_buffers(len(given), offsets, pa.py_buffer(data), valid)


def too_much_text() -> InvalidArgumentError:
    """Return the error of texts that do not fit into a column."""
    return InvalidArgumentError("More than 2 GiB of texts in one column: send them in parts")


def from_numbers(numbers: NDArray[Any]) -> pa.Array:
    """Return numbers as a column, without a copy.

    Args:
        numbers: Shape (n,), C-contiguous, float32 or int32.
    """
    kind = pa.float32() if numbers.dtype == np.float32 else pa.int32()
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
