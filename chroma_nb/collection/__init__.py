"""`Collection`, what it returns, and the configuration that it is made with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from chroma_nb.lazy import lazy_attributes

if TYPE_CHECKING:
    from chroma_nb.collection.collection import Collection as Collection
    from chroma_nb.collection.configuration import (
        DEFAULT_EMBEDDING_FUNCTION as DEFAULT_EMBEDDING_FUNCTION,
    )
    from chroma_nb.collection.fields import Fields as Fields
    from chroma_nb.collection.results import CollectionList as CollectionList
    from chroma_nb.collection.results import Explanation as Explanation
    from chroma_nb.collection.results import GetResult as GetResult
    from chroma_nb.collection.results import QueryResult as QueryResult

_ATTRIBUTES = {
    "Collection": "chroma_nb.collection.collection",
    "CollectionList": "chroma_nb.collection.results",
    "DEFAULT_EMBEDDING_FUNCTION": "chroma_nb.collection.configuration",
    "Explanation": "chroma_nb.collection.results",
    "Fields": "chroma_nb.collection.fields",
    "GetResult": "chroma_nb.collection.results",
    "QueryResult": "chroma_nb.collection.results",
}
__all__ = [*_ATTRIBUTES]


def __getattr__(name: str) -> Any:
    return lazy_attributes(__name__, _ATTRIBUTES, name)
