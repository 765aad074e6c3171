"""`ChromaServer`: an `API` that asks Chroma's own server, with a way around what that server does not do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from chroma_nb.api._rest import RestAPI
from chroma_nb.api.base import API, Found, Matches, Records
from chroma_nb.errors import AuthorizationError, ChromaError, NotSupportedError
from chroma_nb.filters.expression import And, CompareDate, Expression, IdAmong, Or
from chroma_nb.filters.parsing import parse_where, parse_where_document
from chroma_nb.search.ranks import Val, knn_leaves
from chroma_nb.special_keys import DOCUMENT_KEY
from chroma_nb.validation import check_known
from chroma_nb.wire.answers import AnswerError, check_page, matches_from_json
from chroma_nb.wire.rest_requests import Base64

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from uuid import UUID

    from numpy.typing import NDArray

    from chroma_nb.api._http import ServerConnection
    from chroma_nb.search.expression import Search
    from chroma_nb.settings import Settings
    from chroma_nb.types import CollectionInfo, OnConflict, RecordBatch, Where
    from chroma_nb.wire.operations import Operation
    from chroma_nb.wire.requests import Request, Target
    from chroma_nb.wire.server_info import ServerInfo

#: Records or ids of one request. Chroma's server fails at more than 32,766 (the limit of SQLite's variables).
_PAGE = 5_000
#: Operations that it has no route for -> the subject of the error.
_NOT_OFFERED = {
    "unload": "Collection.unload()",
    "load": "Loading a collection",
    "unload_all": "Unloading",
    "pin": "Pinning a collection",
    "set_ttl": "A collection's TTL",
    "memory_report": "A memory report",
    "get_memory_budget": "A memory budget",
    "set_memory_budget": "A memory budget",
    "preview_memory_budget": "A memory budget",
    "estimate_memory": "An estimate of memory",
    "describe_fields": "A summary of the metadata",
    "metadata_keys": "A list of the metadata keys",
    "indexing_status": "The state of indexing",
    "build_index": "Building a graph on demand",
    "explain": "explain()",
}


class ChromaServer(RestAPI):
    """Asks Chroma's own server (`chroma run`).

    Args:
        settings: `progress` is used.
        http: The connection.
        server: The server's name, version and limits.
    """

    def __init__(self, settings: Settings, http: ServerConnection, server: ServerInfo) -> None:
        super().__init__(settings, http, server)
        # It takes and returns the embeddings of queries as numbers only.
        self._base64 = Base64(writes=server.base64, queries=False)

    def _call(self, operation: Operation, target: Target, request: Request | None) -> Any:
        if operation.name in _NOT_OFFERED:
            raise self._not_offered(_NOT_OFFERED[operation.name])
        return super()._call(operation, target, request)

    def _discover(self) -> ServerInfo:
        # What it takes at a time is always the same.
        return self.server

    def _not_offered(self, what: str) -> NotSupportedError:
        return NotSupportedError(
            f"{what} is not offered by the server at {self._http.url} ({self.server.name}, version "
            f"{self.server.version}). chroma_nb's own server has it: `chroma-nb run`."
        )

    def reset(self) -> bool:
        try:
            return super().reset()
        except ChromaError as error:
            if "disabled" in str(error) and not isinstance(error, AuthorizationError):
                raise AuthorizationError(*error.args) from None
            raise

    def create_database(self, name: str, tenant: str) -> None:
        # Without this, Chroma's server creates databases of tenants that do not exist.
        self.get_tenant(tenant)
        super().create_database(name, tenant)

    def list_databases(
        self, tenant: str, limit: int | None = None, offset: int = 0
    ) -> list[tuple[UUID, str]]:
        self.get_tenant(tenant)
        return super().list_databases(tenant, limit, offset)

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
        # Chroma's local server refuses to fork. This copies the records through the client.
        return API.fork(
            self,
            collection_id,
            new_name,
            on_progress=on_progress,
            on_total=on_total,
            tenant=tenant,
            database=database,
        )

    def add(
        self,
        collection_id: UUID,
        batch: RecordBatch,
        *,
        on_conflict: OnConflict = "skip",
        tenant: str,
        database: str,
    ) -> None:
        if on_conflict != "skip":
            raise self._not_offered(f"add(on_conflict={on_conflict!r})")
        super().add(collection_id, batch, tenant=tenant, database=database)

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
        wanted, where = self._conditions(ids, where, where_document)
        conditions: dict[str, Any] = {"where": where, "where_document": where_document}
        conditions |= {"include": include, "tenant": tenant, "database": database}

        def ask(ids: Sequence[str] | None, limit: int | None, offset: int) -> Records:
            return super(ChromaServer, self).get(
                collection_id, ids=ids, limit=limit, offset=offset, **conditions
            )

        if limit is not None and limit <= _PAGE and len(wanted or ()) <= _PAGE:
            return ask(wanted, limit, offset)
        pages: list[Records] = []
        seen: set[str] = set()

        def ask_page(ids: Sequence[str] | None, limit: int | None, offset: int) -> None:
            pages.append(ask(ids, limit, offset))
            self._check_new(pages[-1].ids, seen)

        if wanted is not None:
            # Within a part records are in storage order; the parts are in the order of `ids`.
            for start in range(0, max(1, len(wanted)), _PAGE):
                part = list(wanted[start : start + _PAGE])
                ask_page(part, None, 0)
            return _cut(_joined(pages), slice(offset, None if limit is None else offset + limit))
        n_found = 0
        while True:
            at_most = _PAGE if limit is None else min(_PAGE, limit - n_found)
            ask_page(None, at_most, offset + n_found)
            n_found += len(pages[-1].ids)
            if len(pages[-1].ids) < at_most or n_found == limit:
                return _joined(pages)

    def _check_new(self, ids: Sequence[str], seen: set[str]) -> None:
        """Refuse a page that repeats a record of the pages before; see `check_page`."""
        try:
            check_page(ids, seen, ids=None, limit=None)
        except AnswerError as error:
            raise self._http.unusable(error) from error

    def _conditions(
        self, ids: Sequence[str] | None, where: Where | None, where_document: Where | None
    ) -> tuple[list[str] | None, Where | None]:
        """Return the ids and the metadata filter that choose the same records at Chroma's server.

        Raises:
            ValueError: A filter is not valid; nothing is sent.
            NotSupportedError: Chroma's server cannot evaluate it.
        """
        expression = parse_where(where)
        wanted = None if ids is None else list(ids)
        if expression is not None:
            wanted, where = self._as_chroma_takes_it(expression, wanted, where)
        parse_where_document(where_document)
        return wanted, where

    def _as_chroma_takes_it(
        self, expression: Expression, ids: list[str] | None, where: Where | None
    ) -> tuple[list[str] | None, Where | None]:
        """Return ids and filter as Chroma's server takes them.

        It compares no dates, and has no condition on ids (``#id``): those become the argument `ids`.
        """
        if any(isinstance(leaf, CompareDate) for leaf in _leaves(expression)):
            raise self._not_offered("A comparison of dates with $gt, $gte, $lt and $lte")
        if not any(isinstance(leaf, IdAmong) for leaf in _leaves(expression)):
            return ids, where
        conditions = list(expression.children) if isinstance(expression, And) else [expression]
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
        where_to: Any = {"tenant": tenant, "database": database}
        wanted, kept = self._conditions(ids, where, where_document)
        if wanted is not None:
            # Chroma's server takes an empty list of ids for all records, and does not report ids that it lacks.
            info = self.get_collection_by_id(collection_id, **where_to)
            known = set(self.get(collection_id, ids=wanted, include=[], **where_to).ids)
            filtered = where is not None or where_document is not None
            if ids is not None and not filtered and info.dimension is not None:
                check_known(ids, [one in known for one in ids], info.name)
            wanted = [one for one in wanted if one in known]
            if not wanted:
                return _no_matches(len(embeddings), include)
        return super().query(
            collection_id,
            embeddings,
            n_results,
            ids=wanted,
            where=kept,
            where_document=where_document,
            include=include,
            **where_to,
        )

    def search(
        self,
        collection_id: UUID,
        searches: Sequence[Search],
        *,
        read_level: str = "index_and_wal",
        plans: bool = False,
        tenant: str,
        database: str,
    ) -> list[Found]:
        if plans:
            raise self._not_offered("explain()")
        for one in searches:
            expression = None if one.condition is None else one.condition.expression
            leaves = [] if expression is None else _leaves(expression)
            if any(isinstance(leaf, CompareDate) for leaf in leaves):
                raise self._not_offered("A comparison of dates with $gt, $gte, $lt and $lte")
            if any(leaf.key == DOCUMENT_KEY for leaf in knn_leaves(one.score or Val(0))):
                raise self._not_offered("Knn(..., key=K.DOCUMENT), a search for words")
        return super().search(
            collection_id, searches, read_level=read_level, tenant=tenant, database=database
        )

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
        where_to: Any = {"tenant": tenant, "database": database}
        wanted, kept = self._conditions(ids, where, where_document)
        if wanted is None:
            return super().delete(
                collection_id,
                where=where,
                where_document=where_document,
                limit=limit,
                **where_to,
            )
        # Chroma's server returns the number of ids in the request, whether they exist or not, and takes only so
        # many at a time. So only ids that exist are sent, page by page.
        known = self.get(
            collection_id,
            ids=wanted,
            where=kept,
            where_document=where_document,
            limit=limit,
            include=(),
            **where_to,
        ).ids
        for start in range(0, len(known), _PAGE):
            super().delete(collection_id, ids=known[start : start + _PAGE], **where_to)
        return len(known)


def _leaves(expression: Expression) -> list[Expression]:
    if isinstance(expression, And | Or):
        return [leaf for child in expression.children for leaf in _leaves(child)]
    return [expression]


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


def _no_matches(n_queries: int, include: Sequence[str]) -> Matches:
    def empty() -> list[list[Any]]:
        return [[] for _ in range(n_queries)]

    nothing = {part: empty() for part in ("documents", "metadatas", "uris", "distances")}
    found = {"ids": empty(), "embeddings": empty(), **nothing}
    return matches_from_json(found, include, n_queries)
