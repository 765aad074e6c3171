"""`EmbeddingFunction`: Chroma's protocol, how one is recorded, and how texts become one array.

A function is any object that can be called with `input=`, or a plain function of a list of texts. One that also has a name, a config and a way
to be built from it is recorded in its collection; the others are recorded as "legacy" and have to be
given again each time the collection is opened.
"""

from __future__ import annotations

import functools
import inspect
import json
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar, cast

import numpy as np

from chroma_nb.embedding.consent import consent_needed, remember_given
from chroma_nb.embedding.text import shown
from chroma_nb.errors import InvalidArgumentError, with_way_out
from chroma_nb.importing import import_module
from chroma_nb.progress import progress_bar

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from chroma_nb.settings import Settings
    from chroma_nb.types import Embeddings, Space

D = TypeVar("D", contravariant=True)
_Class = TypeVar("_Class", bound=type[Any])

_shorten = functools.partial(shown, limit=80)
#: What Chroma accepts as a vector's numbers.
_NUMBERS = frozenset(np.dtype(kind) for kind in ("f2", "f4", "f8", "i4", "i8"))
_CHECKED_ROWS = 4096

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


class EmbeddingFunction(ABC, Generic[D]):
    """Turns documents (or images) into vectors.

    Subclasses implement `__call__`; `name`, `get_config` and `build_from_config` as well if a collection
    is to record how to build the function again. A class written for Chroma's `EmbeddingFunction`
    works unchanged, `EmbeddingFunction[Documents]` included. Whatever `__call__` of a subclass returns
    (lists, arrays) reaches the caller as a list of float32 arrays.

    A config never holds a secret: it holds the name of the environment variable that does.
    """

    #: At most so many documents are given in one call; None: as many as there are, as Chroma does.
    #: `embed_documents` splits its work by it and moves its progress bar between the calls.
    documents_per_call: ClassVar[int | None] = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        call: Callable[[Any, Any], Any] | None = cls.__dict__.get("__call__")
        if call is None or getattr(call, "__isabstractmethod__", False):
            return
        inner = call

        # Not functools.wraps: the signature that is checked and called by keyword is (self, input),
        # whatever the subclass calls its parameter.
        def __call__(self: EmbeddingFunction[Any], input: Any) -> Embeddings:
            return normalize_embeddings(inner(self, input))

        __call__.__doc__ = inner.__doc__
        __call__.__qualname__ = f"{cls.__qualname__}.__call__"
        __call__.__module__ = cls.__module__
        cls.__call__ = __call__  # type: ignore[method-assign]

    @abstractmethod
    def __call__(self, input: D) -> Embeddings:
        """Embed documents.

        Args:
            input: A list of n texts (or images, if the function is for images).

        Returns:
            n vectors of one dimension, in the order of `input`.
        """

    def embed_query(self, input: D) -> Embeddings:
        """Embed queries; for models that embed queries and documents differently. Here: alike."""
        return self(input)

    @staticmethod
    def name() -> str:
        """Return the name under which collections record this function."""
        return cast("str", NotImplemented)

    def get_config(self) -> dict[str, Any]:
        """Return what `build_from_config` needs, as JSON, without secrets."""
        return cast("dict[str, Any]", NotImplemented)

    @staticmethod
    def build_from_config(config: dict[str, Any]) -> EmbeddingFunction[Any]:
        """Build the function that returned this config."""
        return cast("EmbeddingFunction[Any]", NotImplemented)

    def default_space(self) -> Space:
        """Return the distance of a collection that names none."""
        return "l2"

    def supported_spaces(self) -> list[Space]:
        """Return the distances that make sense with these vectors."""
        return ["cosine", "l2", "ip"]

    def validate_config_update(
        self, old_config: dict[str, Any], new_config: dict[str, Any]
    ) -> None:
        """Raise ValueError where the new config is of another model: in `modify`, or when a collection is opened."""
        return

    @staticmethod
    def validate_config(config: dict[str, Any]) -> None:
        """Raise ValueError where a config cannot be one of this function."""
        return

    @staticmethod
    def needs_consent(config: dict[str, Any]) -> str | None:
        """Return what a stored config would do that only the user may decide, as "send your texts to 'host'".

        None if nothing; NotImplemented: whatever can name a host, a model, a file or code (`consent.py`).
        """
        return cast("str", NotImplemented)

    def is_legacy(self) -> bool:
        """Return whether this function cannot be recorded: no name, no config or no way to build it."""
        return _describe(self) is None

    def use_settings(self, settings: Settings) -> None:
        """Receive the settings of the client that built this function from its config. Here: ignored."""
        return


