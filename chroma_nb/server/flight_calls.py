"""`FlightCalls`: carries requests that come by Arrow Flight to a service, and its answers back.

gRPC calls these methods in threads of its own. Who asks, whose turn it is and how long it may take is the service's
business, as for HTTP; so is what a client learns of an error.
"""

from __future__ import annotations

import contextlib
import threading
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

import pyarrow as pa
import pyarrow.flight as fl

from chroma_nb import validation
from chroma_nb.errors import BatchSizeExceededError, ChromaError, InvalidArgumentError
from chroma_nb.memory.sizes import format_bytes
from chroma_nb.memory.workspace import WORKSPACE
from chroma_nb.server.addresses import address_of
from chroma_nb.server.auth import ANONYMOUS, Identity
from chroma_nb.server.endpoints import ENDPOINTS
from chroma_nb.server.limits import check_n_records
from chroma_nb.server.observability import trace_id_of
from chroma_nb.server.refusals import Refused, busy
from chroma_nb.server.shares import Shares
from chroma_nb.wire.arrow import from_lists, read_batch, write_matches, write_records
from chroma_nb.wire.errors import error_to_json
from chroma_nb.wire.flight import ANSWER, Command, as_answer, flight_error
from chroma_nb.wire.operations import OPERATIONS
from chroma_nb.wire.requests import Query
from chroma_nb.wire.rest import ROUTE_OF
from chroma_nb.wire.rest_requests import Arrived, read_request, read_target, written
from chroma_nb.wire.text import dumps

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

    from chroma_nb.server.bodies import Bodies
    from chroma_nb.server.json_requests import JsonRequests
    from chroma_nb.server.loop_calls import LoopCalls
    from chroma_nb.server.service import Service
    from chroma_nb.wire.operations import Operation

T = TypeVar("T")

#: Memory that a batch takes while its records are checked and written, in multiples of its size: as Arrow, as texts
#: and objects, and merged.
_BATCH_TIMES = 4.0
#: Memory that an answer takes, in multiples of its objects: these, and Arrow's columns.
_ANSWER_TIMES = 2.0
#: What everybody may ask has no arguments, so its command is short.
_OPEN_BYTES = 4_096
_WRITES = ("add", "update", "upsert")
_READS = ("get", "query")


@dataclass(frozen=True)
class Caller:
    """What is known of a call before it is looked at.

    Args:
        headers: Its headers, names in lower case.
        address: Where it comes from.
        trace_id: Its name in the log.
    """

    headers: Mapping[str, str]
    address: str
    trace_id: str


class Headers(fl.ServerMiddlewareFactory):  # type: ignore[misc]
    """Keeps the headers of each call for its handler."""

    def __init__(self, calls: LoopCalls) -> None:
        super().__init__()
        self._calls = calls

    def start_call(self, info: Any, headers: Mapping[str, Any]) -> Any:
        """Return what the handler finds under `NAME`."""
        found = {name.lower(): str(values[0]) for name, values in headers.items() if len(values)}
        return _Kept(found, self._calls)


class _Kept(fl.ServerMiddleware):  # type: ignore[misc]
    def __init__(self, headers: dict[str, str], calls: LoopCalls) -> None:
        super().__init__()
        self.headers = headers
        self._calls = calls
        #: Who asks, from when it is known until it is used: what comes later on a stream is authorised anew.
        self.identity: Identity | None = None
        self.trace_id = trace_id_of(
            headers.get("traceparent", ""), headers.get("chroma-trace-id", "")
        )

    def sending_headers(self) -> dict[str, str]:
        return {"chroma-trace-id": self.trace_id}

    def call_completed(self, exception: Any) -> None:
        # The whole answer is sent.
        self._calls.answered(self)


#: The middleware's name in a call's context.
NAME = "headers"


