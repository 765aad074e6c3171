"""`connect`: a client of a server, or of this process, by one line."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

from chroma_nb import factories, stores
from chroma_nb.api_names import remote_api
from chroma_nb.boundary import public_call
from chroma_nb.client.client import ClientAPI
from chroma_nb.errors import InvalidArgumentError, ServerUnavailableError
from chroma_nb.settings import Settings, without_secrets
from chroma_nb.types import DEFAULT_DATABASE, DEFAULT_TENANT

if TYPE_CHECKING:
    from collections.abc import Mapping

_DEFAULT_PORT = 8_000
#: A name without a dot or a port: of a host or of a folder.
_BARE_NAME = re.compile(r"[A-Za-z0-9_-]+/?")
_HOST_AND_PORT = re.compile(r"(\[[0-9a-fA-F:.%]+\]|[^\s:/?#@\[\]]+)(?::([0-9]{1,5}))?")


@public_call
def connect(
    target: str | os.PathLike[str] | None = None,
    tenant: str | None = None,
    database: str | None = None,
    *,
    token: str | None = None,
    basic_auth: tuple[str, str] | str | None = None,
    headers: Mapping[str, str] | None = None,
    tls_verify: bool | str | None = None,
    timeout_seconds: float | None = None,
    settings: Settings | None = None,
) -> ClientAPI:
    """Return a client of a server, chroma_nb's own or Chroma's, or of a store in this process.

    Whatever it is, what the client offers is the same: a notebook changes this line and nothing else.

    Args:
        target: ``"http://host:8000"``, ``"https://..."``, ``"host:port"``; a folder (``"./store"``, or a
            `Path`) is a store in this process that keeps its records. None is the server that the
            environment names (``CHROMA_NB_URL``), else a store in memory.
        tenant: The tenant; None is the one that the token belongs to, else the default one.
        database: The database; None likewise.
        token: Shown to the server as ``Authorization: Bearer`` (or in `Settings.token_header`).
        basic_auth: User and password, where the server wants these.
        headers: Further headers of each request.
        tls_verify: False, or the file of your own certificate authority.
        timeout_seconds: How long the server may take for an answer.
        settings: Everything else; what is given above counts more.

    Raises:
        ServerUnavailableError: No Chroma server answers there; the message says what was found instead.
        AuthorizationError, ChromaAuthError: The server refuses what was shown to it.
        NotFoundError: The tenant or the database does not exist.
        InvalidArgumentError: `target` or another argument cannot be used.
    """
    chosen = factories.get_settings() if settings is None else settings
    changes: dict[str, Any] = {
        "token": token,
        "basic_auth": ":".join(basic_auth) if isinstance(basic_auth, tuple) else basic_auth,
        "headers": headers,
        "tls_verify": str(tls_verify).lower() if isinstance(tls_verify, bool) else tls_verify,
        "timeout_seconds": timeout_seconds,
    }
    chosen = chosen.replace(**{key: one for key, one in changes.items() if one is not None})
    if target is None and chosen.url and not chosen.gives("path"):
        target = chosen.url
    if target is None:
        return ClientAPI(chosen, tenant or DEFAULT_TENANT, database or DEFAULT_DATABASE)
    if not isinstance(target, str | os.PathLike):
        raise InvalidArgumentError(
            f"Expected a server's address or a folder, got {target!r} ({type(target).__name__})."
        )
    if isinstance(target, os.PathLike) or target.startswith((".", "/", "~")):
        return ClientAPI(
            chosen, tenant or DEFAULT_TENANT, database or DEFAULT_DATABASE, path=target
        )
    if chosen.gives("path"):
        raise InvalidArgumentError(
            f"A store is in one place, and two are given: {target[:200]!r}, and the path {chosen.path!r} in the "
            "settings. Leave one of them out."
        )
    url = _url_of(target)
    chosen = chosen.replace(api=remote_api(url), url=url, is_persistent=False)
    try:
        return _open(chosen, tenant, database)
    except ServerUnavailableError as error:
        if _BARE_NAME.fullmatch(target.strip()):
            # A bare name may as well be a folder's.
            error.args = (
                f"{error.message()} If {target.strip()!r} is a folder: chroma_nb.connect("
                f"{'./' + target.strip()!r}).",
            )
        raise


def _open(chosen: Settings, tenant: str | None, database: str | None) -> ClientAPI:
    """Return a client of a server, in the tenant and the database that its token belongs to."""
    if tenant is None or database is None:
        own = stores.open_store(chosen).api.get_user_identity()
        if tenant is None and own.tenant not in (None, "", "*"):
            tenant = own.tenant
        if database is None and own.databases and len(own.databases) == 1:
            database = own.databases[0] if own.databases[0] != "*" else None
    return ClientAPI(chosen, tenant or DEFAULT_TENANT, database or DEFAULT_DATABASE)


def _url_of(target: str) -> str:
    """Return the address that a target means."""
    if "://" in target:
        return target
    found = _HOST_AND_PORT.fullmatch(target.strip())
    if found is None:
        raise InvalidArgumentError(
            f"Expected a server such as 'http://host:8000' or 'host:8000', or a folder such as './store'; "
            f"got {target[:200]!r}."
        )
    return f"http://{found[1]}:{found[2] or _DEFAULT_PORT}"


@public_call
def HttpClient(
    host: str = "localhost",
    port: int = _DEFAULT_PORT,
    ssl: bool = False,
    headers: dict[str, str] | None = None,
    settings: Settings | None = None,
    tenant: str = DEFAULT_TENANT,
    database: str = DEFAULT_DATABASE,
) -> ClientAPI:
    """Return a client of a server, in Chroma's words; see `connect`.

    Args:
        host: The host, or a whole address such as ``"https://host/path"``; one that names no port gets
            `port` where that is not 8000.
        port: The port.
        ssl: Use HTTPS.
        headers: Further headers of each request.
        settings: Everything else.
        tenant: The tenant.
        database: The database.
    """
    if not isinstance(host, str) or not host.strip():
        raise InvalidArgumentError(
            f"Expected a host, such as 'localhost' or 'https://host:8000', got {host!r}. A variable of the "
            "environment may not be set."
        )
    if "://" in host:
        host = _with_port(host, port)
    else:
        host = f"[{host}]" if host.count(":") > 1 and not host.startswith("[") else host
        host = f"{'https' if ssl else 'http'}://{host}:{port}"
    return connect(host, tenant, database, headers=headers, settings=settings)


#: Chroma's cloud, as its own client reaches it, and the header that it reads a key from.
_CLOUD_HOST = "api.trychroma.com"
_CLOUD_HEADER = "X-Chroma-Token"


@public_call
def CloudClient(
    tenant: str | None = None,
    database: str | None = None,
    api_key: str | None = None,
    settings: Settings | None = None,
    *,
    cloud_host: str = _CLOUD_HOST,
    cloud_port: int = 443,
    enable_ssl: bool = True,
) -> ClientAPI:
    """Return a client of Chroma's cloud, in Chroma's words; it is the client of any other server.

    Args:
        tenant: The tenant; None is what ``CHROMA_TENANT`` names, else the one that the key belongs to.
        database: The database; None is what ``CHROMA_DATABASE`` names, else the one that the key is for.
        api_key: The key; None is what ``CHROMA_API_KEY`` holds.
        settings: Everything else.
        cloud_host: The host.
        cloud_port: The port.
        enable_ssl: Use HTTPS.

    Raises:
        ValueError: There is no key.
        ServerUnavailableError: Nothing answers there.
        AuthorizationError, ChromaAuthError: The key is refused.
    """
    key = api_key or os.environ.get("CHROMA_API_KEY")
    if not key:
        raise InvalidArgumentError(
            "Missing required arguments: api_key. Give api_key=, or set the environment variable CHROMA_API_KEY."
        )
    chosen = factories.get_settings() if settings is None else settings
    return connect(
        f"{'https' if enable_ssl else 'http'}://{cloud_host}:{cloud_port}",
        tenant or os.environ.get("CHROMA_TENANT"),
        database or os.environ.get("CHROMA_DATABASE"),
        token=key,
        settings=chosen.replace(token_header=_CLOUD_HEADER),
    )


def _with_port(url: str, port: int) -> str:
    """Return an address with the port that is given beside it.

    Raises:
        InvalidArgumentError: It has another one.
    """
    parts = urlsplit(url)
    if port == _DEFAULT_PORT or not parts.hostname:
        return url
    if parts.port not in (None, port):
        raise InvalidArgumentError(
            f"Two ports are given: {without_secrets(url)!r} and port={port}. Leave one of them out."
        )
    if parts.port == port:
        return url
    return urlunsplit(parts._replace(netloc=f"{parts.netloc}:{port}"))
