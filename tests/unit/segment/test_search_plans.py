"""How each `Knn` of a search was answered, as plain values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from chroma_nb.search import Knn, Search, SparseVector
from chroma_nb.segment.searches import found_by, prepared

if TYPE_CHECKING:
    from chroma_nb.filters.expression import Expression
    from tests.unit.segment.conftest import Store


def plans_of(store: Store, rank: Any, expression: Expression | None = None) -> list[dict[str, Any]]:
    segment = store.slot().segment
    wanted = [prepared(segment.info, Search(rank=rank).limit(1), expression)]
    (found,) = found_by(segment, wanted, budget=lambda: 5, plans=True)
    assert found.plans is not None
    return found.plans


@pytest.fixture
def store(plain_store: Store) -> Store:
    plain_store.write(
        *"abc",
        embeddings=np.array([[0, 0], [1, 0], [9, 0]], dtype=np.float32),
        documents=["one bear", "two bears", "a car"],
    )
    return plain_store


def test_a_scan_of_embeddings_reads_every_row(store: Store) -> None:
    (plan,) = plans_of(store, Knn([0.0, 0.0]))
    assert (plan["strategy"], plan["rows_read"], plan["n_live"]) == ("exact", 3, 3)
    assert plan["work_bytes"] > 0
    assert plan["answered_from"] == "memory"


def test_each_part_of_a_rank_has_its_own(store: Store) -> None:
    of_words = Knn(SparseVector([1], [1.0]), key="#document", default=1)
    near, words = plans_of(store, Knn([0.0, 0.0]) + of_words)
    assert near["strategy"] == "exact"
    assert words["strategy"] == "index of the words"
    assert (words["rows_read"], words["n_allowed"]) == (0, None)
    assert words["sparse_bytes"] > 0
    # Engines are of graphs.
    assert "engine" not in words


def test_what_cannot_find_anything_is_not_looked_for(store: Store) -> None:
    (plan,) = plans_of(store, Knn([0.0, 0.0], limit=0))
    assert (plan["strategy"], plan["reason"], plan["rows_read"]) == ("empty", "limit=0", 0)
