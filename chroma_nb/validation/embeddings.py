"""Embeddings: lists, arrays, tensors and columns of numbers become one array of float32."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from chroma_nb.errors import InvalidArgumentError, with_way_out
from chroma_nb.validation.lists import as_list
from chroma_nb.words import brief

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: What Chroma accepts as an embedding's numbers.
_DTYPES = frozenset(np.dtype(kind) for kind in ("f2", "f4", "f8", "i4", "i8"))
_NOT_FINITE = "Validation error: embeddings: Embeddings must not contain NaN or Infinity values"


def check_embeddings(embeddings: Any) -> NDArray[np.float32]:
    """Return one or several embeddings as one array.

    Args:
        embeddings: Shape (n, dimension), or (dimension,) for one embedding: an array or a tensor of float16,
            float32, float64, int32 or int64, or lists of numbers or of arrays.

    Returns:
        Shape (n, dimension), float32, C-contiguous.

    Raises:
        ValueError: Not numbers, or no embedding.
        InvalidArgumentError: Rows of different lengths, NaN, infinite values, or values too large for float32.
    """
    if isinstance(embeddings, np.ma.MaskedArray) and np.ma.is_masked(embeddings):
        raise InvalidArgumentError(
            "The embeddings are a masked array with masked values, which are no numbers. Fill them first, or leave "
            "those rows out."
        )
    array = _as_array(embeddings)
    if array.ndim == 1:
        array = array.reshape(1, -1)
    if array.ndim != 2 or array.dtype not in _DTYPES:
        raise _not_embeddings(embeddings)
    if array.shape[1] == 0:
        raise InvalidArgumentError(
            "Validation error: embeddings: Each embedding must have at least 1 dimension. Expected numbers"
        )
    if array.dtype != np.float32:
        with np.errstate(over="ignore"):
            array = array.astype(np.float32)
    array = np.ascontiguousarray(array)
    if not _is_finite(array):
        row = int(np.flatnonzero(~np.isfinite(array).all(axis=1))[0])
        where = f", as the one in row {row:,} does" if len(array) > 1 else ""
        raise InvalidArgumentError(f"{_NOT_FINITE}{where}")
    return array


def _is_finite(array: NDArray[np.float32]) -> bool:
    """Say whether all values of an array of any shape are finite."""
    # A finite sum proves that all values are finite, and needs no second array as large as the first.
    if array.size > 65_536 and math.isfinite(array.sum(dtype=np.float64)):
        return True
    return bool(np.isfinite(array).all())


def without_tensors(embeddings: Any) -> Any:
    """Return tensors, columns and tables of numbers as arrays, and other sequences as lists.

    Shape and dtype stay as they are, but for bfloat16, which becomes float32.
    """
    if isinstance(embeddings, np.ndarray | str | bytes | Mapping) or embeddings is None:
        return embeddings
    if hasattr(embeddings, "detach"):
        # NumPy cannot read a tensor of PyTorch that has gradients or is on a GPU, and has no bfloat16.
        tensor = embeddings.detach().cpu()
        return np.asarray(tensor if str(tensor.dtype) != "torch.bfloat16" else tensor.float())
    if hasattr(embeddings, "__array__") and not isinstance(embeddings, np.generic):
        array = np.asarray(embeddings)
        return without_tensors(array.tolist()) if array.dtype == object else array
    if isinstance(embeddings, Iterable):
        rows = embeddings if isinstance(embeddings, list) else as_list(embeddings)
        if not isinstance(rows, list) or not rows:
            return rows
        if hasattr(rows[0], "__array__") and not isinstance(rows[0], np.ndarray | np.generic):
            return [without_tensors(row) for row in rows]
        if np.ndarray in (kinds := set(map(type, rows))) and len(kinds) > 1:
            # Lists mixed with arrays.
            return [np.asarray(row) if isinstance(row, list | tuple) else row for row in rows]
        return rows
    return embeddings


def _as_array(embeddings: Any) -> NDArray[Any]:
    """Return embeddings as an array of shape (n, dimension) or (dimension,), of one of `_DTYPES`."""
    embeddings = without_tensors(embeddings)
    if isinstance(embeddings, np.ndarray):
        if embeddings.size == 0:
            raise _no_embeddings(embeddings)
        if embeddings.dtype not in _DTYPES and embeddings.dtype != object:
            raise ValueError(
                "Expected each value in the embedding to be a int or float, got an embedding with "
                f"{embeddings.dtype} - {brief(embeddings[0] if embeddings.ndim > 1 else embeddings)}"
            )
        if embeddings.dtype == object:
            return _as_array(embeddings.tolist())
        return embeddings
    if not isinstance(embeddings, list):
        raise _not_embeddings(embeddings)
    if not embeddings:
        raise _no_embeddings(embeddings)
    first = embeddings[0]
    if isinstance(first, np.ndarray):
        for row in embeddings:
            if not isinstance(row, np.ndarray) or row.ndim != 1:
                raise _not_embeddings(embeddings)
            if row.dtype not in _DTYPES:
                raise ValueError(
                    "Expected each value in the embedding to be a int or float, got an embedding "
                    f"with {row.dtype} - {brief(row)}"
                )
        _check_same_lengths([len(row) for row in embeddings])
        return np.stack(embeddings)
    if isinstance(first, list | tuple):
        for row in embeddings:
            if not isinstance(row, list | tuple):
                raise _not_embeddings(embeddings)
            _check_numbers(row, embeddings)
        _check_same_lengths([len(row) for row in embeddings])
    else:
        _check_numbers(embeddings, embeddings)
    with np.errstate(over="ignore"):
        try:
            if type(first) is float:
                # One embedding as a list of floats: `fromiter` is faster.
                return np.fromiter(embeddings, dtype=np.float32, count=len(embeddings))
            return np.array(embeddings, dtype=np.float32)
        except OverflowError:
            raise InvalidArgumentError(_NOT_FINITE) from None


def _check_numbers(row: Sequence[Any], embeddings: Any) -> None:
    for kind in set(map(type, row)):
        if kind is float:
            continue
        if kind is bool or not issubclass(kind, int | float | np.integer | np.floating):
            raise _not_embeddings(embeddings)


def _check_same_lengths(lengths: Sequence[int]) -> None:
    if 0 in lengths:
        raise InvalidArgumentError(
            "Validation error: embeddings: Each embedding must have at least 1 dimension. Expected numbers"
        )
    for row, length in enumerate(lengths):
        if length != lengths[0]:
            raise InvalidArgumentError(
                f"Inconsistent dimensions: embedding 0 has {lengths[0]}, embedding {row} has {length}. "
                "All embeddings of a call have the same dimension"
            )


def _not_embeddings(embeddings: Any) -> ValueError:
    error = ValueError(
        "Expected embeddings to be a list of floats or ints, a list of lists, a numpy array, or a "
        f"list of numpy arrays, got {brief(embeddings)}"
    )
    items = embeddings if isinstance(embeddings, list) else [embeddings]
    if any(isinstance(item, str) for item in items):
        return with_way_out(
            error, "Texts are given as query_texts=[...], to add() as documents=[...]."
        )
    return error


def _no_embeddings(embeddings: Any) -> ValueError:
    return ValueError(
        f"Expected Embeddings to be non-empty list or numpy array, got {brief(embeddings)}"
    )


def check_dimension(expected: int, got: int, collection_name: str) -> None:
    """Refuse embeddings of another dimension than the collection's.

    Raises:
        InvalidArgumentError: The dimensions differ.
    """
    if got != expected:
        raise InvalidArgumentError(
            f"Collection expecting embedding with dimension of {expected}, got {got}. Collection "
            f"{collection_name!r} was first written with {expected}: embed with the same model, or "
            "use another collection."
        )
