"""`VectorSource`: one collection's vectors, as a database gives them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class VectorSource(ABC):
    """Read access to one collection's vectors, by label. `read` and `read_range` are all that has to be written.

    What is read is compared with its checksum, where it has one. The defaults are those of vectors that have no
    checksums and cannot be mapped into memory.

    Raises:
        StoreCorruptError: From any method that reads: rows are not as they were written, and one of them is a
            record's vector.
    """

    #: Vectors that are checked together when one of them is first read.
    block_rows: int = 1

    def __init__(self, dimension: int) -> None:
        self.dimension = dimension
        #: Bytes of one vector.
        self.row_bytes = 4 * dimension

    @abstractmethod
    def read(self, labels: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the vectors of these labels in their order: float32, shape (len(labels), dimension).

        Args:
            labels: int64, shape (n,).
        """

    @abstractmethod
    def read_range(
        self, start: int, stop: int, out: NDArray[np.float32] | None = None
    ) -> NDArray[np.float32]:
        """Return the vectors of labels start .. stop - 1 as a copy that the caller owns: float32, (stop - start, dimension).

        Args:
            start: The first label.
            stop: One past the last label.
            out: Where to put them: at least (stop - start, dimension), float32, C-contiguous.
        """

    def mapped(
        self, stop: int, start: int = 0, labels: NDArray[np.int64] | None = None
    ) -> NDArray[np.float32] | None:
        """Return the vectors of labels 0 .. stop - 1 without copying them: float32, (stop, dimension).

        The array must not be written to. None: they cannot be mapped, and are read piece by piece.

        Args:
            stop: One past the last label.
            start: The first label that the caller will read. Those before it are not checked.
            labels: The only labels that the caller will read, int64, shape (n,); None: all from `start`.
        """
        return None

    def forget_checks(self) -> None:
        """Compare every vector with its checksum again when it is next read."""
        return

    def digest(self, stop: int) -> int:
        """Return a checksum of the vectors of labels 0 .. stop - 1; 0 where there are no checksums."""
        return 0

    def release(self) -> int:
        """Free the memory of `mapped` and return its bytes; the next use maps the file again."""
        return 0

    @property
    def mapped_bytes(self) -> int:
        """Bytes that the current mapping can take in memory."""
        return 0

    def mapping_cost(self, stop: int) -> int:
        """Return the bytes that `mapped(stop)` would add to `mapped_bytes`."""
        return 0
