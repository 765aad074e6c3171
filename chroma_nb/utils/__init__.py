"""Chroma's import paths: `utils.embedding_functions`, `utils.batch_utils`, `utils.data_loaders` and others."""

from __future__ import annotations

from typing import Any

from chroma_nb.lazy import lazy_modules


def __getattr__(name: str) -> Any:
    return lazy_modules(
        __name__,
        ("batch_utils", "data_loaders", "embedding_functions", "sparse_embedding_utils"),
        name,
    )
