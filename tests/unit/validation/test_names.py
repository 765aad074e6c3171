"""Names of collections, tenants and databases."""

from __future__ import annotations

import pytest

from chroma_nb import validation
from chroma_nb.errors import InvalidArgumentError


@pytest.mark.parametrize(
    "name", ["abc", "a.b", "a-b_c", "0.1", "x" * 512, "192.168.0.256", "1.2.3"]
)
def test_names(name: str) -> None:
    validation.check_collection_name(name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "ab",
        "x" * 513,
        "-ab",
        "ab.",
        "a b",
        "äbc",
        "abc\n",
        "a..b",
        "192.168.0.1",
        "ab\ud800",
        "a\0b",
    ],
    ids=ascii,
)
def test_bad_names(name: str) -> None:
    with pytest.raises(
        InvalidArgumentError, match=r"^Validation error: name: Expected a name"
    ) as caught:
        validation.check_collection_name(name)
    str(caught.value).encode()


def test_names_are_texts() -> None:
    for check in (
        validation.check_collection_name,
        validation.check_tenant_name,
        validation.check_database_name,
    ):
        with pytest.raises(ValueError, match="name to be a str, got 5"):
            check(5)
    with pytest.raises(InvalidArgumentError, match="at least 3 characters"):
        validation.check_tenant_name("ab")
    with pytest.raises(InvalidArgumentError, match="valid Unicode"):
        validation.check_database_name("abc\ud800")
