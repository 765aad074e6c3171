"""`RestAPI`: an `API` that asks a server over HTTP, by Chroma's REST API v2."""

from __future__ import annotations

import contextlib
import functools
import inspect
from typing import TYPE_CHECKING, Any, ClassVar
from uuid import UUID

from chroma_nb.api.base import API, Matches, Records
from chroma_nb.errors import (
    AuthorizationError,
    BatchSizeExceededError,
    ChromaError,
    InternalError,
    MemoryBudgetError,
    NotSupportedError,
)
from chroma_nb.filters.expression import (
    parse_where,
    parse_where_document,
)
from chroma_nb.progress import progress_bar
from chroma_nb.types import CollectionInfo, IndexingStatus, RecordBatch, UserIdentity
from chroma_nb.validation import check_ttl, ids_exist
from chroma_nb.wire.answers import (
    check_kind,
    check_page,
    check_texts,
    matches_from_json,
    records_from_json,
)
from chroma_nb.wire.collections import collection_from_json
from chroma_nb.wire.fields import fields_from_json
from chroma_nb.wire.filters import finite_filter
from chroma_nb.wire.memory import (
    estimate_from_json,
    evictions_from_json,
    report_from_json,
)
from chroma_nb.wire.operations import LONG_SECONDS
from chroma_nb.wire.rest import ROUTE_OF
from chroma_nb.wire.vectors import to_base64

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from chroma_nb.api._http import Connection
    from chroma_nb.api._server_info import ServerInfo
    from chroma_nb.check_report import CheckReport
    from chroma_nb.memory.report import Estimate, Eviction, MemoryReport
    from chroma_nb.settings import Settings
    from chroma_nb.types import FieldSummary, OnConflict, Where

#: Before more than this is sent, the server is asked what it takes at a time, bytes.
_MUCH = 1 << 20
#: The parameters of a graph that can be changed once it is built.
_HNSW_CHANGES = ("ef_search", "resize_factor", "sync_threshold")

#: Errors that reading an answer of an unexpected form may raise.
_UNUSABLE = (
    KeyError,
    IndexError,
    TypeError,
    AttributeError,
    ValueError,
    OverflowError,
    RecursionError,
)


@contextlib.contextmanager
def reading_answers(http: Connection) -> Iterator[None]:
    """Turn errors of reading a server's answer into one error that says that the answer cannot be used."""
    n_answers = http.n_answers
    try:
        yield
    except _UNUSABLE as error:
        # Arguments are checked before anything is sent. So without an answer it is an error of the caller's.
        if isinstance(error, ChromaError) or http.n_answers == n_answers:
            raise
        raise http.unusable(error) from error


def _checked(function: Any) -> Any:
    @functools.wraps(function)
    def call(self: RestAPI, *args: Any, **kwargs: Any) -> Any:
        with reading_answers(self._http):
            return function(self, *args, **kwargs)

    return call


def checks_answers(cls: type[RestAPI]) -> type[RestAPI]:
    """Wrap the public methods of a class in `reading_answers`."""
    for name, member in list(vars(cls).items()):
        if inspect.isfunction(member) and not name.startswith("_"):
            setattr(cls, name, _checked(member))
    return cls


