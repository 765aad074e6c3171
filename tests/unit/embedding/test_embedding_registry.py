"""What a collection records of its embedding function, and how it is built again."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from chroma_nb.embedding import (
    EmbeddingFunction,
    embedding_function_from_config,
    embedding_function_to_config,
    function_name,
    known_embedding_functions,
    register_embedding_function,
)
from chroma_nb.types import Documents
from tests.unit.embedding.toys import Plain, Toy


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
