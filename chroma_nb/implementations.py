"""Which class of `API`, `DB` or `Server` a name in the settings stands for.

They are named as strings: a class is imported when it is asked for. Graph engines are in `ENGINES` of `index/__init__.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from chroma_nb.errors import InvalidArgumentError
from chroma_nb.importing import import_module, missing_package
from chroma_nb.suggest import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Name in the settings -> "module:Class". A dotted path of one's own works as well.
API_IMPLEMENTATIONS = {
    "local": "chroma_nb.api._local:Local",
    "celery": "chroma_nb.api._celery:Celery",
    "fastapi": "chroma_nb.api._fastapi:FastAPI",
    "arrowflight": "chroma_nb.api._arrowflight:ArrowFlight",
}
DB_IMPLEMENTATIONS = {
    "duckdb": "chroma_nb.db.duckdb.store:DuckDB",
    "persistent_duckdb": "chroma_nb.db.duckdb.persistent:PersistentDuckDB",
    "clickhouse": "chroma_nb.db.clickhouse.store:Clickhouse",
}
SERVER_IMPLEMENTATIONS = {
    "fastapi": "chroma_nb.server._fastapi:FastAPI",
    "arrowflight": "chroma_nb.server._arrowflight:ArrowFlight",
}
#: Name in the settings -> the extra that brings its packages.
_EXTRAS = {"arrowflight": "flight", "celery": "celery", "clickhouse": "clickhouse"}
#: The packages of these extras.
_PACKAGES = ("pyarrow", "celery", "kombu", "redis", "clickhouse_connect", "chdb")


def load_implementation(setting: str, name: str, known: Mapping[str, str]) -> Any:
    """Import the class that a setting names.

    Args:
        setting: The setting's name, for the error.
        name: One of `known`, or ``package.module:Class``.
        known: Name -> ``package.module:Class``.

    Raises:
        InvalidArgumentError: The name is neither known nor ``package.module:Class``.
        ImportError: A package that it needs is not installed.
    """
    module, separator, attribute = known.get(name, name).partition(":")
    if not separator:
        hint = did_you_mean(name, known, " Did you mean {!r}?")
        raise InvalidArgumentError(
            f"Unknown {setting} {name!r}. Known: {', '.join(known)}, or 'package.module:Class'.{hint}"
        )
    try:
        return getattr(import_module(module), attribute)
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if name not in _EXTRAS or package not in _PACKAGES:
            raise
        raise missing_package(f"{setting} {name!r}", package, _EXTRAS[name]) from error
