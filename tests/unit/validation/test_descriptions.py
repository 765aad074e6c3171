"""How large the description of a collection may be."""

from __future__ import annotations

from dataclasses import replace
from uuid import uuid4

import pytest

from chroma_nb.errors import InvalidArgumentError
from chroma_nb.types import CollectionInfo
from chroma_nb.validation import check_description

_INFO = CollectionInfo(uuid4(), "notes", "tenant", "database", {"hnsw": {"space": "l2"}})


def _with(n_characters: int) -> CollectionInfo:
    return replace(_INFO, metadata={"k": "x" * n_characters})


def test_a_description_is_measured_with_its_names_metadata_and_configuration() -> None:
    assert check_description(_with(100), 1_000) is not None
    for long in (
        _with(1_000),
        replace(_INFO, configuration={"k": "x" * 1_000}),
        replace(_INFO, name="\u00e9" * 500),
    ):
        with pytest.raises(InvalidArgumentError, match=r"notes|\u00e9"):
            check_description(long, 1_000)


def test_a_change_that_makes_a_long_description_no_larger_is_allowed() -> None:
    assert check_description(_with(4_000), 1_000, _with(5_000)) == _with(4_000)
    with pytest.raises(InvalidArgumentError, match="max_description"):
        check_description(_with(5_001), 1_000, _with(5_000))
