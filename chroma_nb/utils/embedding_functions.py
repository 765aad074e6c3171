"""Chroma's import path of the embedding functions; they live in `chroma_nb.embedding`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from chroma_nb.lazy import lazy_attributes

if TYPE_CHECKING:
    from chroma_nb.embedding import DefaultEmbeddingFunction as DefaultEmbeddingFunction
    from chroma_nb.embedding import EmbeddingFunction as EmbeddingFunction
    from chroma_nb.embedding import OllamaEmbeddingFunction as OllamaEmbeddingFunction
    from chroma_nb.embedding import ONNXMiniLM_L6_V2 as ONNXMiniLM_L6_V2
    from chroma_nb.embedding import OpenAIEmbeddingFunction as OpenAIEmbeddingFunction
    from chroma_nb.embedding import (
        SentenceTransformerEmbeddingFunction as SentenceTransformerEmbeddingFunction,
    )
    from chroma_nb.embedding import StaticEmbeddingFunction as StaticEmbeddingFunction
    from chroma_nb.embedding import known_embedding_functions as known_embedding_functions
    from chroma_nb.embedding import register_embedding_function as register_embedding_function

__all__ = [
    "DefaultEmbeddingFunction",
    "EmbeddingFunction",
    "ONNXMiniLM_L6_V2",
    "OllamaEmbeddingFunction",
    "OpenAIEmbeddingFunction",
    "SentenceTransformerEmbeddingFunction",
    "StaticEmbeddingFunction",
    "known_embedding_functions",
    "register_embedding_function",
]
_ATTRIBUTES = dict.fromkeys(__all__, "chroma_nb.embedding")


def __getattr__(name: str) -> Any:
    return lazy_attributes(__name__, _ATTRIBUTES, name)


def __dir__() -> list[str]:
    return __all__
