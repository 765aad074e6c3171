from __future__ import annotations

import importlib.util
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from chroma_nb.embedding import (
    SentenceTransformerEmbeddingFunction,
    embed_documents,
    embedding_function_from_config,
    embedding_function_to_config,
)
from chroma_nb.embedding._static import load_static_model

if TYPE_CHECKING:
    from pathlib import Path

INSTALLED = importlib.util.find_spec("sentence_transformers") is not None
CONFIG = {
    "model_name": "all-MiniLM-L6-v2",
    "device": "cpu",
    "normalize_embeddings": False,
    "kwargs": {},
}


@pytest.fixture
def model(tmp_path: Path) -> str:
    """A small real model of the package, made here: nothing is downloaded."""
    if not INSTALLED:
        pytest.skip("needs the extra 'sentence-transformers'")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from sentence_transformers import SentenceTransformer
        from sentence_transformers.models import StaticEmbedding
        from tokenizers import Tokenizer

        static = load_static_model()
        tokenizer = Tokenizer.from_file(str(static.folder / "tokenizer.json"))
        weights = static.table[:, :16].astype(np.float32)
        made = SentenceTransformer(
            modules=[StaticEmbedding(tokenizer, embedding_weights=weights)], device="cpu"
        )
        made.save(str(tmp_path / "model"))
    return str(tmp_path / "model")


@pytest.mark.filterwarnings("ignore")
def test_a_real_model(model: str) -> None:
    function = SentenceTransformerEmbeddingFunction(model, normalize_embeddings=True)
    vectors = embed_documents(function, ["a cat", "a cat", "the central bank"])
    assert vectors.shape == (3, 16)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)
    assert (vectors[0] == vectors[1]).all()
    config: Any = embedding_function_to_config(function)
    assert config["config"] == {**CONFIG, "model_name": model, "normalize_embeddings": True}
    built = embedding_function_from_config(config)
    assert (embed_documents(built, ["a cat"])[0] == vectors[0]).all()
    assert built._model() is function._model()


@pytest.mark.skipif(INSTALLED, reason="sentence-transformers is installed")
def test_without_the_package() -> None:
    says = r'pip install "chroma-nb\[sentence-transformers\]"'
    with pytest.raises(ImportError, match=says):
        SentenceTransformerEmbeddingFunction()
    config = {"type": "known", "name": "sentence_transformer", "config": CONFIG}
    with pytest.raises(ValueError, match=says):
        embedding_function_from_config(config)


@pytest.mark.parametrize(
    "chosen",
    [
        {"kwargs": {"trust_remote_code": True}},
        {"kwargs": {"model_kwargs": {"trust_remote_code": True}}},
        {"kwargs": {"token": "mine"}},
        {"kwargs": {"cache_folder": "/tmp/x"}},
        {"model_name": "stranger/model"},
        {"model_name": "/tmp/model"},
        {"model_name": "../model"},
        {"model_name": "sentence-transformers/../x"},
        {"model_name": "tests"},  # a folder that is there
    ],
)
def test_a_store_chooses_neither_code_nor_files(chosen: Any) -> None:
    config = {"type": "known", "name": "sentence_transformer", "config": {**CONFIG, **chosen}}
    with pytest.raises(ValueError, match=r"needs your consent\. It would .*load"):
        embedding_function_from_config(config)


def test_the_model_cannot_change() -> None:
    validate = SentenceTransformerEmbeddingFunction.validate_config_update
    with pytest.raises(ValueError, match="Cannot change model_name"):
        validate(None, CONFIG, {**CONFIG, "model_name": "other"})  # type: ignore[arg-type]


def test_arguments_are_recordable() -> None:
    with pytest.raises(ValueError, match="Keyword argument hook is not a primitive type"):
        SentenceTransformerEmbeddingFunction(hook=object())
    for wrong, says in (
        ({"model_name": "m"}, "has no 'device'"),
        ({**CONFIG, "device": 1}, "'device' must be a text, got 1"),
        ({**CONFIG, "normalize_embeddings": 1}, "must be true or false, got 1"),
    ):
        with pytest.raises(ValueError, match=says):
            SentenceTransformerEmbeddingFunction.validate_config(wrong)
