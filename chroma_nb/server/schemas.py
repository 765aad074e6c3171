"""Models of the bodies and answers of the REST API, as Chroma's v2 has them; OpenAPI shows them.

Bodies are parsed and checked by these models. Answers are plain values, which the models only describe.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal
from uuid import UUID  # noqa: TC003 - pydantic reads the annotations

from pydantic import BaseModel, ConfigDict, Field


class Body(BaseModel):
    """A JSON object. Unknown members are ignored; values of another type are refused, not converted."""

    model_config = ConfigDict(strict=True, extra="ignore")


class StrictBody(Body):
    """A JSON object whose unknown members are refused: what they say would be dropped."""

    model_config = ConfigDict(strict=True, extra="forbid")


class Answer(BaseModel):
    """What is sent back."""


Where = dict[str, Any]
# `fail_fast`: checking a list stops at its first wrong item. A report of each would take hundreds of times the body.
Texts = Annotated[list[str], Field(fail_fast=True)]
OptionalTexts = Annotated[list[str | None], Field(fail_fast=True)]
Numbers = Annotated[list[float], Field(fail_fast=True)]
#: Lists of numbers, or base64 of little-endian float32.
Vectors = Texts | Annotated[list[Numbers], Field(fail_fast=True)]
OptionalVectors = OptionalTexts | Annotated[list[Numbers | None], Field(fail_fast=True)]
Metadata = dict[str, Any]
Metadatas = Annotated[list[Metadata | None], Field(fail_fast=True)]


# -- bodies -----------------------------------------------------------------------------------


class NameBody(Body):
    """The name of something new."""

    name: str


class TenantChanges(Body):
    """Changes of a tenant; Chroma's only one has nothing to act on here."""

    resource_name: str | None = None


class NewCollection(Body):
    """A collection to make."""

    name: str
    metadata: Metadata | None = None
    configuration: dict[str, Any] | None = None
    #: Which indexes there are; it says what `configuration` says, too, where it is not the default one.
    schema_: dict[str, Any] | None = Field(default=None, alias="schema")
    get_or_create: bool = False


class HnswChanges(StrictBody):
    """What can be changed of a graph."""

    ef_search: int | None = None
    max_neighbors: int | None = None
    num_threads: int | None = None
    resize_factor: float | None = None
    sync_threshold: int | None = None
    batch_size: int | None = None


class SpannChanges(StrictBody):
    """What can be changed of Chroma's other index, which does nothing here."""

    search_nprobe: int | None = None
    ef_search: int | None = None


class ConfigurationChanges(StrictBody):
    """Changes of a collection's configuration."""

    hnsw: HnswChanges | None = None
    spann: SpannChanges | None = None
    embedding_function: dict[str, Any] | None = None


class CollectionChanges(Body):
    """Changes of a collection; metadata is replaced whole."""

    new_name: str | None = None
    new_metadata: Metadata | None = None
    new_configuration: ConfigurationChanges | None = None


class ForkBody(Body):
    """The name of a copy."""

    new_name: str


class NewRecords(Body):
    """Records to add or upsert; every one has an embedding."""

    ids: Texts
    embeddings: Vectors
    metadatas: Metadatas | None = None
    documents: OptionalTexts | None = None
    uris: OptionalTexts | None = None


class RecordChanges(Body):
    """Changes of records; what is null stays as it is."""

    ids: Texts
    embeddings: OptionalVectors | None = None
    metadatas: Metadatas | None = None
    documents: OptionalTexts | None = None
    uris: OptionalTexts | None = None


class GetBody(Body):
    """Which records, and what of them."""

    ids: Texts | None = None
    where: Where | None = None
    where_document: Where | None = None
    limit: int | None = Field(default=None, ge=0)
    offset: int | None = Field(default=None, ge=0)
    include: Texts = ["metadatas", "documents"]


