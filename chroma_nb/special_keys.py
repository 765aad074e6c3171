"""Chroma's names that begin with ``#``: a record's own fields beside its metadata, and the tag of a sparse vector."""

from __future__ import annotations

ID_KEY = "#id"
DOCUMENT_KEY = "#document"
EMBEDDING_KEY = "#embedding"
METADATA_KEY = "#metadata"
SCORE_KEY = "#score"
#: A sparse vector is stored and sent as a dict in which this key has this value.
TYPE_KEY = "#type"
SPARSE_VECTOR_TYPE_VALUE = "sparse_vector"
