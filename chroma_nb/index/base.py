"""`VectorIndex`: a graph or codes of one collection's vectors, known by their labels."""

from __future__ import annotations

import errno
import logging
import os
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar

from chroma_nb.errors import NotSupportedError
from chroma_nb.types import MAX_EF, MAX_NEIGHBORS, MIN_NEIGHBORS

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from chroma_nb.types import CollectionInfo, Neighbors, Space

logger = logging.getLogger("chroma_nb")


@dataclass(frozen=True)
class GraphParameters:
    """HNSW's parameters, by the names of its paper (Malkov and Yashunin, arXiv:1603.09320).

    `m` is the number of links of a node on the upper layers; layer 0 has twice as many. A number that no graph
    can be built with, which older versions took, is replaced by the nearest one, with a warning.
    """

    space: Space
    dimension: int
    m: int = 16
    ef_construction: int = 100
    ef_search: int = 100

    def __post_init__(self) -> None:
        m = min(max(self.m, MIN_NEIGHBORS), MAX_NEIGHBORS)
        if m != self.m:
            _warn_of_neighbors(self.m, m)
            object.__setattr__(self, "m", m)
        # Older versions took any number of 64 bits, with which a graph would never be built.
        for name in ("ef_construction", "ef_search"):
            object.__setattr__(self, name, min(max(getattr(self, name), 1), MAX_EF))


def graph_parameters(info: CollectionInfo) -> GraphParameters:
    """Return the parameters of a collection's graph, from its configuration. The collection has a dimension."""
    hnsw = info.configuration["hnsw"]
    assert info.dimension is not None
    return GraphParameters(
        space=info.space,
        dimension=info.dimension,
        m=int(hnsw.get("max_neighbors") or 16),
        ef_construction=int(hnsw.get("ef_construction") or 100),
        ef_search=int(hnsw.get("ef_search") or 100),
    )


@cache
def _warn_of_neighbors(recorded: int, used: int) -> None:
    """Warn once in a process, as graphs are built again and again."""
    logger.warning(
        "A collection records max_neighbors=%d, with which no graph can be built; its graph has %d. To choose "
        "another number, copy its records into a new collection.",
        recorded,
        used,
    )


class VectorIndex(ABC):
    """Approximate nearest-neighbour search over vectors that are known by their label.

    An index is derived data: it may be dropped at any moment and rebuilt from the DB. `search` may be
    called by many threads at once; `add`, `discard` and `save` need the index for themselves.
    """

    #: Name in settings, in `explain` and in the name of the saved file.
    engine: ClassVar[str]
    #: How many more neighbours to fetch than are wanted, as a share. The distances of an answer are always
    #: computed from the vectors themselves; a graph of lossy copies puts neighbours into a slightly wrong order.
    overfetch: ClassVar[float] = 0.0
    #: The most dimensions that a vector may have.
    most_dimensions: ClassVar[float] = float("inf")
    parameters: GraphParameters

    def learn(self, vectors: NDArray[np.float32]) -> None:
        """Adapt to the distribution of the vectors, before the first is added. Most engines have no need to.

        Args:
            vectors: A sample from all parts of the collection: shape (n, dimension), float32, C-contiguous.
        """
        return

    @abstractmethod
    def add(self, labels: NDArray[np.int64], vectors: NDArray[np.float32], threads: int) -> None:
        """Add vectors; ascending labels that the index does not hold yet.

        Args:
            labels: Shape (n,), int64.
            vectors: Shape (n, dimension), float32, C-contiguous.
            threads: How many threads to build with; 0 is one per core.
        """

    @abstractmethod
    def discard(self, labels: NDArray[np.int64]) -> None:
        """Never return these labels again; labels that it does not hold are ignored."""

    @abstractmethod
    def search(self, queries: NDArray[np.float32], k: int, threads: int) -> Neighbors:
        """Find about the k nearest vectors of each query, examining max(ef_search, k) candidates.

        The distances are the graph's own, good for an order and not for an answer.

        Args:
            queries: Shape (n_queries, dimension), float32, C-contiguous.
            k: Neighbours wanted for each query, from 1 to len(self).
            threads: How many threads to answer several queries with; 0 is one per core.

        Returns:
            Neighbours, padded as `Neighbors` says where fewer were found.
        """

    @property
    def code_bytes(self) -> int:
        """Bytes of each vector's code, where a search compares all codes; 0 where it follows a graph.

        With codes, `ef_search` has no effect, the distances are unbiased estimates, and `search_among` can be called.
        """
        return 0

    def search_among(
        self, queries: NDArray[np.float32], k: int, threads: int, mask: NDArray[np.bool_]
    ) -> Neighbors:
        """Do as `search`, among the labels of a mask alone. It is called only where `code_bytes` is not 0.

        It may return more than k. A distance of NaN means that the code gives no estimate: the caller computes it from the
        vector.

        Args:
            queries: As in `search`.
            k: As in `search`.
            threads: As in `search`.
            mask: Shape (labels,), bool; it has an entry for every label that is held.
        """
        raise NotSupportedError(f"{type(self).__name__} cannot search among chosen labels")

    @abstractmethod
    def set_ef_search(self, ef_search: int) -> None:
        """Change how many candidates a search examines."""

    @abstractmethod
    def __len__(self) -> int:
        """Return how many labels can be found."""

    @classmethod
    @abstractmethod
    def bytes_for(cls, parameters: GraphParameters, n: int) -> int:
        """Return the bytes of memory that an index of n vectors holds, known before there is one."""

    @property
    @abstractmethod
    def n_held(self) -> int:
        """Vectors in memory, discarded ones included."""

    @property
    def resident_bytes(self) -> int:
        """Bytes of memory that this index holds."""
        return self.bytes_for(self.parameters, self.n_held)

    def growth(self, n: int) -> int:
        """Return by how much adding n vectors may raise `resident_bytes`, on the way included."""
        held = self.n_held
        return self.bytes_for(self.parameters, held + n) - self.bytes_for(self.parameters, held)

    @abstractmethod
    def save(self, path: str) -> None:
        """Write the index to a file.

        Raises:
            OSError: The disk is full or has failed.
        """

    def state(self) -> dict[str, Any]:
        """Return what `open` needs beside the file, as values that JSON has."""
        return {}

    @classmethod
    @abstractmethod
    def open(
        cls, path: str, parameters: GraphParameters, capacity: int, state: dict[str, Any]
    ) -> VectorIndex:
        """Read a saved index.

        Args:
            path: What `save` wrote; its checksum has been compared already.
            parameters: As when it was built.
            capacity: Labels to make room for.
            state: What `state` returned when it was saved.
        """

    @classmethod
    @abstractmethod
    def create(cls, parameters: GraphParameters, capacity: int) -> VectorIndex:
        """Make an empty index with room for `capacity` labels; it grows past that by itself."""


def check_whole(path: str, n_bytes: int) -> None:
    """Check that an engine has written all of a file: on a full disk, some notice nothing.

    Args:
        path: What it has written.
        n_bytes: The bytes that the file should have.

    Raises:
        OSError: Some are missing.
    """
    found = os.path.getsize(path)
    if found != n_bytes:
        raise OSError(
            errno.ENOSPC,
            f"{os.strerror(errno.ENOSPC)}: {found:,} of {n_bytes:,} bytes were written",
        )
