"""`found_by`: searches on one segment; what it asks of the segment, and where each part found a record."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from chroma_nb.embedding import ChromaBm25EmbeddingFunction
from chroma_nb.errors import InvalidArgumentError
from chroma_nb.filters.expression import Compare
from chroma_nb.schema import Schema, SparseVectorIndexConfig
from chroma_nb.schema_json import stated
from chroma_nb.search import K, Knn, Search, SparseVector
from chroma_nb.segment.searches import found_by, prepared
from chroma_nb.segment.segment import Segment

if TYPE_CHECKING:
    from chroma_nb.api.answers import Found
    from tests.unit.segment.conftest import Store

SPARSE = Knn(SparseVector([1], [1.0]), key="sp")


def budget() -> int:
    return 5


@pytest.fixture
def segment(plain_store: Store) -> Segment:
    """The records "a" at 0, "b" at 1 and "c" at 9, of which "b" was given its place last."""
    plain_store.write(
        *"abc",
        embeddings=np.array([[0, 0], [5, 0], [9, 0]], dtype=np.float32),
        documents=["one bear", "two bears", "a car"],
        metadatas=[{"n": 1}, {"n": 2}, None],
    )
    plain_store.write("b", embeddings=np.array([[1, 0]], dtype=np.float32), existing="only")
    found: Segment = plain_store.slot().segment
    return found


def search(segment: Segment, *searches: Search, expression: Any = None) -> list[Found]:
    wanted = [prepared(segment.info, one, expression) for one in searches]
    return found_by(segment, wanted, budget=budget)


def test_records_and_what_was_selected_of_them(segment: Segment) -> None:
    near = Knn([9.0, 0.0], limit=2)
    every, few = search(segment, Search(rank=near).select_all(), Search().limit(2, 1).select("n"))
    assert (every.ids, every.scores) == (["c", "b"], [0, 64])
    assert (every.documents, every.metadatas) == (["a car", "two bears"], [None, {"n": 2}])
    assert every.embeddings is not None
    assert every.embeddings.tolist() == [[9, 0], [1, 0]]
    assert every.positions is not None
    assert every.positions.tolist() == [[0, 1]]
    # In storage order, which is not that of the rows any more.
    assert (few.ids, few.metadatas, few.scores) == (["b", "c"], [{"n": 2}, None], None)


def test_equal_scores_are_in_storage_order(segment: Segment) -> None:
    (found,) = search(segment, Search(rank=Knn([1.0, 0.0]) * 0).select(K.SCORE))
    assert (found.ids, found.scores) == (["a", "b", "c"], [0, 0, 0])


def test_a_filter_is_evaluated_once_for_all_parts(
    segment: Segment, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    mask = type(segment.metadata).mask
    monkeypatch.setattr(
        type(segment.metadata), "mask", lambda self, *rest: asked.append(rest) or mask(self, *rest)
    )
    words = Knn(ChromaBm25EmbeddingFunction()(["bear"])[0], key=K.DOCUMENT)
    rank = Knn([0.0, 0.0]) + Knn([1.0, 0.0]) + words
    (found,) = search(segment, Search(rank=rank), expression=Compare("n", "$eq", 2))
    assert found.ids == ["b"]
    assert len(asked) == 1


def test_dense_queries_are_looked_for_together(
    segment: Segment, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    nearest = Segment.nearest

    def counted(self: Segment, queries: Any, *rest: Any, **options: Any) -> Any:
        asked.append(len(queries))
        return nearest(self, queries, *rest, **options)

    monkeypatch.setattr(Segment, "nearest", counted)
    rank = Knn([0.0, 0.0], limit=1, default=9) + Knn([9.0, 0.0], limit=3, default=9)
    (found,) = search(segment, Search(rank=rank))
    assert asked == [2]
    assert found.positions is not None
    assert dict(zip(found.ids, found.positions.T.tolist(), strict=True)) == {
        "a": [0, 2],
        "b": [-1, 1],
        "c": [-1, 0],
    }


def test_a_sparse_key_is_weighted_as_the_schema_says(segment: Segment) -> None:
    info = segment.info
    with pytest.raises(InvalidArgumentError, match="'sp' with type 'SparseVector'"):
        prepared(info, Search(rank=SPARSE), None)
    for weighted in (True, False):
        schema = Schema().create_index(SparseVectorIndexConfig(bm25=weighted), key="sp")
        indexed = replace(info, schema=stated(schema.serialize_to_json()))
        assert prepared(indexed, Search(rank=SPARSE), None).weighted == {"sp": weighted}
    words = Knn(SparseVector([1], [1.0]), key="#document")
    assert prepared(info, Search(rank=words + Knn([1.0])), None).weighted == {"#document": True}


def test_all_searches_are_checked_before_the_first_is_carried_out(
    segment: Segment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(segment.metadata), "select", lambda *_, **__: pytest.fail("too early"))
    with pytest.raises(InvalidArgumentError, match="dimension of 2, got 1"):
        search(segment, Search(), Search(rank=Knn([1.0])))