class FlightCalls(fl.FlightServerBase):  # type: ignore[misc]
    """Answers Flight's calls.

    Args:
        service: What answers.
        requests: Carries out what comes as JSON.
        bodies: Counts the memory of what is parsed.
        loop: What calls ask of the service's event loop, which runs in another thread.
        location: Where to listen: ``grpc://host:port``.
        **options: `FlightServerBase`'s: TLS.
    """

    def __init__(
        self,
        service: Service,
        requests: JsonRequests,
        bodies: Bodies,
        loop: LoopCalls,
        location: str,
        **options: Any,
    ) -> None:
        self._service = service
        self._requests = requests
        self._bodies = bodies
        self._loop = loop
        self._lock = threading.Lock()
        #: Streams that are open.
        self._streams = Shares(service.settings.server_max_streams)
        # It accepts calls from here on.
        super().__init__(location, middleware={NAME: Headers(loop)}, **options)

    # -- calls --------------------------------------------------------------------------------

    def do_action(self, context: Any, action: Any) -> Iterator[bytes]:
        """Carry out an operation that needs no batches; the result is its answer as JSON."""
        with _flight_errors():
            command = self._command(context, action.body.to_pybytes(), action.type)
            return iter([self._act(context, command)])

    def _act(self, context: Any, command: Command) -> bytes:
        operation = _known(command, OPERATIONS)
        endpoint = ENDPOINTS[ROUTE_OF[operation.name].name]
        body = dumps(command.body) if command.body is not None else b""

        def work(identity: Identity, caller: Caller) -> bytes:
            status, content = self._requests.execute(
                endpoint, command.path, command.query, identity, lambda: body, caller.trace_id
            )
            if status >= 400:
                raise _Failed(status, content)
            return content

        return self._carry_out(context, "action", operation, command.path, work)

    def list_actions(self, context: Any) -> list[tuple[str, str]]:
        """Return the operations."""
        return [(name, ENDPOINTS[ROUTE_OF[name].name].summary) for name in OPERATIONS]

    def do_put(self, context: Any, descriptor: Any, reader: Any, writer: Any) -> None:
        """Write all batches of a stream in one commit, and acknowledge it."""
        with _flight_errors():
            self._write(context, self._command(context, descriptor.command or b""), reader)
        writer.write(pa.py_buffer(b'{"status":200}'))

    def _write(self, context: Any, command: Command, reader: Any) -> None:
        operation = _known(command, _WRITES)
        # Before anything is received: whoever may not write sends nothing.
        self._carry_out(context, "put", operation, command.path, lambda *_: None, is_noted=False)
        with self._receiving(context, reader) as (batches, size):
            self._write_all(context, command, operation, batches, size)

    def _write_all(
        self, context: Any, command: Command, operation: Operation, batches: list[Any], size: int
    ) -> None:
        def work(identity: Identity, caller: Caller) -> None:
            target = read_target(Arrived(command.path, command.query, None))
            what = f"Writing {format_bytes(size)} of records"
            with WORKSPACE.take_all(int(_BATCH_TIMES * size), what, "send them in smaller parts"):
                columns = read_batch(pa.Table.from_batches(batches))
                batches.clear()
                request = written(
                    operation.name, columns, Arrived(command.path, command.query, None)
                )
                self._service.answer(operation, target, request, identity)

        self._carry_out(context, "put", operation, command.path, work)

    @contextlib.contextmanager
    def _receiving(self, context: Any, reader: Any) -> Iterator[tuple[list[Any], int]]:
        """Hold the batches of a put, and count their bytes (both returned) among those of all puts.

        Raises:
            InvalidArgumentError: There are none, or one cannot be read.
            BatchSizeExceededError: They are too many or too large.
            Refused: All puts hold too much at the moment.
        """
        limit = self._bodies.max_body
        batches: list[Any] = []
        n_bytes = n_records = 0
        # What a client has yet to send is not waited for at the end.
        self._loop.answered(context.get_middleware(NAME))
        try:
            for chunk in reader:
                if chunk.data is None:
                    continue
                n_records += chunk.data.num_rows
                check_n_records(self._service.settings, n_records)
                n_bytes += chunk.data.nbytes
                if n_bytes > limit:
                    n_bytes -= chunk.data.nbytes
                    raise self._too_large("The records take")
                self._bodies.hold(chunk.data.nbytes)
                try:
                    chunk.data.validate(full=True)
                except pa.ArrowInvalid as error:
                    raise InvalidArgumentError(
                        f"A batch of records cannot be read: {error}"[:300]
                    ) from None
                batches.append(chunk.data)
            if not batches:
                raise InvalidArgumentError("Expected at least one batch of records")
            yield batches, n_bytes
        finally:
            self._bodies.let_go(n_bytes)
            self._service.metrics.body_bytes.inc(n_bytes)

    def do_get(self, context: Any, ticket: Any) -> Any:
        """Send the records that a ticket names."""
        with _flight_errors():
            batch = self._read(context, self._command(context, ticket.ticket), None)
        return fl.RecordBatchStream(pa.Table.from_batches([batch]))

    def do_exchange(self, context: Any, descriptor: Any, reader: Any, writer: Any) -> None:
        """Answer each `get` or `query` of a stream, one after the other."""
        with _flight_errors(), self._refusals_noted(context, "flight_stream"):
            who = self._identify(context).name or _caller(context).address
            with self._lock:
                has_room = self._streams.take(who)
            if not has_room:
                raise busy("it has as many streams open as it may (Settings.server_max_streams)")
        try:
            writer.begin(ANSWER)
            self._answer_all(context, reader, writer)
        finally:
            with self._lock:
                self._streams.give_back(who)

    def _answer_all(self, context: Any, reader: Any, writer: Any) -> None:
        kept = context.get_middleware(NAME)
        self._loop.answered(kept)
        for chunk in reader:
            try:
                command = self._command(context, bytes(chunk.app_metadata or b""))
                if chunk.data is not None and chunk.data.nbytes > self._bodies.max_body:
                    raise self._too_large("The queries take")
                batch = as_answer(self._read(context, command, chunk.data))
            except _Failed as failed:
                # The stream goes on.
                writer.write_metadata(pa.py_buffer(failed.with_status))
                self._loop.answered(kept)
                if self._service.stopping:
                    return
                continue
            except ChromaError as error:
                writer.write_metadata(pa.py_buffer(_Failed.of(error).with_status))
                self._loop.answered(kept)
                continue
            writer.write_with_metadata(batch, pa.py_buffer(b'{"status":200}'))
            self._loop.answered(kept)

    def _read(self, context: Any, command: Command, data: Any) -> Any:
        """Return the answer to a `get` or a `query` as a batch."""
        operation = _known(command, _READS)
        endpoint = ENDPOINTS[ROUTE_OF[operation.name].name]

        def work(identity: Identity, caller: Caller) -> Any:
            with WORKSPACE.holding_answers(_ANSWER_TIMES, lambda: self._service.stopping):
                body = command.body if command.body is not None else {}
                if operation.name == "query":
                    body = {**body, "query_embeddings": []}
                assert endpoint.body is not None
                arrived = Arrived(command.path, command.query, endpoint.body.model_validate(body))
                request: Any = read_request(operation, arrived)
                if isinstance(request, Query) and data is not None:
                    vectors, given = from_lists(
                        data.column("embedding"), "query_embeddings", InvalidArgumentError
                    )
                    if given is not None:
                        raise InvalidArgumentError("Expected query_embeddings without missing ones")
                    request = replace(request, embeddings=validation.check_embeddings(vectors))
                found = self._service.answer(operation, read_target(arrived), request, identity)
                return write_matches(found) if operation.name == "query" else write_records(found)

        return self._carry_out(context, operation.name, operation, command.path, work)

    # -- what all calls share -----------------------------------------------------------------

    def _command(self, context: Any, data: bytes, name: str | None = None) -> Command:
        """Return a call's command; it is not looked at before it is known who asks, unless that does not matter.

        Raises:
            AuthorizationError: The credentials are missing or not known.
            BatchSizeExceededError: It is too large.
            InvalidArgumentError: It is none.
        """
        with self._refusals_noted(context, name if name in OPERATIONS else "flight_command"):
            if name in OPERATIONS and OPERATIONS[name].scope == "open":
                if len(data) > _OPEN_BYTES:
                    raise InvalidArgumentError(f"{name} has no arguments")
            else:
                if len(data) > self._bodies.max_body:
                    raise self._too_large("The command takes")
                self._identify(context)
            return Command.from_bytes(data, name)

    @contextlib.contextmanager
    def _refusals_noted(self, context: Any, name: str) -> Iterator[None]:
        """Count and log what is refused before it is known what is asked.

        Args:
            context: The call's.
            name: What it is called in metrics and log.

        Raises:
            _Failed: What a client learns of it.
        """
        started = time.perf_counter()
        try:
            yield
        except Exception as error:
            trace_id = _caller(context).trace_id
            failed = self._failure(error, name, trace_id)
            seconds = time.perf_counter() - started
            self._service.note(name, "flight", failed.status, seconds, trace_id)
            raise failed from None

    def _too_large(self, what: str) -> BatchSizeExceededError:
        return BatchSizeExceededError(
            f"{what} more than {format_bytes(self._bodies.max_body)}: send less at a time (Settings.server_max_body)."
        )

    def _identify(self, context: Any) -> Identity:
        """Return who asks; `_carry_out` does not find it out once more.

        Raises:
            AuthorizationError: The credentials are missing or not known.
            Refused: The server is stopping, or the client has gone.
        """
        caller, kept = _caller(context), context.get_middleware(NAME)
        kept.identity = None
        found = self._service.authenticator.identify(caller.headers)
        if not isinstance(found, Identity):
            # A password is checked in its turn.
            found = self._loop.run(
                kept,
                lambda: self._service.identify(
                    caller.headers, caller.address, _check_connected(context)
                ),
            )
        kept.identity = found
        return found

    def _carry_out(
        self,
        context: Any,
        method: str,
        operation: Operation,
        path: Mapping[str, str],
        work: Callable[[Identity, Caller], T],
        *,
        is_noted: bool = True,
    ) -> T:
        """Check that the caller may do this, and do it in a thread of the service.

        Raises:
            _Failed: What a client learns of what went wrong.
        """
        caller, kept = _caller(context), context.get_middleware(NAME)
        started = time.perf_counter()
        who = [ANONYMOUS]
        known, kept.identity = kept.identity, None

        async def serve() -> T:
            if operation.scope != "open":
                who[0] = known or await self._service.identify(
                    caller.headers, caller.address, _check_connected(context)
                )
                self._service.check_scope(operation, path.get("tenant", ""), who[0])
            identity = who[0]
            return await self._service.run(
                operation, identity.name or caller.address, lambda: work(identity, caller)
            )

        failed: _Failed | None = None
        try:
            return self._loop.run(kept, serve)
        except Exception as error:
            failed = self._failure(error, operation.name, caller.trace_id)
            raise failed from None
        finally:
            if is_noted or failed is not None:
                self._service.note(
                    operation.name,
                    f"flight {method}",
                    200 if failed is None else failed.status,
                    time.perf_counter() - started,
                    caller.trace_id,
                    user=who[0].name,
                    tenant=path.get("tenant", ""),
                )

    def _failure(self, error: Exception, name: str, trace_id: str) -> _Failed:
        try:
            if isinstance(error, _Failed):
                return error
            if not isinstance(error, Refused):
                return _Failed(*self._requests.failure(error, name, trace_id))
        except Refused as refused:
            error = refused
        return _Failed.of(error.error, error.status)


