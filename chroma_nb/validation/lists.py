"""One value or several, in whatever form they are given, as a list."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from chroma_nb.words import with_article


def as_list(values: Any) -> Any:
    """Return a sequence of values as a list, in its order; anything else stays as it is.

    Sequences are lists, tuples, ranges, generators, and columns: pandas' Series and Index, NumPy's arrays of
    shape (n,), Arrow's and Polars' columns. A missing value of pandas (NaN, NA, NaT) becomes None.

    Raises:
        ValueError: A set, which has no order.
    """
    if isinstance(values, list) or values is None:
        return values
    if isinstance(values, str | bytes | Mapping):
        return values
    if isinstance(values, set | frozenset):
        raise ValueError(
            f"Expected a list, got {with_article(type(values))}, which has no order: nothing says which value belongs "
            "to which record"
        )
    if isinstance(values, np.ndarray):
        return values.tolist() if values.ndim == 1 else values
    if hasattr(values, "isna") and hasattr(values, "tolist") and getattr(values, "ndim", 1) == 1:
        missing = values.isna()
        found: list[Any] = values.tolist()
        return [None if gone else value for value, gone in zip(found, missing, strict=True)]
    for method in ("to_pylist", "to_list"):
        if hasattr(values, method):
            return getattr(values, method)()
    if hasattr(values, "__array__"):
        array = np.asarray(values)
        return array.tolist() if array.ndim == 1 else values
    if isinstance(values, Iterable) and not hasattr(values, "columns"):
        return list(values)
    return values


def in_a_list(values: Any) -> Any:
    """Return one item or several as a list; None stays None."""
    return values if values is None or isinstance(values, list) else [values]
