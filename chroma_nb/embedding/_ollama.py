"""`OllamaEmbeddingFunction`: embedding models that run in an Ollama server."""

from __future__ import annotations

from typing import Any, ClassVar
from urllib.parse import urlsplit

import numpy as np

from chroma_nb.boundary import public_class
from chroma_nb.embedding.base import EmbeddingFunction
from chroma_nb.embedding.checks import check_config, check_same_model, check_texts
from chroma_nb.embedding.json_service import JSONService
from chroma_nb.embedding.text import shown
from chroma_nb.errors import InternalError, InvalidArgumentError, NotFoundError
from chroma_nb.harmless import said_in_line
from chroma_nb.types import Documents, Embeddings, Space

_TEXTS_PER_REQUEST = 64
#: Where Ollama listens unless it is told otherwise.
_AT_HOME = ("localhost:11434", "127.0.0.1:11434", "[::1]:11434")
_ROUTES = ("", "/", "/api/embeddings", "/api/embed")


@public_class
class OllamaEmbeddingFunction(EmbeddingFunction[Documents]):
    """Embeds with a model of an Ollama server. No ollama package is needed.

    Args:
        url: Where the server is. The address of its former route (`.../api/embeddings`) will do too.
        model_name: A model that the server has (`ollama pull <model_name>`).
        timeout: Seconds that the server may take for one request of up to 64 texts.
    """

    documents_per_call = _TEXTS_PER_REQUEST
    attempts: ClassVar[int] = 3
    pause_seconds: ClassVar[float] = 0.5

    def __init__(
        self,
        url: str = "http://localhost:11434",
        model_name: str = "chroma/all-minilm-l6-v2-f32",
        timeout: int = 60,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise InvalidArgumentError(
                f"Expected the Ollama server's address as http://host:port, got {url!r}"
            )
        self.url = url
        self.model_name = model_name
        self.timeout = timeout

    def __repr__(self) -> str:
        return f"OllamaEmbeddingFunction({self._base()!r}, {self.model_name!r})"

    def __call__(self, input: Documents) -> Embeddings:
        """Embed texts.

        Args:
            input: n texts.

        Returns:
            n vectors of shape (dimension,), float32.

        Raises:
            InvalidArgumentError: Something in `input` is no text, or the server refuses it.
            NotFoundError: The server does not have the model.
            ChromaError: The server does not answer as it should; see `JSONService.post`.
        """
        texts = check_texts(input)
        vectors: Embeddings = []
        with JSONService(
            "Ollama",
            timeout_seconds=self.timeout,
            attempts=self.attempts,
            pause_seconds=self.pause_seconds,
            unreachable="Start the server with `ollama serve`, or give its url.",
        ) as service:
            for start in range(0, len(texts), _TEXTS_PER_REQUEST):
                batch = texts[start : start + _TEXTS_PER_REQUEST]
                vectors.extend(self._embed(service, batch))
        return vectors

    def _embed(self, service: JSONService, batch: list[str]) -> Embeddings:
        """Embed n texts in one request: n vectors of shape (dimension,), float32."""
        payload = {"model": self.model_name, "input": batch}
        try:
            answer = service.post(f"{self._base()}/api/embed", payload, len(batch))
        except NotFoundError as error:
            raise NotFoundError(
                f"{error} To get the model: ollama pull {self.model_name}"
            ) from None
        try:
            vectors = [np.asarray(vector, dtype=np.float32) for vector in answer["embeddings"]]
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise InternalError(
                f"Ollama's answer has no embeddings ({said_in_line(f'{type(error).__name__}: {error}', 200)}); it has "
                f"the fields {said_in_line(', '.join(answer), 200)}. Is {self.model_name!r} an embedding model?"
            ) from None
        if len(vectors) != len(batch):
            raise InternalError(
                f"Ollama returned {len(vectors)} embeddings for {len(batch)} texts."
            )
        return vectors

    def _base(self) -> str:
        base = self.url.rstrip("/")
        for route in ("/api/embeddings", "/api/embed"):
            base = base.removesuffix(route)
        return base

    @staticmethod
    def name() -> str:
        """Return "ollama"."""
        return "ollama"

    def get_config(self) -> dict[str, Any]:
        """Return Chroma's fields: url, model_name, timeout."""
        return {"url": self.url, "model_name": self.model_name, "timeout": self.timeout}

    @staticmethod
    def build_from_config(config: dict[str, Any]) -> OllamaEmbeddingFunction:
        """Build the function from its config."""
        OllamaEmbeddingFunction.validate_config(config)
        return OllamaEmbeddingFunction(**config)

    @staticmethod
    def needs_consent(config: dict[str, Any]) -> str | None:
        """A stored config may name Ollama's usual address on this machine, and no other."""
        url = str(config["url"])
        parts = urlsplit(url)
        if parts.netloc in _AT_HOME and parts.scheme == "http" and parts.path in _ROUTES:
            return None
        return f"send your texts to {shown(url)}"

    def validate_config_update(
        self, old_config: dict[str, Any], new_config: dict[str, Any]
    ) -> None:
        """Raise InvalidArgumentError where another model is to take the recorded one's place."""
        check_same_model(old_config, new_config, ("model_name",))

    @staticmethod
    def validate_config(config: dict[str, Any]) -> None:
        """Raise InvalidArgumentError where the config is not one of this function."""
        fields: dict[str, tuple[type[Any], ...]] = {
            "url": (str,),
            "model_name": (str,),
            "timeout": (int, float),
        }
        check_config("ollama", config, fields, ("url", "model_name"))

    def default_space(self) -> Space:
        """Return "cosine"."""
        return "cosine"
