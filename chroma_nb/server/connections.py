"""Limits of connections: what a client may do before its request reaches the application.

uvicorn waits without a deadline for the end of a request's head (its first line and headers), and has no limit for
the size of a head and the number of connections. `protocol_of` returns uvicorn's protocol with deadlines and limits.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import functools
import itertools
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.auto import AutoHTTPProtocol

from chroma_nb.memory.sizes import parse_bytes
from chroma_nb.server.addresses import address_of

if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import Callable

    from chroma_nb.settings import Settings

#: At most one in this many of the files that this process may open is a connection: the store needs the others.
_SHARE_OF_FILES = 2
_MAX_CONNECTIONS = 8_192
_HEAD_TOO_LARGE = b"431 Request Header Fields Too Large"
#: How long to wait after a connection could not be accepted, seconds.
_ACCEPT_AGAIN = 0.05
#: Among this many of an address's connections, those that have been still for longest, one is chosen to be closed.
_LOOKED_AT = 100


@dataclass(frozen=True)
class Limits:
    """The limits of connections.

    Attributes:
        seconds: How long a request's head may take, and how long a client may receive nothing of an answer.
        max_head: Bytes of a request line with all its headers.
        max_headers: Headers of one request.
        max_requests_ahead: Requests that a client may send on one connection before the first is answered.
        max_connections: Connections at a time.
    """

    seconds: float
    max_head: int
    max_headers: int
    max_requests_ahead: int
    max_connections: int

    @classmethod
    def of(cls, settings: Settings) -> Limits:
        """Return the limits that the settings say."""
        return cls(
            settings.server_body_timeout_seconds,
            parse_bytes(settings.server_max_head),
            settings.server_max_headers,
            settings.server_max_requests_ahead,
            settings.server_max_connections or default_max_connections(),
        )

    @property
    def head_too_large(self) -> str:
        """The message to a client whose head is too large."""
        return (
            f"The request line and the headers are larger than {self.max_head:,} bytes "
            f"(Settings.server_max_head), or there are more than {self.max_headers:,} headers "
            f"(Settings.server_max_headers), or more than {self.max_requests_ahead:,} requests were sent "
            "before the first was answered (Settings.server_max_requests_ahead)."
        )

    @property
    def too_many(self) -> str:
        """The message to a client when there are too many connections."""
        return (
            f"The server has {self.max_connections:,} connections already "
            "(Settings.server_max_connections). Try again later."
        )


def default_max_connections() -> int:
    """Return how many connections leave the store enough files to open."""
    if sys.platform == "win32":
        return _MAX_CONNECTIONS
    import resource

    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files == resource.RLIM_INFINITY:
        return _MAX_CONNECTIONS
    return max(1, min(_MAX_CONNECTIONS, files // _SHARE_OF_FILES))


class Hold(enum.IntEnum):
    """What a connection is held for. Where there are too many, those with a low number are closed first."""

    #: It is idle: no request, or the beginning of a head.
    IDLE = 0
    #: Its request is not worked on yet: its password waits to be checked, or its body arrives.
    ARRIVING = 1
    #: Its client does not take the answer.
    UNREAD = 2
    #: Its request is worked on, or the answer is being sent. It is never closed to make room.
    WORKED_ON = 3


class Connections:
    """The connections of one server. When there are too many, one whose request is not worked on yet is closed.

    It is one of the address that has most connections: an idle one if there is one, else the one that has been still
    for longest. So an address that opens many connections, and sends nothing, guesses of passwords or halves of bodies,
    loses its own, and others keep theirs. A new connection never takes the place of a request of an address that has
    fewer.

    Args:
        limit: How many connections there may be.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._n = 0
        #: The connections of each address, the most recently used last.
        self._of_address: dict[str, dict[Any, None]] = {}

    def enter(self, connection: Any) -> bool:
        """Count a connection in, and say whether there is room for it."""
        self._of_address.setdefault(connection.address, {})[connection] = None
        self._n += 1
        return self._n <= self._limit or self._make_room(connection)

    def leave(self, connection: Any) -> None:
        """Count a connection out. May be called twice."""
        theirs = self._of_address.get(connection.address)
        if theirs is not None and connection in theirs:
            del theirs[connection]
            self._n -= 1
            if not theirs:
                del self._of_address[connection.address]

    def count_for(self, connection: Any, address: str) -> None:
        """Count a connection for the client that sends its present request: not the same where a proxy is trusted."""
        if connection.address != address and connection in self._of_address.get(
            connection.address, ()
        ):
            self.leave(connection)
            connection.address = address
            self._of_address.setdefault(address, {})[connection] = None
            self._n += 1

    def used(self, connection: Any) -> None:
        """Note that a part of a request of this connection has come, or that one has been answered."""
        theirs = self._of_address.get(connection.address)
        if theirs is not None and connection in theirs:
            del theirs[connection]
            theirs[connection] = None

    def _make_room(self, newest: Any) -> bool:
        n_of_newest = len(self._of_address[newest.address])
        for theirs in sorted(self._of_address.values(), key=len, reverse=True):
            may_go = (one for one in theirs if one is not newest and one.hold is not Hold.WORKED_ON)
            chosen = min(
                itertools.islice(may_go, _LOOKED_AT), key=lambda one: one.hold, default=None
            )
            if chosen is None or (chosen.hold is not Hold.IDLE and len(theirs) < n_of_newest):
                continue
            self.leave(chosen)
            chosen.drop()
            return True
        return False


