"""`Address`: what `Settings.clickhouse_url` says, the password apart."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote, urlsplit

from chroma_nb.errors import InvalidArgumentError

if TYPE_CHECKING:
    from chroma_nb.settings import Settings

_FORM = "clickhouse_url='https://user:password@host:8443/database' (or http://, port 8123)"
#: What may follow the question mark -> the client's argument.
_FILES = {"ca_cert": "ca_cert", "client_cert": "client_cert", "client_key": "client_cert_key"}


@dataclass(frozen=True)
class Address:
    """Where a server is and who asks."""

    scheme: str
    host: str
    port: int
    database: str
    user: str
    password: str = field(repr=False)
    #: File of an authority, of a certificate and of its key.
    files: tuple[tuple[str, str], ...] = ()

    @property
    def name(self) -> str:
        """The address without user and password."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}/{self.database}"

    def arguments(self, settings: Settings) -> dict[str, Any]:
        """Return the client's arguments."""
        verify: Any = True
        files = dict(self.files)
        if settings.tls_verify.strip().lower() in ("false", "0", "no", "off"):
            verify = False
        elif settings.tls_verify.strip().lower() not in ("true", "1", "yes", "on"):
            files.setdefault("ca_cert", settings.tls_verify)
        return {
            "interface": self.scheme,
            "host": self.host,
            "port": self.port,
            "username": self.user,
            "password": self.password,
            "database": self.database,
            "verify": verify,
            "send_receive_timeout": max(1, int(settings.timeout_seconds)),
            **files,
        }


def read_address(url: str) -> Address:
    """Read an address.

    Raises:
        InvalidArgumentError: It is none. The text of it, which may hold a password, is not repeated.
    """
    try:
        parts = urlsplit(url.strip())
        port = parts.port
    except ValueError:
        raise InvalidArgumentError(
            f"Setting clickhouse_url cannot be read as an address. Write it as {_FORM}; signs such as @ and / in the "
            "password as %40 and %2F."
        ) from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        said = f"begins with {parts.scheme!r}" if parts.scheme else "has no http:// or https://"
        raise InvalidArgumentError(
            f"Setting clickhouse_url {said}, and ClickHouse is asked over HTTP. Write it as {_FORM}."
        )
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    unknown = sorted(options.keys() - _FILES.keys())
    if unknown or parts.fragment:
        raise InvalidArgumentError(
            f"Setting clickhouse_url has {', '.join(map(repr, unknown)) or 'a # and something'} behind the address. Known "
            f"there: {', '.join(_FILES)}, each the path of a file."
        )
    database = unquote(parts.path.strip("/"))
    if "/" in database:
        raise InvalidArgumentError(
            f"Setting clickhouse_url names the database {database!r}, and a database is one name. Write it as {_FORM}."
        )
    return Address(
        parts.scheme,
        parts.hostname,
        port or (8443 if parts.scheme == "https" else 8123),
        database or "default",
        unquote(parts.username or "default"),
        unquote(parts.password or ""),
        tuple((_FILES[name], path) for name, path in options.items()),
    )
