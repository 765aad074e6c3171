"""Sparse vectors wherever metadata is read: tables, files, SQL, displays, panels, copies, both states of a collection."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

import chroma_nb
from chroma_nb import Knn, Schema, Search, SparseVector, SparseVectorIndexConfig
from chroma_nb.display.cells import text_of
from chroma_nb.errors import InvalidArgumentError
from chroma_nb.search.sparse import revive
from chroma_nb.widgets.filter_controls import look_at
from chroma_nb.widgets.table.columns import seen_columns
from chroma_nb.widgets.table.copying import as_csv, as_json
from chroma_nb.widgets.table.sources import Record
from chroma_nb.wire.answers import AnswerError, check_metadatas
from tests.stores import private_settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

VECTOR = SparseVector([1, 5, 9], [0.25, -2.0, 1.0], ["<script>alert(1)</script>", "zwei", "drei"])
METADATAS = [{"sp": VECTOR, "k": 1}, {"sp": SparseVector([], [])}, {"k": 2}]


@pytest.fixture
def client() -> Iterator[Any]:
    with chroma_nb.Client(private_settings()) as client:
        yield client


@pytest.fixture
def records(client: Any) -> Any:
    collection = client.create_collection("records", embedding_function=None)
    collection.add(
        ids=["a", "b", "c"],
        embeddings=[[1.0, 0.0], [0.0, 1.0], [2.0, 2.0]],
        documents=["x", "y", "z"],
        metadatas=METADATAS,
    )
    return collection


CONDITIONS: list[Any] = [
    *({"sp": "x"}, {"sp": {"$ne": 1}}, {"sp": {"$lte": 9.5}}, {"sp": {"$contains": 5}}),
    *({"sp": {"$not_contains": 5}}, {"sp": {"$gte": "2020-01-01"}}, {"sp": {"$in": [True]}}),
    {"$or": [{"sp": {"$gt": 0}}, {"k": 2}]},
]


@pytest.mark.parametrize("where", CONDITIONS, ids=str)
def test_a_condition_finds_the_same_loaded_and_not_loaded(records: Any, where: Any) -> None:
    found = records.get(where=where)["ids"]
    records.query(query_embeddings=[[0.0, 0.0]])
    assert records.get(where=where)["ids"] == found
    records.unload()
    assert records.get(where=where)["ids"] == found
    negated = "$ne" in str(where) or "$not" in str(where)
    assert found == (["a", "b", "c"] if negated else ["c"] if "$or" in where else [])


def test_fields_name_them(records: Any) -> None:
    field = {one.key: one for one in records.fields.describe()}["sp"]
    assert (field.kinds, field.n_records, field.values) == (("SparseVector",), 2, [])


def test_tables_have_them_and_take_them_back(client: Any, records: Any) -> None:
    frame = records.to_pandas(include=["documents", "metadatas", "embeddings"])
    assert frame["sp"][0] == VECTOR
    again = client.create_collection("again", embedding_function=None)
    again.from_pandas(frame, embedding="embedding")
    assert again.get()["metadatas"] == METADATAS


def test_files_have_them(client: Any, records: Any, tmp_path: Path) -> None:
    records.export(tmp_path / "records.parquet")
    again = client.import_(tmp_path / "records.parquet", name="again")
    assert again.get()["metadatas"] == METADATAS


def test_arrow_and_sql_have_them_as_json(client: Any, records: Any) -> None:
    texts = records.to_arrow().column("metadata").to_pylist()
    assert json.loads(texts[0]) == {"sp": VECTOR.to_dict(), "k": 1}
    found = client.sql("SELECT sp FROM records WHERE id = 'a'")["sp"][0]
    assert json.loads(found) == VECTOR.to_dict()
    assert json.loads(str(VECTOR)) == VECTOR.to_dict()


def test_copies_have_them(records: Any) -> None:
    assert records.fork("fork").get()["metadatas"] == METADATAS


def test_displays_show_the_largest_values_as_text(records: Any) -> None:
    long = SparseVector(list(range(30)), [float(one) for one in range(30)])
    assert text_of(long) == "{29: 29, 28: 28, 27: 27, 26: 26, 25: 25, …} (30 values)"
    assert text_of(VECTOR) == text_of(VECTOR.to_dict())
    assert text_of(VECTOR).startswith("{zwei: -2, drei: 1, <script>")
    assert text_of({"#type": "sparse_vector", "indices": 3}).startswith("{")
    page = records.get()._repr_html_()
    assert "zwei: -2" in page
    assert "<script>" not in page


def test_the_table_reads_sorts_and_copies_them(records: Any) -> None:
    columns = seen_columns(records.get()["metadatas"])
    column = next(one for one in columns if one.key == "sp")
    assert (column.kinds, column.asks, column.choices) == (("SparseVector",), "", [])
    record = Record("a", "a", "x", None, METADATAS[0])
    assert json.loads(as_json(record))["metadata"]["sp"] == VECTOR.to_dict()
    assert '""tokens""' in as_csv(columns, [record])
    assert look_at(METADATAS)["sp"].names() == ("SparseVector",)


def test_collections_have_none(client: Any) -> None:
    with pytest.raises(ValueError, match="collection metadata value"):
        client.create_collection("other", metadata={"sp": VECTOR})


def test_one_that_was_changed_after_it_was_made_is_checked(records: Any) -> None:
    vector = SparseVector([1], [1.0])
    vector.indices.append(0)
    with pytest.raises(ValueError, match="same length"):
        records.update(ids=["a"], metadatas=[{"sp": vector}])
    with pytest.raises(InvalidArgumentError, match="4,294,967,295"):
        records.update(ids=["a"], metadatas=[{"sp": SparseVector([2**32], [1.0])}])
    assert records.get("a")["metadatas"] == METADATAS[:1]


def test_a_dict_that_only_looks_like_one_is_read_as_it_is() -> None:
    strange = [{"sp": {"#type": "sparse_vector", "indices": [1], "values": [1.0, 2.0]}}]
    revive(strange)
    assert strange[0]["sp"]["values"] == [1.0, 2.0]


def test_an_answer_with_another_dict_is_none() -> None:
    assert check_metadatas([{"sp": VECTOR.to_dict()}], 1) == [{"sp": VECTOR.to_dict()}]
    for wrong in ({"a": 1}, {"#type": "sparse_vector", "indices": [2, 1], "values": [1.0, 1.0]}):
        with pytest.raises(AnswerError):
            check_metadatas([{"sp": wrong}], 1)


def test_a_vector_of_a_hundred_thousand_entries_is_like_any_other(
    client: Any, tmp_path: Path
) -> None:
    n = 100_000
    large = SparseVector(list(range(0, 3 * n, 3)), [0.5 + at / n for at in range(n)])
    schema = Schema().create_index(SparseVectorIndexConfig(), key="sp")
    found = client.create_collection("large", schema=schema, embedding_function=None)
    found.add(
        ids=["large", "small"],
        embeddings=[[1.0, 0.0]] * 2,
        metadatas=[{"sp": large}, {"sp": SparseVector([3, 4], [1.0, 1.0])}],
    )
    assert found.get("large")["metadatas"] == [{"sp": large}]
    wanted = [["large", "small"]]
    search = Search(rank=Knn(large, key="sp", limit=2))
    assert found.search(search)["ids"] == wanted
    found.unload()
    assert found.search(search)["ids"] == wanted
    assert len(found.get()._repr_html_()) < 64_000
    found.export(tmp_path / "large.parquet")
    again = client.import_(tmp_path / "large.parquet", "again")
    assert again.get("large")["metadatas"] == [{"sp": large}]
    found.update("large", metadatas={"k": 1})
    assert found.get("large")["metadatas"] == [{"sp": large, "k": 1}]
