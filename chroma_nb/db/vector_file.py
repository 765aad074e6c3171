"""`VectorFile`: one append-only file of float32 vectors, row = label, with a small header.

Layout, little-endian: a header of 4,096 bytes (magic, format version, dimension), so that rows start on a page, then
rows of ``4 * dimension`` bytes. The number of committed rows is in the catalogue, not in the file. Rows past it are
left from an interrupted write, and the next write overwrites them. Checksums are in the DB, too (`BlockSums`). Where
there are any, a row is returned only after its block was checked once in this process.

A file without a path (a store in memory) starts as an array and becomes an *unnamed* file when it grows: a temporary
file whose name is deleted at once, so that the system frees it with the process.
"""

from __future__ import annotations

import logging
import mmap
import os
import struct
import threading
import weakref
from typing import TYPE_CHECKING

import numpy as np

from chroma_nb.db.block_sums import Block, BlockSums, Growth, rows_per_block, sum_of
from chroma_nb.db.file_io import read_all, read_into, unnamed_file, write_all
from chroma_nb.db.own_file import open_plain
from chroma_nb.db.vector_source import VectorSource
from chroma_nb.db.watched_file import WatchedFile
from chroma_nb.errors import StoreCorruptError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

logger = logging.getLogger("chroma_nb")

HEADER_BYTES = 4_096
MAGIC = b"CNBVECT\x00"
FORMAT_VERSION = 1
_HEADER = struct.Struct("<8sII")
#: Vectors are copied, hashed and written in pieces that fit into the processor's cache.
_PIECE_BYTES = 1 << 20
#: Up to this size the vectors of a collection are kept or read as an array; larger ones are mapped.
SMALL_BYTES = 1 << 20
#: Scattered rows are read from ranges of the file of up to this size.
_RANGE_BYTES = 4 << 20
#: A range is read in one piece where at least one row in this many is wanted, else row by row (1.5 microseconds
#: each, as long as 8 rows of 384 dimensions take in one piece).
_RANGE_ROWS_PER_ROW = 8
#: Up to this many rows are read one by one, wherever they are.
_FEW_ROWS = 64

#: At most this many unnamed files are open in this process, as each holds a descriptor.
_MOST_UNNAMED = 256


