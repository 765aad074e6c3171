"""What becomes of the records that are selected on a map, without a map."""

from __future__ import annotations

import csv
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


def test_no_spreadsheet_runs_what_a_csv_says(notes: Any, tmp_path: Path) -> None:
    evil = '=HYPERLINK("http://evil")'
    notes.add(
        ids=["+1", "d"],
        documents=[evil, " @SUM(A1)"],
        embeddings=[[4.0], [5.0]],
        metadatas=[{"-key": "\tx", "n": -5, "year": 1999}, {"n": 2.5, "tags": ["=1"]}],
    )
    map_selection.to_csv(notes, ["+1", "d"], tmp_path / "some.csv")
    with (tmp_path / "some.csv").open(encoding="utf-8", newline="") as file:
        head, first, second = csv.reader(file)
    assert set(head) == {"id", "document", "'-key", "n", "year", "tags"}
    one, two = (dict(zip(head, row, strict=True)) for row in (first, second))
    assert (one["id"], one["document"], one["'-key"]) == ("'+1", f"'{evil}", "'\tx")
    assert two["document"] == "' @SUM(A1)"
    assert (one["n"], one["year"]) == ("-5.0", "1999"), "numbers stay numbers"
    assert not [cell for cell in (*first, *second) if cell.lstrip().startswith(("=", "@", "+"))]


def test_a_value_is_set_and_the_others_stay(notes: Any) -> None:
    assert map_selection.set_metadata(notes, ["b"], "mine", True) == 1
    (metadata,) = notes.get(ids=["b"])["metadatas"]
    assert metadata == {**dict.fromkeys(KEYS, 1), "mine": True}
    assert notes.get(where={"mine": True})["ids"] == ["b"]


def test_a_copy_has_the_records_and_their_configuration(notes: Any) -> None:
    made = map_selection.copy_to(notes, ["c", "a"], "some")
    assert sorted(made.get()["ids"]) == ["a", "c"]
    assert made.configuration_json["hnsw"] == notes.configuration_json["hnsw"]


def test_a_copy_that_fails_takes_back_what_it_made_and_nothing_else(
    notes: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = notes.client

    def somebody_else_takes_the_name(*arguments: Any) -> Any:
        client.get_collection("some").modify(name="half")
        theirs = client.create_collection("some", embedding_function=None)
        theirs.add(ids=["theirs"], embeddings=[[1.0]])
        raise KeyboardInterrupt

    monkeypatch.setattr(map_selection, "pieces_by_id", somebody_else_takes_the_name)
    with pytest.raises(KeyboardInterrupt):
        map_selection.copy_to(notes, ["a"], "some")
    assert sorted(one.name for one in client.list_collections()) == ["notes", "some"]
    assert client.get_collection("some").get()["ids"] == ["theirs"]


def test_a_copy_that_somebody_has_deleted_fails_with_what_went_wrong(
    notes: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def somebody_deletes_it(*arguments: Any) -> Any:
        notes.client.delete_collection("some")
        raise KeyboardInterrupt

    monkeypatch.setattr(map_selection, "pieces_by_id", somebody_deletes_it)
    with pytest.raises(KeyboardInterrupt):
        map_selection.copy_to(notes, ["a"], "some")
    assert [one.name for one in notes.client.list_collections()] == ["notes"]


def test_nothing_selected_is_said(notes: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="No record is selected"):
        map_selection.set_metadata(notes, [], "mine", 1)
