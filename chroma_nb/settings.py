"""Settings: one frozen dataclass, read when it is asked for, never at import.

Order: an explicit argument, then the environment (``CHROMA_NB_<NAME>``), then the default. A setting that
names a place decides where the store is: a `path` means a folder, a `url` means a server (`_decide_place`).
"""

from __future__ import annotations

import dataclasses
import json
import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from chroma_nb.api_names import CELERY_API, LOCAL_API, is_remote, remote_api
from chroma_nb.boundary import public_call
from chroma_nb.chroma_settings import (
    CHROMA_NAMES,
    CHROMA_WITHOUT_EFFECT,
    SYNONYMS,
    chroma_client,
)
from chroma_nb.display.base import Displayed
from chroma_nb.errors import InvalidArgumentError
from chroma_nb.suggest import did_you_mean
from chroma_nb.words import brief

ENVIRONMENT_PREFIX = "CHROMA_NB_"

#: Settings that are a size: a number of bytes is as good as a text.
_SIZES = (
    "memory_budget",
    "duckdb_memory_limit",
    "server_max_body",
    "server_max_head",
    "max_answer",
    "max_description",
)

#: Settings that have no meaning as 0.
_POSITIVE = ("display_rows",)

#: What `embedding` may be.
EMBEDDINGS = ("auto", "minilm", "static")

#: No setting is as large: more than what a file or a memory can hold.
_TOO_LARGE = 2**63

#: What is shown of a secret that is set.
MASK = "********"


