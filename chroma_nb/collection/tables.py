"""Results as tables: pandas frames that stay flat and narrow, so that a notebook shows them well.

A column has the values that are stored, to the last digit: where some are missing, integers and bools get pandas'
nullable dtypes instead of becoming floats, and a key that holds several kinds stays a column of objects.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from chroma_nb.memory.preflight import MAKE_ROOM, require
from chroma_nb.types import OTHER_METADATA

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pandas import DataFrame

    from chroma_nb.collection.search_result import SearchResult

#: Columns that are the record's own; a metadata key of that name gets the prefix, and so does one that has it.
_OWN = ("query", "rank", "id", "distance", "document", "uri", "embedding")
_PREFIX = "metadata."
#: pandas without its files, which the system can drop (measured: pandas 3.0 with pyarrow).
_PANDAS_BYTES = 48 << 20
#: A cell in the list of its column, in the series and in the frame; and a row's embedding as an array of its own.
_CELL_BYTES = 3 * 8
_ROW_BYTES = 150


def import_pandas() -> Any:
    """Import pandas, which takes memory itself.

    Raises:
        MemoryBudgetError: That is not free.
    """
    if "pandas" not in sys.modules:
        require(
            _PANDAS_BYTES,
            "Importing pandas",
            MAKE_ROOM,
            "write the records to a file: collection.export(path)",
        )
    import pandas as pd

    return pd


def _require_room(
    n_rows: int, metadatas: Sequence[dict[str, Any] | None] | None, max_columns: int | None
) -> None:
    """See that there is room for a table of an answer that is there already."""
    n_columns = len(_OWN) + len({key for one in metadatas or () for key in one or ()})
    if max_columns is not None:
        n_columns = min(n_columns, len(_OWN) + max_columns)
    require(
        n_rows * (n_columns * _CELL_BYTES + _ROW_BYTES),
        f"A table of {n_rows:,} rows and {n_columns:,} columns",
        "make one of fewer records: get(limit=..., offset=...), to_pandas(where=...)",
        "write them to a file: collection.export(path)",
    )


def records_to_pandas(result: dict[str, Any], max_columns: int | None = None) -> DataFrame:
    """Turn a `GetResult` into one row per record: id, document, metadata columns, uri, embedding."""
    pd = import_pandas()
    columns: dict[str, Any] = {"id": result["ids"]}
    _require_room(len(result["ids"]), result["metadatas"], max_columns)
    if result["documents"] is not None:
        columns["document"] = result["documents"]
    room = None if max_columns is None else max_columns - len(columns) - 2
    keys = metadata_columns(result["metadatas"], room)
    columns.update(keys)
    if result["uris"] is not None:
        columns["uri"] = result["uris"]
    if result["embeddings"] is not None:
        columns["embedding"] = list(result["embeddings"])
    frame: DataFrame = _frame(pd, columns, keys)
    return frame


def _frame(pd: Any, columns: dict[str, list[Any]], keys: Iterable[str]) -> Any:
    frame = pd.DataFrame({name: _series(pd, values) for name, values in columns.items()})
    # For the way back: which metadata key a column is, whatever its name might mean elsewhere.
    frame.attrs["chroma_nb"] = {
        name: name.removeprefix(_PREFIX) for name in keys if name != OTHER_METADATA
    }
    return frame


def _series(pd: Any, values: list[Any]) -> Any:
    """Return values as a column that holds just them, missing ones included."""
    kinds = set(map(type, values))
    present = kinds - {type(None)}
    if present == {int}:
        return pd.Series(values, dtype="int64" if present == kinds else "Int64")
    if present == {bool}:
        return pd.Series(values, dtype="bool" if present == kinds else "boolean")
    if present == {float}:
        # A stored float is finite, so NaN can only be a missing one.
        return pd.Series(values, dtype="float64")
    return pd.Series(values, dtype="object")


def matches_to_pandas(
    result: dict[str, Any], query: int | None = None, max_columns: int | None = None
) -> DataFrame:
    """Turn a `QueryResult` into one row per match: query, rank, id, distance, document, metadata."""
    pd = import_pandas()
    queries = range(len(result["ids"])) if query is None else [query]
    columns: dict[str, Any] = {
        "query": [row for row in queries for _ in result["ids"][row]],
        "rank": [rank for row in queries for rank in range(1, len(result["ids"][row]) + 1)],
        "id": _flat(result["ids"], queries),
    }
    if query is not None:
        del columns["query"]
    if result["metadatas"] is not None:
        _require_room(len(columns["id"]), _flat(result["metadatas"], queries), max_columns)
    if result["distances"] is not None:
        columns["distance"] = _flat(result["distances"], queries)
    if result["documents"] is not None:
        columns["document"] = _flat(result["documents"], queries)
    keys: dict[str, list[Any]] = {}
    if result["metadatas"] is not None:
        room = None if max_columns is None else max_columns - len(columns) - 2
        keys = metadata_columns(_flat(result["metadatas"], queries), room)
        columns.update(keys)
    if result["uris"] is not None:
        columns["uri"] = _flat(result["uris"], queries)
    if result["embeddings"] is not None:
        columns["embedding"] = _flat(result["embeddings"], queries)
    frame: DataFrame = _frame(pd, columns, keys)
    return frame


def found_to_pandas(
    result: SearchResult, search: int | None = None, max_columns: int | None = None
) -> DataFrame:
    """Turn a `SearchResult` into one row per found record: search, rank, id, scores, ranks, document, metadata."""
    pd = import_pandas()
    searches = range(len(result["ids"])) if search is None else [search]
    rows = [(one, at) for one in searches for at in range(len(result["ids"][one]))]
    columns: dict[str, Any] = {
        "search": [one for one, _ in rows],
        "rank": [at + 1 for _, at in rows],
        "id": [result["ids"][one][at] for one, at in rows],
    }
    if search is not None:
        del columns["search"]

    def column(values: Any) -> list[Any] | None:
        """Return the values of the rows, None where no search has any."""
        if values is None or all(values[one] is None for one in searches):
            return None
        return [None if values[one] is None else values[one][at] for one, at in rows]

    scores = column(result.get("scores"))
    if scores is not None:
        columns["score"] = scores
    reranked = column(result.rerank_scores)
    if reranked is not None:
        columns["rerank score"] = reranked
    named = [{part.name: part.positions for part in parts or ()} for parts in result.parts]
    for name in dict.fromkeys(name for one in searches for name in named[one]):
        places = column([one.get(name) for one in named])
        columns[f"rank by {name}"] = [None if at is None else at + 1 for at in places or ()]
    own = (*_OWN, *columns)
    documents, metadatas = column(result.get("documents")), column(result.get("metadatas"))
    if documents is not None:
        columns["document"] = documents
    keys: dict[str, list[Any]] = {}
    if metadatas is not None:
        _require_room(len(rows), metadatas, max_columns)
        room = None if max_columns is None else max_columns - len(columns) - 2
        keys = metadata_columns(metadatas, room, own)
        columns.update(keys)
    embeddings = column(result.get("embeddings"))
    if embeddings is not None:
        columns["embedding"] = embeddings
    frame: DataFrame = _frame(pd, columns, keys)
    return frame


def metadata_columns(
    metadatas: Sequence[dict[str, Any] | None] | None,
    room: int | None = None,
    own: Sequence[str] = _OWN,
) -> dict[str, list[Any]]:
    """Return one column per metadata key, in the order of their first appearance.

    Args:
        metadatas: One for each row.
        room: Columns at most: the most frequent keys have one each, and one holds the rest as dicts.
        own: Columns that are the record's own; a metadata key of that name gets the prefix.
    """
    counts: dict[str, int] = {}
    for metadata in metadatas or []:
        for key in metadata or {}:
            counts[key] = counts.get(key, 0) + 1
    keys = list(counts)
    if room is not None and len(keys) > room:
        kept = set(sorted(keys, key=lambda key: -counts[key])[: max(0, room - 1)])
        keys = [key for key in keys if key in kept]
    columns = {
        (
            _PREFIX + key if key in own or key == OTHER_METADATA or key.startswith(_PREFIX) else key
        ): [None if metadata is None else metadata.get(key) for metadata in metadatas or []]
        for key in keys
    }
    if len(keys) < len(counts):
        chosen = set(keys)
        columns[OTHER_METADATA] = [
            {key: value for key, value in (metadata or {}).items() if key not in chosen} or None
            for metadata in metadatas or []
        ]
    return columns


def _flat(values: Sequence[Any], queries: Sequence[int]) -> list[Any]:
    return [value for row in queries for value in values[row]]