class _LimitExceeded(Exception):
    """Raised in a callback to stop uvicorn's parser."""


class _Connection(AutoHTTPProtocol):  # type: ignore[misc, valid-type]
    """uvicorn's connection, with httptools or h11, within limits.

    The number of headers, and of requests that are sent ahead, is checked in `on_headers_complete`, which only
    httptools calls. With h11 (where httptools is not installed, as on Windows) a head has h11's own limit of bytes.
    Deadlines and the number of connections are the same with both.
    """

    limits: Limits
    all_connections: Connections

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.address = ""
        self.is_closed = False
        #: Set by the application when it knows who sends the present request, and has all of it.
        self.is_worked_on = False
        self._deadline: asyncio.TimerHandle | None = None
        self._write_check: asyncio.TimerHandle | None = None
        self._unsent = 0
        #: Bytes since the end of the last head or the last part of a body: a head that is not complete yet.
        self._unused = 0
        self._in_body = False
        self._refusal = b""
        #: With TLS: the handshake. The connection is counted from its beginning, before there is a transport.
        self.handshake: asyncio.Task[None] | None = None

    # -- from the transport -------------------------------------------------------------------

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        if self.handshake is None:
            self.address = address_of(self.client)
            if not self.all_connections.enter(self):
                self._refuse(b"503 Service Unavailable", self.limits.too_many)
                return
        self._set_deadline()

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_closed = True
        self.all_connections.leave(self)
        for timer in (self._deadline, self._write_check):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._unused += len(data)
        super().data_received(data)
        if self.transport.is_closing():
            return
        self.all_connections.used(self)
        if self._unused > self.limits.max_head and self._counts_bytes:
            self._refuse(_HEAD_TOO_LARGE, self.limits.head_too_large)
        elif not self.is_waiting:
            self._clear_deadline()
        elif self._deadline is None:
            # The beginning of a head, or the rest of a body whose request was answered already.
            self._set_deadline()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._watch_writing()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._write_check is not None:
            self._write_check.cancel()
            self._write_check = None

    # -- from the parser ----------------------------------------------------------------------

    def on_message_begin(self) -> None:
        self._in_body = False
        super().on_message_begin()
        self._share_with_application(self.scope)

    def on_header(self, name: bytes, value: bytes) -> None:
        # Headers after a body (trailers) must not count as headers of the request.
        if not self._in_body:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._unused = 0
        self._in_body = True
        size = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
        limits = self.limits
        if (
            size > limits.max_head
            or len(self.headers) > limits.max_headers
            or len(self.pipeline) >= limits.max_requests_ahead
        ):
            self._refusal = _HEAD_TOO_LARGE
            raise _LimitExceeded
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._unused = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._unused = 0
        super().on_message_complete()

    def _unsupported_upgrade_warning(self) -> None:
        # uvicorn would log advice to install a library for WebSockets.
        pass

    def send_400_response(self, msg: str) -> None:
        if self._refusal:
            self._refuse(self._refusal, self.limits.head_too_large)
        else:
            super().send_400_response(msg)

    # -- from the application -----------------------------------------------------------------

    def on_response_complete(self) -> None:
        # Before the next request that was sent ahead begins.
        self.is_worked_on = False
        super().on_response_complete()
        self.all_connections.used(self)

    # -- our own ------------------------------------------------------------------------------

    @property
    def is_waiting(self) -> bool:
        """It is idle: no request of it is being worked on."""
        return self.cycle is None or self.cycle.response_complete

    @property
    def hold(self) -> Hold:
        """What it is held for."""
        if self.is_waiting:
            return Hold.IDLE
        if not self.is_worked_on:
            return Hold.ARRIVING
        return Hold.UNREAD if self._write_check is not None else Hold.WORKED_ON

    def count_for(self, address: str) -> None:
        """Count it for the client that sends its present request."""
        self.all_connections.count_for(self, address)

    @property
    def _counts_bytes(self) -> bool:
        # Only with httptools. h11 has its own limit for a head, and no callback that would reset the count.
        return hasattr(self, "parser")

    def _share_with_application(self, scope: Any) -> None:
        """Give the application this connection, so that it can see whether the client is still there."""
        scope["state"]["connection"] = self

    def drop(self) -> None:
        """Close it at once, after telling a client whose request is not answered why, if that needs no waiting."""
        if self.transport is not None:
            if self.hold is Hold.ARRIVING and self._can_tell:
                self._refuse(b"503 Service Unavailable", self.limits.too_many)
            else:
                self.transport.abort()
        elif self.handshake is not None:
            self.handshake.cancel()

    @property
    def _can_tell(self) -> bool:
        # With TLS the end of a connection waits for the client, and so do bytes that it has not taken.
        is_plain = self.transport.get_extra_info("sslcontext") is None
        waits = self.transport.get_write_buffer_size() or self.cycle.response_started
        return is_plain and not waits

    def _set_deadline(self) -> None:
        if self.limits.seconds:
            self._deadline = self.loop.call_later(self.limits.seconds, self._end)

    def _clear_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _end(self) -> None:
        self._deadline = None
        if self.is_waiting:
            self.transport.abort()

    def _watch_writing(self) -> None:
        self._unsent = self.transport.get_write_buffer_size()
        if self.limits.seconds and self._write_check is None:
            self._write_check = self.loop.call_later(self.limits.seconds, self._check_writing)

    def _check_writing(self) -> None:
        self._write_check = None
        if self.transport.get_write_buffer_size() >= self._unsent:
            self.transport.abort()
        else:
            self._watch_writing()

    def _refuse(self, status: bytes, message: str) -> None:
        text = message.encode()
        self.transport.write(
            b"HTTP/1.1 %b\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: %d\r\n"
            b"connection: close\r\n\r\n%b" % (status, len(text), text)
        )
        self.transport.close()


