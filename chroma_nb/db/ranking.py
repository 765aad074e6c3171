"""`VectorRanking`: an optional part of a `DB` that compares vectors in the database.

A collection that does not fit into memory is searched by reading its vectors (`DB.vectors`). Where the DB is on another
machine, all of them would be transferred. A DB with a `VectorRanking` returns a few candidates instead, with bounds of their
distances. Where the bounds differ, the distance is computed from the vector here, so that distances and the order of ties
are those of any other search.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from uuid import UUID

    import numpy as np
    from numpy.typing import NDArray

    from chroma_nb.filters.expression import Expression
    from chroma_nb.types import Space


class Ranked(NamedTuple):
    """Records by their lower bounds, the smallest first; equal ones in storage order. All arrays have the shape (n,)."""

    #: int64.
    labels: NDArray[np.int64]
    #: int64: their numbers in storage order.
    sequences: NDArray[np.int64]
    #: float32: lower bounds of the distances, as `index.exact.distances` computes and rounds them.
    bounds: NDArray[np.float32]
    #: float32: upper bounds. Where both are equal, this is the distance, and the vector is not read.
    upper: NDArray[np.float32]


class VectorRanking(ABC):
    """Ranks a collection's records by their vectors, in the database. It reads the view of the DB, as all reads do."""

    #: The name of the database in `explain()`.
    name: ClassVar[str]
    #: Whether the database can hold graphs, in memory that is not this process's.
    has_graphs: bool = False

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
        fetch: int = 0,
    ) -> Ranked:
        """Return the first min(n, matches) of the matching records, ranked by bounds of their distances.

        Bounds should be as near to the distances as float64 allows: the nearer, the fewer vectors are read.

        Args:
            collection_id: The collection, which has a dimension.
            query: Shape (dimension,), float32.
            n: At least 1.
            space: The distance.
            expression: The filter; None matches all.
            ids: Only these records; None is all.
            fetch: Rank only so many records that the graph finds nearest, and those that it does not cover. Some of the
                nearest may be missing, and there may be fewer than n. 0: all records.

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
        roughly: bool = False,
    ) -> int:
        """Return how many records match.

        Args:
            collection_id: As for `rank`, and so are `expression` and `ids`.
            expression: The filter.
            ids: Only these records.
            roughly: An estimate is enough, where that is much cheaper.
        """

    def n_covered(self, collection_id: UUID) -> int:
        """Return below which label the collection's graph has all records; 0: there is no graph. Cheap."""
        return 0

    def build(
        self, collection_id: UUID, space: Space, on_labels: Callable[[int], object] = lambda _: None
    ) -> bool:
        """Make the collection's graph, or bring it up to date; say whether there is one.

        Readers and writers go on meanwhile.

        Args:
            collection_id: The collection, which has a dimension.
            space: The distance.
            on_labels: Called with the number of labels that it covers more.
        """
        return False
