"""`SparseEmbeddingFunction`: Chroma's protocol as a base class, and what it may return."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Generic, TypeVar, cast

from chroma_nb.embedding.protocol import check_what_it_returns
from chroma_nb.embedding.text import shown
from chroma_nb.search.sparse import SparseVector, StoredVector, as_sparse_vector

D = TypeVar("D", contravariant=True)


class SparseEmbeddingFunction(ABC, Generic[D]):
    """Turns documents into sparse vectors.

    Subclasses implement `__call__`; `name`, `get_config` and `build_from_config` as well if a schema is to record
    how to build the function again. A class written for Chroma's `SparseEmbeddingFunction` works unchanged.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        check_what_it_returns(cls, checked_sparse_vectors)

    @abstractmethod
    def __call__(self, input: D) -> list[SparseVector]:
        """Embed documents.

        Args:
            input: A list of n texts.

        Returns:
            n sparse vectors, in the order of `input`.
        """

    def embed_query(self, input: D) -> list[SparseVector]:
        """Embed queries: the same as `__call__`, unless the model embeds queries in another way."""
        return self(input)

    @staticmethod
    def name() -> str:
        """Return the name under which schemas record this function."""
        return cast("str", NotImplemented)

    def get_config(self) -> dict[str, Any]:
        """Return what `build_from_config` needs, as JSON, without secrets."""
        return cast("dict[str, Any]", NotImplemented)

    @staticmethod
    def build_from_config(config: dict[str, Any]) -> SparseEmbeddingFunction[Any]:
        """Build the function that returned this config."""
        return cast("SparseEmbeddingFunction[Any]", NotImplemented)

    def validate_config_update(
        self, old_config: dict[str, Any], new_config: dict[str, Any]
    ) -> None:
        """Raise ValueError if the new config is for another model."""
        return

    @staticmethod
    def validate_config(config: dict[str, Any]) -> None:
        """Raise ValueError if a config cannot be one of this function."""
        return

    @staticmethod
    def needs_consent(config: dict[str, Any]) -> str | None:
        """Return what a stored config would do that only the user may decide; see `EmbeddingFunction.needs_consent`."""
        return cast("str", NotImplemented)


def stored_vectors_of(function: Any, texts: list[str]) -> list[StoredVector] | None:
    """Return the vectors that a function makes of texts in the form that is stored; None where it makes none in this form.

    Only a class's own method is asked: one that is derived from it may make other vectors.
    """
    make = vars(type(function)).get("_stored_vectors")
    return None if make is None else cast("list[StoredVector] | None", make(function, texts))


def checked_sparse_vectors(result: Any) -> list[SparseVector]:
    """Return what a sparse embedding function returned; vectors of chromadb's class become ours.

    Raises:
        ValueError: It is no list, is empty, or holds something else than sparse vectors.
    """
    if not isinstance(result, list):
        raise ValueError(f"Expected sparse vectors to be a list, got {type(result).__name__}")
    if not result:
        raise ValueError(
            f"Expected sparse vectors to be a non-empty list, got {len(result)} sparse vectors"
        )
    out: list[SparseVector] = []
    for position, one in enumerate(result):
        vector = as_sparse_vector(one)
        if vector is None:
            raise ValueError(
                f"Expected SparseVector instance at position {position}, got {type(one).__name__}: {shown(one, 80)}"
            )
        out.append(vector)
    return out
