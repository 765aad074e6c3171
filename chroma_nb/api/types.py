"""Chroma's import path of its vocabulary: ``from chroma_nb.api.types import Documents``."""

from __future__ import annotations

from typing import Any, TypeAlias

from chroma_nb.collection.results import GetResult as GetResult
from chroma_nb.collection.results import QueryResult as QueryResult
from chroma_nb.collection.search_result import SearchResult as SearchResult
from chroma_nb.collection.search_result import SearchResultRow as SearchResultRow
from chroma_nb.embedding.base import EmbeddingFunction as EmbeddingFunction
from chroma_nb.embedding.sparse import SparseEmbeddingFunction as SparseEmbeddingFunction
from chroma_nb.filters.parsing import parse_where, parse_where_document
from chroma_nb.schema.configs import BoolInvertedIndexConfig as BoolInvertedIndexConfig
from chroma_nb.schema.configs import FloatInvertedIndexConfig as FloatInvertedIndexConfig
from chroma_nb.schema.configs import FtsIndexConfig as FtsIndexConfig
from chroma_nb.schema.configs import HnswIndexConfig as HnswIndexConfig
from chroma_nb.schema.configs import IndexConfig as IndexConfig
from chroma_nb.schema.configs import IntInvertedIndexConfig as IntInvertedIndexConfig
from chroma_nb.schema.configs import SpannIndexConfig as SpannIndexConfig
from chroma_nb.schema.configs import SparseVectorIndexConfig as SparseVectorIndexConfig
from chroma_nb.schema.configs import StringInvertedIndexConfig as StringInvertedIndexConfig
from chroma_nb.schema.configs import VectorIndexConfig as VectorIndexConfig
from chroma_nb.schema.encryption import Cmek as Cmek
from chroma_nb.schema.encryption import CmekProvider as CmekProvider
from chroma_nb.schema.schema import Schema as Schema
from chroma_nb.schema.value_types import BoolInvertedIndexType as BoolInvertedIndexType
from chroma_nb.schema.value_types import BoolValueType as BoolValueType
from chroma_nb.schema.value_types import FloatInvertedIndexType as FloatInvertedIndexType
from chroma_nb.schema.value_types import FloatListValueType as FloatListValueType
from chroma_nb.schema.value_types import FloatValueType as FloatValueType
from chroma_nb.schema.value_types import FtsIndexType as FtsIndexType
from chroma_nb.schema.value_types import IntInvertedIndexType as IntInvertedIndexType
from chroma_nb.schema.value_types import IntValueType as IntValueType
from chroma_nb.schema.value_types import SparseVectorIndexType as SparseVectorIndexType
from chroma_nb.schema.value_types import SparseVectorValueType as SparseVectorValueType
from chroma_nb.schema.value_types import StringInvertedIndexType as StringInvertedIndexType
from chroma_nb.schema.value_types import StringValueType as StringValueType
from chroma_nb.schema.value_types import ValueTypes as ValueTypes
from chroma_nb.schema.value_types import VectorIndexType as VectorIndexType
from chroma_nb.search.conditions import Key as Key
from chroma_nb.search.sparse import SparseVector as SparseVector
from chroma_nb.special_keys import DOCUMENT_KEY as DOCUMENT_KEY
from chroma_nb.special_keys import EMBEDDING_KEY as EMBEDDING_KEY
from chroma_nb.special_keys import SPARSE_VECTOR_TYPE_VALUE as SPARSE_VECTOR_TYPE_VALUE
from chroma_nb.special_keys import TYPE_KEY as TYPE_KEY
from chroma_nb.types import ID as ID
from chroma_nb.types import URI as URI
from chroma_nb.types import CollectionMetadata as CollectionMetadata
from chroma_nb.types import Document as Document
from chroma_nb.types import Documents as Documents
from chroma_nb.types import Embeddable as Embeddable
from chroma_nb.types import Embedding as Embedding
from chroma_nb.types import Embeddings as Embeddings
from chroma_nb.types import IDs as IDs
from chroma_nb.types import Image as Image
from chroma_nb.types import Images as Images
from chroma_nb.types import Include as Include
from chroma_nb.types import IndexingStatus as IndexingStatus
from chroma_nb.types import Metadata as Metadata
from chroma_nb.types import Metadatas as Metadatas
from chroma_nb.types import ReadLevel as ReadLevel
from chroma_nb.types import Space as Space
from chroma_nb.types import UpdateCollectionMetadata as UpdateCollectionMetadata
from chroma_nb.types import UpdateMetadata as UpdateMetadata
from chroma_nb.types import URIs as URIs
from chroma_nb.types import Where as Where
from chroma_nb.types import WhereDocument as WhereDocument

SparseVectors: TypeAlias = list[SparseVector]


def validate_where(where: Any) -> Any:
    """Return a metadata filter that is well formed; raise ValueError for any other."""
    parse_where(where)
    return where


def validate_where_document(where_document: Any) -> Any:
    """Return a document filter that is well formed; raise ValueError for any other."""
    parse_where_document(where_document)
    return where_document
