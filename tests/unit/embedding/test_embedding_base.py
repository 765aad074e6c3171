from __future__ import annotations

import functools
import warnings
from typing import Any

import numpy as np
import pytest

from chroma_nb.embedding import (
    EmbeddingFunction,
    check_conflict_on_create,
    check_conflict_on_get,
    check_conflict_on_modify,
    embed_documents,
    embed_queries,
    embedding_function_from_config,
    embedding_function_to_config,
    function_name,
    known_embedding_functions,
    register_embedding_function,
    validate_embedding_function,
)
from chroma_nb.embedding.base import checked_embedding_function
from chroma_nb.errors import ChromaError
from chroma_nb.types import Documents


class Toy(EmbeddingFunction[Documents]):
    def __init__(self, k: int = 2) -> None:
        self.k = k

    def __call__(self, input: Documents) -> Any:
        return [[float(len(text))] * self.k for text in input]

    @staticmethod
    def name() -> str:
        return "toy"

    def get_config(self) -> dict[str, Any]:
        return {"k": self.k}

    @staticmethod
    def build_from_config(config: dict[str, Any]) -> EmbeddingFunction[Documents]:
        return Toy(**config)


class Toy2(Toy):
    @staticmethod
    def name() -> str:
        return "toy2"


class Plain:
    """Any object that can be called: no base class, no name."""

    def __init__(self, result: Any = None) -> None:
        self.result = result
        self.calls: list[list[str]] = []

    def __call__(self, input: list[str]) -> Any:
        self.calls.append(input)
        return [[1.0, 2.0]] * len(input) if self.result is None else self.result


@pytest.fixture(autouse=True)
def _table_as_before() -> Any:
    before = dict(known_embedding_functions._registered)
    yield
    known_embedding_functions._registered = before


# -- the base class -----------------------------------------------------------------------------------


def test_a_subclass_returns_float32_arrays() -> None:
    vectors = Toy(3)(["a", "bcd"])
    assert [v.dtype for v in vectors] == [np.float32, np.float32]
    assert [v.tolist() for v in vectors] == [[1.0] * 3, [3.0] * 3]
    assert [v.tolist() for v in Toy()(input=["a"])] == [[1.0, 1.0]]


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


def test_a_class_without_call_is_abstract() -> None:
    class Nothing(EmbeddingFunction[Documents]):
        pass

    with pytest.raises(TypeError, match="abstract"):
        Nothing()  # type: ignore[abstract]


def test_signature() -> None:
    class Named(Toy):
        def __call__(self, texts: Documents) -> Any:  # type: ignore[override]
            return [[1.0] for _ in texts]

    class Wrong:
        def __call__(self, texts: list[str]) -> Any:
            return [[1.0] for _ in texts]

    for good in (Toy(), Plain(), Named()):
        validate_embedding_function(good)
    assert [v.tolist() for v in Named()(input=["a"])] == [[1.0]]
    expected = "Expected EmbeddingFunction.__call__ to have the following signature: "
    with pytest.raises(ValueError, match=rf"{expected}\(self, input\), got \(self, texts\)"):
        validate_embedding_function(Wrong())
    with pytest.raises(ValueError, match="cannot be called"):
        validate_embedding_function(7)
    with pytest.raises(ValueError, match=r"got the class Toy\. Give an object of it: Toy\(...\)"):
        validate_embedding_function(Toy)


def embed_a_list(texts: list[str]) -> list[list[float]]:
    return [[float(len(text))] for text in texts]


@pytest.mark.parametrize(
    "function",
    [
        embed_a_list,
        lambda anything: embed_a_list(anything),
        functools.partial(embed_a_list),
        Plain().__call__,
    ],
    ids=["def", "lambda", "partial", "method"],
)
def test_a_function_is_an_embedding_function(function: Any) -> None:
    checked = checked_embedding_function(function)
    assert embed_documents(checked, ["a", "bc"]).shape[0] == 2
    assert checked == checked_embedding_function(function)
    with pytest.warns(DeprecationWarning, match="give embedding_function=... each time"):
        assert embedding_function_to_config(checked) == {"type": "legacy"}


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


# -- what is recorded ---------------------------------------------------------------------------------


