"""The filtered query that a user of a bare graph library writes by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.engines.base import TOP_K, UnsupportedError

if TYPE_CHECKING:
    from benchmarks.data import Vectors


class ExactSubset:
    """NumPy over the rows that match, taken out of the caller's own array for each query."""

    def __init__(self) -> None:
        self._vectors: Any = None
        self._shards: Any = None

    def use(self, vectors: Vectors, shards: Any) -> None:
        """Keep the data (the caller's, not a copy)."""
        self._vectors, self._shards = vectors, shards

    def query(self, vector: Vectors, shard: int) -> list[int]:
        """Return the nearest rows whose shard is `shard`."""
        if self._vectors is None:
            raise UnsupportedError("no data")
        rows = np.flatnonzero(self._shards == shard)
        near = self._vectors[rows] @ vector
        best = np.argpartition(-near, TOP_K)[:TOP_K]
        found: list[int] = rows[best[np.argsort(-near[best])]].tolist()
        return found
