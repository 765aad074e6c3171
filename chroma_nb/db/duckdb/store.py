"""`DuckDB`: records and catalogue in an in-memory DuckDB, vectors in unnamed temporary files."""

from __future__ import annotations

import contextlib
import secrets
import shutil
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from chroma_nb import forked
from chroma_nb.db._versions import IS_OLD_DUCKDB
from chroma_nb.db.base import Changes, Extent
from chroma_nb.db.chunks import (
    PADDED_BYTES,
    TEXT_PIECE_BYTES,
    WRITES_PADDING,
    Padding,
    chunk_text_bytes,
)
from chroma_nb.db.duckdb.cached_catalogue import (
    CachedCatalogue,
    close_vectors,
    schema_text,
    stored_texts,
)
from chroma_nb.db.duckdb.check import check_collection
from chroma_nb.db.duckdb.checkpoint_memory import ROW_BYTES
from chroma_nb.db.duckdb.compaction import compact
from chroma_nb.db.duckdb.database import Database
from chroma_nb.db.duckdb.inserts import PIECE_COPIES, delete_rows, write_rows
from chroma_nb.db.duckdb.records import StoredRecords
from chroma_nb.db.duckdb.schema import SET_SCHEMA, SET_TAIL
from chroma_nb.db.duckdb.vector_files import VectorFiles
from chroma_nb.db.memory_share import MemoryShare, with_more_memory
from chroma_nb.db.read_again import read_again
from chroma_nb.db.sql import ColumnsCache, answer_sql
from chroma_nb.db.temp_folder import TempFolder
from chroma_nb.errors import ConflictError, InternalError
from chroma_nb.filters.limits import FilterLimits
from chroma_nb.memory.budget import default_budget
from chroma_nb.memory.machine import MACHINE
from chroma_nb.memory.sizes import format_bytes, parse_bytes
from chroma_nb.memory.trim import return_large_at_once
from chroma_nb.progress import progress_bar
from chroma_nb.shielded import finish

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from uuid import UUID

    import duckdb
    from numpy.typing import NDArray

    from chroma_nb.check_report import CollectionCheck
    from chroma_nb.db.base import RecordRows
    from chroma_nb.db.block_sums import BlockSums, Growth
    from chroma_nb.db.duckdb.cached_catalogue import CatalogueEntry
    from chroma_nb.db.sql import VectorFunction
    from chroma_nb.db.vector_file import VectorFile
    from chroma_nb.errors import MemoryBudgetError
    from chroma_nb.settings import Settings

#: How many copies of the texts of a chunk (2,048 rows) a COMMIT makes beside the table's own: in a folder, where they
#: are written to the write-ahead log (measured: 2.9).
_LOG_COPIES = 3.0
#: The same for a store in memory (measured: 0.9, and half as much for the checkpoint after it).
_COMMIT_COPIES = 1.5
#: DuckDB before 2.0 makes this many more, which it frees only at the COMMIT (measured: 2.4).
_OLD_COPIES = 2.5 if IS_OLD_DUCKDB else 0.0
#: Random bits of a collection's version, which a commit replaces: a snapshot names the version that it was made of.
_VERSION_BITS = 62


