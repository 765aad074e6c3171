"""`EmbeddingFunction`: Chroma's protocol as a base class, and what it may return."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar, cast

import numpy as np

from chroma_nb.embedding.protocol import check_what_it_returns, recordable
from chroma_nb.embedding.text import shown
from chroma_nb.errors import InvalidArgumentError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from chroma_nb.settings import Settings
    from chroma_nb.types import Embeddings, Space

D = TypeVar("D", contravariant=True)
#: What Chroma accepts as a vector's numbers.
_NUMBERS = frozenset(np.dtype(kind) for kind in ("f2", "f4", "f8", "i4", "i8"))


class EmbeddingFunction(ABC, Generic[D]):
    """Turns documents (or images) into vectors.

    Subclasses implement `__call__`; `name`, `get_config` and `build_from_config` as well if a collection
    is to record how to build the function again. A class written for Chroma's `EmbeddingFunction`
    works unchanged, `EmbeddingFunction[Documents]` included. Whatever `__call__` of a subclass returns
    (lists, arrays) reaches the caller as a list of float32 arrays.

    A config never holds a secret: it holds the name of the environment variable that does.
    """

    #: At most this many documents are given in one call; None: all of them, as in Chroma.
    #: `embed_documents` makes several calls then, and moves its progress bar between them.
    documents_per_call: ClassVar[int | None] = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        check_what_it_returns(cls, normalize_embeddings)

    @abstractmethod
    def __call__(self, input: D) -> Embeddings:
        """Embed documents.

        Args:
            input: A list of n texts (or images, if the function is for images).

        Returns:
            n vectors, each of shape (dimension,), in the order of `input`. Subclasses may return lists or arrays of
            any float or 32 or 64 bit integer type; callers get float32.
        """

    def embed_query(self, input: D) -> Embeddings:
        """Embed queries: the same as `__call__`, unless the model embeds queries in another way."""
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
        """Return the distance of a collection for which none is given."""
        return "l2"

    def supported_spaces(self) -> list[Space]:
        """Return the distances that make sense with these vectors."""
        return ["cosine", "l2", "ip"]

    def validate_config_update(
        self, old_config: dict[str, Any], new_config: dict[str, Any]
    ) -> None:
        """Raise ValueError if the new config is for another model; called by `modify` and when a collection is opened."""
        return

    @staticmethod
    def validate_config(config: dict[str, Any]) -> None:
        """Raise ValueError if a config cannot be one of this function."""
        return

    @staticmethod
    def needs_consent(config: dict[str, Any]) -> str | None:
        """Return what a stored config would do that only the user may decide, as "send your texts to 'host'".

        None if nothing; NotImplemented: whatever can name a host, a model, a file or code (`consent.py`).
        """
        return cast("str", NotImplemented)

    def is_legacy(self) -> bool:
        """Return whether this function cannot be recorded: no name, no config or no way to build it."""
        return recordable(self) is None

    def use_settings(self, settings: Settings) -> None:
        """Receive the settings of the client that built this function; the base class ignores them."""
        return


def normalize_embeddings(result: Any) -> Embeddings:
    """Turn what an embedding function returned into a list of float32 arrays.

    Args:
        result: An array of shape (n, dimension), n lists or arrays of numbers, or what NumPy reads as one of
            these. Shape (dimension,) is one vector.

    Returns:
        n arrays of shape (dimension,), float32. The dimensions may differ; `embed_documents` checks them.

    Raises:
        InvalidArgumentError: It is empty, or holds something other than numbers.
    """
    try:
        count = len(result)
    except TypeError:
        raise _not_vectors(result) from None
    if count == 0:
        raise InvalidArgumentError(
            f"Expected Embeddings to be non-empty list or numpy array, got {shown(result, 80)}"
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
    """Return an array as float32, shape (dimension,) or (n, dimension), as it was given.

    Args:
        value: One vector, or an array of them.
        result: All that the function returned, for messages.
    """
    if isinstance(value, np.ndarray):
        if value.dtype == np.float32 and value.size:  # the usual case
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
                f"{array.dtype} - {shown(array, 80)}"
            )
        raise _not_vectors(result)
    if array.size == 0:
        raise InvalidArgumentError(
            "Expected each embedding to hold at least one number, got an empty one."
        )
    with np.errstate(
        over="ignore"
    ):  # what is too large becomes inf, which `embed_documents` refuses
        return array.astype(np.float32, copy=False)


def _not_vectors(result: Any) -> InvalidArgumentError:
    return InvalidArgumentError(
        "Expected embeddings to be a list of floats or ints, a list of lists, a numpy array, or a list "
        f"of numpy arrays, got {shown(result, 80)}"
    )
