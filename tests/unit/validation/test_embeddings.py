"""Embeddings of every kind become float32, and what is no embedding is named."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from chroma_nb import validation
from chroma_nb.errors import InvalidArgumentError

NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    "embeddings",
    [
        [1, 2],
        [1.0, 2.0],
        [1, 2.0],
        [[1, 2]],
        [(1.0, 2.0)],
        [np.float64(1), np.float32(2)],
        [np.int64(1), 2],
        [[np.float32(1), np.float32(2)]],
        [np.array([1, 2])],
        np.array([1, 2]),
        np.array([[1, 2]], dtype=object),
        np.array([[1, 9], [2, 9]], dtype="f4").T[:1],
        np.array([[1, 9, 2, 9]], dtype="f8")[:, ::2],
        *(np.array([[1, 2]], dtype=kind) for kind in ("f2", "f4", "f8", "i4", "i8")),
    ],
    ids=repr,
)
def test_embeddings(embeddings: Any) -> None:
    array = validation.check_embeddings(embeddings)
    assert array.tolist() == [[1.0, 2.0]]
    assert array.dtype == np.float32
    assert array.flags.c_contiguous


def test_several_embeddings() -> None:
    for given in (
        [[1, 2], [3, 4]],
        [np.array([1, 2]), np.array([3.0, 4.0])],
        np.array([[1, 2], [3, 4]]),
    ):
        assert validation.check_embeddings(given).tolist() == [[1.0, 2.0], [3.0, 4.0]]


@pytest.mark.parametrize(
    "embeddings",
    [
        [1.0, NAN],
        [[1, NAN]],
        [1.0, INF],
        [1.0, 1e39],
        [1, 10**400],
        [1.0, 10**400],
        [[1e300, 1]],
        np.array([1, NAN]),
        np.array([[1e300]]),
        np.array([[1, -INF]], dtype="f2"),
        np.array([3e38] * 100_000 + [NAN], dtype="f4"),
    ],
    ids=lambda value: ascii(value)[:40],
)
def test_not_finite(embeddings: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="must not contain NaN or Infinity values"):
        validation.check_embeddings(embeddings)


def test_the_largest_float32_is_finite() -> None:
    for n in (10, 100_000):
        assert validation.check_embeddings(np.full((1, n), 3.4e38)).shape == (1, n)


@pytest.mark.parametrize(
    ("embeddings", "text"),
    [
        ([], "Expected Embeddings to be non-empty list or numpy array, got []"),
        (np.zeros((0, 2)), "Expected Embeddings to be non-empty"),
        ([[]], "at least 1 dimension"),
        ([[1, 2], [3]], "embedding 0 has 2, embedding 1 has 1"),
        ([np.zeros(2), np.zeros(3)], "embedding 0 has 2, embedding 1 has 3"),
        ("abc", "Expected embeddings to be a list of floats or ints"),
        (["1", "2"], "Expected embeddings to be a list of floats or ints"),
        ([1.0, "2"], "Expected embeddings to be a list of floats or ints"),
        ([True, False], "Expected embeddings to be a list of floats or ints"),
        ([[1.0, True]], "Expected embeddings to be a list of floats or ints"),
        ([[1.0, None]], "Expected embeddings to be a list of floats or ints"),
        (None, "Expected embeddings to be a list of floats or ints"),
        (5, "Expected embeddings to be a list of floats or ints"),
        ("words", "got words. Texts are given as query_texts="),
        ({1, 2}, "has no order"),
        (np.array(3.0), "Expected embeddings to be a list of floats or ints"),
        (np.zeros((1, 1, 2)), "Expected embeddings to be a list of floats or ints"),
        ([[[1.0]]], "Expected embeddings to be a list of floats or ints"),
        (
            np.array([[1, 1]], dtype="i1"),
            "Expected each value in the embedding to be a int or float, got an embedding with int8 - [1 1]",
        ),
        (np.array([[True]]), "got an embedding with bool"),
        ([np.array([1, 1], dtype="u2")], "got an embedding with uint16"),
    ],
    ids=lambda value: ascii(value)[:40],
)
def test_bad_embeddings(embeddings: Any, text: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        validation.check_embeddings(embeddings)
    assert text in str(caught.value)
    assert len(str(caught.value)) < 600


def test_dimension() -> None:
    validation.check_dimension(2, 2, "notes")
    with pytest.raises(
        InvalidArgumentError,
        match=r"^Collection expecting embedding with dimension of 2, got 3.*'notes'",
    ):
        validation.check_dimension(2, 3, "notes")
