"""Chroma's import path of `Search`: ``from chroma_nb.execution.expression.plan import Search``."""

from __future__ import annotations

from chroma_nb.search import Search as Search
