"""`SharedMemoryDB`: a small shared DB in memory, one object for each process that there would be.

It shows what a DB of one's own has to write, and what a shared one has to keep: each object has its view of each
collection, which only its own `refresh`, `commit` and `compact` move. A state is never changed once it is made, so a
view is a reference to one.
"""

from __future__ import annotations

import dataclasses
import json
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple
from uuid import UUID, uuid4

import numpy as np

from chroma_nb.check_report import CollectionCheck
from chroma_nb.db.base import DB, NO_TEXTS, TEXT_COLUMNS, Changes, Extent, RecordRows, TextSizes
from chroma_nb.db.vector_source import VectorSource
from chroma_nb.errors import (
    ConflictError,
    InternalError,
    NotFoundError,
    UniqueConstraintError,
)
from chroma_nb.testing.plain import describe, matches
from chroma_nb.types import DEFAULT_DATABASE, DEFAULT_TENANT, CollectionInfo, FieldSummary

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from chroma_nb.filters.expression import Expression
    from chroma_nb.settings import Settings


class Row(NamedTuple):
    """A record without its vector; metadata as JSON text."""

    sequence: int
    id: str
    document: str | None
    uri: str | None
    metadata: str | None


class Vectors(VectorSource):
    """The vectors of one generation of a collection: the row of each label, only ever added to."""

    def __init__(self, dimension: int) -> None:
        super().__init__(dimension)
        self.rows = np.empty((0, dimension), dtype=np.float32)

    def read(self, labels: NDArray[np.int64]) -> NDArray[np.float32]:
        return self.rows[labels]

    def read_range(
        self, start: int, stop: int, out: NDArray[np.float32] | None = None
    ) -> NDArray[np.float32]:
        if out is None:
            return self.rows[start:stop].copy()
        out[: stop - start] = self.rows[start:stop]
        return out[: stop - start]


@dataclass(frozen=True)
class State:
    """A collection after a commit."""

    extent: Extent = field(default_factory=lambda: Extent(0, 0, 0, 0, 0))
    #: By label.
    rows: dict[int, Row] = field(default_factory=dict)
    texts: TextSizes = NO_TEXTS
    vectors: Vectors | None = None


