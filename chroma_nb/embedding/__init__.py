"""Embedding functions: `EmbeddingFunction` is the interface, the others turn texts into vectors.

Nothing heavy is imported before it is used: not onnxruntime, not tokenizers, not requests.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from chroma_nb.lazy import lazy_attributes

if TYPE_CHECKING:
    from chroma_nb.embedding._bm25 import (
        ChromaBm25EmbeddingFunction as ChromaBm25EmbeddingFunction,
    )
    from chroma_nb.embedding._default import EmbeddingNotice as EmbeddingNotice
    from chroma_nb.embedding._default import resolve_default as resolve_default
    from chroma_nb.embedding._minilm import DefaultEmbeddingFunction as DefaultEmbeddingFunction
    from chroma_nb.embedding._minilm import ONNXMiniLM_L6_V2 as ONNXMiniLM_L6_V2
    from chroma_nb.embedding._minilm import download_minilm as download_minilm
    from chroma_nb.embedding._minilm import find_minilm as find_minilm
    from chroma_nb.embedding._minilm import prefetch as prefetch
    from chroma_nb.embedding._ollama import OllamaEmbeddingFunction as OllamaEmbeddingFunction
    from chroma_nb.embedding._openai import OpenAIEmbeddingFunction as OpenAIEmbeddingFunction
    from chroma_nb.embedding._sentence_transformer import (
        SentenceTransformerEmbeddingFunction as SentenceTransformerEmbeddingFunction,
    )
    from chroma_nb.embedding._static import StaticEmbeddingFunction as StaticEmbeddingFunction
    from chroma_nb.embedding.base import EmbeddingFunction as EmbeddingFunction
    from chroma_nb.embedding.calls import embed_documents as embed_documents
    from chroma_nb.embedding.calls import embed_queries as embed_queries
    from chroma_nb.embedding.conflicts import check_conflict_on_create as check_conflict_on_create
    from chroma_nb.embedding.conflicts import check_conflict_on_get as check_conflict_on_get
    from chroma_nb.embedding.conflicts import check_conflict_on_modify as check_conflict_on_modify
    from chroma_nb.embedding.protocol import function_name as function_name
    from chroma_nb.embedding.protocol import (
        validate_embedding_function as validate_embedding_function,
    )
    from chroma_nb.embedding.registry import (
        embedding_function_from_config as embedding_function_from_config,
    )
    from chroma_nb.embedding.registry import (
        embedding_function_to_config as embedding_function_to_config,
    )
    from chroma_nb.embedding.registry import known_embedding_functions as known_embedding_functions
    from chroma_nb.embedding.registry import (
        register_embedding_function as register_embedding_function,
    )
    from chroma_nb.embedding.sparse import SparseEmbeddingFunction as SparseEmbeddingFunction
    from chroma_nb.embedding.sparse import checked_sparse_vectors as checked_sparse_vectors
    from chroma_nb.embedding.sparse_registry import (
        register_sparse_embedding_function as register_sparse_embedding_function,
    )
    from chroma_nb.embedding.sparse_registry import (
        sparse_embedding_function_from_config as sparse_embedding_function_from_config,
    )
    from chroma_nb.embedding.sparse_registry import (
        sparse_embedding_function_to_config as sparse_embedding_function_to_config,
    )
    from chroma_nb.embedding.sparse_registry import (
        sparse_known_embedding_functions as sparse_known_embedding_functions,
    )

_CALLS = "chroma_nb.embedding.calls"
_CONFLICTS = "chroma_nb.embedding.conflicts"
_PROTOCOL = "chroma_nb.embedding.protocol"
_REGISTRY = "chroma_nb.embedding.registry"
_SPARSE = "chroma_nb.embedding.sparse"
_SPARSE_REGISTRY = "chroma_nb.embedding.sparse_registry"
_ATTRIBUTES = {
    "ChromaBm25EmbeddingFunction": "chroma_nb.embedding._bm25",
    "DefaultEmbeddingFunction": "chroma_nb.embedding._minilm",
    "EmbeddingFunction": "chroma_nb.embedding.base",
    "EmbeddingNotice": "chroma_nb.embedding._default",
    "ONNXMiniLM_L6_V2": "chroma_nb.embedding._minilm",
    "OllamaEmbeddingFunction": "chroma_nb.embedding._ollama",
    "OpenAIEmbeddingFunction": "chroma_nb.embedding._openai",
    "SentenceTransformerEmbeddingFunction": "chroma_nb.embedding._sentence_transformer",
    "StaticEmbeddingFunction": "chroma_nb.embedding._static",
    "SparseEmbeddingFunction": _SPARSE,
    "check_conflict_on_create": _CONFLICTS,
    "check_conflict_on_get": _CONFLICTS,
    "check_conflict_on_modify": _CONFLICTS,
    "checked_sparse_vectors": _SPARSE,
    "download_minilm": "chroma_nb.embedding._minilm",
    "embed_documents": _CALLS,
    "embed_queries": _CALLS,
    "embedding_function_from_config": _REGISTRY,
    "embedding_function_to_config": _REGISTRY,
    "find_minilm": "chroma_nb.embedding._minilm",
    "function_name": _PROTOCOL,
    "known_embedding_functions": _REGISTRY,
    "prefetch": "chroma_nb.embedding._minilm",
    "register_embedding_function": _REGISTRY,
    "register_sparse_embedding_function": _SPARSE_REGISTRY,
    "resolve_default": "chroma_nb.embedding._default",
    "sparse_embedding_function_from_config": _SPARSE_REGISTRY,
    "sparse_embedding_function_to_config": _SPARSE_REGISTRY,
    "sparse_known_embedding_functions": _SPARSE_REGISTRY,
    "validate_embedding_function": _PROTOCOL,
}
__all__ = [
    "ChromaBm25EmbeddingFunction",
    "DefaultEmbeddingFunction",
    "EmbeddingFunction",
    "EmbeddingNotice",
    "ONNXMiniLM_L6_V2",
    "OllamaEmbeddingFunction",
    "OpenAIEmbeddingFunction",
    "SentenceTransformerEmbeddingFunction",
    "SparseEmbeddingFunction",
    "StaticEmbeddingFunction",
    "check_conflict_on_create",
    "check_conflict_on_get",
    "check_conflict_on_modify",
    "checked_sparse_vectors",
    "download_minilm",
    "embed_documents",
    "embed_queries",
    "embedding_function_from_config",
    "embedding_function_to_config",
    "find_minilm",
    "function_name",
    "known_embedding_functions",
    "prefetch",
    "register_embedding_function",
    "register_sparse_embedding_function",
    "resolve_default",
    "sparse_embedding_function_from_config",
    "sparse_embedding_function_to_config",
    "sparse_known_embedding_functions",
    "validate_embedding_function",
]


def __getattr__(name: str) -> Any:
    return lazy_attributes(__name__, _ATTRIBUTES, name)


def __dir__() -> list[str]:
    return __all__
