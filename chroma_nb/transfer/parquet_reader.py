"""`ParquetReader`: rows of a Parquet file in pieces, measured before they are decoded."""

from __future__ import annotations

import contextlib
import os
import threading
from collections import Counter
from typing import TYPE_CHECKING, Any

from chroma_nb import forked
from chroma_nb.api.copying import PIECE_RECORDS
from chroma_nb.db.own_file import NotOurFileError, open_given
from chroma_nb.errors import ChromaError, InvalidArgumentError
from chroma_nb.memory.preflight import require
from chroma_nb.memory.trim import return_arrows_memory
from chroma_nb.transfer.decoded import Expansion, cells, piece_bytes, row_bytes, with_used_values
from chroma_nb.transfer.parquet_chunks import (
    all_pages,
    check_nullable,
    measure_chunks,
    texts_in_dictionaries,
)
from chroma_nb.transfer.parquet_footer import read_footer
from chroma_nb.transfer.tables import table_row_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from chroma_nb.transfer.parquet_chunks import Chunk

#: At most this many ids are decoded at once.
_IDS_AT_ONCE = 65_536
#: How many times its size a batch takes while pyarrow decodes it (measured with lists of float32): the levels of the
#: lists, the numbers, both again as a list, and the fixed-size list that is made from it.
_DECODING_COPIES = 4
#: How many times their size the texts of a row group take that are read as dictionaries (measured with texts of 20 kB).
_TEXT_COPIES = 5
#: The same of other columns, and of a page (measured with pages of 20 MB, each with one text).
_PLAIN_COPIES = 3
#: This much of a column is read from the file at a time.
_BUFFER_BYTES = 1 << 20
#: A row group is decoded in at most `_BATCHES` batches, unless its texts have fewer bytes than `_LITTLE_TEXT`.
_BATCHES = 16
_LITTLE_TEXT = 4 << 20
#: Bytes and rows of a row group at most, where the way out of a refusal makes smaller ones.
_REWRITTEN_BYTES, _REWRITTEN_ROWS = 4 << 20, 1_000


class _Pool:
    """pyarrow's default pool."""

    def __init__(self) -> None:
        #: Held while it is another one.
        self.lock = threading.RLock()


_POOL = _Pool()
# Another thread may have held it when the process was forked.
forked.call_in_child(_POOL.__init__)  # type: ignore[misc]


def _most_bytes(chunks: Sequence[Chunk], n_rows: int, n_in_group: int) -> int:
    return sum(chunk.most_bytes(n_rows, n_in_group) for chunk in chunks)


@contextlib.contextmanager
def _system_pool() -> Iterator[None]:
    """Have what is opened within the block take its memory from the system itself.

    pyarrow's own pool keeps what is freed: reading texts of 20 kB took twice the memory. A `ParquetFile` keeps the pool that was
    the default when it was opened, and there is no argument for it.
    """
    import pyarrow as pa

    with _POOL.lock:
        before = pa.default_memory_pool()
        pa.set_memory_pool(pa.system_memory_pool())
        try:
            yield
        finally:
            pa.set_memory_pool(before)


