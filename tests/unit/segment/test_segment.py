"""`LoadedSegment`: loaded from a snapshot or from the DB, what it holds, and the answers of both kinds of segments."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from chroma_nb.db.base import Changes, RecordRows
from chroma_nb.errors import StoreCorruptError
from chroma_nb.filters.expression import Compare
from chroma_nb.segment.planner import Strategy
from chroma_nb.segment.segment import OBJECT_BYTES, LoadedSegment, stored_segment
from chroma_nb.segment.snapshot import save_snapshot

if TYPE_CHECKING:
    from tests.unit.segment.conftest import Store


@pytest.fixture
def notes(plain_store: Store) -> Store:
    """The records "a" to "d", of which "b" was deleted."""
    plain_store.write(
        *"abcd",
        embeddings=np.array([[0, 0], [1, 0], [2, 0], [3, 0]], dtype=np.float32),
        documents=[*"ABCD"],
        metadatas=[{"n": n} for n in range(4)],
    )
    plain_store.writer.delete(plain_store.id, None, ids=["b"], limit=None)
    return plain_store


def load(store: Store) -> LoadedSegment:
    info, derived = store.db.get_collection(store.id), store.segments.residents.derived
    return LoadedSegment.load(store.db, info, derived, lambda _: True, False)


def path_of(store: Store) -> str:
    return store.segments.residents.derived.prefix(store.id) + ".segment"


def ids_of(segment: LoadedSegment) -> list[str]:
    return segment.metadata.read(segment.metadata.select(), []).ids


def test_a_snapshot_makes_the_same_segment(notes: Store) -> None:
    first = load(notes)
    assert (first.changed, ids_of(first)) == (True, ["a", "c", "d"])
    first.save(notes.segments.residents.derived)
    assert not first.changed
    again = load(notes)
    assert (again.changed, ids_of(again)) == (False, ["a", "c", "d"])
    queries = np.array([[2.9, 0]], dtype=np.float32)
    for one in (first, again, stored_segment(notes.db, first.info)):
        found, plan = one.search(queries, 2)
        assert found.labels.tolist() == [[3, 2]]
        assert (plan.strategy, one.form) == (Strategy.EXACT, "exact")


def test_an_unchanged_segment_is_not_saved_again(notes: Store) -> None:
    derived = notes.segments.residents.derived
    segment = load(notes)
    segment.save(derived)
    os.unlink(path_of(notes))
    segment.save(derived)
    assert not os.path.exists(path_of(notes))
    segment.changed = True
    segment.save(derived)
    assert os.path.exists(path_of(notes))


@pytest.mark.parametrize("what", ["too few norms", "no norms", "a section less", "other records"])
def test_a_snapshot_of_something_else_is_passed_over(
    notes: Store, what: str, caplog: pytest.LogCaptureFixture
) -> None:
    segment = load(notes)
    sections: dict[str, Any] = segment.metadata.sections()
    assert segment.vectors is not None
    sections["norms"] = segment.vectors.norms
    if what == "too few norms":
        sections["norms"] = sections["norms"][:-1]
    elif what == "no norms":
        del sections["norms"]
    elif what == "a section less":
        del sections["sequences"]
    else:
        sections["alive"] = np.ones_like(sections["alive"])
    prefix, version = path_of(notes).removesuffix(".segment"), notes.db.extent(notes.id).version
    assert save_snapshot(prefix, version, sections), "its checksums are right"
    assert ids_of(load(notes)) == ["a", "c", "d"]
    assert "the records are read anew" in caplog.text


def test_no_record_is_left_out_without_a_word(
    notes: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    scan = notes.db.scan

    def lacking(collection_id: Any) -> Any:
        for rows in scan(collection_id):
            yield RecordRows(
                rows.labels[1:],
                rows.sequences[1:],
                rows.ids[1:],
                rows.documents[1:],
                rows.uris[1:],
                rows.metadatas[1:],
            )

    with monkeypatch.context() as patch:
        patch.setattr(notes.db, "scan", lacking)
        with pytest.raises(StoreCorruptError, match="counts 3 records, and 2 of them can be read"):
            load(notes)


def test_its_parts_are_looked_up_when_the_ledger_has_changed(notes: Store) -> None:
    segment = load(notes)
    parts = segment.parts()
    assert parts["objects"] == OBJECT_BYTES
    assert segment.resident_bytes == sum(parts.values())
    assert segment.resident_bytes <= LoadedSegment.bytes_for(4, notes.db.text_sizes(notes.id))
    first = segment.parts_of(segment.resident_bytes)
    first.clear()
    segment.metadata.select(Compare("n", "$eq", 1))
    old = segment.parts_of(sum(parts.values()))
    assert old == parts, "the caller's own"
    assert segment.parts_of(segment.resident_bytes)["columns"] > 0


def test_the_first_vector_of_a_collection_opens_its_vectors(plain_store: Store) -> None:
    segment = load(plain_store)
    empty = segment.resident_bytes
    assert segment.vectors is None
    assert empty < OBJECT_BYTES
    nothing, plan = segment.search(np.zeros((2, 3), dtype=np.float32), 1)
    assert (nothing.labels.shape, plan.strategy) == ((2, 0), Strategy.EMPTY)
    at = np.zeros(1, dtype=np.int64)
    rows = RecordRows(at, at, ["a"], ["A"], [None], [None])
    vectors = np.ones((1, 3), dtype=np.float32)
    changes = Changes(rows, np.empty(0, np.int64), vectors, 0, 1, 3, 1)
    bound = segment.growth(changes)
    after = plain_store.db.commit(plain_store.id, changes)
    segment.apply(plain_store.db, changes, after.version)
    assert (segment.info.dimension, segment.version, segment.changed) == (3, after.version, True)
    assert OBJECT_BYTES < segment.resident_bytes <= empty + bound
    assert segment.search(vectors, 5)[0].labels.tolist() == [[0]]


def test_ids_and_a_filter_narrow_a_search(notes: Store) -> None:
    queries = np.array([[0, 0]], dtype=np.float32)
    for segment in (load(notes), stored_segment(notes.db, notes.db.get_collection(notes.id))):
        found, plan = segment.search(queries, 5, ids=["d", "c", "b", "nobody"])
        assert (found.labels.tolist(), plan.facts.n_allowed) == ([[2, 3]], 2)
        found, plan = segment.search(queries, 5, Compare("n", "$gt", 2), ["c", "d"])
        assert (found.labels.tolist(), plan.strategy) == ([[3]], Strategy.EXACT_SUBSET)
        found, plan = segment.search(queries, 5, Compare("n", "$gt", 9))
        assert (found.labels.shape, plan.strategy) == ((1, 0), Strategy.EMPTY)
