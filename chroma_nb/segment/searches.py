"""Searches carried out on a segment: neighbours of each `Knn`, scores, groups, a page, and what was selected of it."""

from __future__ import annotations

import contextlib
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from chroma_nb import validation
from chroma_nb.api.answers import Found
from chroma_nb.errors import InvalidArgumentError
from chroma_nb.memory.workspace import SMALL_BYTES, WORKSPACE
from chroma_nb.schema_json import sparse_index
from chroma_nb.search.evaluation import evaluate
from chroma_nb.search.grouped import kept_of_groups
from chroma_nb.search.ranks import knn_leaves, operands
from chroma_nb.search.sparse import SparseVector
from chroma_nb.segment.answers import Asked, room_for, vectors_of
from chroma_nb.segment.search_plans import dense_plan, nothing_plan, sparse_plan
from chroma_nb.special_keys import DOCUMENT_KEY, EMBEDDING_KEY, METADATA_KEY, SCORE_KEY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from chroma_nb.filters.expression import Expression
    from chroma_nb.memory.workspace import Grant
    from chroma_nb.search.expression import Search
    from chroma_nb.search.grouping import GroupBy
    from chroma_nb.search.ranks import Knn, Rank
    from chroma_nb.segment.planner import Plan
    from chroma_nb.segment.segment import Segment
    from chroma_nb.types import CollectionInfo, Neighbors

#: What is selected -> what is read of a record; every other key is one of its metadata.
_INCLUDE = {DOCUMENT_KEY: "documents", EMBEDDING_KEY: "embeddings", SCORE_KEY: "distances"}
#: Bytes for each number of an embedding: as it is read, and as a float in a list, with its place there.
_NUMBER_BYTES = 4 + 32
#: A record's place in what a `Knn` found: in the array, and as a number in a list.
_POSITION_BYTES = 4 + 36
#: Bytes that a label takes while the best of a sparse `Knn` are chosen: its distance, whether there is one, and, of those
#: that have one, the label, the distance again and its place in the order.
_SPARSE_BYTES = 4 + 1 + 8 + 4 + 8
#: Bytes of a neighbour that a `Knn` has found: its label and its distance; and the label as it is put together with
#: those of the others, sorted, and once more where it is the only one.
_NEIGHBOR_BYTES = 8 + 4 + 3 * 8
#: Bytes of a candidate: its label, its place in storage order, its place among the others.
_CANDIDATE_BYTES = 3 * 8
#: Bytes that a node of a rank has of each candidate while others are computed: its values, those with the default
#: filled in, and which there are.
_NODE_BYTES = 8 + 8 + 1
#: Nodes that are there at the same time beside those that are nested.
_NODES = 4
#: Metadata is read for groups in pieces; its objects take this many times the bytes of its JSON.
_JSON_TIMES = 10
#: What is kept of each record while groups are made: its tuples and its entry in a list; for each key a tuple and a value.
_MEMBER_BYTES = 300
_VALUE_BYTES = 250
#: A text that is kept takes up to so many times its UTF-8.
_TEXT_TIMES = 4
_LESS = (
    "give each Knn a smaller limit=",
    "ask for fewer results: Search(limit=10)",
)
_A_SEARCH = Asked(
    "search() for {:,} results from collection [{}]",
    ("ask for fewer results: Search(limit=10)", "select less of each: K.SCORE alone"),
)


class Prepared(NamedTuple):
    """A search, with what is known of it before a segment is asked.

    Args:
        search: The search.
        expression: Its filter, parsed; None matches all.
        weighted: For each sparse key of its rank: is its query weighted by how rare each index is?
    """

    search: Search
    expression: Expression | None
    weighted: dict[str, bool]


def prepared(info: CollectionInfo, search: Search, expression: Expression | None) -> Prepared:
    """Return a search with what is known of it before a segment is asked.

    Raises:
        InvalidArgumentError: A sparse query asks for a key that is not indexed.
    """
    leaves = () if search.score is None else knn_leaves(search.score)
    keys = {leaf.key for leaf in leaves if isinstance(leaf.query, SparseVector)}
    return Prepared(search, expression, {key: _is_weighted(info, key) for key in keys})


def _is_weighted(info: CollectionInfo, key: str) -> bool:
    """Say whether queries of a sparse key are weighted by how rare each index is.

    Raises:
        InvalidArgumentError: The key has no index.
    """
    if key == DOCUMENT_KEY:
        return True
    config = sparse_index(((info.schema or {}).get("keys") or {}).get(key))
    if config is None:
        raise InvalidArgumentError(
            f"Cannot filter using metadata key {key[:60]!r} with type 'SparseVector' because indexing is disabled. "
            "An index of sparse vectors is declared when the collection is created: "
            f"schema=Schema().create_index(SparseVectorIndexConfig(), key={key[:60]!r}). The words of the documents need "
            "none: Knn('a text', key=K.DOCUMENT)."
        )
    return bool(config.get("bm25"))


