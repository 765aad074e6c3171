"""`row_pieces`: rows in pieces of a bounded number of bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray


def row_pieces(row_bytes: NDArray[np.int64], n_rows: int, n_bytes: int) -> Iterator[slice]:
    """Yield slices that cover all rows in order.

    Args:
        row_bytes: Bytes of each row, int64, shape (n,).
        n_rows: The most rows of a slice.
        n_bytes: The most bytes of a slice; a single row may have more.
    """
    ends = np.cumsum(row_bytes)
    start, before = 0, 0
    while start < len(ends):
        stop = int(np.searchsorted(ends, before + n_bytes, side="right"))
        stop = min(max(stop, start + 1), start + n_rows)
        yield slice(start, stop)
        start, before = stop, int(ends[stop - 1])