class ScanBody(StrictBody):
    """The beginning of a scan (no `scan`); a further piece of it (`scan`, `piece`); or its end (`scan`, `close`).

    An unknown member is one that is misspelt, and would read another part of the collection.
    """

    scan: str = ""
    piece: int = Field(default=0, ge=0)
    close: bool = False
    ids: Texts | None = None
    where: Where | None = None
    where_document: Where | None = None
    include: Texts = ["embeddings", "documents", "metadatas", "uris"]
    piece_bytes: int | None = Field(default=None, ge=1)
    skip_damaged: bool = False
    #: The token of a new scan, chosen by its client.
    key: str = Field(default="", pattern=r"^([A-Za-z0-9_-]{16,64})?$")


class QueryBody(Body):
    """Queries, and what to return of the records that are found."""

    query_embeddings: Vectors
    n_results: int | None = Field(default=None, ge=0)
    ids: Texts | None = None
    where: Where | None = None
    where_document: Where | None = None
    include: Texts = ["metadatas", "documents", "distances"]


class PagePart(StrictBody):
    """Which part of a search's answer."""

    offset: int = Field(default=0, ge=0)
    limit: int | None = Field(default=None, ge=0)


class SelectPart(StrictBody):
    """What comes back of each record: `#document`, `#embedding`, `#metadata`, `#score`, metadata keys."""

    keys: Texts = []


class SearchPart(StrictBody):
    """One search, as Chroma's `Search.to_dict()` writes it."""

    filter: Where | None = None
    rank: Any = None
    group_by: dict[str, Any] = {}
    limit: PagePart = PagePart()
    select: SelectPart = SelectPart()


class SearchBody(StrictBody):
    """Searches. A store is always up to date, so all of Chroma's read levels mean the same."""

    searches: Annotated[list[SearchPart], Field(fail_fast=True)]
    read_level: Literal["index_and_wal", "index_only", "index_and_bounded_wal"] = "index_and_wal"


class ExplainBody(Body):
    """A query to explain."""

    query_embeddings: Vectors
    n_results: int = Field(default=10, ge=1)
    ids: Texts | None = None
    where: Where | None = None
    where_document: Where | None = None


class DeleteBody(Body):
    """Which records to delete."""

    ids: Texts | None = None
    where: Where | None = None
    where_document: Where | None = None
    limit: int | None = Field(default=None, ge=0)


class ReportBody(Body):
    """Of which collections; null is all."""

    collections: Texts | None = None


class BudgetBody(Body):
    """Bytes, ``"2 GB"``, ``"25%"`` or ``"auto"``."""

    budget: int | float | str


class PinBody(Body):
    """Keep it in memory, or not."""

    pinned: bool


class TtlBody(Body):
    """Seconds without use; null is the store's interval."""

    seconds: float | None = None


class EstimateBody(Body):
    """A collection that may be made."""

    n_records: int = Field(ge=1)
    dimension: int = Field(ge=1)
    configuration: dict[str, Any] | None = None
    text_bytes: int | None = Field(default=None, ge=0)


# -- answers ----------------------------------------------------------------------------------


class Nothing(Answer):
    """An empty object: it is done."""


class Problem(Answer):
    """What went wrong."""

    error: str = Field(description="One of Chroma's names of errors.")
    message: str
    kind: str | None = Field(
        default=None, description="chroma_nb's class, where it has a nearer one."
    )


class Heartbeat(Answer):
    """The server's clock."""

    nanoseconds: int = Field(alias="nanosecond heartbeat")


class Health(Answer):
    """Ready to answer?"""

    is_executor_ready: bool
    is_log_client_ready: bool


class Checks(Answer):
    """What a client has to know before its first write."""

    max_batch_size: int
    supports_base64_encoding: bool
    server: str
    version: str
    max_records: int
    max_body: int
    max_values: int | None


class Identity(Answer):
    """Who the caller is taken for."""

    user_id: str
    tenant: str | None
    databases: list[str]


