"""What is refused, and what stops a query that gets past the check."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest

import chroma_nb
from chroma_nb.db.sql import query as query_module
from chroma_nb.db.sql.statement import Statement
from chroma_nb.errors import InvalidArgumentError
from tests.stores import private_settings
from tests.unit.sql.conftest import NAMES, make, refusal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


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
            "hidden",
            {"hnsw": {"space": "l2"}},
            {"about": "SECRET"},
            get_or_create=False,
            tenant=client.tenant,
            database="theirs",
        )
        yield client, f"records_{others.id.hex}_0"


def everything(client: Any, folder: Path) -> Any:
    db = client.api.db
    tables = [row[0] for row in db._database.connection.execute("SHOW TABLES").fetchall()]
    rows = {name: db._database.connection.execute(f'FROM "{name}"').fetchall() for name in tables}
    return rows, sorted(os.listdir(folder))


#: Takes a character of a text in 1,500 ways.
LARGE = "(a?){750}b"
#: The expression, and what the patterns in it have together.
PATTERNS = [
    (f"regexp_matches(document, '{LARGE}')", "1,501 parts"),
    (f"document.regexp_matches('{LARGE}')", "1,501 parts"),
    (f"lower(document).regexp_matches('{LARGE}')", "1,501 parts"),
    (f"main.regexp_matches(document, '{LARGE}')", "1,501 parts"),
    (f"document SIMILAR TO '{LARGE}'", "1,501 parts"),
    (f"document NOT SIMILAR TO '{LARGE}'", "1,501 parts"),
    (f"document ~ '{LARGE}'", "1,501 parts"),
    (f"regexp_matches(document, CAST('{LARGE}' AS VARCHAR))", "1,501 parts"),
    (f"document ~ '{LARGE}' OR uri !~ '{LARGE}'", "3,002 parts"),
    (f"regexp_replace(document, '{LARGE}', 'x', 'g')", "1,501 parts"),
    (f"regexp_extract(document, '{LARGE}')", "1,501 parts"),
    (f"REGEXP_EXTRACT_ALL(document, '{LARGE}')", "1,501 parts"),
    (f"string_split_regex(document, '{LARGE}')", "1,501 parts"),
    (f"regexp_split_to_array(document, '{LARGE}')", "1,501 parts"),
    (f"list_filter([document], lambda x: regexp_matches(x, '{LARGE}'))", "1,501 parts"),
    (f"(SELECT max(d.document ~ '{LARGE}') FROM docs AS d)", "1,501 parts"),
]


@pytest.fixture(scope="module")
def long_text() -> Iterator[Any]:
    """A client whose longest document has a million bytes, and a longer one that was deleted."""
    with chroma_nb.Client(private_settings(max_pattern_length=100)) as client:
        docs = client.create_collection("docs", embedding_function=None)
        vectors = [[1.0]] * 2
        docs.add(ids=["a", "b"], embeddings=vectors, documents=["a" * 1_000_000, "c" * 5_000_000])
        docs.delete(ids=["b"])
        yield client


@pytest.mark.parametrize(("expression", "said"), PATTERNS)
def test_a_pattern_that_would_run_for_minutes(long_text: Any, expression: str, said: str) -> None:
    message = refusal(long_text, f"SELECT {expression} FROM docs")
    assert message.startswith("client.sql() refuses the")
    assert said in message
    assert "1,000,000 bytes" in message
    assert "500,000,000 (Settings.max_pattern_work)" in message


def test_patterns_in_parameters_are_checked_as_well(long_text: Any) -> None:
    for query, parameters in (
        ("SELECT id FROM docs WHERE id = ? AND document ~ ?", ["a", LARGE]),
        ("SELECT id FROM docs WHERE regexp_matches(document, $2) AND id = $1", ["a", LARGE]),
        ("SELECT id FROM docs WHERE document ~ $p::VARCHAR", {"p": LARGE}),
        ("FROM (PIVOT docs ON document ~ $p USING count(*))", {"p": LARGE}),
    ):
        assert "max_pattern_work" in refusal(long_text, query, parameters)


def test_a_long_pattern_is_refused_whatever_the_texts_are(long_text: Any) -> None:
    message = refusal(long_text, f"SELECT id ~ '{'x' * 101}' FROM docs")
    assert "101 characters, the limit is 100 (Settings.max_pattern_length)" in message
    assert "joined with OR" in message


def test_ordinary_patterns_are_answered(long_text: Any) -> None:
    """The other arguments are no patterns, and what was deleted does not count."""
    for expression in (
        "document ~ '[0-9]{4}-[0-9]{2}'",
        "document LIKE '%' || repeat('b_', 100) || '%'",
        f"regexp_replace(id, 'a', '{'y' * 200}')",
        f"regexp_escape('{'y' * 200}')",
        "id ~ ('a' || '')",
        "document ~ '(a?){50}c'",
    ):
        assert len(long_text.sql(f"SELECT {expression} FROM docs")) == 1
    assert "Values were not provided" in refusal(long_text, "SELECT id ~ $p FROM docs", {})


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


@pytest.mark.parametrize(
    "source",
    [
        "'x.parquet'",
        '"x.csv.gz"',
        "'folder/x'",
        "'https://example.org/x.json'",
        "x.parquet",
        "read_csv('x.csv')",
        "read_parquet('x')",
        "parquet_scan('x')",
        "glob('*')",
    ],
)
def test_a_file_as_a_table_gets_an_error_that_says_how_it_comes_in(
    client: Any, source: str
) -> None:
    said = refusal(client, f"SELECT * FROM {source}")
    for way in (
        "client.import_(path)",
        "from_arrow(pyarrow.parquet.read_table(path))",
        "from_pandas",
    ):
        assert way in said


def test_a_variable_as_a_table_gets_an_error_that_says_how_it_comes_in(client: Any) -> None:
    assert "collection.from_pandas(df)" in refusal(client, "SELECT * FROM df")
    assert "from_pandas" not in refusal(client, "SELECT * FROM dosc")
    assert "Allowed are" in refusal(client, "SELECT * FROM no_such_function(1)")


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
        query_module._Query, "_read", lambda _self, query, _parameters: Statement(query)
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
    misread = Statement("SELECT * FROM duckdb_tables", cte_names={"duckdb_tables"})
    monkeypatch.setattr(query_module._Query, "_read", lambda *_: misread)
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


@pytest.mark.parametrize("depth", [300, 20_000])
def test_a_query_that_is_nested_deeply_is_answered_or_refused(client: Any, depth: int) -> None:
    with contextlib.suppress(InvalidArgumentError):
        client.sql("SELECT " + "(" * depth + "1" + ")" * depth)
    with contextlib.suppress(InvalidArgumentError):
        client.sql("SELECT " + "abs(" * depth + "1" + ")" * depth)
    assert client.sql("SELECT 1 AS one").one.tolist() == [1]


def test_a_pivot_without_usable_names_of_columns_is_refused(client: Any) -> None:
    empty = "PIVOT (SELECT pos, n FROM docs WHERE n > 9) ON pos USING count(*)"
    assert "the expression after ON has no values. Name the columns" in refusal(client, empty)
    nul = "PIVOT (SELECT 'a' || chr(0) AS t, n FROM docs) ON t USING count(*)"
    assert "values with a NUL character, which cannot be column names" in refusal(client, nul)
    listed = "PIVOT duckdb_tables() ON table_name USING count(*)"
    assert "PIVOT of a system view needs its columns written out" in refusal(client, listed)
