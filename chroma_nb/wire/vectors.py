"""Embeddings on the wire: base64 of little-endian float32, one text for each (Chroma's form)."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import numpy as np

from chroma_nb.errors import InvalidArgumentError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_FLOAT32 = np.dtype("<f4")


def to_base64(vectors: NDArray[np.float32]) -> list[str]:
    """Return shape (n, dimension) as n texts."""
    rows = np.ascontiguousarray(vectors, dtype=_FLOAT32)
    return [base64.b64encode(row).decode("ascii") for row in rows]


def from_base64(texts: Sequence[str]) -> NDArray[np.float32]:
    """Return n texts as an array of shape (n, dimension), float32.

    Raises:
        InvalidArgumentError: Not base64, not a whole number of floats, or of different lengths.
    """
    data = bytearray()
    length = -1
    for row, text in enumerate(texts):
        try:
            decoded = base64.b64decode(text, validate=True)
        except ValueError as error:
            raise InvalidArgumentError(f"Embedding {row} is not base64: {error}") from None
        if length < 0:
            length = len(decoded)
        if len(decoded) != length or length % 4:
            raise InvalidArgumentError(
                f"Embedding {row} has {len(decoded)} bytes. Expected base64 of little-endian float32, 4 "
                f"bytes for each dimension, as many as the first embedding has ({length})"
            )
        data += decoded
    if length == 0:
        raise InvalidArgumentError(
            "Validation error: embeddings: Each embedding must have at least 1 dimension"
        )
    return (
        np.frombuffer(data, dtype=_FLOAT32).reshape(len(texts), -1).astype(np.float32, copy=False)
    )


def from_wire(values: Sequence[Any]) -> NDArray[np.float32]:
    """Return what a server sent, base64 or lists of numbers, as an array; none are of shape (0, 0)."""
    if not values:
        return np.empty((0, 0), dtype=np.float32)
    if isinstance(values[0], str):
        return from_base64(values)
    return np.array(values, dtype=np.float32)
