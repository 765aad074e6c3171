"""Results as tables: pandas frames that stay flat and narrow, so that a notebook shows them well."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

#: Columns that are the record's own; a metadata key of that name gets the prefix.
_OWN = ("query", "rank", "id", "distance", "document", "uri", "embedding")
_PREFIX = "metadata."


def records_to_pandas(result: dict[str, Any]) -> pd.DataFrame:
    """Turn a `GetResult` into one row per record: id, document, metadata columns, uri, embedding."""
    import pandas as pd

    columns: dict[str, Any] = {"id": result["ids"]}
    if result["documents"] is not None:
        columns["document"] = result["documents"]
    columns.update(metadata_columns(result["metadatas"]))
    if result["uris"] is not None:
        columns["uri"] = result["uris"]
    if result["embeddings"] is not None:
        columns["embedding"] = list(result["embeddings"])
    return pd.DataFrame(columns)


def matches_to_pandas(result: dict[str, Any], query: int | None = None) -> pd.DataFrame:
    """Turn a `QueryResult` into one row per match: query, rank, id, distance, document, metadata."""
    import pandas as pd

    queries = range(len(result["ids"])) if query is None else [query]
    columns: dict[str, Any] = {
        "query": [row for row in queries for _ in result["ids"][row]],
        "rank": [rank for row in queries for rank in range(1, len(result["ids"][row]) + 1)],
        "id": _flat(result["ids"], queries),
    }
    if query is not None:
        del columns["query"]
    if result["distances"] is not None:
        columns["distance"] = _flat(result["distances"], queries)
    if result["documents"] is not None:
        columns["document"] = _flat(result["documents"], queries)
    if result["metadatas"] is not None:
        columns.update(metadata_columns(_flat(result["metadatas"], queries)))
    if result["uris"] is not None:
        columns["uri"] = _flat(result["uris"], queries)
    if result["embeddings"] is not None:
        columns["embedding"] = _flat(result["embeddings"], queries)
    return pd.DataFrame(columns)


def metadata_columns(metadatas: Sequence[dict[str, Any] | None] | None) -> dict[str, list[Any]]:
    """Return one column per metadata key, in the order of their first appearance."""
    keys: dict[str, None] = {}
    for metadata in metadatas or []:
        if metadata:
            keys.update(dict.fromkeys(metadata))
    return {
        (_PREFIX + key if key in _OWN else key): [
            None if metadata is None else metadata.get(key) for metadata in metadatas or []
        ]
        for key in keys
    }


def _flat(values: Sequence[Any], queries: Sequence[int]) -> list[Any]:
    return [value for row in queries for value in values[row]]
