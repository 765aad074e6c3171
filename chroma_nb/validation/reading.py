"""The arguments of `get`, `query` and `delete`: which records, how many, and which parts of them."""

from __future__ import annotations

from typing import Any

from chroma_nb.errors import with_way_out
from chroma_nb.filters.parsing import parse_where, parse_where_document
from chroma_nb.scalars import is_integer
from chroma_nb.suggest import did_you_mean
from chroma_nb.types import INCLUDES
from chroma_nb.validation.ids import check_ids
from chroma_nb.validation.lists import as_list
from chroma_nb.validation.texts import check_column
from chroma_nb.words import brief, with_article


def check_include(include: Any, method: str) -> list[str]:
    """Return `include` as a list of known items.

    Raises:
        ValueError: Not a list, an unknown item, or distances in a `get`.
    """
    include = as_list(include) if isinstance(include, tuple) else include
    if not isinstance(include, list):
        raise ValueError(f"Expected include to be a list, got {brief(include)}")
    for item in include:
        if not isinstance(item, str):
            raise ValueError(f"Expected include item to be a str, got {brief(item)}")
        if item not in INCLUDES:
            raise ValueError(
                "Expected include item to be one of documents, embeddings, metadatas, distances, "
                f"uris, data, got {brief(item)}"
                + did_you_mean(item, INCLUDES, " (did you mean {}?)")
            )
        if item == "distances" and method == "get":
            raise ValueError("Include item cannot be one of distances, got distances")
    return list(include)


def check_n_results(n_results: Any) -> int:
    """Return the number of results that a query asks for.

    Raises:
        ValueError: Not an int.
        TypeError: 0 or negative (Chroma's choice of class).
    """
    if not is_integer(n_results):
        raise with_way_out(
            ValueError(f"Expected requested number of results to be a int, got {brief(n_results)}"),
            f"That is {with_article(type(n_results))}; write n_results=10.",
        )
    if n_results <= 0:
        raise with_way_out(
            TypeError(
                f"Number of requested results {brief(n_results)}, cannot be negative, or zero"
            ),
            "Ask for at least 1; without n_results it is 10.",
        )
    return int(n_results)


def check_limit_offset(limit: Any, offset: Any) -> tuple[int | None, int | None]:
    """Return limit and offset as ints, or None where None is given.

    Raises:
        ValueError: Negative, or not an integer.
    """
    for name, value in (("limit", limit), ("offset", offset)):
        if value is not None and (not is_integer(value) or value < 0):
            raise ValueError(f"Expected {name} to be a non-negative integer, got {brief(value)}")
    return (None if limit is None else int(limit), None if offset is None else int(offset))


def check_queries(texts: Any, images: Any, uris: Any) -> list[Any]:
    """Return what a query's embeddings are computed from: n texts, n images (arrays) or n uris.

    Raises:
        ValueError: None of the three is given, or more than one.
    """
    given = [value for value in (texts, images, uris) if value is not None]
    if not given:
        # Chroma's sentence, with its doubled words: code that was written for Chroma looks for it.
        raise with_way_out(
            ValueError(
                "At least one of one of embeddings, documents, images, uris must be provided"
            ),
            "Give query_texts=[...], which are embedded, or query_embeddings=[...] of your own.",
        )
    if len(given) > 1:
        raise with_way_out(
            ValueError("Exactly one of documents, images, uris must be provided"),
            "Of query_texts=, query_images= and query_uris= give one.",
        )
    if texts is not None:
        return list(check_query_texts(texts))
    if images is not None:
        return images if isinstance(images, list) else [images]
    return list(check_column(uris, "uri"))


def check_query_texts(texts: Any) -> list[str]:
    """Return one or several texts of a query as a list.

    Raises:
        ValueError: No text at all, or something that is no str.
    """
    column = check_column(texts, "document")
    found = [text for text in column if text is not None]
    if len(found) < len(column):
        raise with_way_out(
            ValueError("Expected document to be a str, got None"),
            f"The question at position {column.index(None)} is None: leave it out.",
        )
    return found


def check_delete(ids: Any, where: Any, where_document: Any, limit: Any) -> list[str] | None:
    """Check the arguments of `delete`.

    Returns:
        The ids, or None if the records are chosen by a filter alone.

    Raises:
        ValueError: Neither ids nor a filter, a filter that is not of the grammar, or a limit without a filter.
        TypeError: A limit that is no integer.
        DuplicateIDError: As `check_ids`.
        InvalidArgumentError: As `check_ids` and `parse_where`.
    """
    filtered = where is not None or where_document is not None
    if isinstance(ids, list) and not ids and filtered:
        # Callers that always pass both arguments mean "no ids" by an empty list.
        ids = None
    if ids is None and not filtered:
        raise with_way_out(
            ValueError("At least one of ids, where, or where_document must be provided"),
            "To delete every record, delete the collection: client.delete_collection(name).",
        )
    if limit is not None:
        if not is_integer(limit):
            raise TypeError("limit must be a non-negative integer")
        if limit < 0:
            raise ValueError("limit must be a non-negative integer")
        if not filtered:
            raise ValueError(
                "limit can only be specified when a where or where_document clause is provided"
            )
    parse_where(where)
    parse_where_document(where_document)
    return None if ids is None else check_ids(ids)
