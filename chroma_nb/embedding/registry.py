"""Embedding functions by name: the table of their classes, what a collection records, and how one is built again."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Mapping, MutableMapping
from typing import TYPE_CHECKING, Any, TypeVar

from chroma_nb.embedding.base import EmbeddingFunction
from chroma_nb.embedding.consent import consent_needed, remember_given
from chroma_nb.embedding.protocol import label, recordable
from chroma_nb.embedding.text import shown
from chroma_nb.errors import InvalidArgumentError, with_way_out
from chroma_nb.importing import import_module

if TYPE_CHECKING:
    from chroma_nb.settings import Settings

_Class = TypeVar("_Class", bound=type[Any])


#: Functions that come with chroma_nb: name -> "module:Class".
_SHIPPED: dict[str, str] = {
    "default": "chroma_nb.embedding._minilm:DefaultEmbeddingFunction",
    "onnx_mini_lm_l6_v2": "chroma_nb.embedding._minilm:ONNXMiniLM_L6_V2",
    "static_minilm": "chroma_nb.embedding._static:StaticEmbeddingFunction",
    "sentence_transformer": (
        "chroma_nb.embedding._sentence_transformer:SentenceTransformerEmbeddingFunction"
    ),
    "openai": "chroma_nb.embedding._openai:OpenAIEmbeddingFunction",
    "ollama": "chroma_nb.embedding._ollama:OllamaEmbeddingFunction",
}

#: Names that Chroma's own functions record and that have no counterpart here.
CHROMA_FUNCTIONS = frozenset(
    {
        "amazon_bedrock",
        "baseten",
        "chroma-cloud-qwen",
        "chroma_langchain",
        "cloudflare_workers_ai",
        "cohere",
        "google_gemini",
        "google_genai",
        "google_generative_ai",
        "google_palm",
        "google_vertex",
        "huggingface",
        "huggingface_server",
        "instructor",
        "jina",
        "mistral",
        "morph",
        "nomic",
        "open_clip",
        "perplexity",
        "roboflow",
        "text2vec",
        "together_ai",
        "voyageai",
    }
)


#: What registering a class means; the end of two messages.
_CONSENT = (
    "The decorator is consent to any config that is stored under this name, whoever wrote it."
)


class KnownFunctions(MutableMapping[str, type[Any]]):
    """Name -> class of every embedding function that can be built; classes are imported when read."""

    def __init__(self, shipped: Mapping[str, str]) -> None:
        self._shipped = dict(shipped)
        self._registered: dict[str, type[Any]] = {}
        self._used: dict[str, type[Any]] = {}

    def __getitem__(self, name: str) -> type[Any]:
        for classes in (self._registered, self._used):
            if name in classes:
                return classes[name]
        module, _, attribute = self._shipped[name].partition(":")
        cls: type[Any] = getattr(import_module(module), attribute)
        return cls

    def __setitem__(self, name: str, cls: type[Any]) -> None:
        self._registered[name] = cls

    def __delitem__(self, name: str) -> None:
        if name not in self._registered and name not in self._used:
            raise KeyError(name)
        self._registered.pop(name, None)
        self._used.pop(name, None)

    def __contains__(self, name: object) -> bool:
        return name in self._registered or name in self._used or name in self._shipped

    def __iter__(self) -> Iterator[str]:
        return iter({**self._shipped, **self._used, **self._registered})

    def __len__(self) -> int:
        return len({**self._shipped, **self._used, **self._registered})

    def __repr__(self) -> str:
        return f"KnownFunctions({', '.join(self)})"

    def is_registered(self, name: str) -> bool:
        """Say whether the user registered the class, which is consent to any config of that name."""
        return name in self._registered

    def enter_used(self, name: str, cls: type[Any]) -> None:
        """Enter the class of a function that was used, unless the name is one of the shipped ones."""
        if name not in self._shipped:
            if self._registered.get(name, cls) is not cls:
                # The cell that defines the class was run again.
                self._registered[name] = cls
            self._used[name] = cls


#: The table, to which `register_embedding_function` adds.
known_embedding_functions = KnownFunctions(_SHIPPED)


def register_embedding_function(ef_class: Any = None) -> Any:
    """Register a class, so that collections that record its name can build its functions; a decorator.

    It may be used with or without parentheses. Registering is your consent to every stored config of that name,
    whoever wrote it: `build_from_config` gets it as it is. A class with a `needs_consent` of its own still decides.

    The class of a function that you give to a collection is known by its name too, but without that consent. If a
    stored config has texts that may name a host, a model, a file or code, the function has to be given again, unless
    it was given in this process with exactly that config.

    Raises:
        InvalidArgumentError: The class has no usable `name()`.
    """
    return registered_in(known_embedding_functions, ef_class, "embedding function")


def registered_in(known: KnownFunctions, ef_class: Any, kind: str) -> Any:
    """Enter a class in a table by its `name()`; without a class, return a decorator that does.

    Raises:
        InvalidArgumentError: The class has no usable `name()`.
    """

    def register(cls: _Class) -> _Class:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)
                name = cls.name()
        except Exception as error:
            raise InvalidArgumentError(f"Failed to register {kind}: {error}") from error
        if not isinstance(name, str) or not name:
            raise InvalidArgumentError(
                f"Failed to register {kind}: {cls.__name__}.name() must be a static "
                f"method that returns a text, got {name!r}."
            )
        known[name] = cls
        return cls

    return register if ef_class is None else register(ef_class)


def embedding_function_to_config(function: Any) -> dict[str, Any] | None:
    """Return what a collection records of its embedding function, and enter its class in the table.

    Args:
        function: An embedding function, or None.

    Returns:
        None for None; `{"type": "known", "name": ..., "config": {...}}`; or `{"type": "legacy"}`, with
        a DeprecationWarning, for a function that cannot be built again.

    Raises:
        InvalidArgumentError: The config is not JSON.
    """
    if function is None:
        return None
    described = recordable(function)
    if described is None:
        warnings.warn(
            f"{label(function)} has no name(), get_config() and "
            "build_from_config(), so the collection records it as legacy: give embedding_function=... "
            "each time that you open the collection.",
            DeprecationWarning,
            stacklevel=2,
        )
        return {"type": "legacy"}
    return record_of(known_embedding_functions, function, described, "Embedding function")


def record_of(
    known: KnownFunctions, function: Any, described: tuple[str, dict[str, Any]], kind: str
) -> dict[str, Any]:
    """Return what is recorded of a function that can be built again, and enter its class in the table.

    Args:
        known: The table.
        function: The function.
        described: Its name and its config.
        kind: What it is, for the error.

    Raises:
        InvalidArgumentError: The config is not JSON.
    """
    name, config = described
    try:
        json.dumps(config, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InvalidArgumentError(
            f"{kind} {name!r} has a config that is not JSON ({error}): "
            f"{shown(config, 80)}. Let get_config() return texts, numbers, lists and dicts."
        ) from error
    known.enter_used(name, type(function))
    remember_given(name, config)
    return {"type": "known", "name": name, "config": config}


def recorded_name(config: Mapping[str, Any] | None) -> str | None:
    """Return the name of the function that is recorded; None where none is.

    Raises:
        InvalidArgumentError: There should be a name, and is none.
    """
    if config is None or config.get("type") in ("legacy", "unknown"):
        return None
    name = config.get("name")
    if not isinstance(name, str):
        raise InvalidArgumentError(
            f"Embedding function name not found in config: {shown(dict(config), 80)}"
        )
    return name


def embedding_function_from_config(
    config: Mapping[str, Any] | None, *, settings: Settings | None = None
) -> Any:
    """Build the embedding function that a collection records.

    Args:
        config: What the collection records; see `embedding_function_to_config`.
        settings: The client's settings: where MiniLM is, whether to download it.

    Returns:
        The function; None where none is recorded (`None`, legacy, unknown).

    Raises:
        InvalidArgumentError: Nothing is known by the recorded name, it cannot be built, or its config would
            choose what only the user may: a host, a file, the variable of a secret.
    """
    name = recorded_name(config)
    if config is None or name is None:
        return None
    if name not in known_embedding_functions:
        raise _not_found(name)
    function = built(known_embedding_functions, name, config.get("config") or {})
    if settings is not None and isinstance(function, EmbeddingFunction):
        function.use_settings(settings)
    return function


def built(known: KnownFunctions, name: str, recorded: Any, consent: str | None = None) -> Any:
    """Build the function that is recorded by this name, which is in the table.

    Args:
        known: The table.
        name: Of the function.
        recorded: Its config.
        consent: How the user consents to a config; None: as to one of dense embeddings.

    Raises:
        InvalidArgumentError: It cannot be built, or its config would choose what only the user may.
    """
    cls = known[name]
    try:
        refusal = consent_needed(
            name, cls, recorded, registered=known.is_registered(name), consent=consent
        )
        function = None if refusal else cls.build_from_config(recorded)
        if not refusal and (function is NotImplemented or function is None):
            raise InvalidArgumentError("its build_from_config() is not implemented")
    except Exception as error:
        raise InvalidArgumentError(
            f"Could not build embedding function {name} from config {shown(recorded, 300)}: {error}"
        ) from error
    if refusal:
        raise InvalidArgumentError(refusal)
    return function


def _not_found(name: str) -> InvalidArgumentError:
    if name in CHROMA_FUNCTIONS:
        return InvalidArgumentError(
            f"Embedding function {name} not found. It is one of Chroma's that chroma_nb does not bring: "
            f"open the collection with embedding_function=..., an object whose name() is {name!r} "
            f"(chromadb's own will do), or add the @register_embedding_function decorator to its class. {_CONSENT}"
        )
    # The first two sentences are Chroma's: code that was written for Chroma looks for them.
    return with_way_out(
        InvalidArgumentError(
            f"Embedding function {name} not found. Add @register_embedding_function decorator to the class "
            "definition"
        ),
        f"Or, without the decorator, give a function whose name() is {name!r}: "
        f"get_collection(..., embedding_function=MyFunction()). {_CONSENT}",
    )
