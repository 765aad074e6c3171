"""Real texts to try things on: 5,000 glosses of WordNet 3.0, a third of a megabyte, no download."""

from __future__ import annotations

import gzip
import json
from importlib import resources
from typing import Any, TypedDict


class Glosses(TypedDict):
    """Keyword arguments for `Collection.add`."""

    ids: list[str]
    documents: list[str]
    metadatas: list[dict[str, Any]]


def glosses(limit: int | None = None) -> Glosses:
    """Return WordNet glosses, ready for ``collection.add(**glosses())``.

    A document is a word and what it means; its metadata is ``pos`` (noun, verb, adj, adv), ``topic``
    (WordNet's lexicographer file: animal, food, motion ...) and ``words``, how many words share
    the meaning.

    Args:
        limit: At most so many of the 5,000.
    """
    place = resources.files(__package__) / "wordnet-glosses-5k.jsonl.gz"
    lines = gzip.decompress(place.read_bytes()).decode().splitlines()
    rows = [json.loads(line) for line in lines[:limit]]
    return {
        "ids": [row["id"] for row in rows],
        "documents": [row["document"] for row in rows],
        "metadatas": [row["metadata"] for row in rows],
    }
