"""Engines of vector graphs behind `VectorIndex`, chosen by name when they are first needed."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from chroma_nb.errors import InvalidArgumentError
from chroma_nb.importing import import_module
from chroma_nb.index.base import GraphParameters as GraphParameters
from chroma_nb.index.base import VectorIndex as VectorIndex
from chroma_nb.lazy import is_installed

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Engine -> (module that it needs, what installs that, where its class is), the largest in memory
#: first.
ENGINES = {
    "hnswlib": ("hnswlib", "chroma-nb[hnswlib]", "chroma_nb.index._hnswlib:Hnswlib"),
    "usearch": ("usearch", "usearch", "chroma_nb.index._usearch:Usearch"),
    "usearch-i8": ("usearch", "usearch", "chroma_nb.index._usearch:UsearchI8"),
    "turbovec": ("turbovec", "turbovec", "chroma_nb.index._turbovec:Turbovec"),
    "turbovec-2bit": ("turbovec", "turbovec", "chroma_nb.index._turbovec:Turbovec2Bit"),
}

#: What `auto` takes, the first that is installed: codes, which are there at once and miss nothing; then graphs.
_AUTO = ("turbovec", "hnswlib", "usearch")


def check_engine(name: str) -> None:
    """Raise what `load_engine` would, without importing any of `ENGINES`. A class of one's own is imported.

    Raises:
        InvalidArgumentError: No engine has that name.
        ImportError: The engine is not installed.
    """
    if name in ("auto", "exact"):
        return
    if ":" in name:
        _load_own(name)
        return
    if name not in ENGINES:
        known = ", ".join(["auto", "exact", *ENGINES])
        raise InvalidArgumentError(
            f"Unknown index_engine {name!r}. Known: {known}, or 'package.module:Class'."
        )
    if not is_installed(ENGINES[name][0]):
        raise _not_installed(name)


def _load_own(name: str) -> type[VectorIndex]:
    """Import the class that ``package.module:Class`` names."""
    module, _, attribute = name.partition(":")
    found = getattr(import_module(module), attribute)
    if not (isinstance(found, type) and issubclass(found, VectorIndex)):
        raise InvalidArgumentError(
            f"index_engine={name!r} is no class of VectorIndex. Name one, as 'package.module:Class'."
        )
    return found


def _not_installed(name: str) -> ImportError:
    module, package, _ = ENGINES[name]
    return ImportError(
        f"index_engine={name!r} needs {module}, which is not installed: "
        f'pip install "{package}", or use index_engine="auto"'
    )


def forms_of(engine: type[VectorIndex]) -> Iterator[type[VectorIndex]]:
    """Yield the forms that a graph of this engine may take, the largest in memory first.

    Each is imported when it is asked for. Those that are not installed are left out.
    """
    yield engine
    names = list(ENGINES)
    for name in names[names.index(engine.engine) + 1 :] if engine.engine in names else []:
        form = load_engine(name) if is_installed(ENGINES[name][0]) else None
        if form is not None:
            yield form


@cache
def load_engine(name: str) -> type[VectorIndex] | None:
    """Return the engine's class; None for ``exact``, which builds no graph.

    Args:
        name: ``auto``, ``exact``, one of `ENGINES`, or ``package.module:Class``.

    Raises:
        InvalidArgumentError: No engine has that name, or the class is no `VectorIndex`.
        ImportError: The engine is not installed.
    """
    if name == "exact":
        return None
    if ":" in name:
        return _load_own(name)
    if name == "auto":
        for candidate in _AUTO:
            try:
                return load_engine(candidate)
            except ImportError:
                continue
        return None
    check_engine(name)
    needed, _, place = ENGINES[name]
    module, _, attribute = place.partition(":")
    try:
        engine: type[VectorIndex] = getattr(import_module(module), attribute)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != needed:
            raise
        raise _not_installed(name) from error
    return engine
