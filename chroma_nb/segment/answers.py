"""Answers of a segment: the records that `get` returns, and the matches of a query, within the memory that is free."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from chroma_nb.api.base import Matches, Records
from chroma_nb.errors import MemoryBudgetError
from chroma_nb.memory.sizes import format_bytes
from chroma_nb.memory.workspace import NOTHING, SMALL_BYTES, WORKSPACE
from chroma_nb.validation import check_dimension, check_known

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from chroma_nb.api.scanning import ScanPiece
    from chroma_nb.filters.expression import Expression
    from chroma_nb.memory.workspace import Grant
    from chroma_nb.segment.segment import Segment

#: Bytes for each number of an embedding: as it is read, and as float64, which Chroma answers with.
_NUMBER_BYTES = 4 + 8
#: A distance as Python's float, with its place in a list.
_FLOAT_BYTES = 32
#: An answer's record without its texts.
_OBJECT_BYTES = 400
#: Texts as objects may take this many times the bytes of their UTF-8.
_MOST_TIMES = 16


class Asked(NamedTuple):
    """What an answer that may be refused is called, and what to do instead of asking for it."""

    #: A format, of the number of records and the collection's name.
    what: str
    #: The best first.
    ways: tuple[str, ...]


_QUERY = "query() for {:,} results from collection [{}]"
_FEWER_RESULTS = "ask for fewer results: n_results=10"
_GET = "get() of {:,} records of collection [{}]"
_IN_PARTS = "ask for them in parts: get(limit=..., offset=...)"
_TO_A_FILE = "write them to a file: collection.export(path)"
_IDS_OF_A_GET = Asked(_GET, (_IN_PARTS, _TO_A_FILE))
_A_GET = Asked(
    _GET, (_IN_PARTS, "ask for less of each, for their ids alone: include=[]", _TO_A_FILE)
)
_A_QUERY = Asked(_QUERY, (_FEWER_RESULTS,))
_MANY_QUERIES = Asked(_QUERY, ("send fewer queries in one call", _FEWER_RESULTS))


def records(
    segment: Segment,
    expression: Expression | None,
    ids: Sequence[str] | None,
    limit: int | None,
    offset: int,
    include: Sequence[str],
    *,
    budget: Callable[[], int],
) -> Records:
    """Return the matching records in storage order.

    Args:
        segment: What answers; the caller holds it.
        expression: The filter; None matches all.
        ids: Only these records; None is all.
        limit: At most this many; None is all.
        offset: Leave this many matches out first.
        include: What is wanted beside the ids.
        budget: Returns the bytes that the loaded collections may hold, for a large answer that may be refused.

    Raises:
        MemoryBudgetError: The answer does not fit into memory.
    """
    reader = segment.metadata
    labels = reader.select(expression, ids=ids, limit=limit, offset=offset)
    with room_for(segment, labels, include, _A_GET if include else _IDS_OF_A_GET, budget) as room:
        texts = reader.read(labels, include, room.measured)
        found = Records(texts.ids)
        if "embeddings" in include:
            found.embeddings = vectors_of(segment, labels)
        found.documents = texts.documents
        found.metadatas = texts.metadatas
        found.uris = texts.uris
    return found


def columns(
    segment: Segment,
    expression: Expression | None,
    ids: Sequence[str] | None,
    limit: int | None,
    offset: int,
    include: Sequence[str],
    *,
    budget: Callable[[], int],
) -> ScanPiece:
    """Return what `records` returns, whose arguments it takes, as columns: metadata as JSON text.

    Raises:
        MemoryBudgetError: The answer does not fit into memory.
    """
    reader = segment.metadata
    labels = reader.select(expression, ids=ids, limit=limit, offset=offset)
    with room_for(segment, labels, include, _A_GET if include else _IDS_OF_A_GET, budget) as room:
        found = reader.columns(labels, include, room.measured)
        if "embeddings" in include:
            found.embeddings = vectors_of(segment, labels)
    return found


def matches(
    segment: Segment,
    queries: NDArray[np.float32],
    n_results: int,
    expression: Expression | None,
    ids: Sequence[str] | None,
    include: Sequence[str],
    *,
    budget: Callable[[], int],
) -> Matches:
    """Return the nearest records of each query, nearest first.

    Args:
        segment: What answers; the caller holds it.
        queries: Shape (n_queries, dimension), float32, C-contiguous.
        n_results: Records wanted for each query, at least 1.
        expression: The filter; None matches all.
        ids: Only these records; None is all.
        include: What is wanted beside the ids.
        budget: Returns the bytes that the loaded collections may hold, for a large answer that may be refused.

    Raises:
        IDNotFoundError: `ids` names records that there are none of, and there is no filter beside it.
        InvalidArgumentError: The queries are not of the collection's dimension.
        MemoryBudgetError: The answer does not fit into memory.
    """
    info = segment.info
    if info.dimension is not None:
        check_dimension(info.dimension, queries.shape[1], info.name)
        if ids is not None and expression is None:
            check_known(ids, segment.metadata.find(ids) >= 0, info.name)
    neighbors, _ = segment.search(queries, n_results, expression, ids)
    labels = neighbors.labels.ravel()
    n_queries, width = neighbors.labels.shape
    asked = _A_QUERY if n_queries == 1 else _MANY_QUERIES
    with room_for(segment, labels, include, asked, budget) as room:
        texts = segment.metadata.read(labels, include, room.measured)
        found = Matches(_by_query(texts.ids, width, n_queries))
        if "distances" in include:
            found.distances = neighbors.distances.tolist()
        found.documents = _by_query(texts.documents, width, n_queries)
        found.metadatas = _by_query(texts.metadatas, width, n_queries)
        found.uris = _by_query(texts.uris, width, n_queries)
        if "embeddings" in include:
            vectors = vectors_of(segment, labels)
            found.embeddings = [
                vectors[row * width : (row + 1) * width] for row in range(n_queries)
            ]
    return found


def explanation(
    segment: Segment,
    queries: NDArray[np.float32],
    n_results: int,
    expression: Expression | None,
    ids: Sequence[str] | None,
    started: float,
) -> dict[str, Any]:
    """Answer a query, and return how that was done.

    Args:
        segment: What answers; the caller holds it.
        queries: As of `matches`.
        n_results: Records wanted for each query.
        expression: The filter; None matches all.
        ids: Only these records; None is all.
        started: When the query came, on the clock of `time.perf_counter`.
    """
    found, plan = segment.search(queries, n_results, expression, ids, counts=True)
    elapsed = time.perf_counter() - started
    return {
        "collection": segment.info.name,
        "engine": segment.form,
        **plan.to_dict(),
        "n_found": int(found.labels.shape[1]),
        "answered_from": plan.where or ("memory" if segment.resident_bytes else "disk"),
        "held_because": "",
        "resident_bytes": segment.resident_bytes,
        **({"sparse_bytes": sparse} if (sparse := segment.sparse_bytes) else {}),
        "elapsed_ms": round(elapsed * 1e3, 3),
    }


def vectors_of(segment: Segment, labels: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return the vectors of these labels (int64, shape (n,)): float32, shape (n, dimension)."""
    if segment.vectors is None:
        return np.empty((0, 0), dtype=np.float32)
    return segment.vectors.source.read(labels)


