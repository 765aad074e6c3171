"""A schema that comes from outside: is it one, and does it go together with a configuration?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from chroma_nb.errors import InvalidArgumentError
from chroma_nb.schema_json import (
    HNSW_DEFAULTS,
    HNSW_EXTRA,
    INDEXES,
    is_default,
    is_default_function,
    is_gcp_key,
    stated,
    vector_config,
    with_extra,
)
from chroma_nb.special_keys import DOCUMENT_KEY, EMBEDDING_KEY
from chroma_nb.validation.configuration import (
    check_json,
    check_recorded_function,
    created_configuration,
)
from chroma_nb.words import brief

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Fields of an index's config, by the index; the others have none.
_CONFIG_FIELDS = {
    "vector_index": ("space", "embedding_function", "source_key", "hnsw", "spann"),
    "sparse_vector_index": ("embedding_function", "source_key", "bm25"),
}
#: Metadata keys that a schema may have.
MOST_KEYS = 10_000


def checked_schema(schema: Any) -> dict[str, Any]:
    """Return a schema in Chroma's form, ``{"defaults": ..., "keys": ...}``, checked as Chroma's server checks it.

    Raises:
        InvalidArgumentError: It is no schema, or has an index where there can be none.
    """
    _require(isinstance(schema, dict), f"expected an object, got {brief(schema)}")
    check_json(schema, "schema")
    keys = schema["key_overrides"] if "key_overrides" in schema else schema.get("keys")
    keys = _object(keys, "keys")
    _require(len(keys) <= MOST_KEYS, f"at most {MOST_KEYS:,} keys, got {len(keys):,}")
    result: dict[str, Any] = {
        "defaults": _types(schema.get("defaults"), "defaults"),
        "keys": {key: _types(types, brief(key)) for key, types in keys.items()},
    }
    if schema.get("cmek") is not None:
        cmek = _object(schema["cmek"], "cmek")
        name = cmek.get("gcp")
        _require(
            set(cmek) == {"gcp"} and isinstance(name, str) and is_gcp_key(name),
            f"cmek has to name a key of Google's, {{'gcp': 'projects/...'}}, got {brief(cmek)}",
        )
        result["cmek"] = dict(cmek)
    _check_defaults(result["defaults"])
    for key, types in result["keys"].items():
        _check_key(key, types)
    return result


def reconciled(
    configuration: dict[str, Any], schema: Any
) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """Return a new collection's configuration, and what its schema says beyond that (`schema_json.stated`).

    One of the two may say something. Where the schema is the default one, the configuration counts; else the schema
    does, whole.

    Args:
        configuration: What `created_configuration` returned, with ``embedding_function``.
        schema: In Chroma's form; None is the default one.

    Raises:
        InvalidArgumentError: Both say something, or the schema is none.
    """
    hnsw = configuration["hnsw"]
    extra = {name: hnsw[name] for name in HNSW_EXTRA if name in hnsw}
    configuration = {**configuration, "hnsw": _without_extra(hnsw)}
    if schema is None:
        return configuration, with_extra(None, extra)
    checked = checked_schema(schema)
    vectors = vector_config(checked)
    made = _graph_of(vectors)
    # What counts is under the embeddings' key. This one is stored and read as well.
    _graph_of(vector_config({"defaults": checked["defaults"]}))
    said = vectors.get("hnsw") or {}
    agrees = all(said.get(name, number) == number for name, number in extra.items())
    if agrees and is_default(checked):
        return configuration, with_extra(stated(checked), extra)
    is_plain = (
        configuration["hnsw"] == HNSW_DEFAULTS
        and all(number == HNSW_EXTRA[name] for name, number in extra.items())
        and is_default_function(configuration.get("embedding_function"))
    )
    if not is_plain:
        raise InvalidArgumentError(
            "Failed to reconcile schema: Cannot set both collection config and schema simultaneously. Give the distance, "
            "the graph's numbers and the embedding function in the schema: Schema().create_index(VectorIndexConfig("
            "space=..., embedding_function=..., hnsw=HnswIndexConfig(...))); and no configuration=, no "
            "embedding_function= and no 'hnsw:...' metadata beside it."
        )
    made["embedding_function"] = check_recorded_function(vectors.get("embedding_function"))
    return made, stated(checked)


def _graph_of(vectors: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration that the config of a vector index stands for.

    Raises:
        InvalidArgumentError: No graph can be made with it.
    """
    hnsw = vectors.get("hnsw") or {}
    try:
        made = created_configuration({"hnsw": {**hnsw, "space": vectors.get("space")}}, None, "l2")
        for name in ("batch_size", "sync_threshold"):
            number = hnsw.get(name)
            if number is not None and number < 2:
                raise InvalidArgumentError(f"Expected {name} to be at least 2, got {number}")
    except ValueError as error:
        raise InvalidArgumentError(
            f"Failed to reconcile schema: Invalid HNSW configuration: {error}"
        ) from None
    # What it has beside stays in the schema.
    return {**made, "hnsw": _without_extra(made["hnsw"])}


def _without_extra(hnsw: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in hnsw.items() if name not in HNSW_EXTRA}


# -- the form -----------------------------------------------------------------------------------


