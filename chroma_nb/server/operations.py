"""`ENDPOINTS`: one function for each route of the REST API, from a parsed call to a plain answer.

Each function calls the `API` and nothing below it, so a server works with any store. Nothing here builds an embedding
function or any other object that a request names: a server stores a configuration and returns it, as text.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar
from uuid import UUID

from chroma_nb import validation
from chroma_nb._version import __version__
from chroma_nb.errors import (
    AuthorizationError,
    BatchSizeExceededError,
    InvalidArgumentError,
    InvalidUUIDError,
    NotFoundError,
    NotSupportedError,
)
from chroma_nb.memory.sizes import parse_bytes
from chroma_nb.server import schemas as s
from chroma_nb.server.bodies import largest_part
from chroma_nb.types import DEFAULT_DATABASE, DEFAULT_TENANT, INCLUDES
from chroma_nb.wire.collections import collection_to_json
from chroma_nb.wire.rest import ROUTES, Route
from chroma_nb.wire.vectors import from_base64, to_base64

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from chroma_nb.api.base import API
    from chroma_nb.server.auth import Identity
    from chroma_nb.settings import Settings
    from chroma_nb.types import CollectionInfo

B = TypeVar("B", bound="s.Body | None")

#: Without "data", which a client loads from the uris itself.
_INCLUDES = sorted(set(INCLUDES) - {"data"})
_READ_LEVELS = ("index_and_wal", "index_only", "index_and_bounded_wal")
_CONFLICTS = ("skip", "error", "replace")
#: At most this many values of a metadata key are counted.
_MOST_VALUES = 1_000


@dataclass
class Call(Generic[B]):
    """One request, after its body was parsed and its caller was identified."""

    api: API
    settings: Settings
    identity: Identity
    path: Mapping[str, str]
    query: Mapping[str, str]
    body: B

    @property
    def place(self) -> Any:
        """The tenant and the database of the path."""
        return {"tenant": self.path["tenant"], "database": self.path["database"]}

    @property
    def collection_id(self) -> UUID:
        """The collection of the path.

        Raises:
            InvalidUUIDError: The path has no UUID in its place.
        """
        return _uuid(self.path["collection_id"])

    def number(self, name: str, default: int | None = None) -> int | None:
        """Return a number of the query string.

        Raises:
            InvalidArgumentError: It is not a number, or negative.
        """
        text = self.query.get(name)
        if text is None:
            return default
        if not (text.isascii() and text.isdigit()) or len(text) > 15:
            raise InvalidArgumentError(
                f"Failed to deserialize query string: {name}: expected a whole number from 0, got "
                f"{text[:40]!r}"
            )
        return int(text)

    def word(self, name: str, known: Sequence[str]) -> str:
        """Return a word of the query string; where it is missing, the first of `known`.

        Raises:
            InvalidArgumentError: It is not one of `known`.
        """
        text = self.query.get(name, known[0])
        if text not in known:
            raise InvalidArgumentError(
                f"Failed to deserialize query string: {name}: unknown variant {text[:40]!r}, expected one "
                f"of {', '.join(known)}"
            )
        return text


@dataclass(frozen=True)
class Endpoint:
    """A route with the function that serves it, and the types of its body and its answer."""

    route: Route
    run: Callable[[Call[Any]], Any]
    answer: Any
    body: type[s.Body] | None = None
    status: int = 200
    #: Parameters of the query string: name and meaning.
    query: tuple[tuple[str, str], ...] = ()
    #: Statuses of errors that are possible beside the usual ones.
    problems: tuple[int, ...] = ()

    @property
    def summary(self) -> str:
        """The first line of the function's docstring."""
        return (self.run.__doc__ or "").strip().splitlines()[0]


#: Name of the route -> its endpoint.
ENDPOINTS: dict[str, Endpoint] = {}


def serves(
    name: str, answer: Any, body: type[s.Body] | None = None, **options: Any
) -> Callable[[Callable[[Call[Any]], Any]], Callable[[Call[Any]], Any]]:
    """Register a function as the one that serves the route of that name."""

    def enter(run: Callable[[Call[Any]], Any]) -> Callable[[Call[Any]], Any]:
        ENDPOINTS[name] = Endpoint(ROUTES[name], run, answer, body, **options)
        return run

    return enter


