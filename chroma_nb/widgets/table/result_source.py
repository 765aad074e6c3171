"""`ResultSource`: the pages of a result, whose records are in memory already."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from chroma_nb.display.cells import text_of
from chroma_nb.widgets.table.columns import Column, seen_columns
from chroma_nb.widgets.table.sources import Page, Question, Record, Source
from chroma_nb.words import nearness_names

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from chroma_nb.collection.results import GetResult

#: What a selection has of a record, beside its id.
_PARTS = ("document", "metadata", "uri")
#: Columns of a search whose numbers are no ranks.
_SCORES = ("score", "rerank score")


class ResultSource(Source):
    """The records of a `GetResult`.

    Args:
        result: Of the kind `records`, or what a subclass reads. It is not copied, and has to stay as it is.
        records: What `selection` returns.
    """

    title = "result"

    def __init__(self, result: Any, records: type[GetResult]) -> None:
        self._result = result
        self._records = records
        self._found: tuple[Any, NDArray[np.int64]] | None = None
        #: What `_lists` has returned.
        self._listed: dict[str, Sequence[Sequence[Any] | None]] = {}
        #: Where the records of each list begin: one list here, one for each question in the subclasses.
        self._starts = [0, *itertools.accumulate(len(ids or ()) for ids in self._lists("ids"))]
        self._n = self._starts[-1]

    def columns(self) -> list[Column]:
        columns = [*self._ranks(), Column("id"), *self._scores()]
        if self._has("documents"):
            columns.append(Column("document"))
        if self._has("metadatas"):
            columns += seen_columns(self._all("metadatas"))
        if self._has("uris"):
            columns.append(Column("uri", shown=any(one is not None for one in self._all("uris"))))
        return columns

    def _lists(self, name: str) -> Sequence[Sequence[Any] | None]:
        """Return what the result has under a key as lists; one that is None is of a question without it."""
        if name not in self._listed:
            self._listed[name] = self._as_lists(self._result.get(name))
        return self._listed[name]

    def _as_lists(self, values: Any) -> Sequence[Sequence[Any] | None]:
        return [values]

    def _ranks(self) -> list[Column]:
        """Return the columns before the id: which question, and at which place."""
        return []

    def _scores(self) -> list[Column]:
        """Return the columns after the id: how well a record answers."""
        return []

    def _numbers(self, question: int, place: int) -> dict[str, float]:
        """Return what the columns of `_ranks` and `_scores` show of a record."""
        return {}

    def _has(self, name: str) -> bool:
        return any(one is not None for one in self._lists(name))

    def _all(self, name: str) -> Iterable[Any]:
        for ids, values in zip(self._lists("ids"), self._lists(name), strict=True):
            some = itertools.chain(values or (), itertools.repeat(None))
            yield from itertools.islice(some, len(ids or ()))

    def _at(self, row: int) -> Record:
        question = int(np.searchsorted(self._starts, row, side="right")) - 1
        place = row - self._starts[question]

        def part(name: str) -> Any:
            values = self._lists(name)[question]
            return values[place] if values and place < len(values) else None

        document, uri, metadata = part("documents"), part("uris"), part("metadatas")
        numbers = self._numbers(question, place)
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
            return [self._at(row).numbers.get(column.key) for row in range(self._n)]
        return list(self._all(f"{column.part}s"))

    def record(self, key: str) -> Record | None:
        return self._at(int(key)) if key.isdecimal() and int(key) < self._n else None

    def forget(self) -> None:
        self._found = None

    def selection(self, keys: Sequence[str]) -> GetResult:
        found: dict[str, dict[str, Any]] = {}
        for key in keys:
            one = self.record(key)
            if one is not None:
                # Of a record that several questions found: what one of them says.
                known = found.setdefault(one.id, {})
                known.update(
                    (name, value) for name in _PARTS if (value := getattr(one, name)) is not None
                )
        made = self._records(
            ids=list(found),
            embeddings=None,
            documents=None,
            uris=None,
            included=[],
            data=None,
            metadatas=None,
        )
        for name in _PARTS:
            if self._has(f"{name}s"):
                made[f"{name}s"] = [one.get(name) for one in found.values()]
                made["included"].append(f"{name}s")
        return made


class _AnswersSource(ResultSource):
    """The records of all questions of an answer, one after the other."""

    #: What a question is called, and several.
    _question: ClassVar[str] = "query"
    _questions: ClassVar[str] = "queries"

    def __init__(self, result: Any, records: type[GetResult]) -> None:
        super().__init__(result, records)
        n = len(self._starts) - 1
        self.title = "result" if n == 1 else f"result of {n:,} {self._questions}"
        self.aliases = {"#": "rank"}

    def _as_lists(self, values: Any) -> Sequence[Sequence[Any] | None]:
        found = values or ()
        return [*found, *[None] * (len(self._result.get("ids") or ()) - len(found))]

    def _ranks(self) -> list[Column]:
        names = [self._question, "rank"] if len(self._starts) > 2 else ["rank"]
        return [Column("number", name, ("int",)) for name in names]


class QuerySource(_AnswersSource):
    """The records of all queries of a `QueryResult`."""

    def _scores(self) -> list[Column]:
        names = nearness_names(self._result.space) if self._has("distances") else ()
        return [Column("number", name, ("float",)) for name in names]

    def _numbers(self, question: int, place: int) -> dict[str, float]:
        numbers: dict[str, float] = {"query": question, "rank": place + 1}
        distances = self._lists("distances")[question]
        if distances is not None and place < len(distances):
            *similarity, _ = nearness_names(self._result.space)
            distance = float(distances[place])
            numbers |= {**dict.fromkeys(similarity, 1 - distance), "distance": distance}
        return numbers


class SearchSource(_AnswersSource):
    """The records of all searches of a `SearchResult`, with the names that its `to_pandas` has."""

    _question = "search"
    _questions = "searches"

    def __init__(self, result: Any, records: type[GetResult]) -> None:
        super().__init__(result, records)
        #: Of each search: column -> a number of each record, None where there is none.
        self._said = [self._said_of(at) for at in range(len(self._starts) - 1)]
        names = dict.fromkeys(part.name for parts in result.parts for part in parts or ())
        by_part = {name: f"rank by {name}" for name in names}
        self.aliases = {"#": "rank", "rerank": "rerank score", **by_part}

    def _said_of(self, search: int) -> dict[str, Sequence[float | None]]:
        reranked = self._result.rerank_scores
        reranks = None if reranked is None else reranked[search]
        scores = self._lists("scores")[search], reranks
        said: dict[str, Any] = dict(zip(_SCORES, scores, strict=True))
        for part in self._result.parts[search] or ():
            said[f"rank by {part.name}"] = [
                None if one is None else one + 1 for one in part.positions
            ]
        return {name: values for name, values in said.items() if values is not None}

    def _scores(self) -> list[Column]:
        # The place in the only part of all searches is the rank, unless a reranker has changed the order.
        is_plain = all(len(parts or ()) < 2 for parts in self._result.parts)
        is_plain = is_plain and self._result.rerank_scores is None
        return [
            Column(
                "number",
                name,
                ("float" if name in _SCORES else "int",),
                shown=not (is_plain and name.startswith("rank by ")),
            )
            for name in dict.fromkeys(name for said in self._said for name in said)
        ]

    def _numbers(self, question: int, place: int) -> dict[str, float]:
        numbers: dict[str, float] = {"search": question, "rank": place + 1}
        for name, values in self._said[question].items():
            value = values[place] if place < len(values) else None
            if value is not None:
                numbers[name] = value
        return numbers


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
