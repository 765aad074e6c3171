"""client.sql(): what a name means, what a value is, what is refused, and what an interrupt leaves behind."""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import signal
import threading
import time
import weakref
from decimal import Decimal
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import duckdb
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import chroma_nb
from chroma_nb.db import _duckdb_sql, _sql_vectors
from chroma_nb.db._sql_columns import OWN, quoted, reach
from chroma_nb.db._sql_frame import comes_as_arrays, read_frame
from chroma_nb.db._sql_statement import Statement, fold
from chroma_nb.db.vector_file import VectorFile
from chroma_nb.errors import ChromaError, InternalError, InvalidArgumentError, MemoryBudgetError
from chroma_nb.memory import preflight

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

BIG = 1745078214713458777


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    """One client for all tests that leave it as it was."""
    with chroma_nb.EphemeralClient(settings=chroma_nb.Settings(progress=False)) as client:
        make(client, "docs", DOCS)
        make(client, "Invoices", [{"k": "upper"}])
        make(client, "invoices", [{"k": "lower"}, {"k": "lower"}])
        for name in ("my-coll", "select", "odd.name", "people"):
            make(client, name, [{"age": 7}])
        make(client, "twins", TWINS)
        yield client


DOCS: list[dict[str, Any] | None] = [
    {"n": 1, "pos": "noun", "tags": ["x", "y"], "big": BIG, "f": 0.5, "ok": True},
    {"n": 2, "pos": "verb", "counts": [1, 2], "shares": [0.5], "flags": [True], "mixed": ["a"]},
    {"n": 3, "pos": "noun", "big": -7, "number": BIG, "mixed": 1, "some": 2, "shares": [1]},
    {"number": 0.25, "some": 2.5, "mixed": [1, 2]},
    None,
]
TWINS: list[dict[str, Any] | None] = [
    {"Author": "A", "author": "a", "ID": "key", "URI": "key", "Document": "key", "METADATA": "key"},
    {"Embedding": "key", "embedding": "small", "n": 1},
]


def make(client: Any, name: str, metadatas: list[dict[str, Any] | None]) -> Any:
    collection = client.create_collection(name, embedding_function=None)
    ids = [f"r{row}" for row in range(len(metadatas))]
    vectors = np.arange(2 * len(ids), dtype=np.float32).reshape(-1, 2)
    documents = [f"text {row}" if row else None for row in range(len(ids))]
    collection.add(ids=ids, embeddings=vectors, metadatas=metadatas, documents=documents)
    return collection


