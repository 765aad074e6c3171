"""Numbers, types and values in messages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from chroma_nb.words import brief, counted, with_article


@pytest.mark.parametrize(
    ("n", "text"), [(0, "0 records"), (1, "1 record"), (2, "2 records"), (12_345, "12,345 records")]
)
def test_a_noun_is_in_the_plural_unless_there_is_one(n: int, text: str) -> None:
    assert counted(n, "record") == text


def test_types_have_their_article() -> None:
    assert [with_article(kind) for kind in (int, list, object)] == ["an int", "a list", "an object"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("x" * 200, "x" * 200),
        ("x" * 201, "x" * 200 + "... (201 characters)"),
        ([1], "[1]"),
        (Path("folder"), "folder"),
        (True, "True"),
        (10**200, "1" + "0" * 199 + "... (201 characters)"),
        (10**5_000, "one of 16,610 bits"),
        (-(10**5_000), "one of 16,610 bits"),
    ],
    ids=lambda value: repr(value)[:20] if not isinstance(value, int) else f"{value.bit_length()}",
)
def test_values_are_shortened(value: Any, text: str) -> None:
    assert brief(value) == text
