"""`JsonRequests`: the status and the body of an answer, whichever transport asks."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

import chroma_nb
from chroma_nb import Settings
from chroma_nb.errors import NotFoundError
from chroma_nb.server.auth import ANONYMOUS, Identity
from chroma_nb.server.bodies import Bodies
from chroma_nb.server.endpoints import ENDPOINTS
from chroma_nb.server.json_requests import JsonRequests
from chroma_nb.server.refusals import Refused, busy
from chroma_nb.server.service import Service

if TYPE_CHECKING:
    from collections.abc import Iterator

PLACE = {"tenant": "default_tenant", "database": "default_database"}


@pytest.fixture
def requests() -> Iterator[JsonRequests]:
    with chroma_nb.EphemeralClient(Settings(allow_reset=True)) as client:
        client.reset()
        service = Service(client.api, Settings(server_max_batch_size=2))
        yield JsonRequests(service, Bodies(1_000_000, 10.0))
        service.close()


def ask(
    requests: JsonRequests,
    name: str,
    path: dict[str, str],
    body: Any = None,
    who: Identity = ANONYMOUS,
) -> tuple[int, Any]:
    data = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    status, content = requests.execute(ENDPOINTS[name], path, {}, who, lambda: data, "trace")
    return status, json.loads(content)


def test_an_answer(requests: JsonRequests) -> None:
    status, made = ask(requests, "create_collection", PLACE, {"name": "notes"})
    assert (status, made["name"]) == (200, "notes")
    path = {**PLACE, "collection_id": made["id"]}
    records = {"ids": ["a", "b"], "embeddings": [[1.0], [2.0]]}
    assert ask(requests, "add", path, records)[0] in (200, 201)
    assert ask(requests, "count", path) == (200, 2)


@pytest.mark.parametrize(
    ("name", "body", "status", "error"),
    [
        ("create_collection", b"{", 400, "InvalidArgumentError"),
        ("create_collection", {}, 422, "ChromaError"),
        ("create_collection", {"name": "a"}, 400, "InvalidArgumentError"),
        ("get_tenant", None, 404, "NotFoundError"),
    ],
)
def test_an_error(requests: JsonRequests, name: str, body: Any, status: int, error: str) -> None:
    found = ask(requests, name, {**PLACE, "tenant": "nobody"} if body is None else PLACE, body)
    assert (found[0], found[1]["error"]) == (status, error)


def test_too_many_records_are_refused_before_they_are_looked_at(requests: JsonRequests) -> None:
    _, made = ask(requests, "create_collection", PLACE, {"name": "notes"})
    many = {"ids": ["a", "b", "c"], "embeddings": [[1.0], "nonsense", [2.0]]}
    many["embeddings"] = [[1.0], [2.0, 3.0], [2.0]]
    status, said = ask(requests, "add", {**PLACE, "collection_id": made["id"]}, many)
    assert status == 413
    assert "server_max_batch_size" in said["message"]


def test_another_tenant_is_refused(requests: JsonRequests) -> None:
    status, said = ask(requests, "list_collections", PLACE, who=Identity("someone", ("acme",)))
    assert (status, said["error"]) == (403, "AuthError")


def test_what_is_refused_for_now_is_no_answer(requests: JsonRequests) -> None:
    with pytest.raises(Refused):
        requests.failure(busy("it is stopping"), "get", "trace")
    status, _ = requests.failure(NotFoundError("gone"), "get", "trace")
    assert status == 404
