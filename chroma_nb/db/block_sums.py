"""`BlockSums`: a checksum (sum) for each block of a vector file, and which blocks are known to be whole.

A block is some 64 KiB of rows. The sums of full blocks never change, as no committed row is written to again. The
rows after the last full block are the *tail*, whose sum every commit replaces. Its hash is kept as a running state,
so a commit hashes only what it appends.

The sums in memory are those in the DB: `growth` computes what a commit will add, and `adopt` takes it over once the
commit is durable. A block is checked once in a process, when a row of it is first read. What this process has
written itself is not checked.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import xxhash

from chroma_nb.errors import InternalError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import NDArray

#: A block is read whole where one row of it is wanted. So it is small enough to be read for each neighbour that a
#: graph finds, and large enough that its sum takes little space in comparison.
_BLOCK_BYTES = 65_536
#: A block in the DB: its sum, and how many rows have gone into it.
_SUM = np.dtype([("sum", "<u8"), ("rows", "<u4")])
SUM_BYTES = _SUM.itemsize
#: What is known of a block. An abandoned one is damaged and holds no record's vector.
_UNKNOWN, _WHOLE, _ABANDONED = 0, 1, 2


#: Returns the checksum of some bytes.
sum_of: Callable[[memoryview], int] = xxhash.xxh3_64_intdigest


def rows_per_block(row_bytes: int) -> int:
    """Return how many rows of `row_bytes` bytes a block has."""
    return max(1, _BLOCK_BYTES // row_bytes)


@dataclass(frozen=True)
class Block:
    """Rows start .. stop - 1, and the sum that they should have."""

    number: int
    start: int
    stop: int
    sum: int

    def is_whole(self, data: memoryview) -> bool:
        """Say whether these bytes are what was written."""
        return sum_of(data) == self.sum


@dataclass(frozen=True)
class Growth:
    """What one commit adds."""

    first_block: int
    #: The sums of the blocks that it completes, as the DB keeps them (`_SUM`), shape (n,).
    sums: NDArray[np.void]
    #: True: the tail is damaged and gets no more rows; the first of `sums` is its sum.
    gives_up: bool
    tail_rows: int
    tail_sum: int
    #: The running hash of the new tail.
    state: xxhash.xxh3_64


class BlockSums:
    """The sums of one generation of one collection's vectors. One writer, many readers.

    Args:
        row_bytes: Bytes of a row.
        sums: The sums of full blocks as the DB keeps them (`_SUM`), joined.
        tail_rows: Rows after the full blocks.
        tail_sum: The sum of these rows.

    Raises:
        ValueError: `sums` cannot be checksums.
    """

    def __init__(
        self, row_bytes: int, sums: bytes = b"", tail_rows: int = 0, tail_sum: int = 0
    ) -> None:
        self.row_bytes = row_bytes
        self.block_rows = rows_per_block(row_bytes)
        self._lock = threading.Lock()
        self._sums: NDArray[np.void] = np.frombuffer(sums, dtype=_SUM)
        if (
            len(self._sums)
            and not 0 < self._sums["rows"].min() <= self._sums["rows"].max() <= self.block_rows
        ):
            raise ValueError(f"a block has {self.block_rows:,} rows at most, and one at least")
        self._tail_rows = tail_rows
        self._tail_sum = tail_sum
        #: `_UNKNOWN`, `_WHOLE` or `_ABANDONED` for each full block, and last for the tail.
        self._known = np.zeros(len(self._sums) + 1, dtype=np.uint8)
        #: The running hash of the tail; None until it was read, and where it is damaged.
        self._state: xxhash.xxh3_64 | None = None
        #: The tail has to be read again before anything is added to it.
        self._is_tail_suspect = False
        if not tail_rows:
            self._start_tail()

    def _start_tail(self) -> None:
        self._state = xxhash.xxh3_64()
        self._known[-1] = _WHOLE

    @property
    def n_rows(self) -> int:
        """Rows that have a sum, or were given up."""
        return len(self._sums) * self.block_rows + self._tail_rows

    @property
    def tail(self) -> tuple[int, int]:
        """Rows after the last full block, and their sum."""
        return self._tail_rows, self._tail_sum

    @property
    def n_blocks(self) -> int:
        """How many blocks there are, a tail included."""
        return len(self._sums) + (self._tail_rows > 0)

    def stored(self) -> bytes:
        """Return the sums of all full blocks as the DB keeps them."""
        return self._sums.tobytes()

    # -- growing ------------------------------------------------------------------------------

    @property
    def can_grow(self) -> bool:
        """Whether rows can be added: the tail was read, and is whole; see `read_tail`."""
        return self._state is not None and not self._is_tail_suspect

    def read_tail(self, data: bytes | bytearray) -> bool:
        """Compare the tail's bytes in the file with its sum, so that rows can be added; say whether they are whole."""
        state = xxhash.xxh3_64(data)
        with self._lock:
            is_whole = state.intdigest() == self._tail_sum
            self._is_tail_suspect = False
            self._state = state if is_whole else None
            if is_whole:
                self._known[-1] = _WHOLE
        return is_whole

    @property
    def rows_left_in_block(self) -> int:
        """Rows that the tail's block has room for. Where the tail is damaged, they have to stay empty."""
        return self.block_rows - self._tail_rows

    def growth(self, pieces: Iterable[NDArray[np.float32]]) -> Growth:
        """Return what appending rows adds. Where the tail is damaged, the first rows fill up its block.

        Args:
            pieces: The rows, one array after the other, each of shape (n, dimension), float32, C-contiguous.
        """
        found: list[tuple[int, int]] = []
        filled, skipped = self._tail_rows, 0
        gives_up = self._state is None
        if self._state is None:
            # The damaged block keeps its sum. If the right file is put back, the block is whole again.
            found.append((self._tail_sum, self._tail_rows))
            filled, skipped, state = 0, self.rows_left_in_block, xxhash.xxh3_64()
        else:
            state = self._state.copy()
        for piece in pieces:
            data = piece.data.cast("B") if piece.size else memoryview(b"")
            start = min(skipped, len(piece))
            skipped -= start
            while start < len(piece):
                stop = min(len(piece), start + self.block_rows - filled)
                state.update(data[start * self.row_bytes : stop * self.row_bytes])
                filled, start = filled + stop - start, stop
                if filled == self.block_rows:
                    found.append((state.intdigest(), filled))
                    filled, state = 0, xxhash.xxh3_64()
        sums = np.array(found, dtype=_SUM)
        return Growth(
            len(self._sums), sums, gives_up, filled, state.intdigest() if filled else 0, state
        )

    def adopt(self, growth: Growth) -> None:
        """Take over what a commit has added, after it became durable."""
        with self._lock:
            if len(growth.sums):
                before = self._known[:-1]
                known = np.full(len(before) + len(growth.sums) + 1, _WHOLE, dtype=np.uint8)
                known[: len(before)] = before
                if growth.gives_up:
                    known[len(before)] = _UNKNOWN
                self._sums = np.concatenate([self._sums, growth.sums])
                self._known = known
            self._tail_rows, self._tail_sum = growth.tail_rows, growth.tail_sum
            self._state = growth.state
            if not self._tail_rows:
                # The suspect rows are part of a full block now, which is checked like any other.
                self._is_tail_suspect = False

    # -- checking -----------------------------------------------------------------------------

    def unknown(self, start: int, stop: int) -> NDArray[np.int64]:
        """Return the numbers of the unchecked blocks of rows start .. stop - 1: int64, shape (n,)."""
        if stop <= start:
            return np.empty(0, dtype=np.int64)
        first = start // self.block_rows
        known = self._known[first : (stop - 1) // self.block_rows + 1]
        if known.all():
            return np.empty(0, dtype=np.int64)
        return np.flatnonzero(known == _UNKNOWN) + first

    def unknown_of(self, labels: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the numbers of the unchecked blocks of these rows: int64, shape (n,).

        Args:
            labels: int64, shape (m,), in any order.

        Raises:
            InternalError: One has no checksum.
        """
        known = self._known
        if not len(labels):
            return np.empty(0, dtype=np.int64)
        if labels.max() >= len(known) * self.block_rows:
            raise InternalError(
                f"Vector {labels.max():,} was asked for, and there are checksums of {self.n_rows:,}. Nothing is lost: "
                "repeat the call, or open a new client."
            )
        if known.all():
            return np.empty(0, dtype=np.int64)
        blocks = labels // self.block_rows
        return np.unique(blocks[known[blocks] == _UNKNOWN])

    def block(self, number: int) -> Block:
        """Return a block, or the present tail."""
        with self._lock:
            start = number * self.block_rows
            if number < len(self._sums):
                one = self._sums[number]
                return Block(number, start, start + int(one["rows"]), int(one["sum"]))
            return Block(number, start, start + self._tail_rows, self._tail_sum)

    def blocks(self) -> list[Block]:
        """Return all blocks."""
        return [self.block(number) for number in range(self.n_blocks)]

    def bounds_and_sums(self, numbers: NDArray[np.int64]) -> tuple[list[int], list[int], list[int]]:
        """Return the starts, the stops (one past the last row) and the sums of many blocks.

        Calling `block` for each would take longer than hashing them.

        Args:
            numbers: int64, shape (n,).
        """
        with self._lock:
            n_full = len(self._sums)
            full = self._sums[np.minimum(numbers, n_full - 1)] if n_full else self._sums
            starts = numbers * self.block_rows
            if n_full:
                stops, sums = (starts + full["rows"]).tolist(), full["sum"].tolist()
            else:
                stops, sums = starts.tolist(), [0] * len(numbers)
            for at in np.flatnonzero(numbers >= n_full).tolist():
                stops[at], sums[at] = int(starts[at]) + self._tail_rows, self._tail_sum
        return starts.tolist(), stops, sums

    def found_whole(self, numbers: NDArray[np.int64]) -> None:
        """Remember that blocks are whole.

        Args:
            numbers: int64, shape (n,).
        """
        with self._lock:
            # A tail may have grown since it was checked. Its writer has checked it then.
            self._known[numbers] = np.maximum(self._known[numbers], _WHOLE)

    def forget(self) -> None:
        """Mark all blocks as unchecked: the file has changed, or is another one."""
        with self._lock:
            self._known[:] = _UNKNOWN
            self._is_tail_suspect = self._tail_rows > 0
            # An empty tail needs no check.
            if not self._tail_rows:
                self._known[-1] = _WHOLE

    def digest(self, stop: int, rows: Callable[[int, int], bytes | bytearray]) -> int:
        """Return a checksum of rows 0 .. stop - 1, made of the sums of full blocks and of the rows after them.

        Args:
            stop: One past the last row.
            rows: Reads the bytes of a range of rows.
        """
        with self._lock:
            n_full = min(stop // self.block_rows, len(self._sums))
            state = xxhash.xxh3_64(self._sums[:n_full].tobytes())
        if n_full * self.block_rows < stop:
            state.update(rows(n_full * self.block_rows, stop))
        return state.intdigest()

    def forget_block(self, block: Block) -> None:
        """Mark a block as unchecked."""
        with self._lock:
            self._known[block.number] = _UNKNOWN

    def abandon(self, blocks: Sequence[Block]) -> None:
        """Remember damaged blocks that hold no record's vector, so that they are not checked again.

        None of them will get one, as labels are never used twice. The tail may, so it is left out.
        """
        with self._lock:
            for one in blocks:
                if one.number < len(self._sums) and not self._known[one.number]:
                    self._known[one.number] = _ABANDONED

    def abandoned_rows(self, start: int, stop: int) -> list[slice]:
        """Return which of the rows start .. stop - 1 are in abandoned blocks, counted from `start`."""
        first = start // self.block_rows
        known = self._known[first : max(first, (stop - 1) // self.block_rows + 1)]
        found = np.flatnonzero(known == _ABANDONED) + first if (known == _ABANDONED).any() else ()
        rows = self.block_rows
        return [
            slice(max(0, int(number) * rows - start), int(number + 1) * rows - start)
            for number in found
        ]
