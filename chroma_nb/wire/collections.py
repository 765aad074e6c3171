"""`CollectionInfo` and the rest of the catalogue, as Chroma's JSON objects and back."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from chroma_nb.types import CollectionInfo
from chroma_nb.wire.answers import AnswerError, check_kind

_SPACES = ("l2", "cosine", "ip")
_LEGACY = {"type": "legacy"}
#: Accepted for a graph and not kept; Chroma's schema names them, with its own defaults.
_HNSW_EXTRA = {"num_threads": 1, "batch_size": 100}


def collection_to_json(info: CollectionInfo) -> dict[str, Any]:
    """Return a collection as Chroma's object, and `ttl_seconds` beside."""
    return {
        "id": str(info.id),
        "name": info.name,
        "configuration_json": info.configuration,
        "schema": _schema(info.configuration),
        "metadata": info.metadata,
        "dimension": info.dimension,
        "tenant": info.tenant,
        "database": info.database,
        "log_position": 0,
        "version": 0,
        "ttl_seconds": info.ttl_seconds,
    }


def collection_from_json(found: dict[str, Any]) -> CollectionInfo:
    """Return what either server says of a collection.

    Raises:
        AnswerError: It is no collection.
    """
    check_kind(found, dict, "a collection")
    configuration = dict(check_kind(found.get("configuration_json"), dict, "its configuration"))
    hnsw = configuration.get("hnsw")
    if hnsw is None:
        # A distributed Chroma: all that is used here of an index is its distance.
        spann = check_kind(configuration.get("spann") or {}, dict, "its configuration of spann")
        hnsw = {"space": spann.get("space", "l2")}
    if check_kind(hnsw, dict, "its configuration of hnsw").get("space") not in _SPACES:
        raise AnswerError("its distance is unknown")
    function = configuration.get("embedding_function")
    check_kind(function, (dict, type(None)), "its embedding function")
    configuration["hnsw"] = hnsw
    configuration.setdefault("spann", None)
    configuration.setdefault("embedding_function", None)
    return CollectionInfo(
        id=UUID(check_kind(found.get("id"), str, "its id")),
        name=check_kind(found.get("name"), str, "its name"),
        tenant=check_kind(found.get("tenant"), str, "its tenant"),
        database=check_kind(found.get("database"), str, "its database"),
        configuration=configuration,
        metadata=check_kind(found.get("metadata"), (dict, type(None)), "its metadata"),
        dimension=check_kind(found.get("dimension"), (int, type(None)), "its dimension"),
        ttl_seconds=check_kind(
            found.get("ttl_seconds"), (int, float, type(None)), "its time to live"
        ),
    )


def _schema(configuration: dict[str, Any]) -> dict[str, Any]:
    """Return the schema that says the same as a configuration.

    Chroma's client reads it after `modify(configuration=...)`, and for its embedding function: where that
    is left out the client takes its default, and a null crashes it; ``legacy`` means none is known.
    """

    def on(enabled: bool) -> dict[str, Any]:
        return {"enabled": enabled, "config": {}}

    hnsw = configuration["hnsw"]
    function = configuration.get("embedding_function") or _LEGACY
    vector = {
        "space": hnsw["space"],
        "embedding_function": function,
        "hnsw": {**_HNSW_EXTRA, **{key: value for key, value in hnsw.items() if key != "space"}},
    }
    return {
        "defaults": {
            "string": {"fts_index": on(False), "string_inverted_index": on(True)},
            "float_list": {"vector_index": {"enabled": False, "config": vector}},
            "sparse_vector": {
                "sparse_vector_index": {
                    "enabled": False,
                    "config": {"embedding_function": {"type": "unknown"}, "bm25": False},
                }
            },
            "int": {"int_inverted_index": on(True)},
            "float": {"float_inverted_index": on(True)},
            "bool": {"bool_inverted_index": on(True)},
        },
        "keys": {
            "#document": {"string": {"fts_index": on(True), "string_inverted_index": on(False)}},
            "#embedding": {
                "float_list": {
                    "vector_index": {
                        "enabled": True,
                        "config": {**vector, "source_key": "#document"},
                    }
                }
            },
        },
    }
