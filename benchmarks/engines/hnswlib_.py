"""hnswlib alone: the graph, without ids, documents, metadata or a disk."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.engines.base import EF_CONSTRUCTION, EF_SEARCH, GRAPH_M, TOP_K, Engine, Payload
from benchmarks.engines.exact import ExactSubset

if TYPE_CHECKING:
    from benchmarks.data import Vectors


class Hnswlib(Engine):
    """The floor: what a store built on this graph cannot be faster than."""

    label = "raw hnswlib"
    module = "hnswlib"
    distributions = ("hnswlib",)
    batch = 0
    builds_in_add = True
    is_store = False

    def open(self, capacity: int) -> None:
        import hnswlib

        self._index: Any = hnswlib.Index(space="cosine", dim=self.dimensions)
        self._index.init_index(max_elements=capacity, M=GRAPH_M, ef_construction=EF_CONSTRUCTION)
        self._index.set_ef(EF_SEARCH)
        self._subset = ExactSubset()

    def add(self, payload: Payload) -> None:
        numbers = np.arange(payload.first, payload.first + len(payload.ids))
        self._index.add_items(payload.vectors, numbers, num_threads=self.threads)

    def query(self, vector: Vectors) -> Any:
        return self._index.knn_query(vector, k=TOP_K, num_threads=1)

    def ids(self, answer: Any) -> list[int]:
        if isinstance(answer, tuple):
            answer = answer[0][0]
        return [int(label) for label in answer]

    def lend(self, vectors: Vectors, shards: Any) -> None:
        self._subset.use(vectors, shards)

    def query_shard(self, vector: Vectors, shard: int) -> Any:
        return self._subset.query(vector, shard)

    def query_many(self, vectors: Vectors) -> Any:
        return self._index.knn_query(vectors, k=TOP_K, num_threads=self.threads)

    def ids_many(self, answer: Any) -> list[list[int]]:
        found: list[list[int]] = answer[0].tolist()
        return found
