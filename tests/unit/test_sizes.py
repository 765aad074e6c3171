from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chroma_nb.errors import InvalidArgumentError
from chroma_nb.memory.budget import database_share
from chroma_nb.memory.sizes import format_bytes, parse_bytes


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (0, 0),
        (1.9, 1),
        ("17", 17),
        ("2 GB", 2 * 10**9),
        ("2gb", 2 * 10**9),
        ("2 GiB", 2 << 30),
        ("2G", 2 << 30),
        ("512m", 512 << 20),
        ("1_000 kB", 10**6),
        ("1,000 kB", 10**6),
        ("0.5 TB", 5 * 10**11),
        ("1e9", 10**9),
        (" 25 % ", 250),
        ("100%", 1_000),
    ],
)
def test_sizes_are_read_as_people_write_them(given: Any, expected: int) -> None:
    assert parse_bytes(given, whole=1_000) == expected


@pytest.mark.parametrize(
    "given",
    [
        *("", "GB", "two GB", "2 XB", "-1", "101%", "5%%", "1 2 GB", "2 GB!", "<b>2 GB</b>"),
        *(-1, float("nan"), float("inf"), True, None, [5], "x" * 1_000_000),
        *("1e400 GB", "1e400", "1e400%", "9" * 5_000 + " GB", "1e30", "2e6 TB"),
        *(10**400, 10**5_000, -(10**5_000), 1e300, 2**60 + 1),
    ],
    # Python does not write numbers of 5,000 digits.
    ids=lambda given: hex(given)[:12] if isinstance(given, int) else f"{given!r:.20}",
)
def test_what_is_no_size_is_refused_with_a_short_sentence(given: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="Expected a size") as caught:
        parse_bytes(given, whole=1_000)
    assert len(str(caught.value)) < 300


def test_a_share_of_nothing_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="'25%'"):
        parse_bytes("25%")


@given(st.integers(0, 10**14))
def test_what_is_written_is_read_back(n_bytes: int) -> None:
    again = parse_bytes(format_bytes(n_bytes))
    assert abs(again - n_bytes) <= 0.051 * max(n_bytes, 1)
    assert len(format_bytes(n_bytes)) <= 9


@given(st.integers(0, 10**13))
def test_the_database_gets_its_share_within_bounds(budget: int) -> None:
    assert 32 << 20 <= database_share(budget) <= 256 << 20
    assert database_share(budget) <= database_share(budget + 10**9)
