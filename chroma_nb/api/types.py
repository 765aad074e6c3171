"""Chroma's import path of its vocabulary: ``from chroma_nb.api.types import Documents``."""

from __future__ import annotations

from typing import Any

from chroma_nb.collection.results import GetResult as GetResult
from chroma_nb.collection.results import QueryResult as QueryResult
from chroma_nb.embedding.base import EmbeddingFunction as EmbeddingFunction
from chroma_nb.filters.parsing import parse_where, parse_where_document
from chroma_nb.types import ID as ID
from chroma_nb.types import URI as URI
from chroma_nb.types import CollectionMetadata as CollectionMetadata
from chroma_nb.types import Document as Document
from chroma_nb.types import Documents as Documents
from chroma_nb.types import Embedding as Embedding
from chroma_nb.types import Embeddings as Embeddings
from chroma_nb.types import IDs as IDs
from chroma_nb.types import Include as Include
from chroma_nb.types import IndexingStatus as IndexingStatus
from chroma_nb.types import Metadata as Metadata
from chroma_nb.types import Metadatas as Metadatas
from chroma_nb.types import ReadLevel as ReadLevel
from chroma_nb.types import Space as Space
from chroma_nb.types import URIs as URIs
from chroma_nb.types import Where as Where
from chroma_nb.types import WhereDocument as WhereDocument


def validate_where(where: Any) -> Any:
    """Return a metadata filter that is well formed; raise ValueError for any other."""
    parse_where(where)
    return where


def validate_where_document(where_document: Any) -> Any:
    """Return a document filter that is well formed; raise ValueError for any other."""
    parse_where_document(where_document)
    return where_document