def test_a_known_function_is_recorded_and_built_again() -> None:
    config = embedding_function_to_config(Toy(3))
    assert config == {"type": "known", "name": "toy", "config": {"k": 3}}
    built = embedding_function_from_config(config)
    assert isinstance(built, Toy)
    assert built.k == 3


def test_a_class_defined_again_takes_the_place_of_the_former() -> None:
    class Again(Toy):
        pass

    embedding_function_to_config(Toy())
    embedding_function_to_config(Again())
    assert known_embedding_functions["toy"] is Again


def test_a_foreign_class_does_not_displace_a_shipped_one() -> None:
    class Mine(Toy):
        @staticmethod
        def name() -> str:
            return "ollama"

    embedding_function_to_config(Mine())
    assert known_embedding_functions["ollama"].__name__ == "OllamaEmbeddingFunction"
    register_embedding_function(Mine)
    assert known_embedding_functions["ollama"] is Mine


def test_functions_that_cannot_be_built_again_are_legacy() -> None:
    class NameOnly(EmbeddingFunction[Documents]):
        def __call__(self, input: Documents) -> Any:
            return [[1.0] for _ in input]

        @staticmethod
        def name() -> str:
            return "name_only"

    for function in (Plain(), NameOnly()):
        with pytest.warns(DeprecationWarning, match="records it as legacy"):
            assert embedding_function_to_config(function) == {"type": "legacy"}
    assert NameOnly().is_legacy()
    assert not Toy().is_legacy()
    assert function_name(NameOnly()) == "name_only"
    assert function_name(Plain()) is None


def test_nothing_is_built_to_find_out() -> None:
    class Costly(Toy):
        @staticmethod
        def build_from_config(config: dict[str, Any]) -> Any:
            raise AssertionError("built")

    assert embedding_function_to_config(Costly()) is not None


def test_none_and_legacy_build_nothing() -> None:
    assert embedding_function_to_config(None) is None
    for config in (None, {"type": "legacy"}, {"type": "unknown"}):
        assert embedding_function_from_config(config) is None


def test_a_config_must_be_json() -> None:
    with pytest.raises(ValueError, match="'toy' has a config that is not JSON"):
        embedding_function_to_config(Toy(k=np.int64(2)))  # type: ignore[arg-type]


def test_errors_of_building() -> None:
    known = {"type": "known", "config": {}}
    with pytest.raises(
        ValueError,
        match=r"^Embedding function nope not found\. Add @register_embedding_function decorator to the "
        r"class definition\. Or, without the decorator, give a function whose name\(\) is 'nope': "
        r"get_collection\(\.\.\., embedding_function=MyFunction\(\)\)\. The decorator is consent to any config",
    ):
        embedding_function_from_config({**known, "name": "nope"})
    with pytest.raises(
        ValueError, match=r"^Embedding function cohere not found\. .* embedding_function=\.\.\."
    ):
        embedding_function_from_config({**known, "name": "cohere"})
    with pytest.raises(ValueError, match="Embedding function name not found in config"):
        embedding_function_from_config(known)
    register_embedding_function(Toy)
    with pytest.raises(
        ValueError, match=r"Could not build embedding function toy from config \{'q'"
    ):
        embedding_function_from_config({"type": "known", "name": "toy", "config": {"q": 1}})


def test_register() -> None:
    assert register_embedding_function(Toy) is Toy

    @register_embedding_function
    class One(Toy):
        @classmethod
        def name(cls) -> str:  # type: ignore[override]
            return "one"

    @register_embedding_function()
    class Another(Toy):
        @staticmethod
        def name() -> str:
            return "another"

    assert known_embedding_functions["one"] is One
    assert known_embedding_functions["another"] is Another
    assert {"toy", "one", "another", "default", "openai"} <= set(known_embedding_functions)
    assert len(known_embedding_functions) == len(list(known_embedding_functions))
    for unusable in (Plain, type("Nameless", (EmbeddingFunction,), {"__call__": lambda s, i: i})):
        with pytest.raises(ValueError, match="Failed to register embedding function"):
            register_embedding_function(unusable)
    del known_embedding_functions["one"]
    with pytest.raises(KeyError):
        known_embedding_functions["one"]


