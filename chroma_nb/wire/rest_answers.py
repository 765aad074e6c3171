"""Answers as JSON of the REST API: written by the server, and read by the client, which trusts none.

For each kind of answer its two directions stand together. What is read is what the method of `API` returns.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any
from uuid import UUID

from chroma_nb.harmless import said_in_line
from chroma_nb.types import IndexingStatus, UserIdentity
from chroma_nb.wire.answers import (
    check_kind,
    check_page,
    check_texts,
    matches_from_json,
    records_from_json,
)
from chroma_nb.wire.collections import collection_from_json, collection_to_json
from chroma_nb.wire.fields import fields_from_json
from chroma_nb.wire.memory import estimate_from_json, evictions_from_json, report_from_json
from chroma_nb.wire.rest_scan import read_scan_answer, write_scan_answer
from chroma_nb.wire.rest_search import read_found, write_found
from chroma_nb.wire.server_info import ServerInfo
from chroma_nb.wire.vectors import to_base64

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from chroma_nb.api.base import Matches, Records
    from chroma_nb.memory.report import Estimate, Eviction, MemoryReport
    from chroma_nb.types import CollectionInfo, FieldSummary
    from chroma_nb.wire.operations import Operation
    from chroma_nb.wire.requests import Get, Query, Target

#: The longest version that a server may have, characters.
_VERSION = 40


def read_answer(operation: Operation, found: Any, request: Any) -> Any:
    """Return what an operation answers, from the JSON value of a server's answer.

    Raises:
        AnswerError, or another error of reading: It is no such answer.
    """
    read = _READS.get(operation.name)
    return None if read is None else read(found, request)


def write_answer(route: str, answer: Any, request: Any, target: Target, *, base64: bool) -> Any:
    """Return an operation's answer as JSON values.

    Args:
        route: The name of the route that was asked.
        answer: What the operation returned.
        request: What it was asked with.
        target: About what.
        base64: Return embeddings in base64.
    """
    if route in _WITH_EMBEDDINGS:
        return _WITH_EMBEDDINGS[route](answer, request, base64)
    if route in _NAMED_BY_TARGET:
        return _NAMED_BY_TARGET[route](answer, target)
    write = _WRITES.get(route)
    return {} if write is None else write(answer)


# -- the server -----------------------------------------------------------------------------------


def _read_heartbeat(found: Any, request: None) -> int:
    return _number(found, "nanosecond heartbeat")


def _write_heartbeat(nanoseconds: int) -> dict[str, int]:
    return {"nanosecond heartbeat": nanoseconds}


def _read_version(found: Any, request: None) -> str:
    version: str = check_kind(found, str, "the version")
    return version


def _read_server_info(found: Any, request: None) -> ServerInfo:
    return ServerInfo(
        name=check_kind(found["server"], str, "'server'"),
        version=said_in_line(found["version"], _VERSION),
        max_batch_size=max(1, int(found["max_batch_size"])),
        max_records=max(1, int(found["max_records"])),
        max_body=max(1, int(found["max_body"])),
        max_values=None if found.get("max_values") is None else max(1, int(found["max_values"])),
        base64=bool(found.get("supports_base64_encoding")),
        scans=bool(found.get("supports_scan")),
    )


def _write_server_info(info: ServerInfo) -> dict[str, Any]:
    return {
        "max_batch_size": info.max_batch_size,
        "supports_base64_encoding": info.base64,
        "supports_scan": info.scans,
        "server": info.name,
        "version": info.version,
        "max_records": info.max_records,
        "max_body": info.max_body,
        "max_values": info.max_values,
    }


def _read_identity(found: Any, request: None) -> UserIdentity:
    tenant = check_kind(found.get("tenant"), (str, type(None)), "'tenant'")
    databases = check_kind(found.get("databases"), (list, type(None)), "'databases'")
    for one in databases or ():
        check_kind(one, str, "a database")
    return UserIdentity(str(found.get("user_id", "")), tenant, databases)


def _write_identity(identity: UserIdentity) -> dict[str, Any]:
    return identity._asdict()


def _read_done(found: Any, request: None) -> bool:
    return bool(found)


# -- the catalogue --------------------------------------------------------------------------------


def _read_tenant(found: Any, request: None) -> str:
    return str(found["name"])


def _write_tenant(name: str) -> dict[str, Any]:
    return {"name": name, "resource_name": None}


def _read_database(found: Any, request: None) -> UUID:
    return UUID(found["id"])


def _write_database(database_id: UUID, target: Target) -> dict[str, str]:
    return {"id": str(database_id), "name": target.database, "tenant": target.tenant}


def _read_databases(found: Any, request: Any) -> list[tuple[UUID, str]]:
    return [(UUID(one["id"]), one["name"]) for one in found]


def _write_databases(databases: list[tuple[UUID, str]], target: Target) -> list[dict[str, str]]:
    return [{"id": str(key), "name": name, "tenant": target.tenant} for key, name in databases]


def _read_collection(found: Any, request: Any) -> CollectionInfo:
    return collection_from_json(found)


def _read_collections(found: Any, request: Any) -> list[CollectionInfo]:
    return [collection_from_json(one) for one in found]


def _write_collections(collections: list[CollectionInfo]) -> list[dict[str, Any]]:
    return [collection_to_json(one) for one in collections]


def _read_count(found: Any, request: None) -> int:
    count: int = check_kind(found, int, "the answer")
    return count


# -- records --------------------------------------------------------------------------------------


def _read_records(found: Any, request: Get) -> Records:
    records = records_from_json(found, request.include)
    check_page(records.ids, None, ids=request.ids, limit=request.limit)
    return records


def _write_records(records: Records, request: Get, base64: bool) -> dict[str, Any]:
    embeddings = records.embeddings
    return {
        "ids": records.ids,
        "embeddings": None if embeddings is None else _vectors(embeddings, base64),
        "documents": records.documents,
        "metadatas": records.metadatas,
        "uris": records.uris,
        "include": list(request.include),
    }


def _read_matches(found: Any, request: Query) -> Matches:
    return matches_from_json(found, request.include, len(request.embeddings))


def _write_matches(matches: Matches, request: Query, base64: bool) -> dict[str, Any]:
    embeddings = None
    if matches.embeddings is not None:
        embeddings = [_vectors(each, base64) for each in matches.embeddings]
    return {
        "ids": matches.ids,
        "distances": matches.distances,
        "embeddings": embeddings,
        "documents": matches.documents,
        "metadatas": matches.metadatas,
        "uris": matches.uris,
        "include": list(request.include),
    }


def _vectors(vectors: NDArray[np.float32], base64: bool) -> list[Any]:
    """Return shape (n, dimension) as n values."""
    return list(to_base64(vectors) if base64 else vectors.tolist())


def _read_deleted(found: Any, request: Any) -> int:
    return _number(found, "deleted")


def _write_deleted(n_records: int) -> dict[str, int]:
    return {"deleted": n_records}


# -- memory and graphs ----------------------------------------------------------------------------


def _read_released(found: Any, request: None) -> int:
    return _number(found, "released")


def _write_released(n_bytes: int) -> dict[str, int]:
    return {"released": n_bytes}


def _read_loaded(found: Any, request: None) -> int:
    return _number(found, "resident_bytes")


def _write_loaded(n_bytes: int) -> dict[str, int]:
    return {"resident_bytes": n_bytes}


def _read_report(found: Any, request: Any) -> MemoryReport:
    return report_from_json(found)


def _write_report(report: MemoryReport) -> dict[str, Any]:
    return report.to_dict()


def _read_budget(found: Any, request: Any) -> int:
    return _number(found, "budget")


def _write_budget(n_bytes: int) -> dict[str, int]:
    return {"budget": n_bytes}


def _read_evictions(found: Any, request: Any) -> list[Eviction]:
    return evictions_from_json(found)


def _write_entries(entries: list[Any]) -> list[dict[str, Any]]:
    return [asdict(one) for one in entries]


def _read_estimate(found: Any, request: Any) -> Estimate:
    return estimate_from_json(found)


def _read_fields(found: Any, request: Any) -> list[FieldSummary]:
    return fields_from_json(found)


def _read_keys(found: Any, request: None) -> list[str]:
    return check_texts(found, "the keys")


def _read_indexing_status(found: Any, request: None) -> IndexingStatus:
    parts = {name: check_kind(found[name], (int, float), name) for name in IndexingStatus._fields}
    return IndexingStatus(**parts)


def _write_indexing_status(status: IndexingStatus) -> dict[str, Any]:
    return status._asdict()


def _read_explanation(found: Any, request: Any) -> dict[str, Any]:
    explanation: dict[str, Any] = check_kind(found, dict, "the answer")
    for name in ("collection", "strategy", "reason"):
        check_kind(explanation.get(name), str, f"{name!r}")
    check_kind(explanation.get("elapsed_ms"), (int, float), "'elapsed_ms'")
    return explanation


def _write_as_it_is(answer: Any) -> Any:
    return answer


def _write_fork_count(collection: Any) -> dict[str, int]:
    # No forks share storage with the collection: a fork is a copy.
    return {"count": 0}


def _number(answer: Any, name: str) -> int:
    number: int = check_kind(check_kind(answer, dict, "the answer").get(name), int, f"{name!r}")
    return number


#: By the operation's name; what is not here answers nothing.
_READS: dict[str, Callable[[Any, Any], Any]] = {
    "heartbeat": _read_heartbeat,
    "get_version": _read_version,
    "get_max_batch_size": _read_server_info,
    "get_user_identity": _read_identity,
    "reset": _read_done,
    "get_tenant": _read_tenant,
    "get_database": _read_database,
    "list_databases": _read_databases,
    "create_collection": _read_collection,
    "get_collection": _read_collection,
    "get_collection_by_id": _read_collection,
    "list_collections": _read_collections,
    "count_collections": _read_count,
    "fork": _read_collection,
    "count": _read_count,
    "get": _read_records,
    "scan": read_scan_answer,
    "query": _read_matches,
    "search": read_found,
    "delete": _read_deleted,
    "unload": _read_released,
    "load": _read_loaded,
    "unload_all": _read_released,
    "set_ttl": _read_collection,
    "memory_report": _read_report,
    "get_memory_budget": _read_budget,
    "set_memory_budget": _read_budget,
    "preview_memory_budget": _read_evictions,
    "estimate_memory": _read_estimate,
    "describe_fields": _read_fields,
    "metadata_keys": _read_keys,
    "indexing_status": _read_indexing_status,
    "explain": _read_explanation,
}
#: By the route's name; what is in none of the three answers with an empty object.
_WITH_EMBEDDINGS: dict[str, Callable[[Any, Any, bool], dict[str, Any]]] = {
    "get": _write_records,
    "query": _write_matches,
    "search": write_found,
}
_NAMED_BY_TARGET: dict[str, Callable[[Any, Target], Any]] = {
    "get_database": _write_database,
    "list_databases": _write_databases,
}
_WRITES: dict[str, Callable[[Any], Any]] = {
    "heartbeat": _write_heartbeat,
    "root": _write_heartbeat,
    "version": _write_as_it_is,
    "pre_flight_checks": _write_server_info,
    "identity": _write_identity,
    "reset": _write_as_it_is,
    "get_tenant": _write_tenant,
    "create_collection": collection_to_json,
    "get_collection": collection_to_json,
    "get_collection_by_id": collection_to_json,
    "list_collections": _write_collections,
    "count_collections": _write_as_it_is,
    "fork": collection_to_json,
    "fork_count": _write_fork_count,
    "count": _write_as_it_is,
    "scan": write_scan_answer,
    "delete": _write_deleted,
    "unload": _write_released,
    "unload_v1": _write_released,
    "load": _write_loaded,
    "unload_all": _write_released,
    "set_ttl": collection_to_json,
    "memory_report": _write_report,
    "get_memory_budget": _write_budget,
    "set_memory_budget": _write_budget,
    "preview_memory_budget": _write_entries,
    "estimate_memory": asdict,
    "describe_fields": _write_entries,
    "metadata_keys": _write_as_it_is,
    "indexing_status": _write_indexing_status,
    "explain": _write_as_it_is,
}