class _Part(NamedTuple):
    """What one `Knn` has found: labels (int64) and their distances (float32), both of shape (n,), nearest first."""

    labels: NDArray[np.int64]
    distances: NDArray[np.float32]


_NO_LABELS = np.empty(0, dtype=np.int64)
_NOTHING = _Part(_NO_LABELS, np.empty(0, dtype=np.float32))


def found_by(
    segment: Segment,
    searches: Sequence[Prepared],
    *,
    budget: Callable[[], int],
    plans: bool = False,
) -> list[Found]:
    """Carry out searches, one after the other.

    Args:
        segment: What answers; the caller holds it.
        searches: The searches, which `SearchLimits` has checked.
        budget: Returns the bytes that the loaded collections may hold, for a large answer that may be refused.
        plans: Say how each `Knn` was answered.

    Raises:
        InvalidArgumentError: A query is not of the collection's dimension, or no embedding at all.
        MemoryBudgetError: An answer, or the work for it, does not fit into memory.
    """
    # All of them before the first is carried out.
    queries = [_dense_queries(segment.info, one.search) for one in searches]
    with contextlib.ExitStack() as rooms:
        return [
            _Searcher(segment, one, dense, budget, plans=plans).found(rooms)
            for one, dense in zip(searches, queries, strict=True)
        ]


def _dense_queries(info: CollectionInfo, search: Search) -> NDArray[np.float32]:
    """Return the dense queries of a search, shape (n, dimension), float32, C-contiguous; all are checked."""
    rows = []
    for leaf in () if search.score is None else knn_leaves(search.score):
        if isinstance(leaf.query, SparseVector):
            continue
        if isinstance(leaf.query, str):
            raise InvalidArgumentError(
                "Expected the query of a Knn to be an embedding or a sparse vector here, got the text "
                f"{leaf.query[:60]!r}. Collection.search() embeds texts; a server does not."
            )
        if leaf.key != EMBEDDING_KEY:
            raise InvalidArgumentError(
                "A query that is a dense embedding is compared with the records' embeddings, and not with "
                f"{leaf.key[:60]!r}: leave out key=, or give a SparseVector."
            )
        row = validation.check_embeddings([list(leaf.query)])
        if info.dimension is not None:
            validation.check_dimension(info.dimension, row.shape[1], info.name)
            rows.append(row)
    if not rows:
        return np.empty((0, info.dimension or 0), dtype=np.float32)
    return np.ascontiguousarray(np.concatenate(rows), dtype=np.float32)


