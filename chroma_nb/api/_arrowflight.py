"""`ArrowFlight`: carries what `RemoteAPI` asks for over Arrow Flight, to chroma_nb's own server."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.flight as fl

from chroma_nb.api._flight_connection import ErrorOnStream, FlightConnection, NoStreamError
from chroma_nb.api.address import refused
from chroma_nb.api.remote import RemoteAPI
from chroma_nb.errors import AuthorizationError, ChromaAuthError, ChromaError
from chroma_nb.wire.answers import UNUSABLE, AnswerError, check_page
from chroma_nb.wire.arrow import read_matches, read_records, variable_lists, write_records
from chroma_nb.wire.arrow_columns import from_numbers
from chroma_nb.wire.arrow_scan import read_scan_answer
from chroma_nb.wire.flight import COMMIT, QUESTION, READS, Command, error_from_bytes
from chroma_nb.wire.operations import LONG_SECONDS, OPERATIONS
from chroma_nb.wire.requests import Get, Query, ScanStep, Write
from chroma_nb.wire.rest import ROUTE_OF
from chroma_nb.wire.rest_answers import read_answer
from chroma_nb.wire.rest_requests import write_request

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chroma_nb.settings import Settings
    from chroma_nb.wire.operations import Operation
    from chroma_nb.wire.requests import Request, Target
    from chroma_nb.wire.server_info import ServerInfo


class ArrowFlight(RemoteAPI):
    """Asks chroma_nb's own server over Arrow Flight.

    Args:
        settings: `progress` is used.
        flight: The connection.
        server: The server's name, version and limits.
    """

    def __init__(self, settings: Settings, flight: FlightConnection, server: ServerInfo) -> None:
        super().__init__(settings, flight.url, server)
        self._flight = flight

    @classmethod
    def open(cls, settings: Settings) -> ArrowFlight:
        """Return the API of the server at `Settings.url`.

        Raises:
            ServerUnavailableError: No chroma_nb server answers at that address.
            AuthorizationError, ChromaAuthError: It refuses what was shown to it.
        """
        flight = FlightConnection(settings)
        try:
            server = _act(flight, OPERATIONS["get_max_batch_size"], {}, None, None)
            _act(flight, OPERATIONS["get_user_identity"], {}, None, None)
        except (AuthorizationError, ChromaAuthError) as error:
            flight.close()
            raise refused(flight.url, flight.shows_credentials, error) from None
        except BaseException:
            flight.close()
            raise
        flight.is_known = True
        return cls(settings, flight, server)

    def _call(self, operation: Operation, target: Target, request: Request | None) -> Any:
        if isinstance(request, Write):
            return self._put(operation, target, request)
        if operation.name in READS and not (isinstance(request, ScanStep) and request.close):
            return self._read(operation, target, request)
        sent = write_request(operation, target, request)
        path, query = _path_and_query(operation, sent.path, sent.params)
        found = _act(self._flight, operation, path, query, sent.body, request)
        if operation.name == "modify":
            # Its route answers with an empty object, as Chroma's does.
            return self._call(OPERATIONS["get_collection_by_id"], target, None)
        return found

    def _put(self, operation: Operation, target: Target, request: Write) -> None:
        """Send records: one put is one commit."""
        sent = write_request(operation, target, replace(request, batch=request.batch.at([])))
        path, query = _path_and_query(operation, sent.path, sent.params)
        descriptor = fl.FlightDescriptor.for_command(
            Command(operation.name, path, query).to_bytes()
        )
        batch = write_records(request.batch, request.batch.embedded)

        def put(worker: Any, seconds: float) -> Iterator[None]:
            writer, reader = self._flight.client.do_put(
                descriptor, batch.schema, self._flight.options(seconds)
            )
            try:
                writer.write_with_metadata(batch, COMMIT)
                writer.done_writing()
                if reader.read() is None:
                    raise AnswerError("a write that was not acknowledged")
            finally:
                # The server's error comes here.
                writer.close()
            yield None

        try:
            self._flight.call(put, safe=operation.may_repeat(request))
        except AnswerError as error:
            raise self._flight.unusable(error) from None

    def _read(self, operation: Operation, target: Target, request: Any) -> Any:
        """Ask on the thread's stream, and return records, matches or a piece of a scan."""
        batch, following = None, b""
        if isinstance(request, Query):
            flat = from_numbers(request.embeddings.reshape(-1))
            column = variable_lists(flat, len(request.embeddings))
            batch = pa.RecordBatch.from_arrays([column], schema=QUESTION)
            sent = write_request(
                operation, target, replace(request, embeddings=np.empty((0, 0), np.float32))
            )
        else:
            sent = write_request(operation, target, request)
        path, _ = _path_and_query(operation, sent.path, None)
        command = Command(operation.name, path, {}, sent.body, isinstance(request, Get)).to_bytes()
        if isinstance(request, ScanStep) and request.scan:
            step = replace(request, piece=request.piece + 1)
            body = write_request(operation, target, step).body
            following = Command(operation.name, path, {}, body).to_bytes()

        def ask(worker: Any, seconds: float) -> Iterator[tuple[Any, bytes]]:
            found: Iterator[tuple[Any, bytes]] = worker.exchange(batch, command, following)
            return found

        def read(pieces: Iterator[tuple[Any, bytes]]) -> Any:
            if isinstance(request, Get):
                records = read_records(itertools.starmap(_records_of, pieces), request.include)
                check_page(records.ids, None, ids=request.ids, limit=request.limit)
                return records
            found, said = next(pieces)
            if isinstance(request, ScanStep):
                if found is None:
                    _check_error(said)
                return read_scan_answer(found, said, request)
            return read_matches(_records_of(found, said), request.include, len(request.embeddings))

        try:
            return self._flight.call(ask, safe=operation.may_repeat(request), read=read)
        except NoStreamError:
            # Without a stream, as JSON like any other operation.
            sent = write_request(operation, target, request)
            path, query = _path_and_query(operation, sent.path, sent.params)
            return _act(self._flight, operation, path, query, sent.body, request)
        except UNUSABLE as error:
            if isinstance(error, ChromaError):
                raise
            raise self._flight.unusable(error) from error

    def close(self) -> None:
        super().close()
        self._flight.close()


