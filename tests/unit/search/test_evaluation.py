"""`evaluate`: Chroma's rules for who is scored and by how much, on five records, and beside a plain referee.

Records a to e have the embeddings (0, 0), (1, 0), (0, 2), (3, 0) and (0, 4); a, b, c and d have a sparse vector.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from chroma_nb.errors import InvalidArgumentError
from chroma_nb.search import (
    Knn,
    Log,
    Max,
    Min,
    Rank,
    Rrf,
    Sub,
    Val,
    evaluate,
    knn_leaves,
)
from chroma_nb.testing.plain_search import UndecidedError, scored
from tests.unit.search.strategies import RANKS

NAN = math.nan
#: The squared distances to (0, 0) and to (3, 0), and 1 - dot of the sparse vectors with a third query.
DISTANCES = {
    "Q": np.array([0.0, 1, 4, 9, 16]),
    "P": np.array([9.0, 4, 13, 0, 25]),
    "S": np.array([-0.5, 0, NAN, 0.5, NAN]),
}


Q_ALONE = DISTANCES["Q"][np.newaxis]


def Q(**options: Any) -> Knn:
    return Knn("Q", **options)


def P(**options: Any) -> Knn:
    return Knn("P", **options)


def S(**options: Any) -> Knn:
    return Knn("S", **options)


def answer(rank: Rank) -> list[tuple[str, float]]:
    rows = [DISTANCES[str(knn.query)] for knn in knn_leaves(rank)]
    scores = evaluate(rank, np.array(rows).reshape(len(rows), 5))
    return [("abcde"[row], float(scores.values[row])) for row in scores.best_first()]


POSITION: dict[str, Any] = {"return_rank": True}
TOP: dict[str, Any] = {"return_rank": True, "limit": 3, "default": 100}


@pytest.mark.parametrize(
    ("rank", "expected"),
    [
        (Q(), "a 0, b 1, c 4, d 9, e 16"),
        (Q(limit=2), "a 0, b 1"),
        (Q(limit=0), ""),
        (Q(return_rank=True), "a 0, b 1, c 2, d 3, e 4"),
        (Val(1.0), ""),
        (Q(limit=2) + P(limit=2), "b 5"),
        (Q(limit=2) + P(limit=2, default=100), "b 5, a 100"),
        (Q(limit=2, default=50) + P(limit=2, default=100), "b 5, d 50, a 100"),
        (Q(limit=2, default=7), "a 0, b 1"),
        (Q() * 0.5 + P() * 0.25, "b 1.5, a 2.25, d 4.5, c 5.25, e 14.25"),
        (-Q(), "e -16, d -9, c -4, b -1, a 0"),
        (1 / (1 + Q(limit=3)), "c 0.2, b 0.5, a 1"),
        (Q(limit=3).log(), "a -inf, b 0, c 1.3862944"),
        (Q().max(2).min(10), "a 2, b 2, c 4, d 9, e 10"),
        (abs(Q() - P()), "b 3, a 9, c 9, d 9, e 9"),
        (Rrf([Q(**POSITION), S(**POSITION)]), "a -0.03333333, b -0.03278688, d -0.03200205"),
        (
            Rrf([Q(**POSITION, default=1000), S(**POSITION, default=1000)]),
            "a -0.03333333, b -0.03278688, d -0.03200205, c -0.01707243, e -0.01656840",
        ),
        (
            Rrf([Q(**TOP), P(**TOP)], k=10, weights=[3, 1], normalize=True),
            "a -0.09583333, b -0.09090909, c -0.06477273, d -0.03181818",
        ),
        (
            Rrf([Q(), P()]),
            "b -0.03201844, a -0.03115942, d -0.03115942, c -0.02932363, e -0.02492260",
        ),
        (S(), "a -0.5, b 0, d 0.5"),
        (Q() + S(default=2), "a -0.5, b 1, c 6, d 9.5, e 18"),
    ],
)
def test_the_rules_of_chroma(rank: Rank, expected: str) -> None:
    pairs = [pair.split() for pair in expected.split(", ")] if expected else []
    found = answer(rank)
    assert [name for name, _ in found] == [name for name, _ in pairs]
    assert [score for _, score in found] == pytest.approx([float(score) for _, score in pairs])


def test_a_constant_scores_nobody() -> None:
    assert answer(Q(limit=0, default=1) + 1) == []


def test_nan_and_infinity_are_scores() -> None:
    rank = Log(Sub(Q(), 4))
    scores = evaluate(rank, Q_ALONE)
    assert scores.scored.all()
    # Of records a and b the logarithm is not a number: they are in the answer, at its end.
    assert scores.best_first().tolist() == [2, 3, 4, 0, 1]
    assert scores.values[2] == -np.inf
    assert evaluate(Q() / 0, Q_ALONE).values[1] == np.inf
    # The larger and the smaller of two pass over what is not a number.
    assert evaluate(Max([rank, 1]), Q_ALONE).values[:3].tolist() == [1, 1, 1]
    assert evaluate(Min([5, rank]), Q_ALONE).values[:3].tolist() == [5, 5, -np.inf]


def test_equal_scores_keep_the_order_of_the_records() -> None:
    scores = evaluate(Q(limit=3), np.array([[1.0, 0.0, 1.0, 1.0, -0.0]]))
    assert scores.best_first().tolist() == [4, 1, 0]
    assert np.isnan(scores.values[[2, 3]]).all()


def test_shapes_and_kinds() -> None:
    distances = np.array([[1, 2]], dtype=np.float32)
    scores = evaluate(Q() + 1, distances)
    assert scores.values.dtype == np.float64
    assert scores.scored.dtype == np.bool_
    assert distances.tolist() == [[1, 2]]
    empty = evaluate(Q(default=1) + P(default=1), np.empty((2, 0)))
    assert empty.values.shape == empty.scored.shape == empty.best_first().shape == (0,)


@pytest.mark.parametrize("shape", [(1, 5), (3, 5), (2,), (2, 5, 1)])
def test_distances_that_do_not_fit_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"Expected distances of shape \(2, n\)"):
        evaluate(Q() + P(), np.zeros(shape))


def test_a_rank_that_is_too_deep_is_refused_by_name() -> None:
    rank: Rank = Q()
    for _ in range(20_000):
        rank = rank - 1
    with pytest.raises(InvalidArgumentError, match="too deeply"):
        evaluate(rank, np.zeros((1, 2)))


# -- a plain referee ------------------------------------------------------------------------------

LIMITED = st.floats(-4, 4, width=32) | st.just(NAN) | st.sampled_from([0.0, -0.0, 1.0])


@settings(max_examples=300, deadline=None)
@given(st.data(), RANKS)
def test_scores_are_those_of_a_plain_referee(data: st.DataObject, rank: Rank) -> None:
    n = data.draw(st.integers(0, 5))
    column = st.lists(LIMITED, min_size=n, max_size=n)
    rows = [data.draw(column) for _ in knn_leaves(rank)]
    distances = np.array(rows, dtype=float).reshape(len(rows), n)
    scores = evaluate(rank, distances)
    rows_of = iter(distances)

    def neighbours(knn: Knn) -> list[tuple[float, int]]:
        column = next(rows_of)
        near = [row for row in range(n) if not math.isnan(column[row])]
        near.sort(key=lambda row: (column[row], math.copysign(1, column[row]), row))
        return [(float(column[row]), row) for row in near[: knn.limit]]

    try:
        expected, _ = scored(rank, neighbours)
    except UndecidedError:
        reject()
    assert set(np.flatnonzero(scores.scored).tolist()) == set(expected)
    for row in range(n):
        assert scores.values[row] == pytest.approx(expected.get(row, NAN), nan_ok=True)
