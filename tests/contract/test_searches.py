"""`Collection.search`, in Chroma's words: what a notebook for Chroma Cloud does is the same in each way to a store of ours."""

from __future__ import annotations

import importlib
from typing import Any

import pytest

NONE_AT_CHROMA = pytest.mark.quirk("no local Chroma carries out searches", by="server")

IDS = ["a", "b", "c", "d", "e"]
EMBEDDINGS = [[0.0, 0.0], [1.0, 0.0], [0.0, 2.0], [3.0, 0.0], [0.0, 4.0]]
DOCUMENTS = ["red apple", "green apple", "red car", "blue car", "sky"]
METADATAS = [{"c": "x", "y": 1}, {"c": "x", "y": 2}, {"c": "y", "y": 3}, {"c": "y"}, {"y": 5}]


@pytest.fixture
def x(lib: Any) -> Any:
    """The expressions."""
    return importlib.import_module(f"{lib.__name__}.execution.expression")


@pytest.fixture
def five(create: Any) -> Any:
    made = create()
    made.add(ids=IDS, embeddings=EMBEDDINGS, documents=DOCUMENTS, metadatas=METADATAS)
    return made


@NONE_AT_CHROMA
def test_one_search(five: Any, x: Any) -> None:
    search = x.Search().rank(x.Knn(query=[0.0, 0.0])).limit(2, offset=1)
    result = five.search(search.select(x.K.DOCUMENT, x.K.SCORE, "c"))
    assert result == {
        "ids": [["b", "c"]],
        "documents": [["green apple", "red car"]],
        "embeddings": [None],
        "metadatas": [[{"c": "x"}, {"c": "y"}]],
        "scores": [[1.0, 4.0]],
        "select": [["#document", "#score", "c"]],
    }
    assert result.rows()[0][0] == {
        "id": "b",
        "document": "green apple",
        "metadata": {"c": "x"},
        "score": 1.0,
    }


@NONE_AT_CHROMA
def test_several_searches(five: Any, x: Any) -> None:
    first = x.Search().rank(x.Knn(query=[0.0, 0.0])).limit(2).select(x.K.DOCUMENT, x.K.SCORE)
    second = x.Search(where=x.K("c") == "y").limit(1)
    result = five.search([first, second])
    assert result["ids"] == [["a", "b"], ["c"]]
    assert result["documents"] == [["red apple", "green apple"], None]
    assert result["scores"] == [[0.0, 1.0], None]
    assert result["metadatas"] == [None, None]
    assert result.rows()[1] == [{"id": "c"}]


@NONE_AT_CHROMA
def test_a_fusion_with_a_filter_and_groups(five: Any, x: Any) -> None:
    near = [x.Knn(query=query, return_rank=True, default=9) for query in ([0.0, 0.0], [3.0, 0.0])]
    search = x.Search(
        where=x.K.DOCUMENT.not_contains("sky"),
        rank=x.Rrf(near, k=10),
        group_by=x.GroupBy(keys=x.K("c"), aggregate=x.MinK(keys=x.K.SCORE, k=1)),
    ).select(x.K.SCORE)
    result = five.search(search)
    # Places: a 0 and 2, b 1 and 1, c 2 and 3, d 3 and 0.
    assert result["ids"] == [["a", "d"]]
    assert result["scores"][0] == pytest.approx([-1 / 10 - 1 / 12, -1 / 13 - 1 / 10])


@NONE_AT_CHROMA
def test_everything_of_a_record(five: Any, x: Any) -> None:
    (row,) = five.search(x.Search(where=x.K.ID == "c").select_all()).rows()[0]
    assert row == {
        "id": "c",
        "document": "red car",
        "embedding": [0.0, 2.0],
        "metadata": {"c": "y", "y": 3},
        "score": 0.0,
    }


@NONE_AT_CHROMA
def test_nothing_is_found(five: Any, x: Any) -> None:
    search = x.Search(where=x.K("c") == "nobody", rank=x.Knn(query=[0.0, 0.0])).select_all()
    result = five.search(search)
    for column in ("ids", "documents", "embeddings", "metadatas", "scores"):
        assert result[column] == [[]], column
    assert five.search(x.Search(rank=x.Val(1.0)))["ids"] == [[]]
    assert five.search([])["ids"] == []


@NONE_AT_CHROMA
def test_what_is_refused(five: Any, x: Any, refused: Any) -> None:
    sparse = importlib.import_module(x.__name__.split(".")[0]).SparseVector([1], [1.0])
    for search in (
        x.Search(rank=x.Knn(query=[1.0, 2.0, 3.0])),
        x.Search(rank=x.Knn(query=sparse, key="sp")),
        x.Search(rank=x.Knn(query=sparse)),
        x.Search(group_by=x.GroupBy(keys=["c"], aggregate=x.MinK(keys="y", k=1))),
        x.Search(rank=x.Knn(query=[0.0, 0.0]), where={"#document": {"$eq": "red"}}),
    ):
        with pytest.raises(refused):
            five.search([x.Search(), search])


@pytest.mark.beyond_chroma("a search for words", by="server")
def test_a_text_alone(five: Any) -> None:
    result = five.search("red apples", by="words", n_results=2)
    assert result["ids"] == [["a", "b"]] or result["ids"] == [["a", "c"]]
    assert result.parts[0][0].positions == [0, 1]
