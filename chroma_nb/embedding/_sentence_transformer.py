"""`SentenceTransformerEmbeddingFunction`: any model of the sentence-transformers package."""

from __future__ import annotations

import json
import threading
from typing import Any

import numpy as np

from chroma_nb.embedding.base import EmbeddingFunction, check_config, check_texts
from chroma_nb.errors import InvalidArgumentError
from chroma_nb.extras import require_extra
from chroma_nb.types import Documents, Embeddings, Space

_PLAIN = (str, int, float, bool, list, dict, tuple)

#: Loaded models by (name, device, arguments); shared, since each may take gigabytes.
_models: dict[tuple[str, str, str], Any] = {}
_loading = threading.Lock()


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
            n float32 vectors.

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
        """Build the function from its config.

        Raises:
            InvalidArgumentError: It is no such config, or it asks to run code that comes with the model:
                whoever wrote the store would choose what runs here.
        """
        SentenceTransformerEmbeddingFunction.validate_config(config)
        kwargs = config.get("kwargs") or {}
        if kwargs.get("trust_remote_code"):
            raise InvalidArgumentError(
                "The collection asks to run code that comes with the model (trust_remote_code). If you "
                "trust it, open the collection with embedding_function="
                f"SentenceTransformerEmbeddingFunction({config['model_name']!r}, "
                "trust_remote_code=True)."
            )
        return SentenceTransformerEmbeddingFunction(
            model_name=config["model_name"],
            device=config["device"],
            normalize_embeddings=config["normalize_embeddings"],
            **kwargs,
        )

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
