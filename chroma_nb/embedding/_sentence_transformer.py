"""`SentenceTransformerEmbeddingFunction`: any model of the sentence-transformers package."""

from __future__ import annotations

import json
import os
import re
import threading
from typing import Any

import numpy as np

from chroma_nb.boundary import public_class
from chroma_nb.embedding.base import EmbeddingFunction
from chroma_nb.embedding.checks import check_config, check_same_model, check_texts
from chroma_nb.embedding.text import shown
from chroma_nb.errors import InvalidArgumentError
from chroma_nb.lazy import require_extra
from chroma_nb.types import Documents, Embeddings, Space

#: Names on Hugging Face's hub: a model of the sentence-transformers organization, or organization/model.
_ON_HUB = re.compile(r"([A-Za-z0-9][\w.-]*/)?[A-Za-z0-9][\w.-]*", re.ASCII)
#: Arguments that choose neither a file, a host, a secret nor code.
_HARMLESS = (
    "truncate_dim",
    "similarity_fn_name",
    "local_files_only",
    "default_prompt_name",
    "prompts",
)
_PLAIN = (str, int, float, bool, list, dict, tuple)

#: Loaded models by (name, device, arguments); shared, since each may take gigabytes.
_models: dict[tuple[str, str, str], Any] = {}
_loading = threading.Lock()


@public_class
class SentenceTransformerEmbeddingFunction(EmbeddingFunction[Documents]):
    """Embeds with a sentence-transformers model; needs `chroma-nb[sentence-transformers]`.

    Args:
        model_name: The model's name on Hugging Face's hub, or a folder.
        device: Where it runs: "cpu", "cuda", "mps".
        normalize_embeddings: Make vectors length one.
        **kwargs: Further arguments of `SentenceTransformer`: texts, numbers, lists and dicts.

    Raises:
        ImportError: sentence-transformers is not installed.
        InvalidArgumentError: A further argument is something else, which no config could record.
    """

    documents_per_call = 1024

    def __init__(
        self,
        model_name: str = "all-MiniLM-L6-v2",
        device: str = "cpu",
        normalize_embeddings: bool = False,
        **kwargs: Any,
    ) -> None:
        for argument, value in kwargs.items():
            if not isinstance(value, _PLAIN):
                raise InvalidArgumentError(
                    f"Keyword argument {argument} is not a primitive type: {type(value).__name__}. "
                    "A collection could not record it."
                )
        self.model_name = model_name
        self.device = device
        self.normalize_embeddings = normalize_embeddings
        self.kwargs = kwargs
        self._package = require_extra(
            "sentence_transformers", extra="sentence-transformers", needed_by=type(self).__name__
        )

    def __repr__(self) -> str:
        return f"SentenceTransformerEmbeddingFunction({self.model_name!r}, device={self.device!r})"

    def __call__(self, input: Documents) -> Embeddings:
        """Embed texts.

        Args:
            input: n texts.

        Returns:
            n vectors of shape (dimension,), float32.

        Raises:
            InvalidArgumentError: Something in `input` is no text.
        """
        vectors = self._model().encode(
            check_texts(input),
            convert_to_numpy=True,
            normalize_embeddings=self.normalize_embeddings,
            show_progress_bar=False,
        )
        return list(np.asarray(vectors, dtype=np.float32))

    def _model(self) -> Any:
        key = (self.model_name, self.device, json.dumps(self.kwargs, sort_keys=True, default=str))
        with _loading:
            if key not in _models:
                _models[key] = self._package.SentenceTransformer(
                    self.model_name, device=self.device, **self.kwargs
                )
            return _models[key]

    @staticmethod
    def name() -> str:
        """Return "sentence_transformer"."""
        return "sentence_transformer"

    def get_config(self) -> dict[str, Any]:
        """Return Chroma's fields."""
        return {
            "model_name": self.model_name,
            "device": self.device,
            "normalize_embeddings": self.normalize_embeddings,
            "kwargs": self.kwargs,
        }

    @staticmethod
    def build_from_config(config: dict[str, Any]) -> SentenceTransformerEmbeddingFunction:
        """Build the function from its config."""
        SentenceTransformerEmbeddingFunction.validate_config(config)
        return SentenceTransformerEmbeddingFunction(
            model_name=config["model_name"],
            device=config["device"],
            normalize_embeddings=config["normalize_embeddings"],
            **(config.get("kwargs") or {}),
        )

    @staticmethod
    def needs_consent(config: dict[str, Any]) -> str | None:
        """A stored config may name a model of the sentence-transformers organization, or one in the cache."""
        name, kwargs = config["model_name"], config.get("kwargs") or {}
        asked = [argument for argument in kwargs if argument not in _HARMLESS]
        if asked:
            return f"load a model with {shown(asked[0])}: {shown(kwargs[asked[0]])}"
        if _ON_HUB.fullmatch(name) is None or os.path.lexists(name):
            return f"load the model in {shown(name)}"
        if "/" in name and not name.startswith("sentence-transformers/") and not _is_cached(name):
            return f"download and load the model {shown(name)}"
        return None

    @staticmethod
    def validate_config(config: dict[str, Any]) -> None:
        """Raise InvalidArgumentError where the config is not one of this function."""
        fields: dict[str, tuple[type[Any], ...]] = {
            "model_name": (str,),
            "device": (str,),
            "normalize_embeddings": (bool,),
            "kwargs": (dict,),
        }
        required = ("model_name", "device", "normalize_embeddings")
        check_config("sentence_transformer", config, fields, required)

    def default_space(self) -> Space:
        """Return "cosine"."""
        return "cosine"

    def validate_config_update(
        self, old_config: dict[str, Any], new_config: dict[str, Any]
    ) -> None:
        """Raise InvalidArgumentError where another model is to take the recorded one's place."""
        check_same_model(old_config, new_config, ("model_name",))


def _is_cached(name: str) -> bool:
    """Whether the user has had this model before: then it lies in the hub's cache."""
    try:
        from huggingface_hub import try_to_load_from_cache
    except ImportError:
        return False
    return isinstance(try_to_load_from_cache(name, "config.json"), str)