# -- records ----------------------------------------------------------------------------------


@serves(
    "query",
    s.QueryAnswer,
    s.QueryBody,
    query=(("embeddings", "`base64`: embeddings come back as base64"),),
)
def query(call: Call[s.QueryBody]) -> dict[str, Any]:
    """Return the nearest matching records of each query."""
    body = call.body
    include = _include(body.include)
    n_results = 10 if body.n_results is None else body.n_results
    if not body.query_embeddings or n_results == 0:
        call.api.get_collection_by_id(call.collection_id, **call.place)
        return _nothing_found(len(body.query_embeddings), include)
    _check_results(call, n_results, len(body.query_embeddings))
    found = call.api.query(
        call.collection_id,
        _vectors(body.query_embeddings),
        n_results,
        ids=None if body.ids is None else _unique(body.ids),
        where=body.where,
        where_document=body.where_document,
        include=include,
        **call.place,
    )
    embeddings: list[Any] | None = None
    if found.embeddings is not None:
        embeddings = [_embeddings_to_send(call, each) for each in found.embeddings]
    return {
        "ids": found.ids,
        "distances": found.distances,
        "embeddings": embeddings,
        "documents": found.documents,
        "metadatas": found.metadatas,
        "uris": found.uris,
        "include": include,
    }


@serves(
    "get",
    s.GetAnswer,
    s.GetBody,
    query=(("embeddings", "`base64`: embeddings come back as base64"),),
)
def get(call: Call[s.GetBody]) -> dict[str, Any]:
    """Return the records that match all conditions, in storage order."""
    body = call.body
    include = _include(body.include)
    found = call.api.get(
        call.collection_id,
        ids=None if body.ids is None else _unique(body.ids),
        where=body.where,
        where_document=body.where_document,
        limit=body.limit,
        offset=body.offset or 0,
        include=include,
        **call.place,
    )
    return {
        "ids": found.ids,
        "embeddings": None
        if found.embeddings is None
        else _embeddings_to_send(call, found.embeddings),
        "documents": found.documents,
        "metadatas": found.metadatas,
        "uris": found.uris,
        "include": include,
    }


@serves(
    "add",
    s.Nothing,
    s.NewRecords,
    status=201,
    query=(("on_conflict", "What happens to ids that exist: `skip`, `error` or `replace`"),),
    problems=(409, 413, 507),
)
def add(call: Call[s.NewRecords]) -> dict[str, Any]:
    """Add records, all or none; ids that exist keep their record."""
    body = call.body
    on_conflict: Any = call.word("on_conflict", _CONFLICTS)
    if _has_no_records(call, body):
        return {}
    body = _first_of_each(body)
    call.api.add(call.collection_id, _new_batch(body), on_conflict=on_conflict, **call.place)
    return {}


@serves("upsert", s.Nothing, s.NewRecords, problems=(413, 507))
def upsert(call: Call[s.NewRecords]) -> dict[str, Any]:
    """Update records that exist and add the others."""
    if not _has_no_records(call, call.body):
        call.api.upsert(call.collection_id, _new_batch(call.body), **call.place)
    return {}


@serves("update", s.Nothing, s.RecordChanges, problems=(413, 507))
def update(call: Call[s.RecordChanges]) -> dict[str, Any]:
    """Change records; unknown ids are ignored, metadata is merged and null deletes a key."""
    body = call.body
    if _has_no_records(call, body):
        return {}
    embeddings: Any = None
    if body.embeddings is not None:
        given = [one for one in body.embeddings if one is not None]
        if given:
            rows = iter(_vectors(given))
            embeddings = [None if one is None else next(rows) for one in body.embeddings]
        else:
            _check_length(len(body.ids), body.embeddings)
    checked = validation.check_update(
        body.ids, embeddings, _metadatas(body.metadatas), body.documents, None, body.uris
    )
    call.api.update(call.collection_id, checked.batch, **call.place)
    return {}


