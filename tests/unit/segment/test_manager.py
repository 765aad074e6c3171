"""`SegmentManager`: who gets which segment, and that a doubtful one is dropped."""

from __future__ import annotations

import dataclasses
import threading
from typing import TYPE_CHECKING, Any

import pytest

from chroma_nb.errors import ConflictError, InternalError, NotFoundError
from chroma_nb.filters.parsing import parse_where_document
from chroma_nb.index.cores import CORES
from chroma_nb.segment.segment import LoadedSegment

if TYPE_CHECKING:
    from tests.unit.segment.conftest import Store


LONG = 60.0


def test_a_query_loads_and_a_get_does_not(store: Store) -> None:
    store.write("a", "b")
    assert store.segments.unload(store.id) > 0
    with store.segments.present(store.id) as segment:
        assert not isinstance(segment, LoadedSegment)
        assert segment.resident_bytes == 0
    with store.segments.answering(store.id) as segment:
        assert isinstance(segment, LoadedSegment)
        assert segment.version == store.db.extent(store.id).version
    assert store.slot().loads == 1


def test_only_a_write_is_noted_as_one(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A query with a regular expression holds the lock of writers, too."""
    noted: list[str] = []
    monkeypatch.setattr(CORES, "note_reading", lambda: noted.append("read"))
    monkeypatch.setattr(CORES, "note_writing", lambda: noted.append("written"))
    store.write("a")
    assert set(noted) == {"written"}
    noted.clear()
    pattern = parse_where_document({"$regex": "a"})
    for unloaded in (False, True):
        if unloaded:
            store.segments.unload(store.id)
        with store.segments.present(store.id, pattern), store.segments.answering(store.id, pattern):
            pass
    assert set(noted) == {"read"}


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_a_segment_is_dropped_where_it_may_lack_a_commit(
    store: Store, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    store.write("a")

    def failed(*_: Any) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(LoadedSegment, "apply", failed)
        with pytest.raises(error):
            store.write("b")
    assert store.slot().segment is None
    assert list(store.texts()) == ["a", "b"], "it was committed"


def test_one_that_was_unloaded_a_moment_ago_can_be_looked_at(store: Store) -> None:
    """A report and a builder look at sizes without a lock, so what they look at may be unloaded meanwhile."""
    store.write("a", "b")
    with store.segments.answering(store.id) as segment:
        assert isinstance(segment, LoadedSegment)
    held = segment.metadata.parts()
    store.segments.unload(store.id)
    parts = segment.parts_of(0)
    assert set(held) <= set(parts)
    assert sum(segment.metadata.parts().values()) < sum(held.values())
    assert (segment.metadata.n_labels, segment.metadata.n_live) == (0, 0)
    assert not segment.metadata.alive.size
    assert not store.segments._graphs.tail_is_long(segment)


def test_a_collection_that_is_evicted_during_its_own_commit_holds_nothing(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.write("a")
    residents, commit = store.segments.residents, store.db.commit

    def evicting(collection_id: Any, changes: Any) -> Any:
        residents.drop(store.slot(), save=False, reason="the database needed room")
        return commit(collection_id, changes)

    monkeypatch.setattr(store.db, "commit", evicting)
    store.write("b")
    assert store.slot().segment is None
    assert residents.ledger.used == 0
    assert list(store.texts()) == ["a", "b"]


@pytest.mark.parametrize("how", ["present", "answering"])
def test_a_reader_sees_no_half_of_a_commit_that_had_the_collection_evicted(
    plain_store: Store, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """Without a segment an answer takes several queries of the DB: which records there are, and then these."""
    store = plain_store
    ids = [str(number) for number in range(9)]
    store.write(*ids)
    residents, commit = store.segments.residents, store.db.commit
    # The readers find no room to load it again.
    monkeypatch.setattr(residents, "may_fit", lambda _: False)
    selected, found = threading.Event(), []

    def read() -> None:
        with getattr(store.segments, how)(store.id) as segment:
            labels = segment.metadata.select()
            selected.set()
            if committing.is_set():
                committed.wait(LONG)
            # In another order, as after a query.
            found.append(segment.metadata.read(labels[::-1], ()).ids)

    committing, committed = threading.Event(), threading.Event()
    reader = threading.Thread(target=read)

    def evicting(collection_id: Any, changes: Any) -> Any:
        residents.drop(store.slot(), save=False, reason="the database needed room")
        committing.set()
        reader.start()
        # Until it is in the middle of its answer, or waits for this commit.
        waiting = store.slot().write_lock._waiting
        while not selected.wait(0.01) and reader.ident not in waiting:
            pass
        try:
            return commit(collection_id, changes)
        finally:
            committed.set()

    monkeypatch.setattr(store.db, "commit", evicting)
    store.writer.delete(store.id, None, ids=ids[:5], limit=None)
    reader.join(LONG)
    assert found == [ids[:4:-1]]


def test_short_texts_among_long_ones_are_not_taken_for_long_ones(store: Store) -> None:
    long, short = [f"long{i}" for i in range(20)], [f"short{i}" for i in range(60)]
    store.write(*long, embeddings=store.vectors(20), documents=["y" * 100_000] * 20)
    store.write(*short, embeddings=store.vectors(60), documents=["short \U0001f98a"] * 60)
    store.segments.unload(store.id)
    labels = store.db.find_labels(store.id, short[:30])
    with store.segments.present(store.id) as segment:
        average = 20 * 100_000 // 80
        # Four bytes for a letter, as in the sample; a header is no letter.
        assert segment.metadata.answer_bytes(labels, ["documents"]) < 30 * average * 4


def test_a_conflict_drops_nothing(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.write("a")
    segment, commit = store.slot().segment, store.db.commit

    def late(collection_id: Any, changes: Any) -> Any:
        return commit(collection_id, dataclasses.replace(changes, base_version=-1))

    monkeypatch.setattr(store.db, "commit", late)
    monkeypatch.setattr("chroma_nb.segment.writer._MOST_TRIES", 1)
    with pytest.raises(ConflictError):
        store.write("b")
    assert store.slot().segment is segment
    assert list(store.texts()) == ["a"]


def test_a_deleted_collection_has_neither_slot_nor_memory(store: Store) -> None:
    store.write("a")
    other = store.create("other")
    store.segments.delete_collections([store.id], lambda: store.db.delete_collection(store.id))
    assert store.segments.residents.ledger.used == 0
    with pytest.raises(NotFoundError):
        store.segments.extent(store.id)
    assert store.segments.extent(other).n_records == 0


def test_a_check_reads_the_catalogue_before_it_keeps_graphs_from_being_saved(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.write("a")
    extent, saved = store.db.extent, store.segments.residents.saved_graphs

    def slow(collection_id: Any) -> Any:
        # Reading the catalogue again may unload collections of this store, which saves their graphs.
        assert not saved._save_lock.locked()
        return extent(collection_id)

    monkeypatch.setattr(store.db, "extent", slow)
    assert store.segments.check(store.id, lambda _: None).derived == []


def test_a_compaction_that_fails_is_no_reason_not_to_close(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It would give space back, on a disk that is full."""
    store.write("a")
    segments = store.segments

    def full(*_: Any) -> None:
        raise InternalError("Writing failed: the disk is full.")

    monkeypatch.setattr(segments.db.__class__, "persists", True)
    monkeypatch.setattr(segments, "_is_worth_compacting", lambda _: True)
    monkeypatch.setattr(segments, "_compact_files", full)
    segments.close()
    assert f"Collection {store.id} was not compacted: Writing failed" in caplog.text
    assert not list(segments._slots)
