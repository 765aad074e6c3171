"""`HANDLERS`: what a server does for each operation, by calling its `API`.

Each function calls the `API` and nothing below it, so a server works with any store; and none knows which transport
brought the request. Nothing here builds an embedding function or any other object that a request names: a server
stores a configuration and returns it, as text.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np

from chroma_nb import validation
from chroma_nb._version import __version__
from chroma_nb.api.base import Found, Matches, Records
from chroma_nb.errors import (
    AuthorizationError,
    InvalidArgumentError,
    NotFoundError,
    NotSupportedError,
)
from chroma_nb.memory.sizes import parse_bytes
from chroma_nb.server.limits import check_n_found, check_n_records, check_n_results, largest_part
from chroma_nb.types import DEFAULT_DATABASE, DEFAULT_TENANT, INCLUDES, UserIdentity
from chroma_nb.wire.server_info import ServerInfo

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from uuid import UUID

    from chroma_nb.api.base import API
    from chroma_nb.api.scanning import ScanPiece
    from chroma_nb.memory.report import Estimate as MemoryEstimate
    from chroma_nb.memory.report import Eviction, MemoryReport
    from chroma_nb.server.auth import Identity
    from chroma_nb.server.scans import OpenScans
    from chroma_nb.settings import Settings
    from chroma_nb.types import CollectionInfo, FieldSummary, IndexingStatus
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
        SearchRequest,
        Target,
        TimeToLive,
        Write,
    )

R = TypeVar("R")

#: Without "data", which a client loads from the uris itself.
_INCLUDES = sorted(set(INCLUDES) - {"data"})
#: At most this many values of a metadata key are counted.
_MOST_VALUES = 1_000


@dataclass
class Call(Generic[R]):
    """One request of a caller who may make it.

    Args:
        api: The store.
        settings: The server's.
        identity: The caller.
        target: What it is about.
        request: Its arguments, an `Operation.request`; None where that is None.
        scans: The scans that clients of the server are reading.
        who: The client in whose share they count.
    """

    api: API
    settings: Settings
    identity: Identity
    target: Target
    request: R
    scans: OpenScans | None = None
    who: str = ""

    @property
    def where_to(self) -> Any:
        """The tenant and the database, as arguments of the `API`."""
        return {"tenant": self.target.tenant, "database": self.target.database}

    @property
    def collection_id(self) -> UUID:
        """The collection.

        Raises:
            InvalidArgumentError: The request names none.
        """
        if self.target.collection_id is None:
            raise InvalidArgumentError("Expected a request that names its collection by the id.")
        return self.target.collection_id


#: By the operation's name.
HANDLERS: dict[str, Callable[[Call[Any]], Any]] = {}
F = TypeVar("F", bound="Callable[[Call[Any]], Any]")


def handles(function: F) -> F:
    """Register a function as the handler of the operation of its name."""
    HANDLERS[function.__name__] = function
    return function


# -- records ----------------------------------------------------------------------------------


@handles
def query(call: Call[Query]) -> Matches:
    """Return the nearest matching records of each query."""
    asked = call.request
    check_include(asked.include)
    n_queries = len(asked.embeddings)
    if not n_queries or asked.n_results == 0:
        call.api.get_collection_by_id(call.collection_id, **call.where_to)
        return _nothing_found(n_queries, asked.include)
    _check_results(call)
    return call.api.query(
        call.collection_id,
        asked.embeddings,
        asked.n_results,
        ids=asked.ids,
        where=asked.where,
        where_document=asked.where_document,
        include=asked.include,
        **call.where_to,
    )


@handles
def get(call: Call[Get]) -> Records | ScanPiece:
    """Return the records that match all conditions, in storage order."""
    asked = call.request
    check_include(asked.include)
    return (call.api.get_columns if asked.columns else call.api.get)(
        call.collection_id,
        ids=asked.ids,
        where=asked.where,
        where_document=asked.where_document,
        limit=asked.limit,
        offset=asked.offset,
        include=asked.include,
        **call.where_to,
    )


@handles
def search(call: Call[SearchRequest]) -> list[Found]:
    """Return the records that each search ranks best, by any combination of distances."""
    asked = call.request
    check_n_found(
        call.settings, asked.searches, lambda: call.api.count(call.collection_id, **call.where_to)
    )
    # An API of one's own may not know of plans.
    more: dict[str, Any] = call.where_to | ({"plans": True} if asked.plans else {})
    return call.api.search(call.collection_id, asked.searches, read_level=asked.read_level, **more)


@handles
def add(call: Call[Write]) -> None:
    """Add records, all or none; ids that exist keep their record."""
    if _has_records(call):
        asked = call.request
        call.api.add(
            call.collection_id, asked.batch, on_conflict=asked.on_conflict, **call.where_to
        )


@handles
def upsert(call: Call[Write]) -> None:
    """Update records that exist and add the others."""
    if _has_records(call):
        call.api.upsert(call.collection_id, call.request.batch, **call.where_to)


@handles
def update(call: Call[Write]) -> None:
    """Change records; unknown ids are ignored, metadata is merged and null deletes a key."""
    if _has_records(call):
        call.api.update(call.collection_id, call.request.batch, **call.where_to)


@handles
def delete(call: Call[Delete]) -> int:
    """Delete the records that match all conditions."""
    asked = call.request
    filtered = asked.where is not None or asked.where_document is not None
    if asked.ids is None and not filtered:
        call.api.get_collection_by_id(call.collection_id, **call.where_to)
        return 0
    if asked.ids is not None and not asked.ids:
        raise InvalidArgumentError("Either ids or where must be specified")
    if asked.limit is not None and not filtered:
        raise InvalidArgumentError("limit can only be specified when a where clause is provided")
    return call.api.delete(
        call.collection_id,
        ids=asked.ids,
        where=asked.where,
        where_document=asked.where_document,
        limit=asked.limit,
        **call.where_to,
    )


@handles
def count(call: Call[None]) -> int:
    """Return how many records there are."""
    return call.api.count(call.collection_id, **call.where_to)


# -- the store --------------------------------------------------------------------------------


@handles
def heartbeat(call: Call[None]) -> int:
    """Return the server's clock: it is alive."""
    return time.time_ns()


