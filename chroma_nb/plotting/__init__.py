"""Pictures: where a collection's embeddings lie, and what was held over time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from chroma_nb.lazy import lazy_attributes

if TYPE_CHECKING:
    from chroma_nb.plotting.embedding_map import EmbeddingMap as EmbeddingMap
    from chroma_nb.plotting.embedding_map import embedding_map as embedding_map
    from chroma_nb.plotting.memory_plot import MemoryPlot as MemoryPlot

_ATTRIBUTES = {
    "EmbeddingMap": "chroma_nb.plotting.embedding_map",
    "embedding_map": "chroma_nb.plotting.embedding_map",
    "MemoryPlot": "chroma_nb.plotting.memory_plot",
}
__all__ = [*_ATTRIBUTES]


def __getattr__(name: str) -> Any:
    return lazy_attributes(__name__, _ATTRIBUTES, name)
