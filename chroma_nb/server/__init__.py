"""Servers: `Server` is the interface."""

from chroma_nb.server.base import Server as Server

__all__ = ["Server"]
