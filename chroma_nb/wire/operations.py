"""`OPERATIONS`: everything that a client may ask of a server. Client and server both read this list.

An operation is a method of `API`. The list says nothing about the transport; `wire.rest` has the HTTP routes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

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
        scope: Who may ask. A server answers ``open`` operations on its event loop, so they must not use the store.
        repeatable: Doing it twice has the same effect as once, so a client may send it again after a lost answer.
        long: It may take long: building a graph, copying a collection, deleting many.
        admin_may: Only for the scope ``admin``: what it does, in the words of a refusal ("reset the store").
    """

    name: str
    scope: Scope = "tenant"
    repeatable: bool = False
    long: bool = False
    admin_may: str = ""


_ALL = (
    # The server.
    Operation("heartbeat", "open", repeatable=True),
    Operation("get_version", "open", repeatable=True),
    Operation("get_max_batch_size", "open", repeatable=True),
    Operation("get_user_identity", "anyone", repeatable=True),
    Operation("reset", "admin", long=True, admin_may="reset the store"),
    # Tenants and databases.
    Operation("create_tenant", "admin", admin_may="make tenants"),
    Operation("get_tenant", repeatable=True),
    Operation("create_database"),
    Operation("get_database", repeatable=True),
    Operation("list_databases", repeatable=True),
    Operation("delete_database", long=True),
    # Collections. `create_collection` is repeatable only with get_or_create; the client says so for each call.
    Operation("create_collection"),
    Operation("get_collection", repeatable=True),
    Operation("get_collection_by_id", repeatable=True),
    Operation("list_collections", repeatable=True),
    Operation("count_collections", repeatable=True),
    Operation("modify"),
    Operation("delete_collection"),
    Operation("fork", long=True),
    # Records. `add` is not repeatable with on_conflict="error"; the client says so for each call.
    Operation("count", repeatable=True),
    Operation("add", repeatable=True),
    Operation("update", repeatable=True),
    Operation("upsert", repeatable=True),
    Operation("get", repeatable=True),
    Operation("query", repeatable=True),
    Operation("delete"),
    # Memory and graphs.
    Operation("unload", repeatable=True),
    Operation("load", repeatable=True, long=True),
    Operation("unload_all", repeatable=True),
    Operation("pin", repeatable=True, long=True),
    Operation("set_ttl", repeatable=True),
    Operation("memory_report", repeatable=True),
    Operation("get_memory_budget", "anyone", repeatable=True),
    Operation("set_memory_budget", "admin", repeatable=True, admin_may="set the memory budget"),
    Operation("preview_memory_budget", repeatable=True),
    Operation("estimate_memory", "anyone", repeatable=True),
    Operation("describe_fields", repeatable=True),
    Operation("metadata_keys", repeatable=True),
    Operation("indexing_status", repeatable=True),
    Operation("build_index", repeatable=True, long=True),
    Operation("explain", repeatable=True),
)

OPERATIONS = {one.name: one for one in _ALL}
