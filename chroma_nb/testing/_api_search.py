"""The part of `APIContract` about searches."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytest

from chroma_nb.embedding import ChromaBm25EmbeddingFunction
from chroma_nb.errors import InvalidArgumentError, NotFoundError
from chroma_nb.schema_json import HNSW_DEFAULTS
from chroma_nb.search import GroupBy, K, Knn, MinK, Search, Val
from chroma_nb.testing import search_cases as cases
from chroma_nb.testing._api_base import PLACE, APITests, batch_of, configuration_of, create

if TYPE_CHECKING:
    import uuid
    from collections.abc import Sequence

    from chroma_nb.api.base import API

q = cases.q


class SearchTests(APITests):
    """Tests of what an API does with searches."""

    @staticmethod
    def five(
        api: API, space: str = "l2", *, sparse: bool = False, weighted: bool = False
    ) -> uuid.UUID:
        """Return a collection of the five records of the examples.

        Args:
            api: The API.
            space: Its distance.
            sparse: Whether they have their sparse vectors, with an index.
            weighted: Whether that weights queries by how rare each index is.
        """
        schema = cases.indexed(weighted) if sparse else None
        name = f"five-{space}-{'sparse' if sparse else 'dense'}-{'weighted' if weighted else ''}x"
        info = api.create_collection(
            name,
            # Beside a schema it may only say what is usual.
            {**configuration_of(space), "hnsw": {**HNSW_DEFAULTS, "space": space}},
            None,
            get_or_create=False,
            schema=schema,
            **PLACE,
        )
        metadatas = cases.METADATAS
        if sparse:
            metadatas = [
                one if vector is None else {**one, "sp": vector.to_dict()}
                for one, vector in zip(metadatas, cases.SPARSE, strict=True)
            ]
        batch = batch_of(
            cases.IDS, cases.EMBEDDINGS, documents=cases.DOCUMENTS, metadatas=metadatas
        )
        api.add(info.id, batch, **PLACE)
        return info.id

    @staticmethod
    def check(api: API, collection_id: uuid.UUID, some: Sequence[cases.Case]) -> None:
        """Carry out searches, and compare what they find."""
        asked = [one.search.select(K.SCORE) for one in some]
        answers = api.search(collection_id, asked, **PLACE)
        assert len(answers) == len(some)
        for case, found in zip(some, answers, strict=True):
            expected = cases.pairs(case.found)
            assert found.ids == [name for name, _ in expected], case
            scores = [score for _, score in expected]
            assert found.scores == pytest.approx(scores, abs=1e-5, nan_ok=True), case

    def test_what_searches_find(self, api: API) -> None:
        for space in ("l2", "cosine", "ip"):
            some = [one for one in cases.DENSE_CASES if one.space == space]
            self.check(api, self.five(api, space), some)

    def test_what_searches_of_sparse_vectors_find(self, api: API) -> None:
        collection_id = self.five(api, sparse=True)
        self.check(api, collection_id, cases.SPARSE_CASES)
        search = Search(rank=cases.s()).select("sp", "y")
        (found,) = api.search(collection_id, [search], **PLACE)
        first = cases.SPARSE[0]
        assert first is not None
        assert found.metadatas is not None
        assert found.metadatas[0] == {"y": 1, "sp": first.to_dict()}
        api.unload(collection_id, **PLACE)
        self.check(api, collection_id, cases.SPARSE_CASES)
        self.check(api, self.five(api, sparse=True, weighted=True), [cases.WEIGHTED])

    def test_words_of_the_documents_are_found(self, api: API) -> None:
        collection_id = self.five(api)
        # "red" and "apple", of which two documents of five each have one: ln(1 + 3.5 / 2.5) times its weights.
        query = ChromaBm25EmbeddingFunction()(["red apple"])[0]
        (found,) = api.search(
            collection_id, [Search(rank=Knn(query, key=K.DOCUMENT)).select(K.SCORE)], **PLACE
        )
        weight = query.values[0]
        assert query.values == [weight, weight]
        once = math.log(1 + 3.5 / 2.5) * weight * weight
        assert found.ids == ["a", "b", "c"]
        assert found.scores == pytest.approx([1 - 2 * once, 1 - once, 1 - once])

    def test_what_is_selected(self, api: API) -> None:
        collection_id = self.five(api)
        search = Search(rank=q(), limit=2)
        (found,) = api.search(collection_id, [search], **PLACE)
        assert found.ids == ["a", "b"]
        assert (found.scores, found.documents, found.metadatas) == (None, None, None)
        assert found.embeddings is None
        (found,) = api.search(collection_id, [search.select_all()], **PLACE)
        assert found.documents == ["red apple", "green apple"]
        assert found.metadatas == [{"c": "x", "y": 1}, {"c": "x", "y": 2}]
        assert found.embeddings is not None
        assert found.embeddings.tolist() == [[0, 0], [1, 0]]
        assert found.scores == [0, 1]
        every = Search(rank=q())
        (found,) = api.search(collection_id, [every.select("c")], **PLACE)
        assert found.metadatas == [{"c": "x"}, {"c": "x"}, {"c": "y"}, {"c": "y"}, None]
        (found,) = api.search(collection_id, [every.select("c", K.METADATA)], **PLACE)
        assert found.metadatas == cases.METADATAS
        (found,) = api.search(collection_id, [every.select("#uri", "zz")], **PLACE)
        assert found.metadatas == [None] * 5

    def test_each_search_has_an_answer_of_its_own(self, api: API) -> None:
        collection_id = self.five(api)
        first = Search(rank=q(), limit=2).select(K.DOCUMENT, K.SCORE)
        second = Search(where=K("c") == "y").limit(1)
        answers = api.search(collection_id, [first, second, first], **PLACE)
        assert [one.ids for one in answers] == [["a", "b"], ["c"], ["a", "b"]]
        assert [one.documents for one in answers] == [
            answers[0].documents,
            None,
            answers[2].documents,
        ]
        assert [one.scores for one in answers] == [[0, 1], None, [0, 1]]
        assert api.search(collection_id, [], **PLACE) == []

    def test_where_each_query_found_a_record(self, api: API) -> None:
        collection_id = self.five(api)
        rank = q(limit=2, default=9.0) + cases.p(limit=3, default=9.0)
        (found,) = api.search(collection_id, [Search(rank=rank)], **PLACE)
        assert found.ids == ["b", "a", "d"]
        assert found.positions is not None
        assert found.positions.tolist() == [[1, 0, -1], [1, 2, 0]]
        assert (found.n_found, found.n_scored) == ([2, 3], 3)
        page = Search(rank=rank, limit={"offset": 1, "limit": 1})
        both = Search(rank=q(limit=1) + cases.p(limit=1))
        first, second, third = api.search(collection_id, [page, both, Search()], **PLACE)
        assert (first.n_found, first.n_scored, len(first.ids)) == ([2, 3], 3, 1)
        assert (second.n_found, second.n_scored, second.ids) == ([1, 1], 0, [])
        assert (third.n_found, third.n_scored) == (None, None)

    def test_how_each_query_was_answered(self, api: API) -> None:
        collection_id = self.five(api, sparse=True)
        words = ChromaBm25EmbeddingFunction()(["red apple"])[0]
        rank = q(limit=2) + Knn(words, key=K.DOCUMENT) + cases.s() + q(limit=0)
        asked = [Search(rank=rank), Search(where=K("c") == "x", rank=q()), Search()]
        first, second, third = api.search(collection_id, asked, plans=True, **PLACE)
        assert first.plans is not None
        assert second.plans is not None
        dense, of_words, sparse, nothing = first.plans
        assert (dense["strategy"], dense["n_found"], dense["rows_read"]) == ("exact", 2, 5)
        assert (of_words["n_found"], sparse["n_found"]) == (3, 3)
        assert (nothing["strategy"], nothing["n_found"]) == ("empty", 0)
        assert all(one["reason"] and one["work_bytes"] >= 0 for one in first.plans)
        assert second.plans[0]["strategy"] == "exact over the matches"
        assert (second.plans[0]["n_allowed"], second.plans[0]["rows_read"]) == (2, 2)
        assert not third.plans
        assert api.search(collection_id, asked[:1], **PLACE)[0].plans is None

    def test_nothing_is_found_where_nothing_is(self, api: API) -> None:
        info = create(api, "empty")
        asked = [Search(rank=q()).select_all(), Search().select_all(), Search(K("a") == 1)]
        for found in api.search(info.id, asked[:2], **PLACE):
            assert (found.ids, found.documents, found.metadatas) == ([], [], [])
            assert found.scores == []
            assert found.embeddings is not None
            assert len(found.embeddings) == 0
        assert api.search(info.id, asked[2:], **PLACE)[0].ids == []

    def test_what_was_written_is_found_and_what_was_deleted_is_not(self, api: API) -> None:
        collection_id = self.five(api)
        api.update(collection_id, batch_of(["a", "c"], [[9.0, 9.0], [0.0, 0.0]]), **PLACE)
        api.delete(collection_id, ids=["d"], **PLACE)
        (found,) = api.search(collection_id, [Search(rank=q()).select(K.SCORE)], **PLACE)
        assert found.ids == ["c", "b", "e", "a"]
        assert found.scores == [0, 1, 16, 162]
        # An update keeps a record's place.
        assert api.search(collection_id, [Search()], **PLACE)[0].ids == ["a", "b", "c", "e"]

    @pytest.mark.parametrize(
        ("search", "words"),
        [
            pytest.param(
                Search(rank=Knn([1.0, 2.0, 3.0])), "dimension of 2, got 3", id="dimension"
            ),
            pytest.param(Search(rank=Knn([])), r"got \[\]", id="no numbers"),
            pytest.param(Search(rank=Knn([1.0, float("nan")])), "finite", id="NaN"),
            pytest.param(Search(rank=q() * float("inf")), "finite", id="infinity"),
            pytest.param(Search(rank=Knn("words")), "(?i)text", id="text"),
            pytest.param(Search(rank=q(key="sp")), "'sp'", id="dense query of a key"),
            pytest.param(
                Search(rank=Knn(cases.s().query)), "SparseVector", id="no index of the embeddings"
            ),
            pytest.param(Search(rank=cases.s()), "SparseVector", id="no index of the key"),
            pytest.param(Search(rank=q(limit=-1)), "limit", id="negative Knn limit"),
            pytest.param(Search().limit(-1), "limit", id="negative limit"),
            pytest.param(Search().limit(1, -1), "offset", id="negative offset"),
            pytest.param(
                Search(group_by=GroupBy("c", MinK("y", 1))), "needs a rank", id="groups of no rank"
            ),
            pytest.param(
                Search(rank=q(), group_by=GroupBy("#document", MinK("y", 1))),
                "metadata keys",
                id="groups of documents",
            ),
            pytest.param(
                Search(rank=q(), group_by=GroupBy("c", MinK([], 1))), "at least one", id="by no key"
            ),
            pytest.param(
                Search(rank=q(), group_by=GroupBy("c", MinK("y", 0))),
                "at least one",
                id="none kept",
            ),
        ],
    )
    def test_what_means_nothing_is_refused(self, api: API, search: Search, words: str) -> None:
        collection_id = self.five(api)
        with pytest.raises(InvalidArgumentError, match=words):
            api.search(collection_id, [Search(), search], **PLACE)

    def test_too_much_is_refused(self, api: API) -> None:
        collection_id = self.five(api)
        deep: Any = q()
        for _ in range(70):
            deep = deep - 1
        for searches, setting in (
            ([Search(limit=1)] * 101, "max_searches"),
            ([Search(rank=q() + q() + q())] * 67, "max_search_queries"),
            ([Search(rank=deep)], "max_rank_depth"),
            ([Search(rank=q() + Val(1) * 2 - sum(map(Val, range(1_000))))], "max_rank_nodes"),
            (
                [Search(rank=q() + sum(map(Val, range(900))))] * 12,
                "10 times Settings.max_rank_nodes",
            ),
        ):
            with pytest.raises(InvalidArgumentError, match=setting):
                api.search(collection_id, searches, **PLACE)

    def test_only_a_search_is_one(self, api: API) -> None:
        collection_id = self.five(api)
        wrong: Any = [{"rank": None}]
        with pytest.raises(TypeError, match="Search"):
            api.search(collection_id, wrong, **PLACE)

    def test_a_collection_that_is_not_there(self, api: API, notes: uuid.UUID) -> None:
        api.delete_collection("notes", **PLACE)
        with pytest.raises(NotFoundError):
            api.search(notes, [Search()], **PLACE)

    def test_a_search_of_a_collection_that_is_not_loaded(self, api: API) -> None:
        collection_id = self.five(api)
        search = Search(K("c") == "x", q() + 1).select_all()
        before = api.search(collection_id, [search], **PLACE)
        api.unload(collection_id, **PLACE)
        after = api.search(collection_id, [search], **PLACE)
        assert [one.ids for one in after] == [one.ids for one in before] == [["a", "b"]]
        assert [one.scores for one in after] == [one.scores for one in before]
