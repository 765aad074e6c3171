"""`FastAPI`: the API over HTTP, against chroma_nb's own server or Chroma's (REST v2)."""

from __future__ import annotations

import functools
import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar
from uuid import UUID

import numpy as np

from chroma_nb.api._http import LONG_SECONDS, Connection
from chroma_nb.api.base import API, Matches, Records
from chroma_nb.errors import (
    AuthorizationError,
    BatchSizeExceededError,
    ChromaAuthError,
    ChromaError,
    InternalError,
    NotSupportedError,
    ServerUnavailableError,
)
from chroma_nb.filters.expression import (
    And,
    CompareDate,
    Expression,
    IdAmong,
    Or,
    parse_where,
    parse_where_document,
)
from chroma_nb.harmless import said_in_line
from chroma_nb.progress import progress_bar
from chroma_nb.types import CollectionInfo, IndexingStatus, RecordBatch, UserIdentity
from chroma_nb.validation import check_known, ids_exist
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
    departures_from_json,
    estimate_from_json,
    report_from_json,
)
from chroma_nb.wire.vectors import to_base64

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from chroma_nb.check_report import CheckReport
    from chroma_nb.memory.report import Departure, Estimate, MemoryReport
    from chroma_nb.settings import Settings
    from chroma_nb.types import FieldSummary, OnConflict, Where

#: Chroma's server takes bodies of 40 MB; a request stays well below.
_CHROMA_BODY = 24 * 2**20
#: How long a server of Chroma's first API may take to say that it is one.
_LOOK_SECONDS = 5.0
#: Records that are asked for at a time where Chroma's server would fail at the whole.
_PAGE = 5_000
#: What can be changed of a graph once it is there.
_HNSW_CHANGES = ("ef_search", "resize_factor", "sync_threshold")


@dataclass(frozen=True)
class ServerInfo:
    """What answers."""

    #: ``"chroma_nb"`` or ``"Chroma"``.
    name: str
    version: str
    max_batch_size: int
    base64: bool
    #: What one request may hold.
    max_records: int
    max_body: int

    @property
    def ours(self) -> bool:
        """Is it chroma_nb's own server?"""
        return self.name == "chroma_nb"


#: What reading an answer of another form than is expected raises.
_ODD = (KeyError, IndexError, TypeError, AttributeError, ValueError, OverflowError, RecursionError)


def _reads_answers(function: Any) -> Any:
    """Return a method that says so where a server's answer cannot be used, whatever about it is odd."""

    @functools.wraps(function)
    def call(self: FastAPI, *args: Any, **kwargs: Any) -> Any:
        before = self._http.n_answers
        try:
            return function(self, *args, **kwargs)
        except _ODD as error:
            # Arguments are checked before anything is sent: after an answer, it is the answer.
            if isinstance(error, ChromaError) or self._http.n_answers == before:
                raise
            raise self._http.unusable(error) from error

    return call


def _checked(cls: type[FastAPI]) -> type[FastAPI]:
    for name, member in list(vars(cls).items()):
        if inspect.isfunction(member) and (not name.startswith("_") or name == "_find_out"):
            setattr(cls, name, _reads_answers(member))
    return cls


