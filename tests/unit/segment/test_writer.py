"""`Writer`: what each kind of write does about ids that exist, and which numbers records get."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from chroma_nb.errors import ConflictError, IDAlreadyExistsError, InvalidArgumentError
from chroma_nb.filters.parsing import parse_where
from chroma_nb.segment import writer

if TYPE_CHECKING:
    from tests.unit.segment.conftest import Store

GIVEN: dict[str, Any] = {"documents": ["new", "new"], "metadatas": [{"b": 2}, {"b": 2}]}


@pytest.mark.parametrize(
    ("existing", "expected"),
    [
        ("skip", {"a": ("old", {"a": 1}), "c": ("new", {"b": 2})}),
        ("replace", {"a": ("new", {"b": 2}), "c": ("new", {"b": 2})}),
        ("merge", {"a": ("new", {"a": 1, "b": 2}), "c": ("new", {"b": 2})}),
        ("only", {"a": ("new", {"a": 1, "b": 2})}),
    ],
)
def test_what_is_done_about_ids_that_exist(
    store: Store, existing: str, expected: dict[str, Any]
) -> None:
    store.write("a", embeddings=store.vectors(1), documents=["old"], metadatas=[{"a": 1}])
    store.write("a", "c", existing=existing, embeddings=store.vectors(2), **GIVEN)
    assert store.texts() == expected
    assert list(store.texts()) == list(expected)


def test_a_batch_with_ids_that_exist_is_refused_whole(store: Store) -> None:
    store.write("a")
    before = store.db.extent(store.id)
    with pytest.raises(IDAlreadyExistsError):
        store.write("a", "b", existing="error")
    with pytest.raises(InvalidArgumentError, match="dimension of 3, got 9"):
        store.write("c", embeddings=np.zeros((1, 9), dtype=np.float32))
    assert store.db.extent(store.id) == before


def test_a_new_vector_gets_a_new_label_and_a_record_keeps_its_place(store: Store) -> None:
    store.write("a", "b")
    store.write("a", existing="merge", documents=["no vector"])
    assert store.db.find_labels(store.id, ["a", "b"]).tolist() == [0, 1]
    store.write("a", existing="merge", embeddings=store.vectors(1))
    assert store.db.find_labels(store.id, ["a", "b"]).tolist() == [2, 1]
    assert list(store.texts()) == ["a", "b"]
    extent = store.db.extent(store.id)
    assert (extent.n_records, extent.next_label, extent.next_sequence) == (2, 3, 2)


def test_matching_records_are_deleted(store: Store) -> None:
    metadatas: Any = [{"n": n} for n in range(4)]
    store.write("a", "b", "c", "d", embeddings=store.vectors(4), metadatas=metadatas)
    large = parse_where({"n": {"$gte": 1}})
    assert store.writer.delete(store.id, large, ids=None, limit=1) == 1
    assert store.writer.delete(store.id, large, ids=["a", "d"], limit=None) == 1
    assert store.writer.delete(store.id, None, ids=["nobody"], limit=None) == 0
    assert list(store.texts()) == ["a", "c"]


def test_a_conflict_is_tried_again_a_few_times(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "_LONGEST_WAIT", 0.0)
    monkeypatch.setattr(writer, "_MOST_TRIES", 4)
    commit, n_tries = store.segments.commit, 0

    def refused(*given: Any) -> Any:
        nonlocal n_tries
        n_tries += 1
        if n_tries < n_needed:
            raise ConflictError("refused")
        return commit(*given)

    monkeypatch.setattr(store.segments, "commit", refused)
    n_needed = 4
    store.write("a")
    assert (list(store.texts()), n_tries) == (["a"], 4)
    n_tries, n_needed = 0, 5
    with pytest.raises(ConflictError, match="4 times"):
        store.write("b")
    assert (list(store.texts()), n_tries) == (["a"], 4)


@pytest.mark.parametrize("has_old_info", [False, True])
def test_a_rename_that_is_applied_late_takes_no_dimension_away(
    store: Store, has_old_info: bool
) -> None:
    with store.segments.writing(store.id):
        pass  # an empty segment, as a first write finds it
    renamed = store.db.update_collection(store.id, lambda info: replace(info, name="other"))
    store.write("a", "b")
    store.segments.configuration_changed(renamed)
    segment = store.slot().segment
    assert segment is not None
    assert (segment.info.name, segment.info.dimension) == ("other", 3)
    if has_old_info:
        segment.info = renamed
    with pytest.raises(InvalidArgumentError, match="dimension of 3, got 9"):
        store.write("c", embeddings=np.zeros((1, 9), dtype=np.float32))
    assert list(store.texts()) == ["a", "b"]
