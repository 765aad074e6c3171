"""`ArrowFlight`: serves an API over Arrow Flight."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import threading
from typing import TYPE_CHECKING, Any

from chroma_nb.errors import InternalError
from chroma_nb.lazy import require_extra
from chroma_nb.memory.sizes import parse_bytes
from chroma_nb.server.addresses import cannot_serve, in_url, listening_socket, url_of
from chroma_nb.server.base import Server
from chroma_nb.server.tls import tls_context

if TYPE_CHECKING:
    from collections.abc import Callable

    from chroma_nb.api.base import API
    from chroma_nb.settings import Settings

#: How long the end of streams is waited for, after the last answer.
_CLOSE_SECONDS = 1.0


class ArrowFlight(Server):
    """Serves an API over Arrow Flight, at `Settings.server_host` and `Settings.server_port`.

    Raises:
        InvalidArgumentError: A setting cannot be used; see `check_settings`.
        ImportError: The extras ``server`` and ``flight`` are not installed.
    """

    def __init__(
        self,
        api: API,
        settings: Settings | None = None,
        release: Callable[[], object] | None = None,
    ) -> None:
        super().__init__(api, settings, release)
        self.check_settings(self.settings)
        from chroma_nb.server.service import Service

        self._service = Service(api, self.settings)
        self._port = self.settings.server_port
        self._calls: Any = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping = threading.Event()
        self._stopped = threading.Event()

    @classmethod
    def check_settings(cls, settings: Settings) -> None:
        require_extra("pyarrow", extra="flight", needed_by="chroma_nb.server.ArrowFlight")
        for package in ("fastapi", "prometheus_client"):
            require_extra(package, extra="server", needed_by="chroma_nb.server.ArrowFlight")
        super().check_settings(settings)
        tls_context(settings.server_tls_certificate, settings.server_tls_key)

    def __repr__(self) -> str:
        return f"ArrowFlight({self.url})"

    @property
    def url(self) -> str:
        """Where clients reach the server; the port is known once it listens."""
        return url_of(self._scheme, self.settings.server_host, self._port)

    @property
    def _scheme(self) -> str:
        return "grpc+tls" if self.settings.server_tls_certificate else "grpc"

    def listen(self) -> None:
        if self._calls is not None:
            return
        if self._stopped.is_set():
            raise InternalError("A server runs once. Make a new one.")
        from chroma_nb.server.bodies import Bodies
        from chroma_nb.server.flight_calls import FlightCalls
        from chroma_nb.server.json_requests import JsonRequests

        settings = self.settings
        if settings.server_port:
            # gRPC lets two servers listen at one port.
            listening_socket(settings).close()
        self._loop = asyncio.new_event_loop()
        threading.Thread(
            target=_run_loop, args=(self._loop,), name="chroma_nb flight loop", daemon=True
        ).start()
        bodies = Bodies(parse_bytes(settings.server_max_body), settings.server_body_timeout_seconds)
        location = f"{self._scheme}://{in_url(settings.server_host)}:{settings.server_port}"
        options: dict[str, Any] = {}
        if settings.server_tls_certificate:
            options["tls_certificates"] = [_pair(settings)]
        try:
            self._calls = FlightCalls(
                self._service,
                JsonRequests(self._service, bodies),
                bodies,
                self._loop,
                location,
                **options,
            )
        except Exception as error:
            raise cannot_serve(settings, str(error)[:200]) from error
        self._port = self._calls.port

    def run(self) -> None:
        self.start()
        if threading.current_thread() is threading.main_thread():
            signals = (signal.SIGINT, signal.SIGTERM)
            before = {one: signal.signal(one, lambda *_: self._stopping.set()) for one in signals}
        else:
            before = {}
        try:
            with contextlib.suppress(KeyboardInterrupt):
                self._stopping.wait()
        finally:
            for one, handler in before.items():
                signal.signal(one, handler)
            self.stop()

    def start(self) -> str:
        self.listen()
        return self.url

    def stop(self) -> None:
        if self._stopped.is_set():
            return
        self._stopped.set()
        self._stopping.set()
        # Waits for requests under way. A stream that a client keeps open without asking anything is not waited for:
        # gRPC has no way to end it from here, and its next question is refused.
        self._service.close()
        if self._calls is not None:
            # The loop goes on for the streams that are left, whose next question it refuses.
            ending = threading.Thread(
                target=self._end_streams, name="chroma_nb flight end", daemon=True
            )
            ending.start()
            ending.join(_CLOSE_SECONDS)
        self._release()

    def _end_streams(self) -> None:
        assert self._loop is not None
        self._calls.shutdown()
        self._loop.call_soon_threadsafe(self._loop.stop)


def _run_loop(loop: asyncio.AbstractEventLoop) -> None:
    try:
        loop.run_forever()
    finally:
        loop.close()


def _pair(settings: Settings) -> tuple[bytes, bytes]:
    with open(settings.server_tls_certificate, "rb") as file:
        certificate = file.read()
    with open(settings.server_tls_key or settings.server_tls_certificate, "rb") as file:
        return certificate, file.read()
