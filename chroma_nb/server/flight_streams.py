"""`Headers`: what is known of a call of Arrow Flight before gRPC hands it over, and how many calls may be under way.

gRPC gives each call a thread, and waits in it for what the client sends, or until the client takes the answer. From here
it cannot be told to wait no longer. So calls whose end is up to the client are counted before anything of them is received.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pyarrow.flight as fl

from chroma_nb.errors import ChromaError, NotSupportedError
from chroma_nb.server.auth import Identity
from chroma_nb.server.observability import trace_id_of
from chroma_nb.server.refusals import Refused, busy
from chroma_nb.server.shares import Shares
from chroma_nb.wire.errors import error_to_json
from chroma_nb.wire.flight import flight_error
from chroma_nb.wire.text import dumps

if TYPE_CHECKING:
    from collections.abc import Mapping

    from chroma_nb.server.auth import Authenticator

#: The middleware's name in a call's context.
NAME = "headers"
#: Calls that last as long as their client likes.
_OPEN_ENDED = (fl.FlightMethod.DO_PUT, fl.FlightMethod.DO_GET, fl.FlightMethod.DO_EXCHANGE)
#: In whose share a call counts while it is not known who asks.
_UNKNOWN = ""


class Calls:
    """Calls that keep a thread for as long as their client likes.

    Args:
        n_calls: How many there may be; one client may have half of them.
    """

    def __init__(self, n_calls: int) -> None:
        self._lock = threading.Lock()
        self._shares = Shares(n_calls)

    def take(self, who: str) -> Held:
        """Count a call.

        Raises:
            Refused: The client has as many as it may.
        """
        with self._lock:
            if not self._shares.take(who):
                raise busy(
                    f"{self._shares.held(who)} calls of yours have not ended (Settings.server_max_streams)"
                )
        return Held(self, who)

    def give_back(self, who: str) -> None:
        """Count a call no more."""
        with self._lock:
            self._shares.give_back(who)


class Held:
    """A call that is counted, until `give_back`."""

    def __init__(self, calls: Calls, who: str) -> None:
        self._calls = calls
        self._who: str | None = who

    def belongs_to(self, who: str) -> None:
        """Count it in the share of the client that it has proved to be from.

        Raises:
            Refused: That client has as many as it may.
        """
        if self._who not in (None, who):
            self._calls.take(who)
            self.give_back()
            self._who = who

    def give_back(self) -> None:
        """Count it no more. Doing it twice is allowed."""
        who, self._who = self._who, None
        if who is not None:
            self._calls.give_back(who)


class Headers(fl.ServerMiddlewareFactory):  # type: ignore[misc]
    """Keeps the headers of each call for its handler, and refuses strangers before anything is received of them.

    Args:
        authenticator: Knows who asks.
        calls: Where calls are counted.
    """

    def __init__(self, authenticator: Authenticator, calls: Calls) -> None:
        super().__init__()
        self._authenticator = authenticator
        self._calls = calls

    def start_call(self, info: Any, headers: Mapping[str, Any]) -> Kept:
        """Return what the handler finds under `NAME`."""
        found = {name.lower(): str(values[0]) for name, values in headers.items() if len(values)}
        held = None
        if info.method == fl.FlightMethod.GET_SCHEMA:
            # Here, as pyarrow sends the traceback of whatever its method raises.
            raise _not_there()
        if info.method in _OPEN_ENDED:
            try:
                who = self._authenticator.identify(found)
                # A password that is not known yet is checked in its turn, by the handler.
                held = self._calls.take(who.name if isinstance(who, Identity) else _UNKNOWN)
            except ChromaError as error:
                status, body = error_to_json(error)
                raise flight_error(status, dumps(body)) from None
            except Refused as refused:
                _, body = error_to_json(refused.error)
                raise flight_error(refused.status, dumps(body)) from None
        return Kept(found, held)


def _not_there() -> Exception:
    status, body = error_to_json(
        NotSupportedError("This server tells no schemas: that of a ticket comes with its records")
    )
    return flight_error(status, dumps(body))


class Kept(fl.ServerMiddleware):  # type: ignore[misc]
    """The headers of one call.

    Attributes:
        headers: Names in lower case.
        trace_id: Its name in the log.
        held: Its place among the calls that are counted; None where it is not.
    """

    def __init__(self, headers: dict[str, str], held: Held | None) -> None:
        super().__init__()
        self.headers = headers
        self.trace_id = trace_id_of(
            headers.get("traceparent", ""), headers.get("chroma-trace-id", "")
        )
        self.held = held

    def sending_headers(self) -> dict[str, str]:
        """Return the headers of the answer."""
        return {"chroma-trace-id": self.trace_id}

    def call_completed(self, exception: Any) -> None:
        """The call has ended, however it did."""
        if self.held is not None:
            self.held.give_back()
