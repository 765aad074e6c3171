"""The arguments of get, query and delete."""

from __future__ import annotations

import numpy as np
import pytest

from chroma_nb import validation


def test_include() -> None:
    everything = ["documents", "embeddings", "metadatas", "distances", "uris", "data"]
    assert validation.check_include(everything, "query") == everything
    assert validation.check_include([], "get") == []
    for include, text in (
        ("documents", "Expected include to be a list, got documents"),
        ([1], "Expected include item to be a str, got 1"),
        (
            ["x"],
            "Expected include item to be one of documents, embeddings, metadatas, distances, uris, data, got x",
        ),
        (["distances"], "Include item cannot be one of distances, got distances"),
    ):
        with pytest.raises(ValueError) as caught:  # noqa: PT011
            validation.check_include(include, "get")
        assert str(caught.value) == text


def test_numbers_of_results() -> None:
    validation.check_n_results(1)
    for number in (1.0, "1", None):
        with pytest.raises(ValueError, match="Expected requested number of results to be a int"):
            validation.check_n_results(number)
    for number in (0, -1):
        with pytest.raises(TypeError, match="cannot be negative, or zero"):
            validation.check_n_results(number)


def test_limit_and_offset() -> None:
    assert validation.check_limit_offset(None, None) == (None, None)
    assert validation.check_limit_offset(np.int64(3), 0) == (3, 0)
    for limit, offset in ((-1, None), (None, -1), (1.0, None), ("1", None)):
        with pytest.raises(ValueError, match="to be a non-negative integer"):
            validation.check_limit_offset(limit, offset)


def test_delete() -> None:
    where = {"k": 1}
    assert validation.check_delete("a", None, None, None) == ["a"]
    assert validation.check_delete(None, where, None, 0) is None
    # LlamaIndex hands an empty list beside a filter; it means "no ids given".
    assert validation.check_delete([], where, None, None) is None
    for arguments, error, text in (
        ((None, None, None, None), ValueError, "At least one of ids, where, or where_document"),
        (([], None, None, None), ValueError, "Expected IDs to be a non-empty list, got 0 IDs"),
        ((["a"], None, None, 1), ValueError, "limit can only be specified when a where"),
        ((None, where, None, True), TypeError, "limit must be a non-negative integer"),
        ((None, where, None, -1), ValueError, "limit must be a non-negative integer"),
        ((None, {}, None, None), ValueError, "exactly one operator"),
        ((None, {"$and": [where, None]}, None, None), ValueError, "Expected where to be a dict"),
        ((None, None, {"$bad": "x"}, None), ValueError, "got \\$bad"),
    ):
        with pytest.raises(error, match=text):  # type: ignore[call-overload]
            validation.check_delete(*arguments)
