"""`OpenAIEmbeddingFunction`: embeddings of OpenAI, Azure, and services that speak as OpenAI does."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from chroma_nb.boundary import public_class
from chroma_nb.embedding.base import EmbeddingFunction
from chroma_nb.embedding.checks import check_config, check_same_model, check_texts
from chroma_nb.embedding.json_service import JSONService
from chroma_nb.embedding.text import shown
from chroma_nb.errors import InternalError, InvalidArgumentError
from chroma_nb.harmless import said_in_line
from chroma_nb.types import Documents, Embeddings, Space

if TYPE_CHECKING:
    from collections.abc import Iterator

_BASE = "https://api.openai.com/v1"
#: Either of them will do where one of them is named: OpenAI's own, and Chroma's.
_VARIABLES = ("OPENAI_API_KEY", "CHROMA_OPENAI_API_KEY")

#: A request may hold 2,048 texts and 300,000 tokens. A token is rarely less than one character.
_TEXTS_PER_REQUEST = 256
_CHARACTERS_PER_REQUEST = 250_000

_SECRET_WORDS = ("authorization", "key", "token", "secret", "cookie", "password")
_TEXT_OR_NULL = (str, type(None))
_FIELDS: dict[str, tuple[type[Any], ...]] = {
    "api_key_env_var": (str,),
    "model_name": (str,),
    "organization_id": _TEXT_OR_NULL,
    "api_base": _TEXT_OR_NULL,
    "api_type": _TEXT_OR_NULL,
    "api_version": _TEXT_OR_NULL,
    "deployment_id": _TEXT_OR_NULL,
    "default_headers": (dict, type(None)),
    "dimensions": (int, type(None)),
}


@public_class
class OpenAIEmbeddingFunction(EmbeddingFunction[Documents]):
    """OpenAI's embedding models. No openai package is needed.

    Args:
        api_key: The key. It is never recorded; a collection that is opened later reads it from the
            environment.
        model_name: The model.
        organization_id: OpenAI's organization.
        api_base: Where the service is, if not at OpenAI (up to and including `/v1`). It receives the key
            and the texts.
        api_type: "azure" for Azure OpenAI, which needs `api_base`, `api_version`, `deployment_id`.
        api_version: Azure's version of the API.
        deployment_id: Azure's deployment.
        default_headers: Sent with each request. Those that look like credentials are not recorded.
        dimensions: Length of the vectors; sent to models named text-embedding-3 only, as Chroma does.
        api_key_env_var: Environment variable that holds the key, read at each call. Where
            OPENAI_API_KEY or CHROMA_OPENAI_API_KEY is named, the other one will do.

    Raises:
        InvalidArgumentError: There is no key, or something that Azure needs is missing.
    """

    #: As many as ten requests, between two moves of the progress bar.
    documents_per_call = 2560
    attempts: ClassVar[int] = 5
    pause_seconds: ClassVar[float] = 0.5
    timeout_seconds: ClassVar[float] = 60.0

    def __init__(
        self,
        api_key: str | None = None,
        model_name: str = "text-embedding-ada-002",
        organization_id: str | None = None,
        api_base: str | None = None,
        api_type: str | None = None,
        api_version: str | None = None,
        deployment_id: str | None = None,
        default_headers: dict[str, str] | None = None,
        dimensions: int | None = None,
        api_key_env_var: str = "OPENAI_API_KEY",
    ) -> None:
        self._api_key = api_key
        self.model_name = model_name
        self.organization_id = organization_id
        self.api_base = api_base
        self.api_type = api_type
        self.api_version = api_version
        self.deployment_id = deployment_id
        self.default_headers = default_headers
        self.dimensions = dimensions
        self.api_key_env_var = api_key_env_var
        if api_type == "azure":
            for needed in ("api_version", "deployment_id", "api_base"):
                if getattr(self, needed) is None:
                    raise InvalidArgumentError(f"{needed} must be specified for Azure OpenAI")
        self._key()

    def __repr__(self) -> str:
        return f"OpenAIEmbeddingFunction({self.model_name!r}, key in {self.api_key_env_var})"

    def __call__(self, input: Documents) -> Embeddings:
        """Embed texts.

        Args:
            input: n texts. Any number: they are sent in as many requests as it takes.

        Returns:
            n vectors of shape (dimension,), float32.

        Raises:
            InvalidArgumentError: Something in `input` is no text, or the service refuses it.
            ChromaError: The service does not answer as it should; see `JSONService.post`.
        """
        texts = check_texts(input)
        vectors: Embeddings = []
        key = self._key()
        with JSONService(
            "OpenAI" if self.api_base is None else "the embedding service",
            headers=self._headers(key),
            timeout_seconds=self.timeout_seconds,
            attempts=self.attempts,
            pause_seconds=self.pause_seconds,
            secrets=(key, *self._secret_headers().values()),
            unreachable="Check the network and api_base.",
        ) as service:
            for batch in _requests(texts):
                answer = service.post(self._url(), self._payload(batch), len(batch))
                vectors.extend(_vectors(answer, len(batch)))
        return vectors

    def _payload(self, batch: list[str]) -> dict[str, Any]:
        payload: dict[str, Any] = {
            "model": self.model_name,
            "input": batch,
            "encoding_format": "float",
        }
        if self.dimensions is not None and "text-embedding-3" in self.model_name:
            payload["dimensions"] = self.dimensions
        return payload

    def _url(self) -> str:
        base = (self.api_base or _BASE).rstrip("/")
        if self.api_type == "azure":
            return (
                f"{base}/openai/deployments/{self.deployment_id}/embeddings"
                f"?api-version={self.api_version}"
            )
        return f"{base}/embeddings"

    def _headers(self, key: str) -> dict[str, str]:
        headers = (
            {"api-key": key} if self.api_type == "azure" else {"Authorization": f"Bearer {key}"}
        )
        if self.organization_id is not None:
            headers["OpenAI-Organization"] = self.organization_id
        return {**headers, **(self.default_headers or {})}

    def _secret_headers(self) -> dict[str, str]:
        headers = self.default_headers or {}
        return {k: v for k, v in headers.items() if any(w in k.lower() for w in _SECRET_WORDS)}

    def _key(self) -> str:
        if self._api_key:
            return self._api_key
        variables = [self.api_key_env_var]
        if self.api_key_env_var in _VARIABLES:
            variables += [name for name in _VARIABLES if name != self.api_key_env_var]
        for variable in variables:
            key = os.environ.get(variable)
            if key:
                return key
        raise InvalidArgumentError(
            f"The {self.api_key_env_var} environment variable is not set. Set it, or give "
            "OpenAIEmbeddingFunction an api_key."
        )

    @staticmethod
    def name() -> str:
        """Return "openai"."""
        return "openai"

    def get_config(self) -> dict[str, Any]:
        """Return Chroma's fields: the name of the key's variable, never a key."""
        headers = self.default_headers
        if headers is not None:
            secret = self._secret_headers()
            headers = {k: v for k, v in headers.items() if k not in secret} or None
        return {
            "api_key_env_var": self.api_key_env_var,
            "model_name": self.model_name,
            "organization_id": self.organization_id,
            "api_base": self.api_base,
            "api_type": self.api_type,
            "api_version": self.api_version,
            "deployment_id": self.deployment_id,
            "default_headers": headers,
            "dimensions": self.dimensions,
        }

    @staticmethod
    def build_from_config(config: dict[str, Any]) -> OpenAIEmbeddingFunction:
        """Build the function from its config; the key comes from the environment."""
        OpenAIEmbeddingFunction.validate_config(config)
        return OpenAIEmbeddingFunction(**config)

    @staticmethod
    def needs_consent(config: dict[str, Any]) -> str | None:
        """A stored config may name OpenAI's own keys for OpenAI's own host, and nothing else."""
        base, variable = config.get("api_base"), config["api_key_env_var"]
        at_home = base is None or base.rstrip("/") == _BASE
        if not at_home or variable not in _VARIABLES:
            return (
                f"send your texts and the value of the environment variable {shown(variable)} to "
                f"{shown(_BASE if base is None else base)}"
            )
        if config.get("default_headers"):
            return f"add the headers {shown(config['default_headers'])} to your requests"
        if config.get("api_type") is not None:
            return f"send your key to OpenAI as if it were {shown(config['api_type'])}"
        return None

    def validate_config_update(
        self, old_config: dict[str, Any], new_config: dict[str, Any]
    ) -> None:
        """Raise InvalidArgumentError where another model is to take the recorded one's place."""
        check_same_model(old_config, new_config, ("model_name", "dimensions"))

    @staticmethod
    def validate_config(config: dict[str, Any]) -> None:
        """Raise InvalidArgumentError where the config is not one of this function."""
        check_config("openai", config, _FIELDS, ("api_key_env_var", "model_name"))

    def default_space(self) -> Space:
        """Return "cosine"."""
        return "cosine"


def _requests(texts: list[str]) -> Iterator[list[str]]:
    batch: list[str] = []
    characters = 0
    for text in texts:
        full = len(batch) == _TEXTS_PER_REQUEST or (
            characters + len(text) > _CHARACTERS_PER_REQUEST
        )
        if batch and full:
            yield batch
            batch, characters = [], 0
        batch.append(text)
        characters += len(text)
    if batch:
        yield batch


def _vectors(answer: dict[str, Any], expected: int) -> Embeddings:
    """Return the `expected` vectors of an answer, in the order of the texts; each of shape (dimension,), float32."""
    try:
        items = answer["data"]
        # Each item says which text it belongs to.
        ordered = sorted(items, key=lambda item: int(item.get("index", 0)))
        vectors = [np.asarray(item["embedding"], dtype=np.float32) for item in ordered]
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise InternalError(
            "The embedding service's answer is not OpenAI's "
            f"({said_in_line(f'{type(error).__name__}: {error}', 200)}): it has the fields "
            f"{said_in_line(', '.join(answer), 200)}."
        ) from None
    if len(vectors) != expected:
        raise InternalError(
            f"The embedding service returned {len(vectors)} embeddings for {expected} texts."
        )
    return vectors
