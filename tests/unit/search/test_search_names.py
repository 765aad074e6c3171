"""Chroma's search expressions become Chroma's JSON."""

from __future__ import annotations

import numpy as np
import pytest

import chroma_nb
from chroma_nb import K, Knn, Rrf, Search, SparseVector

KNN = {"$knn": {"query": [0.5], "key": "#embedding", "limit": 16}}


def test_an_empty_search() -> None:
    assert Search().to_dict() == {
        "filter": None,
        "rank": None,
        "group_by": {},
        "limit": {"offset": 0},
        "select": {"keys": []},
    }


def test_a_whole_search() -> None:
    search = (
        Search()
        .where((K("a") == 1) & (K("b").is_in(["x"])))
        .rank(Knn(query=np.array([0.5])) * 0.8 + 0.2)
        .limit(10, offset=2)
        .select("title", K.DOCUMENT)
    )
    assert search.to_dict() == {
        "filter": {"$and": [{"a": {"$eq": 1}}, {"b": {"$in": ["x"]}}]},
        "rank": {"$sum": [{"$mul": [KNN, {"$val": 0.8}]}, {"$val": 0.2}]},
        "group_by": {},
        "limit": {"offset": 2, "limit": 10},
        "select": {"keys": ["#document", "title"]},
    }


def test_conditions_can_be_used_as_where() -> None:
    with chroma_nb.EphemeralClient(chroma_nb.Settings(allow_reset=True)) as client:
        client.reset()
        notes = client.create_collection("notes", embedding_function=None)
        notes.add(
            ids=["a", "b", "c"],
            embeddings=np.eye(3),
            metadatas=[{"n": 1, "t": ["x"]}, {"n": 2}, {"n": 3}],
        )
        for condition, expected in [
            ((K("n") >= 2) & (K("n") < 3), ["b"]),
            ((K("n") != 2) | K("t").contains("x"), ["a", "c"]),
            (K("n").not_in([1, 3]), ["b"]),
            (K("t").not_contains("x") & (K("n") <= 2) & (K("n") > 0), ["b"]),
        ]:
            assert notes.get(where=condition.to_dict())["ids"] == expected


def test_ranks() -> None:
    knn = Knn(query=[0.5])
    assert (1 / knn).to_dict() == {"$div": {"left": {"$val": 1}, "right": KNN}}
    assert (-knn).to_dict() == {"$mul": [{"$val": -1}, KNN]}
    assert (knn - 1).exp().to_dict() == {"$exp": {"$sub": {"left": KNN, "right": {"$val": 1}}}}
    assert abs(knn).log().to_dict() == {"$log": {"$abs": KNN}}
    assert knn.max(1).to_dict() == {"$max": [KNN, {"$val": 1}]}
    fused = Rrf([knn, knn], weights=[3, 1], normalize=True).to_dict()
    terms = [
        {"$div": {"left": {"$val": share}, "right": {"$sum": [{"$val": 60}, KNN]}}}
        for share in (0.75, 0.25)
    ]
    assert fused == {"$mul": [{"$val": -1}, {"$sum": terms}]}
    with pytest.raises(ValueError, match=r"weights \(2\) must match number of ranks \(1\)"):
        Rrf([knn], weights=[1, 2])


def test_sparse_vectors() -> None:
    vector = SparseVector([1, 5], [0.5, 0.25], ["a", "b"])
    assert SparseVector.from_dict(vector.to_dict()) == vector
    for indices, values in [([2, 1], [1.0, 1.0]), ([1], [1.0, 2.0]), ([-1], [1.0])]:
        with pytest.raises(ValueError, match="SparseVector"):
            SparseVector(indices, values)
