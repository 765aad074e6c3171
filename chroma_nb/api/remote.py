"""`RemoteAPI`: an `API` that asks a server. A transport carries what it asks for: see `RestAPI` for one."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from chroma_nb.api.base import API, Found, Matches, Records
from chroma_nb.api.copying import PagedScan, Place
from chroma_nb.api.known import Known
from chroma_nb.api.parts import half_written, rows_of, too_large, without_none
from chroma_nb.api.remote_scan import RemoteScans
from chroma_nb.api.repeating import briefly, check_brief
from chroma_nb.api.scanning import EVERYTHING
from chroma_nb.errors import (
    BatchSizeExceededError,
    ChromaError,
    InternalError,
    MemoryBudgetError,
    NotSupportedError,
)
from chroma_nb.filters.parsing import parse_where, parse_where_document
from chroma_nb.progress import progress_bar
from chroma_nb.search.conditions import as_filter
from chroma_nb.search.limits import check_meaning
from chroma_nb.validation import check_ttl, ids_exist
from chroma_nb.wire.operations import OPERATIONS
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
    Target,
    TimeToLive,
    Write,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager
    from uuid import UUID

    import numpy as np
    from numpy.typing import NDArray

    from chroma_nb.api.scanning import Scan
    from chroma_nb.check_report import CheckReport
    from chroma_nb.memory.report import Estimate as MemoryEstimate
    from chroma_nb.memory.report import Eviction, MemoryReport
    from chroma_nb.search.expression import Search
    from chroma_nb.settings import Settings
    from chroma_nb.types import (
        CollectionInfo,
        FieldSummary,
        IndexingStatus,
        OnConflict,
        RecordBatch,
        UserIdentity,
        Where,
    )
    from chroma_nb.wire.operations import Operation
    from chroma_nb.wire.server_info import ServerInfo

#: Before more than this is sent, the server is asked what it takes at a time, bytes.
_MUCH = 1 << 20
#: What is about no tenant.
_SERVER = Target()


class RemoteAPI(API):
    """Asks a server: all of `API`, on top of what a transport does.

    Args:
        settings: `progress` is used.
        url: The server's address, as errors and displays name it.
        server: What the server says of itself.
    """

    needs_db: ClassVar[bool] = False
    is_near: ClassVar[bool] = False
    #: The most bytes that a float32 takes on its way.
    _float_bytes: int = 4
    known: Known

    def __init__(self, settings: Settings, url: str, server: ServerInfo) -> None:
        self.url = url
        self.server = server
        self.max_ids = server.max_values
        self._progress = settings.progress
        self._closed = False
        self.known = Known()
        self._scans = RemoteScans(partial(self._ask, "scan"))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.url})"

    # -- what a transport does ----------------------------------------------------------------

    @abstractmethod
    def _call(self, operation: Operation, target: Target, request: Request | None) -> Any:
        """Ask the server, and return what the method of `API` of that name returns; `get_max_batch_size`: a `ServerInfo`.

        Args:
            operation: What to do. It says how long the answer may take, and whether `request` may be sent again.
            target: To what.
            request: An `Operation.request`; None where that is None.

        Raises:
            ServerUnavailableError: Nothing answers, not in time, or with what cannot be read.
            ChromaError: What the server says.
        """

    def _discover(self) -> ServerInfo:
        """Return what the server says of itself now: how much it takes at a time follows its memory."""
        info: ServerInfo = self._ask("get_max_batch_size")
        return info

    def _ask(self, name: str, target: Target = _SERVER, request: Request | None = None) -> Any:
        """Ask for an operation by its name."""
        if self._closed:
            raise InternalError(f"{self!r} is closed. Open a new client to go on.")
        check_brief()
        asked = self.known.before(name, target, request)
        answer = self._call(OPERATIONS[name], target, request)
        self.known.note(name, target, request, answer, asked)
        return answer

    def briefly(self, seconds: float, each: float | None) -> AbstractContextManager[None]:
        return briefly(seconds, each)

    # -- the store ----------------------------------------------------------------------------

    def heartbeat(self) -> int:
        nanoseconds: int = self._ask("heartbeat")
        return nanoseconds

    def get_version(self) -> str:
        version: str = self._ask("get_version")
        return version

    def get_max_batch_size(self) -> int:
        return self.server.max_batch_size

    def get_user_identity(self) -> UserIdentity:
        identity: UserIdentity = self._ask("get_user_identity")
        return identity

    def reset(self) -> bool:
        done: bool = self._ask("reset")
        return done

    def close(self) -> None:
        if not self._closed:
            self._scans.close_dropped()
        self._closed = True
        self.known.forget()

    # -- tenants and databases ----------------------------------------------------------------

    def create_tenant(self, name: str) -> None:
        self._ask("create_tenant", request=Name(name))

    def get_tenant(self, name: str) -> str:
        tenant: str = self._ask("get_tenant", Target(name))
        return tenant

    def create_database(self, name: str, tenant: str) -> None:
        self._ask("create_database", Target(tenant), Name(name))

    def get_database(self, name: str, tenant: str) -> UUID:
        database_id: UUID = self._ask("get_database", Target(tenant, name))
        return database_id

    def list_databases(
        self, tenant: str, limit: int | None = None, offset: int = 0
    ) -> list[tuple[UUID, str]]:
        databases: list[tuple[UUID, str]] = self._ask(
            "list_databases", Target(tenant), Page(limit, offset)
        )
        return databases

    def delete_database(self, name: str, tenant: str) -> None:
        self._ask("delete_database", Target(tenant, name))

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
        request = NewCollection(name, configuration, metadata, get_or_create, schema)
        made: CollectionInfo = self._ask("create_collection", Target(tenant, database), request)
        return made

    def get_collection(self, name: str, *, tenant: str, database: str) -> CollectionInfo:
        found: CollectionInfo = self._ask("get_collection", Target(tenant, database), Name(name))
        return found

    def get_collection_by_id(
        self, collection_id: UUID, *, tenant: str, database: str
    ) -> CollectionInfo:
        target = Target(tenant, database, collection_id)
        found: CollectionInfo = self._ask("get_collection_by_id", target)
        return found

    def list_collections(
        self, limit: int | None = None, offset: int = 0, *, tenant: str, database: str
    ) -> list[CollectionInfo]:
        found: list[CollectionInfo] = self._ask(
            "list_collections", Target(tenant, database), Page(limit, offset)
        )
        return found

    def count_collections(self, *, tenant: str, database: str) -> int:
        count: int = self._ask("count_collections", Target(tenant, database))
        return count

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
        target = Target(tenant, database, collection_id)
        changed: CollectionInfo = self._ask(
            "modify", target, CollectionChanges(name, metadata, configuration)
        )
        return changed

    def delete_collection(self, name: str, *, tenant: str, database: str) -> None:
        self._ask("delete_collection", Target(tenant, database), Name(name))

    def fork(
        self,
        collection_id: UUID,
        new_name: str,
        *,
        on_progress: Callable[[int], object] | None = None,
        on_total: Callable[[int], object] | None = None,
        tenant: str,
        database: str,
    ) -> CollectionInfo:
        target = Target(tenant, database, collection_id)
        copy: CollectionInfo = self._ask("fork", target, Name(new_name))
        return copy

    # -- records ------------------------------------------------------------------------------

    def count(self, collection_id: UUID, *, tenant: str, database: str) -> int:
        count: int = self._ask("count", Target(tenant, database, collection_id))
        return count

    def add(
        self,
        collection_id: UUID,
        batch: RecordBatch,
        *,
        on_conflict: OnConflict = "skip",
        tenant: str,
        database: str,
    ) -> None:
        if batch.metadatas is not None:
            # A key whose value is None means no key; Chroma's server would refuse it.
            batch = replace(batch, metadatas=without_none(batch.metadatas))
        where_to: Any = {"tenant": tenant, "database": database}

        def check_new() -> None:
            # The parts that are written cannot be undone when a later one has an id that exists.
            there = self.get(collection_id, ids=batch.ids, include=(), **where_to).ids
            if there:
                name = self.get_collection_by_id(collection_id, **where_to).name
                raise ids_exist(there, len(batch), name)

        self._write(
            "add",
            Target(tenant, database, collection_id),
            Write(batch, on_conflict),
            before_parts=check_new if on_conflict == "error" else None,
        )

    def update(
        self, collection_id: UUID, batch: RecordBatch, *, tenant: str, database: str
    ) -> None:
        self._write("update", Target(tenant, database, collection_id), Write(batch))

    def upsert(
        self, collection_id: UUID, batch: RecordBatch, *, tenant: str, database: str
    ) -> None:
        self._write("upsert", Target(tenant, database, collection_id), Write(batch))

    def _write(
        self,
        name: str,
        target: Target,
        request: Write,
        *,
        before_parts: Callable[[], None] | None = None,
    ) -> None:
        """Send records: in one request if the server takes them, else in parts.

        Args:
            name: ``add``, ``update`` or ``upsert``.
            target: The collection.
            request: All of the records.
            before_parts: Called before the first of several parts is sent.
        """
        batch = request.batch
        n_bytes = self._sent_bytes(batch)
        if n_bytes > _MUCH:
            self.server = self._discover()
        done, size = 0, self._part_size(len(batch), n_bytes)
        desc = f"Sending to {self.url}"
        with progress_bar(len(batch), desc, did="sent", enabled=self._progress) as bar:
            while done < len(batch):
                if before_parts is not None and size < len(batch):
                    before_parts()
                    before_parts = None
                part = rows_of(batch, slice(done, done + size))
                n_records = len(part)
                try:
                    self._ask(name, target, replace(request, batch=part))
                except BatchSizeExceededError as error:
                    # A proxy in between may take less than the server says.
                    if n_records == 1:
                        raise too_large(error, batch.ids[done]) from None
                    size = (n_records + 1) // 2
                    continue
                except MemoryBudgetError as error:
                    # Nothing of this part is written. The server has less memory than it said, or others use it.
                    if n_records > 1:
                        size = (n_records + 1) // 2
                        continue
                    raise (half_written(error, done, len(batch)) if done else error) from None
                except ChromaError as error:
                    if done:
                        raise half_written(error, done, len(batch)) from error
                    raise
                done += n_records
                bar.update(n_records)

    def _part_size(self, n: int, n_bytes: int) -> int:
        """Return how many records go into one request: all, or equal parts if that is more than the server takes.

        Args:
            n: How many there are.
            n_bytes: What they take together.
        """
        pieces = max(-(-n // self.server.max_records), -(-n_bytes // self.server.max_body), 1)
        return max(1, -(-n // pieces))

    def _sent_bytes(self, batch: RecordBatch) -> int:
        """Return what a request of all records takes, estimated from above, as no request is encoded for it."""
        n = len(batch)
        texts = [*(batch.documents or ()), *(batch.uris or ())]
        n_bytes = sum(4 * len(text) for text in texts if text is not None)
        n_bytes += sum(len(str(one)) for one in batch.metadatas or ()) + 40 * n
        if batch.embeddings is not None:
            n_bytes += batch.embeddings.size * self._float_bytes
        return n_bytes

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
        _check_filters(where, where_document)
        request = Get(ids, where, where_document, limit, offset, include)
        records: Records = self._ask("get", Target(tenant, database, collection_id), request)
        return records

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
        _check_filters(where, where_document)
        arguments: Any = {"ids": ids, "where": where, "where_document": where_document}
        arguments |= {"include": include, "piece_bytes": piece_bytes}
        if not self.server.scans:
            return PagedScan(Place(self, collection_id, tenant, database), **arguments)
        step = ScanStep(skip_damaged=skip_damaged, **arguments)
        return self._scans.begin(Target(tenant, database, collection_id), step)

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
        _check_filters(where, where_document)
        request = Query(embeddings, n_results, ids, where, where_document, include)
        matches: Matches = self._ask("query", Target(tenant, database, collection_id), request)
        return matches

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
        # How much may be asked for is the server's to say.
        check_meaning(searches)
        for one in searches:
            _check_filters(None if one.condition is None else as_filter(one.condition), None)
        request = SearchRequest(searches, read_level, plans=plans)
        found: list[Found] = self._ask("search", Target(tenant, database, collection_id), request)
        return found

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
        _check_filters(where, where_document)
        request = Delete(ids, where, where_document, limit)
        n_records: int = self._ask("delete", Target(tenant, database, collection_id), request)
        return n_records

    # -- memory and graphs --------------------------------------------------------------------

    def unload(self, collection_id: UUID, *, tenant: str, database: str) -> int:
        n_bytes: int = self._ask("unload", Target(tenant, database, collection_id))
        return n_bytes

    def load(self, collection_id: UUID, *, tenant: str, database: str) -> int:
        n_bytes: int = self._ask("load", Target(tenant, database, collection_id))
        return n_bytes

    def unload_all(self, *, tenant: str, database: str) -> int:
        n_bytes: int = self._ask("unload_all", Target(tenant, database))
        return n_bytes

    def pin(self, collection_id: UUID, pinned: bool, *, tenant: str, database: str) -> None:
        self._ask("pin", Target(tenant, database, collection_id), Pin(pinned))

    def set_ttl(
        self, collection_id: UUID, seconds: float | None, *, tenant: str, database: str
    ) -> CollectionInfo:
        request = TimeToLive(check_ttl(seconds))
        target = Target(tenant, database, collection_id)
        changed: CollectionInfo = self._ask("set_ttl", target, request)
        return changed

    def memory_report(
        self, collections: Sequence[UUID] | None = None, *, tenant: str, database: str
    ) -> MemoryReport:
        report: MemoryReport = self._ask(
            "memory_report", Target(tenant, database), Report(collections)
        )
        return replace(report, server=self.url)

    def get_memory_budget(self) -> int:
        n_bytes: int = self._ask("get_memory_budget")
        return n_bytes

    def set_memory_budget(self, budget: int | float | str) -> int:
        n_bytes: int = self._ask("set_memory_budget", request=Budget(budget))
        return n_bytes

    def preview_memory_budget(
        self, budget: int | float | str, *, tenant: str, database: str
    ) -> list[Eviction]:
        evictions: list[Eviction] = self._ask(
            "preview_memory_budget", Target(tenant, database), Budget(budget)
        )
        return evictions

    def estimate_memory(
        self,
        n_records: int,
        dimension: int,
        configuration: dict[str, Any],
        text_bytes: int | None = None,
    ) -> MemoryEstimate:
        request = Estimate(n_records, dimension, configuration, text_bytes)
        estimate: MemoryEstimate = self._ask("estimate_memory", request=request)
        return estimate

    def describe_fields(
        self, collection_id: UUID, n_values: int = 20, *, tenant: str, database: str
    ) -> list[FieldSummary]:
        target = Target(tenant, database, collection_id)
        fields: list[FieldSummary] = self._ask("describe_fields", target, Fields(n_values))
        return fields

    def metadata_keys(self, collection_id: UUID, *, tenant: str, database: str) -> list[str]:
        keys: list[str] = self._ask("metadata_keys", Target(tenant, database, collection_id))
        return keys

    def indexing_status(self, collection_id: UUID, *, tenant: str, database: str) -> IndexingStatus:
        status: IndexingStatus = self._ask(
            "indexing_status", Target(tenant, database, collection_id)
        )
        return status

    def build_index(self, collection_id: UUID, *, tenant: str, database: str) -> None:
        self._ask("build_index", Target(tenant, database, collection_id))

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
        _check_filters(where, where_document)
        request = Query(embeddings, n_results, ids, where, where_document, ())
        target = Target(tenant, database, collection_id)
        explanation: dict[str, Any] = self._ask("explain", target, request)
        return explanation

    def check(self, *, tenant: str | None, database: str | None) -> CheckReport:
        raise NotSupportedError(
            "A store is checked where it is: run `chroma-nb check DIR` on the server's machine, with the server "
            "stopped."
        )

    def sql(self, query: str, parameters: Any = None, *, tenant: str, database: str) -> Any:
        raise NotSupportedError(
            "SQL is available in process only: no server has a route for it. Copy what you want to ask about: "
            "client.copy_to(chroma_nb.Client(), ['name'])."
        )


def _check_filters(where: Where | None, where_document: Where | None) -> None:
    """Refuse a filter that is not valid, before anything is sent.

    Raises:
        ValueError: One is not.
    """
    parse_where(where)
    parse_where_document(where_document)
