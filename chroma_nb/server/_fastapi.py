"""`FastAPI`: serves an API over HTTP, as Chroma's REST v2."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import signal
import threading
import time
from typing import TYPE_CHECKING, Any, ClassVar

from chroma_nb.errors import InternalError, InvalidArgumentError
from chroma_nb.lazy import require_extra
from chroma_nb.server.addresses import listening_socket, url_of
from chroma_nb.server.base import LAST_SECONDS, Server
from chroma_nb.server.settings_check import check_sizes, warn_of_plain_text
from chroma_nb.server.tls import tls_of

if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import Callable, Iterator
    from types import FrameType

    from chroma_nb.api.base import API
    from chroma_nb.server.flight_listener import FlightListener
    from chroma_nb.settings import Settings

#: Chroma's clients keep an idle connection for 40 s. The server keeps it longer, so that it never closes a connection
#: which a client is about to use.
_KEEP_ALIVE_SECONDS = 75
_BACKLOG = 2_048
_START_SECONDS = 30.0
#: How often it is asked whether Arrow Flight has ended, seconds.
_TICK_SECONDS = 0.02


class FastAPI(Server):
    """Serves an API over HTTP, and over Arrow Flight beside it where `Settings.server_flight_port` says so.

    Both transports ask one service: limits, shares, open scans, metrics and log are the same.

    `run()` serves until the process is told to end; `start()` and `stop()` do it beside other work, in a
    notebook or a test::

        with chroma_nb.get_server() as server:
            client = chroma_nb.connect(server.start())

    Raises:
        InvalidArgumentError: A setting cannot be used; see `Server.check_settings`.
        ImportError: The extra ``server`` is not installed; or ``flight``, which Arrow Flight needs.
    """

    has_flight_port: ClassVar[bool] = True

    def __init__(
        self,
        api: API,
        settings: Settings | None = None,
        release: Callable[[], object] | None = None,
    ) -> None:
        super().__init__(api, settings, release)
        self.check_settings(self.settings)
        from chroma_nb.server.application import RestApplication, make_application
        from chroma_nb.server.service import Service

        self._tls = tls_of(self.settings)
        self._service = Service(api, self.settings)
        self._rest = RestApplication(self._service)
        self.application = make_application(self._rest)
        self._socket: socket.socket | None = None
        self._flight: FlightListener | None = None
        self._port = self.settings.server_port
        self._uvicorn: Any = None
        self._thread: threading.Thread | None = None
        self._stopped = threading.Event()

    @classmethod
    def check_settings(cls, settings: Settings) -> None:
        for package in ("uvicorn", "fastapi", "prometheus_client"):
            require_extra(package, extra="server", needed_by="chroma_nb.server.FastAPI")
        super().check_settings(settings)
        trusted_proxies(settings)
        check_sizes(settings, "server_max_head")
        tls_of(settings)
        if settings.server_flight_port is not None:
            require_extra("pyarrow", extra="flight", needed_by="Settings.server_flight_port")

    def __repr__(self) -> str:
        return f"FastAPI({self.url})"

    @property
    def url(self) -> str:
        """Where clients reach the server; the port is known once it listens."""
        scheme = "https" if self.settings.server_tls_certificate else "http"
        return url_of(scheme, self.settings.server_host, self._port)

    @property
    def urls(self) -> tuple[str, ...]:
        if self._flight is not None:
            return self.url, self._flight.url
        port = self.settings.server_flight_port
        if port is None:
            return (self.url,)
        from chroma_nb.server.flight_listener import scheme_of

        return self.url, url_of(scheme_of(self.settings), self.settings.server_host, port)

    def listen(self) -> None:
        if self._socket is not None:
            return
        opened = listening_socket(self.settings.server_host, self.settings.server_port, _BACKLOG)
        try:
            self._flight = self._listen_for_flight()
        except BaseException:
            opened.close()
            raise
        self._socket = opened
        # Kept, as a closed socket does not say it any more.
        self._port = opened.getsockname()[1]

    def _listen_for_flight(self) -> FlightListener | None:
        port = self.settings.server_flight_port
        if port is None:
            return None
        from chroma_nb.server.flight_listener import FlightListener

        # The same counts of memory as over HTTP.
        requests, bodies = self._rest.requests, self._rest.bodies
        return FlightListener(self._service, requests, bodies, port, "--flight-port")

    def _prepare(self) -> None:
        import uvicorn

        if self._stopped.is_set() or self._uvicorn is not None:
            raise InternalError("A server runs once. Make a new one.")
        self.listen()
        from chroma_nb.server.connections import Limits, protocol_of

        trusted = trusted_proxies(self.settings)
        config = uvicorn.Config(
            self.application,
            http=protocol_of(Limits.of(self.settings)),
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=False,
            # uvicorn's default believes X-Forwarded-For of every client on this machine.
            proxy_headers=bool(trusted),
            forwarded_allow_ips=trusted,
            lifespan="off",
            timeout_keep_alive=_KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=LAST_SECONDS,
        )
        self._uvicorn = _make_uvicorn(
            uvicorn.Server, config, self._tls, self._service.begin_stop, self._flight
        )

        warn_of_plain_text(self.settings)

    def run(self) -> None:
        self._prepare()
        self._serve()

    def start(self) -> str:
        if self._thread is None:
            self._prepare()
            self._thread = threading.Thread(
                target=self._serve, name="chroma_nb server", daemon=True
            )
            self._thread.start()
            deadline = time.monotonic() + _START_SECONDS
            while not self._uvicorn.started:
                if not self._thread.is_alive() or time.monotonic() > deadline:
                    raise InternalError(f"The server at {self.url} did not start; see the log.")
                time.sleep(0.005)
        return self.url

    @property
    def is_held(self) -> bool:
        return self._flight is not None and self._flight.is_held

    def _serve(self) -> None:
        try:
            with contextlib.suppress(KeyboardInterrupt):
                self._uvicorn.run(sockets=[self._socket])
        finally:
            self._end()

    def stop(self) -> None:
        self._service.begin_stop()
        if self._uvicorn is not None:
            self._uvicorn.should_exit = True
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(LAST_SECONDS + 10)
        self._end()

    def _end(self) -> None:
        if self._stopped.is_set():
            return
        self._stopped.set()
        self._service.begin_stop()
        if self._flight is not None:
            # Has happened already, unless the server never ran or was told twice to end.
            self._flight.end()
        self._service.close()
        # Saves graphs, and releases files and locks.
        self._release()
        if self._socket is not None:
            self._socket.close()


def _make_uvicorn(
    kind: Any,
    config: Any,
    tls: ssl.SSLContext | None,
    on_exit: Callable[[], object],
    flight: FlightListener | None,
) -> Any:
    """Return a uvicorn server that does not end the process when it ends.

    uvicorn itself raises SIGINT or SIGTERM again after it has ended, which would end the process before the store is
    closed.

    Args:
        kind: uvicorn's class of servers.
        config: uvicorn's configuration.
        tls: The TLS context; None is plain HTTP.
        on_exit: Called when a signal tells the server to end.
        flight: Arrow Flight beside HTTP, on the same event loop.
    """
    from chroma_nb.server.connections import SecureListener

    class Server(kind):  # type: ignore[misc]
        @contextlib.contextmanager
        def capture_signals(self) -> Iterator[None]:
            if threading.current_thread() is not threading.main_thread():
                yield
                return
            signals = (signal.SIGINT, signal.SIGTERM)
            before = {one: signal.signal(one, self.handle_exit) for one in signals}
            try:
                yield
            finally:
                for one, handler in before.items():
                    signal.signal(one, handler)

        def handle_exit(self, sig: int, frame: FrameType | None) -> None:
            on_exit()
            super().handle_exit(sig, frame)

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            if flight is not None:
                flight.use(asyncio.get_running_loop())
            if tls is None or not sockets:
                await super().startup(sockets)
                return
            # uvicorn gets no sockets. It closes and awaits these listeners as it does its own.
            await super().startup([])
            self.servers += [SecureListener(one, tls, self._new_connection) for one in sockets]

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            if flight is not None:
                flight.refuse()
            await super().shutdown(sockets)
            if flight is None:
                return
            # The loop goes on for the calls under way. Who presses Ctrl-C again does not wait for them.
            ending = threading.Thread(target=flight.end, name="chroma_nb flight last", daemon=True)
            ending.start()
            while ending.is_alive() and not self.force_exit:
                await asyncio.sleep(_TICK_SECONDS)

        def _new_connection(self) -> Any:
            return config.http_protocol_class(
                config=config, server_state=self.server_state, app_state=self.lifespan.state
            )

    return Server(config)


def trusted_proxies(settings: Settings) -> list[str]:
    """Return the addresses and networks of the proxies whose X-Forwarded-For is believed.

    Raises:
        InvalidArgumentError: One is neither an address nor a network.
    """
    found = [one.strip() for one in settings.server_trusted_proxies.split(",") if one.strip()]
    for one in found:
        try:
            ipaddress.ip_network(one)
        except ValueError:
            raise InvalidArgumentError(
                f"server_trusted_proxies names {one!r:.80}: expected addresses or networks, separated by commas, "
                "such as 127.0.0.1 or 10.0.0.0/8. Name only proxies: a client in this list could choose the "
                "address that it counts for."
            ) from None
    return found
