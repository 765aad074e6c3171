"""`VectorRanking`: what a `DB` may have beside its interface: it compares vectors itself.

A collection that does not fit into memory is searched by reading its vectors (`DB.vectors`). Where the DB is elsewhere,
that brings all of them here. A DB with a `VectorRanking` returns a few candidates instead, which are compared once more
here, so that distances and the order of ties are those of any other search.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    import numpy as np
    from numpy.typing import NDArray

    from chroma_nb.filters.expression import Expression
    from chroma_nb.types import Space


class Ranked(NamedTuple):
    """Records by their `bounds`, the smallest first; equal ones in storage order. All arrays have the shape (n,)."""

    #: int64.
    labels: NDArray[np.int64]
    #: int64: their numbers in storage order.
    sequences: NDArray[np.int64]
    #: float32: the distance is this or more, as `index.exact.distances` computes and rounds it.
    bounds: NDArray[np.float32]


class VectorRanking(ABC):
    """Ranks a collection's records by their vectors, in the database. It answers from the view, as all reads do."""

    #: What the database is called, as `explain()` has it.
    name: ClassVar[str]

    @abstractmethod
    def rank(
        self,
        collection_id: UUID,
        query: NDArray[np.float32],
        n: int,
        space: Space,
        expression: Expression | None = None,
        *,
        ids: Sequence[str] | None = None,
    ) -> Ranked:
        """Return the first min(n, matches) of the matching records, ranked by bounds of their distances.

        Bounds should be as near to the distances as float64 allows: the nearer, the fewer records are looked at twice.

        Args:
            collection_id: The collection, which has a dimension.
            query: Shape (dimension,), float32.
            n: At least 1.
            space: The distance.
            expression: The filter; None matches all.
            ids: Only these records; None is all.

        Raises:
            InvalidArgumentError: The filter cannot be evaluated, such as a wrong regular expression.
        """

    @abstractmethod
    def count(
        self,
        collection_id: UUID,
        expression: Expression | None = None,
        *,
        ids: Sequence[str] | None = None,
    ) -> int:
        """Return how many records match; the arguments are those of `rank`."""
