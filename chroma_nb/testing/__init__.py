"""Tests for implementations of one's own: a class for each interface, to be subclassed in a test module.

    import chroma_nb.testing

    class TestMine(chroma_nb.testing.DBContract):
        def make_db(self, settings):
            return MyDB(settings)

* `APIContract`, `DBContract`, `SharedDBContract`, `ServerContract`, `VectorIndexContract`: pytest runs what they hold.
* `SharedMemoryDB`: a small `DB`, as an example.
* `local_api`: the `API` over a `DB` of one's own.
* `matches`, `describe`: filters and summaries of metadata in plain Python, for the first version of a `DB`.

The tests need pytest, and those of a shared `DB` hypothesis, too; the extra ``test`` brings both. The example needs
neither. [An own DB on one page](https://github.com/chroma-nb/chroma-nb/blob/main/docs/extending.md).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from chroma_nb.lazy import lazy_attributes, require_extra

if TYPE_CHECKING:
    from chroma_nb.testing._api import APIContract as APIContract
    from chroma_nb.testing._db import DBContract as DBContract
    from chroma_nb.testing._index import VectorIndexContract as VectorIndexContract
    from chroma_nb.testing._server import ServerContract as ServerContract
    from chroma_nb.testing._shared_db import SharedDBContract as SharedDBContract
    from chroma_nb.testing.local import local_api as local_api
    from chroma_nb.testing.plain import describe as describe
    from chroma_nb.testing.plain import matches as matches
    from chroma_nb.testing.shared_memory_db import SharedMemory as SharedMemory
    from chroma_nb.testing.shared_memory_db import SharedMemoryDB as SharedMemoryDB

_CONTRACTS = {
    "APIContract": "chroma_nb.testing._api",
    "DBContract": "chroma_nb.testing._db",
    "ServerContract": "chroma_nb.testing._server",
    "SharedDBContract": "chroma_nb.testing._shared_db",
    "VectorIndexContract": "chroma_nb.testing._index",
}
#: What the contracts are made of.
_PARTS = (
    "chroma_nb.testing._api_base",
    "chroma_nb.testing._api_records",
    "chroma_nb.testing._api_scans",
    "chroma_nb.testing._api_search",
    "chroma_nb.testing._db_ranking",
    "chroma_nb.testing._processes",
)
_ATTRIBUTES = {
    **_CONTRACTS,
    "SharedMemory": "chroma_nb.testing.shared_memory_db",
    "SharedMemoryDB": "chroma_nb.testing.shared_memory_db",
    "describe": "chroma_nb.testing.plain",
    "local_api": "chroma_nb.testing.local",
    "matches": "chroma_nb.testing.plain",
}
__all__ = [
    "APIContract",
    "DBContract",
    "ServerContract",
    "SharedDBContract",
    "SharedMemory",
    "SharedMemoryDB",
    "VectorIndexContract",
    "describe",
    "local_api",
    "matches",
]


def __getattr__(name: str) -> Any:
    if name in _CONTRACTS:
        _prepare(name)
    return lazy_attributes(__name__, _ATTRIBUTES, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def _prepare(name: str) -> None:
    """Have pytest show the values in a contract's assertions, before its module is imported.

    Raises:
        ImportError: What the contract needs is not installed.
    """
    needed = ("pytest", "hypothesis") if name == "SharedDBContract" else ("pytest",)
    for module in needed:
        require_extra(module, extra="test", needed_by=f"{__name__}.{name}")
    import pytest

    pytest.register_assert_rewrite(_CONTRACTS[name], *_PARTS)