# -- from whatever a function returns to float32 ------------------------------------------------------


def normalize_embeddings(result: Any) -> Embeddings:
    """Turn what an embedding function returned into a list of float32 arrays.

    Args:
        result: Lists of numbers, arrays, an array of shape (n, dimension), or what NumPy can read as
            one of these. A flat one is one vector.

    Raises:
        InvalidArgumentError: It is empty, or holds something else than numbers.
    """
    try:
        count = len(result)
    except TypeError:
        raise _not_vectors(result) from None
    if count == 0:
        raise InvalidArgumentError(
            f"Expected Embeddings to be non-empty list or numpy array, got {_shorten(result)}"
        )
    if isinstance(result, np.ndarray) and result.ndim == 2:
        return list(_as_float32(result, result))
    first = result[0] if isinstance(result, Sequence | np.ndarray) else None
    if isinstance(first, int | float | np.number) and not isinstance(first, bool):
        return [_as_float32(result, result)]
    vectors = [_as_float32(row, result) for row in result]
    if any(vector.ndim != 1 for vector in vectors):
        raise _not_vectors(result)
    return vectors


def _as_float32(value: Any, result: Any) -> NDArray[np.float32]:
    if isinstance(value, np.ndarray):
        if value.dtype == np.float32 and value.size:  # the usual case, 100,000 times over
            return value
        array = value
    else:
        try:
            array = np.asarray(value)
        except (TypeError, ValueError):  # ragged, or something that only looks like an array
            raise _not_vectors(result) from None
    if array.dtype not in _NUMBERS:
        if isinstance(value, np.ndarray):
            raise InvalidArgumentError(
                "Expected each value in the embedding to be a int or float, got an embedding with "
                f"{array.dtype} - {_shorten(array)}"
            )
        raise _not_vectors(result)
    if array.size == 0:
        raise InvalidArgumentError(
            "Expected each embedding to hold at least one number, got an empty one."
        )
    with np.errstate(over="ignore"):  # too large for float32 becomes inf, which is refused by name
        return array.astype(np.float32, copy=False)


def _not_vectors(result: Any) -> InvalidArgumentError:
    return InvalidArgumentError(
        "Expected embeddings to be a list of floats or ints, a list of lists, a numpy array, or a list "
        f"of numpy arrays, got {_shorten(result)}"
    )


def embed_documents(
    function: Callable[..., Any],
    texts: Sequence[Any],
    *,
    progress: bool = False,
    desc: str = "Embedding",
    at_most: int | None = None,
) -> NDArray[np.float32]:
    """Embed documents with any embedding function and check what it returns.

    Args:
        function: An embedding function, called with `input=`.
        texts: n documents or images.
        progress: Show a progress bar if it lasts; callers pass `Settings.progress`.
        desc: What the bar says.
        at_most: So many texts are given in one call at most; the function's own `documents_per_call`
            counts where it is smaller. None: all of them.

    Returns:
        Shape (n, dimension), float32, C-contiguous; (0, 0) if there are no texts.

    Raises:
        InvalidArgumentError: Not one vector for each text, vectors of different dimensions, or values
            that are not finite numbers. What the function itself raises passes through.
    """
    return _embed(function, function, texts, progress=progress, desc=desc, at_most=at_most)


def embed_queries(
    function: Callable[..., Any], texts: Sequence[Any], *, at_most: int | None = None
) -> NDArray[np.float32]:
    """Embed queries: with the function's `embed_query` where it has one.

    Args:
        function: An embedding function.
        texts: n texts or images.
        at_most: As for `embed_documents`.

    Returns:
        Shape (n, dimension), float32, C-contiguous; (0, 0) if there are no texts.

    Raises:
        InvalidArgumentError: As `embed_documents`.
    """
    call = getattr(function, "embed_query", function)
    return _embed(function, call, texts, progress=False, desc="", at_most=at_most)


