"""Attributes of a package that are imported when they are first asked for."""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping


def lazy_modules(package: str, modules: Collection[str], name: str) -> Any:
    """Serve a package's module-level ``__getattr__`` for its own submodules.

    Raises:
        AttributeError: The package has no such submodule.
    """
    if name not in modules:
        raise AttributeError(f"module {package!r} has no attribute {name!r}")
    return importlib.import_module(f"{package}.{name}")


def lazy_attributes(package: str, attributes: Mapping[str, str], name: str) -> Any:
    """Serve a package's module-level ``__getattr__``.

    Args:
        package: The package's name.
        attributes: Attribute -> module that defines it.
        name: The attribute that was asked for.

    Raises:
        AttributeError: The package has no such attribute.
    """
    module = attributes.get(name)
    if module is None:
        raise AttributeError(f"module {package!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(module), name)
    setattr(sys.modules[package], name, value)
    return value


def lazily(module: str, attribute: str) -> Any:
    """Return an attribute of a module that is above the caller's: imported when it is used, by name."""
    return getattr(importlib.import_module(module), attribute)
