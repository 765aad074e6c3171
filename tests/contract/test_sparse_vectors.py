"""Sparse vectors as metadata values: stored, merged, given back, and matched by no condition on a plain value."""

from __future__ import annotations

from typing import Any

import pytest

NONE_AT_CHROMA = pytest.mark.quirk("local Chroma stores no sparse vectors", by="server")

IDS = ["a", "b", "c"]
VECTORS = [[1.0, 0.0], [0.0, 1.0], [2.0, 2.0]]


def added(create: Any, lib: Any) -> Any:
    records = create()
    metadatas = [
        {"sp": lib.SparseVector([1, 5], [1.0, -0.5], ["<b>", "two"]), "k": 1},
        {"sp": lib.SparseVector([], [])},
        {"k": "x"},
    ]
    records.add(ids=IDS, embeddings=VECTORS, metadatas=metadatas)
    return records


def metadatas(records: Any) -> list[Any]:
    return records.get(include=["metadatas"])["metadatas"]


@NONE_AT_CHROMA
def test_sparse_vectors_come_back_as_they_were(create: Any, lib: Any) -> None:
    records = added(create, lib)
    wanted = [
        {"sp": lib.SparseVector([1, 5], [1.0, -0.5], ["<b>", "two"]), "k": 1},
        {"sp": lib.SparseVector([], [])},
        {"k": "x"},
    ]
    assert metadatas(records) == wanted
    assert type(metadatas(records)[0]["sp"]) is lib.SparseVector
    assert records.peek()["metadatas"] == wanted
    found = records.query(query_embeddings=[[1.0, 0.0], [2.0, 2.0]], n_results=1)
    assert found["metadatas"] == [wanted[:1], wanted[2:]]


@NONE_AT_CHROMA
def test_updates_merge_and_remove_them(create: Any, lib: Any) -> None:
    records = added(create, lib)
    first = metadatas(records)[0]["sp"]
    records.update(ids=IDS, metadatas=[{"k": 2}, {"sp": lib.SparseVector([7], [2.0])}, {"k": 3}])
    assert metadatas(records) == [
        {"sp": first, "k": 2},
        {"sp": lib.SparseVector([7], [2.0])},
        {"k": 3},
    ]
    records.update(ids=["a"], metadatas=[{"sp": None}])
    records.upsert(
        ids=["d"], embeddings=[[3.0, 3.0]], metadatas=[{"sp": lib.SparseVector([0], [1])}]
    )
    assert metadatas(records)[0] == {"k": 2}
    assert metadatas(records)[3] == {"sp": lib.SparseVector([0], [1.0])}


@NONE_AT_CHROMA
@pytest.mark.parametrize(
    ("condition", "wanted"),
    [
        ({"$eq": "sparse_vector"}, []),
        ({"$ne": "x"}, IDS),
        ({"$gt": 0}, []),
        ({"$in": [1, 5]}, []),
        ({"$nin": [1, 5]}, IDS),
    ],
)
def test_conditions_on_plain_values_match_none(
    create: Any, lib: Any, condition: Any, wanted: Any
) -> None:
    records = added(create, lib)
    assert records.get(where={"sp": condition})["ids"] == wanted


@pytest.mark.parametrize(
    ("indices", "values"),
    [([2**32], [1.0]), ([1], [float("nan")]), ([1], [float("-inf")]), ([1], [1e39])],
)
def test_numbers_of_more_than_32_bits_are_refused(
    create: Any, lib: Any, refused: Any, indices: Any, values: Any
) -> None:
    records = create()
    with pytest.raises(refused):
        records.add(
            ids=["a"], embeddings=[[1.0]], metadatas=[{"sp": lib.SparseVector(indices, values)}]
        )
    assert records.count() == 0


def test_chromas_server_says_itself_that_it_has_none(
    create: Any, lib: Any, errors: Any, store_kind: str
) -> None:
    if store_kind != "on_chromas_server":
        pytest.skip("about Chroma's server")
    with pytest.raises(errors.ChromaError, match="Sparse vector is not supported"):
        added(create, lib)
