"""Chroma's import path of its collections: ``from chroma_nb.api.models.Collection import Collection``."""

from __future__ import annotations

from typing import Any

from chroma_nb.lazy import lazy_modules


def __getattr__(name: str) -> Any:
    return lazy_modules(__name__, ("AsyncCollection", "Collection"), name)
