"""`CollectionInfo` and the rest of the catalogue, as Chroma's JSON objects and back."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from chroma_nb.schema_json import stated, wrong_form
from chroma_nb.types import SPACES, CollectionInfo
from chroma_nb.wire.answers import AnswerError, check_kind


def collection_to_json(info: CollectionInfo) -> dict[str, Any]:
    """Return a collection as Chroma's object, and `ttl_seconds` beside."""
    return {
        "id": str(info.id),
        "name": info.name,
        "configuration_json": info.configuration,
        "schema": info.serialized_schema,
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
    hnsw, spann = configuration.get("hnsw"), configuration.get("spann") or {}
    check_kind(spann, dict, "its configuration of spann")
    if hnsw is None:
        # A distributed Chroma: all that is used here of an index is its distance.
        hnsw = {"space": spann.get("space", "l2")}
    if check_kind(hnsw, dict, "its configuration of hnsw").get("space") not in SPACES:
        raise AnswerError("its distance is unknown")
    function = configuration.get("embedding_function")
    check_kind(function, (dict, type(None)), "its embedding function")
    configuration["hnsw"] = hnsw
    configuration.setdefault("spann", None)
    configuration.setdefault("embedding_function", None)
    # A server of before schemas, ours or Chroma's, gives none.
    schema = check_kind(found.get("schema"), (dict, type(None)), "its schema")
    if schema is not None and wrong_form(schema):
        raise AnswerError(f"its schema has {wrong_form(schema)}")
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
        schema=stated(schema),
    )
