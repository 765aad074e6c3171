"""`WrittenTexts`: what an update keeps of a record, and which metadata keys it brings."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from chroma_nb.db.base import RecordRows
from chroma_nb.errors import MemoryBudgetError
from chroma_nb.memory.workspace import WORKSPACE
from chroma_nb.segment import written_texts
from chroma_nb.segment.loaded import LoadedMetadata
from chroma_nb.segment.written_texts import WrittenTexts
from chroma_nb.settings import Settings
from chroma_nb.testing import SharedMemoryDB
from chroma_nb.types import RecordBatch

#: What the records "a", "b" and "c" have: labels 0 to 2, and sequence numbers from 10.
OLD = RecordRows(
    labels=np.arange(3),
    sequences=np.arange(10, 13),
    ids=["a", "b", "c"],
    documents=["old", None, "ünï"],
    uris=["u:a", None, None],
    metadatas=['{"x":1,"y":[1,2]}', None, '{"z":true}'],
)
#: Is asked for its memory, and for nothing else.
DB = SharedMemoryDB(Settings())


def reader() -> LoadedMetadata:
    found = LoadedMetadata(lambda _: np.empty(0, dtype=np.int64), lambda _: True)
    found.load(OLD, 3)
    return found


def written(labels: list[int], *, keep: bool = True, **columns: Any) -> WrittenTexts:
    """Return the merged texts of rows that change the records of these labels, -1 for a new one."""
    batch = RecordBatch([f"row{n}" for n in range(len(labels))], **columns)
    numbers = np.full(len(labels), 99)
    made = WrittenTexts(
        batch, np.arange(len(labels)), np.array(labels), numbers, reader(), keep=keep
    )
    with made.merged("notes", 0, DB):
        made.numbers = numbers.tolist()  # type: ignore[attr-defined]
    return made


def test_what_a_row_does_not_give_is_kept() -> None:
    found = written([2, 0, -1], documents=[None, "new", None], uris=["u:c", None, None])
    assert found.documents == ["ünï", "new", None]
    assert found.uris == ["u:c", "u:a", None]
    assert found.metadatas == ['{"z":true}', '{"x":1,"y":[1,2]}', None]
    assert found.numbers == [12, 10, 99]  # type: ignore[attr-defined]


def test_metadata_is_merged_key_by_key_and_none_takes_one_away() -> None:
    given = [{"x": None, "new": "é"}, {"z": None}, {"z": None, "b": 1}, {}]
    found = written([0, 2, 1, 0], metadatas=given)
    assert found.metadatas == [
        '{"y":[1,2],"new":"é"}',
        None,
        '{"b":1}',
        '{"x":1,"y":[1,2]}',
    ]
    assert (found.keys, found.drops_keys) == ({"new", "b"}, True)
    assert given[0] == {"x": None, "new": "é"}, "the caller's own"


def test_a_record_that_is_replaced_keeps_its_number_alone() -> None:
    found = written(
        [0, -1], keep=False, documents=["new", None], metadatas=[{"k": 1.5}, {"n": None}]
    )
    assert (found.documents, found.uris) == (["new", None], [None, None])
    assert found.metadatas == ['{"k":1.5}', None]
    assert found.numbers == [10, 99]  # type: ignore[attr-defined]
    assert found.keys == {"k"}


def test_only_the_chosen_rows_are_written() -> None:
    batch = RecordBatch(
        ["a", "b", "c"], documents=["1", "2", "3"], metadatas=[{"a": 1}, None, {"c": 3}]
    )
    rows = np.array([0, 2])
    found = WrittenTexts(batch, rows, np.array([-1, -1]), np.array([0, 1]), reader(), keep=False)
    with found.merged("notes", 0, DB):
        assert found.documents == ["1", "3"]
        assert found.metadatas == ['{"a":1}', '{"c":3}']
        assert found.uris == [None, None]


def test_too_many_keys_are_not_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(written_texts, "MOST_METADATA_KEYS", 2)
    assert written([-1], metadatas=[{"a": 1, "b": 2}]).keys == {"a", "b"}
    assert written([-1, -1], metadatas=[{"a": 1, "b": 2}, {"c": 3}]).keys is None


def test_pieces_give_the_same_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, Any] = {"metadatas": [{"new": 1}, {"x": None}, None]}
    whole = written([1, 0, 2], **given)
    monkeypatch.setattr(written_texts, "_PIECE_BYTES", 1)
    pieces = written([1, 0, 2], **given)
    assert (pieces.documents, pieces.metadatas) == (whole.documents, whole.metadatas)
    assert pieces.numbers == whole.numbers == [11, 10, 12]  # type: ignore[attr-defined]


def test_a_number_that_is_not_json_is_never_written() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        written([0], metadatas=[{"x": float("nan")}])


def test_what_does_not_fit_is_refused_before_it_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(WORKSPACE), "_free", lambda self: 100_000)
    n = 50_000
    batch = RecordBatch(["id"] * n, metadatas=[{"n": 1}] * n)
    made = WrittenTexts(batch, np.arange(n), np.full(n, -1), np.arange(n), reader(), keep=False)
    with (
        pytest.raises(
            MemoryBudgetError, match=r"Writing 50,000 records to collection \[notes\]"
        ) as got,
        made.merged("notes", 5, DB),
    ):
        raise AssertionError("it was merged")
    assert got.value.free < got.value.need
    assert made.metadatas == []
