"""Chroma's import path of `Collection`."""

from chroma_nb.collection.collection import Collection as Collection

__all__ = ["Collection"]
