"""`ChromaServer`: an `API` that asks Chroma's own server, with a way around what that server does not do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from chroma_nb.api._rest import RestAPI, checks_answers
from chroma_nb.api.base import API, Matches, Records
from chroma_nb.errors import NotSupportedError
from chroma_nb.filters.expression import And, CompareDate, Expression, IdAmong, Or, parse_where
from chroma_nb.validation import check_known
from chroma_nb.wire.answers import matches_from_json

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from uuid import UUID

    from numpy.typing import NDArray

    from chroma_nb.types import CollectionInfo, OnConflict, RecordBatch, Where

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


@checks_answers
class ChromaServer(RestAPI):
    """Asks Chroma's own server (`chroma run`)."""

    # Chroma's server returns embeddings as numbers, not as base64.
    _params: ClassVar[dict[str, Any] | None] = None

    def _ask(
        self,
        operation: str,
        place: Mapping[str, str] | None = None,
        body: Any = None,
        *,
        params: dict[str, Any] | None = None,
        repeatable: bool | None = None,
    ) -> Any:
        if operation in _NOT_OFFERED:
            raise self._not_offered(_NOT_OFFERED[operation])
        return super()._ask(operation, place, body, params=params, repeatable=repeatable)

    def _not_offered(self, what: str) -> NotSupportedError:
        return NotSupportedError(
            f"{what} is not offered by the server at {self._http.url} ({self.server.name}, version "
            f"{self.server.version}). chroma_nb's own server has it: `chroma-nb run`."
        )

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
        conditions = self._conditions(ids, where, where_document)
        wanted = conditions["ids"]
        where_to = {"tenant": tenant, "database": database}

        def ask(seen: set[str] | None = None, **changes: Any) -> Records:
            asked = {**conditions, "limit": limit, "offset": offset, **changes}
            return self._page(collection_id, asked, include, seen, where_to)

        if limit is not None and limit <= _PAGE and len(wanted or ()) <= _PAGE:
            return ask()
        pages: list[Records] = []
        seen: set[str] = set()
        if wanted is not None:
            # Within a part records are in storage order; the parts are in the order of `ids`.
            for start in range(0, max(1, len(wanted)), _PAGE):
                part = list(wanted[start : start + _PAGE])
                pages.append(ask(seen, ids=part, limit=None, offset=0))
            return _cut(_joined(pages), slice(offset, None if limit is None else offset + limit))
        n_found = 0
        while True:
            at_most = _PAGE if limit is None else min(_PAGE, limit - n_found)
            pages.append(ask(seen, limit=at_most, offset=offset + n_found))
            n_found += len(pages[-1].ids)
            if len(pages[-1].ids) < at_most or n_found == limit:
                return _joined(pages)

    def _conditions(
        self, ids: Sequence[str] | None, where: Where | None, where_document: Where | None
    ) -> dict[str, Any]:
        """Return the fields of a request's body that choose the records.

        Raises:
            ValueError: A filter is not valid; nothing is sent.
            NotSupportedError: Chroma's server cannot evaluate it.
        """
        expression = parse_where(where)
        wanted = None if ids is None else list(ids)
        if expression is not None:
            wanted, where = self._as_chroma_takes_it(expression, wanted, where)
        return super()._conditions(wanted, where, where_document)

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
        conditions = self._conditions(ids, where, where_document)
        wanted = conditions["ids"]
        if wanted is not None:
            # Chroma's server takes an empty list of ids for all records, and does not report ids that it lacks.
            info = self.get_collection_by_id(collection_id, **where_to)
            known = set(self.get(collection_id, ids=wanted, include=[], **where_to).ids)
            filtered = where is not None or where_document is not None
            if ids is not None and not filtered and info.dimension is not None:
                check_known(ids, [one in known for one in ids], info.name)
            conditions["ids"] = [one for one in wanted if one in known]
            if not conditions["ids"]:
                return _no_matches(len(embeddings), include)
        return self._matches(collection_id, embeddings, n_results, conditions, include, where_to)

    def _queries(self, embeddings: NDArray[np.float32]) -> list[Any]:
        # Chroma's server takes query embeddings only as numbers.
        numbers: list[Any] = embeddings.tolist()
        return numbers

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
        conditions = self._conditions(ids, where, where_document)
        if conditions["ids"] is None:
            return super().delete(
                collection_id,
                where=where,
                where_document=where_document,
                limit=limit,
                **where_to,
            )
        # Chroma's server returns the number of ids in the request, whether they exist or not, and takes only so
        # many at a time. So only ids that exist are sent, page by page.
        known = self.get(collection_id, **conditions, limit=limit, include=(), **where_to).ids
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
