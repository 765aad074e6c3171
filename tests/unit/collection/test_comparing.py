"""`compare`: what two answers have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

import chroma_nb
from chroma_nb.collection.results import QueryResult
from chroma_nb.errors import InvalidArgumentError
from tests.stores import private_settings

if TYPE_CHECKING:
    from collections.abc import Iterator


def answer(*ids: list[str], documents: bool = True, asked: list[str] | None = None) -> QueryResult:
    made = QueryResult(
        ids=list(ids),
        distances=[[float(rank) for rank in range(len(one))] for one in ids],
        documents=[[f"text of {name}" for name in one] for one in ids] if documents else None,
        metadatas=None,
        embeddings=None,
        uris=None,
    )
    made.asked = asked
    return made


def test_what_both_have_what_moved_and_what_only_one_has() -> None:
    compared = chroma_nb.compare(answer(["a", "b", "c", "d"]), answer(["c", "b", "e"]))
    (query,) = compared.queries
    assert [(one.id, one.ranks, one.change) for one in query.records] == [
        ("a", (1, None), None),
        ("b", (2, 2), 0),
        ("c", (3, 1), 2),
        ("d", (4, None), None),
        ("e", (None, 3), None),
    ]
    assert (query.n_shared, query.n_only(0), query.n_only(1)) == (2, 2, 1)
    assert query.overlap == compared.overlap == 2 / 4
    html = compared._repr_html_()
    assert html is not None
    for text in (
        "↑ 2",
        "same",
        "only in first",
        "only in second",
        "2 records in both",
        "text of e",
    ):
        assert text in html
    assert repr(compared) == "Comparison(first, second: 1 query, overlap 0.50)"


def test_a_table_of_it_has_every_record_once() -> None:
    frame = chroma_nb.compare(
        answer(["a", "b"], ["x"]), answer(["b"], ["x"], documents=False)
    ).to_pandas()
    assert frame["id"].tolist() == ["a", "b", "x"]
    assert frame["query"].tolist() == [0, 0, 1]
    assert frame["change"].astype(object).where(frame["change"].notna(), None).tolist() == [
        None,
        1,
        0,
    ]
    assert frame["rank_first"].tolist() == [1, 2, 1]
    assert frame["document"].tolist() == ["text of a", "text of b", "text of x"]


def test_nothing_is_alike_with_nothing() -> None:
    compared = chroma_nb.compare(answer([]), answer([]))
    assert compared.overlap == 1.0
    assert "No records in either." in str(compared._repr_html_())
    assert len(compared.to_pandas()) == 0
    assert chroma_nb.compare(answer(), answer()).overlap == 1.0


def test_all_that_two_answers_of_ten_have_is_shown_and_more_says_so() -> None:
    names = [f"id{n}" for n in range(60)]
    html = chroma_nb.compare(answer(names[:10]), answer(names[10:20]))._repr_html_()
    assert html is not None
    assert all(f">{name}<" in html for name in names[:20])
    assert "showing" not in html
    html = chroma_nb.compare(answer(names[:30]), answer(names[30:]))._repr_html_()
    assert html is not None
    assert "showing 20 of 60" in html
    assert "All of it: .to_pandas()" in html


@pytest.fixture
def client() -> Iterator[Any]:
    with chroma_nb.EphemeralClient(chroma_nb.Settings(embedding="static")) as client:
        yield client


def test_two_collections_are_asked_the_same(client: Any) -> None:
    texts = {"a": "a bear", "b": "butter and bread", "c": "a large furry animal"}
    made = [client.create_collection(name) for name in ("plain", "loud")]
    made[0].add(ids=list(texts), documents=list(texts.values()))
    made[1].add(ids=list(texts), documents=["bread", "a bear", "butter"])
    compared = chroma_nb.compare(*made, query_texts=["bear", "bread"], n_results=2)
    assert compared.names == ("plain", "loud")
    for row, query in enumerate(compared.queries):
        for which, one in enumerate(made):
            found = one.query(query_texts=["bear", "bread"], n_results=2)["ids"][row]
            ranked = [each for each in query.records if each.ranks[which] is not None]
            assert [each.id for each in sorted(ranked, key=lambda each: each.ranks[which])] == found
    assert "on average of 2 queries" in str(compared._repr_html_())
    with_answer = chroma_nb.compare(
        made[0].query(query_texts="bear"), made[0], query_texts="bear", names=["before", "now"]
    )
    assert (with_answer.overlap, with_answer.names) == (1.0, ("before", "now"))


def test_answers_that_lack_something_are_compared_by_what_they_have() -> None:
    one, other = QueryResult(ids=[["a"], ["b"]]), answer(["b"], ["b"], asked=["only one"])
    (first, second) = chroma_nb.compare(one, other).queries
    assert (first.overlap, second.overlap) == (0.0, 1.0)
    assert second.records[0].distances == (None, 0.0)
    with pytest.raises(InvalidArgumentError, match="is to 0 questions"):
        chroma_nb.compare(QueryResult(ids=None), other)
    assert list(chroma_nb.compare(answer(), answer()).to_pandas())[:2] == ["query", "id"]


def test_hostile_names_and_texts_are_text() -> None:
    one = answer(["<i>id</i>"], asked=["<script>x</script>"])
    html = chroma_nb.compare(one, one, names=["<b>a</b>", "$x$"])._repr_html_()
    assert html is not None
    for markup in ("<i>id", "<script>", "<b>a"):
        assert markup not in html
    assert "\x1b" not in repr(chroma_nb.compare(one, one, names=["\x1b[2J", "b"]))
    assert "“&lt;script&gt;x&lt;/script&gt;”: 1 record in both" in html


@pytest.mark.parametrize(
    ("arguments", "query", "sentence"),
    [
        (
            (answer(["a"]), answer(["a"], ["b"])),
            {},
            "The first answer is to 1 questions, the second to 2.",
        ),
        (
            (answer(["a"]), 3),
            {},
            "Expected a QueryResult, a SearchResult or a Collection to compare, got an int: 3.",
        ),
        ((answer(["a"]), answer(["a"])), {"query_texts": "x"}, "Both are answers already"),
        ((answer(["a"]), answer(["a"])), {"names": ["x"]}, "Expected two names, got ['x']."),
    ],
)
def test_what_cannot_be_compared_is_said(arguments: Any, query: Any, sentence: str) -> None:
    with pytest.raises(InvalidArgumentError) as error:
        chroma_nb.compare(*arguments, **query)
    assert str(error.value).startswith(sentence)


def test_a_collection_wants_a_question(client: Any) -> None:
    notes = client.create_collection("notes")
    with pytest.raises(InvalidArgumentError, match="There is nothing to ask the collection"):
        chroma_nb.compare(notes, notes)
    with pytest.raises(InvalidArgumentError, match="got a GetResult"):
        chroma_nb.compare(notes.get(), notes, query_texts="x")


def test_answers_of_search_are_compared_as_those_of_query() -> None:
    with chroma_nb.Client(private_settings(embedding="static")) as client:
        notes = client.create_collection("notes")
        notes.add(ids=["a", "b", "c"], documents=["a dog", "the pump", "two pumps run"])
        words = notes.search("pump", by="words")
        for other in (notes.search("pump"), notes.query(query_texts="pump")):
            compared = chroma_nb.compare(words, other, names=["words", "other"])
            (query,) = compared.queries
            assert (query.n_shared, query.n_only(1)) == (2, 1)
            assert query.asked == ("pump", "pump")
            assert {one.document for one in query.records} == {"a dog", "the pump", "two pumps run"}
            assert compared.to_pandas()["distance_first"].isna().all()
        # Nothing but the ids is selected.
        plain = chroma_nb.Search().rank(chroma_nb.Knn("pump"))
        (query,) = chroma_nb.compare(notes.search(plain), words).queries
        assert {one.id for one in query.records} == {"a", "b", "c"}
        assert "pump" in str(
            chroma_nb.compare(notes.search(plain), notes.search(plain))._repr_html_()
        )
