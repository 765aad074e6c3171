"""A collection's schema as JSON, in Chroma's form: ``{"defaults": {type: {index: ...}}, "keys": {key: {type: ...}}}``.

A collection stores what its schema says beyond the default one (`stated`). What the vector index is made with, its
distance, its graph and its embedding function, is in the collection's configuration and nowhere else; `complete` puts
the two together as Chroma's clients read them.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from chroma_nb.special_keys import DOCUMENT_KEY, EMBEDDING_KEY, is_tagged

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

#: Types of values -> the indexes that values of this type may have.
INDEXES: dict[str, tuple[str, ...]] = {
    "string": ("fts_index", "string_inverted_index"),
    "float_list": ("vector_index",),
    "sparse_vector": ("sparse_vector_index",),
    "int": ("int_inverted_index",),
    "float": ("float_inverted_index",),
    "bool": ("bool_inverted_index",),
}
#: The indexes that answer a metadata filter, by the type of its operand.
INVERTED: dict[str, str] = {
    "string": "string_inverted_index",
    "int": "int_inverted_index",
    "float": "float_inverted_index",
    "bool": "bool_inverted_index",
    "sparse_vector": "sparse_vector_index",
}
#: A graph, where nothing else is said.
HNSW_DEFAULTS: dict[str, Any] = {
    "space": "l2",
    "ef_construction": 100,
    "ef_search": 100,
    "max_neighbors": 16,
    "resize_factor": 1.2,
    "sync_threshold": 1000,
}
#: What a graph is told and has no use for here. It is kept, as Chroma keeps it, with Chroma's defaults.
HNSW_EXTRA: dict[str, Any] = {"num_threads": 1, "batch_size": 100}
#: The parts of Google's name of a key for `cmek`: https://cloud.google.com/kms/docs/getting-resource-ids
_GCP_PARTS = ("projects/", "/locations/", "/keyRings/", "/cryptoKeys/")
#: Metadata keys that are entered in a schema as they are first written. Each new one rewrites the entries of all.
MOST_DISCOVERED_KEYS = 1_000
#: Characters of a key that is entered so: a schema is in memory as long as its store is open.
MOST_KEY_CHARACTERS = 256


def index(enabled: bool, config: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return an index as it stands in a schema."""
    return {"enabled": enabled, "config": dict(config or {})}


def default_defaults() -> dict[str, Any]:
    """Return the default of each type of value: whatever a key has under it is indexed so."""
    return {
        "string": {"fts_index": index(False), "string_inverted_index": index(True)},
        "float_list": {"vector_index": index(False)},
        "sparse_vector": {
            "sparse_vector_index": index(
                False, {"embedding_function": {"type": "unknown"}, "bm25": False}
            )
        },
        "int": {"int_inverted_index": index(True)},
        "float": {"float_inverted_index": index(True)},
        "bool": {"bool_inverted_index": index(True)},
    }


def default_keys() -> dict[str, Any]:
    """Return the two keys that every schema has: the documents and the embeddings."""
    return {
        DOCUMENT_KEY: {"string": {"fts_index": index(True), "string_inverted_index": index(False)}},
        EMBEDDING_KEY: {"float_list": {"vector_index": index(True, {"source_key": DOCUMENT_KEY})}},
    }


def is_gcp_key(name: str) -> bool:
    """Say whether a text has the form of Google's name of a key: each part, in this order, with something behind it.

    A regular expression of four ``.+`` tries all places of each part: 18 kB that are no name took 2 s, ten times as much
    takes a thousand times as long.
    """
    first, *others = _GCP_PARTS
    if "\n" in name or not name.startswith(first):
        return False
    end = len(first)
    for part in others:
        start = name.find(part, end + 1)
        if start < 0:
            return False
        end = start + len(part)
    return len(name) > end


def wrong_form(schema: Any) -> str:
    """Say what of a schema cannot be: of what was stored, or of another server's answer. Empty: nothing."""
    if not isinstance(schema, dict):
        return "no object"
    defaults, keys = schema.get("defaults", {}), schema.get("keys", {})
    if not isinstance(defaults, dict) or not isinstance(keys, dict):
        return "defaults or keys that are no object"
    cmek = schema.get("cmek") or {}
    if not isinstance(cmek, dict) or not all(isinstance(one, str) for one in cmek.values()):
        return "a cmek that names no key"
    for types in (defaults, *keys.values()):
        if not isinstance(types, dict) or not all(isinstance(one, dict) for one in types.values()):
            return "a type of values that is no object"
        for indexes in types.values():
            for one in indexes.values():
                if not isinstance(one, dict) or not isinstance(one.get("enabled"), bool):
                    return "an index that is neither on nor off"
                config = one.get("config", {})
                if not isinstance(config, dict) or not all(
                    isinstance(config.get(name), kind)
                    for name, kind in (
                        ("source_key", str | None),
                        ("embedding_function", dict | None),
                        ("hnsw", dict | None),
                        ("bm25", bool | None),
                    )
                ):
                    return "an index with a config that cannot be read"
    return ""


