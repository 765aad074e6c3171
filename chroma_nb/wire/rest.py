"""`ROUTES`: HTTP method and path of each operation, in Chroma's REST API v2. Client and server both read them.

The JSON of requests is in `wire.rest_requests`, that of answers in `wire.rest_answers`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from chroma_nb.wire.operations import OPERATIONS, Operation
from chroma_nb.wire.requests import Name

if TYPE_CHECKING:
    from collections.abc import Mapping

_TENANT = "/api/v2/tenants/{tenant}"
_DATABASE = _TENANT + "/databases/{database}"
_COLLECTION = _DATABASE + "/collections/{collection_id}"


@dataclass(frozen=True)
class Route:
    """An operation's HTTP method and path.

    Args:
        name: Its name in metrics, logs and the OpenAPI document.
        method: GET, POST, PUT, PATCH or DELETE.
        path: The path, with parameters in braces: ``/api/v2/tenants/{tenant}``.
        operation: The operation.
    """

    name: str
    method: str
    path: str
    operation: Operation

    @property
    def parts(self) -> tuple[str, ...]:
        """The parts of the path between slashes."""
        return tuple(self.path.strip("/").split("/"))

    @cached_property
    def parameters(self) -> tuple[str, ...]:
        """The names of the path's parameters."""
        return tuple(part[1:-1] for part in self.parts if part.startswith("{"))

    def filled(self, values: Mapping[str, str]) -> list[str]:
        """Return the parts of the path with the parameters replaced by these values, which are not quoted."""
        return [values[part[1:-1]] if part.startswith("{") else part for part in self.parts]


def _route(method: str, path: str, operation: str, name: str = "") -> Route:
    return Route(name or operation, method, path, OPERATIONS[operation])


def _server_only(method: str, path: str, operation: Operation) -> Route:
    """Return a route that Chroma's API has and chroma_nb's own client never asks for."""
    return Route(operation.name, method, path, operation)


_ALL = (
    # A request takes the first route that matches, so the most frequent ones come first.
    _route("POST", _COLLECTION + "/query", "query"),
    _route("POST", _COLLECTION + "/get", "get"),
    _route("POST", _COLLECTION + "/search", "search"),
    _route("POST", _COLLECTION + "/scan", "scan"),
    _route("POST", _COLLECTION + "/add", "add"),
    _route("POST", _COLLECTION + "/upsert", "upsert"),
    _route("POST", _COLLECTION + "/update", "update"),
    _route("POST", _COLLECTION + "/delete", "delete"),
    _route("GET", _COLLECTION + "/count", "count"),
    _route("GET", "/api/v2/heartbeat", "heartbeat"),
    _route("GET", "/api/v2", "heartbeat", "root"),
    _route("GET", "/api/v2/version", "get_version", "version"),
    _route("GET", "/api/v2/pre-flight-checks", "get_max_batch_size", "pre_flight_checks"),
    _route("GET", "/api/v2/auth/identity", "get_user_identity", "identity"),
    _route("POST", "/api/v2/reset", "reset"),
    _route("POST", "/api/v2/tenants", "create_tenant"),
    _route("GET", _TENANT, "get_tenant"),
    # Chroma's resource name of a tenant, which has nothing to act on here.
    _route("PATCH", _TENANT, "get_tenant", "update_tenant"),
    _route("GET", _TENANT + "/databases", "list_databases"),
    _route("POST", _TENANT + "/databases", "create_database"),
    _route("GET", _DATABASE, "get_database"),
    _route("DELETE", _DATABASE, "delete_database"),
    _route("GET", _DATABASE + "/collections", "list_collections"),
    _route("GET", _DATABASE + "/collections_count", "count_collections"),
    _route("POST", _DATABASE + "/collections", "create_collection"),
    _route("GET", _DATABASE + "/collections/by-id/{collection_id}", "get_collection_by_id"),
    _route("GET", _DATABASE + "/collections/{name}", "get_collection"),
    _route("PUT", _COLLECTION, "modify", "update_collection"),
    _route("DELETE", _DATABASE + "/collections/{name}", "delete_collection"),
    _route("POST", _COLLECTION + "/fork", "fork"),
    _route("GET", _COLLECTION + "/fork_count", "get_collection_by_id", "fork_count"),
    _route("GET", _COLLECTION + "/indexing_status", "indexing_status"),
    _server_only("POST", _COLLECTION + "/functions/attach", Operation("attach_function")),
    _server_only(
        "GET", _COLLECTION + "/functions/{function}", Operation("get_attached_function", Name)
    ),
    _server_only(
        "POST",
        _COLLECTION + "/attached_functions/{function}/detach",
        Operation("detach_function", Name),
    ),
    _route("POST", _COLLECTION + "/unload", "unload"),
    # As in CIP-28112023. The path has no tenant: the server looks it up and checks whether the user may use it.
    _server_only(
        "POST", "/api/v1/collections/{collection_id}/unload", Operation("unload_v1", scope="anyone")
    ),
    _route("POST", _COLLECTION + "/load", "load"),
    _route("PUT", _COLLECTION + "/pin", "pin"),
    _route("PUT", _COLLECTION + "/ttl", "set_ttl"),
    _route("GET", _COLLECTION + "/fields", "describe_fields"),
    _route("GET", _COLLECTION + "/metadata_keys", "metadata_keys"),
    _route("POST", _COLLECTION + "/build_index", "build_index"),
    _route("POST", _COLLECTION + "/explain", "explain"),
    _route("POST", _DATABASE + "/memory/report", "memory_report"),
    _route("POST", _DATABASE + "/memory/unload", "unload_all"),
    _route("POST", _DATABASE + "/memory/preview", "preview_memory_budget"),
    _route("GET", "/api/v2/memory/budget", "get_memory_budget"),
    _route("PUT", "/api/v2/memory/budget", "set_memory_budget"),
    _route("POST", "/api/v2/memory/estimate", "estimate_memory"),
)

ROUTES = {one.name: one for one in _ALL}
#: Operation -> the route that a client uses: the first one.
ROUTE_OF = {one.operation.name: one for one in reversed(_ALL)}
