"""Ranks at random, for Hypothesis."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from chroma_nb.search import (
    Abs,
    Div,
    Exp,
    Knn,
    Log,
    Max,
    Min,
    Mul,
    SparseVector,
    Sub,
    Sum,
    Val,
)

NUMBERS = st.integers(-3, 3) | st.floats(-3, 3, allow_nan=False)
QUERIES = st.one_of(
    st.sampled_from(["a text", SparseVector([1, 4], [0.5, 2.0]), SparseVector([], [], [])]),
    st.lists(st.floats(-1, 1, width=32), min_size=1, max_size=3),
)
KNNS = st.builds(
    Knn,
    QUERIES,
    key=st.sampled_from(["#embedding", "sparse"]),
    limit=st.integers(1, 20),
    default=st.none() | NUMBERS,
    return_rank=st.booleans(),
)


def arithmetic_of(parts: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Return ranks that are made of these by one operation."""
    return st.one_of(
        st.builds(
            lambda kind, ranks: kind(ranks),
            st.sampled_from([Sum, Mul, Max, Min]),
            st.lists(parts, min_size=2, max_size=3),
        ),
        st.builds(lambda kind, *pair: kind(*pair), st.sampled_from([Sub, Div]), parts, parts),
        st.builds(lambda kind, rank: kind(rank), st.sampled_from([Abs, Exp, Log]), parts),
    )


RANKS = st.recursive(KNNS | st.builds(Val, NUMBERS), arithmetic_of, max_leaves=8)