def refusal(client: Any, query: str, parameters: Any = None) -> str:
    with pytest.raises(InvalidArgumentError) as caught:
        client.sql(query, parameters)
    return str(caught.value)


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
        assert reach(key) in said
        frame = client.sql(f"SELECT {reach(key)} AS {key} FROM twins ORDER BY {key}")
        assert frame[key].tolist() == ["A" if key == "Author" else "a", None]
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
    assert [name for name in frame if name not in (*OWN, "n")] == [
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


def test_embeddings_come_when_they_are_named(client: Any) -> None:
    assert "embedding" not in client.sql("SELECT * FROM docs")
    assert list(client.sql("SELECT *, embedding FROM docs")).count("embedding") == 1
    assert "embedding_1" not in client.sql("SELECT *, embedding FROM docs")
    make(client, "numbered", [{"embedding_1": 7}])
    try:
        starred = client.sql("SELECT *, embedding FROM numbered")
        assert starred.embedding_1.tolist() == [7]
        assert starred.embedding[0].tolist() == [0.0, 1.0]
        assert starred.shape == (1, 6)
    finally:
        client.delete_collection("numbered")
    described = client.sql("DESCRIBE docs").set_index("column_name").column_type
    assert described["embedding"] == "FLOAT[2]"
    query = "SELECT id FROM docs ORDER BY array_distance(embedding, $q::FLOAT[2]) LIMIT 1"
    assert client.sql(query, {"q": np.array([4.1, 5.2], dtype=np.float32)}).id.tolist() == ["r2"]
    assert client.sql("SELECT EMBEDDING FROM docs").embedding[3].dtype == np.float32


# -- what there is ----------------------------------------------------------------------------

NAMES = ["Invoices", "docs", "invoices", "my-coll", "odd.name", "people", "select", "twins"]


@pytest.mark.parametrize(
    ("query", "column"),
    [
        ("SHOW TABLES", "name"),
        ("SHOW ALL TABLES", "name"),
        ("SELECT * FROM (SHOW TABLES)", "name"),
        ("SELECT * FROM information_schema.tables", "table_name"),
        ("SELECT * FROM duckdb_tables()", "table_name"),
        ("SELECT * FROM duckdb_tables", "table_name"),
        ("SELECT * FROM pg_catalog.pg_tables", "tablename"),
        ("SELECT DISTINCT table_name FROM information_schema.columns", "table_name"),
        ("SELECT DISTINCT table_name FROM duckdb_columns() WHERE NOT internal", "table_name"),
    ],
)
def test_what_there_is_are_collections(client: Any, query: str, column: str) -> None:
    assert sorted(client.sql(query)[column]) == NAMES


def test_collections_may_have_names_of_sqls_and_duckdbs(client: Any) -> None:
    names = [
        "duckdb_tables",
        "DuckDB_Tables",
        "pg_class",
        "information_schema",
        "main",
        "meta",
        "range",
    ]
    for number, name in enumerate(names):
        make(client, name, [{"k": number}])
    try:
        for number, name in enumerate(names):
            assert client.sql(f'SELECT k, embedding FROM "{name}"').k.tolist() == [number]
        for query in ("SHOW TABLES", "SELECT table_name AS name FROM information_schema.tables"):
            assert sorted(client.sql(query).name) == sorted([*NAMES, *names])
    finally:
        for name in names:
            client.delete_collection(name)


def test_names_alone_need_no_look_at_the_metadata(
    client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client.api.db, "_sql_columns", _duckdb_sql.RememberedColumns())
    monkeypatch.delattr(_duckdb_sql, "read_types")
    assert sorted(client.sql("SHOW TABLES").name) == NAMES
    assert len(client.sql("SELECT table_name FROM information_schema.tables")) == len(NAMES)


def test_sizes_and_columns_of_collections_are_shown(client: Any) -> None:
    sizes = client.sql("SELECT table_name, estimated_size FROM duckdb_tables()")
    assert dict(sizes.values.tolist())["docs"] == len(DOCS)
    columns = client.sql(
        "SELECT column_name, data_type FROM information_schema.columns WHERE table_name = 'docs'"
    )
    described = client.sql("DESCRIBE docs")
    assert columns.values.tolist() == described[["column_name", "column_type"]].values.tolist()
    summary = client.sql("SUMMARIZE docs").set_index("column_name")
    assert summary.loc["n", ["min", "max", "count"]].tolist() == ["1", "3", len(DOCS)]
    said = refusal(client, "SELECT * FROM docs, information_schema.tables")
    assert "Use two queries" in said


def test_a_plan_names_collections(client: Any) -> None:
    plan = client.sql("EXPLAIN SELECT id, embedding FROM docs WHERE n > 1")
    assert plan.explain_key.tolist() == ["physical_plan"]
    by_vector = client.sql(
        "EXPLAIN SELECT id FROM docs WHERE embedding[1] > 1 ORDER BY embedding[2]"
    )
    for each in (plan, by_vector):
        assert "docs" in each.explain_value[0]
        assert "records_" not in each.explain_value[0]
        assert "chroma_nb" not in each.explain_value[0]


# -- what SQL can say -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "answer"),
    [
        ("FROM docs SELECT n WHERE n > 1 ORDER BY n", [[2], [3]]),
        ("WITH d AS (SELECT n FROM docs) SELECT sum(n) FROM d", [[6]]),
        ("WITH d AS (SELECT n FROM docs), e AS (SELECT * FROM d) SELECT max(n) FROM e", [[3]]),
        (
            "WITH RECURSIVE t(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM t WHERE i < 3) FROM t",
            [[1], [2], [3]],
        ),
        ("SELECT id, rank() OVER (ORDER BY n) AS r FROM docs WHERE n < 3", [["r0", 1], ["r1", 2]]),
        ("SELECT * EXCLUDE (id) FROM (SELECT id, n FROM docs WHERE n = 1)", [[1]]),
        ("SELECT COLUMNS('^n$') FROM docs WHERE n = 2", [[2]]),
        ("SELECT column_type FROM (DESCRIBE SELECT n FROM docs)", [["BIGINT"]]),
        ("VALUES (1), (2)", [[1], [2]]),
        ("SELECT id FROM docs WHERE list_contains(tags, 'y')", [["r0"]]),
        ("SELECT list_sum(counts) FROM docs WHERE counts IS NOT NULL", [[3]]),
        ("SELECT t FROM docs, unnest(docs.tags) AS u(t) ORDER BY t", [["x"], ["y"]]),
        ("SELECT id.upper() AS u FROM docs WHERE n = 1", [["R0"]]),
        ("SELECT docs.n FROM docs WHERE docs.id = 'r0'", [[1]]),
        ("SELECT list_transform(counts, lambda i: i + n) FROM docs WHERE n = 2", [[[3, 4]]]),
        ("PIVOT docs ON pos USING sum(n) GROUP BY ok ORDER BY ok", [[True, 1, None], [None, 3, 2]]),
        (
            "PIVOT docs ON pos IN ('noun') USING count(*) GROUP BY ok ORDER BY ok",
            [[True, 1], [None, 1]],
        ),
        ("FROM (PIVOT docs ON n > 1 USING count(*) GROUP BY pos) SELECT true ORDER BY 1", None),
        ("WITH d AS (SELECT pos, n FROM docs) PIVOT d ON pos USING max(n)", [[3, 2]]),
        (
            "WITH d AS (SELECT pos, n FROM docs), p AS (PIVOT d ON pos USING max(n)) SELECT verb FROM p",
            [[2]],
        ),
        ("PIVOT (SELECT pos, n FROM docs -- all\n) ON pos -- each\n USING min(n)", [[1, 2]]),
        ("UNPIVOT (SELECT id, n FROM docs WHERE n = 1) ON n INTO NAME k VALUE v", [["r0", "n", 1]]),
        ("SELECT count(*) FROM docs TABLESAMPLE 3 ROWS", [[3]]),
        ("SELECT id FROM docs LIMIT 2", [["r0"], ["r1"]]),
    ],
)
def test_what_reads_works(client: Any, query: str, answer: list[Any] | None) -> None:
    frame = client.sql(query)
    if answer is not None:
        found = frame.astype(object).where(frame.notna(), None).values.tolist()
        assert found == answer


