"""What `get` and `query` return: Chroma's dicts, able to become a table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd


class GetResult(dict[str, Any]):
    """Records in storage order.

    Keys, always all of them: ``ids``, ``embeddings`` (ndarray of shape (n, dimension), float64 with
    float32 values), ``documents``, ``metadatas``, ``uris``, ``data``, ``included``. What was not asked
    for is None.
    """

    def to_pandas(self) -> pd.DataFrame:
        """Return one row per record: id, document, then one column per metadata key."""
        from chroma_nb.tables import records_to_pandas

        return records_to_pandas(self)


class QueryResult(dict[str, Any]):
    """For each query its records, nearest first.

    Keys as in `GetResult`, each holding one list per query, and ``distances``: smaller is nearer.
    """

    def to_pandas(self, query: int | None = None) -> pd.DataFrame:
        """Return one row per found record: query, rank, distance, id, document, metadata columns.

        Args:
            query: Only this query's records; None returns those of all.
        """
        from chroma_nb.tables import matches_to_pandas

        return matches_to_pandas(self, query)
