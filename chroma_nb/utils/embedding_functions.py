"""Chroma's import path of the embedding functions; they live in `chroma_nb.embedding`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from chroma_nb.boundary import ends_at_caller
from chroma_nb.lazy import lazy_attributes
from chroma_nb.suggest import did_you_mean

if TYPE_CHECKING:
    from chroma_nb.embedding import ChromaBm25EmbeddingFunction as ChromaBm25EmbeddingFunction
    from chroma_nb.embedding import DefaultEmbeddingFunction as DefaultEmbeddingFunction
    from chroma_nb.embedding import EmbeddingFunction as EmbeddingFunction
    from chroma_nb.embedding import OllamaEmbeddingFunction as OllamaEmbeddingFunction
    from chroma_nb.embedding import ONNXMiniLM_L6_V2 as ONNXMiniLM_L6_V2
    from chroma_nb.embedding import OpenAIEmbeddingFunction as OpenAIEmbeddingFunction
    from chroma_nb.embedding import (
        SentenceTransformerEmbeddingFunction as SentenceTransformerEmbeddingFunction,
    )
    from chroma_nb.embedding import SparseEmbeddingFunction as SparseEmbeddingFunction
    from chroma_nb.embedding import StaticEmbeddingFunction as StaticEmbeddingFunction
    from chroma_nb.embedding import known_embedding_functions as known_embedding_functions
    from chroma_nb.embedding import register_embedding_function as register_embedding_function
    from chroma_nb.embedding import (
        register_sparse_embedding_function as register_sparse_embedding_function,
    )
    from chroma_nb.embedding import (
        sparse_known_embedding_functions as sparse_known_embedding_functions,
    )

__all__ = [
    "ChromaBm25EmbeddingFunction",
    "DefaultEmbeddingFunction",
    "EmbeddingFunction",
    "ONNXMiniLM_L6_V2",
    "OllamaEmbeddingFunction",
    "OpenAIEmbeddingFunction",
    "SentenceTransformerEmbeddingFunction",
    "SparseEmbeddingFunction",
    "StaticEmbeddingFunction",
    "known_embedding_functions",
    "register_embedding_function",
    "register_sparse_embedding_function",
    "sparse_known_embedding_functions",
]
_ATTRIBUTES = dict.fromkeys(__all__, "chroma_nb.embedding")
_BASES = ("EmbeddingFunction", "SparseEmbeddingFunction")


def __getattr__(name: str) -> Any:
    if name in _ATTRIBUTES or name.startswith("_"):
        return lazy_attributes(__name__, _ATTRIBUTES, name)
    functions = [one for one in __all__ if one[0].isupper() and one not in _BASES]
    # Without what they all end with, which would make any two of them alike.
    stems = {one.partition("Embed")[0]: one for one in functions}
    near = did_you_mean(name.partition("Embed")[0], stems, "{}")
    hint = f" Did you mean {stems[near]!r}?" if near else ""
    raise ends_at_caller(
        AttributeError(
            f"chroma_nb has no embedding function {name!r}.{hint} There are {', '.join(functions)}. Any other one "
            "is given as embedding_function=: a function of a list of texts, or an object with "
            "__call__(self, input) and name(). Those of chromadb will do, where that is installed: "
            "from chromadb.utils import embedding_functions."
        )
    )


def __dir__() -> list[str]:
    return __all__