# -- values -----------------------------------------------------------------------------------


def test_values_keep_kind_and_digits(client: Any) -> None:
    frame = client.sql("SELECT * FROM docs")
    types = client.sql("DESCRIBE docs").set_index("column_name").column_type.to_dict()
    assert {key: types[key] for key in types if key not in OWN} == {
        "n": "BIGINT",
        "pos": "VARCHAR",
        "tags": "VARCHAR[]",
        "big": "BIGINT",
        "f": "DOUBLE",
        "ok": "BOOLEAN",
        "counts": "BIGINT[]",
        "shares": "DOUBLE[]",
        "flags": "BOOLEAN[]",
        "mixed": "JSON",
        "number": "DECIMAL(38,2)",
        "some": "DOUBLE",
    }
    assert frame.big.dtype == "Int64"
    assert frame.big.tolist()[:3] == [BIG, pd.NA, -7]
    assert frame.ok.dtype == "boolean"
    assert frame.f.tolist()[0] == 0.5
    assert frame.number.tolist()[2:4] == [Decimal(BIG), Decimal("0.25")]
    assert frame.some.tolist()[2:4] == [2.0, 2.5]
    assert [json.loads(value) for value in frame.mixed.dropna()] == [["a"], 1, [1, 2]]
    assert frame.tags[0] == ["x", "y"]
    assert frame.shares.tolist()[1:3] == [[0.5], [1.0]]
    assert frame.document.tolist()[:2] == [None, "text 1"]


def test_sums_and_moments_are_exact(client: Any) -> None:
    frame = client.sql(
        "SELECT sum(big) AS total, sum(big) * 100000 AS large, 1.5 AS short, "
        "TIMESTAMP '2024-02-29 12:30:00.000001' AS at, DATE '2024-02-29' AS day, "
        "INTERVAL 90 SECONDS AS span, 18446744073709551615::UBIGINT AS unsigned FROM docs"
    )
    assert frame.total.tolist() == [BIG - 7]
    assert frame.large.tolist() == [(BIG - 7) * 100000]
    assert frame.short.tolist() == [1.5]
    assert frame["at"].tolist() == [pd.Timestamp("2024-02-29 12:30:00.000001")]
    assert frame.day.tolist() == [pd.Timestamp("2024-02-29")]
    assert frame.span.tolist() == [pd.Timedelta(seconds=90)]
    assert frame.unsigned.tolist() == [2**64 - 1]
    assert client.sql("SELECT 1 AS a, 2 AS a, 3 AS a_1").to_dict("list") == {
        "a": [1],
        "a_2": [2],
        "a_1": [3],
    }


def test_columns_without_a_value_have_a_type(client: Any) -> None:
    for query in ("SELECT n, f, ok, pos FROM docs WHERE n = 99", "SELECT n FROM docs LIMIT 0"):
        assert client.sql(query).n.dtype == "int64"
    nothing = client.sql("SELECT big, ok, f, pos FROM docs WHERE n = 2")
    assert [str(dtype) for dtype in nothing.drop(columns="pos").dtypes] == [
        *("Int64", "boolean", "float64")
    ]


ARRAYS = (
    "SELECT i AS a, CASE WHEN i % 3 > 0 THEN i END AS b, CASE WHEN i % 2 = 0 THEN 'x' || i END AS s, "
    "CASE WHEN i % 5 > 0 THEN i % 2 = 0 END AS t, i % 2 = 0 AS u, CAST(i * 0.5 AS DOUBLE) AS d, "
    "CAST(CASE WHEN i % 7 > 0 THEN [i, NULL] END AS FLOAT[2]) AS v, to_json(i) AS j, "
    "CAST(NULL AS BIGINT) AS n, CAST(CASE WHEN i % 2 = 0 THEN i % 200 END AS UTINYINT) AS w "
    "FROM range({}) r(i)"
)


@pytest.mark.parametrize("n", [0, 100, 5_000])
def test_an_answer_is_the_same_read_as_arrays_and_as_rows(n: int) -> None:
    with contextlib.closing(duckdb.connect()) as con:
        query = ARRAYS.format(n)
        types = [row[1] for row in con.execute(f"DESCRIBE {query}").fetchall()]
        assert comes_as_arrays(types)
        as_arrays = read_frame(con.execute(query), types, as_arrays=True)
        as_rows = read_frame(con.execute(query), types, as_arrays=False)
    assert as_arrays.dtypes.to_dict() == as_rows.dtypes.to_dict()
    pd.testing.assert_frame_equal(as_arrays, as_rows)


