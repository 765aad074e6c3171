"""`FlightCalls`: carries requests that come by Arrow Flight to a service, and its answers back.

gRPC calls these methods in threads of its own. Who asks, whose turn it is and how long it may take is the service's
business, as for HTTP; so is what a client learns of an error.
"""

from __future__ import annotations

import contextlib
import itertools
import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import pyarrow as pa
import pyarrow.flight as fl

from chroma_nb import validation
from chroma_nb.api.base import Matches
from chroma_nb.errors import ChromaError, InvalidArgumentError
from chroma_nb.memory.sizes import format_bytes
from chroma_nb.memory.workspace import WORKSPACE
from chroma_nb.server.auth import ANONYMOUS, Identity
from chroma_nb.server.endpoints import ENDPOINTS
from chroma_nb.server.flight_admission import (
    MIDDLEWARE,
    Admission,
    OpenCalls,
    check_connected,
    state_of,
)
from chroma_nb.server.flight_batches import checked, chunks, receiving, too_large
from chroma_nb.server.flight_errors import Failed, flight_errors
from chroma_nb.server.flight_listing import flight_of_path, flights, read_criteria
from chroma_nb.server.flight_questions import Question, Questions
from chroma_nb.server.refusals import Refused, busy, too_long
from chroma_nb.server.shares import Shares
from chroma_nb.wire.arrow import (
    from_lists,
    read_batch,
    records_schema,
    write_matches,
    write_piece,
)
from chroma_nb.wire.arrow_scan import write_scan_answer
from chroma_nb.wire.flight import ANSWER, MORE, READS, WRITES, Command, as_answer
from chroma_nb.wire.operations import OPERATIONS
from chroma_nb.wire.requests import Get, Query, ScanAnswer
from chroma_nb.wire.rest import ROUTE_OF
from chroma_nb.wire.rest_requests import Arrived, read_request, read_target, written
from chroma_nb.wire.text import dumps

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

    from chroma_nb.server.bodies import Bodies
    from chroma_nb.server.flight_admission import CallState
    from chroma_nb.server.json_requests import JsonRequests
    from chroma_nb.server.loop_calls import LoopCalls
    from chroma_nb.server.service import Service
    from chroma_nb.wire.operations import Operation
    from chroma_nb.wire.requests import Request, Target

T = TypeVar("T")

#: Memory that a batch takes while its records are checked and written, in multiples of its size: as Arrow, as texts
#: and objects, and merged.
_BATCH_TIMES = 4.0
#: Memory that an answer takes, in multiples of its objects: these, and Arrow's columns.
_ANSWER_TIMES = 2.0
#: An answer goes in batches of about so many bytes where its client takes several: it reads one while the next is on its way.
_PIECE_BYTES = 2 << 20
#: Bytes of a command without arguments, as everybody may send it, and of the criteria of flights.
_SHORT_BYTES = 4_096
#: A larger answer to an action counts until its client has taken it.
_LARGE_ANSWER_BYTES = 2**16


