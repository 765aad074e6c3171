"""`entries_of`: vectors of words, vectors that are stored, and what somebody else has stored in their place."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from chroma_nb import SparseVector
from chroma_nb.embedding import ChromaBm25EmbeddingFunction
from chroma_nb.segment.sparse_entries import Entries, Terms, entries_of
from chroma_nb.special_keys import DOCUMENT_KEY


def rows(entries: Entries) -> list[tuple[Any, ...]]:
    assert [one.dtype.name for one in entries] == ["uint32", "uint32", "float32"]
    return list(zip(*(one.tolist() for one in entries), strict=True))


def test_documents_have_the_vectors_of_the_function() -> None:
    texts = ["The quick brown foxes", None, "", "fox, fox!"]
    wanted = [
        (label, index, float(np.float32(value)))
        for label, text in zip((3, 5, 7, 9), texts, strict=True)
        for vector in ChromaBm25EmbeddingFunction()([text or ""])
        for index, value in zip(vector.indices, vector.values, strict=True)
    ]
    assert rows(entries_of(DOCUMENT_KEY, np.array([3, 5, 7, 9]), texts)) == wanted


GOOD = {"#type": "sparse_vector", "indices": [1, 4], "values": [0.5, 2]}
NONE = [
    *("text", 3, None, [1.0], {"a": 1}),
    {**GOOD, "indices": [4, 1]},
    {**GOOD, "indices": [1, 1]},
    {**GOOD, "indices": [-1, 1]},
    {**GOOD, "indices": [1, 2**32]},
    {**GOOD, "indices": [1]},
    {**GOOD, "indices": "ab"},
    {**GOOD, "values": [1.0, "x"]},
    {**GOOD, "values": None},
    {"#type": "sparse_vector"},
]


@pytest.mark.parametrize("wrong", NONE, ids=str)
def test_what_is_no_vector_counts_as_missing(wrong: Any) -> None:
    found = entries_of("sp", np.array([2, 3, 6]), [GOOD, wrong, GOOD])
    assert rows(found) == [(2, 1, 0.5), (2, 4, 2.0), (6, 1, 0.5), (6, 4, 2.0)]


def test_no_records_have_no_entries() -> None:
    for key in (DOCUMENT_KEY, "sp"):
        assert rows(entries_of(key, np.empty(0, np.int64), [])) == []
    assert rows(Entries.joined([])) == []


def test_entries_are_joined_and_chosen() -> None:
    one = entries_of("sp", np.array([2]), [GOOD])
    both = Entries.joined([one, one])
    assert rows(both.where(np.array([True, False, False, True]))) == [(2, 1, 0.5), (2, 4, 2.0)]


def test_a_query_becomes_terms() -> None:
    terms = Terms.of(SparseVector([1, 2**32 - 1], [0.1, 3]))
    assert terms.indices.tolist() == [1, 2**32 - 1]
    assert terms.weights.tolist() == [0.1, 3.0]
