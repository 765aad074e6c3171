"""`Ranking`: ClickHouse compares vectors, one query after the other: all that match, or those that a graph finds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from chroma_nb.db.clickhouse.dialect import condition
from chroma_nb.db.clickhouse.errors import NoTableError
from chroma_nb.db.clickhouse.literals import one_of_labels, one_of_texts, vector
from chroma_nb.db.ranking import Ranked, VectorRanking

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from uuid import UUID

    import pyarrow as pa
    from numpy.typing import NDArray

    from chroma_nb.db.clickhouse.graph_tables import GraphTables
    from chroma_nb.db.clickhouse.views import View
    from chroma_nb.filters.expression import Expression
    from chroma_nb.types import Space

_EPSILON = float(np.finfo(np.float64).eps)
#: A rough count reads so many ranges of so many labels each.
_SAMPLES, _SAMPLE_ROWS = 8, 1_024
_LARGEST = float(np.finfo(np.float32).max)


class Ranking(VectorRanking):
    """Ranks the records of a store.

    Args:
        view: Returns the view of a collection.
        read: Returns the answer of a query that has this filter.
        graphs: The graphs in ClickHouse.
        has_graphs: Whether graphs can be built: in the memory of a server.
    """

    name: ClassVar[str] = "ClickHouse"

    def __init__(
        self,
        view: Callable[[UUID], View],
        read: Callable[[UUID, str, Expression | None], pa.Table],
        graphs: GraphTables,
        *,
        has_graphs: bool,
    ) -> None:
        self._view = view
        self._read = read
        self._graphs = graphs
        self.has_graphs = has_graphs

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
        view, matches = self._view(collection_id), matching(expression, ids)
        if not fetch:
            return self._nearest(collection_id, view, query, n, space, expression, matches)
        found = self._found(collection_id, view, query, space, expression, matches, fetch)
        end = self._graphs.end(view)
        if end < view.counters.next_label:
            where = f" AND label >= {end}{matches}"
            tail = self._nearest(collection_id, view, query, n, space, expression, where)
            # Labels by which the graph has grown meanwhile are in both.
            found = _joined(found, _rows(tail, ~np.isin(tail.labels, found.labels)))
        return _rows(found, np.lexsort((found.sequences, found.bounds))[:n])

    def _nearest(
        self,
        collection_id: UUID,
        view: View,
        query: NDArray[np.float32],
        n: int,
        space: Space,
        expression: Expression | None,
        where: str,
    ) -> Ranked:
        """Return the first n of all records for which a condition holds."""
        table = self._read(
            collection_id,
            f"SELECT label, sequence, bound, upper FROM ({self._ranked(view, _bound_columns(space, query), where)}) "
            f"ORDER BY bound, sequence LIMIT {n}",
            expression,
        )
        return Ranked(*(table[name].to_numpy() for name in ("label", "sequence", "bound", "upper")))

    def _found(
        self,
        collection_id: UUID,
        view: View,
        query: NDArray[np.float32],
        space: Space,
        expression: Expression | None,
        matches: str,
        fetch: int,
    ) -> Ranked:
        """Return the records that match among those that the graph finds, in the order of their labels."""
        found = self._graphs.found(view, space, query, fetch)
        live = self._read(
            collection_id,
            f"SELECT label, sequence FROM {view.log.sql} WHERE {view.records} AND label IN ({found}){matches} ORDER BY label",
            expression,
        )
        labels, sequences = live["label"].to_numpy(), live["sequence"].to_numpy()
        # From the graph's table, as the log would have to read larger pieces. Two servers may have copied a label.
        near = self._read(
            collection_id,
            f"SELECT label, {_bound_columns(space, query)} FROM {self._graphs.table(view)} "
            f"WHERE {one_of_labels('label', labels)} ORDER BY label LIMIT 1 BY label",
            None,
        )
        return Ranked(labels, sequences, near["bound"].to_numpy(), near["upper"].to_numpy())

    def _ranked(self, view: View, bound_columns: str, where: str) -> str:
        """Return a query of the records of a view for which a condition holds, with their bounds."""
        chosen = f"SELECT label, sequence, {bound_columns} FROM {view.log.sql}"
        ranked = f"{chosen} WHERE {view.records} AND notEmpty(embedding){where}"
        if not view.counters.n_removed:
            return ranked
        # A record whose texts were changed has its vector in the row that it had before.
        changed = (
            f"SELECT label FROM {view.log.sql} WHERE {view.records} AND empty(embedding){where}"
        )
        return f"{ranked} UNION ALL {chosen} WHERE {view.vectors} AND label IN ({changed})"

    def count(
        self,
        collection_id: UUID,
        expression: Expression | None = None,
        *,
        ids: Sequence[str] | None = None,
        roughly: bool = False,
    ) -> int:
        view = self._view(collection_id)
        n_records, end = view.counters.n_records, view.counters.next_label
        if expression is None and ids is None:
            return n_records
        if roughly and ids is not None:
            return min(n_records, len(ids))
        matches, ranges = matching(expression, ids), ""
        if roughly and end > 2 * _SAMPLES * _SAMPLE_ROWS:
            starts = np.linspace(0, end - _SAMPLE_ROWS, _SAMPLES, dtype=np.int64).tolist()
            between = [f"label BETWEEN {at} AND {at + _SAMPLE_ROWS - 1}" for at in starts]
            ranges = f" AND ({' OR '.join(between)})"
        counted = f"SELECT toInt64(countIf(true{matches})) AS n, toInt64(count()) AS looked_at FROM {view.log.sql}"
        table = self._read(collection_id, f"{counted} WHERE {view.records}{ranges}", expression)
        n, looked_at = table["n"][0].as_py(), table["looked_at"][0].as_py()
        return int(n) if not ranges else n * n_records // max(1, looked_at)

    def n_covered(self, collection_id: UUID) -> int:
        return self._graphs.end(self._view(collection_id))

    def build(
        self, collection_id: UUID, space: Space, on_labels: Callable[[int], object] = lambda _: None
    ) -> bool:
        view = self._view(collection_id)
        try:
            return self._graphs.build(view, space, on_labels)
        except NoTableError:
            # Raises the error that says whether the collection was deleted or moved.
            self._read(collection_id, f"SELECT label FROM {view.log.sql} LIMIT 0", None)
            raise


def matching(expression: Expression | None, ids: Sequence[str] | None) -> str:
    """Return what is added to a condition of records; the empty text where all match."""
    added = "" if expression is None else f" AND ({condition(expression)})"
    return added if ids is None else f"{added} AND {one_of_texts('id', list(ids))}"


def bounds(space: Space, query: NDArray[np.float32]) -> tuple[str, str]:
    """Return the expressions of `Ranked.bounds` and `Ranked.upper`, as Float32.

    A distance is computed in float64, as `index.exact.distances` does it, and the two differ by rounding: in a sum of n
    products by at most n eps times the sum of their absolute values (Higham, Accuracy and Stability of Numerical Algorithms,
    3.1). For `l2` that sum is the distance itself, for `cosine` 1, for `ip` the product of the norms. The error is taken four
    times, as both computations have it, and so have the steps after the sum. Rounding to float32 keeps the order.

    Args:
        space: The distance.
        query: Shape (dimension,), float32.
    """
    part = 4 * (len(query) + 8) * _EPSILON
    other = vector(query.astype("<f8"))
    if space == "l2":
        distance = f"L2SquaredDistance(embedding, {other})"
        return _float32(f"{distance} * {1 - part!r}"), _float32(f"{distance} * {1 + part!r}")
    if space == "cosine":
        # For a vector of zeros ClickHouse has NaN; its distance is 1 by definition.
        distance, error = f"ifNotFinite(cosineDistance(embedding, {other}), 1.)", repr(part)
        lower, upper = (f"greatest({distance} {sign} {error}, 0.)" for sign in "-+")
        return _float32(lower), _float32(upper)
    distance = f"(1. - dotProduct(embedding, {other}))"
    norm = float(np.linalg.norm(query.astype(np.float64)))
    length = f"L2Distance(embedding, arrayWithConstant({len(query)}, toFloat64(0)))"
    error = f"{part!r} * (1. + {norm!r} * {length})"
    return _float32(f"{distance} - {error}"), _float32(f"{distance} + {error}")


def _joined(ranked: Ranked, other: Ranked) -> Ranked:
    """Return these records and then the other ones."""
    return Ranked(
        np.concatenate([ranked.labels, other.labels]),
        np.concatenate([ranked.sequences, other.sequences]),
        np.concatenate([ranked.bounds, other.bounds]),
        np.concatenate([ranked.upper, other.upper]),
    )


def _rows(ranked: Ranked, rows: NDArray[Any]) -> Ranked:
    """Return the records in these rows: their numbers, or bool, shape (n,)."""
    return Ranked(*(column[rows] for column in ranked))


def _bound_columns(space: Space, query: NDArray[np.float32]) -> str:
    """Return the columns bound and upper, as SQL."""
    lower, upper = bounds(space, query)
    return f"{lower} AS bound, {upper} AS upper"


def _float32(number: str) -> str:
    return f"toFloat32(greatest(least({number}, {_LARGEST!r}), {-_LARGEST!r}))"
