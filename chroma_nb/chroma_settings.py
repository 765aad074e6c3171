"""Names of settings that are not ours: Chroma's, which mean the same or have nothing to act on here, and those that people try."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Chroma's names of settings that mean the same here.
CHROMA_NAMES = {"persist_directory": "path", "chroma_memory_limit_bytes": "memory_budget"}

#: Chroma's settings that have nothing to act on here. The value given is the one that changes
#: nothing: chroma_nb sends no telemetry, so switching it off is simply true.
CHROMA_WITHOUT_EFFECT: dict[str, Any] = {
    "anonymized_telemetry": False,
    "chroma_product_telemetry_impl": None,
    "chroma_telemetry_impl": None,
    # There is one policy here, and it is the one that could be chosen there.
    "chroma_segment_cache_policy": "LRU",
    "chroma_server_nofile": None,
    "chroma_server_thread_pool_size": 40,
    # Which of Chroma's classes it is made of.
    "chroma_sysdb_impl": None,
    "chroma_db_impl": None,
    "chroma_producer_impl": None,
    "chroma_consumer_impl": None,
    "chroma_segment_manager_impl": None,
    "chroma_executor_impl": None,
    "migrations": None,
    "environment": "",
}


#: Names that people try, of things that are called otherwise here.
SYNONYMS = {
    **dict.fromkeys(("memory_limit", "max_memory", "memory", "ram"), "memory_budget"),
    **dict.fromkeys(("persist_path", "persist_dir", "dir", "directory", "folder"), "path"),
    **dict.fromkeys(("persistent", "persist"), "is_persistent"),
    **dict.fromkeys(("host", "server_url", "endpoint", "address"), "url"),
    **dict.fromkeys(("api_key", "auth_token", "apikey"), "token"),
    **dict.fromkeys(("embedding_function", "model", "embedding_model"), "embedding"),
    **dict.fromkeys(("timeout", "request_timeout"), "timeout_seconds"),
    **dict.fromkeys(("engine", "index"), "index_engine"),
    **dict.fromkeys(("batch_size",), "max_batch_size"),
    **dict.fromkeys(("verbose", "show_progress", "progress_bar"), "progress"),
    **dict.fromkeys(("ttl", "idle_seconds", "idle_timeout"), "idle_unload_seconds"),
    **dict.fromkeys(("rows", "max_rows", "n_rows"), "display_rows"),
    **dict.fromkeys(("tmp", "temp_dir", "tmpdir", "temp"), "temp_path"),
    **dict.fromkeys(("num_threads", "n_threads"), "threads"),
}


class TokenTransportHeader(str, enum.Enum):
    """The header that carries a token, for Chroma's `chroma_auth_token_transport_header`."""

    AUTHORIZATION = "Authorization"
    X_CHROMA_TOKEN = "X-Chroma-Token"


def chroma_client(values: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Translate how Chroma's settings say where a server is and what to show it; return that, and the rest.

    Raises:
        ValueError: A provider of another kind than Chroma's two, or a port without a host.
    """
    rest = dict(values)
    found: dict[str, Any] = {}
    implementation = str(rest.pop("chroma_api_impl", None) or "").lower()
    host = rest.pop("chroma_server_host", None)
    port = rest.pop("chroma_server_http_port", None)
    tls = rest.pop("chroma_server_ssl_enabled", None)
    headers = rest.pop("chroma_server_headers", None)
    if implementation:
        found["api"] = "fastapi" if "fastapi" in implementation else "local"
    if headers:
        found["headers"] = headers
    if host:
        scheme = "https" if tls else "http"
        found["url"] = host if "://" in host else f"{scheme}://{host}:{port or 8000}"
    elif port is not None:
        raise ValueError(
            f"Setting chroma_server_http_port={port!r} is the port of a server: say chroma_server_host, too."
        )
    verify = rest.pop("chroma_server_ssl_verify", None)
    if verify is not None:
        found["tls_verify"] = str(verify).lower() if isinstance(verify, bool) else verify
    provider = rest.pop("chroma_client_auth_provider", None)
    credentials = rest.pop("chroma_client_auth_credentials", None)
    header = rest.pop("chroma_auth_token_transport_header", None)
    if provider is not None:
        kind = {"TokenAuthClientProvider": "token", "BasicAuthClientProvider": "basic_auth"}.get(
            str(provider).rpartition(".")[2]
        )
        if kind is None:
            raise ValueError(
                f"Setting chroma_client_auth_provider must be Chroma's TokenAuthClientProvider or "
                f"BasicAuthClientProvider, got {provider!r}. Use token= or basic_auth= instead."
            )
        found[kind] = credentials or ""
        if header is not None:
            found["token_header"] = str(getattr(header, "value", header))
    return found, rest
