"""`Hnswlib`: the fastest engine measured; full float32 vectors inside the graph."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, ClassVar

import hnswlib
import numpy as np

from chroma_nb.index.base import GraphParameters, VectorIndex, check_whole
from chroma_nb.types import Neighbors

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: hnswlib's `label_op_locks_`.
_LOCK_BYTES = 65_536 * 40


class Hnswlib(VectorIndex):
    """HNSW of hnswlib (or of chroma-hnswlib, the same module)."""

    engine: ClassVar[str] = "hnswlib"

    def __init__(self, index: Any, parameters: GraphParameters) -> None:
        self._index = index
        self.parameters = parameters
        self._n_discarded = 0
        self._index.set_ef(parameters.ef_search)

    @classmethod
    def create(cls, parameters: GraphParameters, capacity: int) -> Hnswlib:
        index = hnswlib.Index(space=parameters.space, dim=parameters.dimension)
        index.init_index(
            max_elements=max(capacity, 1),
            M=parameters.m,
            ef_construction=parameters.ef_construction,
        )
        return cls(index, parameters)

    @classmethod
    def open(
        cls, path: str, parameters: GraphParameters, capacity: int, state: dict[str, Any]
    ) -> Hnswlib:
        index = hnswlib.Index(space=parameters.space, dim=parameters.dimension)
        index.load_index(path, max_elements=capacity)
        return cls(index, parameters)

    def growth(self, n: int) -> int:
        more = super().growth(n)
        if self._index.get_current_count() + n > self._index.get_max_elements():
            # Everything is copied into a larger piece of memory.
            more += self.resident_bytes
        return more

    def add(self, labels: NDArray[np.int64], vectors: NDArray[np.float32], threads: int) -> None:
        if not len(labels):
            return  # all of them are dead; hnswlib wants at least one
        index = self._index
        needed = index.get_current_count() + len(labels)
        if needed > index.get_max_elements():
            index.resize_index(needed + needed // 4)
        index.add_items(vectors, labels, num_threads=threads or -1)

    def discard(self, labels: NDArray[np.int64]) -> None:
        for label in labels.tolist():
            # RuntimeError: not in the graph (still in the tail), or discarded before.
            with contextlib.suppress(RuntimeError):
                self._index.mark_deleted(label)
                self._n_discarded += 1

    def search(self, queries: NDArray[np.float32], k: int, threads: int) -> Neighbors:
        k = min(k, len(self))
        while k:
            try:
                # hnswlib starts no threads for one query; it looks at max(ef_search, k) candidates.
                found = self._index.knn_query(queries, k=k, num_threads=threads or -1)
            except RuntimeError:
                # Fewer than k can be reached from the entry point (many discarded neighbours).
                k //= 2
                continue
            return Neighbors(found[0].astype(np.int64), found[1])
        shape = (len(queries), 0)
        return Neighbors(np.empty(shape, dtype=np.int64), np.empty(shape, dtype=np.float32))

    def set_ef_search(self, ef_search: int) -> None:
        self._index.set_ef(ef_search)

    def __len__(self) -> int:
        return int(self._index.get_current_count()) - self._n_discarded

    @classmethod
    def bytes_for(cls, parameters: GraphParameters, n: int) -> int:
        # Level 0: a count and 2*M links of 4 bytes, the vector, a label of 8. Beside it a lock, a
        # level, a pointer, an entry in the table of labels, the links of the upper levels, the list of
        # visited nodes: 110 bytes (growth of RSS less level 0, 5,000 to 50,000 vectors, two widths).
        # And 65,536 locks of 40 bytes, however many vectors there are.
        return n * (4 * parameters.dimension + 8 * parameters.m + 12 + 110) + _LOCK_BYTES

    @property
    def n_held(self) -> int:
        return int(self._index.get_current_count())

    def save(self, path: str) -> None:
        self._index.save_index(path)
        check_whole(path, self._index.index_file_size())
