"""`Postings`: each index with its records, and values in one byte, in two, or as they are."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chroma_nb.segment.postings import Postings
from chroma_nb.segment.sparse_entries import Entries
from chroma_nb.segment.sparse_scores import Part, SortedEntries


def entries_of(rows: list[tuple[int, int, float]]) -> Entries:
    columns = list(zip(*rows, strict=True)) or [[], [], []]
    kinds = (np.uint32, np.uint32, np.float32)
    return Entries(*(np.array(one, dtype=kind) for one, kind in zip(columns, kinds, strict=True)))


def found(part: Part, index: int) -> list[tuple[int, float]]:
    places = part.places(np.array([index], dtype=np.uint32))
    rows = [slice(*one) for one in zip(places.starts.tolist(), places.stops.tolist(), strict=True)]
    assert len(rows) <= 1
    return [
        pair for one in rows for pair in zip(*(x.tolist() for x in part.rows(one)), strict=True)
    ]


PLACES = st.tuples(st.integers(0, 30), st.sampled_from([0, 1, 7, 2**31, 2**32 - 1]))
VALUES = st.floats(width=32, allow_nan=False)


@given(st.dictionaries(PLACES, VALUES))
def test_each_index_has_its_records(given_values: dict[tuple[int, int], float]) -> None:
    rows = [(label, index, value) for (label, index), value in given_values.items()]
    postings = Postings(entries_of(rows))
    assert len(postings) == len(rows)
    indices = [0, 1, 2, 7, 2**31, 2**32 - 1]
    for part in (postings, SortedEntries(entries_of(sorted(rows)))):
        for index in indices:
            assert found(part, index) == sorted(
                (label, value) for label, one, value in rows if one == index
            )
        places = part.places(np.array(indices, dtype=np.uint32))
        assert [indices[at] for at in places.terms.tolist()] == sorted({one[1] for one in rows})
    again = postings.entries()
    got = list(zip(*(one.tolist() for one in again), strict=True))
    assert sorted(got) == sorted(rows)


@pytest.mark.parametrize(
    ("values", "kind", "n_odd"),
    [
        (np.arange(256), "uint8", 0),
        (np.append(np.tile(np.arange(256), 40), 1000 + np.arange(600)), "uint8", 600),
        (np.tile(np.arange(300), 3), "uint16", 0),
        (np.arange(70_000), None, 0),
    ],
)
def test_values_take_as_little_as_they_can(
    values: np.ndarray, kind: str | None, n_odd: int
) -> None:
    values = np.random.default_rng(1).permutation(values).astype(np.float32)
    n = len(values)
    indices = np.arange(n) % 10
    entries = Entries(np.arange(n).astype(np.uint32), indices.astype(np.uint32), values)
    postings = Postings(entries)
    assert (None if postings._codes is None else postings._codes.dtype.name) == kind
    assert len(postings._odd_rows) == n_odd
    for index in range(10):
        got = [value for _, value in found(postings, index)]
        assert np.array_equal(got, values[indices == index])
    rows = np.arange(0, n, 3)
    assert np.array_equal(postings.rows(rows)[1], postings.rows(slice(None))[1][::3])
    assert np.array_equal(postings.rows(rows)[0], postings.rows(slice(None))[0][::3])
    assert postings.nbytes >= n * (4 + (4 if kind is None else np.dtype(kind).itemsize))
