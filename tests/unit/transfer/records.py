"""A small collection, and what is in it."""

from __future__ import annotations

from typing import Any

EVERYTHING = ["documents", "metadatas", "embeddings", "uris"]


def make_notes(client: Any) -> Any:
    """Return a new collection of three records with gaps in their columns."""
    notes = client.create_collection(
        "notes",
        embedding_function=None,
        metadata={"about": "tests"},
        configuration={"hnsw": {"space": "cosine"}},
    )
    notes.add(
        ids=["a", "b", "c"],
        embeddings=[[1.0, 0.1], [0.1, 1.0], [2.0, 2.0]],
        documents=["alpha <b>", None, "gamma 'ü'"],
        metadatas=[{"n": 1, "f": 0.5, "tags": ["x", "y"], "id": "mine"}, None, {"n": 2, "b": True}],
        uris=["file://a", None, None],
    )
    return notes


def content(collection: Any) -> str:
    return repr(collection.get(include=EVERYTHING))