@checks_answers
class RestAPI(API):
    """Asks chroma_nb's own server; `ChromaServer` overrides what Chroma's server does otherwise.

    Args:
        settings: `progress` is used.
        http: The connection.
        server: The server's name, version and limits.
    """

    in_process: ClassVar[bool] = False
    #: The query string that asks for embeddings in base64.
    _params: ClassVar[dict[str, Any] | None] = {"embeddings": "base64"}

    def __init__(self, settings: Settings, http: Connection, server: ServerInfo) -> None:
        self.server = server
        self._http = http
        self._progress = settings.progress
        self._closed = False

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._http.url})"

    # -- requests -----------------------------------------------------------------------------

    def _ask(
        self,
        operation: str,
        place: Mapping[str, str] | None = None,
        body: Any = None,
        *,
        params: dict[str, Any] | None = None,
        repeatable: bool | None = None,
    ) -> Any:
        """Send a request, and return the server's answer as JSON values.

        Args:
            operation: A name in `OPERATIONS`.
            place: The parameters of its path: ``tenant``, ``database``, ``collection_id``, ``name``.
            body: The body, as JSON values.
            params: The query string; what is None is left out.
            repeatable: Whether it may be sent twice; None: as `OPERATIONS` says.
        """
        if self._closed:
            raise InternalError(f"{self!r} is closed. Open a new client to go on.")
        route = ROUTE_OF[operation]
        asked = route.operation
        return self._http.request(
            route.method,
            route.filled(place or {}),
            body,
            params=params,
            safe=asked.repeatable if repeatable is None else repeatable,
            seconds=LONG_SECONDS if asked.long else None,
        )

    # -- the store ----------------------------------------------------------------------------

    def heartbeat(self) -> int:
        return _number(self._ask("heartbeat"), "nanosecond heartbeat")

    def get_version(self) -> str:
        version: str = check_kind(self._ask("get_version"), str, "the version")
        return version

    def get_max_batch_size(self) -> int:
        return self.server.max_batch_size

    def get_user_identity(self) -> UserIdentity:
        found = self._ask("get_user_identity")
        tenant = check_kind(found.get("tenant"), (str, type(None)), "'tenant'")
        databases = check_kind(found.get("databases"), (list, type(None)), "'databases'")
        for one in databases or ():
            check_kind(one, str, "a database")
        return UserIdentity(str(found.get("user_id", "")), tenant, databases)

    def reset(self) -> bool:
        try:
            return bool(self._ask("reset"))
        except ChromaError as error:
            if "disabled" in str(error) and not isinstance(error, AuthorizationError):
                raise AuthorizationError(*error.args) from None
            raise

    def close(self) -> None:
        self._closed = True
        self._http.close()

    # -- tenants and databases ----------------------------------------------------------------

    def create_tenant(self, name: str) -> None:
        self._ask("create_tenant", body={"name": name})

    def get_tenant(self, name: str) -> str:
        return str(self._ask("get_tenant", {"tenant": name})["name"])

    def create_database(self, name: str, tenant: str) -> None:
        self._ask("create_database", {"tenant": tenant}, {"name": name})

    def get_database(self, name: str, tenant: str) -> UUID:
        return UUID(self._ask("get_database", {"tenant": tenant, "database": name})["id"])

    def list_databases(
        self, tenant: str, limit: int | None = None, offset: int = 0
    ) -> list[tuple[UUID, str]]:
        params = {"limit": limit, "offset": offset or None}
        found = self._ask("list_databases", {"tenant": tenant}, params=params)
        return [(UUID(one["id"]), one["name"]) for one in found]

    def delete_database(self, name: str, tenant: str) -> None:
        self._ask("delete_database", {"tenant": tenant, "database": name})

    # -- collections --------------------------------------------------------------------------

    def create_collection(
        self,
        name: str,
        configuration: dict[str, Any],
        metadata: dict[str, Any] | None,
        *,
        get_or_create: bool,
        tenant: str,
        database: str,
    ) -> CollectionInfo:
        body = {
            "name": name,
            "metadata": metadata,
            "configuration": configuration,
            "schema": None,
            "get_or_create": get_or_create,
        }
        where_to = {"tenant": tenant, "database": database}
        return collection_from_json(
            self._ask("create_collection", where_to, body, repeatable=get_or_create)
        )

    def get_collection(self, name: str, *, tenant: str, database: str) -> CollectionInfo:
        place = {"tenant": tenant, "database": database, "name": name}
        return collection_from_json(self._ask("get_collection", place))

    def get_collection_by_id(
        self, collection_id: UUID, *, tenant: str, database: str
    ) -> CollectionInfo:
        place = _place(collection_id, tenant, database)
        return collection_from_json(self._ask("get_collection_by_id", place))

    def list_collections(
        self, limit: int | None = None, offset: int = 0, *, tenant: str, database: str
    ) -> list[CollectionInfo]:
        params = {"limit": limit, "offset": offset or None}
        where_to = {"tenant": tenant, "database": database}
        found = self._ask("list_collections", where_to, params=params)
        return [collection_from_json(one) for one in found]

    def count_collections(self, *, tenant: str, database: str) -> int:
        return _count(self._ask("count_collections", {"tenant": tenant, "database": database}))

    def modify(
        self,
        collection_id: UUID,
        *,
        name: str | None = None,
        metadata: dict[str, Any] | None = None,
        configuration: dict[str, Any] | None = None,
        tenant: str,
        database: str,
    ) -> CollectionInfo:
        changes = None
        if configuration is not None:
            hnsw = configuration.get("hnsw") or {}
            changes = {
                "hnsw": {key: hnsw[key] for key in _HNSW_CHANGES if hnsw.get(key) is not None},
                "spann": None,
                "embedding_function": configuration.get("embedding_function"),
            }
        body = {"new_name": name, "new_metadata": metadata, "new_configuration": changes}
        self._ask("modify", _place(collection_id, tenant, database), body)
        return self.get_collection_by_id(collection_id, tenant=tenant, database=database)

    def delete_collection(self, name: str, *, tenant: str, database: str) -> None:
        self._ask("delete_collection", {"tenant": tenant, "database": database, "name": name})

    def fork(
        self,
        collection_id: UUID,
        new_name: str,
        *,
        on_progress: Callable[[int], object] | None = None,
        on_total: Callable[[int], object] | None = None,
        tenant: str,
        database: str,
    ) -> CollectionInfo:
        place = _place(collection_id, tenant, database)
        return collection_from_json(self._ask("fork", place, {"new_name": new_name}))

    # -- records ------------------------------------------------------------------------------

    def count(self, collection_id: UUID, *, tenant: str, database: str) -> int:
        return _count(self._ask("count", _place(collection_id, tenant, database)))

    def add(
        self,
        collection_id: UUID,
        batch: RecordBatch,
        *,
        on_conflict: OnConflict = "skip",
        tenant: str,
        database: str,
    ) -> None:
        params = {} if on_conflict == "skip" else {"on_conflict": on_conflict}
        if batch.metadatas is not None:
            # A key whose value is None means no key; Chroma's server would refuse it.
            batch = RecordBatch(
                batch.ids, batch.embeddings, batch.documents, batch.uris, _without_none(batch)
            )
        where_to: Any = {"tenant": tenant, "database": database}

        def check_new() -> None:
            # The parts that are written cannot be undone when a later one has an id that exists.
            there = self.get(collection_id, ids=batch.ids, include=(), **where_to).ids
            if there:
                name = self.get_collection_by_id(collection_id, **where_to).name
                raise ids_exist(there, len(batch), name)

        must_be_new = on_conflict == "error"
        self._write(
            "add",
            _place(collection_id, tenant, database),
            batch,
            params=params,
            repeatable=not must_be_new,
            before_parts=check_new if must_be_new else None,
        )

    def update(
        self, collection_id: UUID, batch: RecordBatch, *, tenant: str, database: str
    ) -> None:
        self._write("update", _place(collection_id, tenant, database), batch)

    def upsert(
        self, collection_id: UUID, batch: RecordBatch, *, tenant: str, database: str
    ) -> None:
        self._write("upsert", _place(collection_id, tenant, database), batch)

    def _write(
        self,
        operation: str,
        place: Mapping[str, str],
        batch: RecordBatch,
        *,
        params: dict[str, Any] | None = None,
        repeatable: bool = True,
        before_parts: Callable[[], None] | None = None,
    ) -> None:
        """Send records: in one request if the server takes them, else in parts.

        Args:
            operation: ``add``, ``update`` or ``upsert``.
            place: The collection.
            batch: The records.
            params: The query string.
            repeatable: As for `_ask`.
            before_parts: Called before the first of several parts is sent.
        """
        desc = f"Sending to {self._http.url}"
        n_bytes = self._encoded_bytes(batch)
        if self.server.ours and n_bytes > _MUCH:
            # What it takes at a time follows the memory that it has.
            self.server = self.server.with_limits(self._ask("get_max_batch_size"))
        done, size = 0, self._part_size(len(batch), n_bytes)
        with progress_bar(len(batch), desc, did="sent", enabled=self._progress) as bar:
            while done < len(batch):
                if before_parts is not None and size < len(batch):
                    before_parts()
                    before_parts = None
                body = self._body(batch, slice(done, done + size))
                n_records = len(body["ids"])
                try:
                    self._ask(operation, place, body, params=params, repeatable=repeatable)
                except BatchSizeExceededError as error:
                    # A proxy in between may take less than the server says.
                    if n_records == 1:
                        raise _too_large(error, batch.ids[done]) from None
                    size = (n_records + 1) // 2
                    continue
                except MemoryBudgetError as error:
                    # Nothing of this part is written. The server has less memory than it said, or others use it.
                    if n_records > 1:
                        size = (n_records + 1) // 2
                        continue
                    raise (_half_written(error, done, len(batch)) if done else error) from None
                except ChromaError as error:
                    if done:
                        raise _half_written(error, done, len(batch)) from error
                    raise
                done += n_records
                bar.update(n_records)

    def _part_size(self, n: int, n_bytes: int) -> int:
        """Return how many records go into one request: all, or equal parts if that is more than the server takes.

        Args:
            n: How many there are.
            n_bytes: What they take together.
        """
        pieces = max(-(-n // self.server.max_records), -(-n_bytes // self.server.max_body), 1)
        return max(1, -(-n // pieces))

    def _encoded_bytes(self, batch: RecordBatch) -> int:
        """Return what a request of all records takes, estimated from above, as no request is encoded for it."""
        n = len(batch)
        texts = [*(batch.documents or ()), *(batch.uris or ())]
        n_bytes = sum(4 * len(text) for text in texts if text is not None)
        n_bytes += sum(len(str(one)) for one in batch.metadatas or ()) + 40 * n
        if batch.embeddings is not None:
            # Base64 is 4/3 of the bytes; a float as a number takes up to 22 characters.
            n_bytes += batch.embeddings.size * (6 if self.server.base64 else 22)
        return n_bytes

    def _body(self, batch: RecordBatch, rows: slice) -> dict[str, Any]:
        def part(values: Sequence[Any] | None) -> list[Any] | None:
            return None if values is None else list(values[rows])

        embeddings: list[Any] | None = None
        if batch.embeddings is not None:
            vectors = batch.embeddings[rows]
            embeddings = to_base64(vectors) if self.server.base64 else vectors.tolist()
            if batch.embedded is not None:
                given = batch.embedded[rows].tolist()
                embeddings = [
                    one if there else None for one, there in zip(embeddings, given, strict=True)
                ]
        return {
            "ids": batch.ids[rows],
            "embeddings": embeddings,
            "metadatas": part(batch.metadatas),
            "documents": part(batch.documents),
            "uris": part(batch.uris),
        }

    def get(
        self,
        collection_id: UUID,
        *,
        ids: Sequence[str] | None = None,
        where: Where | None = None,
        where_document: Where | None = None,
        limit: int | None = None,
        offset: int = 0,
        include: Sequence[str] = ("metadatas", "documents"),
        tenant: str,
        database: str,
    ) -> Records:
        asked = {
            **self._conditions(ids, where, where_document),
            "limit": limit,
            "offset": offset,
        }
        where_to = {"tenant": tenant, "database": database}
        return self._page(collection_id, asked, include, None, where_to)

    def _page(
        self,
        collection_id: UUID,
        asked: dict[str, Any],
        include: Sequence[str],
        seen: set[str] | None,
        where_to: Mapping[str, str],
    ) -> Records:
        """Send one `get`, and return its records; see `check_page` for `seen`."""
        body = {**asked, "include": [one for one in include if one != "data"]}
        found = self._ask("get", _place(collection_id, **where_to), body, params=self._params)
        records = records_from_json(found, include)
        check_page(records.ids, seen, ids=asked["ids"], limit=asked["limit"])
        return records

    def _conditions(
        self, ids: Sequence[str] | None, where: Where | None, where_document: Where | None
    ) -> dict[str, Any]:
        """Return the fields of a request's body that choose the records.

        Raises:
            ValueError: A filter is not valid; nothing is sent.
        """
        parse_where(where)
        parse_where_document(where_document)
        return {
            "ids": None if ids is None else list(ids),
            "where": finite_filter(where),
            "where_document": where_document,
        }

    def query(
        self,
        collection_id: UUID,
        embeddings: NDArray[np.float32],
        n_results: int,
        *,
        ids: Sequence[str] | None = None,
        where: Where | None = None,
        where_document: Where | None = None,
        include: Sequence[str] = ("metadatas", "documents", "distances"),
        tenant: str,
        database: str,
    ) -> Matches:
        conditions = self._conditions(ids, where, where_document)
        where_to = {"tenant": tenant, "database": database}
        return self._matches(collection_id, embeddings, n_results, conditions, include, where_to)

    def _matches(
        self,
        collection_id: UUID,
        embeddings: NDArray[np.float32],
        n_results: int,
        conditions: dict[str, Any],
        include: Sequence[str],
        where_to: Mapping[str, str],
    ) -> Matches:
        body = {
            **conditions,
            "query_embeddings": self._queries(embeddings),
            "n_results": n_results,
            "include": [one for one in include if one != "data"],
        }
        found = self._ask("query", _place(collection_id, **where_to), body, params=self._params)
        return matches_from_json(found, include, len(embeddings))

    def _queries(self, embeddings: NDArray[np.float32]) -> list[Any]:
        return to_base64(embeddings)

    def delete(
        self,
        collection_id: UUID,
        *,
        ids: Sequence[str] | None = None,
        where: Where | None = None,
        where_document: Where | None = None,
        limit: int | None = None,
        tenant: str,
        database: str,
    ) -> int:
        body = self._conditions(ids, where, where_document)
        if limit is not None:
            body["limit"] = limit
        found = self._ask("delete", _place(collection_id, tenant, database), body)
        return _number(found, "deleted")

    # -- memory and graphs --------------------------------------------------------------------

    def unload(self, collection_id: UUID, *, tenant: str, database: str) -> int:
        answer = self._ask("unload", _place(collection_id, tenant, database))
        return _number(answer, "released")

    def load(self, collection_id: UUID, *, tenant: str, database: str) -> int:
        answer = self._ask("load", _place(collection_id, tenant, database))
        return _number(answer, "resident_bytes")

    def unload_all(self, *, tenant: str, database: str) -> int:
        answer = self._ask("unload_all", {"tenant": tenant, "database": database})
        return _number(answer, "released")

    def pin(self, collection_id: UUID, pinned: bool, *, tenant: str, database: str) -> None:
        self._ask("pin", _place(collection_id, tenant, database), {"pinned": pinned})

    def set_ttl(
        self, collection_id: UUID, seconds: float | None, *, tenant: str, database: str
    ) -> CollectionInfo:
        body = {"seconds": check_ttl(seconds)}
        place = _place(collection_id, tenant, database)
        return collection_from_json(self._ask("set_ttl", place, body))

    def memory_report(
        self, collections: Sequence[UUID] | None = None, *, tenant: str, database: str
    ) -> MemoryReport:
        chosen = None if collections is None else [str(one) for one in collections]
        where_to = {"tenant": tenant, "database": database}
        found = self._ask("memory_report", where_to, {"collections": chosen})
        return report_from_json(found, self._http.url)

    def get_memory_budget(self) -> int:
        return _number(self._ask("get_memory_budget"), "budget")

    def set_memory_budget(self, budget: int | float | str) -> int:
        return _number(self._ask("set_memory_budget", body={"budget": budget}), "budget")

    def preview_memory_budget(
        self, budget: int | float | str, *, tenant: str, database: str
    ) -> list[Eviction]:
        where_to = {"tenant": tenant, "database": database}
        found = self._ask("preview_memory_budget", where_to, {"budget": budget})
        return evictions_from_json(found)

    def estimate_memory(
        self,
        n_records: int,
        dimension: int,
        configuration: dict[str, Any],
        text_bytes: int | None = None,
    ) -> Estimate:
        body: dict[str, Any] = {"n_records": n_records, "dimension": dimension}
        body |= {"configuration": configuration, "text_bytes": text_bytes}
        return estimate_from_json(self._ask("estimate_memory", body=body))

    def describe_fields(
        self, collection_id: UUID, n_values: int = 20, *, tenant: str, database: str
    ) -> list[FieldSummary]:
        place = _place(collection_id, tenant, database)
        return fields_from_json(self._ask("describe_fields", place, params={"n_values": n_values}))

    def metadata_keys(self, collection_id: UUID, *, tenant: str, database: str) -> list[str]:
        found = self._ask("metadata_keys", _place(collection_id, tenant, database))
        return check_texts(found, "the keys")

    def indexing_status(self, collection_id: UUID, *, tenant: str, database: str) -> IndexingStatus:
        found = self._ask("indexing_status", _place(collection_id, tenant, database))
        parts = {
            name: check_kind(found[name], (int, float), name) for name in IndexingStatus._fields
        }
        return IndexingStatus(**parts)

    def build_index(self, collection_id: UUID, *, tenant: str, database: str) -> None:
        self._ask("build_index", _place(collection_id, tenant, database))

    def explain(
        self,
        collection_id: UUID,
        embeddings: NDArray[np.float32],
        n_results: int,
        *,
        ids: Sequence[str] | None = None,
        where: Where | None = None,
        where_document: Where | None = None,
        tenant: str,
        database: str,
    ) -> dict[str, Any]:
        body = {
            **self._conditions(ids, where, where_document),
            "query_embeddings": self._queries(embeddings),
            "n_results": n_results,
        }
        found = self._ask("explain", _place(collection_id, tenant, database), body)
        explanation: dict[str, Any] = check_kind(found, dict, "the answer")
        for name in ("collection", "strategy", "reason"):
            check_kind(explanation.get(name), str, f"{name!r}")
        check_kind(explanation.get("elapsed_ms"), (int, float), "'elapsed_ms'")
        return explanation

    def check(self, *, tenant: str | None, database: str | None) -> CheckReport:
        raise NotSupportedError(
            "A store is checked where it is: run `chroma-nb check DIR` on the server's machine, with the server "
            "stopped."
        )

    def sql(self, query: str, parameters: Any = None, *, tenant: str, database: str) -> Any:
        raise NotSupportedError(
            "SQL is available in process only: no server has a route for it. Copy what you want to ask about: "
            "client.copy_to(chroma_nb.Client(), ['name'])."
        )


def _place(collection_id: UUID, tenant: str, database: str) -> dict[str, str]:
    return {"tenant": tenant, "database": database, "collection_id": str(collection_id)}


def _too_large(error: ChromaError, one: str) -> BatchSizeExceededError:
    return BatchSizeExceededError(
        f"{error} That was one record alone, {one[:80]!r}: make it smaller, or raise the limit there (a proxy "
        "may have its own, such as nginx's client_max_body_size)."
    )


def _half_written(error: ChromaError, done: int, total: int) -> ChromaError:
    """Return the same error, with the number of records that were written before it."""
    error.args = (
        f"{error.message()} The first {done:,} of {total:,} records of this call are written; the call may "
        "be repeated.",
        *error.args[1:],
    )
    return error


def _without_none(batch: RecordBatch) -> list[dict[str, Any] | None]:
    out: list[dict[str, Any] | None] = []
    for metadata in batch.metadatas or ():
        kept = {key: value for key, value in (metadata or {}).items() if value is not None}
        out.append(kept or None)
    return out


def _count(answer: Any) -> int:
    count: int = check_kind(answer, int, "the answer")
    return count


def _number(answer: Any, name: str) -> int:
    number: int = check_kind(check_kind(answer, dict, "the answer").get(name), int, f"{name!r}")
    return number