def stated(schema: Mapping[str, Any] | None, *, with_extra: bool = True) -> dict[str, Any] | None:
    """Return what a schema says beyond the default one and its collection's configuration; None where that is nothing.

    Args:
        schema: A schema in Chroma's form that `validation.checked_schema` or this function has returned.
        with_extra: Whether `HNSW_EXTRA` counts.
    """
    if schema is None:
        return None
    result: dict[str, Any] = {}
    plain = default_defaults()
    defaults = {
        kind: indexes
        for kind, indexes in _without_vector_config(
            schema.get("defaults") or {}, with_extra
        ).items()
        if indexes != plain.get(kind)
    }
    usual = default_keys()
    keys = {
        key: types
        for key, types in (
            (key, _without_vector_config(types, with_extra))
            for key, types in (schema.get("keys") or {}).items()
        )
        if types != usual.get(key)
    }
    for name, part in (("defaults", defaults), ("keys", keys), ("cmek", schema.get("cmek"))):
        if part:
            result[name] = copy.deepcopy(part)
    return result or None


def _without_vector_config(types: Mapping[str, Any], with_extra: bool) -> dict[str, Any]:
    """Return types of values with no more of a vector index than a configuration has no place for."""
    result = dict(types)
    vector = (types.get("float_list") or {}).get("vector_index")
    if vector is None:
        return result
    given = vector.get("config") or {}
    config = {}
    if given.get("source_key") is not None:
        config["source_key"] = given["source_key"]
    hnsw = given.get("hnsw") or {}
    extra = {
        name: hnsw[name] for name, usual in HNSW_EXTRA.items() if hnsw.get(name, usual) != usual
    }
    if extra and with_extra:
        config["hnsw"] = extra
    result["float_list"] = {"vector_index": index(vector.get("enabled", False), config)}
    return result


