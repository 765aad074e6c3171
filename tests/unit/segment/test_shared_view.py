"""`SharedView`: what another process commits reaches this one's segment, or the segment goes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from chroma_nb.errors import NotFoundError
from chroma_nb.segment.commit_room import CommitRoom
from chroma_nb.segment.locks import Mutex
from chroma_nb.segment.segment import LoadedSegment
from chroma_nb.testing import SharedMemory, SharedMemoryDB
from tests.unit.segment.conftest import Store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from chroma_nb.segment.shared_view import SharedView
    from chroma_nb.settings import Settings


@pytest.fixture
def memory() -> SharedMemory:
    return SharedMemory()


@pytest.fixture
def two(tmp_path: Path, memory: SharedMemory) -> Iterator[list[Store]]:
    """Two processes, of which the first has loaded the collection that both see; it has the record "a"."""

    def db(settings: Settings) -> SharedMemoryDB:
        return SharedMemoryDB(settings, memory)

    mine = Store(tmp_path, db, lambda: None)
    other = Store(tmp_path, db, lambda: None, collection=mine.id)
    mine.write("a")
    yield [mine, other]
    mine.close()
    other.close()


def view_of(store: Store) -> SharedView:
    return store.segments._view


def test_nothing_is_locked_where_nobody_has_committed(
    two: list[Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    mine, _ = two

    def taken(*_: Any) -> None:
        raise AssertionError("a lock was taken")

    slot = mine.slot()
    with monkeypatch.context() as patch:
        patch.setattr(Mutex, "__enter__", taken)
        patch.setattr(Mutex, "acquire", taken)
        assert not view_of(mine).catch_up(slot)


def test_a_loaded_segment_follows(two: list[Store]) -> None:
    mine, other = two
    segment = mine.slot().segment
    other.write("b", "c")
    other.writer.delete(other.id, None, ids=["a"], limit=None)
    assert mine.db.extent(mine.id).n_records == 1, "the view moves only when it is asked to"
    assert view_of(mine).catch_up(mine.slot())
    assert mine.slot().segment is segment
    assert segment.version == other.db.extent(other.id).version
    assert list(mine.texts()) == ["b", "c"]
    assert not view_of(mine).catch_up(mine.slot())
    ledger = mine.segments.residents.ledger
    assert ledger.accounts() == {mine.id: segment.resident_bytes}


def test_without_a_segment_the_view_alone_moves(two: list[Store]) -> None:
    mine, other = two
    mine.segments.unload(mine.id)
    mine.slot().least_bytes = 10**12
    other.write("b")
    assert view_of(mine).catch_up(mine.slot())
    assert mine.db.extent(mine.id).n_records == 2
    assert mine.slot().least_bytes is None, "what did not fit may do now"
    assert mine.slot().segment is None


@pytest.mark.parametrize(
    "why", ["the commits are not known", "compacted", "no room", "interrupted"]
)
def test_a_segment_that_cannot_follow_is_dropped(
    two: list[Store], memory: SharedMemory, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    mine, other = two
    if why == "the commits are not known":
        memory.n_kept = 1
        other.write("x")
    other.write("b")
    if why == "compacted":
        other.db.compact(other.id)
    elif why == "no room":
        monkeypatch.setattr(CommitRoom, "_reserve", lambda *_: None)
    elif why == "interrupted":

        def stopped(*_: Any) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(LoadedSegment, "apply", stopped)
    try:
        assert view_of(mine).catch_up(mine.slot())
        assert why != "interrupted"
    except KeyboardInterrupt:
        pass
    assert mine.slot().segment is None
    assert mine.segments.residents.ledger.used == 0
    assert {"a", "b"} <= set(mine.texts())


def test_a_new_configuration_reaches_the_segment(two: list[Store]) -> None:
    mine, other = two
    other.db.update_collection(other.id, lambda info: replace(info, name="renamed"))
    assert view_of(mine).catch_up(mine.slot())
    assert mine.slot().segment.info.name == "renamed"
    assert not view_of(mine).catch_up(mine.slot())


def test_what_another_process_has_deleted_is_freed(two: list[Store]) -> None:
    mine, other = two
    slot = mine.slot()
    mine.segments.pin(mine.id, True)
    other.db.delete_collection(other.id)
    with pytest.raises(NotFoundError):
        view_of(mine).catch_up(slot)
    assert slot.segment is None
    residents = mine.segments.residents
    assert residents.ledger.used == 0
    assert (list(residents.slots), residents.slots.pins()) == ([], [])
    view_of(mine).free_deleted(mine.id)
    with pytest.raises(NotFoundError):
        mine.slot()
