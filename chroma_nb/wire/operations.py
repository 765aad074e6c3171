"""`OPERATIONS`: everything that a client may ask of a server, once; both ends read it.

An operation is a method of `API`. How it travels is a transport's business: `wire.rest` has the routes over HTTP.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

#: Who may ask: ``open`` everybody, ``anyone`` with valid credentials, ``tenant`` who may use the tenant that is
#: meant, ``admin`` who may use every tenant.
Scope = Literal["open", "anyone", "tenant", "admin"]

#: How long a client waits for the answer of a long operation, seconds; a server sets it no deadline.
LONG_SECONDS = 3_600.0


@dataclass(frozen=True)
class Operation:
    """What an `API` can do.

    Args:
        name: The method of `API`.
        scope: Who may ask. What is open is answered on a server's event loop, so it must not ask the store.
        repeatable: Doing it twice is as good as once, so a client may send it again when no answer came.
        long: It lasts by nature: building a graph, copying a collection, deleting many.
        admin_may: With the scope ``admin``: what it does, as a refusal says it ("reset the store").
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
    # Collections. Making one is repeatable where the one that exists will do.
    Operation("create_collection"),
    Operation("get_collection", repeatable=True),
    Operation("get_collection_by_id", repeatable=True),
    Operation("list_collections", repeatable=True),
    Operation("count_collections", repeatable=True),
    Operation("modify"),
    Operation("delete_collection"),
    Operation("fork", long=True),
    # Records. Adding is repeatable unless an id that exists is to be an error.
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
