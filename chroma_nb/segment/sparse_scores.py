"""Distances of records to a sparse query, from whatever finds the entries: an index, or a look at all records.

Both give the same to the last bit: values are float32, and products are added in float64 in the order of the indices.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

from chroma_nb.embedding.bm25_weights import rarity
from chroma_nb.memory.workspace import SMALL_BYTES, WORKSPACE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from chroma_nb.segment.sparse_entries import Entries, Terms

#: The sum, whether there is one, and the distance as float64 and as float32, of each label.
_LABEL_BYTES = 24
#: What an entry that is kept takes: itself, and its place among the others while they are put in order.
_ENTRY_BYTES = 12 + 8
#: What an index of a query takes: where its entries are in a part, how many there are, and its weight.
_TERM_BYTES = 48
#: Up to so many indices are looked at one by one; more are taken together, so many of their entries at a time.
_FEW_TERMS = 32
_TOGETHER_ENTRIES = 1 << 16
_WHAT = "A search by sparse vectors"


class Places(NamedTuple):
    """Where a part has the entries of a query. Shape (n,), one row for each of the query's indices that it has.

    Attributes:
        terms: Position in the query, int64, rising.
        starts: The first row of the part with this index, int64.
        stops: The end of these rows, int64.
    """

    terms: NDArray[np.int64]
    starts: NDArray[np.int64]
    stops: NDArray[np.int64]

    def between(self, first: int, end: int) -> Places:
        """Return those of some positions of the query."""
        rows = slice(*np.searchsorted(self.terms, (first, end)).tolist())
        return Places(self.terms[rows], self.starts[rows], self.stops[rows])


class Part(Protocol):
    """Entries in the order of their indices. All of one record are in the same part."""

    def places(self, indices: NDArray[np.uint32]) -> Places:
        """Return where the entries of indices are: uint32, shape (n,), rising."""

    def rows(
        self, rows: slice | NDArray[np.int64]
    ) -> tuple[NDArray[np.uint32], NDArray[np.float32]]:
        """Return whose entries some rows are, and their values; rows as an array rise."""

    def are_live(self, labels: NDArray[np.uint32]) -> NDArray[np.bool_] | None:
        """Say which entries are still their records': bool, shape (n,). None: all."""


class SortedEntries:
    """Entries in the order of their indices.

    Args:
        entries: The entries, in any order; no record has an index twice.
    """

    def __init__(self, entries: Entries) -> None:
        order = np.argsort(entries.indices, kind="stable")
        self._labels = entries.labels[order]
        self._indices = entries.indices[order]
        self._values = entries.values[order]

    def places(self, indices: NDArray[np.uint32]) -> Places:
        """Return what `Part.places` does."""
        starts = np.searchsorted(self._indices, indices)
        stops = np.searchsorted(self._indices, indices, "right")
        there = np.flatnonzero(stops > starts)
        return Places(there, starts[there], stops[there])

    def rows(
        self, rows: slice | NDArray[np.int64]
    ) -> tuple[NDArray[np.uint32], NDArray[np.float32]]:
        """Return what `Part.rows` does."""
        return self._labels[rows], self._values[rows]

    def are_live(self, labels: NDArray[np.uint32]) -> None:
        """Return None: all are."""


def distances(
    terms: Terms,
    parts: Sequence[Part],
    n_labels: int,
    n_live: int,
    *,
    idf: bool,
    mask: NDArray[np.bool_] | None,
) -> NDArray[np.float32]:
    """Return 1 - dot(query, record) of each label: float32, shape (n_labels,), NaN for one that shares no index.

    Args:
        terms: The query.
        parts: The entries of all records.
        n_labels: Labels in all.
        n_live: Records in all.
        idf: Weigh each index by how rare it is among all records, those of the mask or not.
        mask: Bool, shape (n_labels,): which may be found; None is all.
    """
    n_bytes = _LABEL_BYTES * n_labels + _TERM_BYTES * (1 + len(parts)) * len(terms.indices)
    with WORKSPACE.take_all(n_bytes, _WHAT):
        sums = np.zeros(n_labels, dtype=np.float64)
        is_found = np.zeros(n_labels, dtype=bool)
        places = [part.places(terms.indices) for part in parts]
        for first, end in _together(places, len(terms.indices)):
            weights = terms.weights[first:end]
            found = [
                _entries(part, where.between(first, end), first)
                for part, where in zip(parts, places, strict=True)
            ]
            if idf:
                weights = weights * _rarities(found, len(weights), n_live)
            for which, labels, values in found:
                products = weights[which] * values.astype(np.float64)
                if end - first == 1:
                    # Each record once.
                    sums[labels] += products
                else:
                    np.add.at(sums, labels, products)
                is_found[labels] = True
        if mask is not None:
            is_found &= mask
        with np.errstate(over="ignore"):
            out = (1.0 - sums).astype(np.float32)
        out[~is_found] = np.nan
        return out


