"""Chroma's import path of its clients: ``from chroma_nb.api.client import SharedSystemClient``."""

from __future__ import annotations

from chroma_nb.api.shared_system_client import SharedSystemClient as SharedSystemClient
from chroma_nb.client.admin import AdminClientAPI as AdminClient
from chroma_nb.client.client import ClientAPI as Client

__all__ = ["AdminClient", "Client", "SharedSystemClient"]
