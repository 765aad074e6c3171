"""`view`: what there is to show of an object, as plain values for a template.

An object names its view in the class attribute `_view`. So nothing here imports the classes that are shown.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from chroma_nb.display.views import (
    comparison,
    memory,
    reports,
    results,
    schemas,
    searches,
    stores,
    workers,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from chroma_nb.display.cells import View

#: What `_view` may be -> the function that returns the template and the values to fill it with.
VIEWS: dict[str, Callable[[Any], View]] = {
    "client": stores.view_client,
    "collections": stores.view_collections,
    "collection": stores.view_collection,
    "transfer": stores.view_transfer,
    "transfers": stores.view_transfers,
    "get": results.view_get,
    "query": results.view_query,
    "search": searches.view_search,
    "comparison": comparison.view_comparison,
    "explanation": results.view_explanation,
    "fields": results.view_fields,
    "memory": memory.view_client_memory,
    "memory report": memory.view_report,
    "preview": memory.view_preview,
    "estimate": memory.view_estimate,
    "limits": memory.view_limits,
    "progress": reports.view_progress,
    "indexing": reports.view_indexing,
    "check": reports.view_check,
    "schema": schemas.view_schema,
    "settings": reports.view_settings,
    "workers": workers.view_workers,
    "client workers": workers.view_client_workers,
    "error": reports.view_error,
    "budget error": reports.view_budget_error,
}


def view(shown: object) -> View:
    """Return the template for an object and the values to fill it with.

    Raises:
        TypeError: There is no view of such an object.
    """
    make = VIEWS.get(getattr(shown, "_view", ""))
    if make is None:
        raise TypeError(f"There is no view of {type(shown).__name__}.")
    return make(shown)
