"""Servers: `Server` is the interface; `FastAPI` serves HTTP (the extra ``server``), `ArrowFlight` Arrow Flight (``flight``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from chroma_nb.lazy import lazy_attributes

if TYPE_CHECKING:
    from chroma_nb.server._arrowflight import ArrowFlight as ArrowFlight
    from chroma_nb.server._fastapi import FastAPI as FastAPI
    from chroma_nb.server.base import Server as Server

_ATTRIBUTES = {
    "ArrowFlight": "chroma_nb.server._arrowflight",
    "FastAPI": "chroma_nb.server._fastapi",
    "Server": "chroma_nb.server.base",
}
__all__ = ["ArrowFlight", "FastAPI", "Server"]


def __getattr__(name: str) -> Any:
    return lazy_attributes(__name__, _ATTRIBUTES, name)
