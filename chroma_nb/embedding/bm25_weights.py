"""The two formulas of BM25: what a word of a text weighs, and how rare it is.

Source: S. Robertson, H. Zaragoza, The Probabilistic Relevance Framework: BM25 and Beyond, 2009, sections 3.3 and 3.4;
the default numbers and the logarithm with 1 added are Chroma's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from chroma_nb.embedding.words import WordCounts


@dataclass(frozen=True)
class Bm25:
    """The parameters of BM25; the defaults are Chroma's.

    Attributes:
        k: How soon more of the same word stops counting.
        b: How much long texts are marked down, 0 to 1.
        average: The number of words that a usual text has.
    """

    k: float = 1.2
    b: float = 0.75
    average: float = 256.0

    def weights(self, counted: WordCounts) -> NDArray[np.float64]:
        """Return the weight of each row, tf (k + 1) / (tf + k (1 - b + b L / average)): float64, shape (n,)."""
        times = counted.counts.astype("f8")
        lengths = counted.lengths.astype("f8")[counted.rows]
        # In this order of operations each digit is Chroma's.
        return (
            times
            * (self.k + 1)
            / (times + self.k * (1 - self.b + (self.b * lengths) / self.average))
        )


def rarity(n_records: int, n_with: int) -> float:
    """Return how much a word counts that `n_with` of `n_records` records have: ln(1 + (n - n_t + 0.5) / (n_t + 0.5))."""
    return math.log1p((n_records - n_with + 0.5) / (n_with + 0.5))