@serves("delete", s.Deleted, s.DeleteBody)
def delete(call: Call[s.DeleteBody]) -> dict[str, int]:
    """Delete the records that match all conditions."""
    body = call.body
    filtered = body.where is not None or body.where_document is not None
    if body.ids is None and not filtered:
        call.api.get_collection_by_id(call.collection_id, **call.place)
        return {"deleted": 0}
    ids = None if filtered and not body.ids else body.ids
    if ids is not None and not ids:
        raise InvalidArgumentError("Either ids or where must be specified")
    if body.limit is not None and not filtered:
        raise InvalidArgumentError("limit can only be specified when a where clause is provided")
    deleted = call.api.delete(
        call.collection_id,
        ids=None if ids is None else _unique(ids),
        where=body.where,
        where_document=body.where_document,
        limit=body.limit,
        **call.place,
    )
    return {"deleted": deleted}


@serves("count", int, query=(("read_level", "Chroma's read levels; a store is always up to date"),))
def count(call: Call[None]) -> int:
    """Return how many records there are."""
    call.word("read_level", _READ_LEVELS)
    return call.api.count(call.collection_id, **call.place)


# -- the store --------------------------------------------------------------------------------


@serves("heartbeat", s.Heartbeat)
def heartbeat(call: Call[None]) -> dict[str, int]:
    """Return the server's clock: it is alive."""
    return {"nanosecond heartbeat": time.time_ns()}


@serves("root", s.Heartbeat)
def root(call: Call[None]) -> dict[str, int]:
    """Return the server's clock, as Chroma's async client asks for it."""
    return {"nanosecond heartbeat": time.time_ns()}


@serves("version", str)
def version(call: Call[None]) -> str:
    """Return the version of the server."""
    return __version__


@serves("pre_flight_checks", s.Checks)
def pre_flight_checks(call: Call[None]) -> dict[str, Any]:
    """Return what a client has to know before its first write."""
    return {
        "max_batch_size": call.api.get_max_batch_size(),
        "supports_base64_encoding": True,
        "server": "chroma_nb",
        "version": __version__,
        "max_records": call.settings.server_max_batch_size,
        # Depends on the memory that is free now: clients ask again before they send much.
        "max_body": largest_part(parse_bytes(call.settings.server_max_body)),
    }


@serves("identity", s.Identity)
def identity(call: Call[None]) -> dict[str, Any]:
    """Return who the caller is taken for."""
    who = call.identity
    if who.is_admin:
        return {
            "user_id": who.name,
            "tenant": DEFAULT_TENANT,
            "databases": [DEFAULT_DATABASE],
        }
    return {"user_id": who.name, "tenant": who.tenants[0], "databases": ["*"]}


@serves("reset", bool)
def reset(call: Call[None]) -> bool:
    """Delete everything, where the settings allow it."""
    if not call.settings.allow_reset:
        raise AuthorizationError(
            "Reset is disabled by config: it deletes every collection of every tenant. Start the server with "
            "`chroma-nb run --allow-reset` (CHROMA_NB_ALLOW_RESET=1) to allow it."
        )
    return call.api.reset()


# -- tenants and databases --------------------------------------------------------------------


@serves("create_tenant", s.Nothing, s.NameBody, problems=(409,))
def create_tenant(call: Call[s.NameBody]) -> dict[str, Any]:
    """Add a tenant."""
    validation.check_tenant_name(call.body.name)
    call.api.create_tenant(call.body.name)
    return {}


@serves("get_tenant", s.TenantAnswer)
def get_tenant(call: Call[None]) -> dict[str, Any]:
    """Return a tenant."""
    return {"name": call.api.get_tenant(call.path["tenant"]), "resource_name": None}


@serves("update_tenant", s.Nothing, s.TenantChanges)
def update_tenant(call: Call[s.TenantChanges]) -> dict[str, Any]:
    """Accept Chroma's resource name of a tenant, which has nothing to act on here."""
    call.api.get_tenant(call.path["tenant"])
    return {}