def _require(holds: bool, sentence: str) -> None:
    if not holds:
        raise InvalidArgumentError(f"Validation error: schema: {sentence}")


def _object(value: Any, place: str) -> dict[str, Any]:
    if value is None:
        return {}
    _require(isinstance(value, dict), f"expected {place} to be an object, got {brief(value)}")
    found: dict[str, Any] = value
    return found


def _types(given: Any, place: str) -> dict[str, Any]:
    """Return the types of values of a key, and the indexes of each."""
    result: dict[str, Any] = {}
    for name, indexes in _object(given, place).items():
        # Chroma's server takes both spellings.
        kind = name.removeprefix("#")
        _require(
            kind in INDEXES,
            f"unknown type {brief(name, quoted=True)} in {place}. There are {', '.join(INDEXES)}",
        )
        made = result.setdefault(kind, {})
        for index_name, one in _object(indexes, f"{place}.{kind}").items():
            where = f"{place}.{kind}.{brief(index_name)}"
            _require(
                index_name in INDEXES[kind],
                f"unknown index {where}. There are {', '.join(INDEXES[kind])}",
            )
            if one is not None:
                made[index_name] = _index(one, index_name, where)
    return result


def _index(given: Any, name: str, place: str) -> dict[str, Any]:
    found = _object(given, place)
    enabled = found.get("enabled", True)
    _require(isinstance(enabled, bool), f"expected {place}.enabled to be true or false")
    config = {
        field: value
        for field, value in _object(found.get("config"), f"{place}.config").items()
        if value is not None
    }
    known = _CONFIG_FIELDS.get(name, ())
    for field in config:
        _require(field in known, f"unknown field {brief(field, quoted=True)} of {place}.config")
    if "embedding_function" in config:
        config["embedding_function"] = check_recorded_function(config["embedding_function"])
    if name == "sparse_vector_index":
        config = {"embedding_function": {"type": "unknown"}, "bm25": False, **config}
    for field, kind in (("source_key", str), ("bm25", bool), ("hnsw", dict), ("spann", dict)):
        if field in config:
            _require(
                isinstance(config[field], kind),
                f"expected {place}.config.{field} to be of {kind.__name__}, got {brief(config[field])}",
            )
    _require(
        not ("hnsw" in config and "spann" in config),
        "hnsw and spann cannot both be given",
    )
    return {"enabled": enabled, "config": config}


# -- what may be where --------------------------------------------------------------------------


def _is_on(types: Mapping[str, Any], kind: str, index: str) -> bool:
    enabled: bool = types.get(kind, {}).get(index, {}).get("enabled", False)
    return enabled


def _check_defaults(defaults: Mapping[str, Any]) -> None:
    for kind, index in (
        ("float_list", "vector_index"),
        ("sparse_vector", "sparse_vector_index"),
        ("string", "fts_index"),
    ):
        _require(
            not _is_on(defaults, kind, index),
            f"{index} cannot be enabled by default: it is for one key",
        )
    _check_sources(defaults, "defaults")


def _check_key(key: str, types: Mapping[str, Any]) -> None:
    named = brief(key, quoted=True)
    _require(
        not key.startswith("#") or key in (DOCUMENT_KEY, EMBEDDING_KEY),
        f"key {named} begins with '#', which is reserved",
    )
    for special, only in ((DOCUMENT_KEY, "string"), (EMBEDDING_KEY, "float_list")):
        _require(
            key != special or set(types) <= {only}, f"{special} has values of type {only} alone"
        )
    _require(
        key == EMBEDDING_KEY or not _is_on(types, "float_list", "vector_index"),
        f"vector_index can be enabled on {EMBEDDING_KEY} alone, not on {named}",
    )
    _require(
        key == DOCUMENT_KEY or not _is_on(types, "string", "fts_index"),
        f"fts_index can be enabled on {DOCUMENT_KEY} alone, not on {named}",
    )
    _require(
        key != DOCUMENT_KEY or not _is_on(types, "string", "string_inverted_index"),
        f"string_inverted_index cannot be enabled on {DOCUMENT_KEY}",
    )
    _check_sources(types, named)


def _check_sources(types: Mapping[str, Any], place: str) -> None:
    """Check what embeddings are made of."""
    vectors = types.get("float_list", {}).get("vector_index", {}).get("config", {})
    source = vectors.get("source_key", DOCUMENT_KEY)
    _require(
        source == DOCUMENT_KEY,
        f"embeddings can be made of {DOCUMENT_KEY} alone, not of {brief(source, quoted=True)}",
    )
    sparse = types.get("sparse_vector", {}).get("sparse_vector_index", {}).get("config", {})
    source = sparse.get("source_key")
    if source is None:
        return
    _require(
        not source.startswith("#") or source == DOCUMENT_KEY,
        f"source_key {brief(source, quoted=True)} of {place} begins with '#', which is reserved",
    )
    function = sparse.get("embedding_function") or {}
    _require(
        function.get("type") == "known",
        f"the sparse index of {place} has a source_key and no embedding function that can be recorded. That is an object "
        "with name(), get_config() and build_from_config(), such as ChromaBm25EmbeddingFunction()",
    )