class DuckDB(StoredRecords):
    """An ephemeral store: gone with the process, its vectors in files that have no name.

    Args:
        settings: `threads`, `duckdb_memory_limit` and `temp_path` are used.
    """

    persists: ClassVar[bool] = False

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.sql_columns = ColumnsCache()
        self.filter_limits = FilterLimits.of(settings)
        return_large_at_once(MACHINE.limit().total)
        limit = settings.duckdb_memory_limit
        share = MemoryShare(
            default_budget().database if limit == "auto" else parse_bytes(limit),
            limit != "auto",
            lambda: self._database.connection.cursor(),
        )
        self._temp = TempFolder(settings.temp_path)
        try:
            super().__init__(*self._make_parts(share))
            forked.watch(self)
            self._database.open()
        except BaseException:
            self._temp.close()
            raise

    def _make_parts(self, share: MemoryShare) -> tuple[Database, VectorFiles]:
        """Return what holds the records and what holds the vectors; nothing is opened yet."""
        database = Database(self.settings, repr(self), CachedCatalogue(), share, self._temp)
        return database, VectorFiles(database, self._temp)

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"

    # -- the end ------------------------------------------------------------------------------

    def on_fork(self) -> None:
        """Have the child leave the store alone; `forked` calls this in the child."""
        self._database.on_fork(self)
        self._temp.on_fork()

    def close(self) -> None:
        database = self._database
        # Before the write lock: a running query may hold it, or wait for it.
        database.end_queries()
        with database.write_lock:
            if database.is_closed:
                return
            database.is_closed = True
            finish(
                database.close_cursors,
                *(partial(close_vectors, entry) for entry in self._cached.entries.values()),
                database.close_connection,
                self._temp.close,
            )

    @property
    def derived_folder(self) -> str:
        return self._temp.path

    # -- writing ------------------------------------------------------------------------------

    @with_more_memory
    def commit(self, collection_id: UUID, changes: Changes) -> Extent:
        more = self._more_for_commit(chunk_text_bytes(changes.rows.text_bytes))
        raised = self.memory_share.raised(more) if more else contextlib.nullcontext()
        with raised:
            return self._database.retry_with_freed_memory(
                lambda: self._commit(collection_id, changes)
            )

    def commit_bytes(self, text_bytes: NDArray[np.int64]) -> int:
        total, chunk = int(text_bytes.sum()), chunk_text_bytes(text_bytes)
        # DuckDB moves what exceeds its limit to the temporary folder.
        limit = self.memory_share.limit + self._more_for_commit(chunk)
        copies = (_LOG_COPIES if self.persists else _COMMIT_COPIES) + _OLD_COPIES
        piece = min(total, PIECE_COPIES * TEXT_PIECE_BYTES)
        return min(total + total // 8, limit) + int(copies * chunk) + piece

    def _more_for_commit(self, chunk_bytes: int) -> int:
        """Return by how many bytes the limit is raised for a commit whose largest chunk has `chunk_bytes` of texts."""
        if self.memory_share.is_fixed or chunk_bytes <= TEXT_PIECE_BYTES:
            return 0
        return max(0, 2 * chunk_bytes + TEXT_PIECE_BYTES - self.memory_share.limit)

    def _commit(self, collection_id: UUID, changes: Changes) -> Extent:
        with self._database.changing():
            entry = self._database.entry(collection_id)
            extent = entry.extent
            if changes.base_version not in (None, extent.version):
                raise ConflictError(
                    f"Collection [{entry.info.name}] has changed since this write was prepared; nothing was written."
                )
            if len(changes.vectors) and changes.first_label != extent.next_label:
                raise InternalError(
                    f"Collection [{entry.info.name}]: the labels of a write start at {changes.first_label}, and the next free one "
                    f"is {extent.next_label}; nothing was written."
                )
            dimension = entry.info.dimension or changes.dimension
            self._database.checkpoint_memory.changed(entry)
            self._check_space(changes)
            bar = progress_bar(
                len(changes.rows),
                f"Writing {entry.info.name}",
                did="written",
                enabled=self.settings.progress,
            )
            growth: Growth | None = None
            sums: BlockSums | None = None
            with bar:
                if len(changes.vectors):
                    self._database.add_checksums()
                    vectors = self._files.writable(entry, changes.vectors.shape[1])
                    _check_tail(vectors, changes)
                    sums = vectors.sums
                    growth = vectors.append(changes.first_label, changes.vectors)
                after = Extent(
                    extent.n_records + changes.n_records_delta,
                    extent.next_label + len(changes.vectors),
                    extent.next_sequence + changes.n_new,
                    extent.generation,
                    # Random, not counted: two stores that began as copies of one backup must not share versions.
                    secrets.randbits(_VERSION_BITS),
                )
                texts = None if entry.texts is None else entry.texts.plus(changes.rows)
                padding = _padding_after(entry, changes.rows)
                if padding:
                    self._database.allow_padding()
                if len(changes.removed):
                    self._database.checkpoint_memory.with_removals.add(collection_id)
                with self._database.transaction() as con:
                    if len(changes.removed):
                        with self._database.enough_memory(len(changes.removed)):
                            delete_rows(con, entry.table, changes.removed, entry.padding)
                    write_rows(con, entry.table, changes.rows, bar)
                    tail = self._files.write_sums(con, entry, growth)
                    # Written where it changes, as most commits leave it.
                    schema = [] if changes.schema is None else [schema_text(changes.schema)]
                    self._database.begin_commit()
                    con.execute(
                        "UPDATE collections SET dimension = ?, n_records = ?, next_label = ?, next_sequence = ?, "
                        f"version = ?, text_sizes = ?, padding = ?{SET_TAIL if tail else ''}{SET_SCHEMA if schema else ''} WHERE id = ?",
                        [
                            dimension,
                            after.n_records,
                            after.next_label,
                            after.next_sequence,
                            after.version,
                            stored_texts(texts, after),
                            int(padding),
                            *tail,
                            *schema,
                            str(collection_id),
                        ],
                    )
            self._database.checkpoint_memory.changed_bytes += ROW_BYTES * (
                len(changes.rows) + len(changes.removed)
            )
            if texts is not None and entry.texts is not None:
                self._database.checkpoint_memory.changed_bytes += (
                    texts.n_bytes - entry.texts.n_bytes
                )
            if growth is not None and sums is not None:
                # Where COMMIT failed and the transaction came through all the same, the catalogue was read again. The file has
                # new sums then, which count this commit already; these old ones are nobody's any more.
                sums.adopt(growth)
                entry.tail = sums.tail
            entry.extent, entry.texts, entry.padding = after, texts, padding
            self._database.checkpoint_memory.measured(entry)
            if entry.info.dimension is None and dimension is not None:
                entry.info = replace(entry.info, dimension=dimension)
            if changes.schema is not None:
                self._cached.redescribe(entry, replace(entry.info, schema=changes.schema))
        return after

    def _check_space(self, changes: Changes) -> None:
        """Refuse a write that would not fit on the disk, before DuckDB's log fills it.

        Raises:
            InternalError: It would not fit; nothing was written.
        """
        rows = changes.rows
        if not len(rows):
            # Deleting is never refused: it may be how the user gets space.
            return
        n_bytes = changes.vectors.nbytes + 64 * len(rows) + int(rows.lengths.sum())
        free = shutil.disk_usage(self._database.space_folder()).free
        kept_free = self._database.space_for_log(n_bytes - changes.vectors.nbytes, free - n_bytes)
        needed = n_bytes + n_bytes // 8 + kept_free
        if needed > free:
            raise InternalError(
                f"Writing {len(rows):,} records needs about {format_bytes(needed)}, of which "
                f"{format_bytes(kept_free)} are kept free for the database's log; the disk of {self!r} has "
                f"{format_bytes(free)} free. Free some space, or delete a collection, and repeat the call; "
                "nothing was written."
            )

    @with_more_memory
    def compact(self, collection_id: UUID) -> None:
        compact(self, self._database, self._files, collection_id)

    def check(
        self, collection_id: UUID, on_bytes: Callable[[int], object] = lambda _: None
    ) -> CollectionCheck:
        return check_collection(self, self._database, self._files, collection_id, on_bytes)

    # -- memory -------------------------------------------------------------------------------

    def settle(self) -> None:
        self._database.settle()

    @property
    def memory_bytes(self) -> int:
        return self._database.memory_bytes

    @property
    def working_bytes(self) -> int:
        return self._database.working_bytes

    @property
    def is_at_work(self) -> bool:
        return self._database.is_at_work

    @property
    def memory_limit(self) -> int:
        return self.memory_share.n_bytes

    def set_memory_limit(self, n_bytes: int) -> None:
        self._database.set_memory_limit(n_bytes)

    # -- SQL: what `SqlStore` asks for --------------------------------------------------------

    @with_more_memory
    @read_again
    def sql(self, query: str, parameters: Any, tenant: str, database: str) -> Any:
        self._database.check_open()
        self._database.reload_if_stale()
        return answer_sql(self, query, parameters, tenant, database)

    @property
    def sql_vectors(self) -> VectorFunction:
        """The function by which queries read vectors."""
        return self._database.sql_vectors

    def sql_cursor(self) -> AbstractContextManager[duckdb.DuckDBPyConnection]:
        """Open a cursor for one query; see `SqlStore`."""
        return self._database.sql_cursor()

    def one_thread(self, cursor: duckdb.DuckDBPyConnection) -> AbstractContextManager[None]:
        """Have DuckDB work with one thread until the end of the block."""
        return self._database.one_thread(cursor)

    def memory_error(self) -> MemoryBudgetError:
        """Return the error for a query that DuckDB has not enough memory for."""
        return self._database.memory_error()

    def read_error(self, error: duckdb.Error) -> Exception:
        """Return the error to raise for one of DuckDB's that a read has met."""
        return self._database.read_error(error)

    def mark_broken(self) -> None:
        """Have DuckDB reopened before the next access."""
        self._database.mark_broken()


def _padding_after(entry: CatalogueEntry, rows: RecordRows) -> Padding:
    """Return which long texts of a collection have padding after these rows are written."""
    if not (rows.text_bytes > PADDED_BYTES).any():
        return entry.padding
    if not WRITES_PADDING:
        return min(entry.padding, Padding.SOME)
    if entry.padding:
        return entry.padding
    had_none = entry.texts is not None and entry.texts.most_in_record <= PADDED_BYTES
    return Padding.ALL if had_none else Padding.SOME


def _check_tail(vectors: VectorFile, changes: Changes) -> None:
    """Check that a commit leaves the rest of a damaged block empty, as `rows_to_skip` demands.

    Raises:
        InternalError: A record would get one of these rows, or they are not in the commit.
    """
    n_skipped = vectors.rows_to_skip()
    if not n_skipped:
        return
    labels = changes.rows.labels
    first = changes.first_label
    taken = np.any((labels >= first) & (labels < first + n_skipped))
    if len(changes.vectors) < n_skipped or taken:
        raise InternalError(
            f"The last vectors of {vectors.path!r} are damaged, and {n_skipped:,} rows have to be left out first."
        )
