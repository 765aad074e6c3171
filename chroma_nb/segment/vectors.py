"""`ExactReader` and `LoadedVectors`: search over the vectors themselves, by their codes, and through a graph.

Both kinds of index are a `VectorIndex`. What is called *graph* here is either of them, unless codes are named.
"""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING

import numpy as np

from chroma_nb.index import exact
from chroma_nb.memory.workspace import SMALL_BYTES, WORKSPACE
from chroma_nb.segment.base import VectorReader
from chroma_nb.segment.locks import RWLock
from chroma_nb.segment.planner import Plan, Strategy
from chroma_nb.segment.text_pool import grown
from chroma_nb.types import Neighbors, Space

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from chroma_nb.db.vector_source import VectorSource
    from chroma_nb.index.base import VectorIndex


class StoredRows:
    """The first rows of a collection's vectors, read from the DB piece by piece; see `exact.Rows`.

    Args:
        source: The vectors.
        n_rows: How many.
    """

    def __init__(self, source: VectorSource, n_rows: int) -> None:
        self._source = source
        self.shape = (n_rows, source.dimension)

    def read_range(self, start: int, stop: int, out: NDArray[np.float32]) -> NDArray[np.float32]:
        return self._source.read_range(start, stop, out)

    def take(self, labels: NDArray[np.int64]) -> NDArray[np.float32]:
        return self._source.read(labels)


class ExactReader(VectorReader):
    """Exact search over the vectors of the DB, read in bounded pieces; nothing stays in memory.

    Args:
        source: The vectors, or what opens them: the records are answered for also where the vectors are lost.
        space: The distance.
        n_labels: Labels to look at.
    """

    def __init__(
        self, source: VectorSource | Callable[[], VectorSource], space: Space, n_labels: int
    ) -> None:
        self._source = source
        self.space = space
        self.n_labels = n_labels

    @property
    def source(self) -> VectorSource:
        """The vectors."""
        if callable(self._source):
            self._source = self._source()
        return self._source

    @property
    def norms(self) -> NDArray[np.float32] | None:
        """Norms of the vectors where they are known, shape (n_labels,)."""
        return None

    def rows(
        self, start: int = 0, labels: NDArray[np.int64] | None = None
    ) -> NDArray[np.float32] | StoredRows:
        """Return the vectors of all labels, as an array or to be read.

        Args:
            start: The first label that will be looked at.
            labels: The only ones that will be looked at.
        """
        return StoredRows(self.source, self.n_labels)

    def search(
        self,
        queries: NDArray[np.float32],
        k: int,
        *,
        plan: Plan,
        mask: NDArray[np.bool_] | None,
        order: NDArray[np.int64] | None,
    ) -> Neighbors:
        labels = None if mask is None else np.flatnonzero(mask)
        return self.scan(queries, k, labels, order)

    def scan(
        self,
        queries: NDArray[np.float32],
        k: int,
        labels: NDArray[np.int64] | None,
        order: NDArray[np.int64] | None,
    ) -> Neighbors:
        """Find the k nearest of these labels (None: of all), by exact distances."""
        rows = self.rows(labels=labels)
        return exact.search(
            self.space, queries, rows, k, labels=labels, norms=self.norms, order=order
        )


#: Up to so many bytes of vectors are read rather than mapped while there is a graph: mapping would bring the whole file into
#: memory. The neighbours of several queries are read together up to this size, too.
_READ_BYTES = 6 << 20
#: Bytes that a graph's answer takes for each neighbour: label and distance by the engine, both again in order, and
#: whether it is wanted.
_FOUND_BYTES = 40
#: Norms are computed in pieces of this many bytes of vectors.
_NORM_BYTES = 8 << 20
#: A tail is looked through as a whole where the filter leaves out up to this many of its rows.
_LEFT_OUT_ROWS = 512
#: Where the candidates by codes may not have been enough, so many times more are asked for, ...
_WIDER = 4
#: ... unless these were one code in so many, or more. Then all vectors are compared: finding and reading so many takes
#: longer (30,000 vectors that are hard to tell apart: with 4, a query takes 3 to 12 times as long as with 32).
_CODES_PER_CANDIDATE = 32
#: An answer by codes is sure where the last candidate is farther than the last result by so many of the codes' errors.
_SURE_ERRORS = 3.0
#: Neighbours that a graph is asked for beyond those wanted, at least.
_FETCH_MORE = 4