@_checked
class FastAPI(API):
    """Asks a server.

    Args:
        settings: `url`, and what to show there.

    Raises:
        ServerUnavailableError: No Chroma server answers at that address.
        AuthorizationError, ChromaAuthError: It refuses what was shown to it.
    """

    in_process: ClassVar[bool] = False

    def __init__(self, settings: Settings) -> None:
        self._http = Connection(settings)
        self._progress = settings.progress
        self._closed = False
        try:
            self.server = self._find_out()
            self._http.is_known = True
        except BaseException:
            self._http.close()
            raise

    def __repr__(self) -> str:
        return f"FastAPI({self._http.url})"

    def _find_out(self) -> ServerInfo:
        try:
            checks = self._v2("GET", "pre-flight-checks", safe=True)
            self._v2("GET", "auth", "identity", safe=True)
        except ServerUnavailableError as error:
            if error.__cause__ is not None:
                # Nothing answered, or not in HTTP.
                raise
            raise self._old_server() or error from None
        except (AuthorizationError, ChromaAuthError) as error:
            shown = (
                "what was shown to it"
                if self._http.shows_credentials
                else "to go on without a token"
            )
            raise type(error)(
                f"The server at {self._http.url} refuses {shown}: {error}. Pass connect(..., token=...) "
                "or basic_auth=..., or set CHROMA_NB_TOKEN."
            ) from None
        except ChromaError as error:
            raise self._old_server() or error from None
        if not isinstance(checks, dict) or not isinstance(checks.get("max_batch_size"), int):
            raise ServerUnavailableError(
                f"Something answers at {self._http.url}, but it is no Chroma server. Check host, port and "
                "path."
            )
        ours = checks.get("server") == "chroma_nb"
        size = max(1, checks["max_batch_size"])
        return ServerInfo(
            name="chroma_nb" if ours else "Chroma",
            version=said_in_line(
                checks["version"] if ours else self._v2("GET", "version", safe=True), 40
            ),
            max_batch_size=size,
            base64=bool(checks.get("supports_base64_encoding")),
            max_records=max(1, int(checks["max_records"])) if ours else size,
            max_body=max(1, int(checks["max_body"])) if ours else _CHROMA_BODY,
        )

    def _old_server(self) -> ServerUnavailableError | None:
        """Return the error for a server of Chroma's first API, if it is one."""
        try:
            self._http.request("GET", ("api", "v1", "heartbeat"), seconds=_LOOK_SECONDS)
            version = self._http.request("GET", ("api", "v1", "version"), seconds=_LOOK_SECONDS)
        except ChromaError:
            return None
        return ServerUnavailableError(
            f"The server at {self._http.url} is Chroma {said_in_line(version, 40)}, which speaks the API v1 only. "
            "Chroma 0.6 and later have v2."
        )

    # -- requests -----------------------------------------------------------------------------

    def _v2(self, method: str, *path: str, **options: Any) -> Any:
        if self._closed:
            raise InternalError(f"{self!r} is closed. Open a new client to go on.")
        return self._http.request(method, ("api", "v2", *path), **options)

    def _in_database(
        self, tenant: str, database: str, method: str, *path: str, **options: Any
    ) -> Any:
        return self._v2(method, "tenants", tenant, "databases", database, *path, **options)

    def _in_collection(
        self, where_to: dict[str, Any], collection_id: UUID, method: str, *path: str, **options: Any
    ) -> Any:
        return self._in_database(
            *(where_to["tenant"], where_to["database"], method, "collections"),
            *(str(collection_id), *path),
            **options,
        )

    def _only_ours(self, what: str) -> None:
        """Refuse what Chroma's server does not have.

        Raises:
            NotSupportedError: It is Chroma's.
        """
        if not self.server.ours:
            raise self._not_offered(what)

    def _not_offered(self, what: str) -> NotSupportedError:
        return NotSupportedError(
            f"{what} is not offered by the server at {self._http.url} ({self.server.name}, version "
            f"{self.server.version}). chroma_nb's own server has it: `chroma-nb run`."
        )

    # -- the store ----------------------------------------------------------------------------

    def heartbeat(self) -> int:
        return _number(self._v2("GET", "heartbeat", safe=True), "nanosecond heartbeat")

    def get_version(self) -> str:
        version: str = check_kind(self._v2("GET", "version", safe=True), str, "the version")
        return version

    def get_max_batch_size(self) -> int:
        return self.server.max_batch_size

    def get_user_identity(self) -> UserIdentity:
        found = self._v2("GET", "auth", "identity", safe=True)
        tenant = check_kind(found.get("tenant"), (str, type(None)), "'tenant'")
        databases = check_kind(found.get("databases"), (list, type(None)), "'databases'")
        for one in databases or ():
            check_kind(one, str, "a database")
        return UserIdentity(str(found.get("user_id", "")), tenant, databases)

    def reset(self) -> bool:
        try:
            return bool(self._v2("POST", "reset"))
        except ChromaError as error:
            if "disabled" in str(error) and not isinstance(error, AuthorizationError):
                raise AuthorizationError(*error.args) from None
            raise

    def close(self) -> None:
        self._closed = True
        self._http.close()

    # -- tenants and databases ----------------------------------------------------------------

    def create_tenant(self, name: str) -> None:
        self._v2("POST", "tenants", body={"name": name})

    def get_tenant(self, name: str) -> str:
        return str(self._v2("GET", "tenants", name, safe=True)["name"])

    def create_database(self, name: str, tenant: str) -> None:
        if not self.server.ours:
            # Chroma's makes a database of a tenant that does not exist.
            self.get_tenant(tenant)
        self._v2("POST", "tenants", tenant, "databases", body={"name": name})

    def get_database(self, name: str, tenant: str) -> UUID:
        return UUID(self._in_database(tenant, name, "GET", safe=True)["id"])

    def list_databases(
        self, tenant: str, limit: int | None = None, offset: int = 0
    ) -> list[tuple[UUID, str]]:
        if not self.server.ours:
            self.get_tenant(tenant)
        params = {"limit": limit, "offset": offset or None}
        found = self._v2("GET", "tenants", tenant, "databases", params=params, safe=True)
        return [(UUID(one["id"]), one["name"]) for one in found]

    def delete_database(self, name: str, tenant: str) -> None:
        self._in_database(tenant, name, "DELETE")

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
        return collection_from_json(
            self._in_database(
                tenant, database, "POST", "collections", body=body, safe=get_or_create
            )
        )

    def get_collection(self, name: str, *, tenant: str, database: str) -> CollectionInfo:
        return collection_from_json(
            self._in_database(tenant, database, "GET", "collections", name, safe=True)
        )

    def get_collection_by_id(
        self, collection_id: UUID, *, tenant: str, database: str
    ) -> CollectionInfo:
        path = ("collections", "by-id", str(collection_id))
        return collection_from_json(self._in_database(tenant, database, "GET", *path, safe=True))

    def list_collections(
        self, limit: int | None = None, offset: int = 0, *, tenant: str, database: str
    ) -> list[CollectionInfo]:
        params = {"limit": limit, "offset": offset or None}
        found = self._in_database(tenant, database, "GET", "collections", params=params, safe=True)
        return [collection_from_json(one) for one in found]

    def count_collections(self, *, tenant: str, database: str) -> int:
        return _count(self._in_database(tenant, database, "GET", "collections_count", safe=True))

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
        where_to = {"tenant": tenant, "database": database}
        self._in_collection(where_to, collection_id, "PUT", body=body)
        return self.get_collection_by_id(collection_id, tenant=tenant, database=database)

    def delete_collection(self, name: str, *, tenant: str, database: str) -> None:
        self._in_database(tenant, database, "DELETE", "collections", name)

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
        where_to: Any = {"tenant": tenant, "database": database}
        if not self.server.ours:
            return super().fork(
                collection_id, new_name, on_progress=on_progress, on_total=on_total, **where_to
            )
        body = {"new_name": new_name}
        return collection_from_json(
            self._in_collection(
                where_to, collection_id, "POST", "fork", body=body, seconds=LONG_SECONDS
            )
        )

    # -- records ------------------------------------------------------------------------------

    def count(self, collection_id: UUID, *, tenant: str, database: str) -> int:
        where_to = {"tenant": tenant, "database": database}
        return _count(self._in_collection(where_to, collection_id, "GET", "count", safe=True))

    def add(
        self,
        collection_id: UUID,
        batch: RecordBatch,
        *,
        on_conflict: OnConflict = "skip",
        tenant: str,
        database: str,
    ) -> None:
        params = {}
        if on_conflict != "skip":
            self._only_ours(f"add(on_conflict={on_conflict!r})")
            params = {"on_conflict": on_conflict}
        if batch.metadatas is not None:
            # A key whose value is None is one to leave out; Chroma's server would refuse it.
            batch = RecordBatch(
                batch.ids, batch.embeddings, batch.documents, batch.uris, _without_none(batch)
            )
        where_to: Any = {"tenant": tenant, "database": database}

        def check_new() -> None:
            # A part that was written cannot be taken back when the next one meets an id that exists.
            there = self.get(collection_id, ids=batch.ids, include=(), **where_to).ids
            if there:
                name = self.get_collection_by_id(collection_id, **where_to).name
                raise ids_exist(there, len(batch), name)

        safe = on_conflict != "error"
        before_parts = None if safe else check_new
        self._write(
            *(where_to, collection_id, "add", batch),
            params=params,
            safe=safe,
            before_parts=before_parts,
        )

    def update(
        self, collection_id: UUID, batch: RecordBatch, *, tenant: str, database: str
    ) -> None:
        where_to = {"tenant": tenant, "database": database}
        self._write(where_to, collection_id, "update", batch)

    def upsert(
        self, collection_id: UUID, batch: RecordBatch, *, tenant: str, database: str
    ) -> None:
        where_to = {"tenant": tenant, "database": database}
        self._write(where_to, collection_id, "upsert", batch)

    def _write(
        self,
        where_to: dict[str, str],
        collection_id: UUID,
        operation: str,
        batch: RecordBatch,
        *,
        params: dict[str, Any] | None = None,
        safe: bool = True,
        before_parts: Callable[[], None] | None = None,
    ) -> None:
        """Send records: in one request where the server takes it, else in parts.

        Args:
            where_to: The tenant and the database.
            collection_id: The collection.
            operation: ``add``, ``update`` or ``upsert``.
            batch: The records.
            params: The query string.
            safe: As for `Connection.request`.
            before_parts: Called before the first of several parts is sent.
        """
        desc = f"Sending to {self._http.url}"
        done, size = 0, self._part_size(batch)
        with progress_bar(len(batch), desc, did="sent", enabled=self._progress) as bar:
            while done < len(batch):
                if before_parts is not None and size < len(batch):
                    before_parts()
                    before_parts = None
                body = self._body(batch, slice(done, done + size))
                n_records = len(body["ids"])
                try:
                    self._in_collection(
                        *(where_to, collection_id, "POST", operation),
                        body=body,
                        params=params,
                        safe=safe,
                    )
                except BatchSizeExceededError as error:
                    # A proxy on the way may take less than the server says.
                    if n_records == 1:
                        raise _too_large(error, batch.ids[done]) from None
                    size = (n_records + 1) // 2
                    continue
                except ChromaError as error:
                    if done:
                        raise _half_written(error, done, len(batch)) from error
                    raise
                done += n_records
                bar.update(n_records)

    def _part_size(self, batch: RecordBatch) -> int:
        """Return how many records go into one request: all, unless that is more than the server takes."""
        n = len(batch)
        texts = [*(batch.documents or ()), *(batch.uris or ())]
        n_bytes = sum(4 * len(text) for text in texts if text is not None)
        n_bytes += sum(len(str(one)) for one in batch.metadatas or ()) + 40 * n
        if batch.embeddings is not None:
            # Base64 is 4/3 of the bytes; a float as a number takes up to 22 characters.
            n_bytes += batch.embeddings.size * (6 if self.server.base64 else 22)
        pieces = max(-(-n // self.server.max_records), -(-n_bytes // self.server.max_body), 1)
        return max(1, -(-n // pieces))

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
        body = {
            **self._conditions(ids, where, where_document),
            "limit": limit,
            "offset": offset,
            "include": [one for one in include if one != "data"],
        }
        where_to = {"tenant": tenant, "database": database}
        ids = body["ids"]

        def ask(seen: set[str] | None = None, **changes: Any) -> Records:
            asked = {**body, **changes}
            found = self._in_collection(
                *(where_to, collection_id, "POST", "get"),
                body=asked,
                params={"embeddings": "base64"} if self.server.ours else None,
                safe=True,
            )
            records = records_from_json(found, include)
            check_page(records.ids, seen, ids=asked["ids"], limit=asked["limit"])
            return records

        # Chroma's server fails at more than 32,766 records or ids (SQLite's variables).
        if self.server.ours or (limit is not None and limit <= _PAGE and len(ids or ()) <= _PAGE):
            return ask()
        pages: list[Records] = []
        seen: set[str] = set()
        if ids is not None:
            # Records of one part are in storage order, and the parts in that of the ids.
            for start in range(0, max(1, len(ids)), _PAGE):
                part = list(ids[start : start + _PAGE])
                pages.append(ask(seen, ids=part, limit=None, offset=0))
            return _cut(_joined(pages), slice(offset, None if limit is None else offset + limit))
        n_found = 0
        while True:
            wanted = _PAGE if limit is None else min(_PAGE, limit - n_found)
            pages.append(ask(seen, limit=wanted, offset=offset + n_found))
            n_found += len(pages[-1].ids)
            if len(pages[-1].ids) < wanted or n_found == limit:
                return _joined(pages)

    def _conditions(
        self, ids: Sequence[str] | None, where: Where | None, where_document: Where | None
    ) -> dict[str, Any]:
        """Return which records are meant, as in a body.

        Raises:
            ValueError: A filter cannot be used; it is not sent.
            NotSupportedError: Chroma's server cannot evaluate it.
        """
        expression = parse_where(where)
        parse_where_document(where_document)
        wanted = None if ids is None else list(ids)
        if not self.server.ours and expression is not None:
            wanted, where = self._for_chroma(expression, wanted, where)
        return {"ids": wanted, "where": finite_filter(where), "where_document": where_document}

    def _for_chroma(
        self, expression: Expression, ids: list[str] | None, where: Where | None
    ) -> tuple[list[str] | None, Where | None]:
        """Return a filter in terms of Chroma's server, which knows `#id` as an argument only, and no dates."""
        if any(isinstance(leaf, CompareDate) for leaf in _leaves(expression)):
            raise self._not_offered("A comparison of dates with $gt, $gte, $lt and $lte")
        if not any(isinstance(leaf, IdAmong) for leaf in _leaves(expression)):
            return ids, where
        conditions = _and_conditions(expression)
        parts = where["$and"] if isinstance(expression, And) and where is not None else [where]
        kept: list[Any] = []
        for condition, part in zip(conditions, parts, strict=True):
            if isinstance(condition, IdAmong) and not condition.negated:
                among = set(condition.ids)
                given = list(dict.fromkeys(condition.ids)) if ids is None else ids
                ids = [one for one in given if one in among]
            elif any(isinstance(leaf, IdAmong) for leaf in _leaves(condition)):
                raise self._not_offered("A condition on K.ID with !=, not_in or |")
            else:
                kept.append(part)
        if len(kept) > 1:
            return ids, {"$and": kept}
        return ids, kept[0] if kept else None

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
        where_to: Any = {"tenant": tenant, "database": database}
        if conditions["ids"] is not None and not self.server.ours:
            # Chroma's server takes no ids for all of them, and does not say which one it does not know.
            wanted = conditions["ids"]
            info = self.get_collection_by_id(collection_id, **where_to)
            known = set(self.get(collection_id, ids=wanted, include=[], **where_to).ids)
            filtered = where is not None or where_document is not None
            if ids is not None and not filtered and info.dimension is not None:
                check_known(ids, [one in known for one in ids], info.name)
            conditions["ids"] = [one for one in wanted if one in known]
            if not conditions["ids"]:
                return _no_matches(len(embeddings), include)
        found = self._in_collection(
            *(where_to, collection_id, "POST", "query"),
            body={
                **conditions,
                "query_embeddings": self._queries(embeddings),
                "n_results": n_results,
                "include": [one for one in include if one != "data"],
            },
            params={"embeddings": "base64"} if self.server.ours else None,
            safe=True,
        )
        return matches_from_json(found, include, len(embeddings))

    def _queries(self, embeddings: NDArray[np.float32]) -> list[Any]:
        # Chroma's server takes numbers alone here.
        return to_base64(embeddings) if self.server.ours else embeddings.tolist()

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
        where_to: Any = {"tenant": tenant, "database": database}
        if body["ids"] is not None and not self.server.ours:
            # Chroma's server counts the ids that it was asked for, and takes only so many.
            known = self.get(collection_id, **body, limit=limit, include=(), **where_to).ids
            for start in range(0, len(known), _PAGE):
                part = {"ids": known[start : start + _PAGE]}
                self._in_collection(where_to, collection_id, "POST", "delete", body=part)
            return len(known)
        if limit is not None:
            body["limit"] = limit
        found = self._in_collection(where_to, collection_id, "POST", "delete", body=body)
        return _number(found, "deleted")

    # -- memory and graphs --------------------------------------------------------------------

    def unload(self, collection_id: UUID, *, tenant: str, database: str) -> int:
        where_to = {"tenant": tenant, "database": database}
        self._only_ours("Collection.unload()")
        answer = self._in_collection(where_to, collection_id, "POST", "unload", safe=True)
        return _number(answer, "released")

    def load(self, collection_id: UUID, *, tenant: str, database: str) -> int:
        where_to = {"tenant": tenant, "database": database}
        self._only_ours("Loading a collection")
        answer = self._in_collection(
            where_to, collection_id, "POST", "load", safe=True, seconds=LONG_SECONDS
        )
        return _number(answer, "resident_bytes")

    def unload_all(self, *, tenant: str, database: str) -> int:
        self._only_ours("Unloading")
        return _number(self._in_database(tenant, database, "POST", "memory", "unload"), "released")

    def pin(self, collection_id: UUID, pinned: bool, *, tenant: str, database: str) -> None:
        where_to = {"tenant": tenant, "database": database}
        self._only_ours("Pinning a collection")
        self._in_collection(
            *(where_to, collection_id, "PUT", "pin"),
            body={"pinned": pinned},
            safe=True,
            seconds=LONG_SECONDS,
        )

    def set_ttl(
        self, collection_id: UUID, seconds: float | None, *, tenant: str, database: str
    ) -> CollectionInfo:
        where_to = {"tenant": tenant, "database": database}
        self._only_ours("A collection's TTL")
        body = {"seconds": seconds}
        return collection_from_json(
            self._in_collection(where_to, collection_id, "PUT", "ttl", body=body, safe=True)
        )

    def memory_report(
        self, collections: Sequence[UUID] | None = None, *, tenant: str, database: str
    ) -> MemoryReport:
        self._only_ours("A memory report")
        chosen = None if collections is None else [str(one) for one in collections]
        found = self._in_database(
            *(tenant, database, "POST", "memory", "report"),
            body={"collections": chosen},
            safe=True,
        )
        return report_from_json(found, self._http.url)

    def get_memory_budget(self) -> int:
        self._only_ours("A memory budget")
        return _number(self._v2("GET", "memory", "budget", safe=True), "budget")

    def set_memory_budget(self, budget: int | float | str) -> int:
        self._only_ours("A memory budget")
        answer = self._v2("PUT", "memory", "budget", body={"budget": budget}, safe=True)
        return _number(answer, "budget")

    def preview_memory_budget(
        self, budget: int | float | str, *, tenant: str, database: str
    ) -> list[Departure]:
        self._only_ours("A memory budget")
        body = {"budget": budget}
        return departures_from_json(
            self._in_database(tenant, database, "POST", "memory", "preview", body=body, safe=True)
        )

    def estimate_memory(
        self,
        n_records: int,
        dimension: int,
        configuration: dict[str, Any],
        text_bytes: int | None = None,
    ) -> Estimate:
        self._only_ours("An estimate of memory")
        body: dict[str, Any] = {"n_records": n_records, "dimension": dimension}
        body |= {"configuration": configuration, "text_bytes": text_bytes}
        return estimate_from_json(self._v2("POST", "memory", "estimate", body=body, safe=True))

    def describe_fields(
        self, collection_id: UUID, n_values: int = 20, *, tenant: str, database: str
    ) -> list[FieldSummary]:
        self._only_ours("A summary of the metadata")
        where_to = {"tenant": tenant, "database": database}
        return fields_from_json(
            self._in_collection(
                *(where_to, collection_id, "GET", "fields"),
                params={"n_values": n_values},
                safe=True,
            )
        )

    def metadata_keys(self, collection_id: UUID, *, tenant: str, database: str) -> list[str]:
        where_to = {"tenant": tenant, "database": database}
        self._only_ours("A list of the metadata keys")
        found = self._in_collection(where_to, collection_id, "GET", "metadata_keys", safe=True)
        return check_texts(found, "the keys")

    def indexing_status(self, collection_id: UUID, *, tenant: str, database: str) -> IndexingStatus:
        where_to = {"tenant": tenant, "database": database}
        self._only_ours("The state of indexing")
        found = self._in_collection(where_to, collection_id, "GET", "indexing_status", safe=True)
        parts = {
            name: check_kind(found[name], (int, float), name) for name in IndexingStatus._fields
        }
        return IndexingStatus(**parts)

    def build_index(self, collection_id: UUID, *, tenant: str, database: str) -> None:
        where_to = {"tenant": tenant, "database": database}
        self._only_ours("Building a graph on demand")
        self._in_collection(
            where_to, collection_id, "POST", "build_index", safe=True, seconds=LONG_SECONDS
        )

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
        self._only_ours("explain()")
        where_to = {"tenant": tenant, "database": database}
        found = self._in_collection(
            *(where_to, collection_id, "POST", "explain"),
            body={
                **self._conditions(ids, where, where_document),
                "query_embeddings": to_base64(embeddings),
                "n_results": n_results,
            },
            safe=True,
        )
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


def _too_large(error: ChromaError, one: str) -> BatchSizeExceededError:
    return BatchSizeExceededError(
        f"{error} That was one record alone, {one[:80]!r}: make it smaller, or raise the limit there (a proxy "
        "may have its own, such as nginx's client_max_body_size)."
    )


def _half_written(error: ChromaError, done: int, total: int) -> ChromaError:
    """Return the same error, which says how much of a write in parts was carried out."""
    error.args = (
        f"{error.message()} The first {done:,} of {total:,} records of this call are written; the call may "
        "be repeated.",
        *error.args[1:],
    )
    return error


def _and_conditions(expression: Expression | None) -> list[Expression]:
    """Return the conditions that all have to be true."""
    if expression is None:
        return []
    return list(expression.children) if isinstance(expression, And) else [expression]


def _leaves(expression: Expression) -> list[Expression]:
    if isinstance(expression, And | Or):
        return [leaf for child in expression.children for leaf in _leaves(child)]
    return [expression]


def _without_none(batch: RecordBatch) -> list[dict[str, Any] | None]:
    out: list[dict[str, Any] | None] = []
    for metadata in batch.metadatas or ():
        kept = {key: value for key, value in (metadata or {}).items() if value is not None}
        out.append(kept or None)
    return out


def _joined(pages: Sequence[Records]) -> Records:
    joined = Records([one for page in pages for one in page.ids])
    if pages[0].embeddings is not None:
        arrays = [page.embeddings for page in pages if page.ids and page.embeddings is not None]
        joined.embeddings = np.concatenate(arrays) if arrays else pages[0].embeddings
    for part in ("documents", "metadatas", "uris"):
        if getattr(pages[0], part) is not None:
            setattr(joined, part, [one for page in pages for one in getattr(page, part)])
    return joined


def _cut(records: Records, rows: slice) -> Records:
    cut = Records(records.ids[rows])
    for part in ("embeddings", "documents", "metadatas", "uris"):
        values = getattr(records, part)
        setattr(cut, part, None if values is None else values[rows])
    return cut


def _count(answer: Any) -> int:
    count: int = check_kind(answer, int, "the answer")
    return count


def _number(answer: Any, name: str) -> int:
    number: int = check_kind(check_kind(answer, dict, "the answer").get(name), int, f"{name!r}")
    return number


def _no_matches(n_queries: int, include: Sequence[str]) -> Matches:
    def empty() -> list[list[Any]]:
        return [[] for _ in range(n_queries)]

    nothing = {part: empty() for part in ("documents", "metadatas", "uris", "distances")}
    found = {"ids": empty(), "embeddings": empty(), **nothing}
    return matches_from_json(found, include, n_queries)
