"""What a collection embeds with, asked for itself: the vectors are those of `add` and `query`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import chroma_nb
from chroma_nb.errors import InternalError

if TYPE_CHECKING:
    from pathlib import Path


class Lengths:
    """Embeds a text as its length and its number of spaces."""

    def __call__(self, input: list[str]) -> list[list[float]]:
        return [[float(len(text)), float(text.count(" "))] for text in input]


@pytest.fixture
def client(tmp_path: Path) -> Any:
    with chroma_nb.PersistentClient(tmp_path / "store") as client:
        yield client


def test_documents_and_queries_are_embedded_as_add_and_query_do(client: Any) -> None:
    client.create_collection("notes", embedding_function=None)
    notes = client.get_collection("notes", embedding_function=Lengths())
    notes.add(ids=["a", "b"], documents=["a bear", "bears"])
    made = notes.embed_documents(["a bear", "bears"])
    assert made.dtype == np.float32
    assert made.tolist() == [[6.0, 1.0], [5.0, 0.0]]
    assert notes.get(include=["embeddings"])["embeddings"].tolist() == made.tolist()
    assert notes.embed_queries("a bear").tolist() == [[6.0, 1.0]]
    assert notes.embed_queries(["a bear", "bears"]).tolist() == made.tolist()
    asked = notes.query(query_embeddings=notes.embed_queries(["bears"]), n_results=1)
    assert asked["ids"] == notes.query(query_texts=["bears"], n_results=1)["ids"] == [["b"]]


def test_without_a_function_the_error_says_what_to_give_instead(client: Any) -> None:
    notes = client.create_collection("notes", embedding_function=None)
    with pytest.raises(
        ValueError, match=r"You must provide an embedding function.*Give embeddings="
    ):
        notes.embed_documents(["a bear"])
    with pytest.raises(ValueError, match=r"You must provide.*Give query_embeddings="):
        notes.embed_queries("a bear")
    with pytest.raises(ValueError, match="Expected document to be a str"):
        notes.embed_queries([1])


def test_a_collection_says_which_client_and_api_it_belongs_to(client: Any) -> None:
    notes = client.create_collection("notes", embedding_function=None)
    assert notes.client is client
    assert notes.api is client.api
    client.close()
    with pytest.raises(InternalError, match="This client is closed"):
        _ = notes.api