def _documented(default: Any, doc: str, *, secret: bool = False) -> Any:
    return dataclasses.field(default=default, metadata={"doc": doc, "secret": secret})


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

    _view = "settings"

    path: str = _documented(
        "./chroma", "Folder of a persistent store. Setting it makes the store persistent."
    )
    is_persistent: bool = _documented(
        False, "Keep the store on disk, in `path`. Setting `path` or `Client(path)` sets it."
    )
    allow_reset: bool = _documented(False, "Let `client.reset()` delete everything.")
    api: str = _documented(
        LOCAL_API,
        "Which `API` answers: `local` (in this process), `celery` (the same, with workers that compute), `fastapi` or "
        "`arrowflight` (a server, at `url`), or `package.module:Class` of your own.",
    )
    db: str = _documented(
        "auto",
        "Which `DB` keeps the records: `auto` (by `is_persistent`), `duckdb`, `persistent_duckdb`, "
        "`clickhouse`, or `package.module:Class`.",
    )
    clickhouse_url: str = _documented(
        "",
        "Where ClickHouse is, for `db=clickhouse`: `https://user:password@host:8443/database`. Empty, it runs in this process, "
        "in `path`.",
    )
    clickhouse_staleness_seconds: float = _documented(
        0.0,
        "For so long other servers' commits to ClickHouse may go unseen by a read; 0 looks before each. Writes always look.",
    )
    celery_broker: str = _documented(
        "",
        "Where the workers' broker is. Given in `Settings`, it means `api=celery`: `amqp://user:password@host:5672//` (RabbitMQ) or `redis://host:6379/0`; "
        "with TLS `amqps://` and `rediss://`.",
    )
    celery_backend: str = _documented(
        "", "Where workers put results: a `redis://` address; empty, it is the broker."
    )
    celery_fallback: bool = _documented(
        True,
        "Compute in this process what workers cannot; a warning says why. Off, that is an error.",
    )
    index_engine: str = _documented(
        "auto",
        "Index of a collection: `auto` (turbovec where it can be imported, else hnswlib or usearch), `turbovec` (codes of 4 bits), "
        "`turbovec-2bit`, `hnswlib` or `usearch` (graphs), `exact` (none), or `package.module:Class`.",
    )
    graph_min_records: int = _documented(
        5_000, "Collections smaller than this are searched exactly and get no index."
    )
    threads: int = _documented(0, "Threads for building and batch queries; 0 is one per core.")
    memory_budget: str = _documented(
        "auto",
        "What the loaded collections may hold together: bytes, `2 GB`, `25%` of the machine's limit, or "
        "`auto` (60 % of what is free or held by loaded collections, recomputed all the time).",
    )
    idle_unload_seconds: float = _documented(
        900.0, "After so long without use a collection's memory is given back; 0 is never."
    )
    duckdb_memory_limit: str = _documented(
        "auto",
        "DuckDB's own `memory_limit` (its default is 80 % of the host's memory); `auto` follows the "
        "budget, from 32 to 256 MiB.",
    )
    temp_path: str = _documented("", "Folder for temporary files; empty is the system's.")
    fsync: bool = _documented(
        True,
        "Flush to the disk at each commit of a persistent store. Off, a power cut may lose it.",
    )
    embedding: str = _documented(
        "auto",
        'What "default" means for a new collection: `auto` (MiniLM if installed or downloadable, '
        "else static), `minilm`, or `static`.",
    )
    minilm_path: str = _documented(
        "", "Folder that holds MiniLM's `model.onnx` and `tokenizer.json`; empty is Chroma's cache."
    )
    offline: bool = _documented(False, "Never download a model.")
    progress: bool = _documented(True, "Show progress bars on what lasts longer than two seconds.")
    display_rows: int = _documented(
        10,
        "Records of a table that a result is shown as; `result.show(rows=...)` shows more of one.",
    )
    display_fetch: bool = _documented(
        True,
        "Let showing a client, collection, `fields` or `memory` at a server ask it, for 0.3 s in all. Off, "
        "it sends nothing and shows what earlier answers have said.",
    )
    max_batch_size: int = _documented(
        5_461, "What `get_max_batch_size()` says. Larger calls are accepted and split inside."
    )
    max_filter_conditions: int = _documented(
        1_000,
        "Most conditions in `where` and `where_document` of one call; a regular expression counts as ten.",
    )
    max_filter_depth: int = _documented(64, "How deep `$and` and `$or` may be nested in a filter.")
    max_filter_values: int = _documented(
        1_000_000,
        "Most values of one call in `ids` and in the lists of `$in` and `$nin` together: about 5 s of work; also of the sparse "
        "vectors that one call searches for.",
    )
    max_pattern_length: int = _documented(
        1_000,
        "Most characters of one regular expression, in filters and in SQL; spelt out for the database one of a filter may "
        "have 100 times as many.",
    )
    max_pattern_work: int = _documented(
        500_000_000,
        "Most parts of the regular expressions of one call, with their repetitions written out, times the bytes of "
        "the longest document (in SQL: the longest text): about 20 s in the worst case, as DuckDB cannot be interrupted within a document.",
    )
    max_searches: int = _documented(100, "Most searches in one call of `search`.")
    max_search_queries: int = _documented(
        200, "Most `Knn` in the searches of one call; each looks through the collection by itself."
    )
    max_rank_nodes: int = _documented(
        1_000,
        "Most operations, numbers and `Knn` in one rank, with the keys of its grouping; ten times as many in one call.",
    )
    max_rank_depth: int = _documented(64, "How deep operations may be nested in a rank.")
    max_description: str = _documented(
        "1 MB",
        "Largest description of a collection: its name, metadata and configuration. All of them are in memory while the store is open.",
    )
    compact_ratio: float = _documented(
        0.5, "Compact a collection when this share of its vector rows is dead."
    )
    url: str = _documented(
        "",
        "Where a server is, such as `http://host:8000` or `grpc://host:8815`. Given in `Settings`, clients ask it; in the environment, "
        "`connect()` without a target goes there.",
    )
    token: str = _documented(
        "",
        "The token to authenticate with at a server, sent as `Bearer` or in `token_header`.",
        secret=True,
    )
    token_header: str = _documented(
        "Authorization", "The header that carries the token: `Authorization` or `X-Chroma-Token`."
    )
    basic_auth: str = _documented(
        "", "`user:password` to authenticate with at a server.", secret=True
    )
    headers: str = _documented(
        "", "Further headers of each request to a server: a JSON object.", secret=True
    )
    timeout_seconds: float = _documented(
        60.0, "How long a server may take for a whole answer; a large one may take longer."
    )
    max_answer: str = _documented("1 GB", "Largest answer that is taken from a server.")
    retries: int = _documented(3, "Retries for requests that are safe to repeat.")
    tls_verify: str = _documented(
        "true", "Check a server's certificate: `true`, `false`, or the file of your own authority."
    )
    tls_certificate: str = _documented("", "File of the client's own certificate and key (PEM).")
    proxy: str = _documented(
        "",
        "Proxy to a server; empty follows `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY`.",
        secret=True,
    )
    server: str = _documented(
        "fastapi", "Which `Server` is made: `fastapi`, `arrowflight`, or `package.module:Class`."
    )
    server_host: str = _documented(
        "127.0.0.1", "Address to serve on; any but this machine's own needs authentication."
    )
    server_port: int = _documented(8_000, "Port to serve on; 0 is any that is free.")
    server_flight_port: int | None = _documented(
        None, "Port of Arrow Flight beside HTTP; 0 is any that is free. Not set, HTTP is alone."
    )
    server_token: str = _documented(
        "", "One token that opens everything. For more than one: `server_auth_file`.", secret=True
    )
    server_auth_file: str = _documented(
        "", "File of tokens and users, hashed, that `chroma-nb auth` writes; changes count at once."
    )
    server_public: bool = _documented(
        False, "Serve a public address without authentication: a proxy in front authenticates."
    )
    server_trusted_proxies: str = _documented(
        "", "Addresses or networks, with commas, whose `X-Forwarded-For` says who asks."
    )
    server_max_body: str = _documented("256 MB", "Largest body of a request.")
    server_max_head: str = _documented("64 KB", "Largest request line with its headers.")
    server_max_headers: int = _documented(100, "Most headers of one request.")
    server_max_requests_ahead: int = _documented(
        16, "Most requests that a client may send before the first is answered."
    )
    server_max_connections: int = _documented(
        0, "Most connections at a time; 0 is half of the files that may be open, at most 8,192."
    )
    server_max_batch_size: int = _documented(100_000, "Most records of one request.")
    server_max_results: int = _documented(
        100_000,
        "Most answers of one request: `n_results` times the queries in it, or what its searches ask for.",
    )
    server_max_concurrency: int = _documented(
        128, "Most requests at a time; others are asked to try again. One client may have half."
    )
    server_max_streams: int = _documented(
        256,
        "Most streams of queries over Arrow Flight, and as many writes and reads at a time. One client may have half of them.",
    )
    server_max_scans: int = _documented(
        16, "Most scans (`to_arrow`, `export`, copies) at a time. One client may have half of them."
    )
    server_scan_idle_seconds: float = _documented(
        300.0, "A scan that its client does not go on with for this long is closed; 0 is never."
    )
    server_threads: int = _documented(
        0, "Threads that answer requests; 0 is eight per core. One client may have half of them."
    )
    server_timeout_seconds: float = _documented(120.0, "How long one request may be worked on.")
    server_body_timeout_seconds: float = _documented(
        30.0,
        "How long a client may take for a request's head, for each 256 KiB of a body, and to take more of an answer.",
    )
    server_cors_origins: str = _documented(
        "", "Web pages that may ask: origins, separated by commas; `*` is any. Empty is none."
    )
    server_tls_certificate: str = _documented("", "File of the server's certificate chain (PEM).")
    server_tls_key: str = _documented("", "File of the certificate's private key (PEM).")
    server_tls_client_ca: str = _documented(
        "",
        "File of the authority (PEM) whose certificates clients must show; empty asks for none.",
    )

    _given: ClassVar[frozenset[str]] = frozenset()

    @public_call
    def __init__(self, **values: Any) -> None:
        explicit = read_explicit(values)
        resolved = _merge(explicit, os.environ)
        _decide_place(resolved, explicit, os.environ)
        _decide_credentials(resolved, explicit)
        self._set(resolved, frozenset(explicit))

    def _set(self, values: Mapping[str, Any], given: frozenset[str]) -> None:
        for name, value in {**values, "_given": given}.items():
            object.__setattr__(self, name, value)

    def gives(self, name: str) -> bool:
        """Say whether a setting was given as an argument, rather than by the environment or not at all."""
        return name in self._given

    def __repr__(self) -> str:
        changed = ", ".join(
            f"{field.name}={self.shown(field.name)!r}"
            for field in dataclasses.fields(self)
            if getattr(self, field.name) != field.default
        )
        return f"Settings({changed})"

    def shown(self, name: str) -> Any:
        """Return a field's value as it may be seen: a secret that is set is masked."""
        value = getattr(self, name)
        if name in ("url", "clickhouse_url", "celery_broker", "celery_backend"):
            return without_secrets(value)
        field = next(one for one in dataclasses.fields(self) if one.name == name)
        return MASK if field.metadata["secret"] and value else value

    def described(self) -> list[tuple[str, Any, Any, str, str]]:
        """Return (name, value as `shown`, default, environment variable, meaning) of every setting."""
        return [
            (name, self.shown(name), default, variable, meaning)
            for name, variable, default, meaning in describe()
        ]

    @property
    def is_remote(self) -> bool:
        """Whether the store is at a server."""
        return is_remote(self.api)

    @property
    def place(self) -> str:
        """Where the store is: a server's address without secrets, a folder, or ``in memory``."""
        if self.is_remote:
            return without_secrets(self.url)
        if self.db == "clickhouse":
            return without_secrets(self.clickhouse_url) if self.clickhouse_url else self.path
        return self.path if self.is_persistent else "in memory"

    @property
    def persist_directory(self) -> str:
        """Chroma's name of `path`."""
        return self.path

    @public_call
    def replace(self, **changes: Any) -> Settings:
        """Return a copy with some fields changed; a new `path` or `url` says where the store is."""
        explicit = read_explicit(changes)
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)} | explicit
        _decide_place(values, explicit, {})
        _decide_credentials(values, explicit)
        copy = object.__new__(Settings)
        copy._set(values, self._given | explicit.keys())
        return copy

    def key(self) -> tuple[Any, ...]:
        """Return what makes two settings the same, to share one store between clients."""
        return tuple(getattr(self, f.name) for f in dataclasses.fields(self))


