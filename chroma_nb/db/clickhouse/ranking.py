"""`Ranking`: ClickHouse compares vectors, all that match, one query after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np

from chroma_nb.db.clickhouse.dialect import condition
from chroma_nb.db.clickhouse.literals import one_of_texts
from chroma_nb.db.ranking import Ranked, VectorRanking

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from uuid import UUID

    import pyarrow as pa
    from numpy.typing import NDArray

    from chroma_nb.db.clickhouse.views import View
    from chroma_nb.filters.expression import Expression
    from chroma_nb.types import Space

_EPSILON = float(np.finfo(np.float64).eps)
_LARGEST = float(np.finfo(np.float32).max)


class Ranking(VectorRanking):
    """Ranks the records of a store.

    Args:
        view: Returns the view of a collection.
        read: Returns the answer of a query that has this filter.
    """

    name: ClassVar[str] = "ClickHouse"

    def __init__(
        self,
        view: Callable[[UUID], View],
        read: Callable[[UUID, str, Expression | None], pa.Table],
    ) -> None:
        self._view = view
        self._read = read

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
        view = self._view(collection_id)
        chosen = f"SELECT label, sequence, {bound(space, query)} AS bound FROM {view.log.sql}"
        matches = matching(expression, ids)
        ranked = f"{chosen} WHERE {view.records} AND notEmpty(embedding){matches}"
        if view.counters.n_removed:
            # A record whose texts were changed has its vector in the row that it had before.
            changed = f"SELECT label FROM {view.log.sql} WHERE {view.records} AND empty(embedding){matches}"
            ranked += f" UNION ALL {chosen} WHERE {view.vectors} AND label IN ({changed})"
        found = self._read(
            collection_id,
            f"SELECT label, sequence, bound FROM ({ranked}) ORDER BY bound, sequence LIMIT {n}",
            expression,
        )
        return Ranked(
            found["label"].to_numpy(), found["sequence"].to_numpy(), found["bound"].to_numpy()
        )

    def count(
        self,
        collection_id: UUID,
        expression: Expression | None = None,
        *,
        ids: Sequence[str] | None = None,
    ) -> int:
        view = self._view(collection_id)
        if expression is None and ids is None:
            return view.counters.n_records
        counted = f"SELECT toInt64(count()) AS n FROM {view.log.sql} WHERE {view.records}{matching(expression, ids)}"
        return int(self._read(collection_id, counted, expression)["n"][0].as_py())


def matching(expression: Expression | None, ids: Sequence[str] | None) -> str:
    """Return what is added to a condition of records; the empty text where all match."""
    added = "" if expression is None else f" AND ({condition(expression)})"
    return added if ids is None else f"{added} AND {one_of_texts('id', list(ids))}"


def bound(space: Space, query: NDArray[np.float32]) -> str:
    """Return the expression of `Ranked.bounds`, as Float32.

    It is computed in float64, as `index.exact.distances` does it, and the two differ by rounding: in a sum of n
    products by at most n eps times the sum of their sizes (Higham, Accuracy and Stability of Numerical Algorithms, 3.1).
    For `l2` that is the distance itself, for `cosine` 1, for `ip` the product of the norms. It is counted four times, for
    both ways and what follows the sum. Rounding to float32 keeps the order.

    Args:
        space: The distance.
        query: Shape (dimension,), float32.
    """
    error = 4 * (len(query) + 8) * _EPSILON
    other = _vector(query.astype("<f8"))
    if space == "l2":
        lower = f"L2SquaredDistance(embedding, {other}) * {1 - error!r}"
    elif space == "cosine":
        # Of a vector of zeros the distance is not a number, and 1 by definition.
        lower = f"greatest(ifNotFinite(cosineDistance(embedding, {other}), 1.) - {error!r}, 0.)"
    else:
        norm = float(np.linalg.norm(query.astype(np.float64)))
        length = f"L2Distance(embedding, arrayWithConstant({len(query)}, toFloat64(0)))"
        lower = f"1. - dotProduct(embedding, {other}) - {error!r} * (1. + {norm!r} * {length})"
    return f"toFloat32(greatest(least({lower}, {_LARGEST!r}), {-_LARGEST!r}))"


def _vector(values: NDArray[np.float64]) -> str:
    """Return an expression for exactly these numbers."""
    return f"reinterpret(unhex('{values.tobytes().hex()}'), 'Array(Float64)')"
