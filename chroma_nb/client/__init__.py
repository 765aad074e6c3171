"""Clients: of a store in this process or at a server, with plain methods or with coroutines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from chroma_nb.lazy import lazy_attributes

if TYPE_CHECKING:
    from chroma_nb.client.admin import AdminClientAPI as AdminClientAPI
    from chroma_nb.client.async_client import AsyncClient as AsyncClient
    from chroma_nb.client.async_client import AsyncClientAPI as AsyncClientAPI
    from chroma_nb.client.async_client import AsyncClientMemory as AsyncClientMemory
    from chroma_nb.client.async_client import AsyncCollection as AsyncCollection
    from chroma_nb.client.async_client import AsyncHttpClient as AsyncHttpClient
    from chroma_nb.client.client import ClientAPI as ClientAPI
    from chroma_nb.client.memory import ClientMemory as ClientMemory
    from chroma_nb.client.opening import AdminClient as AdminClient
    from chroma_nb.client.opening import Client as Client
    from chroma_nb.client.opening import EphemeralClient as EphemeralClient
    from chroma_nb.client.opening import PersistentClient as PersistentClient
    from chroma_nb.client.remote import HttpClient as HttpClient
    from chroma_nb.client.remote import connect as connect

_ATTRIBUTES = {
    "AdminClient": "chroma_nb.client.opening",
    "AdminClientAPI": "chroma_nb.client.admin",
    "AsyncClient": "chroma_nb.client.async_client",
    "AsyncClientAPI": "chroma_nb.client.async_client",
    "AsyncClientMemory": "chroma_nb.client.async_client",
    "AsyncCollection": "chroma_nb.client.async_client",
    "AsyncHttpClient": "chroma_nb.client.async_client",
    "Client": "chroma_nb.client.opening",
    "ClientAPI": "chroma_nb.client.client",
    "ClientMemory": "chroma_nb.client.memory",
    "EphemeralClient": "chroma_nb.client.opening",
    "HttpClient": "chroma_nb.client.remote",
    "PersistentClient": "chroma_nb.client.opening",
    "connect": "chroma_nb.client.remote",
}
__all__ = [*_ATTRIBUTES]


def __getattr__(name: str) -> Any:
    return lazy_attributes(__name__, _ATTRIBUTES, name)
