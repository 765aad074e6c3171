"""`ResultSource`: the pages of a result, whose records are in memory already."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np

from chroma_nb.display.cells import text_of
from chroma_nb.widgets.table.columns import Column, seen_columns
from chroma_nb.widgets.table.sources import Page, Question, Record, Source
from chroma_nb.words import counted, nearness_names

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from chroma_nb.collection.results import GetResult


class ResultSource(Source):
    """The records of a `GetResult`, or of all queries of a `QueryResult`, one after the other.

    Args:
        result: A `QueryResult`, or one of the kind `records`. It is not copied, and has to stay as it is.
        records: What `selection` returns.
    """

    def __init__(self, result: Any, records: type[GetResult]) -> None:
        self._result = result
        self._records = records
        self._is_query = not isinstance(result, records)
        lengths = [len(one) for one in result["ids"]] if self._is_query else [len(result["ids"])]
        #: Where each query's records begin.
        self._starts = [0, *itertools.accumulate(lengths)]
        self._n = self._starts[-1]
        self._found: tuple[Any, NDArray[np.int64]] | None = None
        n_queries = len(lengths)
        of = f" of {counted(n_queries, 'query')}".replace("querys", "queries")
        self.title = "result" + (of if self._is_query and n_queries != 1 else "")

    def columns(self) -> list[Column]:
        columns = [Column("id")]
        if self._is_query:
            names = ["query", "rank"] if len(self._starts) > 2 else ["rank"]
            ranks = [Column("number", name, ("int",)) for name in names]
            columns = [*ranks, Column("id")]
            if self._result["distances"] is not None:
                space = self._result.space
                columns += [Column("number", name, ("float",)) for name in nearness_names(space)]
        if self._result["documents"] is not None:
            columns.append(Column("document"))
        if self._result["metadatas"] is not None:
            columns += seen_columns(self._all("metadatas"))
        if self._result["uris"] is not None:
            columns.append(Column("uri", shown=any(one is not None for one in self._all("uris"))))
        return columns

    def _all(self, name: str) -> Iterable[Any]:
        values = self._result[name]
        return itertools.chain.from_iterable(values) if self._is_query else values

    def _at(self, row: int) -> Record:
        query = int(np.searchsorted(self._starts, row, side="right")) - 1
        place = row - self._starts[query]
        numbers: dict[str, float] = {}

        def part(name: str) -> Any:
            values = self._result.get(name)
            if values is None:
                return None
            return values[query][place] if self._is_query else values[place]

        if self._is_query:
            numbers = {"query": query, "rank": place + 1}
            distance = part("distances")
            if distance is not None:
                *similarity, _ = nearness_names(self._result.space)
                numbers |= {name: 1 - float(distance) for name in similarity}
                numbers["distance"] = float(distance)
        document, uri, metadata = part("documents"), part("uris"), part("metadatas")
        return Record(str(row), part("ids"), document, uri, metadata, numbers)

    def page(self, question: Question, offset: int, n: int, *, documents: bool = True) -> Page:
        rows = self._rows(question)
        return Page(
            [self._at(row) for row in rows[offset : offset + n].tolist()],
            len(rows),
            offset + n < len(rows),
        )

    def _rows(self, question: Question) -> NDArray[np.int64]:
        """Return the rows that match, in order; those of the last question are remembered."""
        asked = (
            [(one.name, one.condition) for one in question.asked],
            question.contains,
            question.order.name if question.order else None,
            question.descending,
            question.only,
        )
        if self._found is None or self._found[0] != asked:
            self._found = asked, self._find(question)
        return self._found[1]

    def _find(self, question: Question) -> NDArray[np.int64]:
        rows: Iterable[int] = range(self._n)
        if question.only is not None:
            ids, only = list(self._all("ids")), set(question.only)
            rows = [row for row in rows if ids[row] in only]
        if question.contains:
            texts = list(self._all("documents"))
            rows = [row for row in rows if question.contains in (texts[row] or "")]
        for column in question.asked:
            if column.condition is not None:
                values, matches = self._values(column), column.condition.matches
                rows = [row for row in rows if matches(values[row])]
        if question.order is not None:
            rows = _sorted(rows, self._values(question.order), question.descending)
        return np.fromiter(rows, dtype=np.int64)

    def _values(self, column: Column) -> Sequence[Any]:
        """Return a column, one value for each row."""
        if column.part == "metadata":
            return [(one or {}).get(column.key) for one in self._all("metadatas")]
        if column.part == "number":
            return [self._at(row).numbers[column.key] for row in range(self._n)]
        return list(self._all(f"{column.part}s"))

    def record(self, key: str) -> Record | None:
        return self._at(int(key)) if key.isdecimal() and int(key) < self._n else None

    def forget(self) -> None:
        self._found = None

    def selection(self, keys: Sequence[str]) -> GetResult:
        found = {one.id: one for key in keys if (one := self.record(key)) is not None}
        records = list(found.values())
        made = self._records(
            ids=list(found),
            embeddings=None,
            documents=None,
            uris=None,
            included=[],
            data=None,
            metadatas=None,
        )
        for name in ("documents", "metadatas", "uris"):
            if self._result[name] is not None:
                made[name] = [getattr(one, name[:-1]) for one in records]
                made["included"].append(name)
        return made


def _sorted(rows: Iterable[int], values: Sequence[Any], descending: bool) -> list[int]:
    """Return rows in the order of their values: numbers, then texts in any case, then what has none."""
    numbers, texts, missing = [], [], []
    for row in rows:
        value = values[row]
        if value is None or value != value:
            missing.append(row)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            numbers.append((value, row))
        else:
            text = text_of(value)
            texts.append(((text.lower(), text), row))
    found: list[int] = []
    for group in (numbers, texts):
        group.sort(key=lambda one: one[0], reverse=descending)
        found += [row for _, row in group]
    return found + missing
