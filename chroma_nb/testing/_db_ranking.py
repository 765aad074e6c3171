"""The part of `DBContract` about `DB.ranking`: a DB that has none passes over it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from chroma_nb.db.base import DB, Changes, RecordRows
from chroma_nb.errors import InvalidArgumentError
from chroma_nb.filters.expression import DocumentMatches
from chroma_nb.filters.parsing import parse_where, parse_where_document
from chroma_nb.index import exact

if TYPE_CHECKING:
    import uuid

    from chroma_nb.db.ranking import VectorRanking

_DIMENSION = 5
_SPACES: Any = ("l2", "ip", "cosine")


def _vectors(n: int) -> np.ndarray:
    """Some of them equal, one of zeros."""
    found = np.random.default_rng(n).standard_normal((n, _DIMENSION)).astype(np.float32)
    found[1::4] = found[0]
    found[-1] = 0
    return found


def _commit(
    db: DB,
    collection: uuid.UUID,
    ids: list[str],
    vectors: np.ndarray | None,
    removed: np.ndarray,
    sequences: np.ndarray,
    numbers: list[int],
) -> None:
    """Commit records with labels of their own, or where they have no vectors with those of the removed ones."""
    at = db.extent(collection)
    n_new = len(ids) - len(removed)
    given = np.empty((0, _DIMENSION), dtype=np.float32) if vectors is None else vectors
    labels = removed if vectors is None else at.next_label + np.arange(len(ids))
    rows = RecordRows(
        labels,
        sequences,
        ids,
        [f"text of {one}" for one in ids],
        [None] * len(ids),
        [json.dumps({"n": number}) for number in numbers],
    )
    dimension = None if vectors is None else _DIMENSION
    db.commit(
        collection,
        Changes(rows, removed, given, at.next_label, n_new, dimension, n_new, at.version),
    )


class RankingTests:
    """What a `DB` has to do that has a `VectorRanking`."""

    @pytest.fixture
    def ranked(self, db: DB, notes: uuid.UUID) -> VectorRanking:
        """The collection "notes", some of whose records were changed, and what ranks them."""
        if db.ranking is None:
            pytest.skip("it does not compare vectors itself")
        nothing = np.empty(0, dtype=np.int64)
        ids = [f"{row:02}" for row in range(40)]
        _commit(db, notes, ids, _vectors(40), nothing, np.arange(40), list(range(40)))
        # New vectors for some, and for others new texts alone; their places in storage order stay.
        moved, changed = np.array([2, 9]), np.array([4, 12, 13])
        _commit(db, notes, ["02", "09"], _vectors(2), moved, moved, [2, 9])
        _commit(db, notes, ["04", "12", "13"], None, changed, changed, [99, 12, 13])
        gone = Changes(
            RecordRows.empty(), np.array([0, 7]), np.empty((0, 5), np.float32), 42, 0, None, -2
        )
        db.commit(notes, gone)
        return db.ranking

    @pytest.mark.parametrize("space", _SPACES)
    def test_it_ranks_all_that_match_by_bounds(
        self, db: DB, notes: uuid.UUID, ranked: VectorRanking, space: Any
    ) -> None:
        assert ranked.name
        filters: list[tuple[Any, Any]] = [
            (None, None),
            (parse_where({"n": {"$gte": 30}}), None),
            (parse_where_document({"$contains": "of 1"}), None),
            (None, ["04", "09", "12", "00", "nobody"]),
            (parse_where({"n": {"$lt": 10}}), ["02", "04", "05", "07"]),
            (parse_where({"n": -1}), None),
        ]
        for query in (_vectors(40)[0], _vectors(3)[1], np.zeros(5, dtype=np.float32)):
            for expression, ids in filters:
                matches = db.select(notes, expression, ids=ids)
                found = ranked.rank(notes, query, 100, space, expression, ids=ids)
                assert sorted(found.labels.tolist()) == sorted(matches.tolist())
                assert ranked.count(notes, expression, ids=ids) == len(matches)
                assert 0 <= ranked.count(notes, expression, ids=ids, roughly=True) <= 38
                kinds = [np.int64, np.int64, np.float32, np.float32]
                assert [array.dtype for array in found] == kinds
                rows = db.fetch(notes, found.labels, ())
                assert rows.sequences.tolist() == found.sequences.tolist()
                order = np.lexsort((found.sequences, found.bounds))
                assert order.tolist() == list(range(len(matches)))
                distances = exact.distances(space, query, db.vectors(notes).read(found.labels))
                assert np.all(found.bounds <= distances)
                assert np.all(distances <= found.upper)
                np.testing.assert_allclose(found.bounds, distances, rtol=1e-6, atol=1e-6)
                some = ranked.rank(notes, query, 3, space, expression, ids=ids)
                assert some.labels.tolist() == found.labels[:3].tolist()
                assert some.bounds.tolist() == found.bounds[:3].tolist()
        before = ranked.rank(notes, _vectors(3)[1], 100, space)
        db.compact(notes)
        assert db.ranking is not None
        after = db.ranking.rank(notes, _vectors(3)[1], 100, space)
        assert after.bounds.tolist() == before.bounds.tolist()
        assert after.sequences.tolist() == before.sequences.tolist()

    def test_what_is_committed_is_ranked_at_once(
        self, db: DB, notes: uuid.UUID, ranked: VectorRanking
    ) -> None:
        new = np.full((1, 5), 9, dtype=np.float32)
        at = db.extent(notes).next_sequence
        nothing = np.empty(0, dtype=np.int64)
        _commit(db, notes, ["new"], new, nothing, np.array([at]), [7])
        found = ranked.rank(notes, new[0], 1, "l2")
        assert (found.sequences.tolist(), found.bounds.tolist()) == ([at], [0.0])

    def test_it_refuses_a_pattern_that_cannot_be_read(
        self, notes: uuid.UUID, ranked: VectorRanking
    ) -> None:
        wrong = DocumentMatches("a(b", negated=False)
        with pytest.raises(InvalidArgumentError):
            ranked.rank(notes, _vectors(1)[0], 1, "l2", wrong)
        with pytest.raises(InvalidArgumentError):
            ranked.count(notes, wrong)

    def test_a_graph_changes_no_answer_where_it_is_asked_for_all(
        self, db: DB, notes: uuid.UUID, ranked: VectorRanking
    ) -> None:
        assert ranked.n_covered(notes) == 0
        covered: list[int] = []
        if not ranked.build(notes, "l2", covered.append):
            assert (ranked.n_covered(notes), ranked.has_graphs) == (0, False)
            return
        end = ranked.n_covered(notes)
        assert 0 < end <= db.extent(notes).next_label
        assert sum(covered) >= end
        for expression in (None, parse_where({"n": {"$lt": 30}})):
            for query in (_vectors(3)[1], _vectors(40)[6]):
                by_graph = ranked.rank(notes, query, 5, "l2", expression, fetch=100)
                found = ranked.rank(notes, query, 5, "l2", expression)
                assert by_graph.bounds.tolist() == found.bounds.tolist()
                assert by_graph.sequences.tolist() == found.sequences.tolist()
