"""APIs: `API` is the interface; `Local` answers in this process, `FastAPI` asks a server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from chroma_nb.lazy import lazy_attributes, lazy_modules

if TYPE_CHECKING:
    from chroma_nb.api._fastapi import FastAPI as FastAPI
    from chroma_nb.api._local import Local as Local
    from chroma_nb.api.base import API as API
    from chroma_nb.client import ClientAPI as ClientAPI

_ATTRIBUTES = {
    "API": "chroma_nb.api.base",
    "ClientAPI": "chroma_nb.client",
    "FastAPI": "chroma_nb.api._fastapi",
    "Local": "chroma_nb.api._local",
}
__all__ = ["API", "ClientAPI", "FastAPI", "Local"]


def __getattr__(name: str) -> Any:
    if name == "types":
        return lazy_modules(__name__, ("types",), name)
    return lazy_attributes(__name__, _ATTRIBUTES, name)
