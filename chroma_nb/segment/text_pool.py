"""`TextPool`: one text (or none) per label, in one buffer and not as Python objects.

A hundred thousand `str` objects cost 50 bytes each on top of their text, slow every garbage collection
down, and are scattered over the heap, so that freeing them gives little back to the system. One
buffer is counted exactly, freed at once, and can be searched through in one go.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

#: Between two texts: a byte that UTF-8 never contains, so that no match runs over a border.
_BORDER = b"\xff"
_NONE = -1

_Scalar = TypeVar("_Scalar", bound=np.generic)


class TextPool:
    """Texts by label; None is a text that is not there.

    Args:
        hashed: Keep a hash of each text, so that labels can be found by text.
    """

    def __init__(self, *, hashed: bool = False) -> None:
        self._buffer = bytearray(_BORDER)
        self._starts = np.empty(0, dtype=np.int64)
        self._lengths = np.empty(0, dtype=np.int32)
        self._hashes = np.empty(0, dtype=np.int64) if hashed else None
        self._n = 0
        #: Labels in the order of their place in the buffer, made when it is first needed.
        self._by_start: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return self._n

    @property
    def nbytes(self) -> int:
        """Bytes of memory held."""
        hashes = 0 if self._hashes is None else self._hashes.nbytes
        by_start = 0 if self._by_start is None else self._by_start.nbytes
        return len(self._buffer) + self._starts.nbytes + self._lengths.nbytes + hashes + by_start

    def resize(self, n: int) -> None:
        """Make room for labels 0 .. n - 1; new ones have no text."""
        if n > len(self._starts):
            capacity = n if self._n == 0 else max(n, self._n + self._n // 8 + 64)
            self._starts = grown(self._starts, capacity, 0)
            self._lengths = grown(self._lengths, capacity, _NONE)
            if self._hashes is not None:
                self._hashes = grown(self._hashes, capacity, 0)
        self._n = max(self._n, n)

    def put(self, labels: NDArray[np.int64], texts: Sequence[str | None]) -> None:
        """Set the texts of labels that `resize` has made room for."""
        encoded = [None if text is None else text.encode() for text in texts]
        present = [piece for piece in encoded if piece is not None]
        lengths = np.fromiter(map(len, present), dtype=np.int64, count=len(present))
        starts = np.empty(len(present), dtype=np.int64)
        if len(present):
            starts[0] = 0
            np.cumsum(lengths[:-1] + 1, out=starts[1:])
            starts += len(self._buffer)
            self._buffer += _BORDER.join(present)
            self._buffer += _BORDER
        if len(present) == len(encoded):
            self._starts[labels], self._lengths[labels] = starts, lengths
        else:
            given = np.fromiter((piece is not None for piece in encoded), bool, len(encoded))
            self._starts[labels[given]], self._lengths[labels[given]] = starts, lengths
            self._lengths[labels[~given]] = _NONE
        if self._hashes is not None:
            self._hashes[labels] = np.fromiter(map(hash, texts), dtype=np.int64, count=len(texts))
        self._by_start = None

    def get(self, labels: Iterable[int]) -> list[str | None]:
        """Return the texts of these labels."""
        buffer, starts, lengths = self._buffer, self._starts, self._lengths
        out: list[str | None] = []
        if isinstance(labels, np.ndarray):
            pairs = zip(starts[labels].tolist(), lengths[labels].tolist(), strict=True)
            for start, length in pairs:
                out.append(None if length < 0 else buffer[start : start + length].decode())
            return out
        for label in labels:
            start, length = int(starts[label]), int(lengths[label])
            out.append(None if length < 0 else buffer[start : start + length].decode())
        return out

    def present(self) -> NDArray[np.bool_]:
        """Return which labels have a text, shape (n,)."""
        mask: NDArray[np.bool_] = self._lengths[: self._n] >= 0
        return mask

    def find(self, texts: Sequence[str], alive: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Return the live label of each text, -1 where there is none.

        Args:
            texts: What to look for, each at most once.
            alive: Shape (n,): labels that count. No two live labels have the same text.
        """
        out = np.full(len(texts), -1, dtype=np.int64)
        if not self._n or not len(texts):
            return out
        if self._hashes is None:
            raise TypeError("this pool keeps no hashes")
        known = self._hashes[: self._n]
        wanted = np.fromiter(map(hash, texts), dtype=np.int64, count=len(texts))
        if len(texts) <= 8:
            for row, code in enumerate(wanted.tolist()):
                for label in np.flatnonzero(known == code).tolist():
                    if alive[label] and self.get((label,))[0] == texts[row]:
                        out[row] = label
            return out
        candidates = np.flatnonzero(np.isin(known, wanted) & alive)
        if len(candidates):
            rows = {text: row for row, text in enumerate(texts)}
            for label, text in zip(candidates.tolist(), self.get(candidates), strict=True):
                found = rows.get(text) if text is not None else None
                if found is not None:
                    out[found] = label
        return out

    def contains(self, text: str) -> NDArray[np.bool_]:
        """Return which labels' texts have `text` in them, shape (n,)."""
        if not text:
            return self.present()
        mask = np.zeros(self._n, dtype=bool)
        needle = text.encode()
        buffer = self._buffer
        at = buffer.find(needle)
        if at < 0:
            return mask
        places: list[int] = []
        while at >= 0:
            places.append(at)
            # One hit decides a text: go on behind its border.
            border = buffer.find(_BORDER, at)
            at = buffer.find(needle, border)
        if self._by_start is None:
            order = np.argsort(self._starts[: self._n], kind="stable")
            self._by_start = order[self._lengths[order] >= 0]
        starts = self._starts[self._by_start]
        found = np.asarray(places, dtype=np.int64)
        slots = np.searchsorted(starts, found, side="right") - 1
        found, slots = found[slots >= 0], slots[slots >= 0]
        labels = self._by_start[slots]
        # A text that was replaced is still in the buffer, and nobody's.
        mask[labels[found < starts[slots] + self._lengths[labels]]] = True
        return mask


def grown(array: NDArray[_Scalar], size: int, fill: Any) -> NDArray[_Scalar]:
    """Return a copy of a 1-D array of that size, the new places filled."""
    out = np.empty(size, dtype=array.dtype)
    out[: len(array)] = array
    out[len(array) :] = fill
    return out
