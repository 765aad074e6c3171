"""`import chromadb...` gives modules of chroma_nb, but for Chroma's tests themselves, which are a checkout's.

Installed in a process of its own, before anything of Chroma's is imported there.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

#: What Chroma's tests check answers against: taken from the checkout, as the tests are.
OF_THE_CHECKOUT = ("chromadb.test", "chromadb.utils.distance_functions")
#: Where ours stands in the checkout's place: the conftest, which starts Chroma's own systems, and the wait for its
#: compaction, which we do not have, as a write is complete when it returns.
OURS = dict.fromkeys(
    ("chromadb.test.conftest", "chromadb.test.utils.wait_for_version_increase"),
    "tests.chromas_own.fixtures",
)
#: Names of Chroma's implementation that its tests import beside what they test. Each can be imported and named in
#: isinstance(), of which nothing is an instance; to use it is an error that says so.
INTERNALS = {
    "chromadb.api": ("BaseAPI", "ServerAPI"),
    "chromadb.api.types": ("normalize_embeddings", "validate_embeddings"),
    "chromadb.api.collection_configuration": ("overwrite_spann_configuration",),
    "chromadb.api.fastapi": ("FastAPI",),
    "chromadb.api.models.CollectionCommon": ("CollectionCommon", "validation_context"),
    "chromadb.api.segment": ("SegmentAPI",),
    "chromadb.config": ("Component", "System"),
    "chromadb.db.base": ("get_sql",),
    "chromadb.db.impl.sqlite": ("SqliteDB",),
    "chromadb.db.system": ("SysDB",),
    "chromadb.ingest": ("Consumer", "Producer"),
    "chromadb.ingest.impl.utils": ("create_topic_name",),
    "chromadb.segment": ("SegmentType", "VectorReader"),
    "chromadb.segment.impl.manager.local": ("LocalSegmentManager",),
    "chromadb.server.fastapi": ("FastAPI",),
    "chromadb.types": ("Collection", "LiteralValue", "LogicalOperator", "WhereOperator"),
}
#: What has a place of its own at Chroma and another one here: module -> name -> where it is.
ELSEWHERE = {
    "chromadb.api.collection_configuration": {
        "load_collection_configuration_from_json": "tests.chromas_own.adapters",
    },
    "chromadb.utils.embedding_functions.chroma_bm25_embedding_function": {
        "ChromaBm25EmbeddingFunction": "chroma_nb.embedding",
        "DEFAULT_CHROMA_BM25_STOPWORDS": "tests.chromas_own.adapters",
    },
}


class NotInChromaNB(Exception):
    """A test of Chroma's uses a class of Chroma's implementation."""


class _Internal(type):
    def __call__(cls, *arguments: Any, **named: Any) -> NoReturn:
        raise NotInChromaNB(f"{cls.__module__}.{cls.__name__} is Chroma's implementation")

    def __getattr__(cls, name: str) -> NoReturn:
        if name.startswith("__"):
            raise AttributeError(name)
        raise NotInChromaNB(f"{cls.__module__}.{cls.__name__} is Chroma's implementation")


def _ours(name: str) -> str:
    return "chroma_nb" + name.removeprefix("chromadb")


def _module(name: str) -> ModuleType:
    """Return the module of ours that stands for one of Chroma's."""
    names = INTERNALS.get(name, ())
    found: ModuleType
    try:
        found = importlib.import_module(_ours(name))
    except ModuleNotFoundError as error:
        if error.name is None or not _ours(name).startswith(error.name):
            raise
        if not any(f"{one}.".startswith(f"{name}.") for one in (*INTERNALS, *ELSEWHERE)):
            raise ModuleNotFoundError(f"chroma_nb has no module for {name}", name=name) from None
        found = ModuleType(name)
        found.__path__ = []
    for one, place in ELSEWHERE.get(name, {}).items():
        setattr(found, one, getattr(importlib.import_module(place), one))
    for one in names:
        if not hasattr(found, one):
            setattr(found, one, _Internal(one, (), {"__module__": name}))
    return found


class _Loader(importlib.abc.Loader):
    def create_module(self, spec: importlib.machinery.ModuleSpec) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        # The import system returns what stands here afterwards; our own module stays as it is.
        name = module.__name__
        sys.modules[name] = importlib.import_module(OURS[name]) if name in OURS else _module(name)


class _Finder(importlib.abc.MetaPathFinder):
    def __init__(self, checkout: Path) -> None:
        self._checkout = checkout

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name.partition(".")[0] != "chromadb":
            return None
        if name in OURS:
            return importlib.util.spec_from_loader(name, _Loader())
        if any(f"{name}.".startswith(f"{one}.") for one in OF_THE_CHECKOUT):
            file = self._checkout.joinpath(*name.split("."))
            if file.is_dir():
                spec = importlib.machinery.ModuleSpec(name, _Folder(), is_package=True)
                spec.submodule_search_locations = [str(file)]
                return spec
            return importlib.util.spec_from_file_location(name, file.with_suffix(".py"))
        return importlib.util.spec_from_loader(name, _Loader())


class _Folder(importlib.abc.Loader):
    def create_module(self, spec: importlib.machinery.ModuleSpec) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        # Chroma's packages of tests hold nothing.
        pass


def install(checkout: Path) -> None:
    """Let `chromadb` stand for chroma_nb in this process, and `chromadb.test` for the tests of a checkout.

    Raises:
        RuntimeError: Something has imported chromadb already.
    """
    if "chromadb" in sys.modules:
        raise RuntimeError("chromadb has been imported before its names could stand for chroma_nb")
    sys.meta_path.insert(0, _Finder(checkout))
    for name in ELSEWHERE:
        # Python looks for a module below another one only where that is a package.
        sys.modules[name] = _module(name)
    # The first before pytest imports the folders above a test by itself, the others to be names of their packages.
    for name in OF_THE_CHECKOUT:
        importlib.import_module(name)