@serves(
    "list_databases",
    list[s.DatabaseAnswer],
    query=(("limit", "At most this many"), ("offset", "Leave out this many first")),
)
def list_databases(call: Call[None]) -> list[dict[str, Any]]:
    """Return a tenant's databases in order of creation."""
    tenant = call.path["tenant"]
    found = call.api.list_databases(tenant, call.number("limit"), call.number("offset") or 0)
    return [{"id": str(key), "name": name, "tenant": tenant} for key, name in found]


@serves("create_database", s.Nothing, s.NameBody, problems=(409,))
def create_database(call: Call[s.NameBody]) -> dict[str, Any]:
    """Add a database."""
    validation.check_database_name(call.body.name)
    call.api.create_database(call.body.name, call.path["tenant"])
    return {}


@serves("get_database", s.DatabaseAnswer)
def get_database(call: Call[None]) -> dict[str, Any]:
    """Return a database."""
    found = call.api.get_database(call.path["database"], call.path["tenant"])
    return {"id": str(found), "name": call.path["database"], "tenant": call.path["tenant"]}


@serves("delete_database", s.Nothing)
def delete_database(call: Call[None]) -> dict[str, Any]:
    """Delete a database with all that is in it."""
    call.api.delete_database(call.path["database"], call.path["tenant"])
    return {}


# -- collections ------------------------------------------------------------------------------


@serves(
    "list_collections",
    list[s.CollectionAnswer],
    query=(("limit", "At most this many"), ("offset", "Leave out this many first")),
)
def list_collections(call: Call[None]) -> list[dict[str, Any]]:
    """Return the collections in order of creation."""
    found = call.api.list_collections(
        call.number("limit"), call.number("offset") or 0, **call.place
    )
    return [collection_to_json(one) for one in found]


@serves("count_collections", int)
def count_collections(call: Call[None]) -> int:
    """Return how many collections there are."""
    return call.api.count_collections(**call.place)


@serves("create_collection", s.CollectionAnswer, s.NewCollection, problems=(409,))
def create_collection(call: Call[s.NewCollection]) -> dict[str, Any]:
    """Make a collection, or return the one of that name."""
    body = call.body
    validation.check_collection_name(body.name)
    metadata = validation.check_collection_metadata(body.metadata)
    given = dict(body.configuration or {})
    function = validation.check_recorded_function(given.pop("embedding_function", None))
    configuration = validation.created_configuration(given, metadata, "l2")
    configuration["embedding_function"] = function
    made = call.api.create_collection(
        body.name, configuration, metadata, get_or_create=body.get_or_create, **call.place
    )
    return collection_to_json(made)


@serves("get_collection_by_id", s.CollectionAnswer)
def get_collection_by_id(call: Call[None]) -> dict[str, Any]:
    """Return the collection of that id."""
    return collection_to_json(call.api.get_collection_by_id(call.collection_id, **call.place))


@serves("get_collection", s.CollectionAnswer)
def get_collection(call: Call[None]) -> dict[str, Any]:
    """Return the collection of that name."""
    return collection_to_json(call.api.get_collection(call.path["name"], **call.place))


@serves("update_collection", s.Nothing, s.CollectionChanges, problems=(409,))
def update_collection(call: Call[s.CollectionChanges]) -> dict[str, Any]:
    """Change a collection's name, metadata (replaced whole) or configuration."""
    body = call.body
    if body.new_name is not None:
        validation.check_collection_name(body.new_name)
    metadata = validation.check_collection_metadata(body.new_metadata, modify=True)
    configuration = None
    changes = body.new_configuration
    info = call.api.get_collection_by_id(call.collection_id, **call.place)
    if changes is not None:
        hnsw = None if changes.hnsw is None else changes.hnsw.model_dump(exclude_none=True)
        spann = None if changes.spann is None else changes.spann.model_dump()
        configuration = {"hnsw": hnsw, "spann": spann}
        validation.updated_configuration(info.configuration, configuration)
        if changes.embedding_function is not None:
            configuration["embedding_function"] = validation.check_recorded_function(
                changes.embedding_function
            )
    if (body.new_name, metadata, configuration) != (None, None, None):
        call.api.modify(
            *(info.id,),
            name=body.new_name,
            metadata=metadata,
            configuration=configuration,
            **call.place,
        )
    return {}


