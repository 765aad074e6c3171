"""Chroma's `normalize_sparse_vector`: a sparse vector from indices in any order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chroma_nb.search.sparse import SparseVector

if TYPE_CHECKING:
    from collections.abc import Sequence


def normalize_sparse_vector(
    indices: Sequence[int], values: Sequence[float], labels: Sequence[str] | None = None
) -> SparseVector:
    """Return a sparse vector whose indices are sorted, and its values and labels with them.

    Args:
        indices: n numbers from 0 in any order, each once.
        values: n numbers.
        labels: n texts, or None. Dropped, as in Chroma, where there are no indices.

    Raises:
        ValueError: Lengths that differ, an index that is there twice or below 0, something else than numbers.
    """
    if len(indices) == 0 and len(values) == 0:
        return SparseVector([], [])
    for name, column in (("values", values), ("labels", labels)):
        # Chroma cuts them to the shortest without a word.
        if column is not None and len(column) != len(indices):
            raise ValueError(
                f"Expected as many {name} as indices, got {len(indices)} indices and {len(column)} {name}"
            )
    order = sorted(range(len(indices)), key=indices.__getitem__)
    return SparseVector(
        [indices[at] for at in order],
        [values[at] for at in order],
        None if labels is None else [labels[at] for at in order],
    )
