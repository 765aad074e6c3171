"""Chroma's import path of settings: ``from chroma_nb.config import Settings``."""

from chroma_nb.settings import Settings as Settings
from chroma_nb.types import DEFAULT_DATABASE as DEFAULT_DATABASE
from chroma_nb.types import DEFAULT_TENANT as DEFAULT_TENANT

__all__ = ["DEFAULT_DATABASE", "DEFAULT_TENANT", "Settings"]
