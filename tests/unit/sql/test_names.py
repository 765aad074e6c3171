"""Which collection or key a name means, and what an error says about the others."""

from __future__ import annotations

from typing import Any

import pytest

from chroma_nb.db.sql.columns import RECORD_COLUMNS, key_expression
from tests.unit.sql.conftest import make, refusal

# -- names of collections ---------------------------------------------------------------------


@pytest.mark.parametrize(("name", "value"), [("Invoices", "upper"), ("invoices", "lower")])
def test_a_collection_is_the_one_with_exactly_this_name(client: Any, name: str, value: str) -> None:
    for written in (name, f'"{name}"'):
        assert set(client.sql(f"SELECT k FROM {written}").k) == {value}
        assert set(client.sql(f"SELECT {written}.k FROM {written}").k) == {value}


def test_a_name_that_only_case_tells_apart_is_nobodys(client: Any) -> None:
    said = refusal(client, "SELECT * FROM INVOICES")
    assert "no collection 'INVOICES'" in said
    assert "'Invoices' and 'invoices'" in said
    assert "'docs'" in refusal(client, "SELECT * FROM Docs")


@pytest.mark.parametrize(
    "query",
    [
        "SELECT count(*) FROM Invoices a JOIN invoices b ON true",
        "SELECT * FROM Invoices WHERE id IN (SELECT id FROM invoices)",
        "WITH Invoices AS (SELECT 1) SELECT * FROM invoices",
    ],
)
def test_two_names_that_only_case_tells_apart_are_both_named(client: Any, query: str) -> None:
    assert {"'Invoices'", "'invoices'"} <= set(refusal(client, query).replace(",", " ").split())


@pytest.mark.parametrize(
    ("query", "hint"),
    [
        ("SELECT * FROM peple", "Did you mean 'people'?"),
        ("SELECT * FROM my-coll", 'has to be quoted: "my-coll"'),
        ("SELECT my-coll.id FROM docs", 'has to be quoted: "my-coll"'),
        ("SELECT * FROM select", 'has to be quoted: "select"'),
        ("SELECT * FROM odd.name", 'quoted: "odd.name"'),
        ("SELECT * FROM main.docs", 'write "docs" alone'),
        ("SELECT poss FROM docs", 'Did you mean "pos"?'),
        ("SELECT d.poss FROM docs AS d", 'Did you mean "pos"?'),
        ("SELECT * EXCLUDE (poss) FROM docs", 'Did you mean "pos"?'),
        ('SELECT id FROM docs WHERE pos = "adverb"', "single quotes: 'adverb'"),
        ("SELECT POS FROM docs", "the key 'pos'"),
        ("SELECT id FROM docs WHERE docs.N > 1", "the key 'n'"),
    ],
)
def test_an_error_names_what_was_probably_meant(client: Any, query: str, hint: str) -> None:
    said = refusal(client, query)
    assert hint in said
    assert "records_" not in said
    assert "pg_" not in said


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("SELECT when FROM reserved", ["when"]),
        ("SELECT id, when AS w FROM reserved", ["when"]),
        ("SELECT id FROM reserved WHERE end = 1", ["end"]),
        ("SELECT id FROM reserved ORDER BY when", ["when"]),
        ("SELECT case FROM reserved", ["case"]),
        ("SELECT from FROM reserved", ["from"]),
        ("SELECT 'ä', \"ä\", when, end FROM reserved", ["when", "end"]),
        ("SELECT max(end) FROM (SELECT * FROM reserved)", ["end"]),
        ("EXPLAIN SELECT When FROM reserved", []),
        ("EXPLAIN SELECT when FROM reserved", ["when"]),
        # Quotes are not what is missing.
        ("SELECT FROM FROM reserved", []),
        ("SELECT id FROM reserved WHERE", []),
        ("SELECT id, FROM WHERE", []),
        ("SELECT then FROM reserved", []),
        ("SELECT when FROM docs", []),
    ],
)
def test_a_key_that_is_a_word_of_sql_has_to_be_quoted(
    client: Any, query: str, words: list[str]
) -> None:
    keys: dict[str, Any] = {"when": 1, "end": 2, "case": 3, "from": 4, "ä": 5}
    make(client, "reserved", [keys])
    try:
        said = refusal(client, query)
        quoted = " and ".join(f'"{word}"' for word in words)
        assert said.endswith(f"has to be quoted: {quoted}.") if words else "quoted" not in said
        for word in words:
            assert repr(word) in said
            assert client.sql(f'SELECT "{word}" AS v FROM reserved').v.tolist() == [keys[word]]
    finally:
        client.delete_collection("reserved")


@pytest.mark.parametrize("name", ["my-coll", "select", "odd.name"])
def test_a_quoted_name_works(client: Any, name: str) -> None:
    assert client.sql(f'SELECT age FROM "{name}"').age.tolist() == [7]


# -- names of keys ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "both"),
    [
        ("Author", ["'Author'", "'author'"]),
        ("author", ["'Author'", "'author'"]),
        ("AUTHOR", ["'Author'", "'author'"]),
        ("ID", ["column id", "key 'ID'"]),
        ("Id", ["column id", "key 'ID'"]),
        ("URI", ["column uri", "key 'URI'"]),
        ("Document", ["column document", "key 'Document'"]),
        ("METADATA", ["column metadata", "key 'METADATA'"]),
        ("Embedding", ["column embedding", "key 'Embedding'", "key 'embedding'"]),
    ],
)
def test_a_name_with_two_meanings_gets_an_error_that_names_both(
    client: Any, name: str, both: list[str]
) -> None:
    for query in (
        f"SELECT {name} FROM twins",
        f'SELECT id FROM twins t WHERE t."{name}" = 1',
        f"SELECT id FROM twins ORDER BY {name}",
        f"SELECT a.id FROM twins a JOIN twins b USING ({name})",
        f"SELECT (SELECT max({name}) FROM twins)",
        f"SELECT * EXCLUDE ({name}) FROM twins",
    ):
        said = refusal(client, query)
        assert all(one in said for one in both), said


