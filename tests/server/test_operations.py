"""One table of operations: complete, and read by both ends."""

from __future__ import annotations

import inspect
from typing import Any
from uuid import UUID

import numpy as np
import pytest

import chroma_nb
from chroma_nb.api._chroma_server import _NOT_OFFERED
from chroma_nb.api._rest import RestAPI
from chroma_nb.api.base import API
from chroma_nb.server.operations import ENDPOINTS
from chroma_nb.types import RecordBatch
from chroma_nb.wire import requests as r
from chroma_nb.wire.operations import LONG_SECONDS, OPERATIONS
from chroma_nb.wire.rest import ROUTE_OF, ROUTES
from chroma_nb.wire.server_info import ServerInfo

SERVER = ServerInfo("chroma_nb", "1", max_batch_size=10, max_records=10, max_body=10_000)
VECTORS = np.ones((2, 3), np.float32)
#: One of each class.
REQUESTS: dict[Any, Any] = {
    type(one): one
    for one in (
        r.Name("x"),
        r.Page(1, 2),
        r.NewCollection("x", {}, None, get_or_create=True),
        r.Changes("x"),
        r.Write(RecordBatch(["a", "b"], VECTORS)),
        r.Get(["a"]),
        r.Query(VECTORS, 2),
        r.Delete(["a"]),
        r.Pin(True),
        r.TimeToLive(1.0),
        r.Report([UUID(int=1)]),
        r.Budget("1 MB"),
        r.Estimate(1, 2),
        r.Fields(3),
    )
}
#: What is not asked of a server: an API's own end, what is known in process only, and what is refused there.
NEAR = {"abandon", "check", "close", "open", "record_bytes", "sql"}


def methods_of_an_api() -> set[str]:
    members = inspect.getmembers(API, inspect.isroutine)
    return {name for name, _ in members if not name.startswith("_")} - NEAR


def test_every_method_of_an_api_is_an_operation_with_a_route_and_an_endpoint() -> None:
    assert set(OPERATIONS) == methods_of_an_api()
    assert set(ROUTE_OF) >= set(OPERATIONS)
    assert list(ENDPOINTS)
    assert set(ENDPOINTS) == set(ROUTES)
    assert set(_NOT_OFFERED) <= set(OPERATIONS)


def test_an_operation_with_the_scope_of_a_tenant_names_it_in_its_path() -> None:
    for name, route in ROUTES.items():
        assert (route.operation.scope == "tenant") == ("{tenant}" in route.path), name


class Sent(Exception):
    """Instead of a request."""


class Recorder:
    """Stands where a connection does, and keeps what would be sent."""

    url = "http://there"
    n_answers = 0

    def request(self, method: str, path: list[str], body: Any = None, **options: Any) -> Any:
        raise Sent(method, "/" + "/".join(path), options)


@pytest.mark.parametrize("name", sorted(OPERATIONS))
def test_a_client_sends_what_the_table_says(name: str) -> None:
    api = RestAPI(chroma_nb.Settings(), Recorder(), SERVER)  # type: ignore[arg-type]
    with pytest.raises(Sent) as sent:
        api._ask(name, r.Target("x", "x", UUID(int=1)), REQUESTS.get(OPERATIONS[name].request))
    method, path, options = sent.value.args
    route = ROUTE_OF[name]
    assert (method, path.count("/")) == (route.method, route.path.count("/"))
    assert options["safe"] == OPERATIONS[name].repeatable
    assert options["seconds"] == (LONG_SECONDS if OPERATIONS[name].long else None)
