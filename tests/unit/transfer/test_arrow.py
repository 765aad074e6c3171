"""Arrow tables out and in."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from chroma_nb.errors import InvalidArgumentError
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


@pytest.mark.parametrize(
    "change",
    [
        lambda frame: frame,
        lambda frame: frame[frame.k > 5],
        lambda frame: frame.iloc[4:],
        lambda frame: frame.iloc[::-1],
        lambda frame: frame.set_index(pd.Index([f"n{at}" for at in range(10)])),
        lambda frame: frame.set_index(pd.Index(range(100, 110), name="key")),
        lambda frame: frame.set_index(pd.Index(range(10), name="key")),
        lambda frame: frame.set_index(pd.Index([5, 3, *range(10, 18)], name="key")),
        lambda frame: frame.set_index("k"),
    ],
)
def test_a_table_of_pandas_has_the_ids_that_its_frame_has(client: Any, change: Any) -> None:
    """As of one that was read from a Parquet file: by pandas or by pyarrow, nothing is added twice."""
    frame = change(
        pd.DataFrame(
            {
                "document": [f"document {at}" for at in range(10)],
                "k": range(10),
                "embedding": [[float(at), 1.0] for at in range(10)],
            }
        )
    )
    docs = client.create_collection("docs", embedding_function=None)
    docs.from_pandas(frame)
    before = docs.get()
    docs.from_arrow(pa.Table.from_pandas(frame))
    assert docs.get() == before
    client.delete_collection("docs")
    other = client.create_collection("docs", embedding_function=None)
    other.from_arrow(pa.Table.from_pandas(frame))
    assert other.get() == before


def test_an_index_of_several_levels_is_refused_with_the_way_out(client: Any) -> None:
    frame = pd.DataFrame(
        {"document": ["a", "b"], "embedding": [[1.0], [2.0]], "key": ["x", "y"]},
        index=pd.MultiIndex.from_tuples([(1, 2), (3, 4)], names=["p", "q"]),
    )
    docs = client.create_collection("docs", embedding_function=None)
    with pytest.raises(InvalidArgumentError, match=r"2 levels \(p, q\)"):
        docs.from_arrow(pa.Table.from_pandas(frame))
    docs.from_arrow(pa.Table.from_pandas(frame), id="key", metadata=["p"])
    assert docs.get()["metadatas"] == [{"p": 1}, {"p": 3}]


def test_metadata_of_pandas_that_is_none_is_left_alone(client: Any) -> None:
    table = pa.table({"document": ["a"], "embedding": [[1.0]], "key": ["x"]})
    docs = client.create_collection("docs", embedding_function=None)
    for text in (
        b"[" * 100_000,
        b"{}",
        b'{"index_columns": [{"start": 1}]}',
        b'{"index_columns": [7, null]}',
        b"[]",
    ):
        docs.from_arrow(table.replace_schema_metadata({b"pandas": text}))
    assert docs.count() == 1
    assert docs.get()["metadatas"] == [{"key": "x"}]