def test_the_ways_that_such_an_error_names_work(client: Any) -> None:
    said = refusal(client, "SELECT Author FROM twins")
    for key in ("Author", "author"):
        assert key_expression(key) in said
        frame = client.sql(f"SELECT {key_expression(key)} AS {key} FROM twins ORDER BY {key}")
        assert frame[key].tolist() == ["A" if key == "Author" else "a", None]
    for key, column in (("Author", "metadata.Author (1)"), ("author", "metadata.author (2)")):
        assert f'the key {key!r} as "{column}"' in said
        assert client.sql(f'SELECT "{column}" AS a FROM twins').a.dropna().tolist() == [key[0]]
    # What finds the records of a slip.
    assert client.sql(said.rpartition(": ")[2].rstrip(".")).id.tolist() == ["r0"]
    assert "the key 'ID' as \"metadata.ID\"" in refusal(client, "SELECT ID FROM twins")
    assert client.sql("SELECT metadata.Author AS a FROM twins").a.tolist() == ['"A"', None]


def test_what_does_not_use_such_a_name_works(client: Any) -> None:
    frame = client.sql("SELECT id, uri, document, n FROM twins WHERE n IS NULL OR n = 1")
    assert frame.id.tolist() == ["r0", "r1"]
    assert client.sql("SELECT embedding FROM twins").embedding[1].tolist() == [2.0, 3.0]
    # The name is another collection's, or the query's own.
    make(client, "books", [{"author": "x"}])
    try:
        query = "SELECT author FROM books WHERE id IN (SELECT id FROM twins)"
        assert client.sql(query).author.tolist() == ["x"]
        assert client.sql("SELECT b.author FROM books b, twins").author.tolist() == ["x", "x"]
        both = {"'Author'", "'author'"}
        for query in (
            "SELECT author FROM books, twins",
            "SELECT (SELECT author FROM twins LIMIT 1) FROM books",
        ):
            assert both <= set(refusal(client, query).split())
    finally:
        client.delete_collection("books")
    assert client.sql("SELECT upper(id) AS author FROM twins ORDER BY author").author[0] == "R0"


def test_a_name_that_the_query_gives_is_not_taken_for_a_key_nor_a_key_for_it(client: Any) -> None:
    by_alias = "SELECT (metadata ->> '/ID') AS ID FROM twins ORDER BY ID DESC NULLS LAST"
    assert client.sql(by_alias).ID.tolist() == ["key", None]
    assert client.sql(f"SELECT ID FROM ({by_alias}) WHERE ID = 'key'").ID.tolist() == ["key"]
    # Here DuckDB would take the column id.
    for query in (
        "SELECT (metadata ->> '/ID') AS ID FROM twins WHERE ID = 'key'",
        "SELECT upper(id) AS id, ID FROM twins",
        "SELECT (metadata ->> '/ID') AS ID, count(*) FROM twins GROUP BY ID",
    ):
        assert "key 'ID'" in refusal(client, query)


def test_an_error_does_not_hide_the_columns_of_later_queries(client: Any) -> None:
    make(client, "later", [{"n": 1}])
    try:
        refusal(client, "SELECT no_such_function(id) FROM later")
        assert client.sql("SELECT n FROM later").n.tolist() == [1]
    finally:
        client.delete_collection("later")


def test_a_star_drops_and_mixes_nothing(client: Any) -> None:
    """Keys that cannot have a column of their own name have one that says so, and it can be used."""
    frame = client.sql("SELECT * FROM twins")
    assert [name for name in frame if name not in (*RECORD_COLUMNS, "n")] == [
        *("metadata.Author (1)", "metadata.Document", "metadata.Embedding (1)", "metadata.ID"),
        *("metadata.METADATA", "metadata.URI", "metadata.author (2)", "metadata.embedding (2)"),
    ]
    assert frame["metadata.Author (1)"].tolist() == ["A", None]
    assert frame["metadata.author (2)"].tolist() == ["a", None]
    assert frame["metadata.embedding (2)"].tolist() == [None, "small"]
    assert frame.id.tolist() == ["r0", "r1"]
    again = client.sql('SELECT "metadata.author (2)" AS a, "metadata.ID" AS i FROM twins')
    assert again.values.tolist() == [["a", "key"], [None, None]]
    # Its letters count as well.
    assert '"metadata.author (2)"' in refusal(client, 'SELECT "Metadata.Author (2)" FROM twins')


def test_a_key_is_not_assumed(client: Any) -> None:
    """The fold is DuckDB's own: only A to Z."""
    assume_made = make(client, "folded", [{"Ä": 1}, {"ä": 2}])
    try:
        frame = client.sql('SELECT "Ä", "ä" FROM folded')
        assert frame.astype(object).where(frame.notna(), None).values.tolist() == [
            [1, None],
            [None, 2],
        ]
        assert assume_made.count() == 2
    finally:
        client.delete_collection("folded")
