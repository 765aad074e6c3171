"""`Turbovec` and `Turbovec2Bit`: quantised codes of the vectors. A search compares the query with all of them.

A code has 4 or 2 bits for each value: an eighth or a sixteenth of the vector. It is made by TurboQuant (Zandieh and
others, arXiv:2504.19874), which needs no training, so 100,000 codes are there in a second where a graph takes twenty.
The distances of codes are estimates: the caller computes those of the nearest again, from the vectors themselves.
"""

from __future__ import annotations

import base64
import sys
import zlib
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from turbovec import TurboQuantIndex

from chroma_nb.index.base import GraphParameters, VectorIndex
from chroma_nb.memory.trim import returned_when_freed
from chroma_nb.types import Neighbors

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from numpy.typing import NDArray

#: The engine takes dimensions that are multiples of this.
_MULTIPLE = 8
#: Bytes of vectors that are encoded at a time: the engine keeps a copy of the largest piece.
_PIECE_BYTES = 1 << 20
#: Label, whether it can be found, and the engine's length of the vector.
_BYTES_EACH = 8 + 1 + 4
#: The error of an estimate grows with the length of what is encoded. A vector of more than this many times the median length
#: is *far*: it is a candidate of every search, ...
_FAR = 4.0
#: ... unless there are more than this many of these.
_MOST_FAR = 512
#: The engine refuses values of more than 1e16. Longer vectors are far in any case, and their distances computed.
_LARGEST = 1e15
#: The engine takes several queries together, of which each may cost a hundred times as much where many codes are wanted
#: (40,000 codes, 10 queries, 1,344 results: 150 ms of a core each; one query: 4 ms).
_MOST_TOGETHER = 256
_NOTHING = np.empty(0, dtype=np.int64)


