"""`JsonRequests`: carries out requests that come as JSON of the REST API, whichever transport brings them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pydantic

from chroma_nb.memory.workspace import WORKSPACE
from chroma_nb.server import schemas
from chroma_nb.server.limits import check_n_records
from chroma_nb.server.refusals import Refused
from chroma_nb.wire.errors import error_to_json
from chroma_nb.wire.rest_answers import write_answer
from chroma_nb.wire.rest_requests import Arrived, read_request, read_target
from chroma_nb.wire.text import dumps

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from chroma_nb.server.auth import Identity
    from chroma_nb.server.bodies import Bodies
    from chroma_nb.server.endpoints import Endpoint
    from chroma_nb.server.service import Service

#: An answer's JSON takes about as much memory as its objects, and both exist at the same time.
_JSON_TIMES = 2.0


class JsonRequests:
    """Reads requests, has a service answer them, and writes the answers. Called by worker threads.

    Args:
        service: What answers.
        bodies: Counts the memory of what is parsed.
    """

    def __init__(self, service: Service, bodies: Bodies) -> None:
        self._service = service
        self._bodies = bodies

    def execute(
        self,
        endpoint: Endpoint,
        path: Mapping[str, str],
        query: Mapping[str, str],
        identity: Identity,
        take_body: Callable[[], bytes],
        trace_id: str,
        who: str = "",
    ) -> tuple[int, bytes]:
        """Return the status and the body of an answer.

        Args:
            endpoint: What is asked for.
            path: The path's parameters.
            query: The query string.
            identity: Who asks.
            take_body: Returns the request's body, which is in nobody else's hands then.
            trace_id: The request's.
            who: The client in whose share it counts.

        Raises:
            Refused: It cannot be answered now.
        """
        try:
            # Memory for the answer's objects and for the JSON that is made of them.
            with WORKSPACE.holding_answers(_JSON_TIMES, lambda: self._service.stopping):
                data = take_body()
                with self._bodies.parsing(data):
                    parsed = None
                    if endpoint.body is not None:
                        parsed = endpoint.body.model_validate_json(data or b"{}")
                    # The parsed values take its place in the memory that was granted.
                    del data
                    with self._bodies.writing(*_texts_to_write(parsed)):
                        answer = self._answer(endpoint, Arrived(path, query, parsed), identity, who)
                        return endpoint.status, dumps(answer)
        except Refused:
            raise
        except Exception as error:
            return self.failure(error, endpoint.route.name, trace_id)

    def failure(self, error: Exception, name: str, trace_id: str) -> tuple[int, bytes]:
        """Return the status and the body of the answer that reports an error.

        Args:
            error: What was raised.
            name: The operation, as the log names it.
            trace_id: The request's.

        Raises:
            Refused: The request cannot be answered now.
        """
        if isinstance(error, pydantic.ValidationError):
            return _wrong_body(error)
        shown = self._service.error_for_client(error, name, trace_id)
        if isinstance(shown, Refused):
            raise shown from error
        status, answer = error_to_json(shown)
        return status, dumps(answer)

    def _answer(self, endpoint: Endpoint, arrived: Arrived, identity: Identity, who: str) -> Any:
        """Return the answer to a request as JSON values."""
        operation = endpoint.route.operation
        if isinstance(arrived.body, schemas.NewRecords | schemas.RecordChanges):
            # Before anything is made of them.
            check_n_records(self._service.settings, len(arrived.body.ids))
        target = read_target(arrived)
        request = read_request(operation, arrived)
        return write_answer(
            endpoint.route.name,
            self._service.answer(operation, target, request, identity, who),
            request,
            target,
            base64=arrived.query.get("embeddings") == "base64",
        )


def _texts_to_write(body: schemas.Body | None) -> tuple[Sequence[Any] | None, ...]:
    """Return the columns of texts and metadata that a request will write."""
    if not isinstance(body, schemas.NewRecords | schemas.RecordChanges):
        return ()
    return body.documents, body.uris, body.metadatas


def _wrong_body(error: pydantic.ValidationError) -> tuple[int, bytes]:
    """Return the status and the body that Chroma answers to a body that is no JSON or has a wrong field."""
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    if first["type"] == "json_invalid":
        message = f"Failed to parse the request body as JSON: {first['msg']}"
        return 400, dumps({"error": "InvalidArgumentError", "message": message})
    place = ".".join(str(part)[:60] for part in first["loc"])
    what = f"missing field `{place}`" if first["type"] == "missing" else f"{place}: {first['msg']}"
    message = f"Failed to deserialize the JSON body into the target type: {what}"
    return 422, dumps({"error": "ChromaError", "message": message})
