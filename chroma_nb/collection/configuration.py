"""The configuration of a new collection, and the default embedding function that it records."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from chroma_nb import validation
from chroma_nb.embedding.conflicts import check_conflict_on_create
from chroma_nb.embedding.default_choice import DEFAULT_CONFIG as DEFAULT_CONFIG
from chroma_nb.embedding.default_choice import (
    DEFAULT_EMBEDDING_FUNCTION as DEFAULT_EMBEDDING_FUNCTION,
)
from chroma_nb.embedding.protocol import checked_embedding_function, function_name
from chroma_nb.embedding.registry import embedding_function_to_config
from chroma_nb.errors import InvalidArgumentError
from chroma_nb.schema_json import vector_config
from chroma_nb.words import brief

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chroma_nb.settings import Settings
    from chroma_nb.types import Space


def configuration_for(
    function: Any,
    configuration: dict[str, Any] | None,
    metadata: dict[str, Any] | None,
    settings: Settings,
    *,
    has_schema: bool = False,
) -> dict[str, Any]:
    """Return the configuration of a new collection, as on the wire.

    Args:
        function: The `embedding_function` argument.
        configuration: The `configuration` argument.
        metadata: The collection's metadata, where Chroma's older ``hnsw:*`` keys may stand.
        settings: The client's.
        has_schema: There is a schema beside it, which may say another function.

    Raises:
        InvalidArgumentError: Two functions are given, or a value cannot be used.
    """
    configured = (configuration or {}).get("embedding_function")
    checked_embedding_function(configured)
    check_conflict_on_create(function, configured)
    chosen = configured if configured is not None else function
    recorded: dict[str, Any] | None
    if chosen is DEFAULT_EMBEDDING_FUNCTION:
        recorded = dict(DEFAULT_CONFIG)
        # Beside a schema it stays open which one the default is.
        if settings.embedding == "static" and not has_schema:
            from chroma_nb.embedding import resolve_default

            recorded = embedding_function_to_config(resolve_default(settings))
    elif chosen is None:
        recorded = None if configuration is None or has_schema else {"type": "legacy"}
    else:
        recorded = embedding_function_to_config(chosen)
    default_space: Space = "l2"
    spaces: Sequence[str] = ("l2", "cosine", "ip")
    if chosen is not None and chosen is not DEFAULT_EMBEDDING_FUNCTION:
        default_space = _ask(chosen, "default_space", default_space)
        spaces = _ask(chosen, "supported_spaces", spaces)
    result = validation.created_configuration(configuration, metadata, default_space)
    space = result["hnsw"]["space"]
    if space not in spaces:
        warnings.warn(
            f"space {space} is not supported by {function_name(chosen)}; it is made for "
            f"{', '.join(spaces)}.",
            UserWarning,
            stacklevel=4,
        )
    result["embedding_function"] = validation.check_recorded_function(recorded)
    return result


def schema_to_json(schema: Any) -> dict[str, Any]:
    """Return a schema, ours or of chromadb's class, in Chroma's JSON.

    Raises:
        InvalidArgumentError: It is none, or an embedding function in it has a config that is not JSON.
    """
    if isinstance(schema, type) or not hasattr(schema, "serialize_to_json"):
        raise InvalidArgumentError(
            f"Expected a Schema, got {brief(schema, quoted=True)} ({type(schema).__name__}). A dict is read by "
            "Schema.deserialize_from_json(...)."
        )
    json: dict[str, Any] = schema.serialize_to_json()
    return json


def check_same_index(
    schema: dict[str, Any] | None, asked: dict[str, Any] | None, configuration: dict[str, Any]
) -> None:
    """Warn where a store has another index than a schema or a configuration asks for.

    Args:
        schema: What was asked for, None where no schema was given.
        asked: The `configuration` argument.
        configuration: What the collection has.
    """
    numbers = {
        name: one for name, one in ((asked or {}).get("spann") or {}).items() if one is not None
    }
    # The distance is kept.
    numbers.pop("space", None)
    of_schema = schema is not None and vector_config(schema).get("spann")
    if (of_schema or numbers) and not configuration.get("spann"):
        what, instead = (
            ("SpannIndexConfig", "VectorIndexConfig(hnsw=HnswIndexConfig(...))")
            if of_schema
            else ("spann", 'configuration={"hnsw": {...}}')
        )
        warnings.warn(
            f"{what} is for Chroma's cloud: this store has a graph (HNSW) with its own numbers in its place. Set "
            f"those with {instead}.",
            UserWarning,
            stacklevel=4,
        )


def _ask(function: Any, method: str, default: Any) -> Any:
    """Call an optional method of an embedding function."""
    found = getattr(function, method, None)
    return default if found is None else found()
