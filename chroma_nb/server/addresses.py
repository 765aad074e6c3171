"""Where a server listens, and how clients name that: the same for every transport."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from chroma_nb.errors import InvalidArgumentError

if TYPE_CHECKING:
    from chroma_nb.settings import Settings


def in_url(host: str) -> str:
    """Return a host as a URL has it: an IPv6 address in brackets."""
    return f"[{host}]" if ":" in host else host


def url_of(scheme: str, host: str, port: int) -> str:
    """Return the URL by which clients of this machine reach a server.

    Args:
        scheme: Such as ``http``.
        host: The address that it serves on; one that stands for all of them becomes ``localhost``.
        port: Its port.
    """
    return f"{scheme}://{in_url('localhost' if host in ('0.0.0.0', '::') else host)}:{port}"


def listening_socket(settings: Settings, backlog: int | None = None) -> socket.socket:
    """Return a socket that listens at the address of the settings.

    Raises:
        InvalidArgumentError: The address is taken, or is not one of this machine.
    """
    host, port = settings.server_host, settings.server_port
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=backlog)
    except OSError as error:
        raise cannot_serve(settings, error.strerror or str(error)) from error


def cannot_serve(settings: Settings, why: str) -> InvalidArgumentError:
    """Return the error of an address at which no server can listen."""
    return InvalidArgumentError(
        f"Cannot serve on {settings.server_host}:{settings.server_port}: {why}. Choose another --port; 0 is any that is "
        "free."
    )