@serves("delete_collection", s.Nothing)
def delete_collection(call: Call[None]) -> dict[str, Any]:
    """Delete a collection with its records."""
    call.api.delete_collection(call.path["name"], **call.place)
    return {}


@serves("fork", s.CollectionAnswer, s.ForkBody, problems=(409, 507))
def fork(call: Call[s.ForkBody]) -> dict[str, Any]:
    """Copy a collection under another name."""
    validation.check_collection_name(call.body.new_name)
    return collection_to_json(call.api.fork(call.collection_id, call.body.new_name, **call.place))


@serves("fork_count", s.ForkCount)
def fork_count(call: Call[None]) -> dict[str, int]:
    """Return how many forks share storage with the collection: none, a fork is a copy."""
    call.api.get_collection_by_id(call.collection_id, **call.place)
    return {"count": 0}


@serves("indexing_status", s.IndexingAnswer)
def indexing_status(call: Call[None]) -> dict[str, Any]:
    """Return how much of the collection its graph covers."""
    return call.api.indexing_status(call.collection_id, **call.place)._asdict()


@serves("search", s.Problem, problems=(501,))
def search(call: Call[None]) -> Any:
    """Chroma's hybrid search, which its local server lacks too."""
    raise NotSupportedError("Search is not implemented. Use query with where and where_document.")


@serves("attach_function", s.Problem, problems=(501,))
def attach_function(call: Call[None]) -> Any:
    """Chroma's attached functions, which its local server lacks too."""
    raise NotSupportedError("Attached functions are not implemented.")


@serves("get_attached_function", s.Problem)
def get_attached_function(call: Call[None]) -> Any:
    """Say that there is no attached function of that name."""
    raise NotFoundError(f"Attached function [{call.path['function'][:100]}] does not exist")


@serves("detach_function", s.Problem)
def detach_function(call: Call[None]) -> Any:
    """Say that there is no attached function of that name."""
    raise NotFoundError(f"Attached function [{call.path['function'][:100]}] does not exist")


# -- memory and graphs: chroma_nb's own -------------------------------------------------------------


@serves("unload", s.Released)
def unload(call: Call[None]) -> dict[str, int]:
    """Free the collection's memory; no answer changes (CIP-28112023)."""
    return {"released": call.api.unload(call.collection_id, **call.place)}


@serves(
    "unload_v1",
    s.Released,
    query=(("tenant", "The collection's tenant"), ("database", "The collection's database")),
)
def unload_v1(call: Call[None]) -> dict[str, int]:
    """Free the collection's memory, as CIP-28112023 names the route: the id alone says which."""
    info = _locate(call)
    where_to = {"tenant": info.tenant, "database": info.database}
    return {"released": call.api.unload(info.id, **where_to)}


@serves("load", s.Loaded, problems=(507,))
def load(call: Call[None]) -> dict[str, int]:
    """Bring the collection into memory."""
    return {"resident_bytes": call.api.load(call.collection_id, **call.place)}


@serves("pin", s.Nothing, s.PinBody, problems=(507,))
def pin(call: Call[s.PinBody]) -> dict[str, Any]:
    """Keep the collection in memory, or let it go like any other."""
    call.api.pin(call.collection_id, call.body.pinned, **call.place)
    return {}


@serves("set_ttl", s.CollectionAnswer, s.TtlBody)
def set_ttl(call: Call[s.TtlBody]) -> dict[str, Any]:
    """Set after how many seconds without use the collection is unloaded."""
    return collection_to_json(call.api.set_ttl(call.collection_id, call.body.seconds, **call.place))


@serves(
    "describe_fields",
    list[s.FieldAnswer],
    query=(("n_values", "The values of a key are counted where it has at most this many"),),
)
def describe_fields(call: Call[None]) -> list[dict[str, Any]]:
    """Return what the records have in their metadata."""
    n_values = min(call.number("n_values", 20) or 0, _MOST_VALUES)
    found = call.api.describe_fields(call.collection_id, n_values, **call.place)
    return [asdict(one) for one in found]