class Turbovec(VectorIndex):
    """Codes of 4 bits a value.

    The engine orders by inner product, with an error in proportion to the lengths of query and vector. So m, the mean of a
    sample of the vectors, is subtracted from both before. What the inner product lacks then is encoded as one more value of
    each vector, v. The terms that are left are the same for all vectors:

    * ``l2``: |q - x|^2 = |q - m|^2 - 2 ((q - m).(x - m) + v), with v = -|x - m|^2 / 2;
    * else: q.x = (q - t m).(x - m) + t v + q.m, with v = m.(x - m), and t = q.m / m.m, which makes q - t m shortest.
      For ``cosine`` queries and vectors have length 1.

    The engine encodes vectors, and answers several queries, with one thread per core, whatever `threads` says.
    """

    engine: ClassVar[str] = "turbovec"
    overfetch: ClassVar[float] = 0.5
    #: The engine's limit of 16,384, without v.
    most_dimensions: ClassVar[float] = 16_383

    _bits: ClassVar[int] = 4

    def __init__(self, parameters: GraphParameters, codes: Any) -> None:
        self.parameters = parameters
        self._codes = codes
        #: m, shape (dimension,).
        self._mean: NDArray[np.float32] | None = None
        #: (v - offset) / unit is encoded, so that v has about the size of the other values.
        self._offset, self._unit = 0.0, 1.0
        #: The median length of what is encoded, which is divided by it.
        self._length = 1.0
        #: Labels of the vectors that are much longer; see `_FAR`.
        self._far = _NOTHING
        #: The label of each code, ascending, and whether it can be found; with room at the end.
        self._labels = _NOTHING
        self._alive = np.empty(0, dtype=bool)
        self._n_discarded = 0

    def __del__(
        self,
        is_ending: Callable[[], bool] = sys.is_finalizing,
        returned: Callable[[], AbstractContextManager[None]] = returned_when_freed,
    ) -> None:
        """Free the codes so that their memory goes back to the system.

        The functions are defaults, as the names of this module may be gone when Python ends.
        """
        if not is_ending():
            with returned():
                self._codes = None

    @classmethod
    def _width(cls, parameters: GraphParameters) -> int:
        """Return how many values a code has: those of the vector, v, and zeros."""
        return -(-(parameters.dimension + 1) // _MULTIPLE) * _MULTIPLE

    @classmethod
    def create(cls, parameters: GraphParameters, capacity: int) -> Turbovec:
        return cls(parameters, TurboQuantIndex(dim=cls._width(parameters), bit_width=cls._bits))

    # -- vectors as they are encoded ----------------------------------------------------------

    def learn(self, vectors: NDArray[np.float32]) -> None:
        vectors = self._normalised(vectors)
        # Without the few outliers, which would move the mean away from all others; and without zeros, which may be most.
        lengths = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
        if np.any(lengths > 0):
            usual = np.median(lengths[lengths > 0])
            vectors = vectors[(lengths > 0) & (lengths <= _FAR * usual)]
        self._mean = vectors.mean(axis=0, dtype=np.float64).astype(np.float32)
        values = self._last_values(vectors - self._mean)
        self._offset = float(values.mean())
        # The error grows with (|q - m|^2 + unit^2) (|x - m|^2 + (v / unit)^2), which is least at about this.
        self._unit = float(values.std()) ** 0.5 or 1.0
        self._length = 1.0
        encoded = self._encoded(vectors)
        self._length = float(np.median(np.sqrt(np.einsum("ij,ij->i", encoded, encoded)))) or 1.0

    def _last_values(self, centred: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return v of each vector, given without the mean: shape (n, dimension)."""
        if self.parameters.space == "l2":
            values = -np.einsum("ij,ij->i", centred, centred) / np.float32(2)
        else:
            values = centred @ self._mean_or_zero()
        return values.astype(np.float64)  # type: ignore[no-any-return]

    def _mean_or_zero(self) -> NDArray[np.float32]:
        return np.zeros(self.parameters.dimension, np.float32) if self._mean is None else self._mean

    def _normalised(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        if self.parameters.space != "cosine":
            return vectors
        lengths = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))[:, None]
        out = np.zeros_like(vectors)
        return np.divide(vectors, lengths, where=lengths > 0, out=out)  # type: ignore[no-any-return]

    def _encoded(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return normalised vectors as the codes take them, shape (n, width)."""
        dimension = self.parameters.dimension
        out = np.zeros((len(vectors), self._width(self.parameters)), dtype=np.float32)
        centred = np.subtract(vectors, self._mean_or_zero(), out=out[:, :dimension])
        largest = _LARGEST * self._length
        values = (self._last_values(centred) - self._offset) / self._unit
        out[:, dimension] = np.clip(values, -largest, largest)
        np.clip(centred, -largest, largest, out=centred)
        # The engine treats very short vectors as zero, and refuses very long ones.
        out /= np.float32(self._length)
        return out

    def _mean_factors(self, queries: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return how many times the mean is subtracted from each query: t, shape (n, 1)."""
        mean = self._mean_or_zero()
        square = float(mean @ mean)
        if self.parameters.space == "l2" or not square:
            return np.ones((len(queries), 1), dtype=np.float32)
        factors: NDArray[np.float32] = (queries @ mean) / np.float32(square)
        return factors[:, None]

    def _encoded_queries(self, queries: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return normalised queries as they are compared with the codes, shape (n, width)."""
        dimension = self.parameters.dimension
        factors = self._mean_factors(queries)
        out = np.zeros((len(queries), self._width(self.parameters)), dtype=np.float32)
        np.subtract(queries, factors * self._mean_or_zero(), out=out[:, :dimension])
        out[:, dimension] = factors[:, 0] * np.float32(self._unit)
        return out

    def _distances(
        self, queries: NDArray[np.float32], scores: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Return the estimated distances of normalised queries, from the engine's scores (inner products)."""
        mean = self._mean_or_zero().astype(np.float64)
        factors = self._mean_factors(queries).astype(np.float64)
        products = scores * self._length + factors * self._offset
        if self.parameters.space == "l2":
            centred = queries - mean
            found = np.einsum("ij,ij->i", centred, centred)[:, None] - 2 * products
        else:
            found = 1 - (products + (queries @ mean)[:, None])
        return found.astype(np.float32)  # type: ignore[no-any-return]

    def add(self, labels: NDArray[np.int64], vectors: NDArray[np.float32], threads: int) -> None:
        n = self.n_held
        end = n + len(labels)
        if end > len(self._labels):
            room = end + end // 8
            self._labels = np.concatenate([self._labels[:n], np.empty(room - n, dtype=np.int64)])
            self._alive = np.concatenate([self._alive[:n], np.zeros(room - n, dtype=bool)])
        if self._mean is None and len(labels):
            self.learn(vectors)
        step = max(1, _PIECE_BYTES // (4 * self._width(self.parameters)))
        for start in range(0, len(labels), step):
            piece = self._normalised(vectors[start : start + step])
            # Labels before codes: so each code has its label, also after an interrupt in between.
            at = slice(n + start, n + start + len(piece))
            self._labels[at], self._alive[at] = labels[start : start + step], True
            encoded = self._encoded(piece)
            lengths = np.sqrt(np.einsum("ij,ij->i", encoded, encoded))
            far = np.flatnonzero(lengths > _FAR)
            self._far = np.concatenate([self._far, self._labels[at][far]])
            with returned_when_freed():
                self._codes.add(encoded)

    def discard(self, labels: NDArray[np.int64]) -> None:
        held = self._labels[: self.n_held]
        places = np.searchsorted(held, labels)
        places = np.unique(places[places < len(held)])
        places = places[np.isin(held[places], labels) & self._alive[places]]
        # The number first: a search looks at `_alive` only where it is not 0.
        self._n_discarded += len(places)
        self._alive[places] = False

    @property
    def code_bytes(self) -> int:
        return self._width(self.parameters) * self._bits // 8

    # -- search -------------------------------------------------------------------------------

    def search(self, queries: NDArray[np.float32], k: int, threads: int) -> Neighbors:
        usable = self._alive[: self.n_held] if self._n_discarded else None
        return self._search(queries, k, usable)

    def search_among(
        self, queries: NDArray[np.float32], k: int, threads: int, mask: NDArray[np.bool_]
    ) -> Neighbors:
        n = self.n_held
        labels = self._labels[:n]
        # Mostly every label has a code, and picking a million entries of the mask, which takes milliseconds, is spared.
        has_all = n > 0 and labels[-1] == n - 1
        usable = mask[:n] if has_all else mask[labels]
        return self._search(queries, k, usable & self._alive[:n] if self._n_discarded else usable)

    def _search(
        self, queries: NDArray[np.float32], k: int, usable: NDArray[np.bool_] | None
    ) -> Neighbors:
        """Find the nearest of the codes where `usable` is true: bool, shape (n_held,); None is all."""
        n = self.n_held
        normalised = self._normalised(queries)
        places = np.empty((len(queries), 0), dtype=np.int64)
        scores = np.empty((len(queries), 0), dtype=np.float32)
        if n and self._mean is not None:
            encoded = self._encoded_queries(normalised)
            # A mask of all codes would cost a third more than none.
            masked = {} if usable is None else {"mask": usable}
            step = len(encoded) if k <= _MOST_TOGETHER else 1
            parts = [
                self._codes.search(encoded[at : at + step], min(k, n), **masked)
                for at in range(0, len(encoded), step)
            ]
            scores, places = (np.concatenate(found) for found in zip(*parts, strict=True))
        labels = np.full((len(queries), k), -1, dtype=np.int64)
        distances = np.full((len(queries), k), np.inf, dtype=np.float32)
        n_found = places.shape[1]
        labels[:, :n_found] = self._labels[places]
        distances[:, :n_found] = self._distances(normalised, scores)
        if 0 < len(self._far) <= _MOST_FAR:
            labels, distances = self._with_far(labels, distances, usable)
        return Neighbors(labels, distances)

    def _with_far(
        self,
        labels: NDArray[np.int64],
        distances: NDArray[np.float32],
        usable: NDArray[np.bool_] | None,
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Add the far vectors, and make their distances unknown (NaN): their estimates are too rough."""
        far = self._far
        if usable is not None:
            far = far[usable[np.searchsorted(self._labels[: self.n_held], far)]]
        distances[np.isin(labels, far)] = np.nan
        more = np.broadcast_to(far, (len(labels), len(far))).copy()
        for row, found in zip(more, labels, strict=True):
            row[np.isin(far, found)] = -1
        unknown = np.full(more.shape, np.nan, dtype=np.float32)
        return np.concatenate([labels, more], axis=1), np.concatenate([distances, unknown], axis=1)

    def set_ef_search(self, ef_search: int) -> None:
        """Do nothing: a search looks at all codes."""

    # -- sizes --------------------------------------------------------------------------------

    def __len__(self) -> int:
        return self.n_held - self._n_discarded

    @property
    def n_held(self) -> int:
        return len(self._codes)

    @classmethod
    def bytes_for(cls, parameters: GraphParameters, n: int) -> int:
        code = cls._width(parameters) * cls._bits // 8
        # Labels have an eighth of room.
        return n * (code + _BYTES_EACH) + n * _BYTES_EACH // 8

    # -- files --------------------------------------------------------------------------------

    def save(self, path: str) -> None:
        self._codes.write(path, durable=False)

    def state(self) -> dict[str, Any]:
        """Return the mean, and which labels have a code and can be found."""
        held = self._labels[: self.n_held]
        n_labels = int(held[-1]) + 1 if len(held) else 0
        has_code, is_alive = np.zeros((2, n_labels), dtype=bool)
        has_code[held] = True
        is_alive[held] = self._alive[: len(held)]
        mean = _NOTHING.astype(np.float32) if self._mean is None else self._mean
        return {
            "offset": self._offset,
            "unit": self._unit,
            "length": self._length,
            "far": self._far.tolist(),
            "n_labels": n_labels,
            "mean": _text(mean.astype("<f4").tobytes()),
            "held": _text(np.packbits(has_code).tobytes()),
            "alive": _text(np.packbits(is_alive).tobytes()),
        }

    @classmethod
    def open(
        cls, path: str, parameters: GraphParameters, capacity: int, state: dict[str, Any]
    ) -> Turbovec:
        with returned_when_freed():
            codes = TurboQuantIndex.load(path)
        if (codes.dim, codes.bit_width) != (cls._width(parameters), cls._bits) and len(codes):
            raise ValueError(f"its codes are {codes.bit_width} bits of {codes.dim} values")
        made = cls(parameters, codes if len(codes) else cls.create(parameters, 0)._codes)
        n_labels = state["n_labels"]
        if not 0 <= n_labels <= capacity:
            raise ValueError(f"it is of {n_labels} labels")
        mean = np.frombuffer(_bytes(state["mean"], 4 * parameters.dimension), dtype="<f4")
        packed = [_bytes(state[name], -(-n_labels // 8)) for name in ("held", "alive")]
        has_code, is_alive = (
            np.unpackbits(np.frombuffer(one, dtype=np.uint8), count=n_labels).astype(bool)
            for one in packed
        )
        made._labels = np.flatnonzero(has_code)
        made._alive = is_alive[made._labels]
        made._n_discarded = int(np.count_nonzero(~made._alive))
        if len(made._labels) != len(codes) or (len(codes) and len(mean) != parameters.dimension):
            raise ValueError(f"it has {len(codes)} codes of {len(made._labels)} labels")
        if len(mean):
            made._mean = mean.astype(np.float32)
        made._offset, made._unit = float(state["offset"]), float(state["unit"])
        made._length = float(state["length"])
        made._far = np.asarray(state["far"], dtype=np.int64).reshape(-1)
        if not np.isin(made._far, made._labels).all():
            raise ValueError("it names labels that it has no codes of")
        return made


class Turbovec2Bit(Turbovec):
    """Codes of 2 bits a value, for where memory is short."""

    engine: ClassVar[str] = "turbovec-2bit"
    overfetch: ClassVar[float] = 3.0

    _bits: ClassVar[int] = 2


def _text(packed: bytes) -> str:
    """Return bytes as compressed text, for JSON."""
    return base64.b64encode(zlib.compress(packed, 1)).decode()


def _bytes(text: str, most: int) -> bytes:
    """Return what `_text` was given: at most `most` bytes.

    Raises:
        ValueError: It is more, or not what `_text` returns.
    """
    reader = zlib.decompressobj()
    try:
        found = reader.decompress(base64.b64decode(text, validate=True), most + 1)
    except zlib.error as error:
        raise ValueError("its state is damaged") from error
    if len(found) > most:
        raise ValueError("its state is too long")
    return found
