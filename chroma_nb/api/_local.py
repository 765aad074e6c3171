"""`Local`: the API in this process, on a `DB` and a `SegmentManager`."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar
from uuid import UUID, uuid4

from chroma_nb._version import __version__
from chroma_nb.api.base import API, Found, Matches, Records
from chroma_nb.api.calls import looking_once, page_of
from chroma_nb.api.conditions import Conditions
from chroma_nb.api.scanning import EVERYTHING
from chroma_nb.errors import (
    AuthorizationError,
    InternalError,
    NotFoundError,
    UniqueConstraintError,
)
from chroma_nb.filters.expression import Or, patterns
from chroma_nb.index.base import graph_parameters
from chroma_nb.memory.report import ELSEWHERE, Estimate, Eviction, MemoryReport
from chroma_nb.memory.sizes import parse_bytes
from chroma_nb.memory.trim import return_memory
from chroma_nb.schema_json import with_extra
from chroma_nb.search.conditions import as_filter
from chroma_nb.search.limits import SearchLimits
from chroma_nb.segment import answers, memory_report
from chroma_nb.segment.checking import checked_store
from chroma_nb.segment.locks import release_stale
from chroma_nb.segment.searches import found_by, prepared
from chroma_nb.segment.writer import Writer
from chroma_nb.shielded import finish
from chroma_nb.suggest import did_you_mean
from chroma_nb.types import (
    DEFAULT_DATABASE,
    DEFAULT_TENANT,
    CollectionInfo,
    FieldSummary,
    IndexingStatus,
    OnConflict,
    RecordBatch,
    UserIdentity,
    Where,
)
from chroma_nb.validation import (
    check_description,
    check_dimension,
    check_new_name,
    check_ttl,
    reconciled,
    updated_configuration,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from chroma_nb.api.scanning import Scan, ScanPiece
    from chroma_nb.check_report import CheckReport
    from chroma_nb.db.base import DB
    from chroma_nb.search.expression import Search
    from chroma_nb.segment.manager import SegmentManager
    from chroma_nb.settings import Settings

_Selected = TypeVar("_Selected")


@looking_once
class Local(API):
    """Answers in this process.

    Args:
        db: Holds all records.
        segments: The collections that are in memory, and the background work.
        settings: `allow_reset`, `max_batch_size` and the limits of filters are used.
    """

    needs_db: ClassVar[bool] = True
    is_near: ClassVar[bool] = True

    def __init__(self, db: DB, segments: SegmentManager, settings: Settings) -> None:
        self.db = db
        self.segments = segments
        self.settings = settings
        self._writer = Writer(db, segments)
        self._conditions = Conditions(db, settings)
        self._search_limits = SearchLimits.of(settings)
        self.max_ids = settings.max_filter_values
        self._most_description = parse_bytes(settings.max_description)
        self._pid = os.getpid()
        self._close_lock = threading.Lock()
        self._closed = False
        #: Why it was closed, where its user did not do so.
        self._reason = ""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.db!r})"

    # -- the store ----------------------------------------------------------------------------

    def heartbeat(self) -> int:
        return time.time_ns()

    def get_version(self) -> str:
        return __version__

    def get_max_batch_size(self) -> int:
        return self.settings.max_batch_size

    def get_user_identity(self) -> UserIdentity:
        return UserIdentity("", DEFAULT_TENANT, [DEFAULT_DATABASE])

    def reset(self) -> bool:
        if not self.settings.allow_reset:
            raise AuthorizationError(
                "Reset is disabled by config: it deletes every collection. "
                "Open the client with Settings(allow_reset=True) to allow it."
            )
        self.segments.delete_collections(
            [info.id for info in self.db.list_collections()], self.db.reset
        )
        return True

    def close(self) -> None:
        if self._pid != os.getpid():
            # A forked child has copies of the handles; only the owner may write.
            return
        if not self._closed and not self.db.is_there():
            self.abandon()
        with self._close_lock:
            if self._closed:
                return
            self._closed = True
            # A full disk keeps a graph from being saved, and must not keep the folder locked.
            finish(self.segments.close, self.db.close, return_memory)

    def abandon(self) -> None:
        """Close without writing anything more: the store's folder is gone."""
        with self._close_lock:
            if not self._closed:
                self._closed = True
                self._reason = ", as its folder was moved, deleted or replaced"
                finish(lambda: self.segments.close(save=False), self.db.abandon, return_memory)

    def _check_usable(self) -> None:
        if self._pid != os.getpid():
            raise InternalError(
                f"{self!r} was opened in process {self._pid} and is used in process {os.getpid()}, which was "
                "forked from it. A process has to open its own client: in memory (chroma_nb.EphemeralClient()), "
                "on a folder of its own, or of a server that both use (chroma_nb.connect(url))."
            )
        # Every operation begins here.
        release_stale()
        if not self._closed and not self.db.is_there():
            self.abandon()
        if self._closed:
            raise InternalError(f"{self!r} is closed{self._reason}. Open a new client to go on.")

    # -- tenants and databases ----------------------------------------------------------------

    def create_tenant(self, name: str) -> None:
        self._check_usable()
        check_new_name(name, "tenant")
        self.db.create_tenant(name)

    def get_tenant(self, name: str) -> str:
        self._check_usable()
        if not self.db.has_tenant(name):
            raise NotFoundError(f"Tenant [{name}] not found")
        return name

    def create_database(self, name: str, tenant: str) -> None:
        self.get_tenant(tenant)
        check_new_name(name, "database")
        self.db.create_database(name, tenant)

    def get_database(self, name: str, tenant: str) -> UUID:
        self.get_tenant(tenant)
        database_id = self.db.find_database(name, tenant)
        if database_id is None:
            raise NotFoundError(f"Database [{name}] not found. Are you sure it exists?")
        return database_id

    def list_databases(
        self, tenant: str, limit: int | None = None, offset: int = 0
    ) -> list[tuple[UUID, str]]:
        self.get_tenant(tenant)
        return page_of(self.db.list_databases(tenant), limit, offset)

    def delete_database(self, name: str, tenant: str) -> None:
        self.get_database(name, tenant)
        doomed = [info.id for info in self.db.list_collections(tenant, name)]
        self.segments.delete_collections(doomed, lambda: self.db.delete_database(name, tenant))

    # -- collections --------------------------------------------------------------------------

    def create_collection(
        self,
        name: str,
        configuration: dict[str, Any],
        metadata: dict[str, Any] | None,
        *,
        schema: dict[str, Any] | None = None,
        get_or_create: bool,
        tenant: str,
        database: str,
    ) -> CollectionInfo:
        configuration, beyond = reconciled(configuration, schema)
        self.get_database(database, tenant)
        found = self.db.find_collection(name, tenant, database)
        if found is None:
            info = CollectionInfo(
                uuid4(), name, tenant, database, configuration, metadata, schema=beyond
            )
            check_description(info, self._most_description)
            try:
                self.db.create_collection(info)
            except UniqueConstraintError:
                # Another thread was first.
                found = self.db.find_collection(name, tenant, database)
            else:
                return info
        if found is None or not get_or_create:
            raise UniqueConstraintError(f"Collection [{name}] already exists")
        return found

    def get_collection(self, name: str, *, tenant: str, database: str) -> CollectionInfo:
        self.get_database(database, tenant)
        info = self.db.find_collection(name, tenant, database)
        if info is None:
            known = (one.name for one in self.db.list_collections(tenant, database))
            hint = did_you_mean(name, known, " Did you mean [{}]?")
            raise NotFoundError(f"Collection [{name}] does not exist{'.' if hint else ''}{hint}")
        return info

    def get_collection_by_id(
        self, collection_id: UUID, *, tenant: str, database: str
    ) -> CollectionInfo:
        return self._info(collection_id, tenant, database)

    def _info(self, collection_id: UUID, tenant: str, database: str) -> CollectionInfo:
        self._check_usable()
        try:
            info = self.db.get_collection(collection_id)
        except NotFoundError:
            if self.db.shared:
                self.segments.deleted_elsewhere(collection_id)
            raise
        if info.tenant != tenant or info.database != database:
            raise NotFoundError(f"Collection [{collection_id}] does not exist.")
        return info

    def list_collections(
        self, limit: int | None = None, offset: int = 0, *, tenant: str, database: str
    ) -> list[CollectionInfo]:
        self.get_database(database, tenant)
        return page_of(self.db.list_collections(tenant, database), limit, offset)

    def count_collections(self, *, tenant: str, database: str) -> int:
        return len(self.list_collections(tenant=tenant, database=database))

    def modify(
        self,
        collection_id: UUID,
        *,
        name: str | None = None,
        metadata: dict[str, Any] | None = None,
        configuration: dict[str, Any] | None = None,
        tenant: str,
        database: str,
    ) -> CollectionInfo:
        self._info(collection_id, tenant, database)

        def change(info: CollectionInfo) -> CollectionInfo:
            changed = replace(
                info,
                name=info.name if name is None else name,
                metadata=info.metadata if metadata is None else metadata,
                configuration=updated_configuration(info.configuration, configuration or {}),
                schema=with_extra(info.schema, (configuration or {}).get("hnsw")),
            )
            return check_description(changed, self._most_description, info)

        current = self.db.update_collection(collection_id, change)
        self.segments.configuration_changed(current)
        return current

    def delete_collection(self, name: str, *, tenant: str, database: str) -> None:
        doomed = self.get_collection(name, tenant=tenant, database=database).id
        self.segments.delete_collections([doomed], lambda: self.db.delete_collection(doomed))

    # -- writing ------------------------------------------------------------------------------

    def add(
        self,
        collection_id: UUID,
        batch: RecordBatch,
        *,
        on_conflict: OnConflict = "skip",
        tenant: str,
        database: str,
    ) -> None:
        self._info(collection_id, tenant, database)
        self._writer.write(collection_id, batch, existing=on_conflict)

    def update(
        self, collection_id: UUID, batch: RecordBatch, *, tenant: str, database: str
    ) -> None:
        self._info(collection_id, tenant, database)
        self._writer.write(collection_id, batch, existing="only")

    def upsert(
        self, collection_id: UUID, batch: RecordBatch, *, tenant: str, database: str
    ) -> None:
        self._info(collection_id, tenant, database)
        self._writer.write(collection_id, batch, existing="merge")

    def delete(
        self,
        collection_id: UUID,
        *,
        ids: Sequence[str] | None = None,
        where: Where | None = None,
        where_document: Where | None = None,
        limit: int | None = None,
        tenant: str,
        database: str,
    ) -> int:
        self._info(collection_id, tenant, database)
        expression = self._conditions.read(collection_id, where, where_document, ids)
        return self._writer.delete(collection_id, expression, ids=ids, limit=limit)

    # -- reading ------------------------------------------------------------------------------

    def count(self, collection_id: UUID, *, tenant: str, database: str) -> int:
        self._info(collection_id, tenant, database)
        return self.segments.extent(collection_id).n_records

    def record_bytes(self, collection_id: UUID, *, tenant: str, database: str) -> int:
        info = self._info(collection_id, tenant, database)
        return self.db.text_sizes(collection_id).row_bytes() + 4 * (info.dimension or 0)

    def get(
        self,
        collection_id: UUID,
        *,
        ids: Sequence[str] | None = None,
        where: Where | None = None,
        where_document: Where | None = None,
        limit: int | None = None,
        offset: int = 0,
        include: Sequence[str] = ("metadatas", "documents"),
        tenant: str,
        database: str,
    ) -> Records:
        return self._selected(
            answers.records,
            collection_id,
            ids=ids,
            where=where,
            where_document=where_document,
            limit=limit,
            offset=offset,
            include=include,
            tenant=tenant,
            database=database,
        )

    def get_columns(self, collection_id: UUID, **asked: Any) -> ScanPiece:
        return self._selected(answers.columns, collection_id, **asked)

    def _selected(
        self,
        read: Callable[..., _Selected],
        collection_id: UUID,
        *,
        ids: Sequence[str] | None = None,
        where: Where | None = None,
        where_document: Where | None = None,
        limit: int | None = None,
        offset: int = 0,
        include: Sequence[str] = ("metadatas", "documents"),
        tenant: str,
        database: str,
    ) -> _Selected:
        """Return what `read` makes of the records that match all conditions."""
        self._info(collection_id, tenant, database)
        expression = self._conditions.read(collection_id, where, where_document, ids)
        with self.segments.present(collection_id, expression) as segment:
            return read(segment, expression, ids, limit, offset, include, budget=self._budget)

    def scan(
        self,
        collection_id: UUID,
        *,
        ids: Sequence[str] | None = None,
        where: Where | None = None,
        where_document: Where | None = None,
        include: Sequence[str] = EVERYTHING,
        piece_bytes: int | None = None,
        skip_damaged: bool = False,
        tenant: str,
        database: str,
    ) -> Scan:
        check = partial(self._info, collection_id, tenant, database)
        check()
        expression = self._conditions.read(collection_id, where, where_document, ids)
        options: Any = {"skip_damaged": skip_damaged, "piece_bytes": piece_bytes, "check": check}
        return self.segments.scan(collection_id, expression, ids, include, **options)

    def query(
        self,
        collection_id: UUID,
        embeddings: NDArray[np.float32],
        n_results: int,
        *,
        ids: Sequence[str] | None = None,
        where: Where | None = None,
        where_document: Where | None = None,
        include: Sequence[str] = ("metadatas", "documents", "distances"),
        tenant: str,
        database: str,
    ) -> Matches:
        info = self._info(collection_id, tenant, database)
        expression = self._conditions.read(collection_id, where, where_document, ids)
        if info.dimension is not None:
            check_dimension(info.dimension, embeddings.shape[1], info.name)
        with self.segments.answering(collection_id, expression) as segment:
            return answers.matches(
                segment, embeddings, n_results, expression, ids, include, budget=self._budget
            )

    def search(
        self,
        collection_id: UUID,
        searches: Sequence[Search],
        *,
        read_level: str = "index_and_wal",
        plans: bool = False,
        tenant: str,
        database: str,
    ) -> list[Found]:
        info = self._info(collection_id, tenant, database)
        self._search_limits.check(searches)
        wheres = [None if one.condition is None else as_filter(one.condition) for one in searches]
        self._conditions.limits.check(*wheres)
        filters = [self._conditions.read(collection_id, where, None, None) for where in wheres]
        every = [one for one in filters if one is not None]
        # Each alone is checked; this is about the work of all together.
        self._conditions.check_patterns(
            collection_id, [text for one in every for text in patterns(one)]
        )
        wanted = [prepared(info, *one) for one in zip(searches, filters, strict=True)]
        any_of = Or(tuple(every)) if every else None
        with self.segments.answering(collection_id, any_of) as segment:
            return found_by(segment, wanted, budget=self._budget, plans=plans)

    # -- memory and graphs --------------------------------------------------------------------

    def unload(self, collection_id: UUID, *, tenant: str, database: str) -> int:
        self._info(collection_id, tenant, database)
        return self.segments.unload(collection_id)

    def load(self, collection_id: UUID, *, tenant: str, database: str) -> int:
        self._info(collection_id, tenant, database)
        return self.segments.load(collection_id)

    def unload_all(self, *, tenant: str, database: str) -> int:
        infos = self.list_collections(tenant=tenant, database=database)
        return self.segments.unload_all(
            info.id for info in infos if not self.segments.is_pinned(info.id)
        )

    def pin(self, collection_id: UUID, pinned: bool, *, tenant: str, database: str) -> None:
        self._info(collection_id, tenant, database)
        self.segments.pin(collection_id, pinned)

    def set_ttl(
        self, collection_id: UUID, seconds: float | None, *, tenant: str, database: str
    ) -> CollectionInfo:
        ttl_seconds = check_ttl(seconds)
        self._info(collection_id, tenant, database)
        current = self.db.update_collection(
            collection_id, lambda info: replace(info, ttl_seconds=ttl_seconds)
        )
        self.segments.configuration_changed(current)
        return current

    def memory_report(
        self, collections: Sequence[UUID] | None = None, *, tenant: str, database: str
    ) -> MemoryReport:
        infos = self.list_collections(tenant=tenant, database=database)
        if collections is not None:
            wanted = set(collections)
            infos = [info for info in infos if info.id in wanted]
        return memory_report.report(self.segments.residents, infos, tenant, database)

    def _budget(self) -> int:
        """Return the bytes that the loaded collections may hold."""
        return self.segments.residents.budget

    def get_memory_budget(self) -> int:
        self._check_usable()
        return self.segments.residents.budget

    def set_memory_budget(self, budget: int | float | str) -> int:
        self._check_usable()
        return self.segments.residents.set_budget(budget)

    def preview_memory_budget(
        self, budget: int | float | str, *, tenant: str, database: str
    ) -> list[Eviction]:
        names = {
            info.id: info.name for info in self.list_collections(tenant=tenant, database=database)
        }
        n_bytes = self.segments.residents.budget_bytes(budget)
        return [
            Eviction(names.get(key, ELSEWHERE), size, reason)
            for key, reason, size in self.segments.residents.would_unload(n_bytes)
        ]

    def estimate_memory(
        self,
        n_records: int,
        dimension: int,
        configuration: dict[str, Any],
        text_bytes: int | None = None,
    ) -> Estimate:
        self._check_usable()
        info = CollectionInfo(UUID(int=0), "", "", "", configuration, dimension=dimension)
        parameters = graph_parameters(info)
        return memory_report.estimate(
            self.segments.residents, n_records, dimension, parameters, text_bytes
        )

    def describe_fields(
        self, collection_id: UUID, n_values: int = 20, *, tenant: str, database: str
    ) -> list[FieldSummary]:
        self._info(collection_id, tenant, database)
        return self.segments.describe_fields(collection_id, n_values)

    def metadata_keys(self, collection_id: UUID, *, tenant: str, database: str) -> list[str]:
        self._info(collection_id, tenant, database)
        return self.segments.metadata_keys(collection_id)

    def indexing_status(self, collection_id: UUID, *, tenant: str, database: str) -> IndexingStatus:
        self._info(collection_id, tenant, database)
        return self.segments.status(collection_id)

    def build_index(self, collection_id: UUID, *, tenant: str, database: str) -> None:
        self._info(collection_id, tenant, database)
        self.segments.build(collection_id)

    def explain(
        self,
        collection_id: UUID,
        embeddings: NDArray[np.float32],
        n_results: int,
        *,
        ids: Sequence[str] | None = None,
        where: Where | None = None,
        where_document: Where | None = None,
        tenant: str,
        database: str,
    ) -> dict[str, Any]:
        info = self._info(collection_id, tenant, database)
        expression = self._conditions.read(collection_id, where, where_document, ids)
        if info.dimension is not None:
            check_dimension(info.dimension, embeddings.shape[1], info.name)
        started = time.perf_counter()
        with self.segments.answering(collection_id, expression) as segment:
            found = answers.explanation(segment, embeddings, n_results, expression, ids, started)
            why = memory_report.why_this_form(self.segments.residents, segment)
            return {**found, "held_because": why}

    def check(self, *, tenant: str | None, database: str | None) -> CheckReport:
        self._check_usable()
        if tenant is not None and database is not None:
            self.get_database(database, tenant)
            infos = self.db.list_collections(tenant, database)
        else:
            infos = self.db.list_collections()
        return checked_store(self.segments, infos, self.settings, tenant, database)

    def sql(self, query: str, parameters: Any = None, *, tenant: str, database: str) -> Any:
        self.get_database(database, tenant)
        return self.db.sql(query, parameters, tenant, database)
