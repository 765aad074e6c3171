"""One table of operations: complete, and read by both ends."""

from __future__ import annotations

import inspect
import json
from dataclasses import asdict, replace
from typing import Any
from uuid import UUID

import numpy as np
import pytest

import chroma_nb
from chroma_nb.api._chroma_server import _NOT_OFFERED
from chroma_nb.api._fastapi import FastAPI
from chroma_nb.api._rest import RestAPI
from chroma_nb.api.base import API
from chroma_nb.search import GroupBy, K, Knn, Limit, MaxK, Search, SparseVector
from chroma_nb.server.endpoints import ENDPOINTS
from chroma_nb.server.service import HANDLERS
from chroma_nb.types import RecordBatch
from chroma_nb.wire import requests as r
from chroma_nb.wire.operations import LONG_SECONDS, OPERATIONS
from chroma_nb.wire.rest import ROUTE_OF, ROUTES
from chroma_nb.wire.rest_requests import Arrived, read_request, read_target, write_request
from chroma_nb.wire.server_info import ServerInfo

SERVER = ServerInfo("chroma_nb", "1", max_batch_size=10, max_records=10, max_body=10_000)
VECTORS = np.ones((2, 3), np.float32)
FILTERS: Any = {"ids": ["a"], "where": {"n": 1}, "where_document": {"$contains": "x"}}
FUNCTION = {"type": "known", "name": "default", "config": {}}
#: One of each class, with no value that is its default.
REQUESTS: dict[Any, Any] = {
    type(one): one
    for one in (
        r.Name("x"),
        r.Page(1, 2),
        r.NewCollection("x", {"hnsw": {"space": "ip"}}, {"a": 1}, get_or_create=True),
        r.CollectionChanges(
            "x",
            {"a": 1},
            {"hnsw": {"ef_search": 5}, "spann": None, "embedding_function": FUNCTION},
        ),
        r.Write(RecordBatch(["a", "b"], VECTORS, ["x", None], [None, "u"], [{"n": 1}, None])),
        r.Get(**FILTERS, limit=3, offset=4, include=["uris"]),
        r.Query(VECTORS, 2, **FILTERS, include=["uris"]),
        r.SearchRequest(
            [
                Search(
                    K("n") == 1,
                    abs(Knn([1.0, 2.0], limit=3, default=4.0, return_rank=True))
                    + Knn(SparseVector([1, 2], [1.5, 2.5], ["x", "y"]), key="sp") / 2,
                    GroupBy(["c"], MaxK(["y", K.SCORE], 2)),
                    Limit(1, 2),
                    [K.DOCUMENT, "c"],
                ),
                Search(),
            ],
            "index_only",
        ),
        r.ScanStep("token", 2, True, **FILTERS, include=["uris"], piece_bytes=5, skip_damaged=True),
        r.Delete(**FILTERS, limit=3),
        r.Pin(True),
        r.TimeToLive(1.0),
        r.Report([UUID(int=1)]),
        r.Budget("1 MB"),
        r.Estimate(1, 2, {"hnsw": {"space": "ip"}}, 3),
        r.Fields(3),
    )
}
#: What is not asked of a server: an API's own end, what is known in process only or is for the server itself, and what is
#: refused there.
NEAR = {
    "abandon",
    "briefly",
    "check",
    "close",
    "embed",
    "get_columns",
    "open",
    "record_bytes",
    "sql",
}


def methods_of_an_api() -> set[str]:
    members = inspect.getmembers(API, inspect.isroutine)
    return {name for name, _ in members if not name.startswith("_")} - NEAR


def test_every_method_of_an_api_is_an_operation_with_a_route_and_a_handler() -> None:
    assert set(OPERATIONS) == methods_of_an_api()
    assert set(ROUTE_OF) >= set(OPERATIONS)
    assert set(ENDPOINTS) == set(ROUTES)
    assert set(HANDLERS) == {route.operation.name for route in ROUTES.values()}
    assert set(_NOT_OFFERED) <= set(OPERATIONS)


def test_the_routes_of_an_operation_have_what_the_table_says_of_it() -> None:
    for route in ROUTES.values():
        if route.operation.name in OPERATIONS:
            assert route.operation is OPERATIONS[route.operation.name]


def test_every_kind_of_request_is_some_operations() -> None:
    kinds = {one.request for one in OPERATIONS.values()} - {None}
    assert kinds == set(r.Request.__subclasses__()) == set(REQUESTS)


def test_every_method_is_written_once() -> None:
    """A transport adds no method of `API`, and no way of asking but its own."""
    for kind, own in ((RestAPI, {"_call", "close"}), (FastAPI, {"open"})):
        functions = {name for name, one in vars(kind).items() if callable(getattr(kind, name))}
        assert functions - {"__init__", "__doc__", "__abstractmethods__"} == own, kind


@pytest.mark.parametrize("name", sorted(OPERATIONS))
def test_a_server_reads_what_a_client_writes(name: str) -> None:
    operation, route = OPERATIONS[name], ROUTE_OF[name]
    request = None if operation.request is None else REQUESTS[operation.request]
    if name == "explain":
        # It returns no records.
        request = replace(request, include=())
    if name == "add":
        request = replace(request, on_conflict="replace")
    target = r.Target("t", "d", UUID(int=1))
    sent = write_request(operation, target, request)
    names = {part[1:-1] for part in route.parts if part.startswith("{")}
    model = ENDPOINTS[route.name].body
    body = None if model is None else model.model_validate_json(json.dumps(sent.body))
    assert model is not None or sent.body is None, "a body that nobody reads"
    arrived = Arrived(
        {part: value for part, value in sent.path.items() if part in names},
        {key: str(value) for key, value in (sent.params or {}).items() if value is not None},
        body,
    )
    np.testing.assert_equal(of(read_request(operation, arrived)), of(request))
    found = read_target(arrived)
    assert found.tenant == ("t" if "tenant" in names else "")
    assert found.database == ("d" if "database" in names else "")
    assert found.collection_id == (UUID(int=1) if "collection_id" in names else None)


def of(request: Any) -> Any:
    """Return what a request holds, to be compared with arrays in it."""
    return request if request is None else {"kind": type(request), **asdict(request)}


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


def test_what_may_be_repeated_depends_on_the_request_as_well() -> None:
    new = r.NewCollection("x", {}, None, get_or_create=False)
    assert not OPERATIONS["create_collection"].may_repeat(new)
    assert OPERATIONS["create_collection"].may_repeat(replace(new, get_or_create=True))
    batch = RecordBatch(["a"], VECTORS[:1])
    for on_conflict, may in (("skip", True), ("replace", True), ("error", False)):
        request = r.Write(batch, on_conflict)  # type: ignore[arg-type]
        assert OPERATIONS["add"].may_repeat(request) == may
    assert not OPERATIONS["delete"].may_repeat(r.Delete(["a"]))
