"""Where a server listens, and how clients name that: the same for every transport."""

from __future__ import annotations

import ipaddress
import socket

from chroma_nb.errors import InvalidArgumentError


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


def address_of(client: tuple[str, int] | None) -> str:
    """Return the client in whose name a connection counts: its IPv4 address, or its /64 network of IPv6."""
    if client is None:
        return ""
    try:
        address = ipaddress.ip_address(client[0].partition("%")[0])
    except ValueError:
        return client[0]
    if address.version == 6:
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)


def listening_socket(
    host: str, port: int, backlog: int | None = None, *, option: str = "--port"
) -> socket.socket:
    """Return a socket that listens at an address.

    Args:
        host: An address of this machine.
        port: The port; 0 is any that is free.
        backlog: How many connections may wait to be accepted; None is as the system has it.
        option: What chooses the port.

    Raises:
        InvalidArgumentError: The address is taken, or is not one of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=backlog)
    except OSError as error:
        raise cannot_serve(host, port, error.strerror or str(error), option) from error


def cannot_serve(host: str, port: int, why: str, option: str = "--port") -> InvalidArgumentError:
    """Return the error of an address at which no server can listen."""
    return InvalidArgumentError(
        f"Cannot serve on {host}:{port}: {why}. Choose another {option}; 0 is any that is free."
    )
