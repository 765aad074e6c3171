"""The engines: one module each, behind one base class, named here as strings.

Nothing of an engine is imported before its own child process asks for it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.engines.base import Engine

#: In the order of the table's columns.
ENGINES = {
    "chromadb": "benchmarks.engines.chromadb_:Chromadb",
    "hnswlib": "benchmarks.engines.hnswlib_:Hnswlib",
    "usearch": "benchmarks.engines.usearch_:Usearch",
    "lancedb": "benchmarks.engines.lancedb_:Lancedb",
    "qdrant": "benchmarks.engines.qdrant_:Qdrant",
    "chroma_nb_turbovec": "benchmarks.engines.chroma_nb_:ChromaNbTurbovec",
    "chroma_nb": "benchmarks.engines.chroma_nb_:ChromaNb",
    "chroma_nb_usearch": "benchmarks.engines.chroma_nb_:ChromaNbUsearch",
}


def engine_class(name: str) -> type[Engine]:
    """Return the class of an engine without importing the engine itself."""
    module, _, attribute = ENGINES[name].partition(":")
    found: type[Engine] = getattr(importlib.import_module(module), attribute)
    return found