class _Found(NamedTuple):
    """Entries of some terms in one part: the term of each (intp), whose, and the value. Shape (n,)."""

    terms: NDArray[np.intp]
    labels: NDArray[np.uint32]
    values: NDArray[np.float32]


def _together(places: Sequence[Places], n_terms: int) -> Iterator[tuple[int, int]]:
    """Yield ranges of the terms that are found at all, in order."""
    n_entries = np.zeros(n_terms, dtype=np.int64)
    for one in places:
        n_entries[one.terms] += one.stops - one.starts
    terms = np.flatnonzero(n_entries)
    if len(terms) <= _FEW_TERMS:
        yield from ((term, term + 1) for term in terms.tolist())
        return
    ends = np.cumsum(n_entries[terms])
    groups = (ends - n_entries[terms]) // _TOGETHER_ENTRIES
    firsts = np.flatnonzero(np.diff(groups, prepend=-1))
    lasts = np.append(firsts[1:], len(terms)) - 1
    yield from zip(terms[firsts].tolist(), (terms[lasts] + 1).tolist(), strict=True)


def _entries(part: Part, places: Places, first: int) -> _Found:
    """Return the entries of a part at some places; terms count from `first`."""
    lengths = places.stops - places.starts
    rows: slice | NDArray[np.int64]
    if len(lengths) == 1:
        rows = slice(int(places.starts[0]), int(places.stops[0]))
    else:
        # Where each range begins among the rows, and each row's place in its range.
        before = np.cumsum(lengths) - lengths
        rows = np.repeat(places.starts - before, lengths) + np.arange(lengths.sum())
    labels, values = part.rows(rows)
    terms = np.repeat(places.terms - first, lengths)
    live = part.are_live(labels)
    if live is None:
        return _Found(terms, labels, values)
    return _Found(terms[live], labels[live], values[live])


def _rarities(found: Sequence[_Found], n_terms: int, n_live: int) -> NDArray[np.float64]:
    """Return how rare each term is."""
    n_with = np.zeros(n_terms, dtype=np.int64)
    for one in found:
        n_with += np.bincount(one.terms, minlength=n_terms)
    different, places = np.unique(n_with, return_inverse=True)
    return np.array([rarity(n_live, n) for n in different.tolist()])[places.ravel()]


def scan(
    terms: Terms,
    pieces: Iterable[Entries],
    n_labels: int,
    n_live: int,
    *,
    idf: bool,
    mask: NDArray[np.bool_] | None,
) -> NDArray[np.float32]:
    """Return the same by a look at the entries of all records, piece by piece.

    Args:
        terms: The query.
        pieces: The entries of all records, each record in one piece.
        n_labels: As for `distances`.
        n_live: As for `distances`.
        idf: As for `distances`.
        mask: As for `distances`.
    """
    with contextlib.ExitStack() as held:
        kept: list[SortedEntries] = []
        n_bytes = 0
        for piece in pieces:
            some = piece.where(np.isin(piece.indices, terms.indices))
            n_bytes += _ENTRY_BYTES * len(some.labels)
            if n_bytes > SMALL_BYTES:
                held.enter_context(WORKSPACE.take_all(n_bytes, _WHAT))
                n_bytes = 0
            kept.append(SortedEntries(some))
        return distances(terms, kept, n_labels, n_live, idf=idf, mask=mask)