def complete(
    configuration: Mapping[str, Any], schema: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return the whole schema of a collection, as Chroma's server gives it.

    Args:
        configuration: The collection's configuration.
        schema: What `stated` returned.
    """
    given = copy.deepcopy(dict(schema or {}))
    defaults = {**default_defaults(), **given.get("defaults", {})}
    keys = {**default_keys(), **given.get("keys", {})}
    of_documents = index(True, {"source_key": DOCUMENT_KEY})
    for types, usual in ((defaults, index(False)), (keys[EMBEDDING_KEY], of_documents)):
        vector = types.setdefault("float_list", {}).setdefault("vector_index", usual)
        vector["config"] = _vector_config(configuration, vector.get("config", {}))
    result = {"defaults": defaults, "keys": keys}
    if "cmek" in given:
        result["cmek"] = given["cmek"]
    return result


def _vector_config(configuration: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the vector index is made with.

    Chroma's client reads it after `modify(configuration=...)`, and for its embedding function: where that
    is left out the client takes its default, and a null crashes it; ``legacy`` means none is known.
    """
    hnsw = configuration["hnsw"]
    graph = {key: value for key, value in hnsw.items() if key != "space"}
    config = {
        "space": hnsw["space"],
        "embedding_function": configuration.get("embedding_function") or {"type": "legacy"},
    }
    if configuration.get("spann"):
        # A distributed Chroma has its own index.
        config["spann"] = {
            key: value for key, value in configuration["spann"].items() if key != "space"
        }
    else:
        config["hnsw"] = {**HNSW_EXTRA, **(given.get("hnsw") or {}), **graph}
    if "source_key" in given:
        config["source_key"] = given["source_key"]
    return copy.deepcopy(config)


def with_extra(
    schema: dict[str, Any] | None, hnsw: Mapping[str, Any] | None
) -> dict[str, Any] | None:
    """Return a schema with what a change of the graph has no other place for (`HNSW_EXTRA`).

    Args:
        schema: What `stated` returned.
        hnsw: The fields that change.
    """
    extra = {name: hnsw[name] for name in HNSW_EXTRA if hnsw and hnsw.get(name) is not None}
    if not extra:
        return schema
    result = copy.deepcopy(schema or {})
    defaults = result.setdefault("defaults", {})
    keys = result.setdefault("keys", {})
    of_embeddings = keys.setdefault(EMBEDDING_KEY, default_keys()[EMBEDDING_KEY])
    for types, usual in ((defaults, index(False)), (of_embeddings, index(True))):
        vector = types.setdefault("float_list", {}).setdefault("vector_index", usual)
        config = vector.setdefault("config", {})
        config["hnsw"] = {**config.get("hnsw", {}), **extra}
    return stated(result)


def vector_config(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a schema in Chroma's form says of the vector index; it may say nothing."""
    for types in ((schema.get("keys") or {}).get(EMBEDDING_KEY), schema.get("defaults")):
        vector = ((types or {}).get("float_list") or {}).get("vector_index")
        if vector is not None:
            return dict(vector.get("config") or {})
    return {}


def is_default(schema: Mapping[str, Any]) -> bool:
    """Say whether a schema in Chroma's form has the default indexes, made as they are by default."""
    beyond = stated(schema, with_extra=False) or {}
    vectors = vector_config(schema)
    hnsw = vectors.get("hnsw") or {}
    return (
        "defaults" not in beyond
        and set(beyond.get("keys", ())) <= {EMBEDDING_KEY}
        and is_default_function(vectors.get("embedding_function"))
        and vectors.get("space") in (None, "l2")
        and all(value == HNSW_DEFAULTS.get(name, value) for name, value in hnsw.items())
        and hnsw.get("batch_size", HNSW_EXTRA["batch_size"]) == HNSW_EXTRA["batch_size"]
        and not vectors.get("spann")
    )


def is_default_function(recorded: Mapping[str, Any] | None) -> bool:
    """Say whether what is recorded of an embedding function is the default, or nothing."""
    if recorded is None or recorded.get("type") == "unknown":
        return True
    return recorded.get("type") == "known" and recorded.get("name") == "default"


def for_copy(
    configuration: dict[str, Any],
    schema: Mapping[str, Any] | None,
    *,
    with_discovered: bool = False,
) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """Return the configuration and the schema that make a collection like this one; see `validation.reconciled`.

    Args:
        configuration: The collection's.
        schema: What `stated` returned.
        with_discovered: Whether a schema counts that says no more than which metadata keys there are; these are
            discovered again where the records are written.
    """
    if schema is None or not (declared(schema) or with_discovered):
        return configuration, None
    whole = complete(configuration, schema)
    if is_default(whole):
        # The configuration counts.
        return configuration, whole
    if configuration.get("embedding_function") is None:
        for types in (whole["defaults"], whole["keys"][EMBEDDING_KEY]):
            del types["float_list"]["vector_index"]["config"]["embedding_function"]
    plain = {"hnsw": dict(HNSW_DEFAULTS), "spann": None, "embedding_function": None}
    return plain, whole


def declared(schema: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return a schema without the metadata keys that are there because records have them: what somebody has said.

    Args:
        schema: What `stated` returned.
    """
    result = dict(schema or {})
    defaults = {**default_defaults(), **result.get("defaults", {})}
    said = {
        key: {
            kind: indexes
            for kind, indexes in types.items()
            if key.startswith("#") or indexes != defaults.get(kind)
        }
        for key, types in result.pop("keys", {}).items()
    }
    keys = {key: types for key, types in said.items() if types}
    return {**result, "keys": keys} if keys else result


def sparse_index(types: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return the config of a key's index of sparse vectors; None where it has none, or it is switched off."""
    index = ((types or {}).get("sparse_vector") or {}).get("sparse_vector_index") or {}
    return (index.get("config") or {}) if index.get("enabled") else None


def type_of(value: Any) -> str | None:
    """Return the type of a metadata value in a schema; None of one that has none. A list counts as its elements."""
    if isinstance(value, list | tuple):
        value = value[0] if value else None
    # Python's bool is an int.
    for kind, name in ((bool, "bool"), (int, "int"), (float, "float"), (str, "string")):
        if isinstance(value, kind):
            return name
    return "sparse_vector" if is_sparse(value) else None


def is_sparse(value: Any) -> bool:
    """Say whether a metadata value is a sparse vector: as an object, or as it is stored."""
    return is_tagged(value) or (
        type(value).__name__ == "SparseVector" and hasattr(value, "indices")
    )


def discovered(
    schema: Mapping[str, Any] | None, metadatas: Iterable[Mapping[str, Any] | None]
) -> dict[str, Any] | None:
    """Enter the metadata keys that are written for the first time, each with a copy of its type's default.

    Beyond `MOST_DISCOVERED_KEYS` they are not entered, nor is a key of more than `MOST_KEY_CHARACTERS`; they are indexed
    by the defaults all the same.

    Args:
        schema: What `stated` returned.
        metadatas: The metadata of the records that are written.

    Returns:
        The new schema in the form of `stated`, or None where nothing is new.
    """
    known: Mapping[str, Any] = (schema or {}).get("keys", {})
    # Types in Python first: a set of these is made at a rate of ten million values a second.
    seen = {
        (key, type(value[0]) if type(value) is list and value else type(value)): value
        for metadata in metadatas
        if metadata
        for key, value in metadata.items()
    }
    new: dict[str, dict[str, Any]] = {}
    n_keys = len(known)
    for (key, _), value in seen.items():
        kind = type_of(value)
        if kind is None or kind in known.get(key, ()) or key.startswith("chroma:"):
            continue
        if key not in known and key not in new:
            if n_keys >= MOST_DISCOVERED_KEYS or len(key) > MOST_KEY_CHARACTERS:
                continue
            n_keys += 1
        new.setdefault(key, {})[kind] = None
    if not new:
        return None
    result = copy.deepcopy(dict(schema or {}))
    defaults = {**default_defaults(), **result.get("defaults", {})}
    keys = result.setdefault("keys", {})
    for key, types in new.items():
        entry = keys.setdefault(key, {})
        for kind in types:
            entry[kind] = copy.deepcopy(defaults.get(kind, {}))
    return result
