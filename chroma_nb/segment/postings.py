"""`Postings`: for each index of some sparse vectors, which records have it and with which value."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from chroma_nb.segment.sparse_entries import Entries
from chroma_nb.segment.sparse_scores import Places

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: What an entry takes while postings are made of it: itself, a key to sort by, its place, and the columns in order.
BUILD_BYTES = 48
#: Values that have a code of one byte, and of two.
_BYTE, _TWO_BYTES = 2**8, 2**16
#: Codes have one byte where at most one row in so many has another value than the commonest.
_ODD_SHARE = 16


class Postings:
    """An inverted index that never changes.

    BM25 has few different values, as the same counts in texts of the same length weigh the same. So a value is a code of
    one byte where that is enough for most rows, or of two.

    Args:
        entries: No record has an index twice.
    """

    def __init__(self, entries: Entries) -> None:
        order = np.argsort(entries.indices.astype(np.uint64) << np.uint64(32) | entries.labels)
        indices = entries.indices[order]
        first = np.ones(len(indices), dtype=bool)
        np.not_equal(indices[1:], indices[:-1], out=first[1:])
        starts = np.flatnonzero(first)
        #: The indices that there are, ascending, and where the rows of each begin; one more is the end.
        self._indices = indices[starts]
        place = np.uint32 if len(indices) < 2**32 else np.int64
        self._starts = np.append(starts, len(indices)).astype(place)
        self._labels = entries.labels[order]
        self._encode(entries.values[order].view(np.uint32))

    def _encode(self, bits: NDArray[np.uint32]) -> None:
        """Keep the values of the rows, which have these bits."""
        different, counts = np.unique(bits, return_counts=True)
        #: Rows whose values have no code, ascending, and these values.
        self._odd_rows = np.empty(0, dtype=self._starts.dtype)
        self._odd_values = np.empty(0, dtype=np.float32)
        #: The different values, and the code of each row; or the values of the rows and None.
        self._values: NDArray[np.float32] = bits.view(np.float32)
        self._codes: NDArray[np.uint8] | NDArray[np.uint16] | None = None
        commonest = np.sort(np.argsort(-counts, kind="stable")[:_BYTE])
        if (len(bits) - counts[commonest].sum()) * _ODD_SHARE <= len(bits):
            coded, is_byte = different[commonest], True
            odd = np.flatnonzero(~np.isin(bits, coded)) if len(different) > _BYTE else ()
            self._odd_rows = np.asarray(odd, dtype=self._starts.dtype)
            self._odd_values = bits[self._odd_rows].view(np.float32)
        elif len(different) <= _TWO_BYTES:
            coded, is_byte = different, False
        else:
            return
        self._values = coded.view(np.float32)
        codes = np.searchsorted(coded, bits)
        codes[self._odd_rows] = 0
        self._codes = codes.astype(np.uint8) if is_byte else codes.astype(np.uint16)

    def __len__(self) -> int:
        """Rows."""
        return len(self._labels)

    @property
    def nbytes(self) -> int:
        """Bytes of memory held."""
        rows = self._labels.nbytes + self._odd_rows.nbytes + self._odd_values.nbytes
        codes = 0 if self._codes is None else self._codes.nbytes
        return rows + codes + self._values.nbytes + self._indices.nbytes + self._starts.nbytes

    def places(self, indices: NDArray[np.uint32]) -> Places:
        """Return where the rows of indices are, which rise: `sparse_scores.Part.places`."""
        if not len(self._indices):
            nothing = np.empty(0, dtype=np.int64)
            return Places(nothing, nothing, nothing)
        at = np.searchsorted(self._indices, indices)
        there = np.flatnonzero(self._indices[np.minimum(at, len(self._indices) - 1)] == indices)
        starts, stops = self._starts[at[there]], self._starts[at[there] + 1]
        return Places(there, starts.astype(np.int64), stops.astype(np.int64))

    def rows(
        self, rows: slice | NDArray[np.int64]
    ) -> tuple[NDArray[np.uint32], NDArray[np.float32]]:
        """Return whose some rows are, and their values; rows as an array rise."""
        return self._labels[rows], self._values_of(rows)

    def _values_of(self, rows: slice | NDArray[np.int64]) -> NDArray[np.float32]:
        if self._codes is None:
            return self._values[rows]
        values = self._values[self._codes[rows]]
        if len(self._odd_rows) and len(values):
            if isinstance(rows, slice):
                start, stop, _ = rows.indices(len(self))
                odd = slice(*np.searchsorted(self._odd_rows, (start, stop)).tolist())
                values[self._odd_rows[odd] - start] = self._odd_values[odd]
            else:
                odd_at = np.searchsorted(self._odd_rows, rows)
                odd_at[odd_at == len(self._odd_rows)] = 0
                is_odd = self._odd_rows[odd_at] == rows
                values[is_odd] = self._odd_values[odd_at[is_odd]]
        return values

    def entries(self) -> Entries:
        """Return what it was made of, in another order."""
        starts = self._starts.astype(np.int64)
        lengths = starts[1:] - starts[:-1]
        return Entries(
            self._labels, np.repeat(self._indices, lengths), self._values_of(slice(None))
        )
