"""`CachedVectors`: the vectors of a collection, in a local file that is filled from ClickHouse as they are asked for.

The file is derived: it has no name, and is gone with the process. A vector never changes under its label, so what is
there stays right, and a commit appends what it has written itself. Where a few vectors are asked for, as those of an
answer are, only these are brought, and are not kept.
"""

from __future__ import annotations

import threading
import weakref
from typing import TYPE_CHECKING

import numpy as np

from chroma_nb.db.vector_file import SMALL_BYTES, VectorFile
from chroma_nb.db.vector_source import VectorSource
from chroma_nb.errors import StoreCorruptError
from chroma_nb.memory.workspace import WORKSPACE

if TYPE_CHECKING:
    from collections.abc import Callable

    import pyarrow as pa
    from numpy.typing import NDArray

#: Vectors are brought in pieces of at most this many bytes.
_PIECE_BYTES = 16 << 20
#: How often a piece is in memory meanwhile: in the client, as Arrow, and as an array.
_COPIES = 3
#: Vectors are few where there are so many times as many in the way, which the file would have to have first.
_FEW_OF = 16


class CachedVectors(VectorSource):
    """The vectors of one generation of a collection.

    Args:
        dimension: Floats per vector.
        folder: Where the file goes.
        fetch: Returns rows of (label, embedding) of these labels (int64, shape (n,), rising), in any order. Labels that no
            vector was written for are left out.
        n_labels: Returns how many labels there are.
    """

    def __init__(
        self,
        dimension: int,
        folder: str,
        fetch: Callable[[NDArray[np.int64]], pa.Table],
        n_labels: Callable[[], int],
    ) -> None:
        super().__init__(dimension)
        self._fetch = fetch
        self._n_labels = n_labels
        self._file = VectorFile(None, dimension, folder=folder, fsync=False)
        # Readers may still be at the vectors of an earlier generation: the file is closed when the last one lets go.
        weakref.finalize(self, self._file.close)
        self._filling = threading.Lock()
        #: Labels below it are in the file.
        self._end = 0

    def append(self, first_label: int, vectors: NDArray[np.float32]) -> None:
        """Add vectors that this process has committed (float32, shape (n, dimension)), where they come next in the file."""
        with self._filling:
            if first_label == self._end and len(vectors):
                self._file.append(first_label, np.ascontiguousarray(vectors, dtype=np.float32))
                self._end = first_label + len(vectors)

    def _fill(self, stop: int) -> None:
        """Have the vectors of all labels below `stop` in the file.

        Raises:
            StoreCorruptError: One is not of this dimension.
        """
        if stop <= self._end:
            return
        with self._filling:
            if self._end < stop:
                # Whoever reads one piece after another gets as many ahead as there are already, as each query takes a while.
                ahead = min(2 * self._end, self._end + _PIECE_BYTES // self.row_bytes)
                stop = max(stop, min(ahead, self._n_labels()))
            while self._end < stop:
                n_bytes = min((stop - self._end) * self.row_bytes, _PIECE_BYTES)
                with WORKSPACE.take(_COPIES * n_bytes) as room:
                    end = min(stop, self._end + room.rows(_COPIES * self.row_bytes))
                    self._file.append(self._end, self._piece(np.arange(self._end, end)))
                self._end = end

    def _piece(self, wanted: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the vectors of labels (int64, shape (n,), rising): float32, shape (n, dimension)."""
        piece = np.zeros((len(wanted), self.dimension), dtype=np.float32)
        found = self._fetch(wanted)
        labels = found["label"].to_numpy()
        if len(labels):
            flat = found["embedding"].combine_chunks().flatten().to_numpy()
            if len(flat) != len(labels) * self.dimension:
                raise StoreCorruptError(
                    f"Vectors of labels {wanted[0]:,} to {wanted[-1]:,} have {len(flat):,} numbers, and {len(labels):,} "
                    f"vectors of {self.dimension:,} have {len(labels) * self.dimension:,}. Restore the store from a backup."
                )
            piece[np.searchsorted(wanted, labels)] = flat.reshape(len(labels), self.dimension)
        return piece

    def read(self, labels: NDArray[np.int64]) -> NDArray[np.float32]:
        stop = int(labels.max()) + 1 if len(labels) else 0
        if _FEW_OF * len(labels) < stop - self._end:
            return self._read_few(labels)
        self._fill(stop)
        return self._file.read(labels)

    def _read_few(self, labels: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the vectors of labels as `read` does, and bring only those that are not in the file."""
        out = np.empty((len(labels), self.dimension), dtype=np.float32)
        end = self._end
        there = labels < end
        out[there] = self._file.read(labels[there])
        rows = np.flatnonzero(~there)
        wanted, places = np.unique(labels[rows], return_inverse=True)
        start = 0
        while start < len(wanted):
            n_bytes = min((len(wanted) - start) * self.row_bytes, _PIECE_BYTES)
            with WORKSPACE.take(_COPIES * n_bytes) as room:
                stop = start + room.rows(_COPIES * self.row_bytes)
                chosen = (places >= start) & (places < stop)
                out[rows[chosen]] = self._piece(wanted[start:stop])[places[chosen] - start]
                start = stop
        return out

    def read_range(
        self, start: int, stop: int, out: NDArray[np.float32] | None = None
    ) -> NDArray[np.float32]:
        self._fill(stop)
        return self._file.read_range(start, stop, out)

    def mapped(
        self, stop: int, start: int = 0, labels: NDArray[np.int64] | None = None
    ) -> NDArray[np.float32]:
        self._fill(stop)
        return self._file.mapped(stop, start, labels)

    def release(self) -> int:
        return self._file.release()

    @property
    def mapped_bytes(self) -> int:
        return self._file.mapped_bytes

    def mapping_cost(self, stop: int) -> int:
        if stop <= self._end:
            return self._file.mapping_cost(stop)
        # It is not brought for this. A small file stays an array, which is not mapped.
        n_bytes = stop * self.row_bytes
        return 0 if n_bytes <= SMALL_BYTES else n_bytes - self.mapped_bytes
