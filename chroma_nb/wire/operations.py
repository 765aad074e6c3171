"""`OPERATIONS`: everything that a client may ask of a server. Client and server both read this table.

An operation is a method of `API`. The table says nothing about the transport; `wire.rest` has the HTTP routes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from chroma_nb.wire.requests import (
    Budget,
    CollectionChanges,
    Delete,
    Estimate,
    Fields,
    Get,
    Name,
    NewCollection,
    Page,
    Pin,
    Query,
    Report,
    Request,
    ScanStep,
    SearchRequest,
    TimeToLive,
    Write,
)

#: Who may ask. ``open``: everyone, without credentials. ``anyone``: everyone with valid credentials. ``tenant``:
#: users who may use the tenant of the request. ``admin``: users who may use every tenant.
Scope = Literal["open", "anyone", "tenant", "admin"]

#: How long a client waits for the answer of a long operation, seconds. A server sets no deadline for it.
LONG_SECONDS = 3_600.0


@dataclass(frozen=True)
class Operation:
    """A method of `API` that a client may ask for.

    Args:
        name: The method of `API`.
        request: The class of its arguments; None: it needs its target alone.
        scope: Who may ask. A server answers ``open`` operations on its event loop, so they must not use the store.
        repeatable: Doing it twice has the same effect as once, so a client may send it again after a lost answer;
            `Request.is_repeatable` may say no to that.
        long: It may take long: building a graph, copying a collection, deleting many.
        admin_may: Only for the scope ``admin``: what it does, in the words of a refusal ("reset the store").
    """

    name: str
    request: type[Request] | None = None
    scope: Scope = "tenant"
    repeatable: bool = False
    long: bool = False
    admin_may: str = ""

    def may_repeat(self, request: Request | None) -> bool:
        """Say whether a client may send this request again after a lost answer."""
        return self.repeatable and (request is None or request.is_repeatable)


_ALL = (
    # The server.
    Operation("heartbeat", scope="open", repeatable=True),
    Operation("get_version", scope="open", repeatable=True),
    Operation("get_max_batch_size", scope="open", repeatable=True),
    Operation("get_user_identity", scope="anyone", repeatable=True),
    Operation("reset", scope="admin", long=True, admin_may="reset the store"),
    # Tenants and databases.
    Operation("create_tenant", Name, scope="admin", admin_may="make tenants"),
    Operation("get_tenant", repeatable=True),
    Operation("create_database", Name),
    Operation("get_database", repeatable=True),
    Operation("list_databases", Page, repeatable=True),
    Operation("delete_database", long=True),
    # Collections.
    Operation("create_collection", NewCollection, repeatable=True),
    Operation("get_collection", Name, repeatable=True),
    Operation("get_collection_by_id", repeatable=True),
    Operation("list_collections", Page, repeatable=True),
    Operation("count_collections", repeatable=True),
    Operation("modify", CollectionChanges),
    Operation("delete_collection", Name),
    Operation("fork", Name, long=True),
    # Records.
    Operation("count", repeatable=True),
    Operation("add", Write, repeatable=True),
    Operation("update", Write, repeatable=True),
    Operation("upsert", Write, repeatable=True),
    Operation("get", Get, repeatable=True),
    Operation("scan", ScanStep, repeatable=True),
    Operation("query", Query, repeatable=True),
    Operation("search", SearchRequest, repeatable=True),
    Operation("delete", Delete),
    # Memory and graphs.
    Operation("unload", repeatable=True),
    Operation("load", repeatable=True, long=True),
    Operation("unload_all", repeatable=True),
    Operation("pin", Pin, repeatable=True, long=True),
    Operation("set_ttl", TimeToLive, repeatable=True),
    Operation("memory_report", Report, repeatable=True),
    Operation("get_memory_budget", scope="anyone", repeatable=True),
    Operation(
        "set_memory_budget",
        Budget,
        scope="admin",
        repeatable=True,
        admin_may="set the memory budget",
    ),
    Operation("preview_memory_budget", Budget, repeatable=True),
    Operation("estimate_memory", Estimate, scope="anyone", repeatable=True),
    Operation("describe_fields", Fields, repeatable=True),
    Operation("metadata_keys", repeatable=True),
    Operation("indexing_status", repeatable=True),
    Operation("build_index", repeatable=True, long=True),
    Operation("explain", Query, repeatable=True),
)

OPERATIONS = {one.name: one for one in _ALL}
