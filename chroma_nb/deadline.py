"""`adapter()`: how requests reaches a server, with one deadline for the whole of an answer.

The timeouts of requests are for each read: a server that sends a byte now and then, in a header or in a body, or
"100 Continue" again and again, would keep its caller waiting for ever.
"""

from __future__ import annotations

import io
import threading
import time
from http.client import HTTPResponse
from typing import TYPE_CHECKING, Any

from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from chroma_nb.webassembly import IS_WEBASSEMBLY

if TYPE_CHECKING:
    import socket

#: Bytes per second. A body may take longer than the deadline, for as long as it comes at this rate.
SLOWEST = 1 << 17
#: The longest wait that every system knows, seconds.
_LONGEST = 1e6


class _Deadline(threading.local):
    """When the answer that this thread waits for has to be there, on the clock of `time.monotonic`."""

    until = float("inf")

    def left(self) -> float:
        """Return the seconds that are left.

        Raises:
            TimeoutError: None are.
        """
        left = self.until - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        return min(left, _LONGEST)


_DEADLINE = _Deadline()


def set_deadline(seconds: float, n_bytes: int) -> None:
    """Begin a request of this thread: so long may it and its answer take.

    Args:
        seconds: The time.
        n_bytes: The size of what is sent, which is given time beside.
    """
    _DEADLINE.until = time.monotonic() + seconds + n_bytes / SLOWEST


def extend_deadline(n_bytes: int) -> None:
    """Give time for a part of a body that came."""
    _DEADLINE.until += n_bytes / SLOWEST


class _Reader(io.RawIOBase):
    """Reads from a connection until the deadline."""

    def __init__(self, raw: Any, connection: socket.socket) -> None:
        self._raw = raw
        self._connection = connection

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._connection.settimeout(_DEADLINE.left())
        n_bytes: int | None = self._raw.readinto(buffer)
        return n_bytes

    def close(self) -> None:
        try:
            self._raw.close()
        finally:
            super().close()


class _Response(HTTPResponse):
    def __init__(self, sock: socket.socket, *arguments: Any, **options: Any) -> None:
        super().__init__(sock, *arguments, **options)
        self.fp = io.BufferedReader(_Reader(self.fp.detach(), sock))


class _Plain(HTTPConnection):
    """A connection with a deadline for what is sent as well."""

    response_class = _Response

    def send(self, data: Any) -> None:
        if self.sock is not None:
            # Else what is left of connecting would be the time for sending.
            self.sock.settimeout(_DEADLINE.left())
        super().send(data)


class _Secure(_Plain, HTTPSConnection):
    pass


class _PlainPool(HTTPConnectionPool):
    ConnectionCls = _Plain


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = _Secure


_POOLS = {"http": _PlainPool, "https": _SecurePool}


class _Adapter(HTTPAdapter):
    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        super().init_poolmanager(*arguments, **options)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, proxy: Any, **options: Any) -> Any:
        manager = super().proxy_manager_for(proxy, **options)
        if not str(proxy).lower().startswith("socks"):
            # A SOCKS proxy has connections of its own, whose timeouts are those of requests.
            manager.pool_classes_by_scheme = _POOLS
        return manager


def adapter(pool: int) -> HTTPAdapter:
    """Return an adapter that keeps so many connections open.

    In WebAssembly the browser keeps them, and the time: urllib3 hands each request with its timeout to it.
    """
    if IS_WEBASSEMBLY:
        return HTTPAdapter()
    return _Adapter(pool_connections=1, pool_maxsize=pool)
