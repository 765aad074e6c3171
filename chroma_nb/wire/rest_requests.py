"""Requests as JSON of the REST API: written by the client, and read by the server, which is as lenient as Chroma's.

For each kind of request its two directions stand together.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import UUID

import numpy as np

from chroma_nb import validation
from chroma_nb.errors import InvalidArgumentError, InvalidUUIDError
from chroma_nb.types import RecordBatch
from chroma_nb.wire.filters import finite_filter
from chroma_nb.wire.requests import (
    Budget,
    CollectionChanges,
    Delete,
    Estimate,
    Fields,
    Get,
    Name,
    NewCollection,
    Page,
    Pin,
    Query,
    Report,
    Request,
    Target,
    TimeToLive,
    Write,
)
from chroma_nb.wire.rest_parts import Arrived as Arrived
from chroma_nb.wire.rest_parts import Base64 as Base64
from chroma_nb.wire.rest_parts import Sent as Sent
from chroma_nb.wire.rest_scan import read_step, write_step
from chroma_nb.wire.rest_search import read_searches, write_searches
from chroma_nb.wire.vectors import from_base64, to_base64

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from chroma_nb.wire.operations import Operation

_READ_LEVELS = ("index_and_wal", "index_only", "index_and_bounded_wal")
_CONFLICTS = ("skip", "error", "replace")
_ALL_BASE64 = Base64()


def write_request(
    operation: Operation, target: Target, request: Any, base64: Base64 = _ALL_BASE64
) -> Sent:
    """Return a request as it is sent.

    Args:
        operation: What is asked for.
        target: Of what.
        request: An `Operation.request`, or None.
        base64: What the server takes.
    """
    path = {
        "tenant": target.tenant,
        "database": target.database,
        "collection_id": str(target.collection_id),
    }
    form = _FORMS.get(operation.name)
    if form is None or form.write is None:
        return Sent(path, None, None)
    return form.write(path, request, base64)


def read_target(arrived: Arrived) -> Target:
    """Return what a request is about.

    Raises:
        InvalidUUIDError: The collection's id is no UUID.
    """
    path, query = arrived.path, arrived.query
    text = path.get("collection_id")
    collection_id = None if text is None else _uuid(text)
    if collection_id is not None and "tenant" not in path:
        # The route of CIP-28112023.
        return Target(query.get("tenant", ""), query.get("database", ""), collection_id)
    return Target(path.get("tenant", ""), path.get("database", ""), collection_id)


def read_request(operation: Operation, arrived: Arrived) -> Request | None:
    """Return the arguments of an operation, None where it has none.

    Raises:
        ValueError: They cannot be used.
    """
    form = _FORMS.get(operation.name)
    return None if form is None else form.read(arrived)


# -- the catalogue --------------------------------------------------------------------------------


def _write_name_in_path(path: dict[str, str], request: Name, base64: Base64) -> Sent:
    return Sent({**path, "name": request.name}, None, None)


def _read_name_in_path(arrived: Arrived) -> Name:
    return Name(arrived.path["name"])


def _read_function_in_path(arrived: Arrived) -> Name:
    return Name(arrived.path["function"])


def _write_name(path: dict[str, str], request: Name, base64: Base64) -> Sent:
    return Sent(path, {"name": request.name}, None)


def _read_name(arrived: Arrived) -> Name:
    return Name(arrived.body.name)


def _write_new_name(path: dict[str, str], request: Name, base64: Base64) -> Sent:
    return Sent(path, {"new_name": request.name}, None)


def _read_new_name(arrived: Arrived) -> Name:
    return Name(arrived.body.new_name)


def _write_page(path: dict[str, str], request: Page, base64: Base64) -> Sent:
    return Sent(path, None, {"limit": request.limit, "offset": request.offset or None})


def _read_page(arrived: Arrived) -> Page:
    return Page(arrived.number("limit"), arrived.number("offset") or 0)


def _write_new_collection(path: dict[str, str], request: NewCollection, base64: Base64) -> Sent:
    body = {
        "name": request.name,
        "metadata": request.metadata,
        "configuration": request.configuration,
        "schema": request.schema,
        "get_or_create": request.get_or_create,
    }
    return Sent(path, body, None)


def _read_new_collection(arrived: Arrived) -> NewCollection:
    body = arrived.body
    return NewCollection(
        body.name, body.configuration, body.metadata, body.get_or_create, body.schema_
    )


def _write_changes(path: dict[str, str], request: CollectionChanges, base64: Base64) -> Sent:
    changes = None
    if request.configuration is not None:
        # What cannot be changed is sent, too: the server says so.
        changes = {
            "hnsw": _without_none(request.configuration.get("hnsw") or {}),
            "spann": request.configuration.get("spann"),
            "embedding_function": request.configuration.get("embedding_function"),
        }
    body = {
        "new_name": request.name,
        "new_metadata": request.metadata,
        "new_configuration": changes,
    }
    return Sent(path, body, None)


def _read_changes(arrived: Arrived) -> CollectionChanges:
    body = arrived.body
    configuration = None
    changes = body.new_configuration
    if changes is not None:
        hnsw, spann = changes.hnsw, changes.spann
        configuration = {
            "hnsw": None if hnsw is None else _without_none(vars(hnsw)),
            "spann": None if spann is None else dict(vars(spann)),
        }
        if changes.embedding_function is not None:
            configuration["embedding_function"] = changes.embedding_function
    return CollectionChanges(body.new_name, body.new_metadata, configuration)


def _without_none(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


# -- records --------------------------------------------------------------------------------------


def _read_count(arrived: Arrived) -> None:
    # A store is always up to date, so all of Chroma's read levels mean the same.
    arrived.word("read_level", _READ_LEVELS)


def _write_records(path: dict[str, str], request: Write, base64: Base64) -> Sent:
    batch = request.batch
    embeddings: list[Any] | None = None
    if batch.embeddings is not None:
        vectors = batch.embeddings
        embeddings = to_base64(vectors) if base64.writes else vectors.tolist()
        if batch.embedded is not None:
            given = batch.embedded.tolist()
            embeddings = [
                one if there else None for one, there in zip(embeddings, given, strict=True)
            ]
    body = {
        "ids": batch.ids,
        "embeddings": embeddings,
        "metadatas": None if batch.metadatas is None else list(batch.metadatas),
        "documents": None if batch.documents is None else list(batch.documents),
        "uris": None if batch.uris is None else list(batch.uris),
    }
    return Sent(path, body, None)


def _write_added(path: dict[str, str], request: Write, base64: Base64) -> Sent:
    params = {} if request.on_conflict == "skip" else {"on_conflict": request.on_conflict}
    return _write_records(path, request, base64)._replace(params=params)


def _read_added(arrived: Arrived) -> Write:
    on_conflict: Any = arrived.word("on_conflict", _CONFLICTS)
    body = arrived.body
    columns = (body.ids, body.embeddings, body.metadatas, body.documents, body.uris)
    return Write(_inserted(*_first_of_each(*columns)), on_conflict)


def _read_upserted(arrived: Arrived) -> Write:
    body = arrived.body
    return Write(_inserted(body.ids, body.embeddings, body.metadatas, body.documents, body.uris))


def _read_updated(arrived: Arrived) -> Write:
    body = arrived.body
    if not body.ids:
        return Write(_nothing(body.embeddings))
    embeddings: Any = None
    if body.embeddings is not None:
        given = [one for one in body.embeddings if one is not None]
        if given:
            rows = iter(_vectors(given))
            embeddings = [None if one is None else next(rows) for one in body.embeddings]
        else:
            _check_length(len(body.ids), body.embeddings)
    checked = validation.check_update(
        body.ids, embeddings, _metadatas(body.metadatas), body.documents, None, body.uris
    )
    return Write(checked.batch)


def written(name: str, columns: Mapping[str, Any], arrived: Arrived) -> Write:
    """Return the arguments of `add`, `update` or `upsert` whose records came as columns.

    Args:
        name: The operation.
        columns: ``ids``, ``embeddings`` (shape (n, dimension), float32, or a list with None), ``metadatas``,
            ``documents`` and ``uris``; None where a column was not given.
        arrived: The rest of the request.

    Raises:
        ValueError: They cannot be used.
    """
    return _FORMS[name].read(arrived._replace(body=SimpleNamespace(**columns)))  # type: ignore[return-value]


def _inserted(ids: Any, embeddings: Any, metadatas: Any, documents: Any, uris: Any) -> RecordBatch:
    if not ids:
        return _nothing(embeddings)
    return validation.check_insert(
        ids, _vectors(embeddings), _metadatas(metadatas), documents, None, uris
    ).batch


def _nothing(embeddings: Sequence[Any] | None) -> RecordBatch:
    _check_length(0, [] if embeddings is None else embeddings)
    return RecordBatch([])


def _check_length(n_ids: int, values: Sequence[Any]) -> None:
    if len(values) != n_ids:
        raise InvalidArgumentError(
            "Inconsistent number of IDs, embeddings, documents, URIs and metadatas"
        )


def _first_of_each(ids: list[str], *columns: Any) -> tuple[Any, ...]:
    """Return the columns without repeated ids: as in Chroma, the first record of an id counts."""
    if len(set(ids)) == len(ids):
        return (ids, *columns)
    for values in columns:
        if values is not None:
            _check_length(len(ids), values)
    first: dict[str, int] = {}
    for row, one in enumerate(ids):
        first.setdefault(one, row)
    rows = first.values()
    return tuple(
        None if values is None else [values[row] for row in rows] for values in (ids, *columns)
    )


def _metadatas(given: list[dict[str, Any] | None] | None) -> list[dict[str, Any] | None] | None:
    """Return metadata with None in the place of empty objects."""
    return None if given is None else [one or None for one in given]


def _vectors(given: Sequence[Any] | NDArray[np.float32]) -> NDArray[np.float32]:
    """Return embeddings, which came as lists of numbers, as base64 or as an array: float32, shape (n, dimension)."""
    if isinstance(given, np.ndarray):
        return validation.check_embeddings(given)
    if given and isinstance(given[0], str):
        return validation.check_embeddings(from_base64(given))
    return validation.check_embeddings(list(given))


def _write_conditions(request: Get | Query | Delete) -> dict[str, Any]:
    """Return the members of a body that choose the records."""
    return {
        "ids": None if request.ids is None else list(request.ids),
        "where": finite_filter(request.where),
        "where_document": request.where_document,
    }


def _read_ids(ids: list[str] | None) -> list[str] | None:
    """Return each id once."""
    return None if ids is None else list(dict.fromkeys(ids))


def _write_include(include: Sequence[str]) -> list[str]:
    # A client loads "data" from the uris itself.
    return [one for one in include if one != "data"]


def _write_get(path: dict[str, str], request: Get, base64: Base64) -> Sent:
    body = {
        **_write_conditions(request),
        "limit": request.limit,
        "offset": request.offset,
        "include": _write_include(request.include),
    }
    return Sent(path, body, _asks_for(base64))


def _asks_for(base64: Base64) -> dict[str, Any] | None:
    return {"embeddings": "base64"} if base64.queries else None


def _read_get(arrived: Arrived) -> Get:
    body = arrived.body
    return Get(
        ids=_read_ids(body.ids),
        where=body.where,
        where_document=body.where_document,
        limit=body.limit,
        offset=body.offset or 0,
        include=body.include,
    )


def _write_queries(request: Query, base64: Base64) -> dict[str, Any]:
    rows = request.embeddings
    return {
        **_write_conditions(request),
        "query_embeddings": to_base64(rows) if base64.queries else rows.tolist(),
        "n_results": request.n_results,
    }


def _write_query(path: dict[str, str], request: Query, base64: Base64) -> Sent:
    body = {**_write_queries(request, base64), "include": _write_include(request.include)}
    return Sent(path, body, _asks_for(base64))


def _read_query(arrived: Arrived) -> Query:
    body = arrived.body
    n_results = 10 if body.n_results is None else body.n_results
    n_queries = len(body.query_embeddings)
    if n_queries and n_results:
        embeddings = _vectors(body.query_embeddings)
    else:
        # Nothing is looked for, whatever the embeddings are.
        embeddings = np.empty((n_queries, 0), np.float32)
    return Query(
        embeddings,
        n_results,
        ids=_read_ids(body.ids),
        where=body.where,
        where_document=body.where_document,
        include=body.include,
    )


def _write_explain(path: dict[str, str], request: Query, base64: Base64) -> Sent:
    return Sent(path, _write_queries(request, base64), None)


def _read_explain(arrived: Arrived) -> Query:
    body = arrived.body
    return Query(
        _vectors(body.query_embeddings),
        body.n_results,
        ids=_read_ids(body.ids),
        where=body.where,
        where_document=body.where_document,
        include=(),
    )


def _write_delete(path: dict[str, str], request: Delete, base64: Base64) -> Sent:
    body = _write_conditions(request)
    if request.limit is not None:
        body["limit"] = request.limit
    return Sent(path, body, None)


def _read_delete(arrived: Arrived) -> Delete:
    body = arrived.body
    filtered = body.where is not None or body.where_document is not None
    # Beside a filter an empty list says nothing.
    ids = None if filtered and not body.ids else _read_ids(body.ids)
    return Delete(ids, body.where, body.where_document, body.limit)


# -- memory and graphs ----------------------------------------------------------------------------


def _write_pin(path: dict[str, str], request: Pin, base64: Base64) -> Sent:
    return Sent(path, {"pinned": request.pinned}, None)


def _read_pin(arrived: Arrived) -> Pin:
    return Pin(arrived.body.pinned)


def _write_ttl(path: dict[str, str], request: TimeToLive, base64: Base64) -> Sent:
    return Sent(path, {"seconds": request.seconds}, None)


def _read_ttl(arrived: Arrived) -> TimeToLive:
    return TimeToLive(arrived.body.seconds)


def _write_report(path: dict[str, str], request: Report, base64: Base64) -> Sent:
    chosen = request.collections
    body = {"collections": None if chosen is None else [str(one) for one in chosen]}
    return Sent(path, body, None)


def _read_report(arrived: Arrived) -> Report:
    chosen = arrived.body.collections
    return Report(None if chosen is None else [_uuid(one) for one in chosen])


def _write_budget(path: dict[str, str], request: Budget, base64: Base64) -> Sent:
    return Sent(path, {"budget": request.budget}, None)


def _read_budget(arrived: Arrived) -> Budget:
    return Budget(arrived.body.budget)


def _write_estimate(path: dict[str, str], request: Estimate, base64: Base64) -> Sent:
    body = {
        "n_records": request.n_records,
        "dimension": request.dimension,
        "configuration": request.configuration,
        "text_bytes": request.text_bytes,
    }
    return Sent(path, body, None)


def _read_estimate(arrived: Arrived) -> Estimate:
    body = arrived.body
    return Estimate(body.n_records, body.dimension, body.configuration, body.text_bytes)


def _write_fields(path: dict[str, str], request: Fields, base64: Base64) -> Sent:
    return Sent(path, None, {"n_values": request.n_values})


def _read_fields(arrived: Arrived) -> Fields:
    return Fields(arrived.number("n_values", 20) or 0)


def _uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise InvalidUUIDError(f"Collection ID is not a valid UUIDv4: {text[:100]!r}") from None


class _Form(NamedTuple):
    """How a kind of request is written and read; None where there is nothing to it but the target."""

    write: Callable[[dict[str, str], Any, Base64], Sent] | None
    read: Callable[[Arrived], Request | None]


#: By the operation's name.
_FORMS = {
    "create_tenant": _Form(_write_name, _read_name),
    "create_database": _Form(_write_name, _read_name),
    "list_databases": _Form(_write_page, _read_page),
    "create_collection": _Form(_write_new_collection, _read_new_collection),
    "get_collection": _Form(_write_name_in_path, _read_name_in_path),
    "list_collections": _Form(_write_page, _read_page),
    "modify": _Form(_write_changes, _read_changes),
    "delete_collection": _Form(_write_name_in_path, _read_name_in_path),
    "fork": _Form(_write_new_name, _read_new_name),
    "add": _Form(_write_added, _read_added),
    "update": _Form(_write_records, _read_updated),
    "upsert": _Form(_write_records, _read_upserted),
    "get": _Form(_write_get, _read_get),
    "scan": _Form(
        lambda path, step, _: Sent(path, write_step(step), None),
        lambda arrived: read_step(arrived.body),
    ),
    "query": _Form(_write_query, _read_query),
    "search": _Form(write_searches, read_searches),
    "delete": _Form(_write_delete, _read_delete),
    "pin": _Form(_write_pin, _read_pin),
    "set_ttl": _Form(_write_ttl, _read_ttl),
    "memory_report": _Form(_write_report, _read_report),
    "set_memory_budget": _Form(_write_budget, _read_budget),
    "preview_memory_budget": _Form(_write_budget, _read_budget),
    "estimate_memory": _Form(_write_estimate, _read_estimate),
    "describe_fields": _Form(_write_fields, _read_fields),
    "explain": _Form(_write_explain, _read_explain),
    "count": _Form(None, _read_count),
    # Chroma's, which no client of ours asks for.
    "get_attached_function": _Form(None, _read_function_in_path),
    "detach_function": _Form(None, _read_function_in_path),
}
