"""`check_server_settings`: what every server checks before it opens a store or a port, whatever its transport."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from chroma_nb.errors import InvalidArgumentError
from chroma_nb.memory.budget import read_budget
from chroma_nb.memory.sizes import parse_bytes
from chroma_nb.server.auth_file import AuthFile, check_token
from chroma_nb.server.observability import LOGGER

if TYPE_CHECKING:
    from chroma_nb.settings import Settings

_MAX_PORT = 65_535


def check_server_settings(settings: Settings, *, has_flight_port: bool = False) -> None:
    """Check the settings that every server has.

    Args:
        settings: The settings.
        has_flight_port: The server serves Arrow Flight beside what else it speaks.

    Raises:
        InvalidArgumentError: A port is out of range, or is for another kind of server; the address is public and there is no authentication; an auth
            file or a token cannot be used; or a size cannot be read.
    """
    flight = settings.server_flight_port
    if flight is not None and not has_flight_port:
        raise InvalidArgumentError(
            f"server_flight_port={flight} (--flight-port) is for server='fastapi', which serves Arrow Flight beside HTTP. "
            f"The server {settings.server!r} has one port: server_port (--port). Leave server_flight_port out."
        )
    for port in (settings.server_port, flight or 0):
        if not 0 <= port <= _MAX_PORT:
            raise InvalidArgumentError(f"Expected a port from 0 to {_MAX_PORT:,}, got {port}.")
    if flight and flight == settings.server_port:
        raise InvalidArgumentError(
            f"server_port and server_flight_port are both {flight}. HTTP and Arrow Flight need a port each: choose another "
            "--flight-port; 0 is any that is free."
        )
    _check_exposure(settings)
    if settings.server_token:
        check_token(settings.server_token)
    if settings.server_auth_file:
        AuthFile(settings.server_auth_file).read()
    check_sizes(settings, "server_max_body")
    try:
        read_budget(settings.memory_budget)
    except InvalidArgumentError as error:
        raise InvalidArgumentError(f"memory_budget cannot be used. {error}") from None


def check_sizes(settings: Settings, *names: str) -> None:
    """Check settings that are sizes.

    Raises:
        InvalidArgumentError: One cannot be read.
    """
    for name in names:
        try:
            parse_bytes(getattr(settings, name))
        except InvalidArgumentError as error:
            raise InvalidArgumentError(f"{name} cannot be used. {error}") from None


def _check_exposure(settings: Settings) -> None:
    """Refuse to serve a network without authentication, unless `server_public` allows it.

    Raises:
        InvalidArgumentError: The address is public, and there is no authentication.
    """
    authenticates = bool(settings.server_token or settings.server_auth_file)
    if authenticates or settings.server_public or is_loopback(settings.server_host):
        return
    raise InvalidArgumentError(
        f"Refusing to serve on {settings.server_host!r} without authentication: whoever reaches this "
        "machine could read and delete everything. Set a token (CHROMA_NB_SERVER_TOKEN, or `chroma-nb "
        "auth add`), or allow it with --public (CHROMA_NB_SERVER_PUBLIC=1) behind a proxy that authenticates."
    )


def warn_of_plain_text(settings: Settings) -> None:
    """Log that credentials will cross a network without TLS, where they will."""
    authenticates = bool(settings.server_token or settings.server_auth_file)
    is_plain = not (settings.server_tls_certificate or settings.server_public)
    if authenticates and is_plain and not is_loopback(settings.server_host):
        LOGGER.warning(
            "Serving on %s without TLS: passwords, tokens and records cross the network in plain text, where "
            "others can read them. Give --tls-certificate and --tls-key. Behind a proxy that has the "
            "certificate, serve on --host 127.0.0.1, or say --public.",
            settings.server_host,
        )


def is_loopback(host: str) -> bool:
    """Say whether an address can be reached only from this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
