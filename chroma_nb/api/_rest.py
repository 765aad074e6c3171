"""`RestAPI`: carries what `RemoteAPI` asks for over HTTP, by Chroma's REST API v2."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from chroma_nb.api.remote import RemoteAPI
from chroma_nb.errors import ChromaError
from chroma_nb.wire.answers import UNUSABLE
from chroma_nb.wire.operations import LONG_SECONDS, OPERATIONS
from chroma_nb.wire.rest import ROUTE_OF
from chroma_nb.wire.rest_answers import read_answer
from chroma_nb.wire.rest_requests import Base64, write_request

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chroma_nb.api._http import ServerConnection
    from chroma_nb.settings import Settings
    from chroma_nb.wire.operations import Operation
    from chroma_nb.wire.requests import Request, Target
    from chroma_nb.wire.server_info import ServerInfo

#: Bytes of a float32 as JSON: base64 is 4/3 of its bytes, a number has up to 22 characters.
_BASE64_BYTES = 6
_NUMBER_BYTES = 22


@contextlib.contextmanager
def reading_answers(http: ServerConnection) -> Iterator[None]:
    """Turn errors of reading a server's answer into one error that says that the answer cannot be used."""
    n_answers = http.n_answers
    try:
        yield
    except UNUSABLE as error:
        # Without an answer since, nothing of it was read.
        if isinstance(error, ChromaError) or http.n_answers == n_answers:
            raise
        raise http.unusable(error) from error


class RestAPI(RemoteAPI):
    """Asks chroma_nb's own server; `ChromaServer` overrides what Chroma's server does otherwise.

    Args:
        settings: `progress` is used.
        http: The connection.
        server: The server's name, version and limits.
    """

    def __init__(self, settings: Settings, http: ServerConnection, server: ServerInfo) -> None:
        super().__init__(settings, http.url, server)
        self._http = http
        self._base64 = Base64()
        self._float_bytes = _BASE64_BYTES if server.base64 else _NUMBER_BYTES

    def _call(self, operation: Operation, target: Target, request: Request | None) -> Any:
        route = ROUTE_OF[operation.name]
        sent = write_request(operation, target, request, self._base64)
        with reading_answers(self._http):
            found = self._http.request(
                route.method,
                route.filled(sent.path),
                sent.body,
                params=sent.params,
                safe=operation.may_repeat(request),
                seconds=LONG_SECONDS if operation.long else None,
            )
            if operation.name == "modify":
                # Its route answers with an empty object, as Chroma's does.
                return self._call(OPERATIONS["get_collection_by_id"], target, None)
            return read_answer(operation, found, request)

    def close(self) -> None:
        super().close()
        self._http.close()
