"""Ids: what is accepted, in which form, and what is said of the rest."""

from __future__ import annotations

import enum
from typing import Any

import numpy as np
import pytest

from chroma_nb import validation
from chroma_nb.errors import DuplicateIDError, InvalidArgumentError


class Colour(str, enum.Enum):
    RED = "red"


@pytest.mark.parametrize(
    ("ids", "result"),
    [
        ("a", ["a"]),
        (["a", "b"], ["a", "b"]),
        (np.array(["a", "b"]), ["a", "b"]),
        ([np.str_("a")], ["a"]),
        ([Colour.RED], ["red"]),
        (["a\0b", "é", "😀"], ["a\0b", "é", "😀"]),
    ],
    ids=ascii,
)
def test_ids(ids: Any, result: list[str]) -> None:
    checked = validation.check_ids(ids)
    assert checked == result
    assert {type(one) for one in checked} == {str}


@pytest.mark.parametrize(
    ("ids", "error", "text"),
    [
        ([], ValueError, "Expected IDs to be a non-empty list, got 0 IDs"),
        ([1], ValueError, "Expected ID to be a str, got 1"),
        ([None], ValueError, "Expected ID to be a str, got None"),
        ({"a"}, ValueError, "Expected a list, got a set, which has no order"),
        (7, ValueError, "Expected IDs to be a list, got int"),
        ([""], InvalidArgumentError, "Empty ID, ID must have at least one character"),
        (["a", "b", "a"], DuplicateIDError, "Expected IDs to be unique, found duplicates of: a"),
        (["red", Colour.RED], DuplicateIDError, "found duplicates of: red"),
        (["ok", "a\ud800"], InvalidArgumentError, r"'a\ud800' at position 1: character 1"),
        # Two halves that stand beside each other are still two halves.
        (["\ud83d", "\ude00"], InvalidArgumentError, "at position 0"),
    ],
    ids=ascii,
)
def test_bad_ids(ids: Any, error: Any, text: str) -> None:
    with pytest.raises(error) as caught:
        validation.check_ids(ids)
    assert text in str(caught.value)


@pytest.mark.parametrize(
    ("n", "text"),
    [
        (9, "found duplicates of: 0, 1, 2, 3, 4, 5, 6, 7, 8"),
        (10, "found 10 duplicated IDs: 0, 1, 2, 3, 4, ..., 5, 6, 7, 8, 9"),
        (25, "found 25 duplicated IDs: 0, 1, 2, 3, 4, ..., 20, 21, 22, 23, 24"),
    ],
)
def test_both_forms_of_the_sentence_on_duplicates(n: int, text: str) -> None:
    with pytest.raises(DuplicateIDError, match=text):
        validation.check_ids([str(i) for i in range(n)] * 2)


def test_query_ids_may_be_none_at_all() -> None:
    assert validation.check_query_ids([]) == []
