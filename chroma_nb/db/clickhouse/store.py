"""`Clickhouse`: a `DB` in ClickHouse, which any number of servers share; or in this process, by chDB."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import threading
import time
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from chroma_nb.db.base import NO_TEXTS, Changes
from chroma_nb.db.clickhouse.catalogue import ABANDONED_SECONDS, reset_change
from chroma_nb.db.clickhouse.check import check_collection
from chroma_nb.db.clickhouse.engine import INDEXES
from chroma_nb.db.clickhouse.errors import NoTableError
from chroma_nb.db.clickhouse.fields import describe, metadata_keys
from chroma_nb.db.clickhouse.literals import literal
from chroma_nb.db.clickhouse.log import FRESH_SECONDS, LostError, new_stamp
from chroma_nb.db.clickhouse.pieces import BLOCK_BYTES, blocks_of, is_one_block
from chroma_nb.db.clickhouse.records import StoredRecords
from chroma_nb.db.clickhouse.views import View
from chroma_nb.errors import ChromaError, ConflictError, InternalError, NotFoundError
from chroma_nb.settings import real_path
from chroma_nb.shielded import finish

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from uuid import UUID

    import pyarrow as pa
    from numpy.typing import NDArray

    from chroma_nb.check_report import CollectionCheck
    from chroma_nb.db.base import Extent
    from chroma_nb.db.clickhouse.log import Log
    from chroma_nb.db.clickhouse.sql import ColumnsCache, Sessions
    from chroma_nb.settings import Settings
    from chroma_nb.types import FieldSummary

logger = logging.getLogger("chroma_nb")

#: How often a block is in memory while it is inserted: as Python's objects, as Arrow, in the client, and in chDB's work.
_BLOCK_COPIES = 8


class Clickhouse(StoredRecords):
    """A store in ClickHouse.

    Args:
        settings: `clickhouse_url` is where the server is; where it is empty, ClickHouse runs in this process and keeps
            its files in `path`.

    Raises:
        ImportError: A package that it needs is not installed.
        InvalidArgumentError: The address or the folder cannot be used.
        ServerUnavailableError: No server answers there.
        StoreLockedError: Another process has the folder open.
        VersionMismatchError: A later version of chroma_nb has written the store.
    """

    persists: ClassVar[bool] = True
    shared: ClassVar[bool] = True

    def __init__(self, settings: Settings) -> None:
        #: By collection: held by a writer from its look at the view to its commit.
        self._write_locks: dict[UUID, threading.RLock] = {}
        super().__init__(settings)
        self._sql: tuple[Sessions, ColumnsCache] | None = None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._connection.name!r})"

    @classmethod
    def place(cls, settings: Settings) -> str:
        # With the user and the password: whoever opens it with others is not given what somebody else has opened.
        return settings.clickhouse_url or real_path(settings.path)

    # -- life -----------------------------------------------------------------------------------

    def close(self) -> None:
        self._sources.clear()
        ends = () if self._sql is None else (self._sql[0].close,)
        finish(*ends, self._connection.close, self._temp.close)

    def is_there(self) -> bool:
        return self._connection.is_there()

    @property
    def derived_folder(self) -> str | None:
        folder = self._connection.folder
        return None if folder is None else os.path.join(folder, INDEXES)

    def reset(self) -> None:
        tables: list[str] = []

        def decide(state: Any) -> dict[str, Any]:
            tables[:] = [entry.table for entry in state.entries.values()]
            return reset_change(self._now())

        self._change_if(decide)
        for collection_id in list(self._views):
            self._forget(collection_id)
        self._drop_tables(tables)

    def _forget(self, collection_id: UUID) -> None:
        super()._forget(collection_id)
        self._write_locks.pop(collection_id, None)

    # -- writing --------------------------------------------------------------------------------

    def _writing(self, collection_id: UUID) -> threading.RLock:
        """Return what a collection's writer holds."""
        return self._write_locks.setdefault(collection_id, threading.RLock())

    def commit_bytes(self, text_bytes: NDArray[np.int64]) -> int:
        return _BLOCK_COPIES * min(int(text_bytes.sum()), BLOCK_BYTES)

    def commit(self, collection_id: UUID, changes: Changes) -> Extent:
        with self._writing(collection_id):
            view = self._view_to_write(collection_id, changes.base_version)
            before = view.counters
            if len(changes.vectors) and changes.first_label != before.next_label:
                raise InternalError(
                    f"Labels start at {changes.first_label}, the next free one is {before.next_label}."
                )
            number, stamp = view.number + 1, new_stamp()
            killed = self._writers_of(view, collection_id, changes.removed)
            is_whole = is_one_block(changes)
            after = dataclasses.replace(
                before,
                n_records=before.n_records + changes.n_records_delta,
                next_label=before.next_label + len(changes.vectors),
                next_sequence=before.next_sequence + changes.n_new,
                n_removed=before.n_removed + len(changes.removed),
                n_staged=before.n_staged + (not is_whole),
                dimension=before.dimension or changes.dimension or _dimension(changes),
                schema_number=before.schema_number if changes.schema is None else number,
                texts=before.texts.plus(changes.rows),
            )
            said = after.to_text(changes.schema, has_schema=changes.schema is not None)
            blocks = blocks_of(changes, killed, number, stamp, staged=not is_whole)
            own: list[pa.RecordBatch] = []
            try:
                if is_whole:
                    own = list(blocks)
                else:
                    for place, block in enumerate(blocks):
                        view.log.stage(stamp, place, block)
                    view = self._view_to_write(collection_id, view.stamp)
                look = view.log.append(
                    number, stamp, said, own, staged=not is_whole, last=view.look
                )
            except LostError:
                raise self._conflict(collection_id) from None
            except NoTableError as error:
                self._check_not_deleted(collection_id, error)
                raise self._conflict(collection_id) from error
            view = View(view.log, view.generation, number, stamp, after, look)
            self._move(collection_id, view)
            self._keep_vectors(collection_id, changes)
            if after.dimension != before.dimension or changes.schema is not None:
                self._settle_quietly(collection_id, view)
            return view.extent

    def _view_to_write(self, collection_id: UUID, base_version: int | None) -> View:
        """Return the view that a commit is made on.

        Raises:
            ConflictError: The collection is not at `base_version`.
        """
        view = self._view(collection_id)
        is_fresh = time.monotonic() - view.look.at < FRESH_SECONDS / 2
        if base_version is None or (base_version == view.stamp and not is_fresh):
            view = self._newest(collection_id)
        if base_version not in (None, view.stamp):
            raise self._conflict(collection_id)
        return view

    def _conflict(self, collection_id: UUID) -> ConflictError:
        entry = self._known[0].entries.get(collection_id)
        name = str(collection_id) if entry is None else entry.info.name
        return ConflictError(
            f"Collection [{name}] has changed since it was looked at; nothing was written. Repeat the call."
        )

    def _writers_of(
        self, view: View, collection_id: UUID, labels: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """Return the commit that has written the row of each label: int64, shape (n,)."""
        if not len(labels):
            return labels
        found = self._versions(view, collection_id, labels)
        order = np.argsort(found[0])
        rising = found[0][order]
        at = np.minimum(np.searchsorted(rising, labels), max(0, len(rising) - 1))
        if not len(rising) or not np.array_equal(rising[at], labels):
            raise InternalError(
                "A label that is to be removed is no record's; nothing was written. Close the store and open it again, and "
                "run check()."
            )
        return found[1][order][at]

    def _keep_vectors(self, collection_id: UUID, changes: Changes) -> None:
        """Put what was committed into the local file of vectors. Where that fails, it is fetched when it is needed."""
        if not len(changes.vectors):
            return
        with contextlib.suppress(OSError, ChromaError):
            source = self.vectors(collection_id)
            source.append(changes.first_label, changes.vectors)  # type: ignore[attr-defined]

    def _settle_quietly(self, collection_id: UUID, view: View) -> None:
        """Tell the catalogue. The commit is made, so a failure is no error: whoever reads the collection tells it, too."""
        try:
            self._settle(self._known_entry(collection_id), view)
        except ChromaError as error:
            logger.warning(
                "The catalogue does not yet have what a collection's log says: %s", error
            )

    # -- compaction -----------------------------------------------------------------------------

    def compact(self, collection_id: UUID) -> None:
        with self._writing(collection_id):
            view, began = self._view(collection_id), time.monotonic()
            self._check_newest(collection_id, view)
            log = self.new_log(collection_id, view.generation + 1)
            try:
                log.create(fsync=self._settings.fsync)
                after = self._rewrite(collection_id, view, log, new_stamp())
                if time.monotonic() - began > ABANDONED_SECONDS / 2:
                    raise self._conflict(collection_id)
                self._check_newest(collection_id, view)
            except BaseException:
                # Where that fails, the table is deleted later: nobody names it.
                with contextlib.suppress(ChromaError):
                    log.drop()
                raise
            moved = dataclasses.replace(view.counters, moved_to=(after.log.table, after.generation))
            try:
                # The commit point: from here on the collection is in the new table.
                view.log.append(view.number + 1, new_stamp(), moved.to_text())
            except LostError:
                log.drop()
                raise self._conflict(collection_id) from None
            self._move(collection_id, after)
            self._settle_quietly(collection_id, after)
            # What it has left; where others may be at it, what earlier ones have left.
            with contextlib.suppress(ChromaError):
                self._sweep()

    def _check_newest(self, collection_id: UUID, view: View) -> None:
        newest = self._newest(collection_id)
        if (newest.log.table, newest.number, newest.stamp) != (
            view.log.table,
            view.number,
            view.stamp,
        ):
            raise self._conflict(collection_id)

    def _rewrite(self, collection_id: UUID, view: View, log: Log, stamp: int) -> View:
        """Write a view's records into a new table, labels 0, 1, 2, ... in storage order; return the view of that."""
        old = view.counters
        labels = self.select(collection_id)
        row_bytes = old.texts.row_bytes() + 4 * (old.dimension or 0) + 64
        step = max(1, BLOCK_BYTES // (2 * row_bytes))
        texts = NO_TEXTS
        nothing = np.empty(0, dtype=np.int64)
        source = self.vectors(collection_id) if len(labels) else None
        n_blocks = 0
        for start in range(0, len(labels), step):
            piece = labels[start : start + step]
            rows = self.fetch(collection_id, piece)
            if len(rows) != len(piece) or source is None:
                raise InternalError(f"Collection [{collection_id}] lacks records that it had.")
            rows.labels = np.arange(start, start + len(piece), dtype=np.int64)
            changes = Changes(rows, nothing, source.read(piece), start, 0)
            for block in blocks_of(changes, nothing, 1, stamp, staged=False):
                log.stage(stamp, n_blocks, block)
                n_blocks += 1
            texts = texts.plus(rows)
        schema = self._schema_of(view) if old.schema_number else None
        counters = dataclasses.replace(
            old,
            next_label=len(labels),
            n_removed=0,
            n_staged=0,
            schema_number=min(1, old.schema_number),
            texts=texts,
        )
        said = counters.to_text(schema, has_schema=old.schema_number > 0)
        look = log.append(1, stamp, said)
        return View(log, view.generation + 1, 1, stamp, counters, look)

    # -- SQL ------------------------------------------------------------------------------------

    def sql(self, query: str, parameters: Any, tenant: str, database: str) -> Any:
        from chroma_nb.db.clickhouse.sql import answer_sql

        return answer_sql(self, query, parameters, tenant, database)

    @property
    def sql_sessions(self) -> Sessions:
        """What opens sessions for queries of SQL."""
        return self._for_sql()[0]

    @property
    def sql_columns(self) -> ColumnsCache:
        """The columns of collections that were queried lately."""
        return self._for_sql()[1]

    def _for_sql(self) -> tuple[Sessions, ColumnsCache]:
        if self._sql is None:
            from chroma_nb.db.clickhouse.sql import ColumnsCache, Sessions

            self._sql = (Sessions(self._connection, self._settings), ColumnsCache())
        return self._sql

    def newest_view(self, collection_id: UUID) -> View:
        """Return the view of what is committed now."""
        return self._newest(collection_id)

    # -- what it says of itself -----------------------------------------------------------------

    def describe_fields(self, collection_id: UUID, n_values: int) -> list[FieldSummary]:
        view = self._view(collection_id)
        return describe(lambda sql: self._read(collection_id, sql), view, n_values)

    def metadata_keys(self, collection_id: UUID) -> list[str]:
        view = self._view(collection_id)
        return metadata_keys(lambda sql: self._read(collection_id, sql), view)

    def check(
        self, collection_id: UUID, on_bytes: Callable[[int], object] = lambda _: None
    ) -> CollectionCheck:
        view, info = self._view(collection_id), self.get_collection(collection_id)
        return check_collection(
            info,
            view,
            self.scan(collection_id),
            lambda sql: self._read(collection_id, sql),
            on_bytes,
        )

    def bytes_on_disk(self, collection_id: UUID) -> int:
        return self.sizes([collection_id])[0][1]

    def sizes(self, collection_ids: Sequence[UUID]) -> list[tuple[int, int, int]]:
        tables, found = {}, []
        for collection_id in collection_ids:
            with contextlib.suppress(NotFoundError):
                tables[collection_id] = self._view(collection_id).log.table
        on_disk: dict[str, int] = {}
        if tables and self._connection.is_embedded:
            on_disk = dict(
                self._connection.rows(
                    "SELECT table, toInt64(sum(bytes_on_disk)) FROM system.parts WHERE active AND database = "
                    f"currentDatabase() AND has({literal(list(tables.values()))}, table) GROUP BY table"
                )
            )
        for collection_id in collection_ids:
            if collection_id in tables:
                view = self._view(collection_id)
                counted = view.counters.texts.row_bytes() * view.counters.n_records
                found.append((view.counters.n_records, on_disk.get(view.log.table, 0), counted))
            else:
                found.append((0, 0, 0))
        return found


def _dimension(changes: Changes) -> int | None:
    return changes.vectors.shape[1] if len(changes.vectors) else None
