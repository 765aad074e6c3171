"""What collections and clients return: Chroma's dicts and lists, able to show themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from chroma_nb.boundary import ends_at_caller
from chroma_nb.display.base import Displayed

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from chroma_nb.collection.collection import Collection
    from chroma_nb.collection.fields import Fields
    from chroma_nb.filters.expression import FieldLeaf


class _Result(Displayed, dict[str, Any]):
    """What `get` and `query` share.

    Attributes:
        contains: Texts that the documents were asked to contain, for display.
        conditions: What the filter asks about metadata keys, for display.
        fields: The collection's keys, to say of an empty answer why it is; None where that is not known.
    """

    contains: Sequence[str] = ()
    conditions: Sequence[FieldLeaf] = ()
    fields: Fields | None = None

    def __getattr__(self, name: str) -> Any:
        kind = type(self).__name__
        if not name.startswith("_") and name in self:
            raise ends_at_caller(
                AttributeError(f"A {kind} is a dict, as in Chroma: result[{name!r}].")
            )
        raise AttributeError(f"{kind!r} object has no attribute {name!r}")

    def __getstate__(self) -> dict[str, Any]:
        # A result outlives its store; what asks the store does not go with a copy.
        return {name: value for name, value in vars(self).items() if name != "fields"}


class GetResult(_Result):
    """Records in storage order.

    Keys, always all of them: ``ids``, ``embeddings`` (ndarray of shape (n, dimension), float64 with
    float32 values), ``documents``, ``metadatas``, ``uris``, ``data``, ``included``. What was not asked
    for is None.
    """

    _view = "get"

    def to_pandas(self, *, max_columns: int | None = 20) -> pd.DataFrame:
        """Return one row per record: id, document, then one column per metadata key.

        Args:
            max_columns: Columns at most, 20 as Colab's tables show them; the rest of the metadata is in
                one column, as dicts. None: every key has its column.
        """
        from chroma_nb.collection.tables import records_to_pandas

        return records_to_pandas(self, max_columns)


class QueryResult(_Result):
    """For each query its records, nearest first.

    Keys as in `GetResult`, each holding one list per query, and ``distances``: smaller is nearer.

    Attributes:
        asked: What was asked, for display: one text per query, or None where embeddings were given.
        space: The collection's distance, for display: ``l2``, ``cosine`` or ``ip``.
    """

    _view = "query"

    asked: list[str] | None = None
    space: str = "l2"

    def to_pandas(self, query: int | None = None, *, max_columns: int | None = 20) -> pd.DataFrame:
        """Return one row per found record: query, rank, distance, id, document, metadata columns.

        Args:
            query: Only this query's records; None returns those of all.
            max_columns: As for `GetResult.to_pandas`.
        """
        from chroma_nb.collection.tables import matches_to_pandas

        return matches_to_pandas(self, query, max_columns)


class Explanation(Displayed, dict[str, Any]):
    """How a query is answered, and why; see `Collection.explain`."""

    _view = "explanation"


class CollectionList(Displayed, list["Collection"]):
    """Collections, in order of creation."""

    _view = "collections"
