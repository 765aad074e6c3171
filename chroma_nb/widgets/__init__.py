"""Live panels of ipywidgets, 7.7 and 8: they look and act; what they show is `chroma_nb.display`'s."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from chroma_nb.lazy import lazy_attributes

if TYPE_CHECKING:
    from chroma_nb.widgets.linking import Link as Link
    from chroma_nb.widgets.linking import link as link
    from chroma_nb.widgets.map_widget import MapWidget as MapWidget
    from chroma_nb.widgets.memory_widget import MemoryWidget as MemoryWidget
    from chroma_nb.widgets.search_widget import SearchWidget as SearchWidget
    from chroma_nb.widgets.table.making import collection_table as collection_table
    from chroma_nb.widgets.table.making import result_table as result_table
    from chroma_nb.widgets.table.widget import TableWidget as TableWidget
    from chroma_nb.widgets.workers_widget import WorkersWidget as WorkersWidget

_ATTRIBUTES = {
    "Link": "chroma_nb.widgets.linking",
    "MapWidget": "chroma_nb.widgets.map_widget",
    "MemoryWidget": "chroma_nb.widgets.memory_widget",
    "SearchWidget": "chroma_nb.widgets.search_widget",
    "TableWidget": "chroma_nb.widgets.table.widget",
    "WorkersWidget": "chroma_nb.widgets.workers_widget",
    "collection_table": "chroma_nb.widgets.table.making",
    "link": "chroma_nb.widgets.linking",
    "result_table": "chroma_nb.widgets.table.making",
}
__all__ = [*_ATTRIBUTES]


def __getattr__(name: str) -> Any:
    return lazy_attributes(__name__, _ATTRIBUTES, name)
