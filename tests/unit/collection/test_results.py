"""Results: dicts that can be pickled, also by an earlier version."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

import pytest

import chroma_nb
from chroma_nb.collection import Explanation, GetResult, QueryResult
from tests.stores import private_settings

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def notes() -> Iterator[Any]:
    client = chroma_nb.EphemeralClient(private_settings())
    notes = client.create_collection("pickled_results", embedding_function=None)
    notes.add(ids=["a", "b"], embeddings=[[1.0, 0.0], [0.0, 1.0]], metadatas=[{"n": 1}, None])
    yield notes
    client.delete_collection("pickled_results")


def results(notes: Any) -> list[Any]:
    condition = notes.fields["n"] > 0
    return [
        notes.get(where=condition),
        notes.query(query_embeddings=[1.0, 0.0], where=condition),
        notes.explain(),
    ]


@pytest.mark.parametrize("module", ["chroma_nb.collection.results", "chroma_nb.results"])
def test_a_pickled_result_comes_back(notes: Any, module: str) -> None:
    """Earlier versions had them in `chroma_nb.results`."""
    for result, kind in zip(results(notes), (GetResult, QueryResult, Explanation), strict=True):
        # Protocol 0 is text, with the names in it as they are.
        data = pickle.dumps(result, protocol=0)
        assert b"cchroma_nb.collection.results\n" in data
        back = pickle.loads(
            data.replace(b"cchroma_nb.collection.results\n", f"c{module}\n".encode())
        )
        assert type(back) is kind
        assert back == result