def test_every_shipped_name_is_its_classes_name() -> None:
    for name in ("default", "onnx_mini_lm_l6_v2", "static_minilm", "openai", "ollama"):
        assert known_embedding_functions[name].name() == name
    assert known_embedding_functions["sentence_transformer"].name() == "sentence_transformer"


# -- conflicts ----------------------------------------------------------------------------------------


class Default(Toy):
    @staticmethod
    def name() -> str:
        return "default"


def test_conflicts_on_create() -> None:
    toy = Toy()
    for function, configured in [
        (None, toy),
        (toy, None),
        (toy, Toy(5)),
        (Default(), toy),
        (plain := Plain(), plain),
    ]:
        check_conflict_on_create(function, configured)
    with pytest.raises(
        ValueError, match=r"Please provide only one. Embedding function conflict: toy vs toy2"
    ):
        check_conflict_on_create(toy, Toy2())
    with pytest.raises(ValueError, match="conflict: Plain vs toy"):
        check_conflict_on_create(Plain(), toy)
    with pytest.raises(ValueError, match="conflict: Plain vs Plain"):
        check_conflict_on_create(Plain(), Plain())


def test_conflicts_on_get() -> None:
    known = {"type": "known", "name": "toy", "config": {"k": 2}}
    for function, persisted in [
        (None, known),
        (Toy(7), known),
        (Default(), known),
        (Toy2(), None),
        (Toy2(), {"type": "legacy"}),
        (Plain(), {"type": "legacy"}),
    ]:
        check_conflict_on_get(function, persisted)
    with pytest.raises(
        ValueError,
        match=r"already exists in the collection configuration, and a new one is provided. .* "
        r"conflict: new: toy2 vs persisted: toy$",
    ):
        check_conflict_on_get(Toy2(), known)
    with pytest.raises(ValueError, match="new: Plain vs persisted: toy"):
        check_conflict_on_get(Plain(), known)


def test_conflicts_on_modify() -> None:
    class Fixed(Toy):
        def validate_config_update(self, old: dict[str, Any], new: dict[str, Any]) -> None:
            raise ValueError(f"from {old} to {new}")

    known = {"type": "known", "name": "toy", "config": {"k": 2}}
    check_conflict_on_modify(known, Toy(7))
    check_conflict_on_modify(known, None)
    check_conflict_on_modify(None, Toy2())
    check_conflict_on_modify({"type": "legacy"}, Plain())
    for function, name in ((Toy2(), "toy2"), (Plain(), "Plain")):
        with pytest.raises(
            ValueError,
            match=rf"^Cannot update embedding function: incompatible types \(toy vs {name}\)$",
        ):
            check_conflict_on_modify(known, function)
    with pytest.raises(ValueError, match=r"from \{'k': 2\} to \{'k': 7\}"):
        check_conflict_on_modify(known, Fixed(7))


# -- real objects of chromadb -------------------------------------------------------------------------


@pytest.mark.differential
def test_objects_of_chromadb_work() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pytest.importorskip("chromadb", reason="needs the extra 'differential'")
        from chromadb.api.types import EmbeddingFunction as ChromaFunction

    class Theirs(ChromaFunction[Any]):
        def __init__(self) -> None:
            return

        def __call__(self, input: Any) -> Any:
            return [[float(len(text)), 1.0] for text in input]

        @staticmethod
        def name() -> str:
            return "theirs"

        def get_config(self) -> dict[str, Any]:
            return {}

        @staticmethod
        def build_from_config(config: dict[str, Any]) -> Any:
            return Theirs()

    class Nameless(ChromaFunction[Any]):
        def __init__(self) -> None:
            return

        def __call__(self, input: Any) -> Any:
            return [[1.0] for _ in input]

    validate_embedding_function(Theirs())
    assert embed_documents(Theirs(), ["abc"]).tolist() == [[3.0, 1.0]]
    assert embed_queries(Theirs(), ["abc"]).tolist() == [[3.0, 1.0]]
    config = embedding_function_to_config(Theirs())
    assert config == {"type": "known", "name": "theirs", "config": {}}
    assert isinstance(embedding_function_from_config(config), Theirs)
    check_conflict_on_modify(config, Theirs())
    with pytest.warns(DeprecationWarning, match="records it as legacy"):
        assert embedding_function_to_config(Nameless()) == {"type": "legacy"}
