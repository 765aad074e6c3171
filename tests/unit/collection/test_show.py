"""`result.show()` and `Settings.display_rows`: as many rows, columns and characters as somebody asks for."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

import chroma_nb
from chroma_nb import GetResult, QueryResult, display
from chroma_nb.display.extent import MOST_BYTES, Extent
from chroma_nb.errors import InvalidArgumentError

if TYPE_CHECKING:
    from collections.abc import Iterator

N = 60


@pytest.fixture
def client() -> Iterator[Any]:
    with chroma_nb.EphemeralClient(chroma_nb.Settings(embedding="static")) as client:
        yield client


@pytest.fixture
def notes(client: Any) -> Any:
    notes = client.create_collection("notes", metadata={"hnsw:space": "cosine"})
    notes.add(
        ids=[f"id{i}" for i in range(N)],
        documents=[f"word{i} {'and more of it ' * 20}the end of {i}" for i in range(N)],
        metadatas=[
            {"year": 1_900 + i, **{f"key{j}": f"value {j}" for j in range(9)}} for i in range(N)
        ],
    )
    return notes


def shown(result: Any, rows: Any = None, columns: Any = None, chars: Any = 120) -> str:
    page = display.html(result, Extent.wanted(rows, columns, chars))
    assert page is not None
    return page


def heads(page: str) -> list[str]:
    return re.findall(r'<th scope="col"[^>]*>([^<]*)</th>', page)


def n_rows(page: str) -> int:
    return page.count("<tr>") - page.count("<thead><tr>")


def test_as_many_rows_as_wanted(notes: Any) -> None:
    result = notes.query(query_texts=["word5"], n_results=N)
    page = shown(result, rows=50)
    assert n_rows(page) == 50
    assert f"showing 50 of {N} records" in page
    assert n_rows(shown(notes.get(), rows=N)) == N


def test_the_hint_of_a_short_table_is_a_call_that_shows_more(
    notes: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    result = notes.get()
    (call,) = re.findall(r"\.show\(rows=(\d+)\)", result._repr_html_())
    result.show(rows=int(call))
    assert capsys.readouterr().out.count("\nid") - 1 == int(call)


@pytest.mark.parametrize("of", ["get", "query"])
def test_the_columns_that_are_wanted_in_their_order(notes: Any, of: str) -> None:
    result = notes.get() if of == "get" else notes.query(query_texts=["word5"])
    page = shown(result, columns=["key8", "id", "document"])
    assert (
        heads(page) == ["key8", "id", "document"]
        if of == "get"
        else ["#", "key8", "id", "document"]
    )
    assert "value 8" in page
    assert "value 7" not in page
    (only,) = [heads(shown(result, columns=["key3"]))[-1]]
    assert only == "key3"


def test_every_column_that_a_table_has_can_be_asked_for(notes: Any) -> None:
    everything = ["metadatas", "documents", "embeddings", "uris", "distances"]
    result = notes.query(query_texts=["word5"], include=everything)
    for name in ("similarity", "distance", "id", "document", "uri", "embedding", "year"):
        result.show(columns=[name])


def test_whole_texts(notes: Any) -> None:
    result = notes.get(limit=3)
    assert "the end of 2" in shown(result, chars=None)
    assert "<details>" not in shown(result, chars=None)
    assert re.search(r"<summary class=\"t\">word2 a…</summary>", shown(result, chars=7))


def test_an_output_that_would_be_too_large_has_fewer_rows_and_says_so(client: Any) -> None:
    large = client.create_collection("large", embedding_function=None)
    n = 40
    large.add(
        ids=[str(i) for i in range(n)], documents=["word " * 10_000] * n, embeddings=[[1.0]] * n
    )
    page = shown(large.get(), rows=n, chars=None)
    assert len(page.encode()) <= MOST_BYTES
    assert 10 <= n_rows(page) < n
    assert "An output has at most 1.0 MB." in page
    one = shown(large.get(ids=["1"]), chars=None)
    assert n_rows(one) == 1
    assert "An output" not in one


def test_one_long_text_costs_no_other_rows(client: Any, capsys: pytest.CaptureFixture[str]) -> None:
    mixed = client.create_collection("mixed", embedding_function=None)
    texts = ["short", "x" * 2_000_000, *(f"text {i}" for i in range(4))]
    mixed.add(ids=list("abcdef"), documents=texts, embeddings=[[1.0]] * 6)
    page = shown(mixed.get(), rows=10**9, chars=None)
    assert len(page.encode()) <= MOST_BYTES
    assert n_rows(page) == 6
    assert page.count("x") > 100_000
    assert "An output has at most 1.0 MB." in page
    mixed.get().show(rows=10**30, chars=10**30)
    printed = capsys.readouterr().out
    assert len(printed.encode()) <= MOST_BYTES
    assert "text 3" in printed


def test_a_result_made_by_hand_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    GetResult(ids=["a"]).show()
    QueryResult(ids=[["b"], []]).show(columns=["id"])
    assert {"a", "1  b"} <= set(capsys.readouterr().out.splitlines())


def test_a_text_that_is_larger_than_an_output_is_cut_and_says_its_length(client: Any) -> None:
    large = client.create_collection("large", embedding_function=None)
    large.add(ids=["a"], documents=["x" * 2_000_000], embeddings=[[1.0]])
    page = shown(large.get(), chars=None)
    assert len(page.encode()) <= MOST_BYTES
    assert page.count("x") > 100_000
    assert "2,000,000 characters" in page


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"columns": ["yaer"]}, "There is no column 'yaer'. Did you mean year? Columns: id, "),
        ({"columns": ["embedding"]}, "There is no column 'embedding'."),
        ({"columns": [3]}, "There is no column 3."),
        ({"columns": [[]]}, "There is no column []."),
        ({"columns": 5}, "Expected columns to be a list of names, got 5."),
        ({"rows": 0}, "Expected rows to be a positive integer, got 0."),
        ({"rows": "5"}, "Expected rows to be a positive integer, got '5'."),
        ({"rows": True}, "Expected rows to be a positive integer, got True."),
        ({"chars": -1}, "Expected chars to be a positive integer, got -1."),
    ],
)
def test_what_cannot_be_shown_is_said(notes: Any, wrong: Any, sentence: str) -> None:
    for result in (notes.get(), notes.query(query_texts=["word"])):
        with pytest.raises(InvalidArgumentError) as error:
            result.show(**wrong)
        assert str(error.value).startswith(sentence)


def test_without_a_notebook_it_is_a_table_of_text(
    notes: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    notes.query(query_texts=["word5"]).show(rows=2, columns=["id", "year"])
    caption, head, *rows, more = capsys.readouterr().out.splitlines()
    assert caption == "showing 2 of 10 records for “word5”, nearest first"
    assert head.split() == ["#", "id", "year"]
    assert [row.split()[0] for row in rows] == ["1", "2"]
    assert ".show(rows=10)" in more


def test_hostile_text_is_text(client: Any, capsys: pytest.CaptureFixture[str]) -> None:
    hostile = client.create_collection("hostile", embedding_function=None)
    text = "<script>alert(1)</script> \x1b[31m &lt;b&gt;"
    hostile.add(
        ids=["<i>a</i>"], documents=[text], embeddings=[[1.0]], metadatas=[{"<u>": "<img>"}]
    )
    page = shown(hostile.get(), columns=["id", "document", "<u>"], chars=None)
    for markup in ("<script>", "<i>", "<u>", "<img>"):
        assert markup not in page
    hostile.get().show(columns=["id", "document", "<u>"])
    printed = capsys.readouterr().out
    assert "<script>alert(1)</script>" in printed
    assert "&lt;b&gt;" in printed
    assert "\x1b" not in printed


def test_the_setting_is_what_a_cell_shows() -> None:
    settings = chroma_nb.Settings(embedding="static", display_rows=3)
    with chroma_nb.EphemeralClient(settings) as client:
        some = client.create_collection("some")
        some.add(ids=list("abcdef"), documents=list("abcdef"))
        assert n_rows(some.get()._repr_html_()) == 3
        assert n_rows(some.query(query_texts=["a"])._repr_html_()) == 3
        assert n_rows(shown(some.get(), rows=5)) == 5
    with pytest.raises(ValueError, match="display_rows must be at least 1, got 0"):
        chroma_nb.Settings(display_rows=0)


def test_many_rows_by_the_setting_fit_an_output(notes: Any) -> None:
    result = notes.get()
    result.display_rows = 1_000
    page = result._repr_html_()
    assert len(page.encode()) <= 64 << 10
    assert n_rows(page) == N
