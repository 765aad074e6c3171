"""`CollectionSource`: the pages of a collection. The store filters and sorts; a page at a time is read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from chroma_nb.display.words import shorten
from chroma_nb.errors import NotSupportedError
from chroma_nb.filters.sql import json_pointer
from chroma_nb.harmless import clean
from chroma_nb.search.conditions import as_document_filter, as_filter
from chroma_nb.widgets.asking import WRITTEN_IDS, Code, all_of, call_code
from chroma_nb.widgets.table.columns import CHOICES, Column, metadata_column, seen_columns
from chroma_nb.widgets.table.sources import Page, Question, Record, Source

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chroma_nb.collection.collection import Collection
    from chroma_nb.collection.results import GetResult

_CANNOT_SORT = (
    "A server gives records in the order of their insertion, so this table is not sorted, and how many records match a "
    "filter is not counted. A copy in this process has both: client.copy_to(chroma_nb.Client(), [name])."
)
_CANNOT_SORT_THERE = (
    "A store in ClickHouse gives records in the order of their insertion, so this table is not sorted, and how many records "
    "match a filter is not counted. client.sql() sorts and counts: SELECT id FROM ... ORDER BY ..."
)
#: What DuckDB calls JSON's numbers.
_NUMBERS = "('BIGINT', 'UBIGINT', 'HUGEINT', 'DOUBLE')"
#: Characters of a text that its place in the order depends on; texts that begin alike are in the order of their ids.
_SORTED_CHARACTERS = 200


class CollectionSource(Source):
    """The records of a collection, in the order of their insertion or sorted by DuckDB.

    Nothing is kept between two pages but how many records match. A page that is sorted is two questions: DuckDB's
    for the ids of the page, and one for these records. With a filter the ids that match are asked for, too.

    Args:
        collection: The collection.
        where: Only records with this metadata, whatever is chosen in the table.
        where_document: Only records with these documents.
    """

    is_collection: ClassVar[bool] = True

    def __init__(self, collection: Collection, where: Any = None, where_document: Any = None):
        self._collection = collection
        filters = {"where": as_filter(where), "where_document": as_document_filter(where_document)}
        self._base: dict[str, Any] = {k: one for k, one in filters.items() if one is not None}
        self._counted: tuple[dict[str, Any], int] | None = None
        self.title = shorten(clean(collection.name), 60)
        # Its SQL is DuckDB's.
        in_clickhouse = collection.client.get_settings().db == "clickhouse"
        self.can_sort = collection.api.is_near and not in_clickhouse
        self.note = "" if self.can_sort else _CANNOT_SORT_THERE if in_clickhouse else _CANNOT_SORT

    def columns(self) -> list[Column]:
        try:
            keys = [metadata_column(one) for one in self._collection.fields.describe(CHOICES)]
        except NotSupportedError:
            # Chroma's server does not say what its records have: the first ones show it.
            first = self._collection.get(**self._base, limit=CHOICES, include=["metadatas"])
            keys = [
                Column("metadata", one.key, one.kinds) for one in seen_columns(first["metadatas"])
            ]
        return [Column("id"), Column("document"), *keys, Column("uri", shown=False)]

    def _arguments(self, question: Question) -> dict[str, Any]:
        """Return a question as `get` takes it, without order, limit and offset."""
        arguments: dict[str, Any] = {}
        if question.only is not None:
            arguments["ids"] = list(question.only)
        parts = [self._base["where"]] if "where" in self._base else []
        for column in question.asked:
            if column.condition is None:
                continue
            if column.part == "id":
                among = column.condition.among
                arguments["ids"] = [
                    one for one in among if question.only is None or one in question.only
                ]
            else:
                parts.append(column.condition.where(column.key))
        if parts:
            arguments["where"] = all_of(parts)
        texts = [self._base["where_document"]] if "where_document" in self._base else []
        if question.contains:
            texts.append({"$contains": question.contains})
        if texts:
            arguments["where_document"] = all_of(texts)
        return arguments

    def page(self, question: Question, offset: int, n: int, *, documents: bool = True) -> Page:
        arguments = self._arguments(question)
        if arguments.get("ids") == []:
            # To a store, no ids are all of them.
            return Page([], 0, False)
        include = ["documents", "metadatas", "uris"] if documents else ["metadatas", "uris"]
        if question.order is not None and self.can_sort:
            return self._sorted(question, arguments, offset, n, include)
        # One more says whether there are others.
        found = self._collection.get(**arguments, limit=n + 1, offset=offset, include=include)
        records = _records(found)
        code = call_code(
            "get", _written(arguments) | {"limit": n} | ({"offset": offset} if offset else {})
        )
        return Page(records[:n], self._total(arguments), len(records) > n, code)

    def _total(self, arguments: dict[str, Any]) -> int | None:
        if not arguments:
            return self._collection.count()
        if not self.can_sort:
            return None
        if self._counted is None or self._counted[0] != arguments:
            self._counted = arguments, len(self._collection.get(**arguments, include=[])["ids"])
        return self._counted[1]

    def _sorted(
        self, question: Question, arguments: dict[str, Any], offset: int, n: int, include: list[str]
    ) -> Page:
        assert question.order is not None
        name = self._collection.name.replace('"', '""')
        order, parameters = _order(question.order, question.descending)
        condition, lines = "", []
        total = None
        if arguments:
            matching = self._collection.get(**arguments, include=[])["ids"]
            total = len(matching)
            self._counted = arguments, total
            condition = " WHERE id = ANY($ids)"
            lines = [f'ids = {call_code("get", _written(arguments) | {"include": []})}["ids"]']
        query = f'SELECT id FROM "{name}"{condition} ORDER BY {order} LIMIT {n} OFFSET {offset}'
        shown = [f"{key!r}: {value!r}" for key, value in parameters.items()]
        if arguments:
            parameters["ids"] = matching
            shown.append("'ids': ids")
        inside = f", {{{', '.join(shown)}}}" if shown else ""
        lines.append(f'page = client.sql({query!r}{inside})["id"].tolist()')
        lines.append("collection.get(ids=page)")
        if total == 0:
            return Page([], 0, False, "\n".join(lines))
        chosen = self._collection.client.sql(query, parameters or None)["id"].tolist()
        found = self._collection.get(ids=chosen, include=include) if chosen else None
        by_id = {one.id: one for one in _records(found)} if found is not None else {}
        if total is None:
            total = self._collection.count()
        records = [by_id[one] for one in chosen if one in by_id]
        return Page(records, total, offset + n < total, "\n".join(lines))

    def record(self, key: str) -> Record | None:
        include = ["documents", "metadatas", "uris"]
        found = _records(self._collection.get(ids=[key], include=include))
        return found[0] if found else None

    def selection(self, keys: Sequence[str]) -> GetResult:
        # No ids would be all of them.
        return self._collection.get(ids=list(keys)) if keys else self._collection.get(limit=0)

    def forget(self) -> None:
        self._counted = None


def _written(arguments: dict[str, Any]) -> dict[str, Any]:
    """Return arguments as they are written: many ids by the name of what holds them."""
    many = len(arguments.get("ids", ())) > WRITTEN_IDS
    return arguments | {"ids": Code("table.only")} if many else arguments


def _order(column: Column, descending: bool) -> tuple[str, dict[str, Any]]:
    """Return what DuckDB sorts by: numbers before texts, texts in any case, and equal ones by their ids."""
    way = f"{'DESC' if descending else 'ASC'} NULLS LAST"
    if column.part == "id":
        return f"id {'DESC' if descending else 'ASC'}", {}
    if column.part in ("document", "uri"):
        return f"lower(left({column.part}, {_SORTED_CHARACTERS})) {way}, id", {}
    text, parameters = "(metadata ->> $key)", {"key": json_pointer(column.key)}
    number = f"TRY_CAST({text} AS {'HUGEINT' if column.kinds == ('int',) else 'DOUBLE'})"
    if column.is_number:
        return f"{number} {way}, id", parameters
    texts = f"lower({text}) {way}, {text} {way}, id"
    if not set(column.kinds) & {"int", "float"}:
        return texts, parameters
    only = f"CASE WHEN json_type(metadata, $key) IN {_NUMBERS} THEN {number} END"
    return f"{only} {way}, {texts}", parameters


def _records(found: GetResult) -> list[Record]:
    n = len(found["ids"])
    documents, uris, metadatas = (
        found[name] or [None] * n for name in ("documents", "uris", "metadatas")
    )
    return [
        Record(one, one, document, uri, metadata)
        for one, document, uri, metadata in zip(
            found["ids"], documents, uris, metadatas, strict=True
        )
    ]
