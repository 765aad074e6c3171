"""Exact answers in NumPy, and the share of them that an engine found."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.data import SHARDS, WORDS
from benchmarks.engines.base import TOP_K

if TYPE_CHECKING:
    from benchmarks.data import Dataset

#: Similarities closer than this count as the same: equal glosses tie.
TOLERANCE = 1e-6


class Truth:
    """Recall of an answer against an exact scan in float32."""

    def __init__(self, dataset: Dataset) -> None:
        self._data = dataset
        self._rows = {key: row for row, key in enumerate(dataset.ids)}
        self._shard = np.array([m["shard"] for m in dataset.metadatas])
        self._words = {
            word: np.array([word in document for document in dataset.documents]) for word in WORDS
        }
        self._worst: dict[tuple[str, int], float] = {}

    def mask(self, kind: str, number: int) -> Any:
        """Return which records query `number` may find."""
        if kind == "shard":
            return self._shard == number % SHARDS
        if kind == "contains":
            return self._words[WORDS[number % len(WORDS)]]
        return np.ones(len(self._data), dtype=bool)

    def share(self, kind: str) -> float:
        """Return the mean share of the records that queries of this kind may find."""
        return float(np.mean([self.mask(kind, number).mean() for number in range(SHARDS * 8)]))

    def recall(self, kind: str, number: int, found: list[Any]) -> float:
        """Return the recall of one answer: ids, or record numbers of an engine without ids."""
        mask = self.mask(kind, number)
        query = self._data.queries[number]
        worst = self._worst.get((kind, number))
        if worst is None:
            near = self._data.vectors[mask] @ query
            count = min(TOP_K, len(near))
            worst = float(np.partition(near, -count)[-count]) - TOLERANCE
            self._worst[kind, number] = worst
        rows = {self._rows.get(f, -1) if isinstance(f, str) else f for f in found}
        rows = {row for row in rows if row >= 0 and mask[row]}
        hits = sum(float(self._data.vectors[row] @ query) >= worst for row in rows)
        return hits / min(TOP_K, int(mask.sum()))
