"""DataFrames out and in."""

from __future__ import annotations

import datetime
from typing import Any

import numpy as np
import pandas as pd
import pytest

from chroma_nb.errors import DuplicateIDError, InvalidArgumentError
from tests.unit.transfer.records import EVERYTHING, content


def test_results_become_flat_tables(notes: Any) -> None:
    frame = notes.to_pandas()
    assert list(frame.columns) == ["id", "document", "n", "f", "tags", "metadata.id", "b", "uri"]
    assert frame["id"].tolist() == ["a", "b", "c"]
    found = notes.query(query_embeddings=[[1.0, 0.0], [0.0, 1.0]], n_results=2)
    frame = found.to_pandas()
    assert list(frame.columns)[:5] == ["query", "rank", "id", "distance", "document"]
    assert frame[["query", "rank", "id"]].values.tolist() == [
        [0, 1, "a"],
        [0, 2, "c"],
        [1, 1, "b"],
        [1, 2, "c"],
    ]
    assert found.to_pandas(query=1)["id"].tolist() == ["b", "c"]
    assert notes.get(where={"n": 99}).to_pandas().empty


def test_a_frame_goes_in(client: Any) -> None:
    frame = pd.DataFrame(
        {
            "text": ["one", "two", None],
            "embedding": [[1.0, 0.0], np.array([0.0, 1.0]), [1.0, 1.0]],
            "n": [1.0, np.nan, 3.0],
            "when": [datetime.datetime(2024, 1, 2), pd.NaT, pd.Timestamp("2024-05-06")],
            "tags": [["x"], [], None],
        },
        index=pd.Index(["a", "b", "c"], name="key"),
    )
    notes = client.create_collection("frames", embedding_function=None).from_pandas(frame)
    got = notes.get(include=EVERYTHING)
    assert got["ids"] == ["a", "b", "c"]
    assert got["documents"] == ["one", "two", None]
    assert got["metadatas"] == [
        {"n": 1.0, "when": "2024-01-02T00:00:00", "tags": ["x"]},
        None,
        {"n": 3.0, "when": "2024-05-06T00:00:00"},
    ]
    # The same frame again changes nothing, as the ids are there.
    before = content(notes)
    notes.from_pandas(frame)
    assert content(notes) == before


def test_columns_are_chosen_and_wrong_ones_named(client: Any) -> None:
    frame = pd.DataFrame(
        {"key": [7, 8], "body": ["x", "y"], "v": [[1.0], [2.0]], "keep": [1, 2], "drop": [3, 4]}
    )
    notes = client.create_collection("frames", embedding_function=None)
    notes.from_pandas(frame, id="key", document="body", embedding="v", metadata=["keep"])
    assert notes.get(include=["metadatas"])["metadatas"] == [{"keep": 1}, {"keep": 2}]
    assert notes.get()["ids"] == ["7", "8"]
    with pytest.raises(InvalidArgumentError, match=r"no column 'bodi'.*key, body"):
        notes.from_pandas(frame, document="bodi")
    with pytest.raises(InvalidArgumentError, match="neither a document nor an embedding"):
        notes.from_pandas(frame)


@pytest.mark.parametrize("kind", ["pandas", "polars", "arrow"])
def test_the_way_out_of_rows_that_are_repeated_works_beside_embeddings(
    client: Any, kind: str
) -> None:
    frame: Any = pd.DataFrame(
        {"id": ["a", "b", "a"], "embedding": [[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]]}
    )
    if kind == "polars":
        frame = pytest.importorskip("polars").from_pandas(frame)
    elif kind == "arrow":
        frame = pytest.importorskip("pyarrow").Table.from_pandas(frame)
    notes = client.create_collection("repeated", embedding_function=None)
    add = notes.from_arrow if kind == "arrow" else notes.from_pandas
    with pytest.raises(DuplicateIDError) as error:
        add(frame, id="id")
    code = str(error.value).partition("keep the first of them: ")[2].partition("; else")[0]
    unique = eval(code, {"frame": frame, "table": frame})
    notes.from_pandas(unique, id="id")
    assert notes.get()["ids"] == ["a", "b"]