# Keys with twins, and all that a pointer, a quoted name or a path could trip over.
KEYS = st.text(
    st.sampled_from("aAbBÄä.'\"/~ \0*%-01[]$"), min_size=1, max_size=3
) | st.sampled_from(
    [
        "id",
        "ID",
        "Id",
        "metadata",
        "METADATA",
        "embedding",
        "uri",
        "Document",
        "select",
        "metadata.ID",
    ]
)
INTEGERS = st.sampled_from([0, -1, 2**53, 2**53 + 1, BIG, 2**63 - 1, -(2**63)]) | st.integers(-9, 9)
FLOATS = st.sampled_from([0.1, 0.5, -0.0, 1e22, 1e-7, 2.0**60, 5e-324]) | st.floats(-9, 9)
TEXTS = st.text(max_size=4)
VALUES = (
    INTEGERS
    | FLOATS
    | TEXTS
    | st.booleans()
    | st.sampled_from([INTEGERS, FLOATS, TEXTS, st.booleans()]).flatmap(
        lambda kind: st.lists(kind, min_size=1, max_size=3)
    )
)
# Most keys in a few kinds, so that columns of each type come up.
METADATA = st.dictionaries(
    KEYS.filter(lambda key: key[0] not in "#$"), VALUES, min_size=1, max_size=4
)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(rows=st.lists(st.none() | METADATA, min_size=1, max_size=5))
def test_every_key_is_what_get_says(client: Any, rows: list[dict[str, Any] | None]) -> None:
    collection = make(client, "Made", rows)
    try:
        stored = [metadata or {} for metadata in collection.get()["metadatas"]]
        keys = sorted({key for metadata in stored for key in metadata})
        starred = client.sql("SELECT * FROM Made")
        assert len(starred.columns) == 4 + len(keys)
        for key in keys:
            twins = [one for one in (*OWN, *keys) if fold(one) == fold(key)]
            # One's own column, where the key has exactly its name.
            if len(twins) > 1 or key in OWN or "\0" in key:
                if key not in OWN and "\0" not in key:
                    said = refusal(client, f"SELECT {quoted(key)} FROM Made")
                    assert all(repr(one) in said or one in OWN for one in twins)
                shown = reach(key).replace("->>", "->")
            else:
                shown = quoted(key)
            frame = client.sql(f"SELECT {shown} AS value FROM Made")
            kind = client.sql(f"DESCRIBE SELECT {shown} AS value FROM Made").column_type[0]
            for metadata, value in zip(stored, frame["value"].tolist(), strict=True):
                assert_same(metadata.get(key), value, kind)
    finally:
        client.delete_collection("Made")


def assert_same(expected: Any, value: Any, kind: str) -> None:
    if expected is None:
        assert not isinstance(value, list)
        assert pd.isna(value)
    elif kind == "JSON":
        assert (type(json.loads(value)), json.loads(value)) == (type(expected), expected)
    elif kind.startswith("DECIMAL"):
        assert Decimal(repr(value) if isinstance(value, float) else value) == Decimal(
            repr(expected)
        )
    else:
        assert value == expected
        if kind not in ("DOUBLE", "DOUBLE[]"):
            assert type(value) is type(expected)


# -- parameters -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given_", "comes"),
    [
        (np.int64(7), 7),
        (np.float32(0.5), 0.5),
        (np.bool_(True), True),
        (np.str_("x"), "x"),
        (BIG, BIG),
        (pd.Timestamp("2024-02-29 12:00"), pd.Timestamp("2024-02-29 12:00")),
        (np.datetime64("2024-02-29T12:00"), pd.Timestamp("2024-02-29 12:00")),
        (datetime.date(2024, 2, 29), pd.Timestamp("2024-02-29")),
        (pd.Timedelta(seconds=3), pd.Timedelta(seconds=3)),
        ([np.int64(1), 2], [1, 2]),
        (np.array([1, 2]), [1, 2]),
    ],
)
def test_parameters_may_be_of_numpys_and_pandas_kinds(client: Any, given_: Any, comes: Any) -> None:
    assert client.sql("SELECT ? AS p", [given_]).p.tolist() == [comes]
    assert client.sql("SELECT $p AS p", {"p": given_}).p.tolist() == [comes]
    assert client.sql("SELECT $1 AS p", (given_,)).p.tolist() == [comes]


def test_parameters_that_are_none_or_cannot_be_used(client: Any) -> None:
    for gap in (None, pd.NaT, pd.NA):
        assert client.sql("SELECT ? IS NULL AS p", [gap]).p.tolist() == [True]
    assert client.sql("SELECT n FROM docs WHERE n = ANY(?)", [[1, 3]]).n.tolist() == [1, 3]
    named = "PIVOT (SELECT pos, n FROM docs WHERE n < $n) ON pos USING count(*)"
    assert list(client.sql(named, {"n": 2})) == ["n", "noun"]
    assert "list (for ? and $1) or a dict" in refusal(client, "SELECT ?", 5)
    assert "microsecond" in refusal(client, "SELECT ?", [pd.Timestamp(1)])
    refusal(client, "SELECT ?", [])
    refusal(client, "SELECT ?", [1, 2])


# -- what is refused --------------------------------------------------------------------------


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A store on disk with another tenant's records, in a folder with a file to steal."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CHROMA_NB_TEST", "SECRET")
    (tmp_path / "secret.csv").write_text("a\nSECRET\n")
    with chroma_nb.PersistentClient(tmp_path / "store") as client:
        make(client, "docs", [{"n": 1}, {"n": 2}])
        client.api.create_database("theirs", client.tenant)
        others = client.api.create_collection(
            *("hidden", {"hnsw": {"space": "l2"}}, {"about": "SECRET"}),
            get_or_create=False,
            tenant=client.tenant,
            database="theirs",
        )
        yield client, f"records_{others.id.hex}_0"


def everything(client: Any, folder: Path) -> Any:
    db = client.api.db
    tables = [row[0] for row in db._connection.execute("SHOW TABLES").fetchall()]
    rows = {name: db._connection.execute(f'FROM "{name}"').fetchall() for name in tables}
    return rows, sorted(os.listdir(folder))


