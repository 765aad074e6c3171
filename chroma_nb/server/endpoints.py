"""`ENDPOINTS`: what each route of the REST API takes and gives, for reading bodies and for the OpenAPI document."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from chroma_nb.server import schemas as s
from chroma_nb.server.operations import HANDLERS
from chroma_nb.wire.rest import ROUTES

if TYPE_CHECKING:
    from chroma_nb.wire.rest import Route

_EMBEDDINGS = ("embeddings", "`base64`: embeddings come back as base64")
_POSITIONS = (
    "positions",
    "`true`: say at which place, from 0, each `$knn` found each record, -1 for none",
)
_PLANS = ("plans", "`true`: say how each `$knn` was answered")
_PAGE = (("limit", "At most this many"), ("offset", "Leave out this many first"))


@dataclass(frozen=True)
class Endpoint:
    """A route, as the server describes it.

    Args:
        route: The route.
        answer: The model or the type of its answer.
        body: The model of its body; None: it has none.
        status: The status of an answer.
        query: Parameters of the query string, with what they mean.
        problems: Statuses of errors beside the usual ones.
        what: What it does; empty: as the operation's handler says.
    """

    route: Route
    answer: Any
    body: type[s.Body] | None = None
    status: int = 200
    query: tuple[tuple[str, str], ...] = ()
    problems: tuple[int, ...] = ()
    what: str = ""

    @property
    def summary(self) -> str:
        """What it does, in a line."""
        said = self.what or HANDLERS[self.route.operation.name].__doc__ or ""
        return said.strip().splitlines()[0]


#: By the route's name.
ENDPOINTS: dict[str, Endpoint] = {}


def _endpoint(name: str, answer: Any, body: type[s.Body] | None = None, **options: Any) -> None:
    ENDPOINTS[name] = Endpoint(ROUTES[name], answer, body, **options)


# Records.
_endpoint("query", s.QueryAnswer, s.QueryBody, query=(_EMBEDDINGS,))
_endpoint("scan", s.ScanAnswer, s.ScanBody)
_endpoint("search", s.SearchAnswer, s.SearchBody, query=(_EMBEDDINGS, _POSITIONS, _PLANS))
_endpoint("get", s.GetAnswer, s.GetBody, query=(_EMBEDDINGS,))
_endpoint(
    "add",
    s.Nothing,
    s.NewRecords,
    status=201,
    query=(("on_conflict", "What happens to ids that exist: `skip`, `error` or `replace`"),),
    problems=(409,),
)
_endpoint("upsert", s.Nothing, s.NewRecords)
_endpoint("update", s.Nothing, s.RecordChanges)
_endpoint("delete", s.Deleted, s.DeleteBody)
_endpoint(
    "count", int, query=(("read_level", "Chroma's read levels; a store is always up to date"),)
)

# The store.
_endpoint("heartbeat", s.Heartbeat)
_endpoint(
    "root", s.Heartbeat, what="Return the server's clock, as Chroma's async client asks for it."
)
_endpoint("version", str)
_endpoint("pre_flight_checks", s.Checks)
_endpoint("identity", s.Identity)
_endpoint("reset", bool)

# Tenants and databases.
_endpoint("create_tenant", s.Nothing, s.NameBody, problems=(409,))
_endpoint("get_tenant", s.TenantAnswer)
_endpoint(
    "update_tenant",
    s.Nothing,
    s.TenantChanges,
    what="Accept Chroma's resource name of a tenant, which has nothing to act on here.",
)
_endpoint("list_databases", list[s.DatabaseAnswer], query=_PAGE)
_endpoint("create_database", s.Nothing, s.NameBody, problems=(409,))
_endpoint("get_database", s.DatabaseAnswer)
_endpoint("delete_database", s.Nothing)

# Collections.
_endpoint("list_collections", list[s.CollectionAnswer], query=_PAGE)
_endpoint("count_collections", int)
_endpoint("create_collection", s.CollectionAnswer, s.NewCollection, problems=(409,))
_endpoint("get_collection_by_id", s.CollectionAnswer)
_endpoint("get_collection", s.CollectionAnswer)
_endpoint("update_collection", s.Nothing, s.CollectionChanges, problems=(409,))
_endpoint("delete_collection", s.Nothing)
_endpoint("fork", s.CollectionAnswer, s.ForkBody, problems=(409,))
_endpoint(
    "fork_count",
    s.ForkCount,
    what="Return how many forks share storage with the collection: none, a fork is a copy.",
)
_endpoint("indexing_status", s.IndexingAnswer)
_endpoint("attach_function", s.Problem, problems=(501,))
_endpoint("get_attached_function", s.Problem)
_endpoint("detach_function", s.Problem)

# Memory and graphs: chroma_nb's own.
_endpoint("unload", s.Released)
_endpoint(
    "unload_v1",
    s.Released,
    query=(("tenant", "The collection's tenant"), ("database", "The collection's database")),
)
_endpoint("load", s.Loaded)
_endpoint("pin", s.Nothing, s.PinBody)
_endpoint("set_ttl", s.CollectionAnswer, s.TtlBody)
_endpoint(
    "describe_fields",
    list[s.FieldAnswer],
    query=(("n_values", "The values of a key are counted where it has at most this many"),),
)
_endpoint("metadata_keys", list[str])
_endpoint("build_index", s.Nothing)
_endpoint("explain", dict[str, Any], s.ExplainBody)
_endpoint("memory_report", s.Report, s.ReportBody)
_endpoint("unload_all", s.Released)
_endpoint("preview_memory_budget", list[s.EvictionAnswer], s.BudgetBody)
_endpoint("get_memory_budget", s.Budget)
_endpoint("set_memory_budget", s.Budget, s.BudgetBody)
_endpoint("estimate_memory", s.EstimateAnswer, s.EstimateBody)
