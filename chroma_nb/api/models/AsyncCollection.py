"""Chroma's import path of `AsyncCollection`."""

from chroma_nb.client.async_client import AsyncCollection as AsyncCollection

__all__ = ["AsyncCollection"]
