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
