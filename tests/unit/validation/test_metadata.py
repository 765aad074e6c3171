"""Metadata of records and collections."""

from __future__ import annotations

import enum
from typing import Any

import numpy as np
import pytest

from chroma_nb import validation
from chroma_nb.errors import InvalidArgumentError


class Colour(str, enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 3


NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("value", "result"),
    [
        *((value, value) for value in ("x", "", "\0", 1, -(2**63), 2**63 - 1, 0.5, True, None)),
        *((value, value) for value in (["a", "b"], [1, 2], [0.5], [True, False])),
        (np.int64(3), 3),
        (np.uint8(3), 3),
        (np.float32(0.5), 0.5),
        (np.float64(0.5), 0.5),
        (np.bool_(True), True),
        (np.str_("s"), "s"),
        (Colour.RED, "red"),
        (Level.HIGH, 3),
        ([np.int64(1), 2], [1, 2]),
        (np.array([0.5, 1.5]), [0.5, 1.5]),
    ],
    ids=ascii,
)
def test_metadata_values(value: Any, result: Any) -> None:
    (checked,) = validation.check_metadatas([{"k": value}])
    assert checked is not None
    assert checked == {"k": result}
    assert type(checked["k"]) is type(result)
    if isinstance(result, list):
        assert [type(item) for item in checked["k"]] == [type(item) for item in result]


def test_the_callers_dict_is_not_changed() -> None:
    given = {"k": np.int64(3), "j": "x"}
    validation.check_metadatas([given])
    assert type(given["k"]) is np.int64


@pytest.mark.parametrize(
    ("metadata", "error", "text"),
    [
        ({}, ValueError, "Expected metadata to be a non-empty dict, got 0 metadata attributes"),
        ("x", ValueError, "Expected metadata to be a dict or None, got str as metadata"),
        ({1: 2}, TypeError, "Expected metadata key to be a str, got 1 which is a int"),
        (
            {"chroma:document": "x"},
            ValueError,
            "Expected metadata to not contain the reserved key chroma:document",
        ),
        ({"": 1}, InvalidArgumentError, "Validation error: metadatas: Invalid metadata"),
        ({"#a": 1}, InvalidArgumentError, "Validation error: metadatas: Invalid metadata"),
        ({"$a": 1}, InvalidArgumentError, "Validation error: metadatas: Invalid metadata"),
        (
            {"k": {}},
            ValueError,
            "Expected metadata value to be a str, int, float, bool, SparseVector, list, or None, got {} "
            "which is a dict",
        ),
        ({"k": (1, 2)}, ValueError, "Expected metadata value to be"),
        ({"k": b"x"}, ValueError, "Expected metadata value to be"),
        ({"k": []}, ValueError, "Expected metadata list value for key 'k' to be non-empty"),
        (
            {"k": [1, "b"]},
            ValueError,
            "Expected metadata list value for key 'k' to contain only str, int, float, or bool and all "
            "elements must be the same type, got [1, 'b']",
        ),
        ({"k": [1, True]}, ValueError, "must be the same type"),
        ({"k": [[1]]}, ValueError, "must be the same type"),
        ({"k": NAN}, InvalidArgumentError, "to be finite, got nan for key 'k'. Leave the key out"),
        ({"k": [0.5, -INF]}, InvalidArgumentError, "to be finite, got -inf for key 'k'"),
        ({"k": np.float32("nan")}, InvalidArgumentError, "to be finite"),
        ({"k": 2**63}, InvalidArgumentError, "integer of 64 bits, got 9223372036854775808"),
        ({"k": -(2**63) - 1}, InvalidArgumentError, "Store text, str(value)"),
        ({"k": [10**400]}, InvalidArgumentError, "integer of 64 bits"),
        ({"k": "\ud800"}, InvalidArgumentError, "valid Unicode"),
        ({"\ud800": 1}, InvalidArgumentError, "valid Unicode"),
        ({"k": ["a", "\ud800"]}, InvalidArgumentError, "valid Unicode"),
    ],
    ids=ascii,
)
def test_bad_metadata(metadata: Any, error: Any, text: str) -> None:
    with pytest.raises(error) as caught:
        validation.check_metadatas([{"fine": 1}, metadata])
    assert text in str(caught.value)
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize(
    ("metadata", "result"),
    [
        (None, None),
        ({"a": 1, "b": "x"}, {"a": 1, "b": "x"}),
        ({"a": np.int64(1), "c": Colour.RED}, {"a": 1, "c": "red"}),
    ],
    ids=repr,
)
def test_collection_metadata(metadata: Any, result: Any) -> None:
    checked = validation.check_collection_metadata(metadata)
    assert repr(checked) == repr(result)


@pytest.mark.parametrize(
    "metadata",
    [{}, "x", {"a": None}, {"a": [1]}, {"a": {}}, {"a": NAN}, {"#a": 1}, {"a": "\ud800"}],
    ids=ascii,
)
def test_bad_collection_metadata(metadata: Any) -> None:
    with pytest.raises(ValueError, match="metadata"):
        validation.check_collection_metadata(metadata)


def test_the_distance_does_not_change() -> None:
    validation.check_collection_metadata({"hnsw:space": "ip"})
    with pytest.raises(ValueError, match=r"^Changing the distance function of a collection"):
        validation.check_collection_metadata({"hnsw:space": "ip"}, modify=True)
