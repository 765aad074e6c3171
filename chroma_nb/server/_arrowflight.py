"""`ArrowFlight`: serves an API over Arrow Flight."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import threading
from typing import TYPE_CHECKING

from chroma_nb.errors import InternalError
from chroma_nb.lazy import require_extra
from chroma_nb.memory.sizes import parse_bytes
from chroma_nb.server.addresses import url_of
from chroma_nb.server.base import Server
from chroma_nb.server.settings_check import warn_of_plain_text
from chroma_nb.server.tls import tls_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from chroma_nb.api.base import API
    from chroma_nb.server.flight_listener import FlightListener
    from chroma_nb.settings import Settings


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
        self._listener: FlightListener | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping = threading.Event()
        self._stopped = threading.Event()

    @classmethod
    def check_settings(cls, settings: Settings) -> None:
        require_extra("pyarrow", extra="flight", needed_by="chroma_nb.server.ArrowFlight")
        for package in ("fastapi", "prometheus_client"):
            require_extra(package, extra="server", needed_by="chroma_nb.server.ArrowFlight")
        super().check_settings(settings)
        tls_of(settings)

    def __repr__(self) -> str:
        return f"ArrowFlight({self.url})"

    @property
    def url(self) -> str:
        """Where clients reach the server; the port is known once it listens."""
        if self._listener is not None:
            return self._listener.url
        from chroma_nb.server.flight_listener import scheme_of

        return url_of(
            scheme_of(self.settings), self.settings.server_host, self.settings.server_port
        )

    @property
    def is_held(self) -> bool:
        return self._listener is not None and self._listener.is_held

    def listen(self) -> None:
        if self._listener is not None:
            return
        if self._stopped.is_set():
            raise InternalError("A server runs once. Make a new one.")
        from chroma_nb.server.bodies import Bodies
        from chroma_nb.server.flight_listener import FlightListener
        from chroma_nb.server.json_requests import JsonRequests

        settings = self.settings
        bodies = Bodies(parse_bytes(settings.server_max_body), settings.server_body_timeout_seconds)
        requests = JsonRequests(self._service, bodies)
        self._listener = FlightListener(self._service, requests, bodies, settings.server_port)
        self._loop = asyncio.new_event_loop()
        threading.Thread(
            target=_run_loop, args=(self._loop,), name="chroma_nb flight loop", daemon=True
        ).start()
        self._listener.use(self._loop)
        warn_of_plain_text(settings)

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
        self._service.begin_stop()
        if self._listener is not None:
            self._listener.end()
        self._service.close()
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._loop.stop)
        self._release()


def _run_loop(loop: asyncio.AbstractEventLoop) -> None:
    try:
        loop.run_forever()
    finally:
        loop.close()
