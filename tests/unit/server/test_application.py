"""The application without a socket: what a request gets before and after the service."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

import chroma_nb
from chroma_nb.errors import AuthorizationError, NotFoundError
from chroma_nb.server.application import RestApplication, answer_of, make_application
from chroma_nb.server.refusals import busy
from chroma_nb.server.service import Service

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chroma_nb.api.base import API

PLACE = "/api/v2/tenants/default_tenant/databases/default_database"


class Asked:
    """Asks an ASGI application as a server would, one request at a time."""

    def __init__(self, api: API, **values: Any) -> None:
        self.service = Service(api, chroma_nb.Settings(server_threads=1, **values))
        self._app = make_application(RestApplication(self.service))

    def __call__(
        self, method: str, path: str, body: bytes = b"", **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        """Return the status, the headers and the body of an answer."""
        sent: list[Any] = []
        given = {"host": "localhost", **headers}
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "root_path": "",
            "headers": [
                (name.replace("_", "-").encode(), value.encode()) for name, value in given.items()
            ],
            "client": ("127.0.0.1", 5),
            "server": ("127.0.0.1", 80),
            "state": {},
        }

        async def receive() -> Any:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        asyncio.run(self._app(scope, receive, send))
        found = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
        return sent[0]["status"], found, b"".join(message["body"] for message in sent[1:])


@pytest.fixture
def asked(api: API) -> Iterator[Asked]:
    asked = Asked(api)
    yield asked
    asked.service.close()


JSON = "application/json"


def test_a_collection_is_made_and_found(asked: Asked) -> None:
    status, _, body = asked("POST", f"{PLACE}/collections", b'{"name": "notes"}', content_type=JSON)
    assert status == 200, body
    status, _, body = asked("GET", f"{PLACE}/collections/notes")
    assert (status, json.loads(body)["name"]) == (200, "notes")


def test_an_answer_names_the_trace_of_its_request(asked: Asked) -> None:
    _, headers, _ = asked("GET", "/api/v2/heartbeat", chroma_trace_id="my-trace-1")
    assert headers["chroma-trace-id"] == "my-trace-1"


@pytest.mark.parametrize(
    ("body", "kind", "status", "words"),
    [
        (b'{"name": "notes"}', "text/plain", 415, "Expected the content type application/json"),
        (b"{", JSON, 400, "Failed to parse the request body as JSON"),
        (b"{}", JSON, 422, "missing field `name`"),
        (b'{"name": 1}', JSON, 422, "name: "),
    ],
)
def test_a_body_that_cannot_be_used(
    asked: Asked, body: bytes, kind: str, status: int, words: str
) -> None:
    found, _, answer = asked("POST", f"{PLACE}/collections", body, content_type=kind)
    assert found == status
    assert words in json.loads(answer)["message"]


def test_paths_that_do_not_exist(asked: Asked) -> None:
    assert asked("GET", "/api/v2/nothing")[::2] == (404, b"")
    assert asked("PATCH", "/api/v2/heartbeat")[::2] == (405, b"")
    status, _, body = asked("GET", "/api/v1/collections")
    assert (status, json.loads(body)["error"]) == (410, "Unimplemented")


def test_a_server_that_stops_is_not_ready(asked: Asked) -> None:
    assert asked("GET", "/api/v2/healthcheck")[0] == 200
    asked.service.begin_stop()
    assert asked("GET", "/api/v2/healthcheck")[0] == 503
    status, headers, _ = asked("GET", f"{PLACE}/collections")
    assert (status, headers["retry-after"]) == (503, "1")


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:8000", "127.0.0.1:8000", "[::1]:8000", "10.0.0.7"]
)
def test_without_authentication_localhost_and_addresses_are_answered(
    asked: Asked, host: str
) -> None:
    assert asked("GET", "/api/v2/heartbeat", host=host)[0] == 200


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "127.0.0.1.evil:80"])
def test_a_foreign_name_of_this_machine_is_refused(asked: Asked, host: str) -> None:
    status, _, body = asked("GET", "/api/v2/heartbeat", host=host)
    assert (status, "this server answers to localhost" in body.decode()) == (403, True)


def test_pages_of_another_origin_may_ask_where_they_are_named(asked: Asked, api: API) -> None:
    assert asked("GET", "/api/v2/heartbeat", origin="https://page.example")[0] == 403
    assert asked("GET", "/api/v2/heartbeat", origin="http://localhost")[0] == 200
    named = Asked(api, server_cors_origins="https://page.example, https://other.example")
    try:
        status, headers, _ = named("GET", "/api/v2/heartbeat", origin="https://page.example")
        assert headers["access-control-allow-origin"] == "https://page.example"
        assert status == 200
    finally:
        named.service.close()


def test_an_error_is_an_answer() -> None:
    status, body, headers = answer_of(NotFoundError("no"))
    assert (status, json.loads(body)["message"], headers) == (404, "no", {})
    assert answer_of(busy("it is stopping"))[::2] == (503, {"Retry-After": "1"})
    _, _, headers = answer_of(AuthorizationError("who?"))
    assert headers == {"WWW-Authenticate": 'Bearer realm="chroma_nb"'}
