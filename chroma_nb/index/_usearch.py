"""`Usearch` and `UsearchI8`: graphs over copies of a half and a quarter of the size.

Their distances are those of the copies: whoever searches fetches a few more neighbours and computes
their distances again from the vectors themselves.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from usearch.index import Index

from chroma_nb.index.base import GraphParameters, VectorIndex, check_whole
from chroma_nb.types import Neighbors

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Raise a KeyboardInterrupt for what it is; usearch makes a RuntimeError of it."""
    try:
        yield
    except RuntimeError as error:
        if "terminated" in str(error):
            raise KeyboardInterrupt from error
        raise


#: So many records come first and by one thread. Threads that start together do not see each other's
#: records, and leave some that no search reaches: of 100,000 (40 graphs of 2,500, dimension 16, two threads)
#: 165 did not find themselves, with this 47.
_FOUNDATION = 1_024
#: usearch takes memory for all candidates of a search beforehand (16 MB for this many), also where the graph has
#: fewer records. Who asks for more wants them all: the planner scans then.
_MOST_CANDIDATES = 1 << 20
_METRICS = {"l2": "l2sq", "cosine": "cos", "ip": "ip"}


class Usearch(VectorIndex):
    """HNSW of usearch over bfloat16 copies of the vectors.

    Measured on 100,000 MiniLM embeddings: bf16 answers in 0.34 ms where f32 takes 0.85 ms, and the
    rescoring against the float32 vectors brings the recall back.
    """

    engine: ClassVar[str] = "usearch"
    overfetch: ClassVar[float] = 0.5

    _dtype: ClassVar[str] = "bf16"
    _value_bytes: ClassVar[int] = 2

    def __init__(self, index: Any, parameters: GraphParameters) -> None:
        self._index = index
        self.parameters = parameters
        self._n_discarded = 0

    @classmethod
    def _make(cls, parameters: GraphParameters) -> Any:
        return Index(
            ndim=parameters.dimension,
            metric=_METRICS[parameters.space],
            dtype=cls._dtype,
            connectivity=parameters.m,
            expansion_add=min(parameters.ef_construction, _MOST_CANDIDATES),
            expansion_search=min(parameters.ef_search, _MOST_CANDIDATES),
        )

    @classmethod
    def create(cls, parameters: GraphParameters, capacity: int) -> Usearch:
        return cls(cls._make(parameters), parameters)

    @classmethod
    def open(
        cls, path: str, parameters: GraphParameters, capacity: int, state: dict[str, Any]
    ) -> Usearch:
        index = cls._make(parameters)
        index.load(path)
        return cls(index, parameters)

    def _encode(self, vectors: NDArray[np.float32]) -> NDArray[Any]:
        """Return the vectors as the graph takes them."""
        # usearch refuses those of a buffer that is not aligned, as a request's are.
        return np.require(vectors, requirements=["C", "A"])

    def add(self, labels: NDArray[np.int64], vectors: NDArray[np.float32], threads: int) -> None:
        if not len(labels):
            return
        keys, encoded = labels.astype(np.uint64), self._encode(vectors)
        alone = min(len(keys), max(0, _FOUNDATION - self.n_held))
        with _interruptible():
            if alone:
                self._index.add(keys[:alone], encoded[:alone], threads=1, copy=True)
            if alone < len(keys):
                self._index.add(keys[alone:], encoded[alone:], threads=threads, copy=True)

    def discard(self, labels: NDArray[np.int64]) -> None:
        if len(labels):
            present = labels[self._index.contains(labels.astype(np.uint64))]
            if len(present):
                self._index.remove(present.astype(np.uint64))
                self._n_discarded += len(present)

    def search(self, queries: NDArray[np.float32], k: int, threads: int) -> Neighbors:
        k = min(k, len(self))
        with _interruptible():
            found = self._index.search(self._encode(queries), k, threads=threads)
        keys = np.atleast_2d(found.keys).astype(np.int64)
        distances = np.atleast_2d(found.distances).astype(np.float32)
        counts = getattr(found, "counts", None)
        if counts is not None:
            missing = np.arange(keys.shape[1])[None, :] >= np.asarray(counts)[:, None]
            keys[missing], distances[missing] = -1, np.inf
        elif keys.shape[1] < k:
            pad = ((0, 0), (0, k - keys.shape[1]))
            keys = np.pad(keys, pad, constant_values=-1)
            distances = np.pad(distances, pad, constant_values=np.inf)
        return Neighbors(keys, distances)

    def set_ef_search(self, ef_search: int) -> None:
        self._index.expansion_search = min(ef_search, _MOST_CANDIDATES)

    def __len__(self) -> int:
        return len(self._index)

    @classmethod
    def bytes_for(cls, parameters: GraphParameters, n: int) -> int:
        # The vector, 2*M links of 4 bytes and their count, key and level; beside it the links of the
        # upper levels and the table of keys: 106 bytes (growth of RSS, 5,000 to 50,000 vectors).
        # usearch's own memory_usage is that of its arenas, which double and are not touched to the end.
        return n * (cls._value_bytes * parameters.dimension + 8 * parameters.m + 14 + 106)

    @property
    def n_held(self) -> int:
        return len(self._index) + self._n_discarded

    def save(self, path: str) -> None:
        self._index.save(path)
        check_whole(path, self._index.serialized_length)


class UsearchI8(Usearch):
    """HNSW of usearch over copies of one byte a value, for where memory is short.

    Values are scaled so that the largest one of the first vectors becomes 127; the few that are larger
    are cut off. Scaling by the largest value instead of by the vector's length, as usearch does it
    itself, uses the whole byte: 0.99 of the nearest ten are found before rescoring instead of 0.95
    (20,000 MiniLM embeddings), and 0.998 after it.
    """

    engine: ClassVar[str] = "usearch-i8"
    overfetch: ClassVar[float] = 1.0

    _dtype: ClassVar[str] = "i8"
    _value_bytes: ClassVar[int] = 1

    def __init__(self, index: Any, parameters: GraphParameters, scale: float | None = None) -> None:
        super().__init__(index, parameters)
        self._scale = scale

    @classmethod
    def open(
        cls, path: str, parameters: GraphParameters, capacity: int, state: dict[str, Any]
    ) -> UsearchI8:
        index = cls._make(parameters)
        index.load(path)
        return cls(index, parameters, float(state["scale"]))

    def state(self) -> dict[str, Any]:
        return {"scale": 1.0 if self._scale is None else self._scale}

    def _encode(self, vectors: NDArray[np.float32]) -> NDArray[Any]:
        if self.parameters.space == "cosine":
            # Lengths do not matter to the angle, so they should not cost precision either.
            lengths = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))[:, None]
            vectors = np.divide(vectors, lengths, where=lengths > 0, out=np.zeros_like(vectors))
        if self._scale is None:
            largest = float(np.abs(vectors).max(initial=0.0))
            self._scale = 127.0 / largest if largest > 0 else 1.0
        scaled: NDArray[np.float32] = np.rint(vectors * np.float32(self._scale))
        return np.clip(scaled, -127, 127, out=scaled).astype(np.int8)
