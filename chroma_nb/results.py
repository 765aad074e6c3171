"""Where results used to be defined: pickles that an earlier version has written name this module."""

from chroma_nb.collection.results import CollectionList, Explanation, GetResult, QueryResult

__all__ = ["CollectionList", "Explanation", "GetResult", "QueryResult"]