class VectorFile(WatchedFile, VectorSource):
    """The vectors of one generation of one collection. One writer, many readers.

    Args:
        path: The file; None makes an unnamed temporary one in `folder`.
        dimension: Floats per vector.
        folder: Where the temporary file goes; None is the system's folder for temporary files.
        spare_path: The path for a temporary file where `_MOST_UNNAMED` unnamed ones are open already. The caller
            deletes it.
        fsync: Flush to the disk at the end of each `append`.
        create: Make the file, or write its header, where that is missing.
        has_sums: Its rows have checksums, so a damaged header does no harm: it is logged, and written again with
            the next rows.

    Raises:
        StoreCorruptError: The file is of another format or dimension, and has no checksums.
        OSError: It cannot be opened or written.
    """

    def __init__(
        self,
        path: str | None,
        dimension: int,
        *,
        folder: str | None = None,
        spare_path: str | None = None,
        fsync: bool = True,
        create: bool = True,
        has_sums: bool = False,
    ) -> None:
        WatchedFile.__init__(self, path)
        VectorSource.__init__(self, dimension)
        #: It is not opened again, even where it got a name when too many files were open.
        self.is_temporary = path is None
        self.block_rows = rows_per_block(self.row_bytes)
        #: The file was missing and was made again, empty: every committed row is damaged.
        self.was_missing = False
        #: None: there are no checksums, and nothing is checked.
        self.sums: BlockSums | None = None
        self._on_damage: Callable[[Sequence[Block]], None] | None = None
        self._folder = folder
        self._spare_path = spare_path
        self._fsync = fsync
        self._header_is_damaged = False
        self._lock = threading.Lock()
        #: Held while the file gets longer: who makes it longer must not cut off what another thread appends. Taken after `_lock`.
        self._length_lock = threading.Lock()
        self._map: mmap.mmap | None = None
        self._view: NDArray[np.float32] | None = None
        #: The rows of an unnamed file that is still an array, shape (capacity, dimension); else None.
        self._small: NDArray[np.float32] | None = None
        if path is None:
            self._small = np.empty((0, dimension), dtype=np.float32)
        else:
            with self._open(os.O_CREAT if create else 0) as fd:
                wrong = self._read_header(fd, create)
                if wrong and not has_sums:
                    raise StoreCorruptError(f"{wrong} Restore it from a backup.")
                if wrong:
                    self._header_is_damaged = True
                    logger.warning(
                        "%s Its rows have checksums of their own, and are compared with those. The header is "
                        "written anew with the next write to the collection.",
                        wrong,
                    )

    def forget_checks(self) -> None:
        """Compare each block with its checksum again when it is next read."""
        if self.sums is not None:
            self.sums.forget()
        self._view = self._map = None

    def digest(self, stop: int) -> int:
        if self.sums is None:
            return 0
        return self.sums.digest(stop, lambda a, b: self._read_range(a, b).tobytes())

    def check_against(self, sums: BlockSums, on_damage: Callable[[Sequence[Block]], None]) -> None:
        """Check what is read against these checksums from now on.

        Args:
            sums: The checksums of all committed rows.
            on_damage: Called with damaged blocks. It raises `StoreCorruptError` if a record's vector is in one of
                them.
        """
        self._on_damage = on_damage
        self.sums = sums

    def _read_header(self, fd: int, create: bool) -> str:
        """Return what is wrong with the header, as a sentence; nothing where it is right or was just written."""
        size = os.fstat(fd).st_size
        if size < HEADER_BYTES:
            if not create:
                return (
                    f"Vector file {self.path!r} was cut short outside this program: it has {size:,} bytes, "
                    f"and its header alone {HEADER_BYTES:,}."
                )
            self._write_header(fd)
            return ""
        magic, version, dimension = _HEADER.unpack(read_all(fd, _HEADER.size, 0))
        if magic != MAGIC or version != FORMAT_VERSION or dimension != self.dimension:
            return (
                f"The header of vector file {self.path!r} is damaged: it is not one of {self.dimension} dimensions in "
                f"format {FORMAT_VERSION} (found {magic!r}, format {version}, {dimension} dimensions)."
            )
        return ""

    def _write_header(self, fd: int) -> None:
        self._check_names(fd)
        header = _HEADER.pack(MAGIC, FORMAT_VERSION, self.dimension)
        write_all(fd, memoryview(header.ljust(HEADER_BYTES, b"\0")), 0)
        if self._fsync:
            os.fsync(fd)

    def check_length(self, n_rows: int) -> None:
        """Raise `StoreCorruptError` if fewer than `n_rows` rows are there."""
        if self.is_shorter_than(n_rows):
            have = max(0, self.bytes_on_disk - HEADER_BYTES) // self.row_bytes
            raise StoreCorruptError(
                f"Vector file {self.path!r} holds {have:,} rows, {n_rows:,} were committed: it was "
                "cut short outside this program. Restore it from a backup."
            )

    def is_shorter_than(self, n_rows: int) -> bool:
        """Say whether the file has fewer than `n_rows` rows."""
        return self.bytes_on_disk < HEADER_BYTES + n_rows * self.row_bytes

    def append(self, first_label: int, vectors: NDArray[np.float32]) -> Growth | None:
        """Write vectors at rows first_label onward; with `fsync`, flush them.

        Args:
            first_label: The row of the first vector.
            vectors: float32, shape (n, dimension), C-contiguous.

        Returns:
            What this adds to the checksums; None where there are none.

        Raises:
            OSError: The disk is full or failed. Committed rows are untouched.
            StoreCorruptError: The file is missing, or is another one now.
        """
        end = first_label + len(vectors)
        if self._small is not None:
            if end * self.row_bytes <= SMALL_BYTES:
                self._append_small(first_label, vectors)
                return None
            self._spill(first_label)
        with self._open(to_write=True) as fd, self._length_lock, self._changing(fd):
            if self._header_is_damaged:
                self._write_header(fd)
                self._header_is_damaged = False
            pieces = self._write_pieces(fd, first_label, vectors)
            growth = None
            if self.sums is None:
                for _ in pieces:
                    pass
            else:
                growth = self.sums.growth(pieces)
            if self._fsync:
                getattr(os, "fdatasync", os.fsync)(fd)
        return growth

    def _write_pieces(
        self, fd: int, first_label: int, vectors: NDArray[np.float32]
    ) -> Iterator[NDArray[np.float32]]:
        """Write vectors, and yield each piece as it was written: float32, shape (m, dimension).

        Args:
            fd: The file.
            first_label: The row of the first vector.
            vectors: float32, shape (n, dimension).
        """
        step = max(1, _PIECE_BYTES // self.row_bytes)
        for start in range(0, len(vectors), step):
            # The caller may change its array meanwhile. The checksum must be that of the bytes that are written.
            piece = vectors[start : start + step].copy()
            offset = HEADER_BYTES + (first_label + start) * self.row_bytes
            write_all(fd, piece.data.cast("B"), offset)
            yield piece

    def _append_small(self, first_label: int, vectors: NDArray[np.float32]) -> None:
        """Put vectors (float32, shape (n, dimension)) into the array of a file that is still one."""
        assert self._small is not None
        end = first_label + len(vectors)
        rows = self._small
        if end > len(rows):
            # A new array: readers may hold the old one.
            rows = np.empty((max(end, 2 * len(rows)), self.dimension), dtype=np.float32)
            rows[:first_label] = self._small[:first_label]
        rows[first_label:end] = vectors
        self._small = rows

    def _spill(self, n_rows: int) -> None:
        """Move the array's first `n_rows` rows into a file."""
        if self._spare_path is not None and len(_unnamed) >= _MOST_UNNAMED:
            fd = open_plain(self._spare_path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
            try:
                self._write_small(fd, n_rows)
            finally:
                os.close(fd)
            self.path, self._small = self._spare_path, None
            return
        fd = unnamed_file(self._folder)
        try:
            self._write_small(fd, n_rows)
        except BaseException:
            os.close(fd)
            raise
        self._fd, self._small = fd, None
        _unnamed.add(self)

    def _write_small(self, fd: int, n_rows: int) -> None:
        assert self._small is not None
        self._write_header(fd)
        rows = np.ascontiguousarray(self._small[:n_rows])
        if n_rows:
            write_all(fd, rows.data.cast("B"), HEADER_BYTES)

    def read(self, labels: NDArray[np.int64]) -> NDArray[np.float32]:
        if self._small is not None:
            return self._small[labels]
        if len(labels) <= _FEW_ROWS:
            self._check_labels(labels)
            return self._read_few(labels)
        order = None if np.all(labels[1:] > labels[:-1]) else np.argsort(labels, kind="stable")
        rising = labels if order is None else labels[order]
        if order is None and len(labels) and labels[-1] - labels[0] == len(labels) - 1:
            return self.read_range(int(labels[0]), int(labels[-1]) + 1)
        self._check_labels(labels)
        out = np.empty((len(labels), self.dimension), dtype=np.float32)
        # In groups of labels that lie in one range of the file of at most `_RANGE_BYTES`.
        step = max(1, _RANGE_BYTES // self.row_bytes)
        start = 0
        with self._open() as fd:
            while start < len(rising):
                stop = int(np.searchsorted(rising, rising[start] + step))
                rows = slice(start, stop) if order is None else order[start:stop]
                out[rows] = self._read_close(fd, rising[start:stop])
                start = stop
        return out

    def _read_few(self, labels: NDArray[np.int64]) -> NDArray[np.float32]:
        """Read a few rows one by one, such as the neighbours that a graph has found: float32, shape (n, dimension)."""
        n_bytes = self.row_bytes
        with self._open() as fd:
            rows = [
                read_all(fd, n_bytes, HEADER_BYTES + n_bytes * label) for label in labels.tolist()
            ]
        flat = np.frombuffer(bytearray().join(rows), dtype="<f4")
        return flat.reshape(len(labels), self.dimension)

    def _read_close(self, fd: int, labels: NDArray[np.int64]) -> NDArray[np.float32]:
        """Read rows of one range of the file: float32, shape (n, dimension).

        Args:
            fd: The open file.
            labels: int64, shape (n,), ascending.
        """
        first, last = int(labels[0]), int(labels[-1])
        if last - first < _RANGE_ROWS_PER_ROW * len(labels):
            run = np.empty((last + 1 - first, self.dimension), dtype=np.float32)
            return self._read_run(fd, first, run)[labels - first]
        out = np.empty((len(labels), self.dimension), dtype=np.float32)
        # Reads, not a mapping: a mapping would bring 16 pages of the file into this process around each row.
        n_bytes, view = self.row_bytes, out.data.cast("B")
        for at, label in zip(range(0, len(view), n_bytes), labels.tolist(), strict=True):
            read_into(fd, view[at : at + n_bytes], HEADER_BYTES + label * n_bytes)
        return out

    def read_range(
        self, start: int, stop: int, out: NDArray[np.float32] | None = None
    ) -> NDArray[np.float32]:
        found = self._read_range(start, stop, out)
        sums = self.sums
        if sums is not None:
            self._check(sums, sums.unknown(start, stop), found, start)
            for rows in sums.abandoned_rows(start, stop):
                # No record has these rows. Zeros, as code that reads every row (building a graph, norms) must not
                # meet NaN.
                found[rows] = 0
        return found

    def _read_range(
        self, start: int, stop: int, out: NDArray[np.float32] | None = None
    ) -> NDArray[np.float32]:
        """Read rows start .. stop - 1 without checking them: float32, shape (stop - start, dimension)."""
        shape = (stop - start, self.dimension)
        target = np.empty(shape, dtype=np.float32) if out is None else out[: stop - start]
        if self._small is not None:
            target[:] = self._small[start:stop]
            return target
        with self._open() as fd:
            self._read_run(fd, start, target)
        return target

    def _read_run(self, fd: int, start: int, out: NDArray[np.float32]) -> NDArray[np.float32]:
        """Read the rows from `start` on that fill an array, and return it."""
        # Rows that are missing at the end are read as zeros, and their checksums say that they are damaged.
        offset, pad = HEADER_BYTES + start * self.row_bytes, self.sums is not None
        read_into(fd, out.data.cast("B"), offset, pad=pad)
        return out

    def mapped(
        self, stop: int, start: int = 0, labels: NDArray[np.int64] | None = None
    ) -> NDArray[np.float32]:
        if self._small is not None:
            return self._small[:stop]
        if self.path is not None:
            # A mapping shows what other processes write to the file, and reading one past the end of a file that was
            # cut kills the process. So look at the file before each use.
            try:
                path = self.path
                self._identify(lambda: os.stat(path, follow_symlinks=False))
            except FileNotFoundError as error:
                raise self._missing() from error
        view = self._view
        if view is None or len(view) < stop:
            with self._lock:
                view = self._view
                if view is None or len(view) < stop:
                    view = self._view = self._remap(stop)
        sums = self.sums
        if sums is not None:
            unknown = sums.unknown(start, stop) if labels is None else sums.unknown_of(labels)
            self._check(sums, unknown, view)
        return view[:stop]

    def _remap(self, stop: int) -> NDArray[np.float32]:
        """Map the first `stop` rows anew: float32, shape (stop, dimension)."""
        if stop * self.row_bytes <= SMALL_BYTES:
            # A mapping holds a descriptor, which so few bytes are not worth.
            return self._read_range(0, stop)
        length = HEADER_BYTES + stop * self.row_bytes
        with self._open() as fd:
            if self.sums is not None and os.fstat(fd).st_size < length:
                self._check(self.sums, self.sums.unknown(0, stop))
                # The missing rows are no record's, or `_check` would have raised. They have to exist to be mapped.
                with self._length_lock:
                    # A writer may have added them, and more, meanwhile.
                    if os.fstat(fd).st_size < length:
                        with self._changing(fd):
                            os.ftruncate(fd, length)
            # An older mapping is freed when the last array on it is.
            mapped = self._map = mmap.mmap(fd, length, access=mmap.ACCESS_READ)
        view = np.frombuffer(mapped, dtype="<f4", offset=HEADER_BYTES)
        return view.reshape(stop, self.dimension)

    # -- checking -----------------------------------------------------------------------------

    def _check_labels(self, labels: NDArray[np.int64]) -> None:
        """Check the blocks of these labels (int64, shape (n,)); see `_check`."""
        sums = self.sums
        if sums is not None:
            self._check(sums, sums.unknown_of(labels))

    def _check(
        self,
        sums: BlockSums,
        numbers: NDArray[np.int64],
        rows: NDArray[np.float32] | None = None,
        first: int = 0,
    ) -> None:
        """Compare blocks with their checksums, and remember which are whole.

        Args:
            sums: The checksums.
            numbers: The numbers of the blocks: int64, shape (n,).
            rows: Rows that were read or mapped already, float32, shape (m, dimension); other rows are read here.
            first: The number of the first row of `rows`.

        Raises:
            StoreCorruptError: One is damaged, and a record's vector is in it.
        """
        if not len(numbers):
            return
        n_bytes = self.row_bytes
        there = memoryview(b"") if rows is None or not rows.size else rows.data.cast("B")
        last = first + len(there) // n_bytes
        damaged: list[Block] = []
        whole = np.ones(len(numbers), dtype=bool)
        buffer = memoryview(bytearray(self.block_rows * n_bytes))
        with self._open() as fd:
            blocks = zip(numbers.tolist(), *sums.bounds_and_sums(numbers), strict=True)
            for at, (number, start, stop, expected) in enumerate(blocks):
                if first <= start and stop <= last:
                    data = there[(start - first) * n_bytes : (stop - first) * n_bytes]
                else:
                    data = self._bytes_of(fd, start, stop, buffer)
                if sum_of(data) != expected:
                    damaged.append(Block(number, start, stop, expected))
                    whole[at] = False
        sums.found_whole(numbers[whole])
        if damaged:
            if self._on_damage is not None:
                self._on_damage(damaged)
            sums.abandon(damaged)

    def _bytes_of(self, fd: int, start: int, stop: int, buffer: memoryview) -> memoryview:
        """Read rows into the buffer and return that part of it, which is shorter where the file ends."""
        data = buffer[: (stop - start) * self.row_bytes]
        return data[: read_into(fd, data, HEADER_BYTES + start * self.row_bytes, pad=True)]

    def damaged_blocks(self, on_bytes: Callable[[int], object]) -> list[Block]:
        """Read every block, whether it was checked before or not, and return those that are damaged.

        Args:
            on_bytes: Called with the bytes of each block that was read.
        """
        damaged: list[Block] = []
        if self.sums is not None:
            buffer = memoryview(bytearray(self.block_rows * self.row_bytes))
            with self._open() as fd:
                for block in self.sums.blocks():
                    data = self._bytes_of(fd, block.start, block.stop, buffer)
                    if not block.is_whole(data):
                        damaged.append(block)
                        self.sums.forget_block(block)
                    on_bytes(len(data))
        return damaged

    def rows_to_skip(self) -> int:
        """Return how many rows have to stay empty before the next vector, as their block is damaged."""
        sums = self.sums
        if sums is None or sums.can_grow or not sums.tail[0]:
            return 0
        buffer = memoryview(bytearray(self.block_rows * self.row_bytes))
        tail = sums.block(sums.n_blocks - 1)
        with self._open() as fd:
            data = self._bytes_of(fd, tail.start, tail.stop, buffer)
        return 0 if sums.read_tail(bytes(data)) else sums.rows_left_in_block

    def compute_sums(self, n_rows: int) -> BlockSums:
        """Compute the checksums of the first `n_rows` rows of a file that has none."""
        sums = BlockSums(self.row_bytes)
        step = max(self.block_rows, _RANGE_BYTES // self.row_bytes)
        for start in range(0, n_rows, step):
            sums.adopt(sums.growth([self._read_range(start, min(n_rows, start + step))]))
        return sums

    @property
    def mapped_bytes(self) -> int:
        view = self._view
        return 0 if view is None else view.nbytes

    def mapping_cost(self, stop: int) -> int:
        if self._small is not None:
            return 0
        return max(0, stop * self.row_bytes - self.mapped_bytes)

    def release(self) -> int:
        with self._lock:
            n_bytes = self.mapped_bytes
            mapped = self._map
            if mapped is not None and hasattr(mapped, "madvise"):
                # Arrays that callers still hold keep the mapping. Its pages can go: they are read again when needed.
                mapped.madvise(mmap.MADV_DONTNEED)
            self._view = None
            self._map = None
        return n_bytes

    def close(self) -> None:
        """Close the file; mappings in use stay readable."""
        self.release()
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
            _unnamed.discard(self)


#: The unnamed files that are open.
_unnamed: weakref.WeakSet[VectorFile] = weakref.WeakSet()
