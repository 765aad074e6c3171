"""Settings: one frozen dataclass, read when it is asked for, never at import.

Order: an explicit argument, then the environment (``CHROMA_NB_<NAME>``), then the default.
"""

from __future__ import annotations

import dataclasses
import os
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from chroma_nb.displayed import Displayed
from chroma_nb.suggest import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping

ENVIRONMENT_PREFIX = "CHROMA_NB_"

#: Chroma's names of settings that mean the same here.
_CHROMA_NAMES = {"persist_directory": "path", "chroma_memory_limit_bytes": "memory_budget"}

#: Chroma's settings that have nothing to act on here. The value given is the one that changes
#: nothing: chroma_nb sends no telemetry, so switching it off is simply true.
_CHROMA_WITHOUT_EFFECT: dict[str, Any] = {
    "anonymized_telemetry": False,
    "chroma_product_telemetry_impl": None,
    "chroma_telemetry_impl": None,
    # There is one policy here, and it is the one that could be chosen there.
    "chroma_segment_cache_policy": "LRU",
    "chroma_server_nofile": None,
    "chroma_server_thread_pool_size": 40,
    "chroma_server_host": None,
    "chroma_server_http_port": None,
    "chroma_server_ssl_enabled": False,
    "chroma_server_headers": None,
    "chroma_api_impl": None,
    "chroma_sysdb_impl": None,
    "chroma_db_impl": None,
    "migrations": None,
    "environment": "",
}


#: Settings that are a size: a number of bytes is as good as a text.
_SIZES = ("memory_budget", "duckdb_memory_limit")


def _documented(default: Any, doc: str) -> Any:
    return dataclasses.field(default=default, metadata={"doc": doc})


@dataclass(frozen=True, init=False, repr=False)
class Settings(Displayed):
    """Everything that can be chosen. ``Settings()`` is what a notebook needs.

    Args:
        **values: Any field below, by name. Chroma's names that mean the same (``persist_directory``)
            are accepted; those that have nothing to act on here are accepted with a warning
            unless they ask for what is the case anyway (``anonymized_telemetry=False``).

    Raises:
        ValueError: An unknown name or a value that cannot be read.
    """

    path: str = _documented("./chroma", "Folder of a persistent store; used when `is_persistent`.")
    is_persistent: bool = _documented(False, "Keep the store on disk. `Client(path)` sets it.")
    allow_reset: bool = _documented(False, "Let `client.reset()` delete everything.")
    api: str = _documented(
        "local", "Which `API` answers: `local`, or `package.module:Class` of your own."
    )
    db: str = _documented(
        "auto",
        "Which `DB` keeps the records: `auto` (by `is_persistent`), `duckdb`, `persistent_duckdb`, "
        "or `package.module:Class`.",
    )
    index_engine: str = _documented(
        "auto",
        "Engine of vector graphs: `auto` (hnswlib where it can be imported, else usearch), "
        "`hnswlib`, `usearch`, or `exact` (no graph).",
    )
    graph_min_records: int = _documented(
        5_000, "Collections smaller than this are searched exactly and get no graph."
    )
    threads: int = _documented(0, "Threads for building and batch queries; 0 is one per core.")
    memory_budget: str = _documented(
        "auto",
        "What the loaded collections may hold together: bytes, `2 GB`, `25%` of the machine's limit, or "
        "`auto` (60 % of what is free when the store is opened).",
    )
    idle_unload_seconds: float = _documented(
        900.0, "After so long without use a collection's memory is given back; 0 is never."
    )
    duckdb_memory_limit: str = _documented(
        "auto",
        "DuckDB's own `memory_limit` (its default is 80 % of the host's memory); `auto` follows the "
        "budget, from 32 to 256 MiB.",
    )
    temp_path: str = _documented(
        "", "Folder for temporary files of ephemeral stores; empty is the system's."
    )
    fsync: bool = _documented(
        True,
        "Flush to the disk at each commit of a persistent store. Off, a power cut may lose it.",
    )
    embedding: str = _documented(
        "auto",
        'What "default" means for a new collection: `auto` (MiniLM where it is or can be had, '
        "else static), `minilm`, or `static`.",
    )
    minilm_path: str = _documented(
        "", "Folder that holds MiniLM's `model.onnx` and `tokenizer.json`; empty is Chroma's cache."
    )
    offline: bool = _documented(False, "Never download a model.")
    progress: bool = _documented(True, "Show progress bars on what lasts longer than two seconds.")
    max_batch_size: int = _documented(
        5_461, "What `get_max_batch_size()` says. Larger calls are accepted and split inside."
    )
    compact_ratio: float = _documented(
        0.5, "Compact a collection when this share of its vector rows is dead."
    )

    def __init__(self, **values: Any) -> None:
        resolved = resolve(values, os.environ)
        for name, value in resolved.items():
            object.__setattr__(self, name, value)
        object.__setattr__(self, "_explicit", frozenset(values))

    def __repr__(self) -> str:
        changed = ", ".join(
            f"{field.name}={value!r}"
            for field in dataclasses.fields(self)
            if (value := getattr(self, field.name)) != field.default
        )
        return f"Settings({changed})"

    @property
    def persist_directory(self) -> str:
        """Chroma's name of `path`."""
        return self.path

    def replace(self, **changes: Any) -> Settings:
        """Return a copy with some fields changed."""
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return Settings(**{**values, **changes})

    def key(self) -> tuple[Any, ...]:
        """Return what makes two settings the same, to share one store between clients."""
        return tuple(getattr(self, f.name) for f in dataclasses.fields(self))