def _embed(
    function: Callable[..., Any],
    call: Callable[..., Any],
    texts: Sequence[Any],
    *,
    progress: bool,
    desc: str,
    at_most: int | None,
) -> NDArray[np.float32]:
    total = len(texts)
    if total == 0:
        return np.empty((0, 0), np.float32)
    step = min(total, getattr(function, "documents_per_call", None) or total, at_most or total)
    whole: NDArray[np.float32] | None = None
    with progress_bar(total, desc, unit="text", did="embedded", enabled=progress) as bar:
        for start in range(0, total, step):
            given = texts if step >= total else texts[start : start + step]
            try:
                part = _matrix(call(input=given), given, start, function)
            except Exception as error:
                if step < total and hasattr(error, "add_note"):  # Python 3.11
                    error.add_note(
                        f"This was while texts {start:,} to {min(start + step, total) - 1:,} of {total:,} "
                        "were embedded. Nothing was written: run the call again, or in smaller pieces "
                        "to keep what is done."
                    )
                raise
            bar.update(len(part))
            if step >= total:
                return part
            if whole is None:
                whole = np.empty((total, part.shape[1]), np.float32)
            elif whole.shape[1] != part.shape[1]:
                raise _mixed_dimensions(function, whole.shape[1], part.shape[1], 0, start)
            whole[start : start + len(part)] = part
    assert whole is not None  # total > 0
    return whole


def _matrix(result: Any, texts: Sequence[Any], offset: int, function: Any) -> NDArray[np.float32]:
    vectors = normalize_embeddings(result)
    if len(vectors) != len(texts):
        raise InvalidArgumentError(
            f"{_label(function)} returned {_count(len(vectors), 'vector')} for {_count(len(texts), 'text')}. It "
            "must return one vector for each text, in their order."
        )
    dimension = len(vectors[0])
    for row, vector in enumerate(vectors):
        if len(vector) != dimension:
            raise _mixed_dimensions(function, dimension, len(vector), offset, offset + row)
    matrix = np.stack(vectors)
    for start in range(0, len(matrix), _CHECKED_ROWS):
        bad = ~np.isfinite(matrix[start : start + _CHECKED_ROWS]).all(axis=1)
        if bad.any():
            row = start + int(bad.argmax())
            raise InvalidArgumentError(
                f"{_label(function)} returned NaN or Infinity values for text {offset + row} "
                f"({_shorten(texts[row])}). Embeddings must not contain NaN or Infinity values."
            )
    return matrix


def _mixed_dimensions(
    function: Any, first: int, other: int, first_text: int, other_text: int
) -> InvalidArgumentError:
    return InvalidArgumentError(
        f"{_label(function)} returned {_count(first, 'number')} for text {first_text} and {other} for text "
        f"{other_text}. All vectors must have one dimension."
    )


def _count(n: int, noun: str) -> str:
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"


def _label(function: Any) -> str:
    if isinstance(function, PlainFunction):
        return f"Embedding function {_name_of(function.function)!r}"
    name = function_name(function)
    return f"Embedding function {name or type(function).__name__!r}"


# -- the protocol, looked at from outside -------------------------------------------------------------


class PlainFunction:
    """A function of texts as an embedding function: a def, a lambda, a method, a partial.

    It has no name that a collection could record, so it has to be given each time that the collection is
    opened.

    Args:
        function: Called with a list of n texts; returns n vectors.
    """

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self.function = function

    def __call__(self, input: Any) -> Any:
        """Embed a list of n texts."""
        return self.function(input)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PlainFunction) and self.function == other.function

    def __hash__(self) -> int:
        return hash(self.function)

    def __repr__(self) -> str:
        return f"PlainFunction({_name_of(self.function)})"


def _name_of(function: Any) -> str:
    return str(getattr(function, "__qualname__", None) or type(function).__name__)


def _called(function: Any) -> str:
    """Return what a function is called in a sentence: by its own name, or by that of its class."""
    if isinstance(function, PlainFunction):
        function = function.function
    return function_name(function) or str(getattr(function, "__name__", type(function).__name__))


