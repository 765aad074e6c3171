"""Sparse vectors as they are stored: checked together, with the JSON text that would be written of each alone."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chroma_nb import SparseVector
from chroma_nb.db.stored_metadata import metadata_json
from chroma_nb.errors import InvalidArgumentError
from chroma_nb.search.sparse import StoredVector
from chroma_nb.validation import (
    check_collection_metadata,
    check_metadata_value,
    check_metadatas,
    check_sparse_vectors,
    sparse_vectors,
)

#: Few numbers, so that many stand twice; both zeros, an integer, and those whose texts have an exponent.
NUMBERS = st.sampled_from([0.5, 1.25, 1e-7, 1e16, -3.0, 0.0, -0.0, 2]) | st.floats(-3e38, 3e38)


@st.composite
def vectors(draw: st.DrawFn) -> SparseVector:
    indices = sorted(draw(st.sets(st.integers(0, 2**32 - 1), max_size=6)))
    values = draw(st.lists(NUMBERS, min_size=len(indices), max_size=len(indices)))
    labels = [f"<{index}>é" for index in indices] if draw(st.booleans()) else None
    return SparseVector(indices, values, labels)


def plain(vector: SparseVector) -> dict[str, Any]:
    return {**vector.to_dict(), "values": [float(value) for value in vector.values]}


def as_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


@given(st.lists(vectors(), max_size=5))
def test_each_is_stored_as_it_would_be_alone(given: list[SparseVector]) -> None:
    labels: list[str] = []
    stored = check_sparse_vectors(["sp"] * len(given), given, labels)
    assert stored == [plain(one) for one in given]
    # Zeros that are equal differ in their texts.
    assert [one.json for one in stored] == [as_json(plain(one)) for one in given]
    assert labels == [label for one in given for label in one.labels or ()]
    for one, own in zip(given, stored, strict=True):
        assert own["indices"] is not one.indices
        assert own["values"] is not one.values


@given(vectors(), st.dictionaries(st.text(max_size=3), st.none() | st.integers(), max_size=3))
def test_metadata_are_written_with_the_text_of_their_vectors(
    vector: SparseVector, others: dict[str, Any]
) -> None:
    (stored,) = check_sparse_vectors(["sp"], [vector], [])
    metadata = {"first": [1, 2], "sp": stored, **others, "last": stored, "é": '"'}
    wanted = {key: value for key, value in metadata.items() if value is not None}
    assert metadata_json(metadata) == as_json(wanted)
    assert metadata_json({"sp": plain(vector)}) == metadata_json({"sp": stored})
    assert metadata_json({"a": None}) is None


def test_vectors_are_checked_piece_by_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sparse_vectors, "_TOGETHER_ENTRIES", 3)
    given = [SparseVector(list(range(n)), [1.0] * n) for n in (0, 2, 5, 0, 1, 1, 4, 0)]
    checked = check_metadatas([{"sp": one} for one in given])
    assert checked == [{"sp": plain(one)} for one in given]
    assert {type(one["sp"]) for one in checked if one} == {StoredVector}


@pytest.mark.parametrize(
    ("indices", "values", "error", "text"),
    [
        ([2, 1], [1.0, 1.0], ValueError, "ascending"),
        ([1, 1], [1.0, 1.0], ValueError, "ascending"),
        ([-1, 1], [1.0, 1.0], ValueError, "non-negative"),
        ([1], [1.0, 1.0], ValueError, "same length"),
        ([1, 2], [1.0, "x"], ValueError, "got x"),
        ([1, 2.5], [1.0, 1.0], ValueError, "got 2.5"),
        ("ab", [1.0, 1.0], ValueError, "to be a list, got str"),
        ([1, 2**32], [1.0, 1.0], InvalidArgumentError, "at most 4,294,967,295, got 4294967296"),
        ([1, 10**30], [1.0, 1.0], InvalidArgumentError, "for key 'b'"),
        ([1, 2], [1.0, math.nan], InvalidArgumentError, "got nan for key 'b'"),
        ([1, 2], [1.0, -math.inf], InvalidArgumentError, "got -inf for key 'b'"),
        ([1, 2], [1.0, 1e39], InvalidArgumentError, "got 1e\\+39 for key 'b'"),
        ([1, 2], [1.0, 10**400], InvalidArgumentError, "one of 1,329 bits for key 'b'"),
    ],
    ids=str,
)
def test_what_was_changed_since_it_was_made_is_refused(
    indices: Any, values: Any, error: type[Exception], text: str
) -> None:
    changed = SparseVector([1], [1.0])
    changed.indices, changed.values = indices, values
    with pytest.raises(error, match=text):
        check_sparse_vectors(["a", "b", "c"], [SparseVector([3], [1.0]), changed, changed], [])


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(("more", "fits"), [(0, True), (1, True), (2**75, False)])
def test_a_large_integer_is_rounded_alike_in_any_company(sign: int, more: int, fits: bool) -> None:
    value = sign * (int(np.finfo(np.float32).max) + more)
    alone = SparseVector([1], [value])
    labelled = SparseVector([1], [1.0], ["x"])
    for several in ([alone], [alone, labelled]):
        if fits:
            (first, *_) = check_sparse_vectors(["a", "b"][: len(several)], several, [])
            assert first["values"] == [float(value)]
        else:
            with pytest.raises(InvalidArgumentError, match="finite numbers of 32 bits"):
                check_sparse_vectors(["a", "b"][: len(several)], several, [])


def test_a_vector_that_begins_below_the_end_of_another_is_sound() -> None:
    given = [SparseVector([5, 9], [1.0, 2.0]), SparseVector([], []), SparseVector([1], [3.0])]
    assert check_sparse_vectors(["a"] * 3, given, []) == [plain(one) for one in given]


def test_a_vector_is_made_of_arrays() -> None:
    made = SparseVector(np.array([1, 4], np.uint8), np.array([0.5, 2], np.float32))  # type: ignore[arg-type]
    assert made == SparseVector([1, 4], [0.5, 2.0])
    assert {*map(type, made.indices)} == {int}
    with pytest.raises(ValueError, match="to be a list, got ndarray"):
        SparseVector(np.array(3), np.array(1.0))  # type: ignore[arg-type]


class Derived(SparseVector):
    pass


def test_vectors_in_any_form_are_stored_alike() -> None:
    vector = SparseVector([1, 4], [0.5, 2.0])
    derived = Derived([1, 4], [0.5, 2.0])
    forms = [vector, derived, vector.to_dict(), *check_sparse_vectors(["sp"], [vector], [])]
    checked = check_metadatas([{"sp": one, "k": 1} for one in forms])
    assert checked == [{"sp": vector.to_dict(), "k": 1}] * len(forms)
    assert {type(one["sp"]) for one in checked if one} == {StoredVector}
    assert type(check_metadata_value("sp", derived)) is StoredVector
    for one in forms:
        with pytest.raises(ValueError, match="collection metadata value"):
            check_collection_metadata({"sp": one})
