"""Value types as JSON and back, in Chroma's form, with the embedding functions as what a collection records of them."""

from __future__ import annotations

import dataclasses
import json
import warnings
from collections.abc import Mapping
from typing import Any

from chroma_nb.embedding.default_choice import DEFAULT_CONFIG, DEFAULT_EMBEDDING_FUNCTION
from chroma_nb.embedding.protocol import function_name
from chroma_nb.embedding.registry import (
    embedding_function_from_config,
    embedding_function_to_config,
)
from chroma_nb.embedding.sparse_registry import (
    sparse_embedding_function_from_config,
    sparse_embedding_function_to_config,
)
from chroma_nb.schema.configs import (
    IndexConfig,
    SparseVectorIndexConfig,
    VectorIndexConfig,
)
from chroma_nb.schema.value_types import ValueTypes
from chroma_nb.schema_json import index
from chroma_nb.words import brief

#: Names of Python -> those on the wire, where they are not the same.
_WIRE_NAMES = {"int_value": "int", "float_value": "float", "boolean": "bool"}


def types_to_json(types: ValueTypes) -> dict[str, Any]:
    """Return the types of values of a key, or the defaults; what is None is left out."""
    if not isinstance(types, ValueTypes):
        raise ValueError(f"Expected ValueTypes in a schema, got {brief(types, quoted=True)}")
    result: dict[str, Any] = {}
    for one in dataclasses.fields(types):
        value = getattr(types, one.name)
        if value is None:
            continue
        indexes = {}
        for inner in dataclasses.fields(value):
            made = getattr(value, inner.name)
            if made is not None:
                indexes[inner.name] = index(made.enabled, _config_to_json(made.config))
        result[_WIRE_NAMES.get(one.name, one.name)] = indexes
    return result


def types_from_json(key: str, data: Any, functions: dict[str, Any]) -> ValueTypes:
    """Read the types of values of a key; a type that is not known is left out, as in Chroma.

    Args:
        key: Its name, for an error.
        data: What the JSON has under it.
        functions: What is recorded of an embedding function, as JSON text -> the function, built once.

    Raises:
        ValueError: They are not of Chroma's form.
    """
    _check_dict(key, data)
    types = ValueTypes()
    for one in dataclasses.fields(types):
        given = data.get(_WIRE_NAMES.get(one.name, one.name))
        if given is None:
            continue
        _check_dict(key, given)
        (value_class,) = one.metadata["kinds"]
        value = value_class()
        for inner in dataclasses.fields(value):
            if given.get(inner.name) is not None:
                index_class, config_class = inner.metadata["kinds"]
                setattr(
                    value,
                    inner.name,
                    _index_from_json(key, given[inner.name], index_class, config_class, functions),
                )
        setattr(types, one.name, value)
    return types


def _check_dict(key: str, data: Any) -> None:
    if not isinstance(data, Mapping):
        raise ValueError(
            f"Expected {brief(key, quoted=True)} of a schema to have a dict, got {brief(data)}"
        )


def _index_from_json(
    key: str, data: Any, index_class: Any, config_class: Any, functions: dict[str, Any]
) -> Any:
    _check_dict(key, data)
    config = data.get("config") or {}
    _check_dict(key, config)
    if config_class is VectorIndexConfig:
        made: IndexConfig = _vectors_from_json(config, functions)
    elif config_class is SparseVectorIndexConfig:
        made = _sparse_from_json(config, functions)
    else:
        made = config_class()
    return index_class(bool(data.get("enabled", True)), made)


# -- configs ------------------------------------------------------------------------------------


def _config_to_json(config: IndexConfig) -> dict[str, Any]:
    if isinstance(config, VectorIndexConfig):
        return _vectors_to_json(config)
    if isinstance(config, SparseVectorIndexConfig):
        return _sparse_to_json(config)
    return {}


def _vectors_to_json(config: VectorIndexConfig) -> dict[str, Any]:
    result: dict[str, Any] = {}
    function, space = config.embedding_function, config.space
    if function is DEFAULT_EMBEDDING_FUNCTION:
        result["embedding_function"] = {**DEFAULT_CONFIG, "config": {}}
        space = space or "l2"
    elif function is None:
        result["embedding_function"] = {"type": "legacy"}
    else:
        result["embedding_function"] = embedding_function_to_config(function)
        space = space or _ask(function, "default_space", "l2")
        spaces = _ask(function, "supported_spaces", ("l2", "cosine", "ip"))
        if space not in spaces:
            warnings.warn(
                f"space {space} is not supported by {function_name(function)}; it is made for "
                f"{', '.join(spaces)}.",
                UserWarning,
                stacklevel=2,
            )
    if space is not None:
        result["space"] = space
    if config.source_key is not None:
        result["source_key"] = config.source_key
    for name, part in (("hnsw", config.hnsw), ("spann", config.spann)):
        if part is not None:
            result[name] = part.to_dict()
    return result


def _ask(function: Any, method: str, default: Any) -> Any:
    """Call an optional method of an embedding function."""
    found = getattr(function, method, None)
    return default if found is None else found()


def _vectors_from_json(config: Mapping[str, Any], functions: dict[str, Any]) -> VectorIndexConfig:
    recorded = config.get("embedding_function")
    if recorded == DEFAULT_CONFIG:
        function = DEFAULT_EMBEDDING_FUNCTION
    else:
        function = _built(embedding_function_from_config, recorded, functions)
    return VectorIndexConfig(
        config.get("space"),
        function,
        config.get("source_key"),
        config.get("hnsw"),
        config.get("spann"),
    )


def _sparse_to_json(config: SparseVectorIndexConfig) -> dict[str, Any]:
    result: dict[str, Any] = {
        "embedding_function": sparse_embedding_function_to_config(config.embedding_function)
    }
    if config.source_key is not None:
        result["source_key"] = config.source_key
    if config.bm25 is not None:
        result["bm25"] = config.bm25
    return result


def _sparse_from_json(
    config: Mapping[str, Any], functions: dict[str, Any]
) -> SparseVectorIndexConfig:
    return SparseVectorIndexConfig(
        _built(sparse_embedding_function_from_config, config.get("embedding_function"), functions),
        config.get("source_key"),
        config.get("bm25"),
    )


def _built(build: Any, recorded: Any, functions: dict[str, Any]) -> Any:
    """Return the function that a schema records; None, with a warning, where it cannot be built."""
    name = f"{build.__name__} {json.dumps(recorded, sort_keys=True)}"
    if name in functions:
        return functions[name]
    functions[name] = None
    try:
        if recorded is not None:
            _check_dict("embedding_function", recorded)
        functions[name] = build(recorded)
    except ValueError as error:
        warnings.warn(
            f"The schema records an embedding function that cannot be built here, so it has none: {error}",
            UserWarning,
            stacklevel=2,
        )
    return functions[name]
