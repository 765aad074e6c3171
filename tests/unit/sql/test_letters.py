"""No query is answered from a key that only case tells from the one that it names, whatever stands between."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.sql.conftest import make, refusal

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def client(client: Any) -> Iterator[Any]:
    """The client, with three collections of keys that are `Author`, `author` and both."""
    made = {"aaa": [{"Author": "A", "k": 1}], "bbb": [{"author": "b", "k": 1}]}
    made["pair"] = [{"Author": "A", "k": 1}, {"author": "b", "k": 2}]
    for name, rows in made.items():
        make(client, name, rows)
    yield client
    for name in made:
        client.delete_collection(name)


STAR = "(SELECT * FROM aaa)"
ROW = "(SELECT aaa AS x FROM aaa)"


@pytest.mark.parametrize(
    "query",
    [
        # Subqueries and WITH, however deep.
        f"SELECT author FROM {STAR}",
        f"SELECT q.author FROM {STAR} AS q",
        f"SELECT author FROM (SELECT * FROM {STAR})",
        f"SELECT id FROM {STAR} WHERE author = 'A'",
        f"SELECT id FROM {STAR} ORDER BY author",
        f"SELECT * EXCLUDE (author) FROM {STAR}",
        f"SELECT count(*) FROM {STAR} GROUP BY author",
        f"SELECT (SELECT author) FROM {STAR}",
        f"SELECT b.id FROM bbb b, LATERAL (SELECT author FROM {STAR})",
        f"SELECT a.id FROM {STAR} a JOIN bbb b USING (author)",
        f"SELECT author FROM {STAR}, {STAR.replace('aaa', 'docs')}",
        "SELECT author FROM (SELECT * FROM aaa, bbb)",
        "SELECT author FROM (SELECT * FROM bbb, aaa)",
        "WITH q AS (SELECT * FROM aaa) SELECT author FROM q",
        "WITH q AS (FROM aaa), r AS (FROM q) SELECT author FROM r",
        "WITH q AS MATERIALIZED (SELECT * FROM aaa) SELECT author FROM q",
        "WITH q(a) AS (SELECT * FROM aaa) SELECT author FROM q",
        "WITH RECURSIVE q AS (SELECT * FROM aaa UNION SELECT * FROM q) SELECT author FROM q",
        'SELECT author FROM (SELECT "Author" FROM aaa)',
        'SELECT author FROM (SELECT a."Author" FROM aaa a)',
        "SELECT author FROM (SELECT COLUMNS(*) FROM aaa)",
        "SELECT author FROM (SELECT COLUMNS('^A') FROM aaa)",
        "SELECT author FROM (SELECT * RENAME (k AS kk) FROM aaa)",
        "SELECT author FROM (aaa JOIN docs ON true) t",
        "SELECT t.author FROM (aaa JOIN docs ON true) t",
        "SELECT author FROM (UNPIVOT aaa ON k)",
        f"UNPIVOT {STAR} ON author",
        f"PIVOT {STAR} ON author USING count(*)",
        f"SELECT row_number() OVER w FROM {STAR} WINDOW w AS (ORDER BY author)",
        "SELECT author FROM aaa a, LATERAL (SELECT a.*)",
        "WITH RECURSIVE q AS (SELECT * FROM aaa UNION SELECT * FROM q WHERE author = 'A') FROM q",
        "SELECT author FROM (PIVOT aaa ON k IN (1) USING count(*))",
        "SELECT author FROM (SELECT * FROM aaa UNION ALL SELECT * FROM bbb)",
        "SELECT * FROM aaa UNION ALL SELECT * FROM bbb ORDER BY author",
        "SELECT author FROM (TABLE aaa)",
        # What is the collection's own: with its schema, as a list, as what the query names so.
        "SELECT main.aaa.author FROM aaa",
        "SELECT temp.aaa.author FROM aaa",
        "SELECT temp.main.aaa.author FROM aaa",
        "SELECT COLUMNS(['author']) FROM aaa",
        "SELECT upper(id) AS author FROM aaa WHERE author = 'A'",
        "SELECT upper(id) AS author, author FROM aaa",
        "SELECT 1 AS author, (SELECT author FROM aaa)",
        "SELECT author -> '/x' FROM aaa",
        # Columns that are matched by name.
        "SELECT * FROM aaa UNION ALL BY NAME SELECT * FROM bbb",
        "SELECT * FROM bbb UNION BY NAME SELECT * FROM docs UNION BY NAME SELECT * FROM aaa",
        'SELECT "Author" FROM aaa UNION ALL BY NAME SELECT author FROM bbb',
        "SELECT * FROM (FROM aaa) UNION BY NAME SELECT id AS author FROM docs",
        "SELECT * FROM aaa NATURAL JOIN bbb",
        f"SELECT k FROM {STAR} NATURAL JOIN bbb",
        # Whole rows.
        f"SELECT x.author FROM {ROW}",
        f"SELECT q.x.author FROM {ROW} q",
        f"SELECT x.author FROM {ROW} x",
        f"SELECT x['author'] FROM {ROW}",
        f"SELECT (x).author FROM {ROW}",
        f"SELECT x['auth' || 'or'] FROM {ROW}",
        f"SELECT struct_extract(x, 'author') FROM {ROW}",
        f"SELECT x.struct_extract('author') FROM {ROW}",
        f"SELECT CAST(x AS STRUCT(author VARCHAR)) FROM {ROW}",
        f"SELECT author FROM (SELECT unnest(x) FROM {ROW})",
        f"SELECT author FROM (SELECT x.* FROM {ROW})",
        "SELECT aaa['author'] FROM aaa",
        "SELECT (aaa).author FROM aaa",
        "SELECT list(aaa)[1].author FROM aaa",
        f"SELECT x.author FROM (SELECT q AS x FROM {STAR} q)",
        "SELECT x.author FROM (SELECT struct_pack(*COLUMNS(*)) AS x FROM aaa)",
        "SELECT aaa FROM aaa UNION ALL SELECT bbb FROM bbb",
        'SELECT x.author FROM (SELECT struct_pack("Author") AS x FROM aaa)',
        "SELECT list_transform(list(aaa), lambda r: r.author) FROM aaa",
        "SELECT (SELECT aaa).author FROM aaa",
    ],
)
def test_a_key_is_never_taken_for_another(client: Any, query: str) -> None:
    said = refusal(client, query)
    assert "Author" in said or "written out" in said
    assert "quotes" in said or '"Author"' in said or "Select the columns" in said or "(['a'" in said


@pytest.mark.parametrize("name", ["author", "Author", "AUTHOR"])
def test_nor_one_of_the_same_collection(client: Any, name: str) -> None:
    for query in (
        f"SELECT {name} FROM (SELECT * FROM pair)",
        f"WITH q AS (SELECT * FROM pair) SELECT {name} FROM q",
    ):
        assert "metadata ->> '/author'" in refusal(client, query)
    for query in (
        f"SELECT x.{name} FROM (SELECT pair AS x FROM pair)",
        f"SELECT x['{name}'] FROM (SELECT pair AS x FROM pair)",
    ):
        refusal(client, query)
    assert "'ID'" in refusal(client, "SELECT ID FROM (SELECT * FROM twins)")


def test_a_name_of_a_field_or_a_column_that_is_a_parameter_is_refused(client: Any) -> None:
    for taken in ("x[?]", "struct_extract(x, ?)"):
        assert "not written out" in refusal(client, f"SELECT {taken} FROM {ROW}", ["author"])
    for taken in ("COLUMNS(?)", "COLUMNS([?])"):
        assert "written out" in refusal(client, f"SELECT {taken} FROM aaa", ["author"])


@pytest.mark.parametrize(
    ("query", "answer"),
    [
        # The key as it is written.
        (f'SELECT "Author" FROM {STAR}', [["A"]]),
        ("WITH q AS (SELECT * FROM bbb) SELECT author FROM q", [["b"]]),
        ("SELECT main.aaa.Author FROM aaa", [["A"]]),
        (f"SELECT x.Author, x['Author'] FROM {ROW}", [["A", "A"]]),
        ("SELECT COLUMNS(['Author']) FROM aaa", [["A"]]),
        ("SELECT COLUMNS(lambda c: c = 'Author') FROM aaa", [["A"]]),
        # The ways out that the errors name.
        ('SELECT author FROM (SELECT "Author" AS author FROM aaa)', [["A"]]),
        ('WITH q(author) AS (SELECT "Author" FROM aaa) SELECT author FROM q', [["A"]]),
        (
            'WITH RECURSIVE q(author) AS (SELECT "Author" FROM aaa UNION ALL SELECT author FROM q '
            "WHERE false) SELECT author FROM q",
            [["A"]],
        ),
        ("SELECT author FROM (SELECT * RENAME (Author AS author) FROM aaa)", [["A"]]),
        ("SELECT author FROM (SELECT * EXCLUDE (Author), id AS author FROM aaa)", [["r0"]]),
        (
            'SELECT "Author" AS author FROM aaa UNION ALL BY NAME SELECT author FROM bbb',
            [["A"], ["b"]],
        ),
        ('SELECT x.author FROM (SELECT struct_pack(author := "Author") AS x FROM aaa)', [["A"]]),
        ("SELECT x.author FROM (SELECT {'author': Author} AS x FROM aaa)", [["A"]]),
        ("SELECT list_transform(list(aaa), lambda r: r.Author) FROM aaa", [[["A"]]]),
        ("SELECT a.Author, b.author FROM aaa a JOIN bbb b ON a.k = b.k", [["A", "b"]]),
        ("SELECT a, b FROM (SELECT a.Author AS a, b.author AS b FROM aaa a, bbb b)", [["A", "b"]]),
        # Names of the query's own, and of arguments, count as SQL counts them.
        ("SELECT n FROM (SELECT count(*) AS N FROM docs)", [[5]]),
        ("SELECT list_transform([1], lambda author: author + 1) AS l FROM aaa", [[[2]]]),
        ("SELECT upper(id) AS author FROM aaa ORDER BY author", [["R0"]]),
        ("SELECT K FROM (VALUES (1)) t(k)", [[1]]),
        ("SELECT ID FROM (SELECT id FROM aaa)", [["r0"]]),
        # The other collection is read beside it.
        (f"SELECT author FROM bbb WHERE id IN (SELECT id FROM {STAR})", [["b"]]),
        (
            f"SELECT author FROM (SELECT author FROM bbb) WHERE EXISTS (SELECT 1 FROM {STAR})",
            [["b"]],
        ),
        ("SELECT count(a), max(b.author) FROM aaa a JOIN bbb b ON true", [[1, "b"]]),
        ("SELECT tags[n], count(docs) FROM docs WHERE n = 1 GROUP BY ALL", [["x", 1]]),
        ("SELECT tags[-1], count(docs) FROM docs WHERE n = 1 GROUP BY ALL", [["y", 1]]),
        ("SELECT id, k FROM aaa UNION ALL BY NAME SELECT k, id FROM bbb", [["r0", 1], ["r0", 1]]),
        ("SELECT id, k FROM aaa NATURAL JOIN (SELECT id, k FROM bbb)", [["r0", 1]]),
    ],
)
def test_what_can_be_told_is_answered(client: Any, query: str, answer: list[Any]) -> None:
    assert client.sql(query).values.tolist() == answer


def test_collections_without_such_keys_are_matched_by_name(client: Any) -> None:
    frame = client.sql("SELECT * FROM aaa UNION ALL BY NAME SELECT * FROM docs")
    assert len(frame) == 6
    assert frame.Author.tolist()[0] == "A"


def test_names_that_a_pattern_makes_of_others_are_refused_where_they_are_used(client: Any) -> None:
    made = r"SELECT id, COLUMNS('(A.*)') AS 'x_\1' FROM aaa"
    assert "x_Author" in client.sql(made)
    for name in ("x_author", "x_Author"):
        assert "a pattern" in refusal(client, f"SELECT {name} FROM ({made})")
    assert client.sql(f"SELECT id FROM ({made})").id.tolist() == ["r0"]


def test_names_of_many_tables_made_of_one_are_looked_at_once(client: Any) -> None:
    doubled = [f"q{n} AS (SELECT * FROM q{n - 1} a, q{n - 1} b)" for n in range(1, 41)]
    started = time.monotonic()
    for name in ("author", "AUTHOR"):
        query = f"WITH q0 AS (FROM aaa), {', '.join(doubled)} SELECT {name} FROM q40"
        assert '"Author"' in refusal(client, query)
    assert time.monotonic() - started < 10


def test_a_query_of_many_levels_is_answered_or_refused(client: Any) -> None:
    for depth in (20, 300, 2_000):
        query = "SELECT author FROM " + "(SELECT * FROM " * depth + "aaa" + ")" * depth
        said = refusal(client, query)
        assert any(word in said for word in ("Author", "deep", "depth", "cannot be read"))
