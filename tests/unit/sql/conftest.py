"""A client with collections for the tests of SQL, which leave it as it was."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import chroma_nb
from chroma_nb.errors import InvalidArgumentError
from tests.support.metadata_values import BIG

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    """One client for all tests that leave it as it was."""
    with chroma_nb.EphemeralClient(settings=chroma_nb.Settings(progress=False)) as client:
        make(client, "docs", DOCS)
        make(client, "Invoices", [{"k": "upper"}])
        make(client, "invoices", [{"k": "lower"}, {"k": "lower"}])
        for name in ("my-coll", "select", "odd.name", "people"):
            make(client, name, [{"age": 7}])
        make(client, "twins", TWINS)
        yield client


DOCS: list[dict[str, Any] | None] = [
    {"n": 1, "pos": "noun", "tags": ["x", "y"], "big": BIG, "f": 0.5, "ok": True},
    {"n": 2, "pos": "verb", "counts": [1, 2], "shares": [0.5], "flags": [True], "mixed": ["a"]},
    {"n": 3, "pos": "noun", "big": -7, "number": BIG, "mixed": 1, "some": 2, "shares": [1]},
    {"number": 0.25, "some": 2.5, "mixed": [1, 2]},
    None,
]
TWINS: list[dict[str, Any] | None] = [
    {"Author": "A", "author": "a", "ID": "key", "URI": "key", "Document": "key", "METADATA": "key"},
    {"Embedding": "key", "embedding": "small", "n": 1},
]


def make(client: Any, name: str, metadatas: list[dict[str, Any] | None]) -> Any:
    collection = client.create_collection(name, embedding_function=None)
    ids = [f"r{row}" for row in range(len(metadatas))]
    vectors = np.arange(2 * len(ids), dtype=np.float32).reshape(-1, 2)
    documents = [f"text {row}" if row else None for row in range(len(ids))]
    collection.add(ids=ids, embeddings=vectors, metadatas=metadatas, documents=documents)
    return collection


def refusal(client: Any, query: str, parameters: Any = None) -> str:
    with pytest.raises(InvalidArgumentError) as caught:
        client.sql(query, parameters)
    return str(caught.value)


#: Its collections.
NAMES = ["Invoices", "docs", "invoices", "my-coll", "odd.name", "people", "select", "twins"]
