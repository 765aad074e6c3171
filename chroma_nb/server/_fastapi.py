"""`FastAPI`: serves an API over HTTP, as Chroma's REST v2."""

from __future__ import annotations

import contextlib
import ipaddress
import signal
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

from chroma_nb.errors import InternalError, InvalidArgumentError
from chroma_nb.extras import require_extra
from chroma_nb.server.base import Server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from chroma_nb.api.base import API
    from chroma_nb.settings import Settings

#: Chroma's clients keep a connection for 40 s; the server keeps it longer, so that it is never the one
#: that closes a connection which a client is about to use.
_KEEP_ALIVE_SECONDS = 75
#: What requests under way may take when the server is told to stop.
_LAST_SECONDS = 30
_BACKLOG = 2_048
_START_SECONDS = 30.0


class FastAPI(Server):
    """Serves an API over HTTP.

    `run()` serves until the process is told to end; `start()` and `stop()` do it beside other work, in a
    notebook or a test::

        with chroma_nb.get_server() as server:
            client = chroma_nb.connect(server.start())

    Raises:
        InvalidArgumentError: A public address without authentication, or a setting that cannot be used.
        ImportError: The extra ``server`` is not installed.
    """

    def __init__(
        self,
        api: API,
        settings: Settings | None = None,
        release: Callable[[], object] | None = None,
    ) -> None:
        super().__init__(api, settings, release)
        require_extra("uvicorn", extra="server", needed_by="chroma_nb.server.FastAPI")
        require_extra("fastapi", extra="server", needed_by="chroma_nb.server.FastAPI")
        require_extra("prometheus_client", extra="server", needed_by="chroma_nb.server.FastAPI")
        from chroma_nb.server.application import Service, make_application

        self._service = Service(api, self.settings)
        _check_exposure(self.settings, self._service.authenticator.is_open)
        self.application = make_application(self._service)
        self._socket: socket.socket | None = None
        self._uvicorn: Any = None
        self._thread: threading.Thread | None = None
        self._stopped = threading.Event()

    def __repr__(self) -> str:
        return f"FastAPI({self.url})"

    @property
    def url(self) -> str:
        """Where clients reach the server; the port is known once it listens."""
        port = self.settings.server_port
        if self._socket is not None:
            port = self._socket.getsockname()[1]
        host = self.settings.server_host
        if host in ("0.0.0.0", "::"):
            host = "localhost"
        scheme = "https" if self.settings.server_tls_certificate else "http"
        return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"

    def listen(self) -> None:
        if self._socket is None:
            self._socket = self._new_socket()

    def _new_socket(self) -> socket.socket:
        settings = self.settings
        family = socket.AF_INET6 if ":" in settings.server_host else socket.AF_INET
        try:
            return socket.create_server(
                (settings.server_host, settings.server_port), family=family, backlog=_BACKLOG
            )
        except OSError as error:
            raise InvalidArgumentError(
                f"Cannot serve on {settings.server_host}:{settings.server_port}: "
                f"{error.strerror or error}. Choose another --port; 0 is any that is free."
            ) from None

    def _prepare(self) -> None:
        import uvicorn

        if self._stopped.is_set() or self._uvicorn is not None:
            raise InternalError("A server runs once. Make a new one.")
        self.listen()
        config = uvicorn.Config(
            self.application,
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=False,
            lifespan="off",
            timeout_keep_alive=_KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=_LAST_SECONDS,
            ssl_certfile=self.settings.server_tls_certificate or None,
            ssl_keyfile=self.settings.server_tls_key or None,
        )
        self._uvicorn = _server_of(uvicorn.Server, config)

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

    def _serve(self) -> None:
        try:
            with contextlib.suppress(KeyboardInterrupt):
                self._uvicorn.run(sockets=[self._socket])
        finally:
            self._end()

    def stop(self) -> None:
        self._service.stopping = True
        if self._uvicorn is not None:
            self._uvicorn.should_exit = True
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(_LAST_SECONDS + 10)
        self._end()

    def _end(self) -> None:
        if self._stopped.is_set():
            return
        self._stopped.set()
        self._service.close()
        # Graphs that were built are saved here, files and locks released.
        self._release()
        if self._socket is not None:
            self._socket.close()


def _server_of(kind: Any, config: Any) -> Any:
    """Return a uvicorn server that ends when it is told to, and lets this process go on.

    uvicorn's own raises the signal again once it has ended, which would end the process before the store
    is closed.
    """

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

    return Server(config)


def _check_exposure(settings: Settings, everybody_may: bool) -> None:
    """Refuse to let everybody of a network do everything, unless that was asked for.

    Raises:
        InvalidArgumentError: A public address without authentication.
    """
    if not everybody_may or settings.server_public or _is_own(settings.server_host):
        return
    raise InvalidArgumentError(
        f"Refusing to serve on {settings.server_host!r} without authentication: whoever reaches this "
        "machine could read and delete everything. Set a token (CHROMA_NB_SERVER_TOKEN, or `chroma-nb "
        "auth add`), or allow it with --public (CHROMA_NB_SERVER_PUBLIC=1) behind a proxy that asks."
    )


def _is_own(host: str) -> bool:
    """Say whether an address is reached from this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
