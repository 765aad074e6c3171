"""`DatabaseSearch`: search by a DB that compares vectors itself. Only vectors whose distance is left open are read here."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from chroma_nb.index import exact
from chroma_nb.memory.workspace import WORKSPACE
from chroma_nb.types import Neighbors

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from chroma_nb.db.ranking import Ranked, VectorRanking
    from chroma_nb.db.vector_source import VectorSource
    from chroma_nb.filters.expression import Expression
    from chroma_nb.types import CollectionInfo

#: Candidates beyond the wanted results: at least so many, and one for each so many results. That is enough unless very many
#: distances are nearly equal.
_EXTRA, _RESULTS_PER_EXTRA = 8, 8
#: Where it was not enough, so many times as many candidates are asked for.
_WIDER = 16
#: Records that a graph is asked for beyond those that it has to find, at least.
_EXTRA_OF_GRAPH = 16
#: Bytes of a candidate: in the DB's answer and in arrays, its distance, its place in the order.
_CANDIDATE_BYTES = 2 * 24 + 4 + 16
_LESS = ("ask for fewer results: n_results=10",)


class DatabaseSearch:
    """Searches one collection.

    Args:
        ranking: The DB's.
        info: The collection.
        n_live: Its records.
        source: Opens its vectors.
    """

    def __init__(
        self,
        ranking: VectorRanking,
        info: CollectionInfo,
        n_live: int,
        source: Callable[[], VectorSource],
    ) -> None:
        self._ranking = ranking
        self._info = info
        self._n_live = n_live
        self._source = source

    def search(
        self,
        queries: NDArray[np.float32],
        k: int,
        expression: Expression | None,
        ids: Sequence[str] | None,
        fetch: int = 0,
    ) -> Neighbors:
        """Find the k nearest matching records of each query, one query after the other.

        Args:
            queries: Shape (n_queries, dimension), float32, C-contiguous.
            k: Neighbours wanted, from 1 to the number of records.
            expression: The filter; None matches all.
            ids: Only these records; None is all.
            fetch: Records that the DB's graph is asked for; 0: all are compared.

        Returns:
            Labels and distances, (n_queries, min(k, matches)), nearest first.

        Raises:
            MemoryBudgetError: The candidates do not fit into memory.
        """
        labels = np.empty((len(queries), k), dtype=np.int64)
        distances = np.empty((len(queries), k), dtype=np.float32)
        width = k
        for row, query in enumerate(queries):
            found = self._by_graph(query, width, expression, ids, fetch) if fetch else None
            if found is None or len(found[0]) < width:
                found = self._nearest(query, width, expression, ids)
            # The same records match for all queries, so all have as many results.
            width = len(found[0])
            labels[row, :width], distances[row, :width] = found
            if not width:
                break
        return Neighbors(labels[:, :width], distances[:, :width])

    def _nearest(
        self,
        query: NDArray[np.float32],
        k: int,
        expression: Expression | None,
        ids: Sequence[str] | None,
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        space, collection_id = self._info.space, self._info.id
        n = k + max(_EXTRA, k // _RESULTS_PER_EXTRA)
        while True:
            n = min(n, self._n_live)
            what = f"Comparing {n:,} records of collection [{self._info.name}]"
            with WORKSPACE.take_all(n * _CANDIDATE_BYTES, what, *_LESS):
                ranked = self._ranking.rank(collection_id, query, n, space, expression, ids=ids)
                is_all = len(ranked.labels) < n or n == self._n_live
                distances, best = self._best(query, ranked, k)
                if is_all or _are_nearest(ranked, distances, best):
                    return ranked.labels[best], distances[best]
            n *= _WIDER

    def _by_graph(
        self,
        query: NDArray[np.float32],
        k: int,
        expression: Expression | None,
        ids: Sequence[str] | None,
        fetch: int,
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return the k nearest of the matches that a graph finds and of those that it does not cover."""
        # A few more, as a graph compares rounded vectors.
        fetch += max(_EXTRA_OF_GRAPH, fetch // _RESULTS_PER_EXTRA)
        n = max(k, fetch)
        what = f"Comparing {n:,} records of collection [{self._info.name}]"
        with WORKSPACE.take_all(n * _CANDIDATE_BYTES, what, *_LESS):
            ranked = self._ranking.rank(
                self._info.id, query, k, self._info.space, expression, ids=ids, fetch=fetch
            )
            distances, best = self._best(query, ranked, k)
            return ranked.labels[best], distances[best]

    def _best(
        self, query: NDArray[np.float32], ranked: Ranked, k: int
    ) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
        """Return the distances of ranked records, and which are the k nearest, in their order."""
        distances = ranked.upper.copy()
        is_open = ranked.bounds != ranked.upper
        if is_open.any():
            distances[is_open] = exact.distances_of(
                self._info.space,
                query,
                lambda labels: self._source().read(labels),
                ranked.labels[is_open],
            )
        return distances, np.lexsort((ranked.sequences, distances))[:k]


def _are_nearest(ranked: Ranked, distances: NDArray[np.float32], best: NDArray[np.intp]) -> bool:
    """Say whether no record that was not ranked can come before one of the best.

    Such a record has a bound of the last one's or more, and of the same bound a later place in storage order.

    Args:
        ranked: The records that were ranked, at least one.
        distances: Their distances, float32, shape (n,).
        best: Rows of the nearest, in their order: intp, shape (k,).
    """
    farthest, last = distances[best[-1]], ranked.bounds[-1]
    if last != farthest:
        return bool(last > farthest)
    ties = best[distances[best] == farthest]
    return bool(ranked.sequences[ties].max() <= ranked.sequences[-1])
