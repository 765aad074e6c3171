"""`StoredRecords`: views of collections, and what is read of their records."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from chroma_nb.db.base import TEXT_COLUMNS, Changes, RecordRows
from chroma_nb.db.clickhouse.blocks import RECORD, REMOVED
from chroma_nb.db.clickhouse.catalogue import StoredCatalogue
from chroma_nb.db.clickhouse.errors import BadPatternError, NoTableError
from chroma_nb.db.clickhouse.literals import one_of_labels, one_of_texts
from chroma_nb.db.clickhouse.log import Log, LostError, new_stamp
from chroma_nb.db.clickhouse.ranking import Ranking, matching
from chroma_nb.db.clickhouse.vectors import CachedVectors
from chroma_nb.db.clickhouse.views import Counters, View
from chroma_nb.db.record_table import in_order, joined
from chroma_nb.db.temp_folder import TempFolder
from chroma_nb.errors import ConflictError, InternalError, InvalidArgumentError, NotFoundError
from chroma_nb.filters.expression import patterns
from chroma_nb.memory.workspace import WORKSPACE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from uuid import UUID

    import pyarrow as pa
    from numpy.typing import NDArray

    from chroma_nb.db.base import Extent, TextSizes
    from chroma_nb.db.clickhouse.log import Head
    from chroma_nb.db.clickhouse.state import Entry, State
    from chroma_nb.db.ranking import VectorRanking
    from chroma_nb.db.vector_source import VectorSource
    from chroma_nb.filters.expression import Expression
    from chroma_nb.settings import Settings
    from chroma_nb.types import CollectionInfo

#: A scan yields pieces of at most this many bytes.
_SCAN_BYTES = 8 << 20
#: Bytes of a row as Python's objects, beside its texts; and how often these are there: as Arrow and as objects.
_ROW_BYTES, _COPIES = 300, 3
#: More commits, or bytes of their rows, are not applied to a segment: it is loaded again.
_MOST_COMMITS, _MOST_CHANGED_BYTES = 1_000, 32 << 20
#: How often a schema is written where others commit first.
_SCHEMA_TRIES = 50


class StoredRecords(StoredCatalogue):
    """The part of the DB that reads records.

    Args:
        settings: Where the store is.
    """

    def __init__(self, settings: Settings) -> None:
        self._views: dict[UUID, View] = {}
        #: (collection, generation) -> its vectors.
        self._sources: dict[tuple[UUID, int], CachedVectors] = {}
        self._temp = TempFolder(settings.temp_path)
        try:
            super().__init__(settings)
        except BaseException:
            self._temp.close()
            raise

    # -- views ----------------------------------------------------------------------------------

    def _view(self, collection_id: UUID) -> View:
        """Return what this process has seen last; at first, what is committed now."""
        view = self._views.get(collection_id)
        if view is None:
            view = self._views.setdefault(collection_id, self._newest(collection_id))
        elif collection_id not in self._known[0].entries:
            self._forget(collection_id)
            raise NotFoundError(f"Collection [{collection_id}] does not exist.")
        # A store that was closed answers nothing.
        self._connection.check_open()
        return view

    def get_collection(self, collection_id: UUID) -> CollectionInfo:
        call, view = self._call, self._views.get(collection_id)
        if call.is_open and not call.has_state and not self._staleness and view is not None:
            # Where the table is gone, the catalogue says why.
            with contextlib.suppress(NoTableError):
                call.seen[collection_id] = self._look_at(collection_id, view.log, view.generation)
        return super().get_collection(collection_id)

    def _newest(self, collection_id: UUID) -> View:
        """Return the view of what is committed now; or was when this call looked first, once for each call."""
        seen = self._call.seen.pop(collection_id, None) if self._call.is_open else None
        while True:
            entry = self._known_entry(collection_id)
            try:
                return self._newest_of(entry, seen)
            except NoTableError as error:
                self._check_not_deleted(collection_id, error)
                again = self._known[0].entries.get(collection_id)
                if seen is None and (again is None or again.table == entry.table):
                    raise
                seen = None

    def _newest_of(self, entry: Entry, seen: View | None) -> View:
        collection_id = entry.info.id
        view = seen or self._look_at(
            collection_id, Log(self._connection, entry.table), entry.generation
        )
        while view.counters.moved_to is not None:
            table, generation = view.counters.moved_to
            view = self._look_at(collection_id, Log(self._connection, table), generation)
        known = self._views.get(collection_id)
        if seen is not None and known is not None and known.is_later_than(view):
            # Another thread has committed since.
            view = known
        self._settle(self._known_entry(collection_id), view)
        return view

    def _look_at(self, collection_id: UUID, log: Log, generation: int) -> View:
        """Look at a collection's newest commit in one table, and at the catalogue, by one query; return its view."""
        known = self._views.get(collection_id)
        if known is not None and known.log.table != log.table:
            known = None
        since = 0 if known is None else known.number
        look, state_look = log.look(), self._log.look()
        state, number, last = self._known
        if known is not None and known.look.holds(look):
            self._look()
            return known
        if last.holds(state_look):
            head = log.newest(since)
            self._call.has_state = True
        else:
            head, changes = log.newest_and_after(since, self._log, number)
            self._take(state, number, changes, state_look)
        if head is None and since:
            raise log.lacking(since)
        if known is not None and head is not None and known.is_of(head):
            return dataclasses.replace(known, look=look)
        return View.at(log, generation, head, look)

    def _settle(self, entry: Entry, view: View) -> None:
        """Have the catalogue say what the collection's own log says: its table, its dimension, its schema."""
        said = view.counters
        is_known = (
            entry.generation >= view.generation
            and (entry.info.dimension is not None or said.dimension is None)
            and entry.schema_number >= said.schema_number
        )
        if is_known or not view.number:
            return
        schema = self._schema_of(view) if said.schema_number else entry.info.schema
        change = {
            "do": "settle",
            "id": str(entry.info.id),
            "table": view.log.table,
            "generation": view.generation,
            "dimension": said.dimension,
            "schema": schema,
            "schema_number": said.schema_number,
            "now": self._now(),
        }

        def decide(state: State) -> dict[str, Any] | None:
            return None if state.after(change).entries == state.entries else change

        self._change_if(decide)

    def _schema_of(self, view: View) -> dict[str, Any] | None:
        (head,) = view.log.between(view.counters.schema_number - 1, view.counters.schema_number)
        schema: dict[str, Any] | None = json.loads(head.said).get("schema")
        return schema

    def _moved_to(self, entry: Entry) -> str | None:
        try:
            head = Log(self._connection, entry.table).newest()
        except NoTableError:
            return None
        moved = None if head is None else Counters.of_text(head.said).moved_to
        return None if moved is None else moved[0]

    def _described(self, entry: Entry) -> CollectionInfo:
        info, view = entry.info, self._views.get(entry.info.id)
        if info.dimension is None and view is not None and view.counters.dimension is not None:
            return dataclasses.replace(info, dimension=view.counters.dimension)
        return info

    def extent(self, collection_id: UUID) -> Extent:
        return self._view(collection_id).extent

    def is_behind(self, collection_id: UUID) -> bool:
        view = self._view(collection_id)
        if self._staleness and time.monotonic() - view.look.at < self._staleness:
            return False
        seen = self._call.seen.get(collection_id) if self._call.is_open else None
        try:
            # The collection's own log says whether it was compacted.
            seen = seen or self._look_at(collection_id, view.log, view.generation)
            if self._call.is_open:
                self._call.seen[collection_id] = seen
        except NoTableError as error:
            self._check_not_deleted(collection_id, error)
            return True
        self._known_entry(collection_id)
        if view.is_later_than(seen):
            # Another thread has committed since this call looked.
            return False
        if (seen.number, seen.stamp) != (view.number, view.stamp):
            return True
        if self._views.get(collection_id) is view:
            self._views[collection_id] = seen
        return False

    def refresh(self, collection_id: UUID) -> Extent:
        view = self._newest(collection_id)
        self._move(collection_id, view)
        return view.extent

    def _move(self, collection_id: UUID, view: View) -> None:
        """Have the collection at another view."""
        self._views[collection_id] = view
        self._drop_sources(collection_id, but=view.generation)

    def _forget(self, collection_id: UUID) -> None:
        """Free what is held of a collection that is gone."""
        self._views.pop(collection_id, None)
        self._drop_sources(collection_id)

    def _drop_sources(self, collection_id: UUID, but: int | None = None) -> None:
        """Let go of the vectors of a collection, but for those of one generation."""
        for key in list(self._sources):
            if key[0] == collection_id and key[1] != but:
                self._sources.pop(key, None)

    def _change_schema(self, collection_id: UUID, schema: dict[str, Any] | None) -> int:
        for _ in range(_SCHEMA_TRIES):
            view = self._newest(collection_id)
            number = view.number + 1
            said = dataclasses.replace(view.counters, schema_number=number)
            try:
                view.log.append(number, new_stamp(), said.to_text(schema, has_schema=True))
            except LostError:
                continue
            return number
        raise ConflictError(
            f"Collection [{collection_id}] was written to by others each of the {_SCHEMA_TRIES} times that its schema was to be "
            "changed; nothing was written. Repeat the call when less is written."
        )

    # -- reading --------------------------------------------------------------------------------

    def _read(self, collection_id: UUID, sql: str) -> pa.Table:
        """Return the answer of a query of a view's table."""
        try:
            return self._connection.query(sql)
        except NoTableError as error:
            self._check_not_deleted(collection_id, error)
            raise InternalError(
                f"Collection [{collection_id}] was compacted by another process while it was read. Repeat the call."
            ) from error

    def find_labels(self, collection_id: UUID, ids: Sequence[str]) -> NDArray[np.int64]:
        view = self._view(collection_id)
        found: dict[str, int] = {}
        if view.counters.n_records and ids:
            table = self._read(
                collection_id,
                f"SELECT id, label FROM {view.log.sql} WHERE {view.records} AND {one_of_texts('id', list(ids))}",
            )
            found = dict(zip(table["id"].to_pylist(), table["label"].to_pylist(), strict=True))
        return np.fromiter((found.get(one, -1) for one in ids), dtype=np.int64, count=len(ids))

    def select(
        self,
        collection_id: UUID,
        expression: Expression | None = None,
        *,
        ids: Sequence[str] | None = None,
        limit: int | None = None,
        offset: int = 0,
    ) -> NDArray[np.int64]:
        view = self._view(collection_id)
        matches = matching(expression, ids)
        query = f"SELECT label FROM {view.log.sql} WHERE {view.records}{matches} ORDER BY sequence"
        if limit is not None or offset:
            query += f" LIMIT {view.counters.n_records if limit is None else limit} OFFSET {offset}"
        found = self._read_matches(collection_id, query, expression)
        return np.array(found["label"].to_numpy(), dtype=np.int64)

    def _read_matches(
        self, collection_id: UUID, sql: str, expression: Expression | None
    ) -> pa.Table:
        """Return the answer of a query of a view's table with this filter."""
        try:
            return self._read(collection_id, sql)
        except BadPatternError as error:
            raise _bad_pattern(expression, error) from error

    def fetch(
        self,
        collection_id: UUID,
        labels: NDArray[np.int64],
        columns: Sequence[str] = TEXT_COLUMNS,
    ) -> RecordRows:
        view = self._view(collection_id)
        wanted = np.unique(labels)
        row_bytes = _COPIES * (view.counters.texts.row_bytes(columns) + _ROW_BYTES)
        pieces, start = [], 0
        while start < len(wanted):
            with WORKSPACE.take((len(wanted) - start) * row_bytes) as room:
                stop = start + room.rows(row_bytes)
                pieces.append(self._rows_of(view, collection_id, wanted[start:stop], columns))
                start = stop
        return in_order(joined(pieces), labels)

    def _rows_of(
        self,
        view: View,
        collection_id: UUID,
        labels: NDArray[np.int64],
        columns: Sequence[str] = TEXT_COLUMNS,
    ) -> RecordRows:
        """Return the records of labels (int64, shape (n,), rising), in that order."""
        chosen = [name for name in TEXT_COLUMNS if name in columns]
        table = self._read(
            collection_id,
            f"SELECT label, {', '.join(['sequence', *chosen])} FROM {view.log.sql} WHERE {view.records} AND "
            f"{one_of_labels('label', labels)} ORDER BY label",
        )
        return rows_from(table)

    def _versions(
        self, view: View, collection_id: UUID, labels: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return labels of records and the commits that have written their rows, for those of some labels (int64, shape (n,))."""
        table = self._read(
            collection_id,
            f"SELECT label, version FROM {view.log.sql} WHERE {view.records} AND {one_of_labels('label', labels)}",
        )
        return table["label"].to_numpy(), table["version"].to_numpy()

    def scan(self, collection_id: UUID) -> Iterator[RecordRows]:
        view = self._view(collection_id)
        sizes, end = view.counters.texts, view.counters.next_label
        row_bytes = _COPIES * (sizes.row_bytes() + _ROW_BYTES)
        start = 0
        while start < end:
            with WORKSPACE.take(min((end - start) * row_bytes, _COPIES * _SCAN_BYTES)) as room:
                stop = min(start + room.rows(row_bytes), end)
                rows = self._rows_of(view, collection_id, np.arange(start, stop))
                if len(rows):
                    yield rows
            start = stop

    def text_sizes(self, collection_id: UUID) -> TextSizes:
        return self._view(collection_id).counters.texts

    # -- vectors --------------------------------------------------------------------------------

    def vectors(self, collection_id: UUID) -> VectorSource:
        view = self._view(collection_id)
        dimension = view.counters.dimension or self._dimension(collection_id)
        if dimension is None:
            raise InternalError(f"Collection [{collection_id}] has no vectors yet.")
        key = (collection_id, view.generation)
        source = self._sources.get(key)
        if source is None:

            def fetch(labels: NDArray[np.int64]) -> pa.Table:
                return self._vector_rows(key, labels)

            def n_labels() -> int:
                return self._view(collection_id).counters.next_label

            made = CachedVectors(dimension, self._temp.path, fetch, n_labels)
            source = self._sources.setdefault(key, made)
        return source

    def _dimension(self, collection_id: UUID) -> int | None:
        """Return the dimension that a commit has fixed that the view has not seen."""
        return self._newest(collection_id).counters.dimension

    def _vector_rows(self, key: tuple[UUID, int], labels: NDArray[np.int64]) -> pa.Table:
        collection_id, generation = key
        view = self._view(collection_id)
        if view.generation != generation or labels[-1] >= view.counters.next_label:
            raise InternalError(
                f"Collection [{collection_id}] was compacted while its vectors were read. Repeat the call."
            )
        return self._read(
            collection_id,
            f"SELECT label, embedding FROM {view.log.sql} WHERE {view.vectors} AND {one_of_labels('label', labels)}",
        )

    @property
    def ranking(self) -> VectorRanking:
        at_server = not self._connection.is_embedded
        return Ranking(self._view, self._read_matches, self._graphs, has_graphs=at_server)

    # -- what others have committed -------------------------------------------------------------

    def changes_since(self, collection_id: UUID, version: int) -> Iterator[Changes] | None:
        view = self._view(collection_id)
        if version == view.stamp:
            return iter(())
        first = 0 if version == 0 else view.log.find(version)
        if first is None or not 0 <= view.number - first <= _MOST_COMMITS:
            return None
        heads = view.log.between(max(first - 1, 0), view.number)
        before = Counters.of_text(heads.pop(0).said) if first else Counters()
        changed = f"FROM {view.log.sql} WHERE {view.rows_after(first)}"
        texts = " + ".join(f"length({name})" for name in ("id", "metadata"))
        texts += " + " + " + ".join(f"ifNull(length({name}), 0)" for name in ("document", "uri"))
        (size,) = self._read(
            collection_id,
            f"SELECT toInt64(sum({texts} + 4 * length(embedding) + {_ROW_BYTES})) AS n_bytes {changed}",
        )["n_bytes"].to_pylist()
        if size > _MOST_CHANGED_BYTES:
            return None
        columns = "kind, label, version, sequence, id, document, uri, metadata, embedding"
        rows = self._read(collection_id, f"SELECT {columns} {changed} ORDER BY version, label")
        return iter(_commits(heads, before, version, rows))


def rows_from(table: pa.Table) -> RecordRows:
    """Return the rows of an answer with label, sequence and some texts."""

    def texts(name: str) -> list[Any]:
        return table[name].to_pylist() if name in table.column_names else []

    return RecordRows(
        np.array(table["label"].to_numpy(), dtype=np.int64),
        np.array(table["sequence"].to_numpy(), dtype=np.int64),
        texts("id"),
        texts("document"),
        texts("uri"),
        [text or None for text in texts("metadata")],
    )


def _commits(
    heads: Sequence[Head], before: Counters, version: int, rows: pa.Table
) -> Iterator[Changes]:
    """Yield the commits of these heads, as they were given to `commit`.

    Args:
        heads: In their order.
        before: The counters before the first.
        version: The stamp of the commit before the first.
        rows: Their rows.
    """
    versions = rows["version"].to_numpy()
    for head in heads:
        after = Counters.of_text(head.said)
        first, stop = np.searchsorted(versions, [head.number, head.number + 1]).tolist()
        own = rows.slice(first, stop - first)
        kinds = own["kind"].to_numpy()
        embeddings = own["embedding"].combine_chunks()
        n_new = after.next_label - before.next_label
        dimension = after.dimension or 0
        vectors = np.zeros((n_new, dimension), dtype=np.float32)
        lengths = embeddings.value_lengths().to_numpy()
        places = own["label"].to_numpy()[lengths > 0] - before.next_label
        vectors[places] = embeddings.flatten().to_numpy().reshape(len(places), dimension)
        said = json.loads(head.said)
        yield Changes(
            rows=rows_from(own.filter(kinds == RECORD)),
            removed=np.array(own["label"].to_numpy()[kinds == REMOVED], dtype=np.int64),
            vectors=vectors,
            first_label=before.next_label,
            n_new=after.next_sequence - before.next_sequence,
            dimension=after.dimension if n_new else None,
            n_records_delta=after.n_records - before.n_records,
            base_version=version,
            schema=said.get("schema"),
        )
        before, version = after, head.stamp


def _bad_pattern(expression: Expression | None, error: Exception) -> InvalidArgumentError:
    said = str(error)
    _, _, reason = said.partition("error: ")
    reason = reason.partition(". Look at")[0] or said
    # RE2 repeats the pattern behind its sentence.
    reason = reason.rpartition(": ")[0] or reason
    given = " or ".join(repr(pattern[:200]) for pattern in patterns(expression))
    return InvalidArgumentError(
        f"Invalid where clause: the regular expression {given} cannot be read: {reason[:300]}. The syntax is that of Rust's "
        "regex, without look-around and back-references."
    )
