"""`evaluate`: the scores of records by a rank, from the distances to its queries.

It asks no store: whoever calls it has found the neighbours of each `Knn`.

Every node gives a value to some records, and may have a default for the others. A number gives none and is a
default for all; a `Knn` gives its neighbours their distances, and has the default that was set. Where two
operands meet, a record without a value in one gets that operand's default, and falls out where there is none. If
both have defaults, a record needs a value in one of them. What has a value at the root is in the answer: a
default alone puts no record there. These are Chroma's rules; its arithmetic is float32, ours float64.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING

import numpy as np

from chroma_nb.errors import InvalidArgumentError
from chroma_nb.search.ranks import (
    Abs,
    Div,
    Exp,
    Knn,
    Log,
    Max,
    Min,
    Mul,
    Rank,
    Rrf,
    Sub,
    Sum,
    Val,
    knn_leaves,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray


@dataclass(frozen=True)
class Scores:
    """What a rank says about n records.

    Attributes:
        values: float64 of shape (n,): the scores, lower is better. May be infinite or NaN, as of the logarithm
            of a negative number; a record that is not scored has NaN.
        scored: bool of shape (n,): is the record in the answer?
    """

    values: NDArray[np.float64]
    scored: NDArray[np.bool_]

    def best_first(self) -> NDArray[np.intp]:
        """Return the positions of the scored records by score: intp of shape (number scored,).

        Equal scores keep the records' order; -0.0 comes before 0.0 and NaN last, as in Chroma.
        """
        rows = np.flatnonzero(self.scored)
        values = self.values[rows]
        return rows[np.lexsort((~np.signbit(values), values))]


def evaluate(rank: Rank, distances: NDArray[np.floating]) -> Scores:
    """Return the scores of n records, the candidates, by a rank.

    Args:
        rank: What to compute.
        distances: float of shape (number of leaves, n), a row for each `Knn` in `knn_leaves(rank)`: the distances
            of the candidates to its query, NaN where a candidate has no such embedding or was not found. The
            candidates are in storage order, which decides between equal distances. Only the `limit` smallest of a
            row count, so it may have more than the neighbours.

    Raises:
        ValueError: Distances of another shape.
        InvalidArgumentError: The rank is nested more deeply than Python can follow.
    """
    try:
        n_leaves = sum(1 for _ in knn_leaves(rank))
        rows = np.asarray(distances, dtype=np.float64)
        if rows.ndim != 2 or len(rows) != n_leaves:
            raise ValueError(
                f"Expected distances of shape ({n_leaves}, n), a row for each Knn, got shape {rows.shape}"
            )
        with np.errstate(all="ignore"):
            found = _evaluated(rank, iter(rows), rows.shape[1])
    except RecursionError:
        raise InvalidArgumentError(
            "The rank is nested too deeply. A list of ranks under one $sum or $mul is flat."
        ) from None
    return Scores(np.where(found.scored, found.values, np.nan), found.scored)


@dataclass(frozen=True)
class _Operand:
    """A node's values (float64 of shape (n,)), who has one (bool of shape (n,)), and the others' default."""

    values: NDArray[np.float64]
    scored: NDArray[np.bool_]
    default: np.float64 | None

    def filled(self) -> NDArray[np.float64]:
        return np.where(self.scored, self.values, np.nan if self.default is None else self.default)


_OF_ONE: dict[type[Rank], np.ufunc] = {Abs: np.abs, Exp: np.exp, Log: np.log}
#: The larger and the smaller of two ignore a NaN, as in Chroma.
_OF_TWO: dict[type[Rank], np.ufunc] = {
    Sub: np.subtract,
    Div: np.divide,
    Sum: np.add,
    Mul: np.multiply,
    Max: np.fmax,
    Min: np.fmin,
}
#: What no operands at all come to.
_OF_NONE: dict[type[Rank], float] = {Sum: 0.0, Mul: 1.0, Max: -np.inf, Min: np.inf}


def _evaluated(rank: Rank, distances: Iterator[NDArray[np.float64]], n: int) -> _Operand:
    """Return a node's value; takes from `distances` a row for each `Knn` that it meets."""
    if isinstance(rank, Val):
        return _constant(rank.value, n)
    if isinstance(rank, Knn):
        return _neighbours(rank, next(distances))
    if isinstance(rank, Rrf):
        return _evaluated(rank.expanded(), distances, n)
    if isinstance(rank, Abs | Exp | Log):
        operand = _evaluated(rank.rank, distances, n)
        function = _OF_ONE[type(rank)]
        default = None if operand.default is None else function(operand.default)
        return _Operand(function(operand.values), operand.scored, default)
    if isinstance(rank, Sub | Div):
        left = _evaluated(rank.left, distances, n)
        return _combined(_OF_TWO[type(rank)], left, _evaluated(rank.right, distances, n))
    if isinstance(rank, Sum | Mul | Max | Min):
        if not rank.ranks:
            return _constant(_OF_NONE[type(rank)], n)
        operands = (_evaluated(part, distances, n) for part in rank.ranks)
        function = _OF_TWO[type(rank)]
        return reduce(lambda left, right: _combined(function, left, right), operands)
    raise TypeError(f"Expected a rank, got {type(rank).__name__}")


def _constant(value: float, n: int) -> _Operand:
    return _Operand(np.full(n, np.nan), np.zeros(n, dtype=bool), np.float64(value))


def _neighbours(knn: Knn, distances: NDArray[np.float64]) -> _Operand:
    best = Scores(distances, ~np.isnan(distances)).best_first()[: max(knn.limit, 0)]
    scored = np.zeros(len(distances), dtype=bool)
    scored[best] = True
    values = distances
    if knn.return_rank:
        values = np.full(len(distances), np.nan)
        values[best] = np.arange(len(best))
    return _Operand(values, scored, None if knn.default is None else np.float64(knn.default))


def _combined(function: np.ufunc, left: _Operand, right: _Operand) -> _Operand:
    values = function(left.filled(), right.filled())
    if left.default is not None and right.default is not None:
        return _Operand(values, left.scored | right.scored, function(left.default, right.default))
    if left.default is None and right.default is None:
        return _Operand(values, left.scored & right.scored, None)
    return _Operand(values, left.scored if left.default is None else right.scored, None)