class FlightCalls(fl.FlightServerBase):  # type: ignore[misc]
    """Answers Flight's calls.

    Args:
        service: What answers.
        requests: Carries out what comes as JSON.
        bodies: Counts the memory of what is parsed.
        loop_calls: What calls ask of the service's event loop, which runs in another thread.
        location: Where to listen: ``grpc://host:port``.
        **options: `FlightServerBase`'s: TLS.
    """

    def __init__(
        self,
        service: Service,
        requests: JsonRequests,
        bodies: Bodies,
        loop_calls: LoopCalls,
        location: str,
        **options: Any,
    ) -> None:
        self._service = service
        self._requests = requests
        self._bodies = bodies
        self._loop_calls = loop_calls
        #: Streams that are open.
        self._streams = Shares(service.settings.server_max_streams)
        #: Calls whose end is up to their clients.
        self._open_calls = OpenCalls(service.settings.server_max_streams)
        admission = Admission(service, self._open_calls, loop_calls)
        # It accepts calls from here on.
        super().__init__(location, middleware={MIDDLEWARE: admission}, **options)

    # -- calls --------------------------------------------------------------------------------

    def do_action(self, context: Any, action: Any) -> Iterator[bytes]:
        """Carry out an operation that needs no batches; the result is its answer as JSON."""
        with flight_errors():
            command = self._command(context, action.body.to_pybytes(), action.type)
            return self._sent(context, self._act(context, command))

    def _sent(self, context: Any, answer: bytes) -> Iterator[bytes]:
        """Return an action's answer; gRPC waits until the client has taken it."""
        if len(answer) <= _LARGE_ANSWER_BYTES:
            return iter([answer])
        slot = self._open_calls.take(state_of(context).who(self._identify(context)))

        def until_taken() -> Iterator[bytes]:
            try:
                yield answer
            finally:
                slot.give_back()

        return until_taken()

    def _act(self, context: Any, command: Command) -> bytes:
        operation = _known(command, OPERATIONS)
        endpoint = ENDPOINTS[ROUTE_OF[operation.name].name]
        body = dumps(command.body) if command.body is not None else b""

        def work(identity: Identity, state: CallState) -> bytes:
            status, content = self._requests.execute(
                endpoint,
                command.path,
                command.query,
                identity,
                lambda: body,
                state.trace_id,
                state.who(identity),
            )
            if status >= 400:
                raise Failed(status, content)
            return content

        return self._carry_out(context, "action", operation, command.path, work)

    def list_actions(self, context: Any) -> list[tuple[str, str]]:
        """Return the operations."""
        return [(name, ENDPOINTS[ROUTE_OF[name].name].summary) for name in OPERATIONS]

    def do_put(self, context: Any, descriptor: Any, reader: Any, writer: Any) -> None:
        """Write all batches of a stream in one commit, and acknowledge it."""
        with flight_errors():
            self._write(context, self._command(context, descriptor.command or b""), reader)
        writer.write(pa.py_buffer(b'{"status":200}'))

    def _write(self, context: Any, command: Command, reader: Any) -> None:
        operation = _known(command, WRITES)
        if command.body is not None:
            raise InvalidArgumentError(
                "A command that writes has no body: records come as batches, and on_conflict goes in its query"
            )
        state = state_of(context)
        assert state.slot is not None
        state.slot.belongs_to(state.who(self._identify(context)))
        # Before anything is received: whoever may not write sends nothing.
        self._carry_out(context, "put", operation, command.path, lambda *_: None, is_noted=False)
        # A server that stops does not wait for what a client has yet to send.
        self._loop_calls.answered(state)
        with receiving(reader, self._bodies, self._service.settings) as (batches, size):
            self._write_all(context, command, operation, batches, size)
            self._service.metrics.body_bytes.inc(size)

    def _write_all(
        self, context: Any, command: Command, operation: Operation, batches: list[Any], size: int
    ) -> None:
        def work(identity: Identity, state: CallState) -> None:
            # gRPC lets a stream end in the same way where the client has died or given up: that is no whole write.
            check_connected(context)()
            target = read_target(Arrived(command.path, command.query, None))
            what = f"Writing {format_bytes(size)} of records"
            with WORKSPACE.take_all(int(_BATCH_TIMES * size), what, "send them in smaller parts"):
                columns = read_batch(pa.Table.from_batches(batches))
                if columns["embeddings"] is None and operation.name != "update":
                    raise InvalidArgumentError(
                        "Expected a column 'embedding': a server embeds nothing, clients do"
                    )
                batches.clear()
                request = written(
                    operation.name, columns, Arrived(command.path, command.query, None)
                )
                self._service.answer(operation, target, request, identity, state.who(identity))

        self._carry_out(context, "put", operation, command.path, work)

    def do_get(self, context: Any, ticket: Any) -> Any:
        """Send the records that a ticket names: those of a `get` in one batch, those of a `scan` in many.

        All are of one version, also of a scan. Its next piece is read when the client has taken the one before.
        """
        with flight_errors():
            command = self._command(context, ticket.ticket)
            # The embeddings of a query have no place in a ticket.
            _known(command, ("get", "scan"))
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
            with flight_errors():
                for number in itertools.count(1):
                    if batch is None:
                        return
                    if not batch.num_rows:
                        # All were left out as damaged. Its own columns do not have the types of the schema.
                        columns = [pa.nulls(0, one.type) for one in schema]
                        batch = pa.RecordBatch.from_arrays(columns, schema=schema)
                    yield batch, pa.py_buffer(dumps({"n_damaged": said["n_damaged"]}))
                    # Authorised like any request: a credential may be taken away meanwhile.
                    step = replace(command, body={"scan": token, "piece": number})
                    batch, said = self._read(context, step, None)
        finally:
            self._service.scans.end(token, read_target(Arrived(command.path, {}, None)))

    def list_flights(self, context: Any, criteria: bytes) -> Iterator[Any]:
        """Return the collections of the caller's tenants as flights."""
        with flight_errors():
            if len(criteria) > _SHORT_BYTES:
                raise InvalidArgumentError("Criteria of flights are a tenant and a database")
            tenants, database = read_criteria(criteria, self._identify(context))
            return iter(list(flights(self._asking(context), tenants, database)))

    def get_flight_info(self, context: Any, descriptor: Any) -> Any:
        """Return the flight of a path."""
        with flight_errors():
            self._identify(context)
            return flight_of_path(self._asking(context), descriptor.path or [])

    def _asking(self, context: Any) -> Callable[[str, Target, Request | None], Any]:
        """Return a function that carries out operations for a caller."""

        def ask(name: str, target: Target, request: Request | None) -> Any:
            operation = OPERATIONS[name]

            def work(identity: Identity, state: CallState) -> Any:
                return self._service.answer(
                    operation, target, request, identity, state.who(identity)
                )

            return self._carry_out(context, "flights", operation, {"tenant": target.tenant}, work)

        return ask

    def do_exchange(self, context: Any, descriptor: Any, reader: Any, writer: Any) -> None:
        """Answer each `get` or `query` of a stream, one after the other."""
        with flight_errors(), self._refusals_noted(context, "flight_stream"):
            who = state_of(context).who(self._identify(context))
            if descriptor.command not in (b"", b"{}", None):
                raise InvalidArgumentError(
                    "The descriptor of an exchange has no command: one goes with each batch, as its metadata"
                )
            if not self._streams.take(who):
                raise busy("it has as many streams open as it may (Settings.server_max_streams)")
        slot = state_of(context).slot
        assert slot is not None
        slot.give_back()
        try:
            writer.begin(ANSWER)
            with flight_errors():
                Questions(
                    partial(self._answer_all, context, reader, writer),
                    partial(self._send_late, context, writer),
                ).run()
        finally:
            self._streams.give_back(who)

    def _answer_all(self, context: Any, reader: Any, writer: Any, questions: Questions) -> None:
        state = state_of(context)
        self._loop_calls.answered(state)
        for chunk in chunks(reader):
            # A credential may have been taken away since the last question.
            state.identity = None
            question = questions.next()
            batch, metadata, in_pieces = None, b"", False
            try:
                command = self._command(context, bytes(chunk.app_metadata or b""))
                if chunk.data is not None and chunk.data.nbytes > self._bodies.max_body:
                    raise too_large("The queries take", self._bodies.max_body)
                batch, said = self._read(context, command, chunk.data, question)
                metadata, in_pieces = dumps({"status": 200, **said}), command.pieces
            except Failed as failed:
                # The stream goes on.
                metadata = failed.with_status
            except ChromaError as error:
                metadata = Failed.of(error).with_status
            if question.is_late:
                # It is answered already, and another thread reads on.
                return
            try:
                _send(writer, batch, metadata, in_pieces)
            except (pa.ArrowException, OSError):
                # The client has gone, which is nobody's fault.
                return
            self._loop_calls.answered(state)
            if self._service.stopping:
                return

    def _send_late(self, context: Any, writer: Any, answer: bytes) -> None:
        """Send the answer to a question that takes too long."""
        # The client may have gone, which is nobody's fault.
        with contextlib.suppress(pa.ArrowException, OSError):
            writer.write_metadata(pa.py_buffer(answer))
        self._loop_calls.answered(state_of(context))

    def _read(
        self,
        context: Any,
        command: Command,
        data: Any,
        question: Question | None = None,
    ) -> tuple[Any, dict[str, Any]]:
        """Return an answer as a batch (None: there are no records), and what is said beside it."""
        operation = _known(command, READS)
        endpoint = ENDPOINTS[ROUTE_OF[operation.name].name]

        def work(identity: Identity, state: CallState) -> tuple[Any, dict[str, Any]]:
            with WORKSPACE.holding_answers(_ANSWER_TIMES, lambda: self._service.stopping):
                body = command.body if command.body is not None else {}
                if operation.name == "query" and isinstance(body, dict):
                    body = {**body, "query_embeddings": []}
                assert endpoint.body is not None
                arrived = Arrived(command.path, command.query, endpoint.body.model_validate(body))
                request: Any = read_request(operation, arrived)
                if isinstance(request, Get):
                    request = replace(request, columns=True)
                if isinstance(request, Query) and data is not None:
                    if data.schema.names != ["embedding"]:
                        raise InvalidArgumentError(
                            f"Expected queries with one column 'embedding', got {data.schema.names}"[
                                :300
                            ]
                        )
                    vectors, given = from_lists(
                        checked(data).column("embedding"), "query_embeddings", InvalidArgumentError
                    )
                    if given is not None:
                        raise InvalidArgumentError("Expected query_embeddings without missing ones")
                    request = replace(request, embeddings=validation.check_embeddings(vectors))
                found = self._service.answer(
                    operation, read_target(arrived), request, identity, state.who(identity)
                )
                if isinstance(found, ScanAnswer):
                    return write_scan_answer(found)
                return (write_matches if isinstance(found, Matches) else write_piece)(found), {}

        return self._carry_out(
            context,
            operation.name,
            operation,
            command.path,
            work,
            question=question,
        )

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
                if len(data) > _SHORT_BYTES:
                    raise InvalidArgumentError(f"{name} has no arguments")
            else:
                if len(data) > self._bodies.max_body:
                    raise too_large("The command takes", self._bodies.max_body)
                self._identify(context)
            return Command.from_bytes(data, name)

    @contextlib.contextmanager
    def _refusals_noted(self, context: Any, name: str) -> Iterator[None]:
        """Count and log what is refused before it is known what is asked.

        Args:
            context: The call's.
            name: What it is called in metrics and log.

        Raises:
            Failed: What a client learns of it.
        """
        started = time.perf_counter()
        try:
            yield
        except Exception as error:
            trace_id = state_of(context).trace_id
            failed = self._failure(error, name, trace_id)
            seconds = time.perf_counter() - started
            self._service.note(name, "flight", failed.status, seconds, trace_id)
            raise failed from None

    def _identify(self, context: Any) -> Identity:
        """Return who asks; `_carry_out` does not find it out once more.

        Raises:
            AuthorizationError: The credentials are missing or not known.
            Refused: The server is stopping, or the client has gone.
        """
        state = state_of(context)
        found = state.identity or self._service.authenticator.identify(state.headers)
        if not isinstance(found, Identity):
            # A password is checked in its turn.
            found = self._loop_calls.run(
                state,
                lambda: self._service.identify(
                    state.headers, state.address, check_connected(context)
                ),
            )
        state.identity = found
        return found

    def _carry_out(
        self,
        context: Any,
        method: str,
        operation: Operation,
        path: Mapping[str, str],
        work: Callable[[Identity, CallState], T],
        *,
        is_noted: bool = True,
        question: Question | None = None,
    ) -> T:
        """Check that the caller may do this, and do it in a thread of the service; a question of a stream in this thread.

        Args:
            context: The call's.
            method: How the log names the way that it came.
            operation: What it is.
            path: What it is about.
            work: The function that does it.
            is_noted: Count and log it also where nothing went wrong.
            question: One of a stream; None: it is not.

        Raises:
            Failed: What a client learns of what went wrong.
        """
        state = state_of(context)
        started = time.perf_counter()
        who = [ANONYMOUS]
        known, state.identity = state.identity, None

        async def serve() -> T:
            if operation.scope != "open":
                who[0] = known or await self._service.identify(
                    state.headers, state.address, check_connected(context)
                )
                self._service.check_scope(operation, path.get("tenant", ""), who[0])
            identity = who[0]
            return await self._service.run(
                operation, state.who(identity), lambda: work(identity, state)
            )

        def answer(question: Question) -> T:
            self._loop_calls.begin(state)
            identity = who[0] = known or self._identify(context)
            self._service.check_scope(operation, path.get("tenant", ""), identity)
            question.begin(self._service.seconds_for(operation), late_answer)
            return self._service.run_here(
                operation, state.who(identity), lambda: work(identity, state)
            )

        def late_answer() -> bytes:
            late = Failed.of(too_long(self._service.seconds_for(operation)))
            note(late)
            return late.with_status

        def note(failed: Failed | None) -> None:
            self._service.note(
                operation.name,
                f"flight {method}",
                200 if failed is None else failed.status,
                time.perf_counter() - started,
                state.trace_id,
                user=who[0].name,
                tenant=path.get("tenant", ""),
            )

        failed: Failed | None = None
        try:
            return self._loop_calls.run(state, serve) if question is None else answer(question)
        except Exception as error:
            failed = self._failure(error, operation.name, state.trace_id)
            raise failed from None
        finally:
            is_asked = question is None or question.end()
            if is_asked and (is_noted or failed is not None):
                note(failed)

    def _failure(self, error: Exception, name: str, trace_id: str) -> Failed:
        try:
            if isinstance(error, Failed):
                return error
            if not isinstance(error, Refused):
                return Failed(*self._requests.failure(error, name, trace_id))
        except Refused as refused:
            error = refused
        return Failed.of(error)