@handles
def get_version(call: Call[None]) -> str:
    """Return the version of the server."""
    return __version__


@handles
def get_max_batch_size(call: Call[None]) -> ServerInfo:
    """Return what a client has to know before its first write."""
    return ServerInfo(
        name="chroma_nb",
        version=__version__,
        max_batch_size=call.api.get_max_batch_size(),
        max_records=call.settings.server_max_batch_size,
        # Depends on the memory that is free now: clients ask again before they send much.
        max_body=largest_part(parse_bytes(call.settings.server_max_body)),
        max_values=call.api.max_ids,
        scans=True,
    )


@handles
def get_user_identity(call: Call[None]) -> UserIdentity:
    """Return who the caller is taken for."""
    who = call.identity
    if who.is_admin:
        return UserIdentity(who.name, DEFAULT_TENANT, [DEFAULT_DATABASE])
    return UserIdentity(who.name, who.tenants[0], ["*"])


@handles
def reset(call: Call[None]) -> bool:
    """Delete everything, where the settings allow it."""
    if not call.settings.allow_reset:
        raise AuthorizationError(
            "Reset is disabled by config: it deletes every collection of every tenant. Start the server with "
            "`chroma-nb run --allow-reset` (CHROMA_NB_ALLOW_RESET=1) to allow it."
        )
    return call.api.reset()


# -- tenants and databases --------------------------------------------------------------------


@handles
def create_tenant(call: Call[Name]) -> None:
    """Add a tenant."""
    validation.check_tenant_name(call.request.name)
    call.api.create_tenant(call.request.name)


@handles
def get_tenant(call: Call[None]) -> str:
    """Return a tenant."""
    return call.api.get_tenant(call.target.tenant)


@handles
def list_databases(call: Call[Page]) -> list[tuple[UUID, str]]:
    """Return a tenant's databases in order of creation."""
    return call.api.list_databases(call.target.tenant, call.request.limit, call.request.offset)


@handles
def create_database(call: Call[Name]) -> None:
    """Add a database."""
    validation.check_database_name(call.request.name)
    call.api.create_database(call.request.name, call.target.tenant)


@handles
def get_database(call: Call[None]) -> UUID:
    """Return a database."""
    return call.api.get_database(call.target.database, call.target.tenant)


@handles
def delete_database(call: Call[None]) -> None:
    """Delete a database with all that is in it."""
    call.api.delete_database(call.target.database, call.target.tenant)


# -- collections ------------------------------------------------------------------------------


@handles
def list_collections(call: Call[Page]) -> list[CollectionInfo]:
    """Return the collections in order of creation."""
    return call.api.list_collections(call.request.limit, call.request.offset, **call.where_to)