def protocol_of(limits: Limits) -> type[asyncio.Protocol]:
    """Return the class of which uvicorn makes an object for each connection of one server."""
    return type(
        "Connection",
        (_Connection,),
        {"limits": limits, "all_connections": Connections(limits.max_connections)},
    )


class SecureListener:
    """Accepts connections and begins TLS on them, in place of asyncio's server.

    asyncio shows a connection only after its TLS handshake. Connections that never finish one would not be counted,
    and each would hold a file descriptor for a minute.

    Args:
        listening: The listening socket.
        context: The certificate and its key.
        new: Makes an object of `protocol_of`'s class.
    """

    def __init__(
        self, listening: socket.socket, context: ssl.SSLContext, new: Callable[[], Any]
    ) -> None:
        listening.setblocking(False)
        self._listening = listening
        self._context = context
        self._new = new
        self._loop = asyncio.get_running_loop()
        self._handshakes: set[asyncio.Task[None]] = set()
        self._accepting = self._loop.create_task(self._accept())

    def close(self) -> None:
        """Accept no more connections, and end handshakes under way."""
        for task in (self._accepting, *self._handshakes):
            task.cancel()

    async def wait_closed(self) -> None:
        """Wait until all its tasks have ended."""
        await asyncio.gather(self._accepting, *self._handshakes, return_exceptions=True)

    async def _accept(self) -> None:
        while True:
            try:
                accepted, client = await self._loop.sock_accept(self._listening)
            except OSError:
                # The client has gone, or this process has no file descriptor left: one may be free soon.
                await asyncio.sleep(_ACCEPT_AGAIN)
                continue
            connection = self._new()
            connection.address = address_of((str(client[0]), int(client[1])))
            if not connection.all_connections.enter(connection):
                connection.all_connections.leave(connection)
                accepted.close()
                continue
            task = self._loop.create_task(self._handshake(connection, accepted))
            connection.handshake = task
            self._handshakes.add(task)
            task.add_done_callback(functools.partial(self._ended, connection, accepted))

    async def _handshake(self, connection: Any, accepted: socket.socket) -> None:
        # The client speaks no TLS, is too slow, or has gone.
        with contextlib.suppress(OSError):
            await self._loop.connect_accepted_socket(
                lambda: connection,
                accepted,
                ssl=self._context,
                ssl_handshake_timeout=connection.limits.seconds or None,
            )

    def _ended(self, connection: Any, accepted: socket.socket, task: asyncio.Task[None]) -> None:
        self._handshakes.discard(task)
        # Not in `_handshake`: a task that is cancelled before it begins runs none of its code.
        if connection.transport is None:
            connection.all_connections.leave(connection)
            accepted.close()
        if not task.cancelled():
            task.exception()
