"""Chroma's import path of `SharedSystemClient`."""

from __future__ import annotations

from chroma_nb import stores


class SharedSystemClient:
    """Chroma's base of its clients, of which other code uses one method."""

    @staticmethod
    def clear_system_cache() -> None:
        """Close every store of this process and forget it."""
        stores.close_all()


__all__ = ["SharedSystemClient"]
