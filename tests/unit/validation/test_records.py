"""The arguments of writing calls."""

from __future__ import annotations

from typing import Any

import pytest

from chroma_nb import validation

ONE = [[1.0, 2.0]]


def insert(**more: Any) -> validation.Given:
    names = ("ids", "embeddings", "metadatas", "documents", "images", "uris")
    upsert = more.pop("upsert", False)
    given = {"ids": ["a"], **more}
    return validation.check_insert(*(given.get(name) for name in names), upsert=upsert)


def test_one_item_is_a_list_of_one() -> None:
    given = insert(ids="a", embeddings=[1, 2], metadatas={"k": 1}, documents="d", uris="u")
    assert given.batch.ids == ["a"]
    assert given.batch.metadatas == [{"k": 1}]
    assert given.batch.documents == ["d"]
    assert given.batch.uris == ["u"]
    assert given.batch.embeddings is not None
    assert given.batch.embeddings.shape == (1, 2)


def test_documents_are_embedded_where_embeddings_are_missing() -> None:
    assert insert(documents=["d"]).to_embed == ["d"]
    assert insert(embeddings=ONE, documents=[None]).batch.documents == [None]


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ({"ids": []}, "Non-empty lists are required for ['ids']"),
        ({"ids": [], "documents": []}, "Non-empty lists are required for ['ids', 'documents']"),
        ({"embeddings": ONE, "metadatas": []}, "Non-empty lists are required for ['metadatas']"),
        ({"embeddings": []}, "Expected Embeddings to be non-empty list or numpy array, got []"),
        ({"ids": [], "embeddings": []}, "Expected Embeddings to be non-empty list"),
        ({}, "Exactly one of documents, images, uris must be provided"),
        ({"upsert": True}, "Exactly one of documents, images must be provided"),
        ({"documents": ["d"], "uris": ["u"]}, "Exactly one of documents, images, uris"),
        ({"documents": [None]}, "Expected document to be a str, got None"),
        (
            {"ids": ["a", "b"], "embeddings": ONE},
            "Unequal lengths for fields: ids: 2, embeddings: 1",
        ),
        ({"embeddings": ONE, "documents": [5]}, "Expected document to be a str, got 5"),
        ({"embeddings": ONE, "uris": [5]}, "Expected uri to be a str, got 5"),
        ({"embeddings": ONE, "documents": ["\ud800"]}, "Expected document to be valid Unicode"),
        # A record that is new would have no embedding; update alone may leave one as it is.
        ({"embeddings": [None]}, "Expected embeddings to be"),
        ({"embeddings": [None], "upsert": True}, "Expected embeddings to be"),
        ({"embeddings": [None, [1, 2]], "ids": ["a", "b"], "upsert": True}, "Expected embeddings"),
    ],
    ids=ascii,
)
def test_bad_inserts(more: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        insert(**more)
    assert text in str(caught.value)


def test_update_leaves_what_is_none() -> None:
    given = validation.check_update(["a", "b", "c"], [None, [1, 2], None], None, None, None, None)
    assert given.batch.embedded is not None
    assert given.batch.embedded.tolist() == [False, True, False]
    assert given.batch.embeddings is not None
    assert given.batch.embeddings[1].tolist() == [1.0, 2.0]
    nothing = validation.check_update(["a"], [None], None, None, None, None)
    assert nothing.batch.embeddings is None
    assert validation.check_update(["a"], None, None, None, None, None).to_embed is None