class ParquetReader:
    """Rows of a Parquet file, read forwards in pieces.

    Texts that stand in a dictionary in the file are read as dictionaries: what the file has once is in memory once, and how
    large the rows are is known before they are decoded.

    Args:
        path: The file.

    Raises:
        InvalidArgumentError: There is no such file, it is not a plain file or not Parquet, or it would decode to
            more than is reasonable.
        MemoryBudgetError: There is no room to decode it.
    """

    def __init__(self, path: str) -> None:
        import pyarrow as pa
        import pyarrow.parquet as parquet

        self._path = path
        #: What pyarrow, `read_footer` and `read_pages` raise.
        self._errors = (OSError, ValueError, pa.ArrowException)
        with self._named_errors("cannot be read as Parquet"):
            # Opened only once: the path may name another file a moment later.
            self._source = open(path, "rb", opener=open_given)  # noqa: SIM115
        try:
            self._measure(parquet)
        except BaseException:
            self._source.close()
            raise
        self._pa = pa
        self._restart()

    def _measure(self, parquet: Any) -> None:
        """Measure what the file decodes to, and refuse what would take too much."""
        with self._named_errors("cannot be read as Parquet"):
            # Before pyarrow reads it, which believes what it says.
            footer = read_footer(self._source)
            pages = all_pages(footer, self._source)
            with _system_pool():
                self._file = parquet.ParquetFile(
                    self._source,
                    page_checksum_verification=True,
                    read_dictionary=texts_in_dictionaries(footer, pages),
                    # Without these two pyarrow reads the whole chunk of a column at once.
                    buffer_size=_BUFFER_BYTES,
                    pre_buffer=False,
                )
            size = os.fstat(self._source.fileno()).st_size
            self.schema = self._file.schema_arrow
            check_nullable(self.schema, self._file.metadata.metadata)
        self.n_rows = footer.n_rows
        self._group_rows = [group.n_rows for group in footer.groups]
        self.expansion = Expansion(f"The file {self._path!r}", size)
        self._id_expansion = Expansion(f"The column 'id' of the file {self._path!r}", size)
        with self._named_errors("cannot be read as Parquet"):
            self._chunks = measure_chunks(self.schema, footer, pages, f"The file {self._path!r}")
        others = sum(chunk.n_bytes for chunk in self._chunks if not chunk.is_dictionary)
        Expansion(f"The file {self._path!r}", size).count(self.n_rows, others)
        #: Row group -> bytes that its texts decode to.
        self._text_bytes: Counter[int] = Counter()
        for chunk in self._chunks:
            if chunk.is_dictionary:
                self._text_bytes[chunk.group] += chunk.n_bytes
        #: Rows of a batch.
        self._batch_rows = self._rows_at_once(PIECE_RECORDS)

    def _rows_at_once(self, most: int, column: str | None = None) -> int:
        """Return how many rows may be decoded at once, given what the row groups decode to.

        Args:
            most: The result is at most this.
            column: Decode this column only.

        Raises:
            MemoryBudgetError: There is no room for the texts of a row group, or for a batch of its rows.
        """
        groups: dict[int, list[Chunk]] = {}
        for chunk in self._chunks:
            if column in (None, chunk.column):
                groups.setdefault(chunk.group, []).append(chunk)
        rows, at_once = most, piece_bytes() // _DECODING_COPIES
        for group, chunks in groups.items():
            n_rows = max(1, self._group_rows[group])
            others = [chunk for chunk in chunks if not chunk.is_dictionary]
            texts = sum(chunk.n_bytes for chunk in chunks if chunk.is_dictionary)
            pages = sum(chunk.page_bytes for chunk in chunks)
            rows = min(rows, max(1, at_once // max(1, texts // n_rows)))
            # A page is decompressed as a whole, so fewer rows than it has are no gain.
            while rows > 1 and _most_bytes(others, rows, n_rows) > max(at_once, pages):
                rows = (rows + 1) // 2
            least = -(-n_rows // _BATCHES) if texts > _LITTLE_TEXT else 1
            batch = min(n_rows, max(rows, least))
            ways = ["read it where there is more memory"]
            if n_rows > 1:
                each = sum(chunk.n_bytes for chunk in chunks) // n_rows
                ways.insert(0, self._with_smaller_groups(each))
            require(
                _TEXT_COPIES * texts + _PLAIN_COPIES * (_most_bytes(others, batch, n_rows) + pages),
                f"Reading row group {group} ({n_rows:,} rows) of the file {self._path!r}",
                *ways,
            )
        return rows

    def _with_smaller_groups(self, row_bytes: int) -> str:
        """Return the way out that holds a few rows at a time: code that writes a file of smaller row groups."""
        n_rows = min(_REWRITTEN_ROWS, max(1, _REWRITTEN_BYTES // max(1, row_bytes)))
        root, extension = os.path.splitext(self._path)
        copy = f"{root}.smaller{extension}"
        return (
            f"write it anew with smaller row groups, and import {copy!r}: import pyarrow.parquet as pq; "
            f"old = pq.ParquetFile({self._path!r}, buffer_size=1 << 20); "
            f"new = pq.ParquetWriter({copy!r}, old.schema_arrow); "
            f"[new.write_batch(rows) for rows in old.iter_batches({n_rows})]; new.close()"
        )

    def __enter__(self) -> ParquetReader:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._source.close()

    @contextlib.contextmanager
    def _named_errors(
        self, what: str = "is damaged, or cannot be read to its end"
    ) -> Iterator[None]:
        """Turn what pyarrow raises into an error that names the file."""
        try:
            yield
        except ChromaError:
            raise
        except FileNotFoundError:
            raise InvalidArgumentError(f"There is no file {self._path!r}.") from None
        except NotOurFileError:
            raise InvalidArgumentError(
                f"{self._path!r} is no plain file, and import_() reads no folder, pipe or device."
            ) from None
        except self._errors as error:
            raise InvalidArgumentError(f"The file {self._path!r} {what}: {error}") from error

    def _decoded(self, n_rows: int, columns: Sequence[str] | None = None) -> Iterator[Any]:
        """Yield batches of about `n_rows` rows."""
        for group, in_group in enumerate(self._group_rows):
            # Each from one row group: pyarrow cannot join dictionaries of texts that are in lists.
            size = n_rows
            if self._text_bytes[group] > _LITTLE_TEXT:
                # Few batches, as each has all texts of the row group so far.
                size = max(n_rows, -(-in_group // _BATCHES))
            found = 0
            # In one thread: each thread of pyarrow has an allocator of its own, which keeps what is freed.
            for batch in self._file.iter_batches(
                size, row_groups=[group], columns=columns, use_threads=False
            ):
                # Older versions of pyarrow do not look whether all columns are of one length.
                batch.validate()
                found += batch.num_rows
                yield batch
            if found != in_group:
                raise ValueError(
                    f"row group {group} has {found:,} rows, its footer says {in_group:,}"
                )

    def _restart(self) -> None:
        #: Batches, and what they decode to in bytes.
        self._held: list[tuple[Any, int]] = []
        self._batches: Iterator[Any] = iter(())
        # What the pass before was turned into (taken, cast) is in pyarrow's own pool, which keeps what is freed.
        return_arrows_memory()
        self._batches = self._decoded(self._batch_rows)
        #: The row at which `_held` begins, and one past its last.
        self._first = self._end = 0

    def ids(self) -> list[Any]:
        """Return the column of ids."""
        found: list[Any] = []
        rows = self._rows_at_once(_IDS_AT_ONCE, "id")
        with self._named_errors():
            for batch in self._decoded(rows, columns=["id"]):
                column = batch.column(0)
                stop = len(found) + len(column)
                self._id_expansion.count(stop, int(row_bytes(column).sum()))
                self._id_expansion.require_all()
                found += cells(column)
        return found

    def read(self, start: int, stop: int) -> Any:
        """Return rows start .. stop - 1 as a table; to go back it reads from the beginning again."""
        self._let_go(start)
        while self._end < stop:
            self._read_batch()
            self._let_go(start)
        return self._rows(start, stop)

    def read_on(self, start: int, n_bytes: int) -> Any:
        """Return the rows from `start` on as a table, as many batches as it takes to have so many bytes.

        A batch is as small as the largest rows of the file need it, which most others do not.
        """
        if start >= self._end:
            # See `_restart`.
            return_arrows_memory()
        self.read(start, start + 1)
        most = min(start + PIECE_RECORDS, self.n_rows)
        held = sum(size for _, size in self._held)
        while self._end < most and held < n_bytes:
            held += self._read_batch()
        return self._rows(start, min(self._end, most))

    def _read_batch(self) -> int:
        """Hold one more batch; return what it decodes to, bytes."""
        with self._named_errors():
            batch = next(self._batches)
        columns = list(map(with_used_values, batch.columns))
        batch = self._pa.RecordBatch.from_arrays(columns, schema=self.schema)
        n_bytes: int = max(int(table_row_bytes(batch).sum()), batch.nbytes)
        self._held.append((batch, n_bytes))
        self._end += batch.num_rows
        return n_bytes

    def _let_go(self, start: int) -> None:
        """Forget the batches before a row."""
        if start < self._first:
            self._restart()
        while self._held and self._first + self._held[0][0].num_rows <= start:
            self._first += self._held.pop(0)[0].num_rows

    def _rows(self, start: int, stop: int) -> Any:
        table = self._pa.Table.from_batches([batch for batch, _ in self._held], schema=self.schema)
        return table.slice(start - self._first, stop - start)