@dataclass
class SharedMemory:
    """What all processes share: the catalogue, the present states, and the last commits."""

    #: How many commits of a collection are kept for `changes_since`.
    n_kept: int = 1_000
    lock: threading.RLock = field(default_factory=threading.RLock)
    tenants: set[str] = field(default_factory=set)
    databases: dict[tuple[str, str], UUID] = field(default_factory=dict)
    infos: dict[UUID, CollectionInfo] = field(default_factory=dict)
    states: dict[UUID, State] = field(default_factory=dict)
    #: By collection: (version before, version after, commit).
    commits: dict[UUID, list[tuple[int, int, Changes]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        for each in (self.tenants, self.databases, self.infos, self.states, self.commits):
            each.clear()
        self.tenants.add(DEFAULT_TENANT)
        self.databases[DEFAULT_TENANT, DEFAULT_DATABASE] = uuid4()


class SharedMemoryDB(DB):
    """One process's access to a shared store.

    Args:
        settings: None is used.
        memory: What is shared; None makes a store of its own.
    """

    persists: ClassVar[bool] = False
    shared: ClassVar[bool] = True

    def __init__(self, settings: Settings, memory: SharedMemory | None = None) -> None:
        self.memory = SharedMemory() if memory is None else memory
        self._views: dict[UUID, State] = {}
        self._closed = False

    def close(self) -> None:
        self._closed = True

    def reset(self) -> None:
        with self._open().lock:
            self.memory.clear()

    def _open(self) -> SharedMemory:
        if self._closed:
            raise InternalError("The store is closed.")
        return self.memory

    # -- tenants and databases ----------------------------------------------------------------

    def create_tenant(self, name: str) -> None:
        with self._open().lock:
            if name in self.memory.tenants:
                raise UniqueConstraintError(f"Tenant [{name}] already exists")
            self.memory.tenants.add(name)

    def has_tenant(self, name: str) -> bool:
        return name in self._open().tenants

    def create_database(self, name: str, tenant: str) -> UUID:
        with self._open().lock:
            if (tenant, name) in self.memory.databases:
                raise UniqueConstraintError(f"Database [{name}] already exists")
            return self.memory.databases.setdefault((tenant, name), uuid4())

    def find_database(self, name: str, tenant: str) -> UUID | None:
        return self._open().databases.get((tenant, name))

    def list_databases(self, tenant: str) -> list[tuple[UUID, str]]:
        with self._open().lock:
            databases = self.memory.databases.items()
            return [(key, name) for (owner, name), key in databases if owner == tenant]

    def delete_database(self, name: str, tenant: str) -> None:
        with self._open().lock:
            for info in self.list_collections(tenant, name):
                self.delete_collection(info.id)
            del self.memory.databases[tenant, name]

    # -- collections --------------------------------------------------------------------------

    def create_collection(self, info: CollectionInfo) -> None:
        with self._open().lock:
            if self.find_collection(info.name, info.tenant, info.database) is not None:
                raise UniqueConstraintError(f"Collection [{info.name}] already exists")
            self.memory.infos[info.id] = info
            self.memory.states[info.id] = State()
            self.memory.commits[info.id] = []

    def find_collection(self, name: str, tenant: str, database: str) -> CollectionInfo | None:
        infos = self.list_collections(tenant, database)
        return next((info for info in infos if info.name == name), None)

    def get_collection(self, collection_id: UUID) -> CollectionInfo:
        info = self._open().infos.get(collection_id)
        if info is None:
            raise NotFoundError(f"Collection [{collection_id}] does not exist.")
        return info

    def list_collections(
        self, tenant: str | None = None, database: str | None = None
    ) -> list[CollectionInfo]:
        with self._open().lock:
            infos = list(self.memory.infos.values())
        if tenant is None:
            return infos
        return [info for info in infos if (info.tenant, info.database) == (tenant, database)]

    def update_collection(
        self, collection_id: UUID, change: Callable[[CollectionInfo], CollectionInfo]
    ) -> CollectionInfo:
        with self._open().lock:
            old = self.get_collection(collection_id)
            info = dataclasses.replace(change(old), dimension=old.dimension)
            other = self.find_collection(info.name, info.tenant, info.database)
            if other is not None and other.id != info.id:
                raise UniqueConstraintError(f"Collection [{info.name}] already exists")
            self.memory.infos[collection_id] = info
            return info

    def delete_collection(self, collection_id: UUID) -> None:
        with self._open().lock:
            self.get_collection(collection_id)
            for each in (self.memory.infos, self.memory.states, self.memory.commits, self._views):
                each.pop(collection_id, None)

    # -- the view -----------------------------------------------------------------------------

    def _state(self, collection_id: UUID) -> State:
        """Return what is committed now."""
        state = self._open().states.get(collection_id)
        if state is None:
            raise NotFoundError(f"Collection [{collection_id}] does not exist.")
        return state

    def _view(self, collection_id: UUID) -> State:
        """Return what this process has seen last; at first, what is committed now."""
        state = self._state(collection_id)
        return self._views.setdefault(collection_id, state)

    def extent(self, collection_id: UUID) -> Extent:
        return self._view(collection_id).extent

    def is_behind(self, collection_id: UUID) -> bool:
        return self._state(collection_id) is not self._view(collection_id)

    def refresh(self, collection_id: UUID) -> Extent:
        self._views[collection_id] = state = self._state(collection_id)
        return state.extent

    def changes_since(self, collection_id: UUID, version: int) -> Iterator[Changes] | None:
        end = self.extent(collection_id).version
        with self.memory.lock:
            commits = list(self.memory.commits[collection_id])
        lacking = [
            changes for before, after, changes in commits if before >= version and after <= end
        ]
        is_known = version == end or any(before == version for before, _, _ in commits)
        return iter(lacking) if is_known else None

    # -- writing ------------------------------------------------------------------------------

    def commit(self, collection_id: UUID, changes: Changes) -> Extent:
        changes = _copied(changes)
        with self._open().lock:
            info, state = self.get_collection(collection_id), self._state(collection_id)
            before = state.extent
            if changes.base_version not in (None, before.version):
                raise ConflictError(f"Collection [{info.name}] has changed; nothing was written.")
            if len(changes.vectors) and changes.first_label != before.next_label:
                raise InternalError(
                    f"Labels start at {changes.first_label}, the next free one is {before.next_label}."
                )
            vectors = state.vectors
            if len(changes.vectors):
                vectors = vectors or Vectors(changes.vectors.shape[1])
                vectors.rows = np.concatenate([vectors.rows, changes.vectors])
            rows = state.rows.copy()
            for label in changes.removed.tolist():
                del rows[label]
            rows.update(_labelled(changes.rows))
            after = State(
                Extent(
                    n_records=before.n_records + changes.n_records_delta,
                    next_label=before.next_label + len(changes.vectors),
                    next_sequence=before.next_sequence + changes.n_new,
                    generation=before.generation,
                    version=before.version + 1,
                ),
                rows,
                state.texts.plus(changes.rows),
                vectors,
            )
            if info.dimension is None and vectors is not None:
                self.memory.infos[collection_id] = dataclasses.replace(
                    info, dimension=vectors.dimension
                )
            if changes.schema is not None:
                self.memory.infos[collection_id] = dataclasses.replace(
                    self.memory.infos[collection_id], schema=changes.schema
                )
            commits = self.memory.commits[collection_id]
            commits.append((before.version, after.extent.version, changes))
            del commits[: -self.memory.n_kept]
            self.memory.states[collection_id] = self._views[collection_id] = after
            return after.extent

    def compact(self, collection_id: UUID) -> None:
        with self._open().lock:
            state = self._state(collection_id)
            if state is not self._view(collection_id):
                raise ConflictError("The collection has changed; nothing was compacted.")
            labels = self.select(collection_id)
            vectors = None
            if state.vectors is not None:
                vectors = Vectors(state.vectors.dimension)
                vectors.rows = state.vectors.read(labels)
            extent = dataclasses.replace(
                state.extent,
                next_label=len(labels),
                generation=state.extent.generation + 1,
                version=state.extent.version + 1,
            )
            rows = {new: state.rows[old] for new, old in enumerate(labels.tolist())}
            after = State(extent, rows, NO_TEXTS.plus(_rows(rows)), vectors)
            self.memory.commits[collection_id] = []
            self.memory.states[collection_id] = self._views[collection_id] = after

    # -- reading ------------------------------------------------------------------------------

    def find_labels(self, collection_id: UUID, ids: Sequence[str]) -> NDArray[np.int64]:
        labels = {row.id: label for label, row in self._view(collection_id).rows.items()}
        return np.array([labels.get(id, -1) for id in ids], dtype=np.int64)

    def select(
        self,
        collection_id: UUID,
        expression: Expression | None = None,
        *,
        ids: Sequence[str] | None = None,
        limit: int | None = None,
        offset: int = 0,
    ) -> NDArray[np.int64]:
        wanted = None if ids is None else set(ids)
        found = []
        for label, row in self._view(collection_id).rows.items():
            if wanted is not None and row.id not in wanted:
                continue
            metadata = _parsed(row.metadata)
            if expression is None or matches(expression, row.id, metadata, row.document):
                found.append((row.sequence, label))
        labels = [label for _, label in sorted(found)]
        stop = None if limit is None else offset + limit
        return np.array(labels[offset:stop], dtype=np.int64)

    def fetch(
        self,
        collection_id: UUID,
        labels: NDArray[np.int64],
        columns: Sequence[str] = TEXT_COLUMNS,
    ) -> RecordRows:
        rows = self._view(collection_id).rows
        return _rows({label: rows[label] for label in labels.tolist() if label in rows}, columns)

    def scan(self, collection_id: UUID) -> Iterator[RecordRows]:
        rows = self._view(collection_id).rows
        if rows:
            yield _rows(dict(sorted(rows.items())))

    def text_sizes(self, collection_id: UUID) -> TextSizes:
        return self._view(collection_id).texts

    def vectors(self, collection_id: UUID) -> VectorSource:
        # A collection gets its dimension by a commit, which may come after the view.
        vectors = self._view(collection_id).vectors or self._state(collection_id).vectors
        if vectors is None:
            raise InternalError("The collection has no vectors yet.")
        return vectors

    def metadata_keys(self, collection_id: UUID) -> list[str]:
        return sorted(field.key for field in self.describe_fields(collection_id, 0))

    def describe_fields(self, collection_id: UUID, n_values: int) -> list[FieldSummary]:
        rows = self._view(collection_id).rows.values()
        return describe((_parsed(row.metadata) for row in rows), n_values)

    def check(
        self, collection_id: UUID, on_bytes: Callable[[int], object] = lambda _: None
    ) -> CollectionCheck:
        info, view = self.get_collection(collection_id), self._view(collection_id)
        on_bytes(0 if view.vectors is None else view.vectors.rows.nbytes)
        return CollectionCheck(
            info.name, info.tenant, info.database, view.extent.n_records, has_checksums=False
        )


def _copied(changes: Changes) -> Changes:
    """Return a copy, as the caller may change its arrays and lists."""
    rows = changes.rows
    return dataclasses.replace(
        changes,
        rows=RecordRows(
            rows.labels.copy(),
            rows.sequences.copy(),
            list(rows.ids),
            list(rows.documents),
            list(rows.uris),
            list(rows.metadatas),
        ),
        removed=changes.removed.copy(),
        vectors=changes.vectors.copy(),
    )


def _labelled(rows: RecordRows) -> dict[int, Row]:
    columns = (rows.sequences.tolist(), rows.ids, rows.documents, rows.uris, rows.metadatas)
    return dict(zip(rows.labels.tolist(), map(Row, *columns), strict=True))


def _rows(rows: dict[int, Row], columns: Sequence[str] = TEXT_COLUMNS) -> RecordRows:
    """Return records as columns; text columns that were not asked for are empty."""
    texts = {
        name: [getattr(row, name) for row in rows.values()] if name in columns else []
        for name in TEXT_COLUMNS
    }
    return RecordRows(
        np.array(list(rows), dtype=np.int64),
        np.array([row.sequence for row in rows.values()], dtype=np.int64),
        texts["id"],
        texts["document"],
        texts["uri"],
        texts["metadata"],
    )


def _parsed(metadata: str | None) -> dict[str, Any] | None:
    return None if metadata is None else json.loads(metadata)