#: Kinds of callables whose parameter may have any name: they are called by place.
_FUNCTIONS = (FunctionType, BuiltinFunctionType, MethodType, functools.partial)


def checked_embedding_function(function: Any) -> Any:
    """Return an embedding function as it is used: a plain function in a wrapper, others as they are.

    Raises:
        InvalidArgumentError: As `validate_embedding_function`.
    """
    if isinstance(function, _FUNCTIONS):
        return PlainFunction(function)
    if function is not None:
        validate_embedding_function(function)
    return function


@functools.lru_cache(maxsize=16)
def _parameters(function: Any) -> list[str]:
    """Return the names of a function's parameters; looked at once, as each collection of a list asks."""
    try:
        return list(inspect.signature(function).parameters)
    except (TypeError, ValueError):  # a built-in without a signature
        return ["..."]


def validate_embedding_function(function: Any) -> None:
    """Check that an object can be called as an embedding function.

    Raises:
        InvalidArgumentError: It cannot be called, or its class's `__call__` does not have exactly the
            parameters `self` and `input`.
    """
    if not callable(function):
        raise InvalidArgumentError(
            f"Expected an embedding function, got {_shorten(function)}, which cannot be called."
        )
    if isinstance(function, type):
        raise InvalidArgumentError(
            f"Expected an embedding function, got the class {function.__name__}. Give an object of it: "
            f"{function.__name__}(...)."
        )
    if isinstance(function, _FUNCTIONS):
        return
    parameters = _parameters(type(function).__call__)
    if parameters != ["self", "input"]:
        raise InvalidArgumentError(
            "Expected EmbeddingFunction.__call__ to have the following signature: (self, input), got "
            f"({', '.join(parameters)}). Give a function of a list of texts, or an object whose class has "
            "`def __call__(self, input)`; either returns one vector for each text."
        )


def function_name(function: Any) -> str | None:
    """Return what the function's `name()` says, or None if it has no name."""
    name = getattr(function, "name", None)
    if not callable(name):
        return None
    try:
        with warnings.catch_warnings():
            # Chroma's own base class warns here and returns NotImplemented.
            warnings.simplefilter("ignore", DeprecationWarning)
            value = name()
    except Exception:
        return None
    return value if isinstance(value, str) and value else None


def _describe(function: Any) -> tuple[str, dict[str, Any]] | None:
    """Return (name, config) of a function that can be built again, None of any other."""
    name = function_name(function)
    if name is None or not _can_build(type(function)) or not hasattr(function, "get_config"):
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            config = function.get_config()
    except NotImplementedError:
        return None
    return (name, dict(config)) if isinstance(config, Mapping) else None


def _can_build(cls: type[Any]) -> bool:
    """Whether a class brings its own `build_from_config`; asked without building anything."""
    for base in cls.__mro__:
        if "build_from_config" in vars(base):
            # The base classes', ours and Chroma's, only say that they are not implemented.
            return base.__name__ != "EmbeddingFunction"
    return False


# -- the table of names -------------------------------------------------------------------------------


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
        """Whether the user entered the class: then its `build_from_config` decides about any config."""
        return name in self._registered

    def enter_used(self, name: str, cls: type[Any]) -> None:
        """Enter the class of a function that was used, unless the name is one of the shipped ones."""
        if name not in self._shipped:
            if (
                self._registered.get(name, cls) is not cls
            ):  # a cell that defines the class was run again
                self._registered[name] = cls
            self._used[name] = cls


#: The table. `register_embedding_function` writes it.
known_embedding_functions = KnownFunctions(_SHIPPED)


def register_embedding_function(ef_class: Any = None) -> Any:
    """Enter a class in the table, so that collections that record its name can build it.

    A decorator, with or without parentheses. It is your consent to any stored config of that name, whoever
    wrote it, unless the class has a `needs_consent` of its own: `build_from_config` gets it as it is.

    A class whose function was given to a collection is known by its name as well, and without this consent:
    a stored config with texts that may name a host, a model, a file or code needs the function to be given
    again, unless it was given in this process with this very config.

    Raises:
        InvalidArgumentError: The class has no usable `name()`.
    """

    def register(cls: _Class) -> _Class:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)
                name = cls.name()
        except Exception as error:
            raise InvalidArgumentError(f"Failed to register embedding function: {error}") from error
        if not isinstance(name, str) or not name:
            raise InvalidArgumentError(
                f"Failed to register embedding function: {cls.__name__}.name() must be a static "
                f"method that returns a text, got {name!r}."
            )
        known_embedding_functions[name] = cls
        return cls

    return register if ef_class is None else register(ef_class)


