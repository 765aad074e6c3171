"""usearch alone, in bfloat16: the graph that has a wheel for every platform."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.engines.base import EF_CONSTRUCTION, EF_SEARCH, GRAPH_M, TOP_K, Engine, Payload
from benchmarks.engines.exact import ExactSubset

if TYPE_CHECKING:
    from benchmarks.data import Vectors


class Usearch(Engine):
    """The floor for a store built on usearch."""

    label = "raw usearch bf16"
    module = "usearch.index"
    distributions = ("usearch",)
    batch = 0
    builds_in_add = True
    is_store = False

    @classmethod
    def missing(cls) -> list[str]:
        from importlib.util import find_spec

        return [] if find_spec("usearch") else ["usearch"]

    def open(self, capacity: int) -> None:
        from usearch.index import Index

        self._index: Any = Index(
            ndim=self.dimensions,
            metric="cos",
            dtype="bf16",
            connectivity=GRAPH_M,
            expansion_add=EF_CONSTRUCTION,
            expansion_search=EF_SEARCH,
        )
        self._subset = ExactSubset()

    def add(self, payload: Payload) -> None:
        numbers = np.arange(payload.first, payload.first + len(payload.ids), dtype=np.uint64)
        self._index.add(numbers, payload.vectors, threads=self.threads)

    def query(self, vector: Vectors) -> Any:
        return self._index.search(vector, TOP_K, threads=1)

    def ids(self, answer: Any) -> list[int]:
        return [int(key) for key in getattr(answer, "keys", answer)]

    def lend(self, vectors: Vectors, shards: Any) -> None:
        self._subset.use(vectors, shards)

    def query_shard(self, vector: Vectors, shard: int) -> Any:
        return self._subset.query(vector, shard)

    def query_many(self, vectors: Vectors) -> Any:
        return self._index.search(vectors, TOP_K, threads=self.threads)

    def ids_many(self, answer: Any) -> list[list[int]]:
        found: list[list[int]] = answer.keys.astype(int).tolist()
        return found
