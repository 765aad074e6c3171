"""`Collection.search`: texts, expressions, what comes back, what it looks like, a reranker."""

from __future__ import annotations

import html
import json
import pickle
import re
from typing import TYPE_CHECKING, Any

import pytest

import chroma_nb
from chroma_nb import display
from chroma_nb.collection.search_result import SearchPart, SearchResult
from chroma_nb.display.extent import Extent
from chroma_nb.embedding import ChromaBm25EmbeddingFunction
from chroma_nb.errors import InvalidArgumentError
from chroma_nb.schema import Schema, SparseVectorIndexConfig, VectorIndexConfig
from chroma_nb.search import GroupBy, K, Knn, MinK, Rrf, Search, SparseVector, Val
from chroma_nb.testing import search_cases as cases

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


class Letters:
    """Embeds a text by two numbers: its length, and how often it has an e. Counts its calls."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []

    def __call__(self, input: Sequence[str]) -> list[list[float]]:
        self.calls.append(list(input))
        return [[float(len(text)), float(text.count("e"))] for text in input]

    @staticmethod
    def name() -> str:
        return "letters"

    @staticmethod
    def build_from_config(config: dict[str, Any]) -> Letters:
        return Letters()

    def get_config(self) -> dict[str, Any]:
        return {}


@pytest.fixture
def client() -> Iterator[Any]:
    with chroma_nb.EphemeralClient(chroma_nb.Settings(progress=False)) as client:
        yield client


@pytest.fixture
def five(client: Any) -> Any:
    """The five records of the examples, embedded by their letters, with sparse vectors."""
    schema = Schema().create_index(VectorIndexConfig(embedding_function=Letters()))
    schema.create_index(SparseVectorIndexConfig(), key="sp")
    made = client.create_collection("five", schema=schema)
    metadatas = [
        one if vector is None else {**one, "sp": vector}
        for one, vector in zip(cases.METADATAS, cases.SPARSE, strict=True)
    ]
    made.add(ids=cases.IDS, documents=cases.DOCUMENTS, metadatas=metadatas)
    return client.get_collection("five", embedding_function=Letters())


# -- texts ----------------------------------------------------------------------------------------


def test_a_text_is_searched_by_meaning_and_by_words(five: Any) -> None:
    result = five.search("a red apple", n_results=2)
    # a has both words, and c and b one; a is the nearest in letters, too.
    assert result["ids"][0][0] == "a"
    assert len(result["ids"][0]) == 2
    assert result["select"] == [["#document", "#metadata", "#score"]]
    names = [part.name for part in result.parts[0]]
    assert names == ["meaning", "words"]
    assert [part.query for part in result.parts[0]] == ["a red apple"] * 2
    words = five.search("red apple", by="words")
    assert words["ids"] == [["a", "b", "c"]]
    assert [part.name for part in words.parts[0]] == ["words"]
    meaning = five.search("red apple", by="meaning", n_results=1)
    assert (meaning["ids"], meaning["scores"]) == ([["a"]], [[0.0]])


def test_what_either_finds_is_in_the_answer_and_what_both_find_is_first(five: Any) -> None:
    result = five.search("sky", n_results=5)
    places = {part.name: part.positions for part in result.parts[0]}
    assert result["ids"][0][0] == "e"
    assert places["words"] == [0, None, None, None, None]
    assert sorted(places["meaning"]) == [0, 1, 2, 3, 4]
    scores = result["scores"][0]
    assert scores == sorted(scores)
    assert scores[0] == pytest.approx(-1 / 60 - 1 / 60)


def test_a_filter_and_several_texts(five: Any) -> None:
    result = five.search(["red", "car"], by="words", where={"c": "y"})
    assert result["ids"] == [["c"], ["c", "d"]]
    assert result.asked == ["red", "car"]
    assert five.search(["red", Search(limit=1)])["ids"][1] == ["a"]


def test_words_need_no_embeddings(client: Any) -> None:
    plain = client.create_collection("plain", embedding_function=None)
    plain.add(ids=["a", "b"], embeddings=[[1.0], [2.0]], documents=["one bear", None])
    assert plain.search("bears", by="words")["ids"] == [["a"]]
    with pytest.raises(ValueError, match="by='words'"):
        plain.search("bears")
    assert plain.search("the of", by="words")["ids"] == [[]]


def test_each_text_is_embedded_once_by_the_function_of_its_key(five: Any) -> None:
    function = Letters()
    handle = five._client.get_collection("five", embedding_function=function)
    rank = Knn("red") + Knn("red", limit=3) + Knn("sky", key=K.EMBEDDING)
    handle.search([Search(rank=rank), Search(rank=Knn("red"))])
    assert function.calls == [["red", "sky"]]


def test_a_sparse_key_is_embedded_by_the_schemas_function(client: Any) -> None:
    config = SparseVectorIndexConfig(embedding_function=ChromaBm25EmbeddingFunction())
    schema = Schema().create_index(VectorIndexConfig(embedding_function=Letters()))
    made = client.create_collection("words", schema=schema.create_index(config, key="sp"))
    bm25 = ChromaBm25EmbeddingFunction()
    vectors = bm25(["a quick fox", "a slow fox"])
    made.add(
        ids=["a", "b"],
        embeddings=[[1.0, 0.0], [0.0, 1.0]],
        metadatas=[{"sp": vector} for vector in vectors],
    )
    # As a text or as a key: Chroma's client embeds the second densely.
    for key in ("sp", K("sp")):
        assert made.search(Search(rank=Knn("quick", key=key)))["ids"] == [["a"]]


def test_texts_of_keys_that_have_no_function(five: Any) -> None:
    with pytest.raises(ValueError, match="key not found in schema"):
        five.search(Search(rank=Knn("red", key="nope")))
    with pytest.raises(ValueError, match="no embedding function configured"):
        five.search(Search(rank=1 + Rrf([Knn("red", key="sp")])))


# -- expressions ----------------------------------------------------------------------------------


def test_every_record_says_where_it_was_found(five: Any) -> None:
    sparse = Knn(SparseVector([1, 2], [1.0, 0.5]), key="sp", default=5.0)
    rank = (
        Knn([9.0, 2.0], limit=1, default=100.0) + Knn("red", key=K.DOCUMENT, default=1.0) + sparse
    )
    result = five.search(Search(rank=rank).select(K.SCORE))
    assert result.parts == [
        [
            SearchPart("meaning", None, [0, None, None, None], 1),
            SearchPart("words", "red", [0, None, None, 1], 2),
            SearchPart("sp", None, [0, 1, 2, None], 3),
        ]
    ]
    assert result["ids"] == [["a", "b", "d", "c"]]
    twice = five.search(Search(rank=Knn("red") + Knn("sky")))
    assert [part.name for part in twice.parts[0]] == ["meaning", "meaning 2"]


def test_an_answer_is_chromas_dict(five: Any) -> None:
    result = five.search(
        [
            Search(rank=Knn([9.0, 2.0]), limit=2).select(K.DOCUMENT, K.SCORE),
            Search(where=K("c") == "y").limit(1),
        ]
    )
    assert isinstance(result, dict)
    assert result == {
        "ids": [["a", "d"], ["c"]],
        "documents": [["red apple", "blue car"], None],
        "embeddings": [None, None],
        "metadatas": [None, None],
        "scores": [[0.0, 2.0], None],
        "select": [["#document", "#score"], []],
    }
    assert result.rows() == [
        [
            {"id": "a", "document": "red apple", "score": 0.0},
            {"id": "d", "document": "blue car", "score": 2.0},
        ],
        [{"id": "c"}],
    ]
    with pytest.raises(AttributeError, match=r"result\['ids'\]"):
        _ = result.ids


def test_everything_that_can_be_selected(five: Any) -> None:
    result = five.search(Search(K.ID == "a").select_all())
    (row,) = result.rows()[0]
    assert row["embedding"] == [9.0, 2.0]
    assert type(row["embedding"]) is list
    assert row["metadata"] == {"c": "x", "y": 1, "sp": cases.SPARSE[0]}
    assert row["score"] == 0.0


def test_rows_keep_what_is_empty_and_leave_out_what_is_none() -> None:
    result = SearchResult(ids=[["a"]], scores=[[0.0]], documents=[[""]], metadatas=[[{}]])
    assert result.rows() == [[{"id": "a", "document": "", "metadata": {}, "score": 0.0}]]
    result = SearchResult(ids=[["a"]], scores=[[None]], documents=None, metadatas=[None])
    assert result.rows() == [[{"id": "a"}]]
    assert SearchResult({}).rows() == []


def test_no_searches_and_no_records(five: Any, client: Any) -> None:
    nothing = {name: [] for name in ("ids", "documents", "embeddings", "metadatas", "scores")}
    assert five.search([]) == {**nothing, "select": []}
    assert five.search(None) == five.search([])
    found = five.search(Search(K("c") == "nobody").select_all())
    assert found["ids"] == found["documents"] == found["embeddings"] == [[]]
    assert found["metadatas"] == found["scores"] == [[]]
    empty = client.create_collection("empty", embedding_function=Letters())
    assert empty.search("words")["ids"] == [[]]


@pytest.mark.parametrize(
    ("search", "reason"),
    [
        (Search(rank=Val(1.0) * 2), "The rank has no Knn, and a number alone scores no record"),
        (
            Search(rank=Rrf([Knn([3.0, 0.0], limit=1), Knn("blue", key=K.DOCUMENT)])),
            r"meaning found 1 record, words found 1 record; but no record .* default=1000",
        ),
        (Search(rank=Rrf([Knn([0.0, 0.0]), Knn("tree", key=K.DOCUMENT)])), "words found 0 records"),
        (Search(rank=Knn("tree", key=K.DOCUMENT)), "No document that matches has one of the words"),
        (Search(rank=Knn("the", key=K.DOCUMENT)), "very common ones do not count"),
        (Search(rank=Knn([0.0, 0.0], limit=0)), "Each Knn has limit=0"),
        (Search(rank=Knn([0.0, 0.0]), where=K("c") == "nobody"), "No record was found by meaning"),
        (Search(rank=Knn([0.0, 0.0])).limit(2, offset=9), "offset leaves out 9 .* 5 are scored"),
        (Search().limit(2, offset=9), "offset leaves out 9 records, and no more match"),
        (Search(rank=Knn([0.0, 0.0])).limit(0), "limit=0 asks for no record"),
    ],
)
def test_an_answer_without_records_says_why(five: Any, search: Search, reason: str) -> None:
    result = five.search([search, Search().limit(1)])
    assert result["ids"] == [[], ["a"]]
    assert result.reasons[1] is None
    assert re.search(reason, result.reasons[0])
    first = result.reasons[0].split(".")[0]
    for said in (_page(result), display.text(result).replace("\n ", "")):
        assert html.escape(first) in said or first in said
    assert pickle.loads(pickle.dumps(result)).reasons == result.reasons


def test_where_the_filter_alone_decides_it_has_the_reason(five: Any) -> None:
    result = five.search(Search(where=K("nobody") == 1))
    assert result.reasons == [None]
    assert "No record has the metadata key" in _page(result)


def test_a_search_is_explained_part_by_part(five: Any) -> None:
    explained = five.explain(search="red apple")
    assert list(explained["parts"]) == ["meaning", "words"]
    assert explained["parts"]["meaning"]["strategy"] == "exact"
    assert explained["parts"]["words"]["strategy"] == "index of the words"
    assert explained["n_found"] == len(five.search("red apple")["ids"][0])
    page = _page(explained)
    assert _heads(page) == ["part", "meaning", "words"]
    assert "there is no index" in page
    assert "words: index of the words" in display.text(explained)
    one = five.explain(search="apple", by="words", where={"c": "x"}, n_results=1)
    assert (one["n_found"], one["n_scored"]) == (1, 1)
    assert one["parts"]["words"]["n_allowed"] == 2
    sparse = five.explain(search=Search(rank=Knn(SparseVector([1], [1.0]), key="sp")))
    assert sparse["parts"]["sp"]["strategy"] == "index of the sparse vectors"
    assert five.explain(search=Search())["strategy"] == "storage order"
    assert five.explain(search=Search(rank=Val(1.0)))["strategy"] == "empty"
    assert "very common ones" in five.explain(search="the", by="words")["nothing_found_because"]
    assert "strategy" in five.explain(query_texts="red"), "a query is explained as before"


def test_without_room_a_search_reads_the_texts() -> None:
    settings = chroma_nb.Settings(progress=False, memory_budget="1 kB")
    with chroma_nb.EphemeralClient(settings) as client:
        made = client.create_collection("large", embedding_function=Letters())
        made.add(ids=cases.IDS, documents=cases.DOCUMENTS)
        parts = made.explain(search="red")["parts"]
        assert parts["words"]["strategy"] == "exact over all texts"
        assert parts["words"]["rows_read"] == 5
        assert parts["words"]["answered_from"] == "disk"


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ({"search": "x", "query_texts": "y"}, "query_texts"),
        ({"search": "x", "ids": ["a"]}, "ids"),
        ({"by": "words"}, "search="),
        ({"search": Search(), "by": "words"}, "by"),
        ({"search": Search(), "n_results": 3}, "n_results"),
        ({"search": "x", "by": "smell"}, "smell"),
    ],
)
def test_what_cannot_be_explained_is_named(five: Any, arguments: Any, name: str) -> None:
    with pytest.raises(InvalidArgumentError, match=name):
        five.explain(**arguments)


def _deep(n: int) -> Any:
    rank: Any = Knn("x")
    for _ in range(n):
        rank = rank - 1
    return rank


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda c: c.search(3), TypeError, "a text, a Search or a list"),
        (
            lambda c: c.search([Search(), {"rank": None}]),
            TypeError,
            r"searches\[1\] to be a text or a Search",
        ),
        (lambda c: c.search([1.0, 2.0]), TypeError, r"Search\(\)\.rank\(Knn\(embedding\)\)"),
        (lambda c: c.search(Search().rank("x")), TypeError, r"Knn\(text\)"),
        (lambda c: c.search("x", by="word"), InvalidArgumentError, "Did you mean"),
        (lambda c: c.search("x", n_results=0), InvalidArgumentError, "n_results"),
        (lambda c: c.search(Search(), by="words"), InvalidArgumentError, "by= is for texts"),
        (lambda c: c.search(["x", Search()], n_results=1), InvalidArgumentError, "n_results= is"),
        (lambda c: c.search(Search(), "newest"), ValueError, "newest"),
        (
            lambda c: c.search(Search(rank=Knn([1.0]))),
            InvalidArgumentError,
            "dimension of 2, got 1",
        ),
        (lambda c: c.search(Search(rank=_deep(1_000))), InvalidArgumentError, "256 deep"),
        (lambda c: c.search(Search(rank=_deep(100))), InvalidArgumentError, "max_rank_depth"),
        (lambda c: c.search(Search(rank=Knn("x") * 10**400)), InvalidArgumentError, "finite"),
        (
            lambda c: c.search(Search(rank=Knn("x", default=10**400))),
            InvalidArgumentError,
            "finite",
        ),
        (lambda c: c.search(Search(rank=Knn([10**400, 1]))), InvalidArgumentError, "finite"),
        (lambda c: c.search(Search(rank=Knn([True, False]))), InvalidArgumentError, "numbers"),
        (lambda c: c.search(Search(rank=Knn("x", limit=2.5))), InvalidArgumentError, "limit"),
        (
            lambda c: c.search(Search(group_by=GroupBy("c", MinK("y", 1)))),
            InvalidArgumentError,
            r"searches\[0\]\.group_by needs a rank",
        ),
        (lambda c: c.search("x", rerank=3), InvalidArgumentError, "rerank to be a function"),
        (lambda c: c.search("x", rerank=len, rerank_from=0), InvalidArgumentError, "rerank_from"),
        (lambda c: c.search(Search(), rerank=len), InvalidArgumentError, r"searches\[0\] has none"),
    ],
)
def test_what_cannot_be_searched(five: Any, call: Any, error: Any, words: str) -> None:
    with pytest.raises(error, match=words):
        call(five)


# -- a reranker -----------------------------------------------------------------------------------


def test_a_reranker_orders_the_best_anew(five: Any) -> None:
    asked: list[Any] = []

    def longest(query: str, documents: list[str]) -> list[float]:
        asked.append((query, documents))
        return [len(text) for text in documents]

    before = five.search("red car", by="words")
    assert before["ids"] == [["c", "a", "d"]]
    result = five.search("red car", by="words", rerank=longest)
    assert asked == [("red car", ["red car", "red apple", "blue car"])]
    assert result["ids"] == [["a", "d", "c"]]
    assert result["documents"] == [["red apple", "blue car", "red car"]]
    assert result.rerank_scores == [[9.0, 8.0, 7.0]]
    # The scores are those of the search, as are the places.
    of = dict(zip(before["ids"][0], before["scores"][0], strict=True))
    assert result["scores"] == [[of["a"], of["d"], of["c"]]]
    assert result.parts[0][0].positions == [1, 2, 0]


@pytest.mark.parametrize("by", ["both", "meaning", "words"])
def test_a_reranker_sees_more_than_the_page(five: Any, by: Any) -> None:
    asked: list[int] = []

    def last(query: str, documents: list[str]) -> list[int]:
        asked.append(len(documents))
        return list(range(len(documents)))

    result = five.search("red apple", by=by, n_results=1, rerank=last)
    n = 3 if by == "words" else 5
    assert asked == [n]
    everything = five.search("red apple", by=by, n_results=5)["ids"][0]
    assert result["ids"] == [everything[n - 1 :]]


def test_a_page_is_cut_from_what_was_reranked(five: Any) -> None:
    search = Search(rank=Knn("red", limit=9)).select(K.SCORE).limit(2, 1)
    result = five.search(search, rerank=lambda _, documents: range(len(documents)), rerank_from=3)
    plain = five.search(search.limit(9))["ids"][0]
    # The first three in the opposite order, and then the others.
    assert result["ids"] == [[plain[1], plain[0]]]
    assert result["documents"] == [None]
    more = five.search(search.limit(3, 2), rerank=lambda _, texts: range(len(texts)), rerank_from=3)
    assert more["ids"] == [[plain[0], plain[3], plain[4]]]
    assert more.rerank_scores == [[0.0, None, None]]


@pytest.mark.parametrize(
    "said", [None, [1.0], [[1.0], [2.0], [3.0]], [1.0, 2.0, float("nan")], ["a", "b", "c"]]
)
def test_a_reranker_that_says_something_else(five: Any, said: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="3 finite numbers"):
        five.search("red car", by="words", rerank=lambda _, documents: said)


def test_an_error_of_a_reranker_is_its_own(five: Any) -> None:
    def fails(query: str, documents: list[str]) -> list[float]:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        five.search("red", rerank=fails)


# -- what it looks like ---------------------------------------------------------------------------


def _page(result: Any) -> str:
    page = display.html(result)
    assert page is not None
    return page


def _heads(page: str) -> list[str]:
    return re.findall(r'<th scope="col"[^>]*>([^<]*)</th>', page)


def test_it_shows_scores_and_where_each_part_found_a_record(five: Any) -> None:
    page = _page(five.search("red apple"))
    assert _heads(page)[:6] == ["#", "score", "meaning", "words", "id", "document"]
    assert "5 records for “red apple”, best first" in page
    bars = [float(one) for one in re.findall(r'<meter[^>]*value="([^"]*)"', page)]
    assert bars[0] == 1
    assert bars == sorted(bars, reverse=True)
    assert min(bars) >= 0.1
    assert "<mark>red</mark>" in page
    by_words = _page(five.search("red apple", by="words"))
    assert "words" not in _heads(by_words), "there is one list alone"


def test_it_shows_bars_where_a_server_does_not_say_who_found_what(five: Any) -> None:
    result = five.search("red apple")
    result.parts = [[]]
    page = _page(result)
    assert _heads(page)[:4] == ["#", "score", "id", "document"]
    assert "best first" in page
    assert "<meter" in page
    assert "rank by words" not in result.to_pandas().columns


def test_it_shows_nothing_that_was_not_selected(five: Any) -> None:
    assert _heads(_page(five.search(Search(rank=Knn("red"))))) == ["#", "id"]
    plain = _page(five.search(Search(limit=2).select(K.SCORE)))
    assert "<meter" not in plain, "without a rank a score is a place"
    assert "best first" not in plain


def test_it_says_why_nothing_was_found(five: Any) -> None:
    page = _page(five.search("red", where={"colour": "x"}))
    assert "No records for “red”." in page
    assert "No record has the metadata key" in page
    assert "No searches" in _page(five.search([]))


def test_it_shows_more_where_that_is_asked_for(five: Any, capsys: Any) -> None:
    result = five.search("red apple")
    result.show(rows=1, columns=["score", "words", "c"])
    shown = capsys.readouterr().out
    assert shown.splitlines()[1].split() == ["#", "score", "words", "c"]
    assert shown.splitlines()[2].split() == ["1", f"{result['scores'][0][0]:.4f}", "1", "x"]
    with pytest.raises(ValueError, match="no column 'nope'"):
        result.show(columns=["nope"])


def _heads(page: str) -> list[str]:
    return re.findall(r'<th scope="col"[^>]*>([^<]*)</th>', page)


def _chosen(result: Any, *columns: str) -> list[str]:
    names = result._columns()
    extent = Extent.wanted(None, [names[one] for one in columns], 120)
    return _heads(display.html(result, extent) or "")


def test_every_name_that_a_table_shows_is_a_column_to_ask_for(client: Any, capsys: Any) -> None:
    long = "the sparse vectors of our own model"
    keys = ["id", "score", "words 2", long]
    schema = Schema().create_index(VectorIndexConfig(embedding_function=Letters()))
    for key in keys:
        schema.create_index(SparseVectorIndexConfig(), key=key)
    made = client.create_collection("names", schema=schema)
    vector = SparseVector([1], [1.0])
    metadata = {
        **dict.fromkeys(keys, vector),
        "year": 7,
        "a key of more than forty characters " * 2: 8,
    }
    made.add(ids=["a"], documents=["bear boat"], metadatas=[metadata])
    rank = Knn("bear") + Knn("bear", key=K.DOCUMENT) + Knn("boat", key=K.DOCUMENT)
    for key in keys:
        rank = rank + Knn(vector, key=key)
    result = made.search(Search(rank=rank).select_all())
    names = [part.name for part in result.parts[0]]
    assert names == ["meaning", "words", "words 2", "id", "score", "words 2 2", long]
    by_itself = [*_heads(_page(result)), "other keys"]
    for name in [*by_itself, *names, *(f"rank by {one}" for one in names), "year", "rank"]:
        result.show(columns=[name])
        assert "1" in capsys.readouterr().out
    # The record's own is meant, and the part is there as well.
    assert _chosen(result, "id", "rank by id", "score", "words") == [
        "#",
        "id",
        "id",
        "score",
        "words",
    ]
    assert _chosen(result, "rank by words", "#") == ["words", "#"]
    with pytest.raises(InvalidArgumentError, match=r"Did you mean rank by words.*Columns: id, doc"):
        result.show(columns=["rank by wrods"])
    for other in (made.get(), made.query(query_texts=["x"])):
        for name in _heads(_page(other)):
            other.show(columns=[name])


def test_what_one_search_selects_is_no_metadata_of_another(client: Any) -> None:
    made = client.create_collection("names", embedding_function=Letters())
    made.add(ids=["a"], documents=["x"], metadatas=[{"document": "no document", "rank": 5}])
    searches = [Search().select(K.DOCUMENT), Search().select(K.METADATA)]
    result = made.search(searches)
    extent = Extent.wanted(None, ["document"], 120)
    assert "no document" not in (display.html(result, extent) or "")
    assert result._columns()["rank"] == "rank", (
        "a metadata key goes before another name of a column"
    )
    only = made.search("x", by="words")
    assert _chosen(only, "words") == ["#", "words"]


def test_what_is_hostile_is_text(client: Any) -> None:
    evil = "<img src=x onerror=alert(1)>"
    schema = Schema().create_index(VectorIndexConfig(embedding_function=Letters()))
    schema.create_index(SparseVectorIndexConfig(), key=evil)
    made = client.create_collection("evil", schema=schema)
    metadata = {evil: SparseVector([1], [1.0]), "k": evil}
    made.add(ids=[evil], documents=[evil], metadatas=[metadata])
    rank = Knn(evil) + Knn(SparseVector([1], [1.0]), key=evil)
    result = made.search(Search(rank=rank).select_all())
    page = _page(result)
    assert "<img" not in page
    assert "&lt;img" in page
    assert display.text(result)


def test_an_incomplete_result_is_shown_as_it_is() -> None:
    for result in (SearchResult({}), SearchResult(ids=[["a"]]), SearchResult(ids=[])):
        assert _page(result)
        assert display.text(result)
        assert json.loads(json.dumps(result)) == result
    assert len(SearchResult(ids=[["a"]], scores=[[float("nan")]]).to_pandas()) == 1


def test_as_a_table(five: Any) -> None:
    result = five.search(["red apple", "sky"], n_results=3)
    frame = result.to_pandas()
    assert list(frame.columns)[:7] == [
        "search",
        "rank",
        "id",
        "score",
        "rank by meaning",
        "rank by words",
        "document",
    ]
    assert frame["search"].tolist() == [0, 0, 0, 1, 1, 1]
    assert frame["rank"].tolist() == [1, 2, 3, 1, 2, 3]
    first = result.to_pandas(0)
    assert "search" not in first.columns
    assert first["rank by words"].tolist()[0] == 1
    assert first["id"].tolist() == result["ids"][0]
    ranked = five.search("red car", by="words", rerank=lambda _, texts: range(len(texts)))
    assert ranked.to_pandas()["rerank score"].tolist() == [2.0, 1.0, 0.0]


def test_a_metadata_key_with_the_name_of_a_column(client: Any) -> None:
    made = client.create_collection("names", embedding_function=Letters())
    made.add(ids=["a"], documents=["x"], metadatas=[{"score": 7, "rank by words": 8, "search": 9}])
    frame = made.search("x").to_pandas()
    assert frame["metadata.score"].tolist() == [7]
    assert frame["metadata.rank by words"].tolist() == [8]
    assert frame["metadata.search"].tolist() == [9]


def test_a_result_outlives_its_store(five: Any) -> None:
    result = five.search("red apple", rerank=lambda _, texts: range(len(texts)))
    copy = pickle.loads(pickle.dumps(result))
    assert copy == result
    assert (copy.parts, copy.rerank_scores, copy.asked) == (
        result.parts,
        result.rerank_scores,
        result.asked,
    )
    assert _page(copy)