# -- what a collection records ------------------------------------------------------------------------


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
    described = _describe(function)
    if described is None:
        warnings.warn(
            f"{_label(function)} has no name(), get_config() and "
            "build_from_config(), so the collection records it as legacy: give embedding_function=... "
            "each time that you open the collection.",
            DeprecationWarning,
            stacklevel=2,
        )
        return {"type": "legacy"}
    name, config = described
    try:
        json.dumps(config, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InvalidArgumentError(
            f"Embedding function {name!r} has a config that is not JSON ({error}): "
            f"{_shorten(config)}. Let get_config() return texts, numbers, lists and dicts."
        ) from error
    known_embedding_functions.enter_used(name, type(function))
    remember_given(name, config)
    return {"type": "known", "name": name, "config": config}


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
    if config is None or config.get("type") in ("legacy", "unknown"):
        return None
    name = config.get("name")
    if not isinstance(name, str):
        raise InvalidArgumentError(
            f"Embedding function name not found in config: {_shorten(dict(config))}"
        )
    if name not in known_embedding_functions:
        raise _not_found(name)
    recorded = config.get("config") or {}
    cls = known_embedding_functions[name]
    try:
        refusal = consent_needed(
            name, cls, recorded, registered=known_embedding_functions.is_registered(name)
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
    if settings is not None and isinstance(function, EmbeddingFunction):
        function.use_settings(settings)
    return function


_MEANING = (
    "The decorator is consent to any config that is stored under this name, whoever wrote it."
)


def _not_found(name: str) -> InvalidArgumentError:
    if name in CHROMA_FUNCTIONS:
        return InvalidArgumentError(
            f"Embedding function {name} not found. It is one of Chroma's that chroma_nb does not bring: "
            f"open the collection with embedding_function=..., an object whose name() is {name!r} "
            f"(chromadb's own will do), or add the @register_embedding_function decorator to its class. {_MEANING}"
        )
    # The first two sentences are Chroma's: code that was written for Chroma looks for them.
    return with_way_out(
        InvalidArgumentError(
            f"Embedding function {name} not found. Add @register_embedding_function decorator to the class "
            "definition"
        ),
        f"Or, without the decorator, give a function whose name() is {name!r}: "
        f"get_collection(..., embedding_function=MyFunction()). {_MEANING}",
    )


# -- conflicts, judged by name ------------------------------------------------------------------------


def check_conflict_on_create(function: Any, configured: Any) -> None:
    """Check the argument of `create_collection` against the function in its configuration.

    Args:
        function: The argument, or None. One that is named "default" never conflicts.
        configured: `configuration["embedding_function"]`, or None.

    Raises:
        InvalidArgumentError: They are different functions.
    """
    if function is None or configured is None or function is configured:
        return
    name, other = function_name(function), function_name(configured)
    if name == "default" or (name is not None and name == other):
        return
    raise InvalidArgumentError(
        "Multiple embedding functions provided. Please provide only one. Embedding function conflict: "
        f"{_called(function)} vs {_called(configured)}"
    )


def check_conflict_on_get(function: Any, persisted: Mapping[str, Any] | None) -> None:
    """Check the argument of `get_collection` against what the collection records.

    Args:
        function: The argument, or None. One that is named "default" never conflicts.
        persisted: The collection's `configuration["embedding_function"]`. None and legacy ones accept
            any function.

    Raises:
        InvalidArgumentError: The collection records another name, or the function says that its vectors
            and the recorded one's do not belong together (`validate_config_update`).
    """
    recorded = None if persisted is None else persisted.get("name")
    if persisted is None or function is None or recorded is None:
        return
    name = function_name(function)
    if name == "default" and name != recorded:
        return
    if name == recorded:
        described = _describe(function)
        if described is not None:
            _check_same_model(function, dict(persisted.get("config") or {}), described[1])
        return
    raise InvalidArgumentError(
        "An embedding function already exists in the collection configuration, and a new one is "
        "provided. If this is intentional, please embed documents separately. Embedding function "
        f"conflict: new: {_called(function)} vs persisted: {recorded}"
    )


def _check_same_model(function: Any, recorded: dict[str, Any], given: dict[str, Any]) -> None:
    """Check that a function of the recorded name makes vectors that belong with those that are there.

    Which fields of a config choose the model is known to its class alone: `validate_config_update` says it.
    A class that does not say it is taken at its word, as in Chroma.
    """
    if recorded != given and hasattr(function, "validate_config_update"):
        function.validate_config_update(recorded, given)


def check_conflict_on_modify(persisted: Mapping[str, Any] | None, function: Any) -> None:
    """Check the function given to `modify` against what the collection records.

    Args:
        persisted: The collection's `configuration["embedding_function"]`.
        function: The new function, or None.

    Raises:
        InvalidArgumentError: The collection records another name.
        ValueError: The function itself refuses the change of its config.
    """
    recorded = None if persisted is None else persisted.get("name")
    if function is None or recorded is None:
        return
    described = _describe(function)
    if described is None or described[0] != recorded:
        raise InvalidArgumentError(
            "Cannot update embedding function: incompatible types "
            f"({recorded} vs {_called(function)})"
        )
    old = dict((persisted or {}).get("config") or {})
    if hasattr(function, "validate_config"):
        function.validate_config(described[1])
    if hasattr(function, "validate_config_update"):
        function.validate_config_update(old, described[1])


# -- checks that the functions here share ---------------------------------------------------------------


def check_config(
    function: str,
    config: Mapping[str, Any],
    fields: Mapping[str, tuple[type[Any], ...]],
    required: Sequence[str] = (),
) -> None:
    """Check a config's fields: all known, the required ones there, each of its kind.

    Args:
        function: Name of the embedding function, for the message.
        config: The config.
        fields: Field -> types that it may have. `type(None)` where null is allowed.
        required: Fields that must be there.

    Raises:
        InvalidArgumentError: It is not such a config.
    """
    unknown = [name for name in config if name not in fields]
    if unknown:
        raise InvalidArgumentError(
            f"Config of embedding function {function!r} has an unknown field {unknown[0]!r}. "
            f"Known: {', '.join(fields) or 'none'}."
        )
    for name in required:
        if name not in config:
            raise InvalidArgumentError(
                f"Config of embedding function {function!r} has no {name!r}."
            )
    for name, value in config.items():
        kinds = fields[name]
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
            raise InvalidArgumentError(
                f"Config of embedding function {function!r}: {name!r} must be "
                f"{' or '.join(_KIND[kind] for kind in kinds)}, got {_shorten(value)}."
            )


_KIND: dict[type[Any], str] = {
    str: "a text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    dict: "a dict",
    list: "a list",
    type(None): "null",
}


def check_same_model(
    old_config: Mapping[str, Any], new_config: Mapping[str, Any], fields: Sequence[str]
) -> None:
    """Check that a new config is of the recorded one's model; for `validate_config_update`.

    Args:
        old_config: The recorded config.
        new_config: The new one; a field that it lacks stays as it is.
        fields: The fields that choose the model.

    Raises:
        InvalidArgumentError: One of them would change.
    """
    for field in fields:
        if field in new_config and new_config[field] != old_config.get(field):
            raise InvalidArgumentError(
                f"Cannot change {field} from {old_config.get(field)!r} to {new_config[field]!r}: the "
                "collection's vectors are the former's. Create another collection."
            )


def check_texts(input: Any) -> list[str]:
    """Return the texts as a list.

    Raises:
        InvalidArgumentError: It is one bare text, or something in it is no text.
    """
    if isinstance(input, str):
        raise InvalidArgumentError(
            f"Expected documents to be a list of texts, got the text {_shorten(input)}. Put it in a "
            "list."
        )
    texts = list(input)
    for row, text in enumerate(texts):
        if not isinstance(text, str):
            raise InvalidArgumentError(
                f"Expected document to be a str, got {_shorten(text)} (document {row})"
            )
    return texts