WRITES = [
    "EXPLAIN ANALYZE DELETE FROM docs",
    "EXPLAIN ANALYZE DROP TABLE meta",
    "EXPLAIN (ANALYZE) SELECT 1",
    "EXPLAIN DELETE FROM docs",
    "EXPLAIN ANALYZE COPY (SELECT 1) TO 'stolen.csv'",
    "COPY (SELECT 1) TO 'stolen.csv'",
    "WITH x AS (INSERT INTO tenants VALUES ('x') RETURNING *) SELECT * FROM x",
    "WITH x AS (DELETE FROM docs RETURNING *) SELECT * FROM x",
    "WITH x AS (COPY (SELECT 1) TO 'stolen.csv') SELECT 1",
    "DELETE FROM docs",
    "MERGE INTO docs USING docs AS d ON true WHEN MATCHED THEN DELETE",
    "ATTACH 'other.duckdb'",
    "DETACH records",
    "INSTALL httpfs",
    "LOAD httpfs",
    "SET threads = 1",
    "PRAGMA database_list",
    "CALL duckdb_tables()",
    "CHECKPOINT",
    "USE records",
    "COMMIT",
    "PREPARE p AS SELECT 1",
    "CREATE TEMP TABLE t AS SELECT 1",
    "EXPORT DATABASE 'stolen'",
    "SELECT 1; DROP TABLE docs",
    "/* SELECT */ DROP TABLE docs",
]
READS = [
    "read_csv('secret.csv')",
    "read_text('secret.csv')",
    "read_blob('secret.csv')",
    "read_json('secret.csv')",
    "read_parquet('secret.csv')",
    "glob('*')",
    "sniff_csv('secret.csv')",
    "'secret.csv'",
    '"secret.csv"',
    "query('SELECT 1')",
    "query_table('docs')",
    "duckdb_secrets()",
    "duckdb_settings()",
    "duckdb_logs",
    "pg_catalog.pg_settings",
    "pragma_table_info('docs')",
    "json_execute_serialized_sql(json_serialize_sql('SELECT 1'))",
    "seq_scan('docs')",
    "checkpoint()",
    "meta",
    "main.meta",
    "records.meta",
    "records.main.collections",
    "temp.main.docs",
    "hidden",
    "local_frame",
    "self",
    "cursor",
]


@pytest.mark.parametrize(
    "query",
    [
        "SELECT getenv('CHROMA_NB_TEST')",
        "SELECT current_setting('temp_directory')",
        "SELECT json_serialize_plan('FROM records.main.meta')",
        "SELECT pg_get_viewdef(1)",
        "SELECT nextval('s')",
        "SELECT write_log('x')",
        "SELECT list_transform([1], lambda i: (SELECT max(key) FROM records.main.meta))",
        "SELECT n FROM docs ORDER BY (SELECT max(key) FROM records.main.meta)",
        "SELECT n FROM docs LIMIT (SELECT count(*) FROM records.main.meta)",
        "PIVOT docs ON n USING max((SELECT max(value) FROM records.main.meta))",
        "PIVOT docs ON (SELECT max(key) FROM records.main.meta) USING count(*)",
        "SELECT * FROM (WITH meta AS (SELECT 1) FROM meta), meta",
        "SELECT * REPLACE ((SELECT max(key) FROM records.main.meta) AS id) FROM docs",
        "SELECT 1 \0 DROP",
    ],
)
def test_no_part_of_a_query_reaches_what_is_not_a_collection(client: Any, query: str) -> None:
    refusal(client, query)


def test_a_query_that_is_no_text_is_refused(client: Any) -> None:
    assert "as a str" in refusal(client, None)
    assert "not valid text" in refusal(client, "SELECT '\ud800'")
    assert "NUL" in refusal(client, "SELECT 1 -- \0 \n UNION SELECT 2")


def test_sql_writes_nothing_and_reads_nothing_but_collections(store: Any, tmp_path: Path) -> None:
    client, hidden = store
    local_frame = pd.DataFrame({"a": ["SECRET"]})
    assert len(local_frame) == 1
    before = everything(client, tmp_path)
    queries = [*WRITES]
    for source in [*READS, hidden, f'"{hidden}"', f"main.{hidden}", f"records.main.{hidden}"]:
        queries += [
            f"SELECT * FROM {source}",
            f"SELECT (SELECT count(*) FROM {source})",
            f"PIVOT {source} ON id USING count(*)",
            f"DESCRIBE {source}",
            f"EXPLAIN FROM {source}",
        ]
    for query in queries:
        with pytest.raises(InvalidArgumentError) as caught:
            client.sql(query)
        assert "SECRET" not in str(caught.value)
        # Before anything has run.
        said = str(caught.value)
        assert query not in WRITES or "client.sql()" in said or "cannot be read" in said
        assert hidden not in str(caught.value).replace(query, "").replace(hidden, "", 1)
    assert everything(client, tmp_path) == before
    assert client.sql("SHOW TABLES").name.tolist() == ["docs"]


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM records.main.meta",
        "DROP TABLE records.main.meta",
        "CREATE TABLE chroma_nb_sql.main.t AS SELECT 1",
        "COPY (SELECT 1) TO 'stolen.csv'",
        "FROM read_csv('secret.csv')",
        "FROM 'secret.csv'",
        "FROM local_frame",
        "FROM meta",
        "FROM {hidden}",
        "ATTACH 'other.duckdb'",
        "SET enable_external_access = true",
    ],
)
def test_what_gets_past_the_reading_of_a_query_still_does_no_harm(
    store: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, statement: str
) -> None:
    """The other walls: a transaction that only reads, no files, no Python variables, no unqualified names."""
    client, hidden = store
    local_frame = pd.DataFrame({"a": ["SECRET"]})
    assert len(local_frame) == 1
    before = everything(client, tmp_path)
    monkeypatch.setattr(
        _duckdb_sql._Question, "_read", lambda _self, query, _given: Statement(query)
    )
    with pytest.raises(InvalidArgumentError):
        client.sql(statement.format(hidden=hidden))
    assert everything(client, tmp_path) == before


