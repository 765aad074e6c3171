"""Engines of vector graphs behind `VectorIndex`, chosen by name when they are first needed."""

from __future__ import annotations

import importlib
from functools import cache
from typing import TYPE_CHECKING

from chroma_nb.errors import InvalidArgumentError
from chroma_nb.index.base import GraphParameters as GraphParameters

if TYPE_CHECKING:
    from chroma_nb.index.base import VectorIndex as VectorIndex

#: Engine -> (module that it needs, where its class is); `auto` takes the first that is installed.
ENGINES = {
    "hnswlib": ("hnswlib", "chroma_nb.index._hnswlib:Hnswlib"),
    "usearch": ("usearch", "chroma_nb.index._usearch:Usearch"),
}


@cache
def load_engine(name: str) -> type[VectorIndex] | None:
    """Return the engine's class; None for ``exact``, which builds no graph.

    Raises:
        InvalidArgumentError: No engine has that name.
        ImportError: The engine is not installed.
    """
    if name == "exact":
        return None
    if name == "auto":
        for candidate in ENGINES:
            try:
                return load_engine(candidate)
            except ImportError:
                continue
        return None
    if name not in ENGINES:
        known = ", ".join(["auto", "exact", *ENGINES])
        raise InvalidArgumentError(f"Unknown index_engine {name!r}. Known: {known}.")
    needed, place = ENGINES[name]
    module, _, attribute = place.partition(":")
    try:
        engine: type[VectorIndex] = getattr(importlib.import_module(module), attribute)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != needed:
            raise
        raise ImportError(
            f"index_engine={name!r} needs {needed}, which is not installed: "
            f'pip install "chroma-nb[{name}]", or use index_engine="auto"'
        ) from error
    return engine