class _Searcher:
    """Carries out one search.

    Args:
        segment: What answers.
        prepared: The search.
        queries: Its dense queries, shape (n, dimension), float32, C-contiguous; none where nothing has a dimension yet.
        budget: Returns the bytes that the loaded collections may hold.
        plans: Whether to note how each `Knn` is answered.
    """

    def __init__(
        self,
        segment: Segment,
        prepared: Prepared,
        queries: NDArray[np.float32],
        budget: Callable[[], int],
        *,
        plans: bool,
    ) -> None:
        self._segment = segment
        self._metadata = segment.metadata
        self._search, self._expression, self._weighted = prepared
        self._queries = queries
        self._budget = budget
        #: What each `Knn` has found, from left to right.
        self._parts: list[_Part] = []
        #: How many records are scored.
        self._n_scored: int | None = None
        #: How each `Knn` was answered; None: nobody asks.
        self._plans: list[dict[str, Any]] | None = [] if plans else None

    def found(self, rooms: contextlib.ExitStack) -> Found:
        """Return the answer.

        Args:
            rooms: Where the memory of the answer is held until all are made.
        """
        page = self._search.page
        if self._search.score is None:
            labels = self._metadata.select(self._expression, limit=page.limit, offset=page.offset)
            return self._selected(labels, np.arange(len(labels), dtype=np.float64), rooms)
        with contextlib.ExitStack() as neighbors:
            labels, scores = self._ranked(self._search.score, neighbors)
            kept = self._kept(self._search.grouping, labels, scores)
            stop = None if page.limit is None else page.offset + page.limit
            kept = kept[page.offset : stop]
            return self._selected(labels[kept], scores[kept], rooms)

    @cached_property
    def _order(self) -> NDArray[np.int64] | None:
        """The place in storage order of each label; None where labels are in order."""
        return self._metadata.sequences()

    def _places(self, labels: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return numbers of labels (int64, shape (n,), rising) that are in storage order, as `_in_order` does."""
        if self._segment.finds_matches:
            return self._metadata.stored(labels, ()).sequences
        return self._in_order(labels)

    def _in_order(self, labels: NDArray[np.int64]) -> NDArray[np.int64]:
        return labels if self._order is None else self._order[labels]

    # -- ranking ------------------------------------------------------------------------------

    def _ranked(
        self, rank: Rank, rooms: contextlib.ExitStack
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Return the labels of the records that are scored, and their scores, both of shape (n,), best first.

        Args:
            rank: The rank.
            rooms: Where the memory of what each `Knn` finds is held.
        """
        leaves = list(knn_leaves(rank))
        is_sparse = any(isinstance(leaf.query, SparseVector) for leaf in leaves)
        mask = None
        if is_sparse or (leaves and not self._segment.finds_matches):
            mask = self._metadata.mask(self._expression, None)
        parts = self._parts = list(self._neighbours(leaves, mask, rooms))
        labels = np.unique(np.concatenate([_NO_LABELS, *(part.labels for part in parts)]))
        n_bytes = 2 * 8 * len(parts) + _NODE_BYTES * (_NODES + _depth(rank)) + _CANDIDATE_BYTES
        what = f"search() with {len(labels):,} candidates in collection [{self._segment.info.name}]"
        with WORKSPACE.take_all(n_bytes * len(labels), what, *_LESS, budget=self._budget()):
            distances = np.full((len(parts), len(labels)), np.nan)
            for row, part in zip(distances, parts, strict=True):
                row[np.searchsorted(labels, part.labels)] = part.distances
            places = self._places(labels)
            if np.any(places[1:] < places[:-1]):
                by_storage = np.argsort(places, kind="stable")
                labels, distances = labels[by_storage], distances[:, by_storage]
            scores = evaluate(rank, distances)
            best = scores.best_first()
            self._n_scored = len(best)
            return labels[best], scores.values[best]

    def _neighbours(
        self, leaves: Sequence[Knn], mask: NDArray[np.bool_] | None, rooms: contextlib.ExitStack
    ) -> Iterator[_Part]:
        """Yield what each `Knn` finds among the labels of a mask."""
        n_live = self._metadata.n_live
        dense = [leaf.limit for leaf in leaves if not isinstance(leaf.query, SparseVector)]
        k = min(n_live, max(dense, default=0))
        near: Neighbors | None = None
        plan: Plan | None = None
        most = n_live if mask is None else int(np.count_nonzero(mask))
        filtered = self._expression is not None
        if k and len(self._queries):
            # All of them together: the vectors are read once.
            rooms.enter_context(self._room_for_neighbors(min(k, most) * len(self._queries)))
            if self._segment.finds_matches:
                near, plan = self._segment.search(
                    self._queries, k, self._expression, counts=self._plans is not None
                )
            else:
                near, plan = self._segment.nearest(self._queries, k, mask, filtered=filtered)
        n_allowed = most if filtered else None
        row = n_more = 0
        for leaf in leaves:
            if isinstance(leaf.query, SparseVector):
                part = self._sparse(leaf, leaf.query, mask) if n_live and leaf.limit else _NOTHING
                # Many small ones may be much together.
                n_more += len(part.labels)
                if n_more * _NEIGHBOR_BYTES > SMALL_BYTES:
                    rooms.enter_context(self._room_for_neighbors(n_more))
                    n_more = 0
            elif near is None:
                part = _NOTHING
            else:
                part = _Part(near.labels[row, : leaf.limit], near.distances[row, : leaf.limit])
                row += 1
            if self._plans is not None:
                self._plans.append(self._plan(leaf, plan, n_allowed, len(part.labels)))
            yield part

    def _plan(self, leaf: Knn, plan: Plan | None, n_allowed: int | None, n: int) -> dict[str, Any]:
        """Return how a `Knn` was answered, which has found n records."""
        is_sparse = isinstance(leaf.query, SparseVector)
        if not leaf.limit or not self._metadata.n_live or (plan is None and not is_sparse):
            made = nothing_plan(self._segment, leaf.limit)
        elif plan is None or is_sparse:
            n_bytes = _SPARSE_BYTES * self._metadata.n_labels
            made = sparse_plan(self._segment, leaf.key, n_allowed, n_bytes)
        else:
            made = dense_plan(self._segment, plan, n * _NEIGHBOR_BYTES)
        return {**made, "n_found": n}

    def _room_for_neighbors(self, n: int) -> Grant:
        what = (
            f"search() with {n:,} neighbours of its Knn in collection [{self._segment.info.name}]"
        )
        return WORKSPACE.take_all(n * _NEIGHBOR_BYTES, what, *_LESS, budget=self._budget())

    def _sparse(self, leaf: Knn, query: SparseVector, mask: NDArray[np.bool_] | None) -> _Part:
        reader, idf = self._metadata, self._weighted[leaf.key]
        what = f"search() by sparse vectors in collection [{self._segment.info.name}]"
        with WORKSPACE.take_all(_SPARSE_BYTES * reader.n_labels, what, budget=self._budget()):
            distances = reader.sparse_distances(leaf.key, query, idf=idf, mask=mask)
            labels = np.flatnonzero(~np.isnan(distances))
            distances = distances[labels]
            if len(labels) > leaf.limit:
                # Equal distances at the end are told apart by storage order, below.
                last = np.partition(distances, leaf.limit - 1)[leaf.limit - 1]
                near = distances <= last
                labels, distances = labels[near], distances[near]
            best = np.lexsort((self._in_order(labels), distances))[: leaf.limit]
            return _Part(labels[best], distances[best])

    # -- groups -------------------------------------------------------------------------------

    def _kept(
        self, grouping: GroupBy, labels: NDArray[np.int64], scores: NDArray[np.float64]
    ) -> NDArray[np.intp]:
        """Return the places of the records that their groups keep, rising: intp, shape (n,)."""
        if not grouping.keys or grouping.aggregate is None:
            return np.arange(len(labels))
        what = f"search() in groups with {len(labels):,} records of collection [{self._segment.info.name}]"
        n_keys = len(grouping.keys) + len(grouping.aggregate.keys)
        n_bytes = len(labels) * (_MEMBER_BYTES + n_keys * _VALUE_BYTES)
        n_bytes += _TEXT_TIMES * self._metadata.text_bytes(labels, ("metadatas",))
        with WORKSPACE.take_all(n_bytes, what, *_LESS, budget=self._budget()):
            return kept_of_groups(grouping, self._metadatas(labels), scores)

    def _metadatas(self, labels: NDArray[np.int64]) -> Iterator[dict[str, Any] | None]:
        """Yield the metadata of records, which is read in pieces."""
        n_bytes = _JSON_TIMES * self._metadata.text_bytes(labels, ("metadatas",))
        with WORKSPACE.take(n_bytes) as room:
            step = room.rows(n_bytes // max(1, len(labels)))
            for start in range(0, len(labels), step):
                piece = self._metadata.read(labels[start : start + step], ("metadatas",))
                yield from piece.metadatas or ()

    # -- what comes back ----------------------------------------------------------------------

    def _selected(
        self,
        labels: NDArray[np.int64],
        scores: NDArray[np.float64],
        rooms: contextlib.ExitStack,
    ) -> Found:
        keys = self._search.selected.names
        include = sorted({_INCLUDE.get(key, "metadatas") for key in keys})
        room = room_for(
            self._segment, labels, include, _A_SEARCH, self._budget, number_bytes=_NUMBER_BYTES
        )
        texts = self._metadata.read(labels, include, rooms.enter_context(room).measured)
        found = Found(texts.ids, documents=texts.documents, metadatas=texts.metadatas)
        if texts.metadatas is not None and METADATA_KEY not in keys:
            found.metadatas = [_restricted(one, keys) for one in texts.metadatas]
        if EMBEDDING_KEY in keys:
            found.embeddings = vectors_of(self._segment, labels)
        if SCORE_KEY in keys:
            found.scores = scores.tolist()
        n_bytes = len(labels) * len(self._parts) * _POSITION_BYTES
        what = f"Saying where search() found {len(labels):,} records"
        rooms.enter_context(WORKSPACE.take_answer(n_bytes, what, *_LESS, budget=self._budget()))
        found.positions = _positions(labels, self._parts)
        if self._n_scored is not None:
            found.n_found = [len(part.labels) for part in self._parts]
            found.n_scored = self._n_scored
        found.plans = self._plans
        return found


def _depth(rank: Rank) -> int:
    """Return how deep a rank is nested."""
    return 1 + max(map(_depth, operands(rank)), default=0)


def _restricted(metadata: dict[str, Any] | None, keys: Sequence[str]) -> dict[str, Any] | None:
    """Return the selected keys that a record has, None where it has none of them."""
    return {key: value for key, value in (metadata or {}).items() if key in keys} or None


def _positions(labels: NDArray[np.int64], parts: Sequence[_Part]) -> NDArray[np.int32]:
    """Return the place of each record in each part, -1 where it is not there: int32, shape (parts, n)."""
    positions = np.full((len(parts), len(labels)), -1, dtype=np.int32)
    for row, part in zip(positions, parts, strict=True):
        if len(part.labels):
            rising = np.argsort(part.labels)
            places = np.searchsorted(part.labels, labels, sorter=rising)
            places = rising[np.minimum(places, len(rising) - 1)]
            there = part.labels[places] == labels
            row[there] = places[there]
    return positions
