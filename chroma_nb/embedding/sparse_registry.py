"""Sparse embedding functions by name: the table of their classes, what a schema records, and how one is built again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from chroma_nb.embedding.protocol import recordable
from chroma_nb.embedding.registry import (
    KnownFunctions,
    built,
    record_of,
    recorded_name,
    registered_in,
)
from chroma_nb.embedding.text import shown
from chroma_nb.errors import InvalidArgumentError, with_way_out

if TYPE_CHECKING:
    from collections.abc import Mapping

#: The table, to which `register_sparse_embedding_function` adds.
sparse_known_embedding_functions = KnownFunctions(
    {"chroma_bm25": "chroma_nb.embedding._bm25:ChromaBm25EmbeddingFunction"}
)
#: Names that Chroma's own sparse functions record and that have no counterpart here.
_CHROMA_FUNCTIONS = frozenset(
    {"bm25", "chroma-cloud-splade", "fastembed_sparse", "huggingface_sparse"}
)


def register_sparse_embedding_function(ef_class: Any = None) -> Any:
    """Register a class of sparse embedding functions, so that schemas that record its name can build them; a decorator.

    It may be used with or without parentheses. Registering is your consent to every stored config of that name; see
    `register_embedding_function`.

    Raises:
        InvalidArgumentError: The class has no usable `name()`.
    """
    return registered_in(sparse_known_embedding_functions, ef_class, "sparse embedding function")


def sparse_embedding_function_to_config(function: Any) -> dict[str, Any]:
    """Return what a schema records of a sparse embedding function, and enter its class in the table.

    Returns:
        `{"type": "known", "name": ..., "config": {...}}`; `{"type": "unknown"}` for None, and for a function that cannot
        be built again.

    Raises:
        InvalidArgumentError: The config is not JSON.
    """
    described = None if function is None else recordable(function)
    if described is None:
        return {"type": "unknown"}
    return record_of(
        sparse_known_embedding_functions, function, described, "Sparse embedding function"
    )


def sparse_embedding_function_from_config(config: Mapping[str, Any] | None) -> Any:
    """Build the sparse embedding function that a schema records.

    Args:
        config: See `sparse_embedding_function_to_config`.

    Returns:
        The function; None where none is recorded.

    Raises:
        InvalidArgumentError: Nothing is known by the recorded name, it cannot be built, or its config would choose
            what only the user may.
    """
    name = recorded_name(config)
    if config is None or name is None:
        return None
    if name not in sparse_known_embedding_functions:
        whose = (
            ". It is one of Chroma's that chroma_nb does not bring"
            if name in _CHROMA_FUNCTIONS
            else ""
        )
        raise with_way_out(
            InvalidArgumentError(f"Sparse embedding function {shown(name)} not found{whose}"),
            "Add @register_sparse_embedding_function to a class of that name, or store SparseVectors yourself.",
        )
    return built(
        sparse_known_embedding_functions,
        name,
        config.get("config") or {},
        "add @register_sparse_embedding_function to its class. Without it, records can be read, and searched with a "
        "SparseVector as the query",
    )
