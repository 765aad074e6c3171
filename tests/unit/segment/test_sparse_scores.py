"""Distances from entries: rarity, masks, and memory that is not free. What they are: test_sparse_index.py."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from chroma_nb import SparseVector
from chroma_nb.errors import MemoryBudgetError
from chroma_nb.memory.workspace import WORKSPACE
from chroma_nb.segment import sparse_scores
from chroma_nb.segment.sparse_entries import Entries, Terms
from chroma_nb.segment.sparse_scores import SortedEntries, scan

#: The first records of the contract's worked cases: a 1:1.0 2:1.0, b 2:2.0, c 3:1.0, d 1:0.5, and e without a vector.
RECORDS = Entries(
    np.array([0, 0, 1, 2, 3], dtype=np.uint32),
    np.array([1, 2, 2, 3, 1], dtype=np.uint32),
    np.array([1.0, 1.0, 2.0, 1.0, 0.5], dtype=np.float32),
)
QUERY = Terms.of(SparseVector([1, 2], [1.0, 0.5]))
NAN = float("nan")


def distances(idf: bool = False, mask: Any = None) -> list[float]:
    halves = [RECORDS.where(RECORDS.labels < 1), RECORDS.where(RECORDS.labels >= 1)]
    return scan(QUERY, halves, 5, 5, idf=idf, mask=mask).tolist()


def test_worked_examples() -> None:
    assert distances() == pytest.approx([-0.5, 0.0, NAN, 0.5, NAN], nan_ok=True)
    assert distances(idf=True) == pytest.approx(
        [-0.3132031, 0.1245313, NAN, 0.5622656, NAN], nan_ok=True, abs=1e-6
    )


def test_a_mask_hides_records_and_changes_no_rarity() -> None:
    mask = np.array([True, False, True, True, True])
    assert distances(idf=True, mask=mask) == pytest.approx(
        [-0.3132031, NAN, NAN, 0.5622656, NAN], nan_ok=True, abs=1e-6
    )


def test_numbers_of_all_labels_are_refused_where_there_is_no_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(WORKSPACE, "_free", lambda: 0)
    monkeypatch.setattr(WORKSPACE, "_patience", 0.0)
    with pytest.raises(MemoryBudgetError, match="search by sparse vectors"):
        scan(QUERY, [RECORDS], 1 << 30, 5, idf=False, mask=None)


@pytest.mark.parametrize(("few", "together"), [(32, 1 << 16), (0, 1), (0, 7), (0, 1 << 16)])
def test_entries_in_any_order_up_to_the_largest_index(
    few: int, together: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sparse_scores, "_FEW_TERMS", few)
    monkeypatch.setattr(sparse_scores, "_TOGETHER_ENTRIES", together)
    numbers = np.random.default_rng(7)
    pairs = np.unique(numbers.integers(0, [200, 40], size=(900, 2)), axis=0)
    numbers.shuffle(pairs)
    labels, indices = pairs.T.astype(np.uint32)
    # The first and the last that 32 bits have.
    indices[indices == 39] = 2**32 - 1
    entries = Entries(labels, indices, numbers.integers(-4, 5, len(pairs)).astype(np.float32))
    query = SparseVector([0, 7, 8, 41, 2**32 - 1], [1.0, -2.0, 3.0, 4.0, 5.0])
    expected = np.full(200, np.nan)
    for label, index, value in zip(*(column.tolist() for column in entries), strict=True):
        if index in query.indices:
            so_far = 1.0 if np.isnan(expected[label]) else expected[label]
            expected[label] = so_far - query.values[query.indices.index(index)] * value
    halves = [entries.where(labels < 90), entries.where(labels >= 90)]
    found = scan(Terms.of(query), halves, 200, 200, idf=False, mask=None)
    assert np.array_equal(found, expected, equal_nan=True)


def test_a_query_of_many_indices_looks_at_its_entries_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    n, calls = 200_000, []
    read = SortedEntries.rows
    monkeypatch.setattr(
        SortedEntries, "rows", lambda self, rows: calls.append(1) or read(self, rows)
    )
    query = Terms.of(SparseVector(list(range(n)), [1.0] * n))
    labels = np.arange(0, n, 4, dtype=np.uint32) % 3
    entries = Entries(labels, np.arange(0, n, 4, dtype=np.uint32), np.ones(n // 4, np.float32))
    found = scan(query, [entries], 4, 4, idf=False, mask=None)
    assert found.tolist() == pytest.approx(
        [1.0 - np.count_nonzero(labels == label) for label in range(3)] + [NAN], nan_ok=True
    )
    assert len(calls) <= 1 + (n // 4) // sparse_scores._TOGETHER_ENTRIES
