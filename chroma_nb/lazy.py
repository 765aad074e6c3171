"""What is imported when it is used: a package's own names, modules above, and optional packages.

A package whose face is lazy loads nothing by being imported. A module uses one of a layer above by name (`lazily`). A
package that is not installed gets one sentence, which says how to install it (`require_extra`).
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from chroma_nb.importing import import_module

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from types import ModuleType


def lazy_modules(package: str, modules: Collection[str], name: str) -> Any:
    """Serve a package's module-level ``__getattr__`` for its own submodules.

    Raises:
        AttributeError: The package has no such submodule.
    """
    if name not in modules:
        raise _no_attribute(package, name, modules)
    return import_module(f"{package}.{name}")


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
        raise _no_attribute(package, name, attributes)
    value = getattr(import_module(module), name)
    setattr(sys.modules[package], name, value)
    return value


def _no_attribute(package: str, name: str, known: Collection[str]) -> AttributeError:
    # Needed for an error alone: ``import chroma_nb`` goes without them.
    from chroma_nb.boundary import ends_at_caller
    from chroma_nb.suggest import did_you_mean

    hint = "" if name.startswith("_") else did_you_mean(name, known, ". Did you mean {!r}?")
    return ends_at_caller(AttributeError(f"module {package!r} has no attribute {name!r}{hint}"))


def lazily(module: str, attribute: str) -> Any:
    """Return an attribute of a module that is above the caller's: imported when it is used, by name."""
    return getattr(import_module(module), attribute)


def is_installed(module: str) -> bool:
    """Say whether a module can be imported, without importing it."""
    import importlib.util

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
