"""APIs: `API` is the interface; `Local` answers in this process, `Celery` too, with workers, `FastAPI` and `ArrowFlight` ask a server.

`client`, `collection_configuration`, `models`, `shared_system_client` and `types` are Chroma's import paths.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from chroma_nb.lazy import lazy_attributes, lazy_modules

if TYPE_CHECKING:
    from chroma_nb.api._arrowflight import ArrowFlight as ArrowFlight
    from chroma_nb.api._celery import Celery as Celery
    from chroma_nb.api._fastapi import FastAPI as FastAPI
    from chroma_nb.api._local import Local as Local
    from chroma_nb.api.base import API as API
    from chroma_nb.client.admin import AdminClientAPI as AdminClientAPI
    from chroma_nb.client.async_client import AsyncClientAPI as AsyncClientAPI
    from chroma_nb.client.client import ClientAPI as ClientAPI

_ATTRIBUTES = {
    "API": "chroma_nb.api.base",
    "AdminClientAPI": "chroma_nb.client.admin",
    "ArrowFlight": "chroma_nb.api._arrowflight",
    "AsyncClientAPI": "chroma_nb.client.async_client",
    "Celery": "chroma_nb.api._celery",
    "ClientAPI": "chroma_nb.client.client",
    "FastAPI": "chroma_nb.api._fastapi",
    "Local": "chroma_nb.api._local",
}
_MODULES = ("client", "collection_configuration", "models", "shared_system_client", "types")
__all__ = [
    "API",
    "AdminClientAPI",
    "ArrowFlight",
    "AsyncClientAPI",
    "Celery",
    "ClientAPI",
    "FastAPI",
    "Local",
]


def __getattr__(name: str) -> Any:
    if name == "AdminAPI":
        # Chroma's name.
        return lazy_attributes(__name__, _ATTRIBUTES, "AdminClientAPI")
    if name in _MODULES:
        return lazy_modules(__name__, _MODULES, name)
    return lazy_attributes(__name__, _ATTRIBUTES, name)
