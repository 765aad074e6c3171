"""Distances of records to a sparse query, from whatever finds the entries: an index, or a look at all records.

Both give the same to the last bit: values are float32, and products are added in float64 in the order of the indices.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import numpy as np

from chroma_nb.embedding.bm25_weights import rarity
from chroma_nb.memory.workspace import SMALL_BYTES, WORKSPACE
from chroma_nb.segment.sparse_entries import Entries

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import NDArray

    from chroma_nb.segment.sparse_entries import Terms

#: The sum, whether there is one, and the distance as float64 and as float32, of each label.
_LABEL_BYTES = 24
#: What an entry that is kept takes: itself, and its place among the others while they are put in order.
_ENTRY_BYTES = 12 + 8
_WHAT = "A search by sparse vectors"


def distances(
    terms: Terms,
    found: Callable[[int], Sequence[tuple[NDArray[np.uint32], NDArray[np.float32]]]],
    n_labels: int,
    n_live: int,
    *,
    idf: bool,
    mask: NDArray[np.bool_] | None,
) -> NDArray[np.float32]:
    """Return 1 - dot(query, record) of each label: float32, shape (n_labels,), NaN for one that shares no index.

    Args:
        terms: The query.
        found: Returns the records that have an index, each once, and their values, perhaps in several parts.
        n_labels: Labels in all.
        n_live: Records in all.
        idf: Weigh each index by how rare it is among all records, those of the mask or not.
        mask: Bool, shape (n_labels,): which may be found; None is all.
    """
    with WORKSPACE.take_all(_LABEL_BYTES * n_labels, _WHAT):
        sums = np.zeros(n_labels, dtype=np.float64)
        is_found = np.zeros(n_labels, dtype=bool)
        for index, given in zip(terms.indices.tolist(), terms.weights.tolist(), strict=True):
            parts = found(index)
            n_with = sum(len(labels) for labels, _ in parts)
            weight = given * rarity(n_live, n_with) if idf else given
            for labels, values in parts:
                sums[labels] += weight * values.astype(np.float64)
                is_found[labels] = True
        if mask is not None:
            is_found &= mask
        with np.errstate(over="ignore"):
            out = (1.0 - sums).astype(np.float32)
        out[~is_found] = np.nan
        return out


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
        kept: list[Entries] = []
        n_bytes = 0
        for piece in pieces:
            some = piece.where(np.isin(piece.indices, terms.indices))
            n_bytes += _ENTRY_BYTES * len(some.labels)
            if n_bytes > SMALL_BYTES:
                held.enter_context(WORKSPACE.take_all(n_bytes, _WHAT))
                n_bytes = 0
            # A query may have a million indices: none of them looks at all entries.
            order = np.argsort(some.indices, kind="stable")
            kept.append(Entries(some.labels[order], some.indices[order], some.values[order]))

        def found(index: int) -> list[tuple[NDArray[np.uint32], NDArray[np.float32]]]:
            parts = []
            for some in kept:
                # Of the entries' own type: they would be copied to be compared with another.
                wanted = np.uint32(index)
                start = int(np.searchsorted(some.indices, wanted))
                rows = slice(start, int(np.searchsorted(some.indices, wanted, "right")))
                if rows.start < rows.stop:
                    parts.append((some.labels[rows], some.values[rows]))
            return parts

        return distances(terms, found, n_labels, n_live, idf=idf, mask=mask)
