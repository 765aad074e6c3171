"""Calls of embedding functions: what they may return, and how texts are given to them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from chroma_nb.embedding import EmbeddingFunction, embed_documents, embed_queries
from chroma_nb.embedding.protocol import checked_embedding_function
from chroma_nb.errors import ChromaError
from tests.unit.embedding.toys import Plain, Toy, embed_a_list

if TYPE_CHECKING:
    from chroma_nb.types import Documents


@pytest.mark.parametrize(
    "result",
    [
        [[1, 2], [3, 4]],
        [[1.0, 2.0], [3.0, 4.0]],
        ([1.0, 2.0], [3.0, 4.0]),
        [(1.0, 2.0), (3.0, 4.0)],
        np.array([[1, 2], [3, 4]]),
        np.array([[1, 2], [3, 4]], dtype=np.float64),
        np.array([[1, 2], [3, 4]], dtype=np.float16),
        np.asfortranarray(np.array([[1, 2], [3, 4]], dtype=np.float32)),
        [np.array([1.0, 2.0]), np.array([3, 4])],
        [[np.float32(1), np.float32(2)], [np.float32(3), np.float32(4)]],
    ],
    ids=lambda result: type(result).__name__,
)
def test_every_form_of_result_becomes_one_array(result: Any) -> None:
    matrix = embed_documents(Plain(result), ["a", "b"])
    assert matrix.dtype == np.float32
    assert matrix.flags.c_contiguous
    assert matrix.tolist() == [[1.0, 2.0], [3.0, 4.0]]


def test_a_flat_result_is_one_vector() -> None:
    assert embed_documents(Plain([1.0, 2.0]), ["a"]).tolist() == [[1.0, 2.0]]
    assert embed_documents(Plain(np.array([1, 2])), ["a"]).tolist() == [[1.0, 2.0]]


def test_no_texts_need_no_call() -> None:
    plain = Plain()
    assert embed_documents(plain, []).shape == (0, 0)
    assert plain.calls == []


@pytest.mark.parametrize(
    ("result", "says"),
    [
        ([[1.0, 2.0]], "returned 1 vector for 2 texts"),
        ([[1.0]] * 3, "returned 3 vectors for 2 texts"),
        ([[1.0, 2.0], [3.0]], "returned 2 numbers for text 0 and 1 for text 1"),
        ([[1.0, float("nan")], [3.0, 4.0]], r"NaN or Infinity values for text 0 \('a'\)"),
        ([[1.0, 2.0], [1e39, 4.0]], r"NaN or Infinity values for text 1 \('b'\)"),
        ([], "Expected Embeddings to be non-empty list"),
        ([[], []], "at least one number"),
        ("ab", "Expected embeddings to be a list of floats"),
        (["a", "b"], "Expected embeddings to be a list of floats"),
        ([None, None], "Expected embeddings to be a list of floats"),
        ([[True], [False]], "Expected embeddings to be a list of floats"),
        ([[[1.0]], [[2.0]]], "Expected embeddings to be a list of floats"),
        (7, "Expected embeddings to be a list of floats"),
        (np.zeros((2, 3), np.int8), "int or float, got an embedding with int8"),
        (np.zeros((2, 3), bool), "int or float, got an embedding with bool"),
    ],
)
def test_what_is_wrong_with_a_result_is_said(result: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says) as caught:
        embed_documents(Plain(result), ["a", "b"])
    assert isinstance(caught.value, ChromaError)


def test_the_message_names_the_function() -> None:
    class Short(Toy):
        def __call__(self, input: Documents) -> Any:
            return [[1.0]]

    with pytest.raises(ValueError, match="Embedding function 'toy' returned 1 vector for 2 texts"):
        embed_documents(Short(), ["a", "b"])
    with pytest.raises(ValueError, match="Embedding function 'Plain' returned"):
        embed_documents(Plain([[1.0]]), ["a", "b"])


def test_documents_go_in_one_call_unless_the_class_says_otherwise() -> None:
    class Split(Toy):
        documents_per_call = 2

        def __call__(self, input: Documents) -> Any:
            sizes.append(len(input))
            return super().__call__(input)

    sizes: list[int] = []
    plain = Plain()
    embed_documents(plain, ["a"] * 5)
    assert len(plain.calls) == 1
    assert embed_documents(Split(), ["a", "bb", "ccc", "dd", "e"])[:, 0].tolist() == [1, 2, 3, 2, 1]
    assert sizes == [2, 2, 1]


def test_dimensions_must_agree_between_calls() -> None:
    class Growing(Toy):
        documents_per_call = 1

        def __call__(self, input: Documents) -> Any:
            self.k += 1
            return super().__call__(input)

    with pytest.raises(ValueError, match="3 numbers for text 0 and 4 for text 1"):
        embed_documents(Growing(), ["a", "b"])


def test_queries_use_embed_query_where_there_is_one() -> None:
    class Two(Toy):
        def embed_query(self, input: Documents) -> Any:
            return [[9.0, 9.0] for _ in input]

    assert embed_queries(Two(), ["a"]).tolist() == [[9.0, 9.0]]
    assert embed_queries(Toy(), ["a"]).tolist() == [[1.0, 1.0]]
    assert embed_queries(Plain(), ["a"]).tolist() == [[1.0, 2.0]]


def test_images_pass_through() -> None:
    class Images(EmbeddingFunction[Any]):
        def __call__(self, input: Any) -> Any:
            return [image.mean(axis=(0, 1)) for image in input]

    images = [np.ones((2, 2, 3)), np.zeros((2, 2, 3))]
    assert embed_documents(Images(), images).tolist() == [[1.0] * 3, [0.0] * 3]


def test_a_functions_own_error_passes_through() -> None:
    class Broken(Plain):
        def __call__(self, input: list[str]) -> Any:
            raise ConnectionError("no model")

    with pytest.raises(ConnectionError, match="no model"):
        embed_documents(Broken(), ["a"])


def test_texts_are_given_in_slices() -> None:
    calls: list[int] = []

    def counted(texts: list[str]) -> list[list[float]]:
        calls.append(len(texts))
        return embed_a_list(texts)

    vectors = embed_documents(checked_embedding_function(counted), ["x"] * 10, at_most=4)
    assert calls == [4, 4, 2]
    assert vectors.shape == (10, 1)
    calls.clear()
    assert embed_queries(checked_embedding_function(counted), ["x"] * 5, at_most=4).shape == (5, 1)
    assert calls == [4, 1]