def _send(writer: Any, batch: Any, metadata: bytes, in_pieces: bool) -> None:
    """Send an answer.

    Args:
        writer: Of the stream.
        batch: Its records; None: it has none.
        metadata: What is said beside it.
        in_pieces: Whether it may go in several batches.
    """
    if batch is None:
        writer.write_metadata(pa.py_buffer(metadata))
        return
    batch, start = as_answer(batch), 0
    n_bytes = batch.get_total_buffer_size()
    if in_pieces and n_bytes > _PIECE_BYTES:
        n_rows = max(1, batch.num_rows * _PIECE_BYTES // n_bytes)
        while batch.num_rows - start > n_rows:
            writer.write_with_metadata(batch.slice(start, n_rows), pa.py_buffer(MORE))
            start += n_rows
    writer.write_with_metadata(batch.slice(start), pa.py_buffer(metadata))


def _known(command: Command, names: Collection[str]) -> Operation:
    """Return the operation that a command names, one of `names`.

    Raises:
        InvalidArgumentError: It names another, or its path lacks something.
    """
    if command.operation not in names:
        raise InvalidArgumentError(
            f"Expected one of {', '.join(names)}, got {command.operation!r:.80}"
        )
    needed = ROUTE_OF[command.operation].parameters
    missing = [name for name in needed if name not in command.path]
    if missing:
        raise InvalidArgumentError(
            f"{command.operation} needs a path with {', '.join(needed)}; missing: {', '.join(missing)}"
        )
    return OPERATIONS[command.operation]
