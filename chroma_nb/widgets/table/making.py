"""`collection_table`, `result_table`: a table of what was given, as `Collection` and the results make it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from chroma_nb.widgets.table.collection_source import CollectionSource
from chroma_nb.widgets.table.editing import Edits
from chroma_nb.widgets.table.result_source import ResultSource
from chroma_nb.widgets.table.widget import TableWidget

if TYPE_CHECKING:
    from chroma_nb.collection.collection import Collection
    from chroma_nb.collection.results import GetResult, QueryResult


def collection_table(
    collection: Collection,
    *,
    where: Any = None,
    where_document: Any = None,
    editable: bool = False,
    **looks: Any,
) -> TableWidget:
    """Return the table of a collection; `looks` are those of `TableWidget`."""
    source = CollectionSource(collection, where, where_document)
    edits = Edits(collection, source.record) if editable else None
    return TableWidget(source, edits=edits, **looks)


def result_table(result: GetResult | QueryResult, **looks: Any) -> TableWidget:
    """Return the table of a result; `looks` are those of `TableWidget`."""
    return TableWidget(ResultSource(result), **looks)
