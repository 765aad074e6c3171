"""What becomes of the records that are selected on a map, without a map."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest

import chroma_nb
from chroma_nb.errors import InvalidArgumentError
from chroma_nb.widgets import map_selection

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KEYS = [f"key{number:02}" for number in range(30)]


@pytest.fixture
def notes() -> Iterator[Any]:
    with chroma_nb.EphemeralClient(chroma_nb.Settings(embedding="static")) as client:
        notes = client.create_collection("notes", embedding_function=None)
        notes.add(
            ids=["a", "b", "c"],
            documents=["x", "y", "z"],
            embeddings=[[1.0], [2.0], [3.0]],
            metadatas=[dict.fromkeys(KEYS, number) for number in range(3)],
        )
        yield notes


def test_a_csv_has_a_column_for_each_metadata_key(notes: Any, tmp_path: Path) -> None:
    assert map_selection.to_csv(notes, ["a", "c"], tmp_path / "some.csv") == 2
    frame = pd.read_csv(tmp_path / "some.csv")
    assert list(frame.columns) == ["id", "document", *KEYS]
    assert frame["id"].tolist() == ["a", "c"]
    assert frame["key29"].tolist() == [0, 2]


def test_a_value_is_set_and_the_others_stay(notes: Any) -> None:
    assert map_selection.set_metadata(notes, ["b"], "mine", True) == 1
    (metadata,) = notes.get(ids=["b"])["metadatas"]
    assert metadata == {**dict.fromkeys(KEYS, 1), "mine": True}
    assert notes.get(where={"mine": True})["ids"] == ["b"]


def test_a_copy_has_the_records_and_their_configuration(notes: Any) -> None:
    made = map_selection.copy_to(notes, ["c", "a"], "some")
    assert sorted(made.get()["ids"]) == ["a", "c"]
    assert made.configuration_json["hnsw"] == notes.configuration_json["hnsw"]


def test_nothing_selected_is_said(notes: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="No record is selected"):
        map_selection.set_metadata(notes, [], "mine", 1)