@pytest.mark.parametrize(
    "query",
    [
        "WITH RECURSIVE duckdb_tables AS (SELECT table_name FROM duckdb_tables UNION ALL "
        "SELECT table_name FROM duckdb_tables WHERE false) FROM duckdb_tables",
        "WITH duckdb_tables AS MATERIALIZED (SELECT table_name FROM duckdb_tables) FROM duckdb_tables",
        "SELECT table_name FROM (WITH duckdb_tables AS (SELECT 1) FROM duckdb_tables), duckdb_tables",
    ],
)
def test_a_table_that_with_makes_hides_one_of_duckdbs_own_only_where_it_is_seen(
    client: Any, query: str
) -> None:
    # DuckDB before 2 refuses those that name themselves.
    with contextlib.suppress(InvalidArgumentError):
        assert sorted(client.sql(query).table_name) == NAMES


def test_a_name_of_withs_never_reaches_a_view_of_duckdbs_own(
    client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even if it was misread where it is seen."""
    misread = Statement("SELECT * FROM duckdb_tables", shadowed={"duckdb_tables"})
    monkeypatch.setattr(_duckdb_sql._Question, "_read", lambda *_: misread)
    assert "no such table" in refusal(client, "")


def test_a_store_without_access_to_files_spills_and_checkpoints(tmp_path: Path) -> None:
    chosen = chroma_nb.Settings(duckdb_memory_limit="40 MB", threads=1, progress=False)
    with chroma_nb.PersistentClient(tmp_path / "store", chosen) as client:
        notes = make(client, "notes", [{"n": 1}])
        query = "SELECT max(t) AS t FROM (SELECT t FROM (SELECT repeat('x', 20) || i AS t FROM "
        query += "range(1500000) r(i)) ORDER BY hash(t))"
        assert client.sql(query)["t"][0].endswith("999999")
        # Over the limit, and written into the file.
        for _ in range(2):
            notes.update(ids=["r0"], metadatas=[{"n": 2}])
            client.api.db.settle()
    with chroma_nb.PersistentClient(tmp_path / "store") as client:
        assert client.sql("SELECT n FROM notes").n.tolist() == [2]


# -- embeddings -------------------------------------------------------------------------------


@pytest.mark.parametrize("many", [False, True], ids=["one by one", "through pyarrow"])
def test_embeddings_are_read_where_they_are_wanted(
    client: Any, monkeypatch: pytest.MonkeyPatch, many: bool
) -> None:
    if many:
        pytest.importorskip("pyarrow", reason="the extra 'arrow' is not installed")
    monkeypatch.setattr(_sql_vectors, "_MANY_RECORDS", 0 if many else 1 << 60)
    read: list[int] = []
    plain = _sql_vectors.Reader.many

    def counted(self: Any, labels: Any) -> Any:
        read.append(len(labels))
        return plain(self, labels)

    monkeypatch.setattr(_sql_vectors.Reader, "many", counted)
    n = 300
    made = client.create_collection("vectors", embedding_function=None)
    try:
        vectors = np.random.default_rng(0).standard_normal((n, 3)).astype(np.float32)
        made.add(ids=[f"{row}" for row in range(n)], embeddings=vectors)
        made.update(ids=["5"], embeddings=[[9.0, 9.0, 9.0]])
        vectors[5] = 9.0
        frame = client.sql("SELECT id, embedding FROM vectors ORDER BY hash(id)")
        order = frame.id.astype(int).to_numpy()
        assert np.array_equal(np.stack(frame.embedding.tolist()), vectors[order])
        read.clear()
        for query in ("SELECT count(*) FROM vectors", "SELECT id FROM vectors", "FROM vectors"):
            client.sql(query)
        assert read == []
        client.sql("SELECT embedding FROM vectors WHERE id = '100'")
        client.sql("SELECT embedding FROM vectors LIMIT 1")
        assert sum(read) < n
        total = client.sql("SELECT sum(embedding[1]) AS s FROM vectors")["s"][0]
        assert total == pytest.approx(float(vectors[:, 0].sum()), rel=1e-4)
    finally:
        client.delete_collection("vectors")


def test_a_collection_without_vectors_has_none(client: Any) -> None:
    client.create_collection("empty", embedding_function=None)
    try:
        assert client.sql("SELECT embedding FROM empty").shape == (0, 1)
        assert client.sql("SELECT * FROM empty").shape == (0, 4)
    finally:
        client.delete_collection("empty")


# -- one moment -------------------------------------------------------------------------------


@pytest.fixture
def between(client: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], None]], None]:
    """Do something once, while a query has begun and has made no view yet."""

    def use(action: Callable[[], None]) -> None:
        plain = _duckdb_sql._Question._view
        todo = [action]

        def view(self: Any, *args: Any) -> Any:
            if todo:
                todo.pop()()
            return plain(self, *args)

        monkeypatch.setattr(_duckdb_sql._Question, "_view", view)

    return use


def test_a_query_sees_one_moment(client: Any, between: Any) -> None:
    one, other = (
        client.create_collection(name, embedding_function=None) for name in ("one", "other")
    )
    try:

        def write() -> None:
            for each in (one, other):
                each.add(ids=["new"], embeddings=[[1.0]], metadatas=[{"key": 1}])

        query = "SELECT (SELECT count(*) FROM one) AS a, (SELECT count(*) FROM other) AS b"
        between(write)
        assert client.sql(query).values.tolist() == [[0, 0]]
        assert client.sql(query).values.tolist() == [[1, 1]]
        assert client.sql("SELECT key FROM one").key.tolist() == [1]
    finally:
        client.delete_collection("one")
        client.delete_collection("other")


def test_a_query_begins_anew_when_its_collection_is_compacted(client: Any, between: Any) -> None:
    made = make(client, "compacted", [{"n": row} for row in range(8)])
    try:
        made.delete(ids=["r0", "r3"])
        between(lambda: client.api.db.compact(made.id))
        frame = client.sql("SELECT n, embedding FROM compacted ORDER BY n")
        assert frame.n.tolist() == [1, 2, 4, 5, 6, 7]
        assert [vector.tolist() for vector in frame.embedding] == [
            [2.0 * n, 2.0 * n + 1] for n in frame.n
        ]
    finally:
        client.delete_collection("compacted")


def test_vectors_of_a_compacted_collection_are_not_taken_for_the_new_ones(
    client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = make(client, "compacted", [{"n": row} for row in range(8)])
    made.delete(ids=["r0", "r3"])
    plain_begin, plain_read = _duckdb_sql._Question._begin, VectorFile.read
    begun: list[int] = []
    todo = [client.api.db.compact]

    def begin(self: Any, *args: Any) -> None:
        begun.append(1)
        plain_begin(self, *args)

    def read(self: Any, labels: Any) -> Any:
        vectors = plain_read(self, labels)
        if todo:
            # DuckDB's thread waits here, as it would for the disk.
            thread = threading.Thread(target=todo.pop(), args=[made.id])
            thread.start()
            thread.join()
        return vectors

    monkeypatch.setattr(_duckdb_sql._Question, "_begin", begin)
    monkeypatch.setattr(VectorFile, "read", read)
    try:
        frame = client.sql("SELECT n, embedding FROM compacted ORDER BY n")
        assert [vector.tolist() for vector in frame.embedding] == [
            [2.0 * n, 2.0 * n + 1] for n in (1, 2, 4, 5, 6, 7)
        ]
        assert len(begun) == 2
    finally:
        client.delete_collection("compacted")


def test_a_collection_that_is_rewritten_all_the_time_is_named(
    client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client.api.db, "_is_at", lambda *_: False)
    with pytest.raises(InternalError, match="rewritten 5 times"):
        client.sql("SELECT embedding FROM docs")


# -- memory and interrupts --------------------------------------------------------------------


@pytest.mark.parametrize("column", ["i", "i::DECIMAL(38, 1)"], ids=["as arrays", "as rows"])
def test_an_answer_that_does_not_fit_is_refused_on_the_way(
    client: Any, monkeypatch: pytest.MonkeyPatch, column: str
) -> None:
    small = SimpleNamespace(free=lambda: 40 << 20, limit=preflight.MACHINE.limit)
    monkeypatch.setattr(preflight, "MACHINE", small)
    with pytest.raises(MemoryBudgetError, match="What was read of it is let go") as caught:
        client.sql(f"SELECT {column} AS i FROM range(1000000000000) AS r(i)")
    assert caught.value.need > caught.value.free
    assert client.sql("SELECT count(*) AS n FROM docs").n.tolist() == [len(DOCS)]


RUNAWAYS = [
    # In one piece of work, in which DuckDB itself looks for no signal.
    "SELECT count(*) FROM docs a, docs b, range(1000000) c(i), range(1000000) d(i) WHERE hash(c.i + d.i) = 1",
    # While the answer is read.
    "SELECT i FROM range(1000000000000) r(i) WHERE i % 1000000 = 0",
    # While the values of a PIVOT are found.
    "PIVOT (FROM range(1000000000000) r(i)) ON i % 7 USING count(*)",
]


@pytest.mark.parametrize("query", RUNAWAYS)
def test_an_interrupt_ends_a_query(client: Any, query: str) -> None:
    db = client.api.db

    def interrupt() -> None:
        # When the query has a cursor; it runs for years.
        while not db._busy_cursors:
            time.sleep(0.001)
        time.sleep(0.02)
        signal.raise_signal(signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        client.sql(query)
    thread.join()
    assert not [one for one in threading.enumerate() if one.name == "chroma_nb-sql"]
    assert not db._busy_cursors
    assert client.sql("SELECT count(*) AS n FROM docs").n.tolist() == [len(DOCS)]


def test_closing_ends_a_query(tmp_path: Path) -> None:
    client = chroma_nb.PersistentClient(tmp_path / "store", chroma_nb.Settings(progress=False))
    make(client, "docs", [{"n": 1}])
    said: list[BaseException] = []

    def ask() -> None:
        try:
            client.sql(RUNAWAYS[1])
        except BaseException as error:
            said.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    while not client.api.db._asked:
        time.sleep(0.001)
    client.close()
    thread.join()
    assert [type(error) for error in said] == [InternalError]
    assert "closed" in str(said[0])
    with chroma_nb.PersistentClient(tmp_path / "store") as client:
        assert client.sql("SELECT n FROM docs").n.tolist() == [1]


def test_a_fault_of_duckdbs_own_is_no_argument_error_and_leaves_a_sound_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise duckdb.InternalException("INTERNAL Error: as asked")

    with chroma_nb.PersistentClient(tmp_path / "store") as client:
        notes = make(client, "notes", [{"n": 1}])
        before = client.api.db._connection
        with monkeypatch.context() as patch:
            patch.setattr(_duckdb_sql, "read_frame", fail)
            with pytest.raises(InternalError, match="as asked"):
                client.sql("SELECT n FROM notes")
        # DuckDB may take nothing more from then on, so it is opened anew.
        assert client.sql("SELECT n FROM notes").n.tolist() == [1]
        assert client.api.db._connection is not before
        notes.update(ids=["r0"], metadatas=[{"n": 2}])
        assert client.sql("SELECT n, embedding FROM notes").n.tolist() == [2]


def test_an_interrupt_before_the_work_has_begun_stops_it(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[int] = []
    begun: list[threading.Thread] = []

    def interrupted(self: threading.Thread) -> None:
        begun.append(self)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", interrupted)
        with pytest.raises(KeyboardInterrupt):
            _duckdb_sql.run_interruptibly(lambda _: done.append(1))
    # It comes to life after all.
    begun[0].start()
    begun[0].join()
    assert done == []


def test_a_thread_dies_where_no_interrupt_is_forgotten() -> None:
    """Python prints an interrupt that comes while weak references to an object are told, and goes on."""
    died_in: list[int] = []

    def watch(_: Any) -> int:
        weakref.finalize(threading.current_thread(), lambda: died_in.append(threading.get_ident()))
        return threading.get_ident()

    for _ in range(50):
        ident = _duckdb_sql.run_interruptibly(watch)
        while not died_in:
            time.sleep(0.001)
        assert died_in.pop() == ident


def test_a_failed_query_leaves_nothing_behind(client: Any) -> None:
    db = client.api.db
    for query in ("SELECT nothing FROM docs", "SELECT document::INT FROM docs", "SELEC"):
        with pytest.raises(ChromaError):
            client.sql(query)
    assert not db._busy_cursors
    assert db._sql_vectors._readers == {}
    views = db._connection.execute("SELECT count(*) FROM duckdb_views() WHERE NOT internal")
    assert views.fetchall() == [(0,)]


def test_rows_come_in_the_order_of_their_first_insertion(client: Any) -> None:
    made = make(client, "ordered", [{"n": row} for row in range(4)])
    try:
        made.update(ids=["r1", "r0"], metadatas=[{"n": 11}, {"n": 10}])
        assert client.sql("SELECT n FROM ordered").n.tolist() == [10, 11, 2, 3]
        assert client.sql("SELECT id FROM ordered LIMIT 2").id.tolist() == ["r0", "r1"]
        assert client.sql("SELECT list(n) AS l FROM ordered").l[0] == [10, 11, 2, 3]
    finally:
        client.delete_collection("ordered")


def test_queries_of_many_threads_are_answered(client: Any) -> None:
    answers: list[Any] = []

    def ask(number: int) -> None:
        for _ in range(5):
            frame = client.sql("SELECT n + ? AS n, embedding FROM docs WHERE n = 1", [number])
            answers.append((number, frame.n[0] - 1, frame.embedding[0].tolist()))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == sorted((n, n, [0.0, 1.0]) for n in range(4) for _ in range(5))


def test_columns_are_found_once_for_each_version(
    client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    plain = _duckdb_sql.read_types

    def counted(cursor: Any, table: str) -> Any:
        asked.append(table)
        return plain(cursor, table)

    monkeypatch.setattr(_duckdb_sql, "read_types", counted)
    made = make(client, "versions", [{"n": 1}])
    try:
        client.sql("SELECT count(*), max(id), max(document) FROM versions")
        assert asked == []
        client.sql("SELECT n FROM versions")
        client.sql("SELECT * FROM versions")
        assert len(asked) == 1
        made.update(ids=["r0"], metadatas=[{"later": "x"}])
        assert client.sql("SELECT later FROM versions").later.tolist() == ["x"]
        assert len(asked) == 2
    finally:
        client.delete_collection("versions")


def test_a_collection_of_very_many_keys_says_so(
    client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_duckdb_sql, "_MAX_COLUMNS", 3)
    assert "metadata keys, and * has 3 columns" in refusal(client, "SELECT * FROM docs")
    assert client.sql("SELECT n FROM docs WHERE n = 1").n.tolist() == [1]


@pytest.mark.parametrize("depth", [300, 20_000])
def test_a_query_that_is_nested_deeply_is_answered_or_refused(client: Any, depth: int) -> None:
    with contextlib.suppress(InvalidArgumentError):
        client.sql("SELECT " + "(" * depth + "1" + ")" * depth)
    with contextlib.suppress(InvalidArgumentError):
        client.sql("SELECT " + "abs(" * depth + "1" + ")" * depth)
    assert client.sql("SELECT 1 AS one").one.tolist() == [1]


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
