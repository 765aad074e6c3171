"""`TextPool`: one text (or none) per label, in one buffer and not as Python objects.

A hundred thousand `str` objects cost 50 bytes each on top of their text, slow every garbage collection
down, and are scattered over the heap, so that freeing them gives little back to the system. One
buffer is counted exactly, freed at once, and can be searched through in one go.
"""

from __future__ import annotations

import json
import secrets
from itertools import repeat
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from xxhash import xxh3_64_intdigest

from chroma_nb.db.stored_metadata import read_metadata
from chroma_nb.memory.sizes import utf8_length
from chroma_nb.texts import Texts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

#: Between two texts: a byte that UTF-8 never contains, so that no match runs over a border.
_BORDER = b"\xff"
_NONE = -1
#: Texts are encoded and put in this many letters at a time.
_PUT_BYTES = 4 << 20
#: What stands before the quote of a key in compact JSON, and what may stand after the quote that ends a text.
_BEFORE_A_KEY = b"{,"
_AFTER_A_TEXT = ",:]}"

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
        #: With a seed that nobody knows, so that no texts can be made that all have one hash. Unlike that of
        #: Python's own hash it can be saved.
        self._seed = secrets.randbits(64)
        self._hashes = np.empty(0, dtype=np.uint32) if hashed else None
        self._n = 0
        #: UTF-8 bytes of the longest text that was ever put in.
        self.longest = 0
        #: Labels in the order of their place in the buffer, made when it is first needed.
        self._by_start: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return self._n

    @property
    def nbytes(self) -> int:
        """Bytes of memory held."""
        hashes = 0 if self._hashes is None else self._hashes.nbytes
        by_start = 0 if self._by_start is None else self._by_start.nbytes
        places = self._starts.nbytes + self._lengths.nbytes
        return self._buffer.__alloc__() + places + hashes + by_start

    def growth(self, n: int, payload: int) -> int:
        """Return by how much `resize(n)` and a `put` of so many bytes may raise `nbytes` on the way.

        Args:
            n: Labels afterwards.
            payload: UTF-8 bytes of the texts, and one for each.
        """
        more = 0
        size, allocated = len(self._buffer) + payload, self._buffer.__alloc__()
        if size > allocated:
            # A bytearray that grows takes an eighth more than it needs.
            more += size + size // 8 + 16 - allocated
        if n > len(self._starts):
            place_bytes = 12 if self._hashes is None else 16
            # Arrays are copied one after the other: for a moment one of them is there twice.
            more += place_bytes * (self._capacity(n) - len(self._starts)) + self._starts.nbytes
        return more

    def _capacity(self, n: int) -> int:
        return n if self._n == 0 else max(n, self._n + self._n // 8 + 64)

    def resize(self, n: int) -> None:
        """Make room for labels 0 .. n - 1; new ones have no text."""
        if n > len(self._starts):
            capacity = self._capacity(n)
            self._starts = grown(self._starts, capacity, 0)
            self._lengths = grown(self._lengths, capacity, _NONE)
            if self._hashes is not None:
                self._hashes = grown(self._hashes, capacity, 0)
        self._n = max(self._n, n)

    def put(self, labels: NDArray[np.int64], texts: Sequence[str | None]) -> None:
        """Set the texts of labels that `resize` has made room for."""
        start = size = 0
        for at, text in enumerate(texts):
            # In pieces: as bytes, and as one text, they are there twice more.
            size += 0 if text is None else len(text)
            if size > _PUT_BYTES:
                self._put(labels[start : at + 1], texts[start : at + 1])
                start, size = at + 1, 0
        if start < len(texts):
            self._put(labels[start:], texts[start:])

    def _put(self, labels: NDArray[np.int64], texts: Sequence[str | None]) -> None:
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
        self.longest = max(self.longest, int(lengths.max(initial=0)))
        if self._hashes is not None:
            self._hashes[labels] = self._hashed([piece or b"" for piece in encoded])
        self._by_start = None

    def _hashed(self, encoded: Sequence[bytes]) -> NDArray[np.uint32]:
        """Return the lower half of each text's hash, shape (n,)."""
        codes = map(xxh3_64_intdigest, encoded, repeat(self._seed))
        return np.fromiter(codes, dtype=np.uint64, count=len(encoded)).astype(np.uint32)

    def sections(self) -> dict[str, bytearray | NDArray[Any]]:
        """Return what `restore` needs, as named pieces of memory."""
        found: dict[str, bytearray | NDArray[Any]] = {
            "buffer": self._buffer,
            "starts": self._starts[: self._n],
            "lengths": self._lengths[: self._n],
        }
        if self._hashes is not None:
            found["seed"] = bytearray(self._seed.to_bytes(8, "little"))
            found["hashes"] = self._hashes[: self._n]
        return found

    @property
    def spare_share(self) -> float:
        """Share of the buffer whose texts nobody has any more."""
        lengths = self._lengths[: self._n]
        used = int(lengths[lengths >= 0].sum(dtype=np.int64)) + int(np.count_nonzero(lengths >= 0))
        return 1.0 - (used + 1) / len(self._buffer)

    @classmethod
    def restore(cls, sections: Mapping[str, bytearray]) -> TextPool:
        """Return the pool that had these `sections`; it goes on with their memory."""
        pool = cls()
        pool._buffer = sections["buffer"]
        pool._starts = np.frombuffer(sections["starts"], dtype=np.int64)
        pool._lengths = np.frombuffer(sections["lengths"], dtype=np.int32)
        pool._n = len(pool._starts)
        pool.longest = int(pool._lengths.max(initial=0))
        if "hashes" in sections:
            pool._seed = int.from_bytes(sections["seed"], "little")
            pool._hashes = np.frombuffer(sections["hashes"], dtype=np.uint32)
        return pool

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

    def texts(self, labels: NDArray[np.int64]) -> Texts:
        """Return the texts of these labels (int64, shape (n,)) as one column."""
        given = self._lengths[labels] >= 0
        lengths = np.maximum(self._lengths[labels], 0).astype(np.int64)
        starts = self._starts[labels]
        firsts, lasts = starts[given], (starts + lengths)[given]
        if not len(firsts) or (firsts[1:] != lasts[:-1] + 1).any():
            return Texts.cut(self._buffer, starts, starts + lengths, given)
        # They stand one after the other, as those that were written together do: only the borders have to go.
        data = self._buffer[firsts[0] : lasts[-1]].translate(None, _BORDER)
        return Texts(data, np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)]), given)

    def json_values(
        self, key: str, labels: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], list[Any]]:
        """Return which of these labels' texts, compact JSON objects of plain values, have a key, and its values.

        Only the value is parsed, which is what makes a filter on one key of a hundred quick.
        """
        needle = (json.dumps(key, ensure_ascii=False) + ":").encode()
        # The quote that it begins with ends another text where one of these follows; those keys are rare.
        simple = bool(key) and key[0] not in _AFTER_A_TEXT
        buffer, decode = self._buffer, json.JSONDecoder().raw_decode
        starts, lengths = self._starts[labels].tolist(), self._lengths[labels].tolist()
        found: list[int] = []
        values: list[Any] = []
        for label, start, length in zip(labels.tolist(), starts, lengths, strict=True):
            if length < 0:
                continue
            end = start + length
            at = buffer.find(needle, start, end)
            if at < 0:
                continue
            if simple:
                # Within a text it comes after a backslash.
                while at >= 0 and buffer[at - 1] not in _BEFORE_A_KEY:
                    at = buffer.find(needle, at + 1, end)
                if at < 0:
                    continue
                try:
                    value = decode(buffer[at + len(needle) : end].decode())[0]
                except (ValueError, RecursionError):
                    # Says that it cannot be read.
                    value = (read_metadata(buffer[start:end].decode()) or {}).get(key)
            else:
                value = (read_metadata(buffer[start:end].decode()) or {}).get(key)
            if value is not None:
                found.append(label)
                values.append(value)
        return np.asarray(found, dtype=np.int64), values

    def text_bytes(self, labels: NDArray[np.int64]) -> int:
        """Return the UTF-8 bytes of these labels' texts."""
        lengths = self._lengths[labels]
        return int(lengths.sum(dtype=np.int64, where=lengths > 0))

    def split(self, labels: NDArray[np.int64], n_bytes: int) -> Iterator[NDArray[np.int64]]:
        """Yield the labels in pieces whose texts have about so many UTF-8 bytes; a longer text is one alone."""
        if len(labels):
            ends = np.cumsum(1 + np.maximum(self._lengths[labels], 0).astype(np.int64))
            yield from np.split(labels, np.flatnonzero(np.diff(ends // n_bytes)) + 1)

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
        wanted = self._hashed([text.encode() for text in texts])
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

    def contains(
        self, text: str, may_hold: Callable[[int], bool] = lambda n_bytes: True
    ) -> NDArray[np.bool_]:
        """Return which labels' texts have `text` in them, shape (n,).

        Args:
            text: What to look for.
            may_hold: Asked whether so many bytes may be kept for the next search.
        """
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
        by_start = self._by_start
        if by_start is None:
            order = np.argsort(self._starts[: self._n], kind="stable")
            by_start = order[self._lengths[order] >= 0]
            if may_hold(by_start.nbytes):
                self._by_start = by_start
        starts = self._starts[by_start]
        found = np.asarray(places, dtype=np.int64)
        slots = np.searchsorted(starts, found, side="right") - 1
        found, slots = found[slots >= 0], slots[slots >= 0]
        labels = by_start[slots]
        # A text that was replaced is still in the buffer, and nobody's.
        mask[labels[found < starts[slots] + self._lengths[labels]]] = True
        return mask


def payload_bytes(texts: Sequence[str | None]) -> int:
    """Return what `put` adds to the buffer for these texts."""
    return sum(1 + utf8_length(text) for text in texts if text is not None)


def grown(array: NDArray[_Scalar], size: int, fill: Any) -> NDArray[_Scalar]:
    """Return a copy of a 1-D array of that size, the new places filled."""
    out = np.empty(size, dtype=array.dtype)
    out[: len(array)] = array
    out[len(array) :] = fill
    return out
