"""Chroma's import path of `SparseVector`: ``from chroma_nb.base_types import SparseVector``."""

from __future__ import annotations

from chroma_nb.search.sparse import SparseVector as SparseVector
