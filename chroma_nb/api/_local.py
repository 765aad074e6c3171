"""`Local`: the API in this process, on a `DB` and a `SegmentManager`."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar
from uuid import UUID, uuid4

import numpy as np

from chroma_nb._version import __version__
from chroma_nb.api._texts import WrittenTexts
from chroma_nb.api.base import API, Matches, Records
from chroma_nb.check_report import CheckReport, CollectionCheck
from chroma_nb.db.base import DB, Changes, RecordRows
from chroma_nb.errors import (
    AuthorizationError,
    InternalError,
    MemoryBudgetError,
    NotFoundError,
    UniqueConstraintError,
)
from chroma_nb.filters.expression import And, Expression, patterns
from chroma_nb.filters.limits import FilterLimits
from chroma_nb.filters.parsing import parse_where, parse_where_document
from chroma_nb.filters.regex import rust_regex_to_re2
from chroma_nb.memory.report import ELSEWHERE, Estimate, Eviction, MemoryReport
from chroma_nb.memory.sizes import format_bytes
from chroma_nb.memory.workspace import NOTHING, SMALL_BYTES, WORKSPACE
from chroma_nb.progress import progress_bar
from chroma_nb.segment.described import Described
from chroma_nb.segment.locks import release_stale
from chroma_nb.segment.resident_set import graph_parameters
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
    check_dimension,
    check_known,
    check_ttl,
    ids_exist,
    updated_configuration,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from chroma_nb.memory.workspace import Grant
    from chroma_nb.segment.manager import SegmentManager
    from chroma_nb.segment.segment import Segment
    from chroma_nb.settings import Settings

#: Bytes for each number of an embedding: as it is read, and as float64, which Chroma answers with.
_VECTOR_COPIES = 4 + 8
#: A distance as Python's float, with its place in a list.
_FLOAT_BYTES = 32
#: An answer's record without its texts, and how many times as much as their UTF-8 these may take as objects.
_OBJECT_BYTES = 400
_MOST_TIMES = 16
#: What an answer is called that is refused, and what to do instead.
_A_GET = (
    "get() of {:,} records of collection [{}]",
    "ask for them in parts: get(limit=..., offset=...)",
    "write them to a file: collection.export(path)",
)
#: And where more than ids was asked for:
_LESS_OF_EACH = "ask for less of each, for their ids alone: include=[]"
_A_QUERY = (
    "query() for {:,} results from collection [{}]",
    "send fewer queries in one call",
    "ask for fewer results: n_results=10",
)


class _Room:
    """The memory of an answer, which grows where its texts turn out to take more than was thought.

    Args:
        grant: What was taken for it.
        text_bytes: How much of that is for its texts.
        take: Takes more.
    """

    def __init__(
        self, grant: Grant, text_bytes: int, take: Callable[[int], Grant] | None = None
    ) -> None:
        self._grants = [grant]
        self._thought = self._taken = text_bytes
        self._take = take
        self.measured = None if take is None or WORKSPACE.reads_a_piece else self._measured

    def _measured(self, share: float, n_bytes: int) -> None:
        """Take more where a share of the texts takes more than was thought of it.

        Raises:
            MemoryBudgetError: It is not free.
        """
        need = n_bytes + int((1 - share) * self._thought)
        if self._take is None or need <= self._taken:
            return
        try:
            self._grants.append(self._take(need - self._taken))
        except MemoryBudgetError as error:
            # Not kept in a variable: the texts read so far would stay in memory with this frame.
            raise _discarded(error, need, error.free + self._taken) from None
        self._taken = need

    def __enter__(self) -> _Room:
        return self

    def __exit__(self, *_: object) -> None:
        for grant in self._grants:
            grant.give_back()


def _discarded(error: MemoryBudgetError, need: int, free: int) -> MemoryBudgetError:
    """Return the error for an answer that turned out to take more while it was read, `need` bytes of `free`."""
    said = error.message().replace("Nothing was allocated", "The texts read so far were discarded")
    for before, now in ((error.need, need), (error.free, free)):
        said = said.replace(format_bytes(before), format_bytes(now), 1)
    told = MemoryBudgetError(said, need=need, free=free, budget=error.budget)
    told.may_fit_later = error.may_fit_later
    return told


#: For answers that are small.
_NO_ROOM = _Room(NOTHING, 0)


class Local(API):
    """Answers in this process.

    Args:
        db: Where the truth is.
        segments: What is in memory of it.
        settings: `allow_reset`, `max_batch_size` and the limits of filters are used.
    """

    needs_db: ClassVar[bool] = True
    is_near: ClassVar[bool] = True

    def __init__(self, db: DB, segments: SegmentManager, settings: Settings) -> None:
        self.db = db
        self.segments = segments
        self.settings = settings
        self._described = Described(db)
        self._filter_limits = FilterLimits.of(settings)
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

    def _expression(self, where: Where | None, where_document: Where | None) -> Expression | None:
        self._filter_limits.check(where, where_document)
        parts = [
            part
            for part in (parse_where(where), parse_where_document(where_document))
            if part is not None
        ]
        for part in parts:
            for pattern in patterns(part):
                self._filter_limits.check_spelt(pattern, rust_regex_to_re2(pattern))
        if len(parts) == 2:
            return And(tuple(parts))
        return parts[0] if parts else None

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
        self.segments.forget([info.id for info in self.db.list_collections()], self.db.reset)
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
            finish(self.segments.close, self.db.close)

    def abandon(self) -> None:
        """Close without writing anything more: the place that the store was opened on is gone."""
        with self._close_lock:
            if not self._closed:
                self._closed = True
                self._reason = ", as its folder was moved, deleted or replaced"
                finish(lambda: self.segments.close(save=False), self.db.abandon)

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
        self.db.create_tenant(name)

    def get_tenant(self, name: str) -> str:
        self._check_usable()
        if not self.db.has_tenant(name):
            raise NotFoundError(f"Tenant [{name}] not found")
        return name

    def create_database(self, name: str, tenant: str) -> None:
        self.get_tenant(tenant)
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
        return _page(self.db.list_databases(tenant), limit, offset)

    def delete_database(self, name: str, tenant: str) -> None:
        self.get_database(name, tenant)
        doomed = [info.id for info in self.db.list_collections(tenant, name)]
        self.segments.forget(doomed, lambda: self.db.delete_database(name, tenant))

    # -- collections --------------------------------------------------------------------------

    def create_collection(
        self,
        name: str,
        configuration: dict[str, Any],
        metadata: dict[str, Any] | None,
        *,
        get_or_create: bool,
        tenant: str,
        database: str,
    ) -> CollectionInfo:
        self.get_database(database, tenant)
        found = self.db.find_collection(name, tenant, database)
        if found is None:
            info = CollectionInfo(uuid4(), name, tenant, database, configuration, metadata)
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
        info = self.db.get_collection(collection_id)
        if info.tenant != tenant or info.database != database:
            raise NotFoundError(f"Collection [{collection_id}] does not exist.")
        return info

    def list_collections(
        self, limit: int | None = None, offset: int = 0, *, tenant: str, database: str
    ) -> list[CollectionInfo]:
        self.get_database(database, tenant)
        return _page(self.db.list_collections(tenant, database), limit, offset)

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
            return replace(
                info,
                name=info.name if name is None else name,
                metadata=info.metadata if metadata is None else metadata,
                configuration=updated_configuration(info.configuration, configuration or {}),
            )

        current = self.db.update_collection(collection_id, change)
        self.segments.configuration_changed(current)
        return current

    def delete_collection(self, name: str, *, tenant: str, database: str) -> None:
        doomed = self.get_collection(name, tenant=tenant, database=database).id
        self.segments.forget([doomed], lambda: self.db.delete_collection(doomed))

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
        info = self._info(collection_id, tenant, database)
        with self.segments.writing(collection_id) as segment:
            _check_dimensions(self.db.get_collection(info.id), batch)
            labels = segment.metadata.find(batch.ids)
            taken = labels >= 0
            if on_conflict == "error" and taken.any():
                there = [batch.ids[row] for row in np.flatnonzero(taken).tolist()]
                raise ids_exist(there, len(batch), info.name)
            if on_conflict == "skip":
                labels = np.full(len(batch), -1, dtype=np.int64)
                rows = np.flatnonzero(~taken)
            else:
                rows = np.arange(len(batch))
            self._write(segment, batch, rows, labels[rows], merge=False)

    def update(
        self, collection_id: UUID, batch: RecordBatch, *, tenant: str, database: str
    ) -> None:
        info = self._info(collection_id, tenant, database)
        with self.segments.writing(collection_id) as segment:
            _check_dimensions(self.db.get_collection(info.id), batch)
            labels = segment.metadata.find(batch.ids)
            rows = np.flatnonzero(labels >= 0)
            self._write(segment, batch, rows, labels[rows], merge=True)

    def upsert(
        self, collection_id: UUID, batch: RecordBatch, *, tenant: str, database: str
    ) -> None:
        info = self._info(collection_id, tenant, database)
        with self.segments.writing(collection_id) as segment:
            _check_dimensions(self.db.get_collection(info.id), batch)
            labels = segment.metadata.find(batch.ids)
            self._write(segment, batch, np.arange(len(batch)), labels, merge=True)

    def _write(
        self,
        segment: Segment,
        batch: RecordBatch,
        rows: NDArray[np.int64],
        labels: NDArray[np.int64],
        *,
        merge: bool,
    ) -> None:
        """Commit some rows of a batch.

        Args:
            segment: Where existing records are read from.
            batch: The records.
            rows: Rows of the batch to write.
            labels: Shape (len(rows),): the label of the record that a row changes, -1 for a new one.
            merge: Keep what a row does not give of the record that it changes; else replace it whole.
        """
        if not len(rows):
            return
        extent = self.db.extent(segment.info.id)
        new = labels < 0
        sequences = np.empty(len(rows), dtype=np.int64)
        n_new = int(np.count_nonzero(new))
        sequences[new] = np.arange(extent.next_sequence, extent.next_sequence + n_new)
        # New vectors take the next labels; a record whose vector stays keeps its label.
        embedded = _embedded(batch, rows)
        after = labels.copy()
        n_vectors = int(np.count_nonzero(embedded))
        after[embedded] = np.arange(extent.next_label, extent.next_label + n_vectors)
        everything = len(rows) == len(batch)
        chosen: Any = slice(None) if everything else rows
        texts = WrittenTexts(batch, rows, labels, sequences, segment.metadata, keep=merge)
        vectors = np.empty((0, segment.info.dimension or 0), dtype=np.float32)
        if batch.embeddings is not None and n_vectors:
            vectors = batch.embeddings[chosen]
            if n_vectors < len(rows):
                vectors = np.ascontiguousarray(vectors[embedded])
        with texts.merged(segment.info.name, self.segments.residents.budget, self.db):
            self.segments.commit(
                segment.info.id,
                Changes(
                    rows=RecordRows(
                        labels=after,
                        sequences=sequences,
                        ids=batch.ids if everything else [batch.ids[row] for row in rows.tolist()],
                        documents=texts.documents,
                        uris=texts.uris,
                        metadatas=texts.metadatas,
                    ),
                    removed=labels[~new],
                    vectors=vectors,
                    first_label=extent.next_label,
                    n_new=n_new,
                    dimension=vectors.shape[1] if n_vectors else None,
                    n_records_delta=n_new,
                ),
            )
        if texts.keys is not None and (n_new == len(rows) or (merge and not texts.drops_keys)):
            self._described.grown(segment.info.id, extent, texts.keys)

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
        expression = self._expression(where, where_document)
        with self.segments.writing(collection_id) as segment:
            with self.segments.filtering(collection_id):
                labels = segment.metadata.select(expression, ids=ids, limit=limit)
            if len(labels):
                next_label = self.db.extent(collection_id).next_label
                changes = Changes(
                    rows=RecordRows.empty(),
                    removed=labels,
                    vectors=np.empty((0, segment.info.dimension or 0), dtype=np.float32),
                    first_label=next_label,
                    n_new=0,
                    n_records_delta=-len(labels),
                )
                self.segments.commit(collection_id, changes)
        return len(labels)

    # -- reading ------------------------------------------------------------------------------

    def count(self, collection_id: UUID, *, tenant: str, database: str) -> int:
        self._info(collection_id, tenant, database)
        return self.db.extent(collection_id).n_records

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
        self._info(collection_id, tenant, database)
        expression = self._expression(where, where_document)
        with self.segments.present(collection_id, expression) as segment:
            reader = segment.metadata
            labels = reader.select(expression, ids=ids, limit=limit, offset=offset)
            with self._room(segment, labels, include, _A_GET) as room:
                texts = reader.read(labels, include, room.measured)
                records = Records(texts.ids)
                if "embeddings" in include:
                    records.embeddings = _vectors(segment, labels)
                records.documents = texts.documents
                records.metadatas = texts.metadatas
                records.uris = texts.uris
        return records

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
        expression = self._expression(where, where_document)
        if info.dimension is not None:
            check_dimension(info.dimension, embeddings.shape[1], info.name)
        with self.segments.answering(collection_id, expression) as segment:
            if ids is not None and expression is None and info.dimension is not None:
                check_known(ids, segment.metadata.find(ids) >= 0, info.name)
            found, _ = segment.search(embeddings, n_results, expression, ids)
            labels = found.labels.ravel()
            n_queries, width = found.labels.shape
            with self._room(segment, labels, include, _A_QUERY) as room:
                texts = segment.metadata.read(labels, include, room.measured)
                matches = Matches(_rows_of(texts.ids, width, n_queries))
                if "distances" in include:
                    matches.distances = found.distances.tolist()
                matches.documents = _rows_of(texts.documents, width, n_queries)
                matches.metadatas = _rows_of(texts.metadatas, width, n_queries)
                matches.uris = _rows_of(texts.uris, width, n_queries)
                if "embeddings" in include:
                    vectors = _vectors(segment, labels)
                    matches.embeddings = [
                        vectors[row * width : (row + 1) * width] for row in range(n_queries)
                    ]
        return matches

    def _room(
        self,
        segment: Segment,
        labels: NDArray[np.int64],
        include: Sequence[str],
        asked: tuple[str, ...],
    ) -> _Room:
        """Take the memory of an answer; refuse one that does not fit, before any of it is made.

        Args:
            segment: What answers.
            labels: The records.
            include: What is answered of them.
            asked: What was asked for, of how many records and of which collection; and what to do instead.
        """
        vectors = _VECTOR_COPIES * (segment.info.dimension or 0) * ("embeddings" in include)
        each = _MOST_TIMES * segment.metadata.longest + vectors + _FLOAT_BYTES + _OBJECT_BYTES
        if len(labels) * each <= SMALL_BYTES:
            # Few records need no closer look.
            return _NO_ROOM
        n_bytes = len(labels) * (vectors + _FLOAT_BYTES * ("distances" in include))
        if WORKSPACE.reads_a_piece:
            # Who reads it measures it afterwards: a closer look would read some of it twice.
            texts = segment.metadata.text_bytes(labels, include)
        else:
            texts = segment.metadata.answer_bytes(labels, include)
            once = np.unique(labels)
            if WORKSPACE.keeps_answers and len(once) < len(labels):
                # Records that several queries find have their texts in common, but not in JSON.
                texts += segment.metadata.text_bytes(labels, include)
                texts -= segment.metadata.text_bytes(once, include)
        what, *ways = asked
        if asked is _A_GET and include:
            ways.insert(1, _LESS_OF_EACH)
        what = what.format(len(labels), segment.info.name)

        def take(more: int) -> Grant:
            return WORKSPACE.take_answer(more, what, *ways, budget=self.segments.residents.budget)

        return _Room(take(n_bytes + texts), texts, take)

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
        return self.segments.residents.report(infos, tenant, database)

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
        n_bytes = self.segments.residents.read_budget(budget)
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
        return self.segments.residents.estimate(n_records, dimension, parameters, text_bytes)

    def describe_fields(
        self, collection_id: UUID, n_values: int = 20, *, tenant: str, database: str
    ) -> list[FieldSummary]:
        self._info(collection_id, tenant, database)
        return self._described.fields(collection_id, n_values)

    def metadata_keys(self, collection_id: UUID, *, tenant: str, database: str) -> list[str]:
        self._info(collection_id, tenant, database)
        return self._described.keys(collection_id)

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
        expression = self._expression(where, where_document)
        if info.dimension is not None:
            check_dimension(info.dimension, embeddings.shape[1], info.name)
        started = time.perf_counter()
        with self.segments.answering(collection_id, expression) as segment:
            found, plan = segment.search(embeddings, n_results, expression, ids)
            elapsed = time.perf_counter() - started
            return {
                "collection": info.name,
                "engine": segment.form,
                **plan.to_dict(),
                "n_found": int(found.labels.shape[1]),
                "answered_from": "memory" if segment.resident_bytes else "disk",
                "held_because": self.segments.why_this_form(segment),
                "resident_bytes": segment.resident_bytes,
                "elapsed_ms": round(elapsed * 1e3, 3),
            }

    def check(self, *, tenant: str | None, database: str | None) -> CheckReport:
        self._check_usable()
        if tenant is not None and database is not None:
            self.get_database(database, tenant)
            infos = self.db.list_collections(tenant, database)
        else:
            infos = self.db.list_collections()
        started = time.monotonic()
        found: list[CollectionCheck] = []
        with progress_bar(
            sum(self.db.bytes_on_disk(info.id) for info in infos),
            "Checking the store",
            unit="B",
            did="read",
            enabled=self.settings.progress,
        ) as bar:
            for info in infos:
                # Deleted meanwhile.
                with contextlib.suppress(NotFoundError):
                    found.append(self.segments.check(info.id, bar.update))
            n_bytes = bar.done
        return CheckReport(
            self.settings.place,
            found,
            n_bytes,
            time.monotonic() - started,
            unnamed=self.db.unnamed_files(),
        )

    def sql(self, query: str, parameters: Any = None, *, tenant: str, database: str) -> Any:
        self.get_database(database, tenant)
        return self.db.sql(query, parameters, tenant, database)


def _check_dimensions(info: CollectionInfo, batch: RecordBatch) -> None:
    if batch.embeddings is not None and info.dimension is not None:
        check_dimension(info.dimension, batch.embeddings.shape[1], info.name)


def _embedded(batch: RecordBatch, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which of the rows bring a vector."""
    if batch.embeddings is None:
        return np.zeros(len(rows), dtype=bool)
    if batch.embedded is None:
        return np.ones(len(rows), dtype=bool)
    return batch.embedded[rows]


def _vectors(segment: Segment, labels: NDArray[np.int64]) -> NDArray[np.float32]:
    if segment.vectors is None:
        return np.empty((0, 0), dtype=np.float32)
    return segment.vectors.source.read(labels)


def _rows_of(flat: list[Any] | None, width: int, n_rows: int) -> Any:
    if flat is None:
        return None
    if n_rows == 1:
        return [flat]
    return [flat[row * width : (row + 1) * width] for row in range(n_rows)]


def _page(items: list[Any], limit: int | None, offset: int | None) -> list[Any]:
    start = offset or 0
    return items[start : None if limit is None else start + limit]
