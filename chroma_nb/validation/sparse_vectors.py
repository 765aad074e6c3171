"""Sparse vectors as metadata values. Those of one call are checked together, as each of its records may have one."""

from __future__ import annotations

from itertools import accumulate, chain
from typing import TYPE_CHECKING

import numpy as np

from chroma_nb.compact_json import json_text
from chroma_nb.errors import InvalidArgumentError, with_way_out
from chroma_nb.search.sparse import (
    MOST_INDEX,
    MOST_VALUE,
    SparseVector,
    StoredVector,
    stored_vectors,
)
from chroma_nb.validation.texts import plain_text
from chroma_nb.words import brief

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

#: Entries that are checked together, about: they are put into arrays for it.
_TOGETHER_ENTRIES = 1 << 16


def check_sparse_vectors(
    keys: Sequence[str], vectors: Sequence[SparseVector], texts: list[str]
) -> list[StoredVector]:
    """Return sparse vectors as they are stored, with lists of their own.

    Args:
        keys: The metadata key of each, for errors.
        vectors: The vectors; somebody may have changed their lists since they were made.
        texts: Gets all labels, which the caller checks together.

    Raises:
        ValueError: One is no vector any more.
        InvalidArgumentError: An index or a value that 32 bits cannot hold.
    """
    out: list[StoredVector] = []
    for rows in _pieces(vectors):
        some = vectors[rows]
        out += _sound(some) or [
            _checked(key, vector, texts) for key, vector in zip(keys[rows], some, strict=True)
        ]
    return out


def _pieces(vectors: Sequence[SparseVector]) -> Iterator[slice]:
    start = n_entries = 0
    for row, vector in enumerate(vectors):
        n_entries += len(vector.indices)
        if n_entries >= _TOGETHER_ENTRIES:
            yield slice(start, row + 1)
            start, n_entries = row + 1, 0
    if start < len(vectors):
        yield slice(start, len(vectors))


def _sound(vectors: Sequence[SparseVector]) -> list[StoredVector]:
    """Return vectors as they are stored; none where one has labels or cannot be: each is looked at by itself then."""
    lengths = [len(one.indices) for one in vectors]
    if lengths != [len(one.values) for one in vectors] or any(
        one.labels is not None for one in vectors
    ):
        return []
    indices = list(chain.from_iterable(one.indices for one in vectors))
    values = list(chain.from_iterable(one.values for one in vectors))
    if not ({*map(type, indices)} <= {int} and {*map(type, values)} <= {int, float}):
        return []
    ends = list(accumulate(lengths))
    try:
        if not _are_sound(np.array(indices, np.int64), np.array(values, np.float64), ends):
            return []
    except OverflowError:
        return []
    if int in {*map(type, values)}:
        values = list(map(float, values))
    return stored_vectors(indices, values, ends)


def _are_sound(
    indices: NDArray[np.int64], values: NDArray[np.float64], ends: Sequence[int]
) -> bool:
    """Say whether indices rise within each vector, which end at `ends`, and all numbers fit into 32 bits."""
    if not len(indices):
        return True
    rises = indices[1:] > indices[:-1]
    # Where the next vector begins, nothing has to rise.
    rises[[end - 1 for end in ends if 0 < end < len(indices)]] = True
    return bool(
        rises.all()
        and indices.min() >= 0
        and indices.max() <= MOST_INDEX
        # False for NaN.
        and (np.abs(values) <= MOST_VALUE).all()
    )


def _fits(value: float) -> bool:
    """Say whether 32 bits can hold a number, which is stored as a float: a large integer counts rounded to one."""
    try:
        return abs(float(value)) <= MOST_VALUE
    except OverflowError:
        return False


def _checked(key: str, vector: SparseVector, texts: list[str]) -> StoredVector:
    # As a new one it is checked: somebody may have changed its lists.
    again = SparseVector(vector.indices, vector.values, vector.labels)
    if again.indices and again.indices[-1] > MOST_INDEX:
        raise with_way_out(
            InvalidArgumentError(
                f"Expected indices of a sparse vector to be at most {MOST_INDEX:,}, got "
                f"{brief(again.indices[-1])} for key {key!r}"
            ),
            "Number the entries by a hash of 32 bits.",
        )
    wrong = [value for value in again.values if not _fits(value)]
    if wrong:
        raise with_way_out(
            InvalidArgumentError(
                "Expected values of a sparse vector to be finite numbers of 32 bits, got "
                f"{brief(wrong[0])} for key {key!r}"
            ),
            "Leave the index out.",
        )
    if again.labels is not None:
        again.labels = list(map(plain_text, again.labels))
        texts.extend(again.labels)
    again.values = list(map(float, again.values))
    stored = StoredVector(again.to_dict())
    stored.json = json_text(stored)
    return stored