def _by_query(flat: list[Any] | None, width: int, n_queries: int) -> Any:
    """Return a list of the values of each query, given those of all queries one after the other."""
    if flat is None:
        return None
    if n_queries == 1:
        return [flat]
    return [flat[row * width : (row + 1) * width] for row in range(n_queries)]


class _Room:
    """The memory of an answer, which grows where its texts turn out to take more than was estimated.

    Args:
        grant: What was taken for it.
        text_bytes: How much of that is for its texts.
        take: Takes more.
    """

    def __init__(
        self, grant: Grant, text_bytes: int, take: Callable[[int], Grant] | None = None
    ) -> None:
        self._grants = [grant]
        self._estimate = self._taken = text_bytes
        self._take = take
        self.measured = None if take is None or WORKSPACE.reads_a_piece else self._measured

    def _measured(self, share: float, n_bytes: int) -> None:
        """Take more where a share of the texts takes more than was estimated for it.

        Raises:
            MemoryBudgetError: It is not free.
        """
        need = n_bytes + int((1 - share) * self._estimate)
        if self._take is None or need <= self._taken:
            return
        try:
            self._grants.append(self._take(need - self._taken))
        except MemoryBudgetError as error:
            # As much of it is there already; within `holding_answers`, which takes several times as much, so many times.
            held = self._taken * error.need // (need - self._taken)
            # Not kept in a variable: the texts read so far would stay in memory with this frame.
            raise _discarded(error, held) from None
        self._taken = need

    def __enter__(self) -> _Room:
        return self

    def __exit__(self, *_: object) -> None:
        for grant in self._grants:
            grant.give_back()