class TenantAnswer(Answer):
    """A tenant."""

    name: str
    resource_name: str | None


class DatabaseAnswer(Answer):
    """A database."""

    id: UUID
    name: str
    tenant: str


class CollectionAnswer(Answer):
    """A collection."""

    id: UUID
    name: str
    configuration_json: dict[str, Any]
    schema_: dict[str, Any] | None = Field(alias="schema")
    metadata: Metadata | None
    dimension: int | None
    tenant: str
    database: str
    log_position: int
    version: int
    ttl_seconds: float | None


class GetAnswer(Answer):
    """Records in storage order; what was not asked for is null."""

    ids: list[str]
    embeddings: Vectors | None
    documents: list[str | None] | None
    metadatas: list[Metadata | None] | None
    uris: list[str | None] | None
    include: list[str]


class ScanPiece(Answer):
    """Some records as columns; what was not asked for is null."""

    ids: list[str]
    #: base64 of little-endian float32, one embedding after the other.
    embeddings: str | None
    documents: list[str | None] | None
    #: Each a JSON object, as text.
    metadatas: list[str | None] | None
    uris: list[str | None] | None
    #: Records left out here, as their embeddings are damaged.
    n_damaged: int


class ScanAnswer(Answer):
    """A piece of a scan; null after the last one, which closes the scan."""

    scan: str
    n_records: int
    dimension: int
    piece: ScanPiece | None


class QueryAnswer(Answer):
    """For each query its records, nearest first; what was not asked for is null."""

    ids: list[list[str]]
    distances: list[list[float]] | None
    embeddings: list[Vectors] | None
    documents: list[list[str | None]] | None
    metadatas: list[list[Metadata | None]] | None
    uris: list[list[str | None]] | None
    include: list[str]


class SearchAnswer(Answer):
    """For each search its records by score, lowest first; a column that was not selected is null.

    A score that is not finite is null, or with `positions` its name: `inf`, `-inf`, `nan`.
    """

    ids: list[list[str]]
    documents: list[list[str | None] | None]
    embeddings: list[Vectors | None]
    metadatas: list[list[Metadata | None] | None]
    scores: list[list[float | str | None] | None]
    select: list[list[str]]
    positions: list[list[list[int]] | None] | None = None
    #: With `positions`: how many records each `$knn` found, and how many are scored; null without a rank.
    found: list[list[int] | None] | None = None
    scored: list[int | None] | None = None
    #: With `plans`: how each `$knn` was answered.
    plans: list[list[dict[str, Any]] | None] | None = None


class Deleted(Answer):
    """How many records there were."""

    deleted: int


class Released(Answer):
    """Bytes that were freed."""

    released: int


class Loaded(Answer):
    """Bytes that are held."""

    resident_bytes: int


class IndexingAnswer(Answer):
    """How much of the collection its graph covers."""

    num_indexed_ops: int
    num_unindexed_ops: int
    total_ops: int
    op_indexing_progress: float


class ForkCount(Answer):
    """Copies that share storage: none."""

    count: int


class Budget(Answer):
    """Bytes that loaded collections may hold together."""

    budget: int


class Report(Answer):
    """The memory of the store; see `MemoryReport`."""

    budget: int
    used: int
    collections: list[dict[str, Any]]
    events: list[dict[str, Any]]
    process_bytes: int
    limit_bytes: int


class EvictionAnswer(Answer):
    """A collection that a budget would unload."""

    collection: str
    n_bytes: int
    reason: str


class EstimateAnswer(Answer):
    """What a collection would take."""

    n_records: int
    dimension: int
    n_bytes: int
    form: str
    by_form: dict[str, int]
    largest: dict[str, int]
    disk_bytes: int
    budget: int


class FieldAnswer(Answer):
    """What the records have under one metadata key."""

    key: str
    kinds: list[str]
    n_records: int
    minimum: float | None
    maximum: float | None
    n_distinct: int
    values: list[list[Any]]
    is_estimate: bool