@contextlib.contextmanager
def _flight_errors() -> Iterator[None]:
    """Turn what was raised on purpose into the errors that Flight carries."""
    try:
        yield
    except _Failed as error:
        raise flight_error(error.status, error.body) from None
    except (ChromaError, Refused) as error:
        failed = (
            _Failed.of(error.error, error.status)
            if isinstance(error, Refused)
            else _Failed.of(error)
        )
        raise flight_error(failed.status, failed.body) from None


def _caller(context: Any) -> Caller:
    kept = context.get_middleware(NAME)
    return Caller(kept.headers, _address(context.peer()), kept.trace_id)


def _check_connected(context: Any) -> Callable[[], None]:
    """Return a function that raises where the client has gone."""

    def check() -> None:
        if context.is_cancelled():
            raise busy("the client has gone")

    return check


def _known(command: Command, names: Collection[str]) -> Operation:
    """Return the operation that a command names, one of `names`.

    Raises:
        InvalidArgumentError: It names another.
    """
    if command.operation not in names:
        raise InvalidArgumentError(
            f"Expected one of {', '.join(names)}, got {command.operation!r:.80}"
        )
    return OPERATIONS[command.operation]


class _Failed(Exception):
    """An answer that reports an error."""

    def __init__(self, status: int, body: bytes) -> None:
        super().__init__(status)
        self.status = status
        self.body = body

    @classmethod
    def of(cls, error: ChromaError, status: int | None = None) -> _Failed:
        """Return the answer that reports an error."""
        code, body = error_to_json(error)
        return cls(code if status is None else status, dumps(body))

    @property
    def with_status(self) -> bytes:
        """The error with its status, as JSON."""
        return b'{"status":%d,' % self.status + self.body[1:]


def _address(peer: str) -> str:
    """Return who a peer counts as, as over HTTP, from gRPC's name of it: ``ipv4:127.0.0.1:1234``, ``ipv6:[::1]:1234``."""
    address = peer.partition(":")[2].rpartition(":")[0]
    address = address.replace("%5B", "").replace("%5D", "").strip("[]")
    return address_of((address, 0)) if address else peer