class LoadedVectors(ExactReader):
    """Exact search with the norms at hand, and through a graph where there is one.

    Args:
        source: The vectors.
        space: The distance.
        may_hold: Asked before the vectors are mapped into memory; where it says no they are read.
    """

    def __init__(self, source: VectorSource, space: Space, may_hold: Callable[[int], bool]) -> None:
        super().__init__(source, space, 0)
        self._may_hold = may_hold
        self._map_lock = threading.Lock()
        self._norms = np.empty(0, dtype=np.float32)
        #: Every vector can be compared in float32, as a graph does it.
        self.suits_graph = True
        self.graph: VectorIndex | None = None
        #: Held by those who search the graph; alone by the builder while it adds to it. Whoever holds the
        #: collection's lock alone needs no other: the builder shares that one.
        self.graph_lock = RWLock()
        #: Labels below this one are in the graph (or were dead when it was built).
        self.graph_end = 0
        #: Labels below this one may be. It is past `graph_end` while the builder adds, and where that was
        #: stopped half-way.
        self.graph_claimed = 0
        #: The graph on disk is not this one.
        self.graph_changed = False

    @property
    def norms(self) -> NDArray[np.float32]:
        return self._norms[: self.n_labels]

    def parts(self) -> dict[str, int]:
        """Return the bytes of memory held, by part."""
        found = {"norms": self._norms.nbytes, "vectors": self.source.mapped_bytes}
        # Once: a report takes no lock, and the graph may be dropped at any moment.
        graph = self.graph
        if graph is not None:
            found["graph"] = graph.resident_bytes
        return found

    def growth(self, n_vectors: int) -> int:
        """Return by how much `append` may raise the bytes held, copies on the way included."""
        end = self.n_labels + n_vectors
        if end <= len(self._norms):
            return 0
        return 4 * self._capacity(end)

    def _capacity(self, n: int) -> int:
        return n if self.n_labels == 0 else n + n // 8

    def rows(
        self, start: int = 0, labels: NDArray[np.int64] | None = None
    ) -> NDArray[np.float32] | StoredRows:
        with self._map_lock:
            cost = self.source.mapping_cost(self.n_labels)
            if cost and not self._may_hold(cost):
                return super().rows()
            found = self.source.mapped(self.n_labels, start, labels)
            return super().rows() if found is None else found

    def expect(self, n_labels: int) -> None:
        """Make room for so many vectors, exactly."""
        self._norms = grown(self._norms, max(n_labels, len(self._norms)), 0)

    def restore(self, norms: bytearray) -> None:
        """Take over the norms of all vectors, shape (n_labels,), float32, as bytes."""
        self._norms = np.frombuffer(norms, dtype=np.float32)
        self.n_labels = len(self._norms)
        self.suits_graph = exact.are_ordinary(self._norms)

    def append(self, vectors: NDArray[np.float32]) -> None:
        """Take in vectors that the DB has committed at the next labels."""
        end = self.n_labels + len(vectors)
        if end > len(self._norms):
            self._norms = grown(self._norms, self._capacity(end), 0)
        step = max(1, _NORM_BYTES // (4 * max(1, vectors.shape[1])))
        for start in range(0, len(vectors), step):
            block = vectors[start : start + step]
            at = self.n_labels + start
            norms = self._norms[at : at + len(block)] = exact.norms_of(block)
            self.suits_graph = self.suits_graph and exact.are_ordinary(norms)
        self.n_labels = end

    def drop_graph(self) -> None:
        """Let go of the graph: it is derived, and is built again."""
        self.graph, self.graph_end, self.graph_claimed = None, 0, 0
        self.graph_changed = False

    def discard(self, labels: NDArray[np.int64]) -> None:
        """Take labels out of the graph."""
        if self.graph is not None:
            covered = labels[labels < self.graph_end]
            if len(covered):
                self.graph.discard(covered)

    def search(
        self,
        queries: NDArray[np.float32],
        k: int,
        *,
        plan: Plan,
        mask: NDArray[np.bool_] | None,
        order: NDArray[np.int64] | None,
    ) -> Neighbors:
        if self.graph is None or not plan.fetch or not exact.are_ordinary(exact.norms_of(queries)):
            return super().search(queries, k, plan=plan, mask=mask, order=order)
        if plan.strategy in (Strategy.CODES, Strategy.CODES_SUBSET):
            fetch = int(plan.fetch * (1 + self.graph.overfetch))
            return self._search_codes(queries, k, fetch, plan, mask, order)
        # A few more: neighbours that a graph puts at the end may have come in a slightly wrong order.
        fetch = plan.fetch + max(_FETCH_MORE, int(plan.fetch * self.graph.overfetch))
        n_bytes = _FOUND_BYTES * fetch * len(queries)
        if n_bytes <= SMALL_BYTES:
            return self._search_graph(queries, k, fetch, plan, mask, order)
        with WORKSPACE.take(n_bytes) as room:
            group = room.rows(_FOUND_BYTES * fetch)
            parts = [
                self._search_graph(queries[at : at + group], k, fetch, plan, mask, order)
                for at in range(0, len(queries), group)
            ]
        return Neighbors(
            np.concatenate([part.labels for part in parts]),
            np.concatenate([part.distances for part in parts]),
        )

    def _search_graph(
        self,
        queries: NDArray[np.float32],
        k: int,
        fetch: int,
        plan: Plan,
        mask: NDArray[np.bool_] | None,
        order: NDArray[np.int64] | None,
    ) -> Neighbors:
        assert self.graph is not None
        threads = 1 if len(queries) == 1 else 0
        with self.graph_lock.read():
            found = self.graph.search(queries, fetch, threads).labels
            end = self.graph_end
        in_tail = self._scan_tail(end, queries, k, mask, order)
        found[found >= end] = -1
        filtered = mask if plan.strategy is Strategy.GRAPH_FILTERED else None
        return self._merge(queries, k, found, in_tail, filtered, plan, order, mask)

    def _search_codes(
        self,
        queries: NDArray[np.float32],
        k: int,
        fetch: int,
        plan: Plan,
        mask: NDArray[np.bool_] | None,
        order: NDArray[np.int64] | None,
    ) -> Neighbors:
        """Find the k nearest: candidates by their codes, compared exactly. Ask for more of them where the answer is not sure.

        Args:
            queries: Shape (n_queries, dimension), float32.
            k: Neighbours wanted.
            fetch: Candidates of each query.
            plan: The plan.
            mask: Shape (n_labels,), bool.
            order: Equal distances come in this order.
        """
        assert self.graph is not None
        if fetch * _CODES_PER_CANDIDATE >= len(self.graph):
            return super().search(queries, k, plan=plan, mask=mask, order=order)
        n_bytes = _FOUND_BYTES * fetch * len(queries)
        with contextlib.ExitStack() as held:
            group = len(queries)
            if n_bytes > SMALL_BYTES:
                group = held.enter_context(WORKSPACE.take(n_bytes)).rows(_FOUND_BYTES * fetch)
            parts = [
                self._compare_codes(queries[at : at + group], k, fetch, plan, mask, order)
                for at in range(0, len(queries), group)
            ]
        near = Neighbors(
            np.concatenate([part.labels for part, _ in parts]),
            np.concatenate([part.distances for part, _ in parts]),
        )
        unsure = np.flatnonzero(~np.concatenate([is_sure for _, is_sure in parts]))
        if len(unsure):
            again = self._search_codes(queries[unsure], k, _WIDER * fetch, plan, mask, order)
            near.labels[unsure], near.distances[unsure] = again
        return near

    def _compare_codes(
        self,
        queries: NDArray[np.float32],
        k: int,
        fetch: int,
        plan: Plan,
        mask: NDArray[np.bool_] | None,
        order: NDArray[np.int64] | None,
    ) -> tuple[Neighbors, NDArray[np.bool_]]:
        """Return the k nearest of the tail and of the candidates by codes, and for which queries that is sure.

        By its code, a record that is no candidate is farther than the last candidate. How much the codes err is known from the
        candidates, whose exact distances are computed. Where the k-th result is nearer than the last candidate by several
        times that, nothing was missed.
        """
        assert self.graph is not None
        with self.graph_lock.read():
            if plan.strategy is Strategy.CODES_SUBSET and mask is not None:
                found, estimates = self.graph.search_among(queries, fetch, 0, mask)
            else:
                found, estimates = self.graph.search(queries, fetch, 0)
            end = self.graph_end
        in_tail = self._scan_tail(end, queries, k, mask, order)
        wanted = min(k, plan.facts.n_matches)
        usable = (found >= 0) & (found < end)
        near = Neighbors(
            np.full((len(queries), wanted), -1, dtype=np.int64),
            np.full((len(queries), wanted), np.inf, dtype=np.float32),
        )
        is_sure = np.zeros(len(queries), dtype=bool)
        for row, labels, distances in self._graph_distances(queries, found, usable):
            guesses = estimates[row][usable[row]]
            is_known = ~np.isnan(guesses)
            # In float64: their squares may be beyond float32.
            errors = (distances - guesses)[is_known].astype(np.float64)
            guesses = guesses[is_known]
            # Fewer than were asked for are all that there are, those of unknown distance too.
            is_all = len(labels) < fetch
            best = _nearest(labels, distances, in_tail, row, wanted, order)
            if best is None:
                continue
            near.labels[row], near.distances[row] = best
            is_sure[row] = is_all or near.distances[row, -1] < _reach(guesses, errors)
        return near, is_sure

    def scan(
        self,
        queries: NDArray[np.float32],
        k: int,
        labels: NDArray[np.int64] | None,
        order: NDArray[np.int64] | None,
    ) -> Neighbors:
        if (
            self.graph is None
            or labels is None
            or len(labels) * self.source.row_bytes > _READ_BYTES
            # Mapped already, for a long tail.
            or not self.source.mapping_cost(self.n_labels)
        ):
            return super().scan(queries, k, labels, order)
        found = exact.search(
            self.space,
            queries,
            self.source.read(labels),
            k,
            norms=self.norms[labels],
            order=None if order is None else order[labels],
        )
        return Neighbors(labels[found.labels], found.distances)

    def _scan_tail(
        self,
        start: int,
        queries: NDArray[np.float32],
        k: int,
        mask: NDArray[np.bool_] | None,
        order: NDArray[np.int64] | None,
    ) -> Neighbors | None:
        """Find the k nearest of the labels from `start` on; None where there are none."""
        n_rows = self.n_labels - start
        chosen = None if mask is None else np.flatnonzero(mask[start:])
        n_chosen = n_rows if chosen is None else len(chosen)
        if not n_chosen:
            return None
        rows: NDArray[np.float32] | StoredRows | None = None
        n_left_out = n_rows - n_chosen
        if n_left_out <= _LEFT_OUT_ROWS:
            rows = (
                self.source.read_range(start, self.n_labels)
                if n_rows * self.source.row_bytes <= _READ_BYTES
                else self.rows(start)
            )
        if not isinstance(rows, np.ndarray):
            labels = np.arange(start, self.n_labels) if chosen is None else chosen + start
            return self.scan(queries, k, labels, order)
        # All rows, as copying the chosen ones would take as long again. The few that the filter leaves out are
        # found as well, and dropped afterwards.
        found = exact.search(
            self.space,
            queries,
            rows[-n_rows:],
            k + n_left_out,
            norms=self.norms[start:],
            order=None if order is None else order[start:],
        )
        labels, distances = found.labels + start, found.distances
        if mask is not None and n_left_out:
            first = np.argsort(~mask[labels], axis=1, kind="stable")[:, : min(k, n_chosen)]
            labels = np.take_along_axis(labels, first, axis=1)
            distances = np.take_along_axis(distances, first, axis=1)
        return Neighbors(labels, distances)

    def _merge(
        self,
        queries: NDArray[np.float32],
        k: int,
        found: NDArray[np.int64],
        in_tail: Neighbors | None,
        filtered: NDArray[np.bool_] | None,
        plan: Plan,
        order: NDArray[np.int64] | None,
        mask: NDArray[np.bool_] | None,
    ) -> Neighbors:
        """Return the k nearest of what the graph found and of the nearest in the tail, by exact distances."""
        wanted = min(k, plan.facts.n_matches)
        # A label's bit in `filtered` says whether it matches; the graph itself knows only living labels.
        usable = found >= 0
        if filtered is not None:
            usable &= filtered[found]
        out_labels = np.empty((len(queries), wanted), dtype=np.int64)
        out_distances = np.empty((len(queries), wanted), dtype=np.float32)
        short: list[int] = []
        for row, labels, near in self._graph_distances(queries, found, usable):
            best = _nearest(labels, near, in_tail, row, wanted, order)
            if best is None:
                short.append(row)
                continue
            out_labels[row], out_distances[row] = best
        if short:
            rows = np.asarray(short)
            again = super().search(queries[rows], k, plan=plan, mask=mask, order=order)
            out_labels[rows], out_distances[rows] = again.labels, again.distances
        return Neighbors(out_labels, out_distances)

    def _graph_distances(
        self, queries: NDArray[np.float32], found: NDArray[np.int64], usable: NDArray[np.bool_]
    ) -> Iterator[tuple[int, NDArray[np.int64], NDArray[np.float32]]]:
        """Yield (query, labels, their distances); those of several queries are read and computed together."""
        if len(found) == 1:
            yield self._distances_of_one(queries, found, usable, 0)
            return
        group = _READ_BYTES // (self.source.row_bytes * max(1, found.shape[1]))
        if group < 2:
            for row in range(len(found)):
                yield self._distances_of_one(queries, found, usable, row)
            return
        for start in range(0, len(found), group):
            rows, columns = np.nonzero(usable[start : start + group])
            rows += start
            labels = found[rows, columns]
            wanted, places = np.unique(labels, return_inverse=True)
            vectors = self.source.read(wanted)[places]
            near = exact.pair_distances(self.space, queries[rows], vectors)
            stop = min(start + group, len(found))
            ends = np.searchsorted(rows, np.arange(start, stop + 1))
            for row, first, last in zip(range(start, stop), ends[:-1], ends[1:], strict=True):
                yield row, labels[first:last], near[first:last]

    def _distances_of_one(
        self,
        queries: NDArray[np.float32],
        found: NDArray[np.int64],
        usable: NDArray[np.bool_],
        row: int,
    ) -> tuple[int, NDArray[np.int64], NDArray[np.float32]]:
        labels = found[row][usable[row]]
        return row, labels, exact.distances_of(self.space, queries[row], self.source.read, labels)


def _nearest(
    labels: NDArray[np.int64],
    distances: NDArray[np.float32],
    in_tail: Neighbors | None,
    row: int,
    wanted: int,
    order: NDArray[np.int64] | None,
) -> tuple[NDArray[np.int64], NDArray[np.float32]] | None:
    """Return the nearest of a query's candidates and of those in the tail, labels and distances; None where they are too few.

    Args:
        labels: The candidates, int64, shape (n,).
        distances: Theirs, float32, shape (n,).
        in_tail: The nearest in the tail, for all queries; None: there is no tail.
        row: The query.
        wanted: How many are wanted.
        order: Equal distances come in this order.
    """
    if in_tail is not None:
        labels = np.concatenate([labels, in_tail.labels[row]])
        distances = np.concatenate([distances, in_tail.distances[row]])
    if len(labels) < wanted:
        return None
    best = np.lexsort((labels if order is None else order[labels], distances))[:wanted]
    return labels[best], distances[best]


def _reach(guesses: NDArray[np.float32], errors: NDArray[np.float64]) -> float:
    """Return up to which distance nothing is missed by candidates of these guesses and errors, both shape (n,)."""
    if not len(guesses):
        return -np.inf
    return float(guesses.max()) - _SURE_ERRORS * float(np.sqrt(np.mean(errors * errors)))
