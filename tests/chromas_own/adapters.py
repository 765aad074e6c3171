"""Functions of Chroma's that its tests look at results with, over our own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from chroma_nb.embedding.registry import embedding_function_from_config
from chroma_nb.embedding.words import STOP_WORDS

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_CHROMA_BM25_STOPWORDS = sorted(STOP_WORDS)


def load_collection_configuration_from_json(recorded: Mapping[str, Any]) -> dict[str, Any]:
    """Return a recorded configuration with its embedding function as an object."""
    function = embedding_function_from_config(recorded.get("embedding_function"))
    return {**recorded, "embedding_function": function}
