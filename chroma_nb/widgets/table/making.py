"""`collection_table`, `result_table`: a table of what was given, as `Collection` and the results make it.

Both are told what class of result to make: this package is above `collection`, which calls it by name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from chroma_nb.widgets.table.collection_source import CollectionSource
from chroma_nb.widgets.table.editing import Edits
from chroma_nb.widgets.table.result_source import QuerySource, ResultSource, SearchSource
from chroma_nb.widgets.table.widget import TableWidget

if TYPE_CHECKING:
    from chroma_nb.collection.collection import Collection
    from chroma_nb.collection.results import GetResult


def collection_table(
    collection: Collection,
    records: type[GetResult],
    *,
    where: Any = None,
    where_document: Any = None,
    editable: bool = False,
    **looks: Any,
) -> TableWidget:
    """Return the table of a collection; `looks` are those of `TableWidget`."""
    source = CollectionSource(collection, where, where_document)
    edits = Edits(collection, source.record) if editable else None
    return TableWidget(source, records, edits=edits, **looks)


def result_table(result: Any, records: type[GetResult], **looks: Any) -> TableWidget:
    """Return the table of a result; `looks` are those of `TableWidget`."""
    source = {"query": QuerySource, "search": SearchSource}.get(result._view, ResultSource)
    return TableWidget(source(result, records), records, **looks)
