"""Chroma's names that begin with ``#``: a record's own fields beside its metadata, and the tag of a sparse vector."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

ID_KEY = "#id"
DOCUMENT_KEY = "#document"
EMBEDDING_KEY = "#embedding"
METADATA_KEY = "#metadata"
SCORE_KEY = "#score"
#: A sparse vector is stored and sent as a dict in which this key has this value.
TYPE_KEY = "#type"
SPARSE_VECTOR_TYPE_VALUE = "sparse_vector"


def is_tagged(value: Any) -> bool:
    """Say whether a value is the form in which a sparse vector is stored and sent."""
    return isinstance(value, Mapping) and value.get(TYPE_KEY) == SPARSE_VECTOR_TYPE_VALUE