def _discarded(error: MemoryBudgetError, held: int) -> MemoryBudgetError:
    """Return the error for an answer that turned out to take more while it was read.

    Args:
        error: What was said of the rest of it.
        held: Bytes that it has taken already: needed as well, and free once it is discarded.
    """

    def figures(need: int, free: int) -> str:
        return f"{format_bytes(need)}; {format_bytes(free)} are free"

    need, free = error.need + held, error.free + held
    # Both at once: one of the new figures may contain an old one, as "15 MB" contains "5 MB".
    said = error.message().replace(figures(error.need, error.free), figures(need, free), 1)
    said = said.replace("Nothing was allocated", "The texts read so far were discarded")
    discarded = MemoryBudgetError(said, need=need, free=free, budget=error.budget)
    discarded.may_fit_later = error.may_fit_later
    return discarded


#: For answers that are small.
_NO_ROOM = _Room(NOTHING, 0)


def room_for(
    segment: Segment,
    labels: NDArray[np.int64],
    include: Sequence[str],
    asked: Asked,
    budget: Callable[[], int],
    number_bytes: int = _NUMBER_BYTES,
) -> _Room:
    """Take the memory of an answer; refuse one that does not fit, before any of it is made.

    Args:
        segment: What answers.
        labels: The records, int64, shape (n,).
        include: What is answered of them.
        asked: What the error says where it is refused.
        budget: Returns the bytes that the loaded collections may hold, for a large answer that may be refused.
        number_bytes: Bytes for each number of an embedding.
    """
    vectors = number_bytes * (segment.info.dimension or 0) * ("embeddings" in include)
    each = _MOST_TIMES * segment.metadata.longest + vectors + _FLOAT_BYTES + _OBJECT_BYTES
    if len(labels) * each <= SMALL_BYTES:
        # Few records need no closer look.
        return _NO_ROOM
    n_bytes = len(labels) * (vectors + _FLOAT_BYTES * ("distances" in include))
    if WORKSPACE.reads_a_piece:
        # Who reads it measures it afterwards: a closer look would read some of it twice.
        texts = segment.metadata.text_bytes(labels, include)
    else:
        texts = segment.metadata.answer_bytes(labels, include)
        once = np.unique(labels)
        if WORKSPACE.holds_answers and len(once) < len(labels):
            # Records that several queries find have their texts in common, but not in JSON.
            texts += segment.metadata.text_bytes(labels, include)
            texts -= segment.metadata.text_bytes(once, include)
    what = asked.what.format(len(labels), segment.info.name)

    def take(more: int) -> Grant:
        return WORKSPACE.take_answer(more, what, *asked.ways, budget=budget())

    return _Room(take(n_bytes + texts), texts, take)
