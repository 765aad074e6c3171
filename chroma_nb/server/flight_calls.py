"""`FlightCalls`: carries requests that come by Arrow Flight to a service, and its answers back.

gRPC calls these methods in threads of its own. Who asks, whose turn it is and how long it may take is the service's
business, as for HTTP; so is what a client learns of an error.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import threading
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

import pyarrow as pa
import pyarrow.flight as fl

from chroma_nb import validation
from chroma_nb.api.base import Matches
from chroma_nb.errors import (
    BatchSizeExceededError,
    ChromaError,
    InternalError,
    InvalidArgumentError,
)
from chroma_nb.memory.sizes import format_bytes
from chroma_nb.memory.workspace import WORKSPACE
from chroma_nb.server.auth import ANONYMOUS, Identity
from chroma_nb.server.bodies import MAX_HELD, STEP_BYTES
from chroma_nb.server.endpoints import ENDPOINTS
from chroma_nb.server.flight_listing import flight_of_path, flights, read_criteria
from chroma_nb.server.flight_streams import NAME, Calls, Headers
from chroma_nb.server.limits import check_n_records
from chroma_nb.server.observability import LOGGER
from chroma_nb.server.refusals import Refused, busy
from chroma_nb.server.shares import Shares
from chroma_nb.wire.arrow import (
    from_lists,
    read_batch,
    records_schema,
    write_matches,
    write_records,
)
from chroma_nb.wire.arrow_scan import write_scan_answer
from chroma_nb.wire.errors import error_to_json
from chroma_nb.wire.flight import ANSWER, READS, WRITES, Command, as_answer, flight_error
from chroma_nb.wire.operations import OPERATIONS
from chroma_nb.wire.requests import Query, ScanAnswer
from chroma_nb.wire.rest import ROUTE_OF
from chroma_nb.wire.rest_requests import Arrived, read_request, read_target, written
from chroma_nb.wire.text import dumps

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

    from chroma_nb.server.bodies import Bodies
    from chroma_nb.server.json_requests import JsonRequests
    from chroma_nb.server.service import Service
    from chroma_nb.wire.operations import Operation
    from chroma_nb.wire.requests import Request, Target

T = TypeVar("T")

#: Memory that a batch takes while its records are checked and written, in multiples of its size: as Arrow, as texts
#: and objects, and merged.
_BATCH_TIMES = 4.0
#: Memory that an answer takes, in multiples of its objects: these, and Arrow's columns.
_ANSWER_TIMES = 2.0
#: What everybody may ask has no arguments, so its command is short.
_OPEN_BYTES = 4_096
#: A larger answer to an action counts until its client has taken it.
_LARGE_ANSWER_BYTES = 2**16


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


class FlightCalls(fl.FlightServerBase):  # type: ignore[misc]
    """Answers Flight's calls.

    Args:
        service: What answers.
        requests: Carries out what comes as JSON.
        bodies: Counts the memory of what is parsed.
        loop: The service's event loop, which runs in another thread.
        location: Where to listen: ``grpc://host:port``.
        **options: `FlightServerBase`'s: TLS.
    """

    def __init__(
        self,
        service: Service,
        requests: JsonRequests,
        bodies: Bodies,
        loop: asyncio.AbstractEventLoop,
        location: str,
        **options: Any,
    ) -> None:
        self._service = service
        self._requests = requests
        self._bodies = bodies
        self._loop = loop
        self._lock = threading.Lock()
        #: Streams that are open, and bytes of the batches that are received.
        self._streams = Shares(service.settings.server_max_streams)
        self._received = 0
        #: Calls whose end is up to their clients.
        self._open_calls = Calls(service.settings.server_max_streams)
        headers = Headers(service.authenticator, self._open_calls)
        # It accepts calls from here on.
        super().__init__(location, middleware={NAME: headers}, **options)

    # -- calls --------------------------------------------------------------------------------

    def do_action(self, context: Any, action: Any) -> Iterator[bytes]:
        """Carry out an operation that needs no batches; the result is its answer as JSON."""
        with _flight_errors():
            command = self._command(context, action.body.to_pybytes(), action.type)
            return self._sent(context, self._act(context, command))

    def _sent(self, context: Any, answer: bytes) -> Iterator[bytes]:
        """Return an action's answer; gRPC waits until the client has taken it."""
        if len(answer) <= _LARGE_ANSWER_BYTES:
            return iter([answer])
        caller = _caller(context)
        held = self._open_calls.take(self._identify(context, caller).name or caller.address)

        def until_taken() -> Iterator[bytes]:
            try:
                yield answer
            finally:
                held.give_back()

        return until_taken()

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
        operation = _known(command, WRITES)
        kept, caller = context.get_middleware(NAME), _caller(context)
        kept.held.belongs_to(self._identify(context, caller).name or caller.address)
        # Before anything is received: whoever may not write sends nothing.
        self._carry_out(context, "put", operation, command.path, lambda *_: None, is_noted=False)
        with self._receiving(reader) as (batches, size):
            self._write_all(context, command, operation, batches, size)

    def _write_all(
        self, context: Any, command: Command, operation: Operation, batches: list[Any], size: int
    ) -> None:
        def work(identity: Identity, caller: Caller) -> None:
            # gRPC lets a stream end in the same way where the client has died or given up: that is no whole write.
            _check_connected(context)()
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
    def _receiving(self, reader: Any) -> Iterator[tuple[list[Any], int]]:
        """Hold the batches of a put, and count their bytes (both returned) among those of all puts.

        Raises:
            InvalidArgumentError: There are none, or one cannot be read.
            BatchSizeExceededError: They are too many or too large.
            Refused: All puts hold too much at the moment.
        """
        limit = self._bodies.max_body
        batches: list[Any] = []
        n_bytes = n_records = 0
        seconds = self._service.settings.server_body_timeout_seconds
        started = time.monotonic()
        try:
            for chunk in _chunks(reader):
                size = 0 if chunk.data is None else chunk.data.nbytes
                if time.monotonic() - started > seconds * (1 + (n_bytes + size) // STEP_BYTES):
                    raise _too_slow(seconds)
                if chunk.data is None or (batches and not chunk.data.num_rows):
                    continue
                n_records += chunk.data.num_rows
                check_n_records(self._service.settings, n_records)
                n_bytes += chunk.data.nbytes
                with self._lock:
                    self._received += chunk.data.nbytes
                    is_full = self._received > MAX_HELD * limit
                if n_bytes > limit:
                    raise self._too_large("The records take")
                if is_full:
                    raise busy("too many large writes at a time")
                batches.append(_checked(chunk.data))
            if not batches:
                raise InvalidArgumentError("Expected at least one batch of records")
            yield batches, n_bytes
        finally:
            with self._lock:
                self._received -= n_bytes

    def do_get(self, context: Any, ticket: Any) -> Any:
        """Send the records that a ticket names: those of a `get` in one batch, those of a `scan` in many.

        All are of one version, also of a scan. Its next piece is read when the client has taken the one before.
        """
        with _flight_errors():
            command = self._command(context, ticket.ticket)
            body = command.body if isinstance(command.body, dict) else {}
            if command.operation == "scan" and (body.get("scan") or body.get("close")):
                raise InvalidArgumentError("A ticket begins a scan. Its steps go by DoExchange")
            batch, said = self._read(context, command, None)
            if command.operation != "scan":
                return fl.RecordBatchStream(pa.Table.from_batches([batch]))
            schema = records_schema(said["dimension"], body.get("include"))
        return fl.GeneratorStream(schema, self._pieces(context, command, schema, batch, said))

    def _pieces(
        self, context: Any, command: Command, schema: Any, batch: Any, said: dict[str, Any]
    ) -> Iterator[Any]:
        """Yield the pieces of a scan, the first of which was read, and close it, also where the client goes away."""
        token = said["scan"]
        try:
            with _flight_errors():
                for number in itertools.count(1):
                    if batch is None:
                        return
                    if not batch.num_rows:
                        batch = schema.empty_table().to_batches()
                    yield batch, pa.py_buffer(dumps({"n_damaged": said["n_damaged"]}))
                    # Authorised like any request: a credential may be taken away meanwhile.
                    step = replace(command, body={"scan": token, "piece": number})
                    batch, said = self._read(context, step, None)
        finally:
            self._service.scans.end(token, read_target(Arrived(command.path, {}, None)))

    def list_flights(self, context: Any, criteria: bytes) -> Iterator[Any]:
        """Return the collections of the caller's tenants as flights."""
        with _flight_errors():
            if len(criteria) > _OPEN_BYTES:
                raise InvalidArgumentError("Criteria of flights are a tenant and a database")
            tenants, database = read_criteria(criteria, self._identify(context, _caller(context)))
            return iter(list(flights(self._asking(context), tenants, database)))

    def get_flight_info(self, context: Any, descriptor: Any) -> Any:
        """Return the flight of a path."""
        with _flight_errors():
            self._identify(context, _caller(context))
            return flight_of_path(self._asking(context), descriptor.path or [])

    def _asking(self, context: Any) -> Callable[[str, Target, Request | None], Any]:
        """Return a function that carries out operations for a caller."""

        def ask(name: str, target: Target, request: Request | None) -> Any:
            operation = OPERATIONS[name]

            def work(identity: Identity, caller: Caller) -> Any:
                return self._service.answer(operation, target, request, identity)

            return self._carry_out(context, "flights", operation, {"tenant": target.tenant}, work)

        return ask

    def do_exchange(self, context: Any, descriptor: Any, reader: Any, writer: Any) -> None:
        """Answer each `get` or `query` of a stream, one after the other."""
        caller = _caller(context)
        with _flight_errors():
            who = self._identify(context, caller).name or caller.address
        with self._lock:
            has_room = self._streams.take(who)
        if not has_room:
            with _flight_errors():
                raise busy("it has as many streams open as it may (Settings.server_max_streams)")
        context.get_middleware(NAME).held.give_back()
        try:
            writer.begin(ANSWER)
            with _flight_errors():
                self._answer_all(context, reader, writer)
        finally:
            with self._lock:
                self._streams.give_back(who)

    def _answer_all(self, context: Any, reader: Any, writer: Any) -> None:
        for chunk in _chunks(reader):
            try:
                command = self._command(context, bytes(chunk.app_metadata or b""))
                if chunk.data is not None and chunk.data.nbytes > self._bodies.max_body:
                    raise self._too_large("The queries take")
                batch, said = self._read(context, command, chunk.data)
            except _Failed as failed:
                # The stream goes on.
                writer.write_metadata(pa.py_buffer(failed.with_status))
                if self._service.stopping:
                    return
                continue
            except ChromaError as error:
                writer.write_metadata(pa.py_buffer(_Failed.of(error).with_status))
                continue
            metadata = pa.py_buffer(dumps({"status": 200, **said}))
            if batch is None:
                writer.write_metadata(metadata)
            else:
                writer.write_with_metadata(as_answer(batch), metadata)

    def _read(self, context: Any, command: Command, data: Any) -> tuple[Any, dict[str, Any]]:
        """Return an answer as a batch (None: there are no records), and what is said beside it."""
        operation = _known(command, READS)
        endpoint = ENDPOINTS[ROUTE_OF[operation.name].name]

        def work(identity: Identity, caller: Caller) -> tuple[Any, dict[str, Any]]:
            with WORKSPACE.holding_answers(_ANSWER_TIMES, lambda: self._service.stopping):
                body = command.body if command.body is not None else {}
                if operation.name == "query" and isinstance(body, dict):
                    body = {**body, "query_embeddings": []}
                assert endpoint.body is not None
                arrived = Arrived(command.path, command.query, endpoint.body.model_validate(body))
                request: Any = read_request(operation, arrived)
                if isinstance(request, Query) and data is not None:
                    if data.schema.names != ["embedding"]:
                        raise InvalidArgumentError(
                            f"Expected queries with one column 'embedding', got {data.schema.names}"[
                                :300
                            ]
                        )
                    vectors, given = from_lists(
                        _checked(data).column("embedding"), "query_embeddings", InvalidArgumentError
                    )
                    if given is not None:
                        raise InvalidArgumentError("Expected query_embeddings without missing ones")
                    request = replace(request, embeddings=validation.check_embeddings(vectors))
                found = self._service.answer(operation, read_target(arrived), request, identity)
                if isinstance(found, ScanAnswer):
                    return write_scan_answer(found)
                return (write_matches if isinstance(found, Matches) else write_records)(found), {}

        return self._carry_out(context, operation.name, operation, command.path, work)

    # -- what all calls share -----------------------------------------------------------------

    def _command(self, context: Any, data: bytes, name: str | None = None) -> Command:
        """Return a call's command; it is not looked at before it is known who asks, unless that does not matter.

        Raises:
            AuthorizationError: The credentials are missing or not known.
            BatchSizeExceededError: It is too large.
            InvalidArgumentError: It is none.
        """
        if name in OPERATIONS and OPERATIONS[name].scope == "open":
            if len(data) > _OPEN_BYTES:
                raise InvalidArgumentError(f"{name} has no arguments")
        else:
            if len(data) > self._bodies.max_body:
                raise self._too_large("The command takes")
            self._identify(context, _caller(context))
        return Command.from_bytes(data, name)

    def _too_large(self, what: str) -> BatchSizeExceededError:
        return BatchSizeExceededError(
            f"{what} more than {format_bytes(self._bodies.max_body)}: send less at a time (Settings.server_max_body)."
        )

    def _identify(self, context: Any, caller: Caller) -> Identity:
        """Return who asks.

        Raises:
            AuthorizationError: The credentials are missing or not known.
        """
        found = self._service.authenticator.identify(caller.headers)
        if isinstance(found, Identity):
            return found
        # A password is checked in its turn.
        checked = self._service.identify(caller.headers, caller.address, _check_connected(context))
        return asyncio.run_coroutine_threadsafe(checked, self._loop).result()

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
        caller = _caller(context)
        started = time.perf_counter()
        who = [ANONYMOUS]

        async def serve() -> T:
            if operation.scope != "open":
                who[0] = await self._service.identify(
                    caller.headers, caller.address, _check_connected(context)
                )
                self._service.check_scope(operation, path.get("tenant", ""), who[0])
            identity = who[0]
            return await self._service.run(
                operation, identity.name or caller.address, lambda: work(identity, caller)
            )

        failed: _Failed | None = None
        try:
            return asyncio.run_coroutine_threadsafe(serve(), self._loop).result()
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
    except Exception:
        # pyarrow would send the traceback.
        LOGGER.exception("request failed")
        failed = _Failed.of(InternalError("Something failed in the server; its log says what."))
        raise flight_error(failed.status, failed.body) from None


def _chunks(reader: Any) -> Iterator[Any]:
    """Return what a client sends.

    Raises:
        InvalidArgumentError: It cannot be read, or the client has gone.
    """
    while True:
        try:
            chunk = reader.read_chunk()
        except StopIteration:
            return
        except (pa.ArrowException, OSError, ValueError) as error:
            raise _unreadable(error) from None
        yield chunk


def _checked(batch: Any) -> Any:
    """Return a batch whose offsets lie within it, and whose texts are UTF-8: Arrow reads what it is sent as it is.

    Raises:
        InvalidArgumentError: It is none.
    """
    try:
        batch.validate(full=True)
    except pa.ArrowInvalid as error:
        raise _unreadable(error) from None
    return batch


def _unreadable(error: Exception) -> InvalidArgumentError:
    # gRPC's own words name addresses, and sources of C++.
    shown = str(error).partition(". Detail:")[0].partition(". gRPC ")[0]
    return InvalidArgumentError(f"A batch cannot be read: {shown}"[:300])


def _too_slow(seconds: float) -> Refused:
    return Refused(
        408,
        InvalidArgumentError(
            f"The records did not come: each {format_bytes(STEP_BYTES)} of them may take {seconds:g} s "
            "(Settings.server_body_timeout_seconds)."
        ),
    )


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
    """Return the address in gRPC's name of a peer: ``ipv4:127.0.0.1:1234``, ``ipv6:[::1]:1234``."""
    address = peer.partition(":")[2].rpartition(":")[0]
    return address.replace("%5B", "").replace("%5D", "").strip("[]") or peer