@serves("metadata_keys", list[str])
def metadata_keys(call: Call[None]) -> list[str]:
    """Return the keys that the records have in their metadata, sorted; 20,000 at most."""
    return call.api.metadata_keys(call.collection_id, **call.place)


@serves("build_index", s.Nothing, problems=(507,))
def build_index(call: Call[None]) -> dict[str, Any]:
    """Build the graph now, up to the last record."""
    call.api.build_index(call.collection_id, **call.place)
    return {}


@serves("explain", dict[str, Any], s.ExplainBody)
def explain(call: Call[s.ExplainBody]) -> dict[str, Any]:
    """Answer a query, and return how that was done."""
    body = call.body
    _check_results(call, body.n_results, len(body.query_embeddings))
    return call.api.explain(
        call.collection_id,
        _vectors(body.query_embeddings),
        body.n_results,
        ids=None if body.ids is None else _unique(body.ids),
        where=body.where,
        where_document=body.where_document,
        **call.place,
    )


@serves("memory_report", s.Report, s.ReportBody)
def memory_report(call: Call[s.ReportBody]) -> dict[str, Any]:
    """Return what the database's collections hold, and the totals of the store and its process."""
    chosen = call.body.collections
    wanted = None if chosen is None else [_uuid(one) for one in chosen]
    return call.api.memory_report(wanted, **call.place).to_dict()


@serves("unload_all", s.Released)
def unload_all(call: Call[None]) -> dict[str, int]:
    """Unload the database's collections that are not pinned."""
    return {"released": call.api.unload_all(**call.place)}


@serves("preview_memory_budget", list[s.EvictionAnswer], s.BudgetBody)
def preview_memory_budget(call: Call[s.BudgetBody]) -> list[dict[str, Any]]:
    """Return what a budget would unload, in order."""
    found = call.api.preview_memory_budget(call.body.budget, **call.place)
    return [asdict(one) for one in found]


@serves("get_memory_budget", s.Budget)
def get_memory_budget(call: Call[None]) -> dict[str, int]:
    """Return the bytes that loaded collections may hold together."""
    return {"budget": call.api.get_memory_budget()}


@serves("set_memory_budget", s.Budget, s.BudgetBody, problems=(507,))
def set_memory_budget(call: Call[s.BudgetBody]) -> dict[str, int]:
    """Set the budget; what does not fit is unloaded before this returns."""
    return {"budget": call.api.set_memory_budget(call.body.budget)}


@serves("estimate_memory", s.EstimateAnswer, s.EstimateBody)
def estimate_memory(call: Call[s.EstimateBody]) -> dict[str, Any]:
    """Reckon what a collection of some size would take."""
    body = call.body
    given = {
        key: value
        for key, value in (body.configuration or {}).items()
        if key != "embedding_function"
    }
    configuration = validation.created_configuration(given, None, "l2")
    found = call.api.estimate_memory(body.n_records, body.dimension, configuration, body.text_bytes)
    return asdict(found)


# -- what bodies mean -------------------------------------------------------------------------


def _uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise InvalidUUIDError(f"Collection ID is not a valid UUIDv4: {text[:100]!r}") from None


def _locate(call: Call[None]) -> CollectionInfo:
    """Find a collection by its id alone, in the databases of a tenant that the caller may use."""
    collection_id = call.collection_id
    tenant = call.query.get("tenant")
    if tenant is None:
        tenant = DEFAULT_TENANT if call.identity.is_admin else call.identity.tenants[0]
    call.identity.check_tenant(tenant)
    database = call.query.get("database")
    names = (
        [name for _, name in call.api.list_databases(tenant)] if database is None else [database]
    )
    for name in names:
        try:
            return call.api.get_collection_by_id(collection_id, tenant=tenant, database=name)
        except NotFoundError:
            continue
    raise NotFoundError(f"Collection [{collection_id}] does not exist.")


