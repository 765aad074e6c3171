"""Optional packages: is one there, and the one sentence that a missing one gets."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

from chroma_nb.importing import import_module

if TYPE_CHECKING:
    from types import ModuleType


def is_installed(module: str) -> bool:
    """Say whether a module can be imported, without importing it."""
    try:
        return importlib.util.find_spec(module) is not None
    except ValueError:
        # Another thread is importing it at this moment: it is there, its specification not yet.
        return True


def require_extra(module: str, *, extra: str, needed_by: str) -> ModuleType:
    """Import an optional package, or say what to install.

    Args:
        module: The module to import, such as ``"sentence_transformers"``.
        extra: The extra of chroma-nb that brings it.
        needed_by: What the caller was about to use, for the message.

    Raises:
        ImportError: The package is not installed. A package that is there and broken keeps its own error.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module.partition(".")[0] and error.name != module:
            raise
        raise ImportError(
            f'{needed_by} needs {module}, which is not installed: pip install "chroma-nb[{extra}]"'
        ) from error