def resolve(values: Mapping[str, Any], environment: Mapping[str, str]) -> dict[str, Any]:
    """Merge explicit values, the environment and the defaults into one complete table.

    Raises:
        ValueError: An unknown name, or a value that is not of its field's kind.
    """
    fields = {f.name: f for f in dataclasses.fields(Settings)}
    explicit = {}
    for given, value in values.items():
        name = _CHROMA_NAMES.get(given, given)
        if given == "chroma_memory_limit_bytes" and value == 0:
            # Chroma's "no limit", which is its default.
            continue
        if name in fields:
            explicit[name] = value
        elif given in _CHROMA_WITHOUT_EFFECT:
            if value != _CHROMA_WITHOUT_EFFECT[given] and value is not None:
                warnings.warn(
                    f"Setting {given}={value!r} is Chroma's and has no effect in chroma_nb.",
                    UserWarning,
                    stacklevel=4,
                )
        else:
            hint = did_you_mean(given, [*fields, *_CHROMA_NAMES], " Did you mean {!r}?")
            raise ValueError(f"Unknown setting {given!r}. Known: {', '.join(fields)}.{hint}")
    resolved = {}
    for name, field in fields.items():
        variable = ENVIRONMENT_PREFIX + name.upper()
        if name in explicit:
            resolved[name] = _read(name, explicit[name], field.default, name)
        elif variable in environment:
            resolved[name] = _read(name, environment[variable], field.default, variable)
        else:
            resolved[name] = field.default
    return resolved


def _read(name: str, value: Any, default: Any, source: str) -> Any:
    kind = type(default)
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if kind is bool:
        if isinstance(value, bool):
            return value
        words = {"1": True, "true": True, "yes": True, "on": True}
        words.update({"0": False, "false": False, "no": False, "off": False})
        if isinstance(value, str) and value.strip().lower() in words:
            return words[value.strip().lower()]
        raise ValueError(f"Setting {source} must be true or false, got {value!r}.")
    if kind is str:
        if isinstance(value, str):
            return value
        if name in _SIZES and isinstance(value, int | float) and not isinstance(value, bool):
            return str(value)
        raise ValueError(f"Setting {source} must be a text, got {value!r}.")
    if isinstance(value, bool):
        raise ValueError(f"Setting {source} must be a number, got {value!r}.")
    try:
        number = kind(value)
    except (TypeError, ValueError):
        raise ValueError(f"Setting {source} must be a number, got {value!r}.") from None
    if number < 0:
        raise ValueError(f"Setting {source} must not be negative, got {value!r}.")
    return number


def describe() -> list[tuple[str, str, Any, str]]:
    """Return (name, environment variable, default, meaning) of every setting, for the docs."""
    return [
        (f.name, ENVIRONMENT_PREFIX + f.name.upper(), f.default, f.metadata["doc"])
        for f in dataclasses.fields(Settings)
    ]
