"""`FlightListener`: a port at which a service answers Arrow Flight, alone or beside another transport."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from chroma_nb.server.addresses import cannot_serve, in_url, listening_socket, url_of
from chroma_nb.server.base import LAST_SECONDS
from chroma_nb.server.flight_calls import FlightCalls
from chroma_nb.server.loop_calls import LoopCalls
from chroma_nb.server.tls import flight_tls_options

if TYPE_CHECKING:
    import asyncio

    from chroma_nb.server.bodies import Bodies
    from chroma_nb.server.json_requests import JsonRequests
    from chroma_nb.server.service import Service
    from chroma_nb.settings import Settings

#: How long the end of streams is waited for, after the last answer.
_CLOSE_SECONDS = 1.0


class FlightListener:
    """Listens for Arrow Flight, and has a service answer.

    Calls are accepted from the beginning; they wait for the event loop, which comes with `use`.

    Args:
        service: What answers. Its settings say the host and the files of TLS.
        requests: Carries out what comes as JSON.
        bodies: Counts the memory of what is parsed and received.
        port: Where to listen; 0 is any that is free.
        option: What chooses the port, for messages.

    Raises:
        InvalidArgumentError: The address is taken, or is not one of this machine.
    """

    def __init__(
        self,
        service: Service,
        requests: JsonRequests,
        bodies: Bodies,
        port: int,
        option: str = "--port",
    ) -> None:
        settings = service.settings
        self._service = service
        self._host = settings.server_host
        self._scheme = scheme_of(settings)
        self._loop_calls = LoopCalls()
        self._ending = threading.Lock()
        self._is_over = False
        self._last: threading.Thread | None = None
        #: Until when calls under way are waited for (the monotonic clock); 0: the server was not told to stop.
        self._deadline = 0.0
        if port:
            # gRPC lets two servers listen at one port.
            listening_socket(self._host, port, option=option).close()
        try:
            self._calls = FlightCalls(
                service,
                requests,
                bodies,
                self._loop_calls,
                f"{self._scheme}://{in_url(self._host)}:{port}",
                **flight_tls_options(settings),
            )
        except Exception as error:
            raise cannot_serve(self._host, port, str(error)[:200], option) from error
        self.port: int = self._calls.port

    @property
    def url(self) -> str:
        """Where clients reach it."""
        return url_of(self._scheme, self._host, self.port)

    def use(self, loop: asyncio.AbstractEventLoop) -> None:
        """Answer calls: this is the service's event loop. It has to run until `end` has returned."""
        self._loop_calls.use(loop)

    def refuse(self) -> None:
        """Begin no more calls; those under way go on."""
        self._loop_calls.close()
        self._deadline = self._deadline or time.monotonic() + LAST_SECONDS

    def end(self) -> None:
        """Answer the calls under way, close the service, and end the streams. May be called twice, by any thread but the loop's.

        A stream on which nothing is asked is not waited for: gRPC has no way to end it from here. Its next question is
        refused.
        """
        self.refuse()
        with self._ending:
            if self._is_over:
                return
            self._is_over = True
            self._loop_calls.wait(self._deadline - time.monotonic())
            # Waits for work that has begun, however long it takes: it may be a write.
            self._service.close()
            self._loop_calls.wait(_CLOSE_SECONDS)
            self._loop_calls.give_up()
            self._last = threading.Thread(
                target=self._calls.shutdown, name="chroma_nb flight end", daemon=True
            )
            self._last.start()
            self._last.join(_CLOSE_SECONDS)

    @property
    def is_held(self) -> bool:
        """Whether a client's stream is still open after `end`: pyarrow waits for it when the process ends."""
        return self._last is not None and self._last.is_alive()


def scheme_of(settings: Settings) -> str:
    """Return the scheme of a URL of Arrow Flight, with TLS or without."""
    return "grpc+tls" if settings.server_tls_certificate else "grpc"