@handles
def count_collections(call: Call[None]) -> int:
    """Return how many collections there are."""
    return call.api.count_collections(**call.where_to)


@handles
def create_collection(call: Call[NewCollection]) -> CollectionInfo:
    """Make a collection, or return the one of that name."""
    asked = call.request
    validation.check_collection_name(asked.name)
    metadata = validation.check_collection_metadata(asked.metadata)
    given = dict(asked.configuration or {})
    function = validation.check_recorded_function(given.pop("embedding_function", None))
    configuration = validation.created_configuration(given, metadata, "l2")
    configuration["embedding_function"] = function
    return call.api.create_collection(
        asked.name,
        configuration,
        metadata,
        schema=asked.schema,
        get_or_create=asked.get_or_create,
        **call.where_to,
    )


@handles
def get_collection_by_id(call: Call[None]) -> CollectionInfo:
    """Return the collection of that id."""
    return call.api.get_collection_by_id(call.collection_id, **call.where_to)


@handles
def get_collection(call: Call[Name]) -> CollectionInfo:
    """Return the collection of that name."""
    return call.api.get_collection(call.request.name, **call.where_to)


@handles
def modify(call: Call[CollectionChanges]) -> CollectionInfo:
    """Change a collection's name, metadata (replaced whole) or configuration."""
    asked = call.request
    if asked.name is not None:
        validation.check_collection_name(asked.name)
    metadata = validation.check_collection_metadata(asked.metadata, modify=True)
    configuration = None
    changes = asked.configuration
    info = call.api.get_collection_by_id(call.collection_id, **call.where_to)
    if changes is not None:
        configuration = {"hnsw": changes.get("hnsw"), "spann": changes.get("spann")}
        validation.updated_configuration(info.configuration, configuration)
        function = changes.get("embedding_function")
        if function is not None:
            configuration["embedding_function"] = validation.check_recorded_function(function)
    if (asked.name, metadata, configuration) == (None, None, None):
        return info
    return call.api.modify(
        info.id,
        name=asked.name,
        metadata=metadata,
        configuration=configuration,
        **call.where_to,
    )


@handles
def delete_collection(call: Call[Name]) -> None:
    """Delete a collection with its records."""
    call.api.delete_collection(call.request.name, **call.where_to)


@handles
def fork(call: Call[Name]) -> CollectionInfo:
    """Copy a collection under another name."""
    validation.check_collection_name(call.request.name)
    return call.api.fork(call.collection_id, call.request.name, **call.where_to)


@handles
def indexing_status(call: Call[None]) -> IndexingStatus:
    """Return how much of the collection its graph covers."""
    return call.api.indexing_status(call.collection_id, **call.where_to)


# -- asked for by Chroma's clients alone ------------------------------------------------------


@handles
def attach_function(call: Call[None]) -> None:
    """Chroma's attached functions, which its local server lacks too."""
    raise NotSupportedError("Attached functions are not implemented.")


@handles
def get_attached_function(call: Call[Name]) -> None:
    """Say that there is no attached function of that name."""
    raise NotFoundError(f"Attached function [{call.request.name[:100]}] does not exist")


@handles
def detach_function(call: Call[Name]) -> None:
    """Say that there is no attached function of that name."""
    raise NotFoundError(f"Attached function [{call.request.name[:100]}] does not exist")


# -- memory and graphs: chroma_nb's own -------------------------------------------------------------


@handles
def unload(call: Call[None]) -> int:
    """Free the collection's memory; no answer changes (CIP-28112023)."""
    return call.api.unload(call.collection_id, **call.where_to)


@handles
def unload_v1(call: Call[None]) -> int:
    """Free the collection's memory, as CIP-28112023 names the route: the id alone says which."""
    info = _locate(call)
    return call.api.unload(info.id, tenant=info.tenant, database=info.database)


@handles
def load(call: Call[None]) -> int:
    """Bring the collection into memory."""
    return call.api.load(call.collection_id, **call.where_to)


@handles
def pin(call: Call[Pin]) -> None:
    """Keep the collection in memory, or let it go like any other."""
    call.api.pin(call.collection_id, call.request.pinned, **call.where_to)


@handles
def set_ttl(call: Call[TimeToLive]) -> CollectionInfo:
    """Set after how many seconds without use the collection is unloaded."""
    return call.api.set_ttl(call.collection_id, call.request.seconds, **call.where_to)


