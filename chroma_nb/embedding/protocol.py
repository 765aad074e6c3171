"""What counts as an embedding function, asked from outside: its call, its name, and whether it can be recorded.

It is any object that can be called with `input=`, or a plain function of a list of texts. One that also has a name,
a config and a way to be built from it is recorded in its collection. The others are recorded as "legacy" and have to
be given again each time that the collection is opened.
"""

from __future__ import annotations

import functools
import inspect
import warnings
from collections.abc import Callable, Mapping
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import Any

from chroma_nb.embedding.text import shown
from chroma_nb.errors import InvalidArgumentError

#: Types of plain functions: their parameter may have any name, as they are called by position.
_FUNCTIONS = (FunctionType, BuiltinFunctionType, MethodType, functools.partial)


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


def check_what_it_returns(cls: type, check: Callable[[Any], Any]) -> None:
    """Have everything that the `__call__` of a class returns go through a check, where the class has one of its own.

    Args:
        cls: A class of embedding functions that is being made; changed in place.
        check: Returns what a caller gets for what the function has returned.
    """
    call: Callable[[Any, Any], Any] | None = cls.__dict__.get("__call__")
    if call is None or getattr(call, "__isabstractmethod__", False):
        return
    inner = call

    # Not functools.wraps: the signature that is checked and called by keyword is (self, input), whatever the class calls
    # its parameter.
    def __call__(self: Any, input: Any) -> Any:
        return check(inner(self, input))

    __call__.__doc__ = inner.__doc__
    __call__.__qualname__ = f"{cls.__qualname__}.__call__"
    __call__.__module__ = cls.__module__
    cls.__call__ = __call__  # type: ignore[method-assign]


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
    """Return the names of a function's parameters. Cached, as every collection that is opened asks for them."""
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
            f"Expected an embedding function, got {shown(function, 80)}, which cannot be called."
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


def recordable(function: Any) -> tuple[str, dict[str, Any]] | None:
    """Return (name, config) of a function that can be built again, None for any other."""
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
    """Say whether a class has a `build_from_config` of its own, without building anything."""
    for base in cls.__mro__:
        if "build_from_config" in vars(base):
            # That of the base classes, ours and Chroma's, is not implemented.
            return base.__name__ not in ("EmbeddingFunction", "SparseEmbeddingFunction")
    return False


def short_name(function: Any) -> str:
    """Return a function's name for a message: its `name()`, or else that of the def or class."""
    if isinstance(function, PlainFunction):
        function = function.function
    return function_name(function) or str(getattr(function, "__name__", type(function).__name__))


def label(function: Any) -> str:
    """Return "Embedding function 'name'" for a message."""
    if isinstance(function, PlainFunction):
        return f"Embedding function {_name_of(function.function)!r}"
    name = function_name(function)
    return f"Embedding function {name or type(function).__name__!r}"
