"""`find_out`: what answers at an address: chroma_nb's own server, Chroma's, or something else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from chroma_nb.api.address import refused
from chroma_nb.errors import (
    AuthorizationError,
    ChromaAuthError,
    ChromaError,
    ServerUnavailableError,
)
from chroma_nb.harmless import said_in_line
from chroma_nb.wire.rest import ROUTE_OF
from chroma_nb.wire.server_info import ServerInfo

if TYPE_CHECKING:
    from chroma_nb.api._http import ServerConnection

#: Chroma's server takes bodies of 40 MB; a request stays well below.
_CHROMA_BODY = 24 * 2**20
#: How long a server of Chroma's first API may take to say that it is one.
_LOOK_SECONDS = 5.0


def find_out(http: ServerConnection) -> ServerInfo:
    """Ask a server what it is.

    Raises:
        ServerUnavailableError: No Chroma server answers at that address.
        AuthorizationError, ChromaAuthError: It refuses what was shown to it.
    """
    try:
        checks = _ask(http, "get_max_batch_size")
        _ask(http, "get_user_identity")
    except ServerUnavailableError as error:
        if error.__cause__ is not None:
            # Nothing answered, or not in HTTP.
            raise
        raise _old_server(http) or error from None
    except (AuthorizationError, ChromaAuthError) as error:
        raise refused(http.url, http.shows_credentials, error) from None
    except ChromaError as error:
        raise _old_server(http) or error from None
    if not isinstance(checks, dict) or not isinstance(checks.get("max_batch_size"), int):
        raise ServerUnavailableError(
            f"Something answers at {http.url}, but it is no Chroma server. Check host, port and "
            "path."
        )
    ours = checks.get("server") == "chroma_nb"
    size = max(1, checks["max_batch_size"])
    return ServerInfo(
        name="chroma_nb" if ours else "Chroma",
        version=said_in_line(checks["version"] if ours else _ask(http, "get_version"), 40),
        max_batch_size=size,
        base64=bool(checks.get("supports_base64_encoding")),
        scans=ours and bool(checks.get("supports_scan")),
        max_records=max(1, int(checks["max_records"])) if ours else size,
        max_body=max(1, int(checks["max_body"])) if ours else _CHROMA_BODY,
        max_values=max(1, int(checks["max_values"])) if ours and checks.get("max_values") else None,
    )


def _old_server(http: ServerConnection) -> ServerUnavailableError | None:
    """Return the error for a server of Chroma's first API, if it is one."""
    try:
        http.request("GET", ("api", "v1", "heartbeat"), seconds=_LOOK_SECONDS)
        version = http.request("GET", ("api", "v1", "version"), seconds=_LOOK_SECONDS)
    except ChromaError:
        return None
    return ServerUnavailableError(
        f"The server at {http.url} is Chroma {said_in_line(version, 40)}, which speaks the API v1 only. "
        "Chroma 0.6 and later have v2."
    )


def _ask(http: ServerConnection, operation: str) -> Any:
    route = ROUTE_OF[operation]
    return http.request(route.method, route.parts, safe=True)