def _include(given: Sequence[str]) -> list[str]:
    for item in given:
        if item not in _INCLUDES:
            raise InvalidArgumentError(
                f"Expected include item to be one of {', '.join(_INCLUDES)}, got {item[:100]}"
            )
    return list(given)


def _unique(ids: list[str]) -> list[str]:
    return list(dict.fromkeys(ids))


def _vectors(given: Sequence[Any]) -> NDArray[np.float32]:
    """Return embeddings, which came as lists of numbers or as base64, as an array: float32, shape (n, dimension)."""
    if given and isinstance(given[0], str):
        return validation.check_embeddings(from_base64(given))
    return validation.check_embeddings(list(given))


def _embeddings_to_send(call: Call[Any], vectors: NDArray[np.float32]) -> list[Any]:
    if call.query.get("embeddings") == "base64":
        return list(to_base64(vectors))
    return list(vectors.tolist())


def _check_results(call: Call[Any], n_results: int, n_queries: int) -> None:
    """Refuse a query whose answer would be too large, before it is run.

    Raises:
        InvalidArgumentError: It asks for more results than `server_max_results`.
    """
    limit = call.settings.server_max_results
    if n_results * n_queries > limit:
        # A query has no more results than there are records.
        n_results = min(n_results, call.api.count(call.collection_id, **call.place))
    if n_results * n_queries > limit:
        raise InvalidArgumentError(
            f"{n_results:,} results for each of {n_queries:,} queries are more than the server's maximum of "
            f"{limit:,} in one request: ask in parts (Settings.server_max_results)."
        )


def _has_no_records(call: Call[Any], body: s.NewRecords | s.RecordChanges) -> bool:
    """Say whether a body has no records to write.

    Raises:
        BatchSizeExceededError: It has more records than one request may have.
    """
    limit = call.settings.server_max_batch_size
    if len(body.ids) > limit:
        raise BatchSizeExceededError(
            f"Batch size {len(body.ids):,} exceeds the server's maximum of {limit:,} records: send them in "
            "parts (Settings.server_max_batch_size)."
        )
    if body.ids:
        return False
    _check_length(0, body.embeddings or [])
    call.api.get_collection_by_id(call.collection_id, **call.place)
    return True


def _check_length(n_ids: int, values: Sequence[Any]) -> None:
    if len(values) != n_ids:
        raise InvalidArgumentError(
            "Inconsistent number of IDs, embeddings, documents, URIs and metadatas"
        )


def _first_of_each(body: s.NewRecords) -> s.NewRecords:
    """Return a body without repeated ids: as in Chroma, the first record of an id counts."""
    if len(set(body.ids)) == len(body.ids):
        return body
    for values in (body.embeddings, body.metadatas, body.documents, body.uris):
        if values is not None:
            _check_length(len(body.ids), values)
    seen: set[str] = set()
    rows = [
        row
        for row, one in enumerate(body.ids)
        if not (one in seen or seen.add(one))  # type: ignore[func-returns-value]
    ]

    def part(values: Any) -> Any:
        return None if values is None else [values[row] for row in rows]

    return s.NewRecords.model_construct(
        ids=part(body.ids),
        embeddings=part(body.embeddings),
        metadatas=part(body.metadatas),
        documents=part(body.documents),
        uris=part(body.uris),
    )


def _metadatas(given: list[dict[str, Any] | None] | None) -> list[dict[str, Any] | None] | None:
    """Return metadata with None in the place of empty objects."""
    return None if given is None else [one or None for one in given]


def _new_batch(body: s.NewRecords) -> Any:
    checked = validation.check_insert(
        *(body.ids, _vectors(body.embeddings), _metadatas(body.metadatas)),
        *(body.documents, None, body.uris),
    )
    return checked.batch


def _nothing_found(n_queries: int, include: Sequence[str]) -> dict[str, Any]:
    parts = ("distances", "embeddings", "documents", "metadatas", "uris")
    empty: list[list[Any]] = [[] for _ in range(n_queries)]
    return {
        "ids": empty,
        **{part: empty if part in include else None for part in parts},
        "include": list(include),
    }