def expand_path(path: str | os.PathLike[str]) -> str:
    """Return a path that a user gives as an absolute one, ``~`` taken for the home folder."""
    return os.path.abspath(os.path.expanduser(os.fspath(path)))


def real_path(path: str | os.PathLike[str]) -> str:
    """Return a path that a user gives without links: equal for two ways to one place."""
    return os.path.realpath(expand_path(path))


def without_secrets(url: str) -> str:
    """Return an address without the user and the password that may stand in it."""
    scheme, separator, rest = url.rpartition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}{separator}{host.rpartition('@')[2]}{slash}{path}"


def read_explicit(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return what was given as arguments, by our names and of the fields' kinds.

    Raises:
        ValueError: An unknown name, or a value that is not of its field's kind.
    """
    fields = {f.name: f for f in dataclasses.fields(Settings)}
    found, values = chroma_client(values)
    for given, value in values.items():
        name = CHROMA_NAMES.get(given, given)
        if given == "chroma_memory_limit_bytes" and value == 0:
            # Chroma's "no limit", which is its default.
            continue
        if name in fields:
            found[name] = value
        elif given in CHROMA_WITHOUT_EFFECT:
            if value != CHROMA_WITHOUT_EFFECT[given] and value is not None:
                warnings.warn(
                    f"Setting {given}={value!r} is Chroma's and has no effect in chroma_nb.",
                    UserWarning,
                    stacklevel=4,
                )
        else:
            meant = SYNONYMS.get(given)
            hint = f" Did you mean {meant!r}?" if meant else ""
            hint = hint or did_you_mean(given, [*fields, *CHROMA_NAMES], " Did you mean {!r}?")
            raise ValueError(f"Unknown setting {given!r}.{hint} Known: {', '.join(fields)}.")
    return {name: _read(name, value, fields[name].default, name) for name, value in found.items()}


def resolve(values: Mapping[str, Any], environment: Mapping[str, str]) -> dict[str, Any]:
    """Merge arguments, the environment and the defaults into one complete table.

    Raises:
        ValueError: An unknown name, or a value that is not of its field's kind.
    """
    return _merge(read_explicit(values), environment)


def _merge(explicit: Mapping[str, Any], environment: Mapping[str, str]) -> dict[str, Any]:
    resolved = {}
    for field in dataclasses.fields(Settings):
        name, variable = field.name, ENVIRONMENT_PREFIX + field.name.upper()
        if name in explicit:
            resolved[name] = explicit[name]
        elif variable in environment:
            resolved[name] = _read(name, environment[variable], field.default, variable)
        else:
            resolved[name] = field.default
    return resolved


def _decide_credentials(values: dict[str, Any], explicit: Mapping[str, Any]) -> None:
    """Let a token that is given count more than a user from the environment or an earlier step, and the reverse.

    A request shows one of them, unless the token has a header of its own. Where both are given at once, both stay, and
    the client refuses them.
    """
    if values["token_header"].lower() != "authorization":
        return
    for one, other in (("token", "basic_auth"), ("basic_auth", "token")):
        if explicit.get(one) and other not in explicit:
            values[other] = ""


def _decide_place(
    values: dict[str, Any], explicit: Mapping[str, Any], environment: Mapping[str, str]
) -> None:
    """Let `path` mean a folder, and a `url` that is given as an argument a server.

    A URL of the environment is for `connect()`, which asks for it.

    Args:
        values: The table; `is_persistent` and `api` are set in it.
        explicit: What was given as arguments, which counts more than the environment.
        environment: The environment's variables.

    Raises:
        ValueError: The arguments contradict each other.
    """

    def said(name: str) -> int:
        """2: by an argument, 1: by the environment, 0: not at all."""
        if name in explicit:
            return 2
        return 1 if ENVIRONMENT_PREFIX + name.upper() in environment else 0

    path, persistent, api = said("path"), said("is_persistent"), said("api")
    url, clickhouse, broker = (
        bool(explicit.get(name)) for name in ("url", "clickhouse_url", "celery_broker")
    )
    if broker and api < 2:
        # Who says where the workers are wants them.
        values["api"], api = CELERY_API, 2
    named = f"api={values['api']!r}"
    is_elsewhere = is_remote(values["api"])
    keeps = persistent == 2 and values["is_persistent"]
    here, places = "a url is for a server", "a folder and a server are two places"
    for clash, one, other, why in (
        (
            path == persistent == 2 and not values["is_persistent"],
            "path",
            "is_persistent=False",
            "a path keeps the store",
        ),
        (url and path == 2, "path", "url", places),
        (url and keeps, "is_persistent", "url", places),
        (path == 2 and clickhouse, "path", "clickhouse_url", places),
        (
            clickhouse and values["db"] != "clickhouse",
            "clickhouse_url",
            f"db={values['db']!r}",
            "a server of ClickHouse is for db='clickhouse'",
        ),
        (url and broker, "url", "celery_broker", f"{here}, whose workers are its own"),
        (
            broker and (is_elsewhere or values["api"] == LOCAL_API),
            "celery_broker",
            named,
            "only 'celery' has workers",
        ),
        (url and api == 2 and values["api"] in (LOCAL_API, CELERY_API), "url", named, here),
        (path == api == 2 and is_elsewhere, "path", named, "a path is for a store in this process"),
    ):
        if clash:
            raise ValueError(
                f"Settings {one} and {other} contradict each other: {why}. Leave one of them out."
            )
    if path > persistent and not url:
        values["is_persistent"] = True
    if api == 2:
        return
    if url:
        values["api"] = remote_api(explicit["url"])
    elif (path == 2 or keeps) and is_elsewhere:
        values["api"] = LOCAL_API


def _read(name: str, value: Any, default: Any, source: str) -> Any:
    if default is None:
        # A number that may be missing.
        if value is None or value == "":
            return None
        default = 0
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
        raise ValueError(
            f"Setting {source} must be true or false, got {brief(value, quoted=True)}."
        )
    if kind is str:
        if name == "embedding":
            return _read_embedding(value, source)
        if isinstance(value, str):
            return value
        if name == "headers" and isinstance(value, Mapping):
            return json.dumps(dict(value), sort_keys=True)
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if name in _SIZES and is_number and abs(value) < _TOO_LARGE:
            return str(value)
        raise ValueError(f"Setting {source} must be a text, got {brief(value, quoted=True)}.")
    if isinstance(value, bool):
        raise ValueError(f"Setting {source} must be a number, got {value!r}.")
    try:
        number = kind(value)
    except (TypeError, ValueError):
        raise ValueError(
            f"Setting {source} must be a number, got {brief(value, quoted=True)}."
        ) from None
    if number == 0 and name in _POSITIVE:
        raise ValueError(f"Setting {source} must be at least 1, got 0.")
    if number < 0:
        raise ValueError(f"Setting {source} must not be negative, got {brief(value, quoted=True)}.")
    if kind is int and number >= _TOO_LARGE:
        raise ValueError(
            f"Setting {source} must be less than 2**63, got {brief(value, quoted=True)}."
        )
    return number


def _read_embedding(value: Any, source: str) -> str:
    """Return what "default" means; a function is no setting."""
    if isinstance(value, str) and value in EMBEDDINGS:
        return value
    hint = did_you_mean(value, EMBEDDINGS, " Did you mean {!r}?")
    shown = repr(value)
    raise InvalidArgumentError(
        f"Unknown setting {source}={shown if len(shown) <= 100 else shown[:99] + '…'}. Known: "
        f"{', '.join(EMBEDDINGS)}.{hint} Any other model is given to the collection: "
        "client.create_collection(name, embedding_function=...)."
    )


def describe() -> list[tuple[str, str, Any, str]]:
    """Return (name, environment variable, default, meaning) of every setting, for the docs."""
    return [
        (f.name, ENVIRONMENT_PREFIX + f.name.upper(), f.default, f.metadata["doc"])
        for f in dataclasses.fields(Settings)
    ]