@handles
def describe_fields(call: Call[Fields]) -> list[FieldSummary]:
    """Return what the records have in their metadata."""
    n_values = min(call.request.n_values, _MOST_VALUES)
    return call.api.describe_fields(call.collection_id, n_values, **call.where_to)


@handles
def metadata_keys(call: Call[None]) -> list[str]:
    """Return the keys that the records have in their metadata, sorted; 20,000 at most."""
    return call.api.metadata_keys(call.collection_id, **call.where_to)


@handles
def build_index(call: Call[None]) -> None:
    """Build the index now, up to the last record."""
    call.api.build_index(call.collection_id, **call.where_to)


@handles
def explain(call: Call[Query]) -> dict[str, Any]:
    """Answer a query, and return how that was done."""
    asked = call.request
    _check_results(call)
    return call.api.explain(
        call.collection_id,
        asked.embeddings,
        asked.n_results,
        ids=asked.ids,
        where=asked.where,
        where_document=asked.where_document,
        **call.where_to,
    )


@handles
def memory_report(call: Call[Report]) -> MemoryReport:
    """Return what the database's collections hold, and the totals of the store and its process."""
    return call.api.memory_report(call.request.collections, **call.where_to)


@handles
def unload_all(call: Call[None]) -> int:
    """Unload the database's collections that are not pinned."""
    return call.api.unload_all(**call.where_to)


@handles
def preview_memory_budget(call: Call[Budget]) -> list[Eviction]:
    """Return what a budget would unload, in order."""
    return call.api.preview_memory_budget(call.request.budget, **call.where_to)


@handles
def get_memory_budget(call: Call[None]) -> int:
    """Return the bytes that loaded collections may hold together."""
    return call.api.get_memory_budget()


@handles
def set_memory_budget(call: Call[Budget]) -> int:
    """Set the budget; what does not fit is unloaded before this returns."""
    return call.api.set_memory_budget(call.request.budget)


@handles
def estimate_memory(call: Call[Estimate]) -> MemoryEstimate:
    """Reckon what a collection of some size would take."""
    asked = call.request
    given = dict(asked.configuration or {})
    given.pop("embedding_function", None)
    configuration = validation.created_configuration(given, None, "l2")
    return call.api.estimate_memory(
        asked.n_records, asked.dimension, configuration, asked.text_bytes
    )


# -- what requests mean -----------------------------------------------------------------------


def _locate(call: Call[None]) -> CollectionInfo:
    """Find a collection by its id alone, in the databases of a tenant that the caller may use."""
    tenant, database = call.target.tenant, call.target.database
    if not tenant:
        tenant = DEFAULT_TENANT if call.identity.is_admin else call.identity.tenants[0]
    call.identity.check_tenant(tenant)
    names = [database] if database else [name for _, name in call.api.list_databases(tenant)]
    for name in names:
        try:
            return call.api.get_collection_by_id(call.collection_id, tenant=tenant, database=name)
        except NotFoundError:
            continue
    raise NotFoundError(f"Collection [{call.collection_id}] does not exist.")


def check_include(given: Sequence[str]) -> None:
    """Refuse what no record has: `InvalidArgumentError`."""
    for item in given:
        if item not in _INCLUDES:
            raise InvalidArgumentError(
                f"Expected include item to be one of {', '.join(_INCLUDES)}, got {item[:100]}"
            )


def _check_results(call: Call[Query]) -> None:
    """Refuse a query whose answer would be too large."""
    asked = call.request
    check_n_results(
        call.settings,
        asked.n_results,
        len(asked.embeddings),
        lambda: call.api.count(call.collection_id, **call.where_to),
    )


def _has_records(call: Call[Write]) -> bool:
    """Say whether there is something to write; refuse more than one request may hold."""
    check_n_records(call.settings, len(call.request.batch))
    if call.request.batch.ids:
        return True
    call.api.get_collection_by_id(call.collection_id, **call.where_to)
    return False


def _nothing_found(n_queries: int, include: Sequence[str]) -> Matches:
    def empty(part: str) -> Any:
        return [[] for _ in range(n_queries)] if part in include else None

    embeddings = [np.empty((0, 0), np.float32) for _ in range(n_queries)]
    return Matches(
        ids=[[] for _ in range(n_queries)],
        distances=empty("distances"),
        embeddings=embeddings if "embeddings" in include else None,
        documents=empty("documents"),
        metadatas=empty("metadatas"),
        uris=empty("uris"),
    )
