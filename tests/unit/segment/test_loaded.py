"""`LoadedMetadata`: what it holds and how it changes. What it answers: test_stored.py, beside the same from the DB."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from chroma_nb.db.base import Changes, RecordRows
from chroma_nb.filters.expression import And, Compare
from chroma_nb.segment import loaded
from chroma_nb.segment.loaded import LoadedMetadata


def rows_of(
    labels: list[int], metadatas: list[Any], sequences: list[int] | None = None
) -> RecordRows:
    return RecordRows(
        np.array(labels, dtype=np.int64),
        np.array(sequences or labels, dtype=np.int64),
        [f"id{label}" for label in labels],
        [f"document {label}" for label in labels],
        [None] * len(labels),
        [None if one is None else json.dumps(one) for one in metadatas],
    )


def changes_of(rows: RecordRows, removed: list[int], first_label: int, n_vectors: int) -> Changes:
    vectors = np.zeros((n_vectors, 2), dtype=np.float32)
    return Changes(rows, np.array(removed, dtype=np.int64), vectors, first_label, 0)


class Room:
    """Says how much may be held, and notes what it was asked."""

    def __init__(self) -> None:
        self.has_room = True
        self.asked: list[int] = []

    def __call__(self, n_bytes: int) -> bool:
        self.asked.append(n_bytes)
        return self.has_room


@pytest.fixture
def room() -> Room:
    return Room()


@pytest.fixture
def ten(room: Room) -> LoadedMetadata:
    """Ten records with the numbers 0 to 9."""
    made = LoadedMetadata(lambda _: np.empty(0, dtype=np.int64), room)
    made.load(rows_of(list(range(10)), [{"n": n} for n in range(10)]), 10)
    return made


LARGE = Compare("n", "$gte", 7)


def test_a_column_is_made_once_and_kept_up_to_date(ten: LoadedMetadata, room: Room) -> None:
    assert ten.select(LARGE).tolist() == ten.select(LARGE).tolist() == [7, 8, 9]
    assert ten.column_keys == {"n"}
    assert room.asked == [ten.column_bytes], "asked once, for what it takes"
    # Label 8 goes, 9 gets another number under its own label, and 10 is new.
    dead = ten.apply(changes_of(rows_of([9, 10], [{"n": 1}, {"n": 70}]), [8, 9], 10, 1))
    assert dead.tolist() == [8], "9 is there again"
    assert ten.select(LARGE).tolist() == [7, 10]
    assert (ten.n_labels, ten.n_live) == (11, 10)
    assert len(room.asked) == 1


def test_where_there_is_no_room_a_column_serves_once(ten: LoadedMetadata, room: Room) -> None:
    room.has_room = False
    for _ in range(2):
        assert ten.select(LARGE).tolist() == [7, 8, 9]
    assert (ten.column_keys, ten.column_bytes) == (frozenset(), 0)
    assert len(room.asked) == 1, "not asked again while there are as many labels"
    room.has_room = True
    ten.apply(changes_of(rows_of([10], [{"n": 10}]), [], 10, 1))
    assert ten.select(LARGE).tolist() == [7, 8, 9, 10]
    assert ten.column_keys == {"n"}


@pytest.mark.parametrize("has_room", [True, False])
def test_many_keys_at_once_match_as_one_by_one(
    ten: LoadedMetadata, room: Room, monkeypatch: pytest.MonkeyPatch, has_room: bool
) -> None:
    room.has_room = has_room
    monkeypatch.setattr(loaded, "_MANY_KEYS", 2)
    both = And((LARGE, Compare("missing", "$eq", 1, negated=True)))
    assert ten.select(both).tolist() == [7, 8, 9]
    assert ten.column_keys == ({"n", "missing"} if has_room else frozenset())


def test_columns_are_forgotten_but_for_some(ten: LoadedMetadata) -> None:
    ten.select(LARGE)
    ten.select(Compare("m", "$eq", 1))
    ten.forget_columns(but=frozenset({"n", "never made"}))
    assert ten.column_keys == {"n"}
    ten.forget_columns()
    assert ten.column_bytes == 0
    assert ten.select(LARGE).tolist() == [7, 8, 9]


def test_what_it_grows_by_is_known_before(ten: LoadedMetadata) -> None:
    ten.select(LARGE)
    first = 10
    for n in (1, 1, 20, 300):
        labels = list(range(first, first + n))
        changes = changes_of(rows_of(labels, [{"n": "x" * 50}] * n), [], first, n)
        before, bound = sum(ten.parts().values()), ten.growth(changes)
        ten.apply(changes)
        assert sum(ten.parts().values()) - before <= bound
        first += n


def test_storage_order_is_noticed_when_it_is_not_that_of_labels(ten: LoadedMetadata) -> None:
    assert ten.sequences() is None
    ten.apply(changes_of(rows_of([10], [None], [10]), [], 10, 1))
    assert ten.sequences() is None, "a new record is the last"
    ten.apply(changes_of(rows_of([11], [None], [3]), [3], 11, 1))
    assert ten.sequences() is not None
    assert ten.select().tolist() == [0, 1, 2, 11, *range(4, 11)]


def test_its_sections_make_it_again(ten: LoadedMetadata, room: Room) -> None:
    ten.apply(changes_of(rows_of([10], [{"n": 7}], [3]), [3], 10, 1))
    saved = {name: bytearray(memoryview(piece).cast("B")) for name, piece in ten.sections().items()}
    again = LoadedMetadata(lambda _: np.empty(0, dtype=np.int64), room)
    again.restore(saved)
    assert (again.n_labels, again.n_live) == (11, 10)
    for reader in (ten, again):
        assert reader.select().tolist() == [0, 1, 2, 10, *range(4, 10)]
        assert reader.select(LARGE).tolist() == [10, 7, 8, 9]
    again.apply(changes_of(rows_of([11], [{"n": 8}]), [0], 11, 1))
    assert again.select(LARGE).tolist() == [10, 7, 8, 9, 11], "it can be changed"
    assert again.find(["id0", "id11"]).tolist() == [-1, 11]


def test_texts_that_were_replaced_are_not_worth_saving(ten: LoadedMetadata) -> None:
    assert ten.is_worth_saving
    for _ in range(3):
        ten.apply(changes_of(rows_of(list(range(10)), [{"n": 0}] * 10), list(range(10)), 10, 0))
    assert not ten.is_worth_saving
