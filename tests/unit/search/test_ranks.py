"""Ranks are a tree of frozen nodes, made by arithmetic, written as Chroma's JSON and read from it."""

from __future__ import annotations

import copy
import dataclasses
import json
import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chroma_nb import K, SparseVector
from chroma_nb.errors import InvalidArgumentError
from chroma_nb.search import (
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
from chroma_nb.search.sparse import revive
from tests.unit.search.strategies import KNNS, RANKS

A, B, C = Knn([1.0]), Knn([2.0]), Knn([3.0])


@settings(max_examples=300, deadline=None)
@given(RANKS)
def test_a_rank_that_was_written_is_read_as_itself(rank: Rank) -> None:
    assert Rank.from_dict(rank.to_dict()) == rank
    assert Rank.from_dict(json.loads(json.dumps(rank.to_dict()))) == rank
    assert pickle.loads(pickle.dumps(rank)) == copy.deepcopy(rank) == rank


@given(st.lists(KNNS, min_size=1, max_size=4))
def test_the_leaves_are_from_left_to_right(leaves: list[Knn]) -> None:
    first, *others = leaves
    for rank in (Sum(leaves), Rrf(leaves), Sub(first, Abs(Max([1, *others]))), first / Mul(others)):
        assert [*knn_leaves(rank)] == leaves
    assert [*knn_leaves(Val(1))] == []


def test_arithmetic_makes_a_flat_tree() -> None:
    assert A + B + C == Sum((A, B, C)) == A + (B + C)
    assert Mul((A, B, C)) == A * (B * C)
    assert A.max(B).max(C) == Max((A, B, C))
    assert A.min(B.min(0)) == Min((A, B, Val(0)))
    assert Sub(Sub(A, B), C) == A - B - C
    assert Sub(Val(1), Div(A, Val(2))) == 1 - A / 2
    assert Div(Val(2), A) == 2 / A
    assert Sum((Mul((Val(2), A)), Val(1))) == 2 * A + 1
    assert abs(A) == A.abs() == Abs(A)
    assert A.exp().log() == Log(Exp(A))
    assert sum([A, B]) == Sum((Val(0), A, B))
    # As in Chroma: what is negated stays one operand.
    assert Mul((Val(-1), Mul((A, B)))) == -(A * B)


def test_numbers_of_numpy_are_numbers() -> None:
    for number in (np.float32(0.5), np.float64(0.5)):
        assert number * A == Mul((Val(0.5), A))
        assert A * number == Mul((A, Val(0.5)))
        assert number + A == Sum((Val(0.5), A))
        assert number - A == Sub(Val(0.5), A)
        assert number / A == Div(Val(0.5), A)
        json.dumps((number * A).to_dict())
    assert A + np.int64(2) == A + 2


@pytest.mark.parametrize(
    "make",
    [
        lambda: A + "a",
        lambda: "a" + A,
        lambda: A * None,
        lambda: A - {"$val": 1},
        lambda: A / [1],
        lambda: A.max("a"),
        lambda: Sum([A, "a"]),
        lambda: Val("a"),
        lambda: Abs("a"),
        lambda: Rrf(["a"]),
        lambda: A < B,
        lambda: A**2,
        lambda: Knn(5),
        lambda: Knn(None),
        lambda: Knn(K("a")),
    ],
)
def test_what_is_no_rank_is_refused(make: Any) -> None:
    with pytest.raises(TypeError):
        make()


def test_a_node_does_not_change() -> None:
    query = [1.0, 2.0]
    knn = Knn(query)
    query.append(3.0)
    knn.to_dict()["$knn"]["query"].append(3.0)
    assert knn.to_dict()["$knn"]["query"] == [1.0, 2.0]
    total = knn + 1
    total.to_dict()["$sum"].append("x")
    assert total.to_dict() == (knn + 1).to_dict()
    for node, name in ((knn, "limit"), (total, "ranks"), (Val(1), "value"), (abs(knn), "rank")):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(node, name, None)
    assert dataclasses.replace(knn, limit=3) == Knn([1.0, 2.0], limit=3)


def test_queries_of_every_kind() -> None:
    for query in ([1, 2], (1, 2), np.array([1, 2]), np.array([1.0, 2.0], dtype=np.float32)):
        assert Knn(query) == Knn([1, 2])
    sparse = SparseVector([1], [2.0])
    for given_as in (sparse, sparse.to_dict(), {"indices": [1], "values": [2.0]}):
        assert Knn(given_as, key=K("s")) == Knn(sparse, key="s")
    assert repr(Knn(np.zeros(384))) == (
        "Knn(query=<384 numbers>, key='#embedding', limit=16, default=None, return_rank=False)"
    )
    assert repr(Knn("bear") + 1).startswith("Sum(ranks=(Knn(query='bear', ")


@pytest.mark.parametrize(
    ("data", "error", "words"),
    [
        (5, TypeError, "Expected dict"),
        ([], TypeError, "Expected dict"),
        ({}, ValueError, "cannot be empty"),
        ({"$val": 1, "$sum": []}, ValueError, "exactly one operator"),
        ({"$summ": []}, ValueError, r"Did you mean \$sum"),
        ({1: []}, ValueError, "Unknown operator"),
        ({"$val": "1"}, TypeError, "number"),
        ({"$knn": []}, TypeError, "dict"),
        ({"$knn": {}}, ValueError, "query"),
        ({"$knn": {"query": 5}}, TypeError, "query of a Knn"),
        ({"$knn": {"query": [1, "x"]}}, TypeError, "numbers"),
        ({"$knn": {"query": [[1.0]]}}, TypeError, "numbers"),
        ({"$knn": {"query": {"#type": "dense", "indices": [], "values": []}}}, ValueError, "#type"),
        ({"$knn": {"query": {"#type": "sparse_vector"}}}, ValueError, "indices and values"),
        ({"$knn": {"query": [1], "key": 1}}, TypeError, "key"),
        ({"$knn": {"query": [1], "limit": "1"}}, TypeError, "limit"),
        ({"$knn": {"query": [1], "limit": True}}, TypeError, "limit"),
        ({"$knn": {"query": [1], "limit": 0}}, ValueError, "positive"),
        ({"$knn": {"query": [1], "default": "1"}}, TypeError, "default"),
        ({"$knn": {"query": [1], "return_rank": 1}}, TypeError, "return_rank"),
        ({"$knn": {"query": [1], "limits": 1}}, ValueError, "Did you mean limit"),
        ({"$sum": {"$val": 1}}, TypeError, "list"),
        ({"$max": [{"$val": 1}]}, ValueError, "at least two"),
        ({"$sub": [{"$val": 1}]}, TypeError, "left and right"),
        ({"$div": {"left": {"$val": 1}}}, ValueError, "left and right"),
        ({"$div": {"left": 1, "right": 2}}, TypeError, "Expected dict"),
        ({"$abs": 5}, TypeError, "Expected dict"),
        ({"$rrf": {"ranks": []}}, ValueError, "Unknown operator"),
    ],
)
def test_json_that_is_no_rank_is_refused(data: Any, error: Any, words: str) -> None:
    with pytest.raises(error, match=words):
        Rank.from_dict(data)


def test_a_rank_that_is_too_deep_is_refused_by_name() -> None:
    data: dict[str, Any] = {"$val": 1}
    for _ in range(20_000):
        data = {"$abs": data}
    with pytest.raises(InvalidArgumentError, match="too deeply"):
        Rank.from_dict(data)


@pytest.mark.parametrize(
    ("ranks", "options", "words"),
    [
        ([], {}, "at least one rank"),
        ([A], {"k": 0}, "k must be positive.*k=0"),
        ([A], {"weights": []}, r"weights \(0\) must match number of ranks \(1\)"),
        ([A, B], {"weights": [1, -1]}, r"non-negative, got \[1, -1\]"),
        ([A, B], {"weights": [0, 0], "normalize": True}, "Sum of weights must be positive"),
    ],
)
def test_a_fusion_that_means_nothing_is_refused(ranks: Any, options: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Rrf(ranks, **options)


def test_a_fusion_is_read_as_its_arithmetic() -> None:
    fusion = Rrf([A, B + C], k=10, weights=[3, 1], normalize=True)
    assert fusion.expanded() == -(0.75 / (10 + A) + 0.25 / Sum((10, B, C)))
    assert Rank.from_dict(fusion.to_dict()) == fusion.expanded()


@pytest.mark.parametrize(
    ("indices", "values", "labels"),
    [
        ("12", [1.0, 2.0], None),
        ([1.0], [1.0], None),
        (["1"], [1.0], None),
        ([1], ["1"], None),
        ([1], [None], None),
        ([1, 1], [1.0, 1.0], None),
        ([1], [1.0], [5]),
        ([1], [1.0], ["a", "b"]),
    ],
)
def test_a_sparse_vector_of_something_else_is_refused(
    indices: Any, values: Any, labels: Any
) -> None:
    with pytest.raises(ValueError, match="SparseVector"):
        SparseVector(indices, values, labels)


def test_a_member_that_no_sparse_vector_has_is_named() -> None:
    vector = {"indices": [1], "values": [1.0]}
    for name, hint in (("weights", ""), ("value", "Did you mean values"), ("labels", "its labels")):
        with pytest.raises(ValueError, match=f"'{name}'.*{hint}"):
            Knn({**vector, name: [2]}, key="sp")
        with pytest.raises(ValueError, match=f"'{name}'"):
            Rank.from_dict({"$knn": {"query": {"#type": "sparse_vector", **vector, name: [2]}}})
    # Of what somebody else has written nothing is lost.
    found = [{"sp": {"#type": "sparse_vector", **vector, "weights": [2]}}]
    revive(found)
    assert found[0]["sp"]["weights"] == [2]


def test_a_sparse_vector_of_numpy_is_json() -> None:
    vector = SparseVector(np.array([1, 3]), np.array([0.5, 1.0], dtype=np.float32))  # type: ignore[arg-type]
    assert vector == SparseVector([1, 3], [0.5, 1.0])
    json.dumps(vector.to_dict())
