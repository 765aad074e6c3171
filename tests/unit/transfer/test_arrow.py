"""Arrow tables out and in."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.transfer.records import content

pa = pytest.importorskip("pyarrow", reason="the extra 'arrow' is not installed")


def test_an_arrow_table_comes_back_as_it_was(client: Any, notes: Any) -> None:
    table = notes.to_arrow()
    assert table.num_rows == 3
    assert table.schema.field("embedding").type == pa.list_(pa.float32(), 2)
    copy = client.create_collection("copy", embedding_function=None).from_arrow(table)
    assert content(copy) == content(notes)
    plain = pa.table({"id": ["p"], "document": ["text"], "embedding": [[1.0, 2.0]], "n": [5]})
    copy.from_arrow(plain)
    assert copy.get(ids=["p"])["metadatas"] == [{"n": 5}]


@pytest.mark.parametrize("without", [["uri"], ["document", "uri"]])
def test_metadata_of_a_table_that_went_through_another_program_stays_metadata(
    client: Any, notes: Any, without: list[str]
) -> None:
    """As `duckdb.sql("SELECT id, document, metadata ...")` returns it: columns chosen, and no description."""
    table = notes.to_arrow().drop_columns(without).replace_schema_metadata(None)
    copy = client.create_collection("copy", embedding_function=None)
    copy.from_arrow(table)
    assert copy.get()["metadatas"] == notes.get()["metadatas"]


@pytest.mark.parametrize(
    "text",
    [
        "no JSON",
        '{"a":{"b":1}}',
        '{"a":null}',
        '{"a":1,"a":2}',
        '{"a": 1}',
        "{}",
        "[1]",
        '{"a":1e0}',
    ],
)
def test_a_column_of_another_program_that_is_called_metadata_is_a_value(
    client: Any, text: str
) -> None:
    table = pa.table({"id": ["a"], "embedding": [[1.0]], "metadata": [text]})
    copy = client.create_collection("copy", embedding_function=None)
    copy.from_arrow(table)
    assert copy.get()["metadatas"] == [{"metadata": text}]
