"""SHOW TABLES, information_schema, plans: they show collections and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from chroma_nb.db.sql import query as query_module
from chroma_nb.db.sql.columns import ColumnsCache
from tests.unit.sql.conftest import DOCS, NAMES, make, refusal


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
    monkeypatch.setattr(client.api.db, "sql_columns", ColumnsCache())
    monkeypatch.delattr(query_module, "read_columns")
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