def _records_of(batch: Any, said: bytes) -> Any:
    """Return the batch of an answer.

    Raises:
        ErrorOnStream: It is an error.
        ValueError: It has none.
    """
    if batch is None:
        _check_error(said)
        raise ValueError("an answer without records")
    return batch


def _check_error(said: bytes) -> None:
    error = error_from_bytes(said)
    if error is not None:
        raise ErrorOnStream(*error)


def _path_and_query(
    operation: Operation, path: dict[str, str], params: dict[str, Any] | None
) -> tuple[dict[str, str], dict[str, str]]:
    """Return the path's parameters that the operation has, and the query string's as texts."""
    names = ROUTE_OF[operation.name].parameters
    query = {name: str(value) for name, value in (params or {}).items() if value is not None}
    return {name: text for name, text in path.items() if name in names}, query


def _act(
    flight: FlightConnection,
    operation: Operation,
    path: dict[str, str],
    query: dict[str, str] | None,
    body: Any,
    request: Request | None = None,
) -> Any:
    """Ask for an operation by an action, and return what it answers."""
    action = fl.Action(operation.name, Command(operation.name, path, query or {}, body).to_bytes())

    def act(worker: Any, seconds: float) -> Iterator[bytes]:
        # One more is looked for, for its error; not all of them, as there may be no end.
        results = list(
            itertools.islice(flight.client.do_action(action, flight.options(seconds)), 2)
        )
        if len(results) != 1:
            raise AnswerError(f"{len(results)} results where one was asked for")
        yield results[0].body.to_pybytes()

    try:
        answer = flight.call(
            act,
            safe=operation.may_repeat(request),
            seconds=LONG_SECONDS if operation.long else None,
        )
        return read_answer(operation, flight.json(answer), request)
    except UNUSABLE as error:
        if isinstance(error, ChromaError):
            raise
        raise flight.unusable(error) from error
