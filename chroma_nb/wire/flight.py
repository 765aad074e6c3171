"""What Arrow Flight's calls mean here: commands, tickets and errors, which client and server both read.

* An action's type is an operation's name; its body and its result are JSON of the REST API.
* `DoPut`: the descriptor's command names ``add``, ``update`` or ``upsert``; the records come as batches, the
  last of which has the metadata `COMMIT`. One put is one commit.
* `DoExchange`: each batch of the client is a `get`, a `query` or a step of a `scan`, named by its application metadata; each has one
  answer, which is one batch, or several where the command says that they may be.
* `DoGet`: a ticket names a `get`, which is answered by one batch, or begins a `scan`, which is answered by one for each piece.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.flight as fl

from chroma_nb.errors import ChromaError, InvalidArgumentError
from chroma_nb.wire.arrow import variable_lists
from chroma_nb.wire.errors import error_from_json
from chroma_nb.wire.text import NoJsonError, dumps, loads

if TYPE_CHECKING:
    from collections.abc import Mapping

#: gRPC sends an error among the headers of an answer, which may be 8 KiB together.
_MOST_EXTRA_BYTES = 4_096
#: Characters of an error's message among them.
_MOST_CHARACTERS = 1_000
#: JSON values of a command, which has the ids and the filters of a request, but no records.
_MOST_VALUES = 1 << 20
#: HTTP status -> Flight's nearest error. Others are a `FlightServerError`.
_KINDS = {
    401: fl.FlightUnauthenticatedError,
    403: fl.FlightUnauthorizedError,
    503: fl.FlightUnavailableError,
    504: fl.FlightTimedOutError,
}
#: Operations whose records come by `DoPut`, and those that `DoExchange` and `DoGet` answer by batches.
WRITES = ("add", "update", "upsert")
READS = ("get", "query", "scan")
#: The metadata of the last batch of a put, or of a message after it. A client that is interrupted, or whose script fails, ends
#: its stream like one that has sent everything, so the end of a stream alone commits nothing.
COMMIT = b"commit"
#: The metadata of each batch of an answer but the last, where it comes in several.
MORE = b'{"status":200,"more":true}'
#: Schema of the server's half of a `DoExchange`, for all answers of a stream. A column that was not asked for is null.
ANSWER = pa.schema(
    [
        ("query", pa.int32()),
        ("id", pa.string()),
        ("distance", pa.float32()),
        ("embedding", pa.list_(pa.float32())),
        ("document", pa.string()),
        ("uri", pa.string()),
        ("metadata", pa.string()),
    ]
)
#: Schema of the client's half: the embeddings of queries.
QUESTION = pa.schema([("embedding", pa.list_(pa.float32()))])


@dataclass(frozen=True)
class Command:
    """A request beside its batches: the operation, and the parts of a request of the REST API.

    Args:
        operation: Its name.
        path: The path's parameters.
        query: The query string.
        body: The JSON body, without embeddings that come as batches; None: it has none.
        pieces: The answer may come in several batches.
    """

    operation: str
    path: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    pieces: bool = False

    def to_bytes(self) -> bytes:
        """Return it as it is sent."""
        given: dict[str, Any] = {"operation": self.operation, "path": dict(self.path)}
        if self.query:
            given["query"] = dict(self.query)
        if self.body is not None:
            given["body"] = self.body
        if self.pieces:
            given["pieces"] = True
        return dumps(given)

    @classmethod
    def from_bytes(cls, data: bytes, operation: str | None = None) -> Command:
        """Read one.

        Args:
            data: JSON.
            operation: Its operation, where it is named beside it.

        Raises:
            InvalidArgumentError: It is none.
        """
        try:
            found = loads(data or b"{}", _MOST_VALUES)
        except (NoJsonError, ValueError) as error:
            raise InvalidArgumentError(
                f"Failed to parse the command as JSON: {error}"[:300]
            ) from None
        if not isinstance(found, dict):
            raise InvalidArgumentError("Expected a command that is a JSON object")
        operation = found.get("operation") if operation is None else operation
        path, query = found.get("path", {}), found.get("query", {})
        if not isinstance(operation, str) or not _is_texts(path) or not _is_texts(query):
            raise InvalidArgumentError(
                'Expected a command such as {"operation": "get", "path": {"tenant": ..., "database": ..., '
                '"collection_id": ...}, "query": {}, "body": {}}, all values of path and query texts'
            )
        pieces = found.get("pieces") is True
        return cls(operation, path, query, found.get("body"), pieces)


def _is_texts(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(one, str) for one in value.values())


def flight_error(status: int, body: bytes) -> Exception:
    """Return Flight's error for an answer that reports one.

    Args:
        status: As of HTTP, 400 or above.
        body: The error as JSON.
    """
    found = loads(body, _MOST_VALUES)
    message = str(found.get("message", ""))
    extra = dumps({"status": status, **found})
    if len(extra) > _MOST_EXTRA_BYTES:
        # The ids of damaged records, as many as go in.
        cut = {**found, "status": status, "message": message[:_MOST_CHARACTERS], "ids": []}
        for one in found.get("ids", []):
            if len(dumps(cut)) + len(one.encode()) + 8 > _MOST_EXTRA_BYTES:
                break
            cut["ids"].append(one)
        extra = dumps(cut)
    kind = _KINDS.get(status, fl.FlightServerError)
    shown = f"{found.get('kind') or found.get('error')}: {message}"[:_MOST_CHARACTERS]
    error: Exception = kind(shown.encode("ascii", "replace").decode(), extra)
    return error


def error_from_flight(error: Any) -> tuple[int, ChromaError] | None:
    """Return the status and the exception that a server of ours said; None where the error is not one of its."""
    return error_from_bytes(bytes(getattr(error, "extra_info", b"") or b""))


def error_from_bytes(data: bytes) -> tuple[int, ChromaError] | None:
    """Return the status and the exception of an error with its status, as JSON; None where it is none."""
    try:
        found = loads(data, _MOST_VALUES)
    except ValueError:
        return None
    if not isinstance(found, dict) or type(found.get("status")) is not int:
        return None
    status: int = found["status"]
    return None if status < 400 else (status, error_from_json(status, found))


def as_answer(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Return a batch with the columns of `ANSWER`."""
    given = dict(zip(batch.schema.names, batch.columns, strict=True))
    if "embedding" in given:
        given["embedding"] = variable_lists(given["embedding"].flatten(), batch.num_rows)
    columns = [
        given[one.name] if one.name in given else pa.nulls(batch.num_rows, one.type)
        for one in ANSWER
    ]
    return pa.RecordBatch.from_arrays(columns, schema=ANSWER)
