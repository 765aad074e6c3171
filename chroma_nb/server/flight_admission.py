"""`Admission`: what is known of a call of Arrow Flight before gRPC hands it over, and how many calls may last.

gRPC gives each call a thread, and waits in it for what the client sends, or until the client takes the answer. From here
it cannot be told to wait no longer. So calls whose end is up to the client are counted before anything of them is received.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow.flight as fl

from chroma_nb.errors import NotSupportedError
from chroma_nb.server.addresses import address_of
from chroma_nb.server.auth import Identity
from chroma_nb.server.flight_errors import flight_errors
from chroma_nb.server.observability import trace_id_of
from chroma_nb.server.refusals import busy
from chroma_nb.server.shares import Shares
from chroma_nb.wire.flight import error_from_flight

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from chroma_nb.server.loop_calls import LoopCalls
    from chroma_nb.server.service import Service

#: The middleware's name in a call's context.
MIDDLEWARE = "admission"
#: Calls that last as long as their client likes.
_OPEN_ENDED = (fl.FlightMethod.DO_PUT, fl.FlightMethod.DO_GET, fl.FlightMethod.DO_EXCHANGE)
#: In whose share a call counts while it is not known who asks.
_UNKNOWN = ""


def state_of(context: Any) -> CallState:
    """Return what is kept of a call."""
    state: CallState = context.get_middleware(MIDDLEWARE)
    if not state.address:
        # It is not known yet when a call is admitted.
        state.address = _address(context.peer())
    return state


def check_connected(context: Any) -> Callable[[], None]:
    """Return a function that raises where the client has gone."""

    def check() -> None:
        if context.is_cancelled():
            raise busy("the client has gone")

    return check


class OpenCalls:
    """Calls that keep a thread for as long as their client likes.

    Args:
        n_calls: How many there may be; one client may have half of them.
    """

    def __init__(self, n_calls: int) -> None:
        self._shares = Shares(n_calls)

    def take(self, who: str) -> CallSlot:
        """Count a call.

        Raises:
            Refused: The client has as many as it may.
        """
        if not self._shares.take(who):
            raise busy(
                f"{self._shares.held(who)} calls of yours have not ended (Settings.server_max_streams)"
            )
        return CallSlot(self, who)

    def give_back(self, who: str) -> None:
        """Count a call no more."""
        self._shares.give_back(who)


class CallSlot:
    """A call that is counted, until `give_back`."""

    def __init__(self, calls: OpenCalls, who: str) -> None:
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


class Admission(fl.ServerMiddlewareFactory):  # type: ignore[misc]
    """Keeps the headers of each call for its handler, and refuses strangers before anything is received of them.

    Args:
        service: Knows who asks, and notes refusals.
        calls: Where calls are counted.
        loop_calls: Is told when a call has ended.
    """

    def __init__(self, service: Service, calls: OpenCalls, loop_calls: LoopCalls) -> None:
        super().__init__()
        self._service = service
        self._calls = calls
        self._loop_calls = loop_calls

    def start_call(self, info: Any, headers: Mapping[str, Any]) -> CallState:
        """Return what the handler finds under `MIDDLEWARE`."""
        found = {name.lower(): str(values[0]) for name, values in headers.items() if len(values)}
        state = CallState(found, self._loop_calls)
        try:
            with flight_errors():
                self._admit(info.method, state)
        except fl.FlightError as error:
            said = error_from_flight(error)
            status = 500 if said is None else said[0]
            name = (
                "flight_stream" if info.method == fl.FlightMethod.DO_EXCHANGE else "flight_command"
            )
            self._service.note(name, "flight", status, 0.0, state.trace_id)
            raise
        return state

    def _admit(self, method: Any, state: CallState) -> None:
        """Count a call that may last.

        Raises:
            NotSupportedError: There is no such call.
            AuthorizationError: The credentials are missing or not known.
            Refused: There are too many calls.
        """
        if method == fl.FlightMethod.GET_SCHEMA:
            # Here, as pyarrow sends the traceback of whatever its method raises.
            raise NotSupportedError(
                "This server tells a schema with the flight of a path: get_flight_info"
            )
        if method in _OPEN_ENDED:
            who = self._service.authenticator.identify(state.headers)
            # A password that is not known yet is checked in its turn, by the handler.
            state.identity = who if isinstance(who, Identity) else None
            state.slot = self._calls.take(
                _UNKNOWN if state.identity is None else state.identity.name
            )


class CallState(fl.ServerMiddleware):  # type: ignore[misc]
    """What is kept of one call while it lasts.

    Attributes:
        headers: Names in lower case.
        address: Where it comes from; "": not known yet.
        trace_id: Its name in the log.
        slot: Its place among the calls that are counted; None where it is not.
        identity: Who asks, from when it is known until it is used: what comes later on a stream is authorised anew.
    """

    def __init__(self, headers: dict[str, str], loop_calls: LoopCalls) -> None:
        super().__init__()
        self.headers = headers
        self.address = ""
        self.trace_id = trace_id_of(
            headers.get("traceparent", ""), headers.get("chroma-trace-id", "")
        )
        self.slot: CallSlot | None = None
        self.identity: Identity | None = None
        self._loop_calls = loop_calls

    def who(self, identity: Identity) -> str:
        """Return in whose share it counts."""
        return identity.name or self.address

    def sending_headers(self) -> dict[str, str]:
        """Return the headers of the answer."""
        return {"chroma-trace-id": self.trace_id}

    def call_completed(self, exception: Any) -> None:
        """The call has ended, however it did: its whole answer is sent, or its client has gone."""
        self._loop_calls.answered(self)
        if self.slot is not None:
            self.slot.give_back()


def _address(peer: str) -> str:
    """Return who a peer counts as, as over HTTP, from gRPC's name of it: ``ipv4:127.0.0.1:1234``, ``ipv6:[::1]:1234``."""
    address = peer.partition(":")[2].rpartition(":")[0]
    address = address.replace("%5B", "").replace("%5D", "").strip("[]")
    return address_of((address, 0)) if address else peer
