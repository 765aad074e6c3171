"""`OwnIndex`: a `VectorIndex` of one's own. It compares a query with every vector."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from chroma_nb.index.base import GraphParameters, VectorIndex
from chroma_nb.index.exact import search
from chroma_nb.types import Neighbors

if TYPE_CHECKING:
    from numpy.typing import NDArray


class OwnIndex(VectorIndex):
    engine: ClassVar[str] = "own"

    def __init__(self, parameters: GraphParameters) -> None:
        self.parameters = parameters
        self._labels = np.empty(0, np.int64)
        self._vectors = np.empty((0, parameters.dimension), np.float32)

    @classmethod
    def create(cls, parameters: GraphParameters, capacity: int) -> OwnIndex:
        return cls(parameters)

    @classmethod
    def bytes_for(cls, parameters: GraphParameters, n: int) -> int:
        return n * (8 + 4 * parameters.dimension)

    @property
    def n_held(self) -> int:
        return len(self._labels)

    def __len__(self) -> int:
        return len(self._labels)

    def set_ef_search(self, ef_search: int) -> None:
        """It always looks at everything."""

    def add(self, labels: NDArray[np.int64], vectors: NDArray[np.float32], threads: int) -> None:
        self._labels = np.concatenate([self._labels, labels])
        self._vectors = np.concatenate([self._vectors, vectors])

    def discard(self, labels: NDArray[np.int64]) -> None:
        kept = ~np.isin(self._labels, labels)
        self._labels, self._vectors = self._labels[kept], self._vectors[kept]

    def search(self, queries: NDArray[np.float32], k: int, threads: int) -> Neighbors:
        found = search(self.parameters.space, queries, self._vectors, k)
        return Neighbors(self._labels[found.labels], found.distances)

    def save(self, path: str) -> None:
        # Not into the file itself: on a full disk the archive would be left open.
        made = io.BytesIO()
        np.savez(made, labels=self._labels, vectors=self._vectors)
        with open(path, "wb") as file:
            file.write(made.getbuffer())

    @classmethod
    def open(
        cls, path: str, parameters: GraphParameters, capacity: int, state: dict[str, float]
    ) -> OwnIndex:
        found = cls(parameters)
        with np.load(path) as saved:
            found._labels, found._vectors = saved["labels"], saved["vectors"]
        return found
