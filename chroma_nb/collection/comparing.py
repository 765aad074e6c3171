"""`compare`: what two answers to the same questions have in common, for choosing a model or a setting."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from chroma_nb.boundary import public_call
from chroma_nb.collection.results import QueryResult
from chroma_nb.collection.search_result import SearchResult
from chroma_nb.collection.tables import import_pandas
from chroma_nb.display.base import Displayed
from chroma_nb.display.extent import ROWS
from chroma_nb.errors import InvalidArgumentError
from chroma_nb.harmless import clean
from chroma_nb.words import brief, with_article

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from chroma_nb.collection.collection import Collection

#: The columns of the table that pandas gets.
_COLUMNS = [
    "query",
    "id",
    "rank_first",
    "rank_second",
    "distance_first",
    "distance_second",
    "change",
    "document",
]
#: What the two answers are called where nothing better is known.
_NAMES = ("first", "second")


@dataclass(frozen=True)
class ComparedRecord:
    """A record that one of two answers has, or both.

    Attributes:
        id: The record's id.
        ranks: Its rank in each answer, from 1; None where the answer does not have it.
        distances: Its distance in each answer; None where that is not known.
        document: Its text, from the answer that has one.
    """

    id: str
    ranks: tuple[int | None, int | None]
    distances: tuple[float | None, float | None]
    document: str | None

    @property
    def change(self) -> int | None:
        """How many ranks nearer it is in the second answer; negative is farther. None: only one has it."""
        first, second = self.ranks
        return None if first is None or second is None else first - second


@dataclass(frozen=True)
class ComparedQuery:
    """Two answers to one question.

    Attributes:
        asked: The question in each; None where an embedding was given.
        records: The records of both, in the order of the first answer, then those that only the second has.
    """

    asked: tuple[str | None, str | None]
    records: Sequence[ComparedRecord]

    @property
    def n_shared(self) -> int:
        """How many records both answers have."""
        return sum(None not in one.ranks for one in self.records)

    def n_only(self, which: int) -> int:
        """Return how many records only the first answer (0) or the second (1) has."""
        return sum(one.ranks[1 - which] is None for one in self.records)

    @property
    def overlap(self) -> float:
        """The share of records that both have, of those of the longer answer; 1 where both are empty."""
        longer = self.n_shared + max(self.n_only(0), self.n_only(1))
        return self.n_shared / longer if longer else 1.0


class Comparison(Displayed):
    """What two answers have in common; see `compare`.

    Args:
        names: What the two are called.
        queries: The questions, in order.
    """

    _view = "comparison"

    #: Records of a query that are shown: twice as many as of a result, as two have them.
    display_rows = 2 * ROWS

    def __init__(self, names: tuple[str, str], queries: Sequence[ComparedQuery]) -> None:
        self.names = names
        self.queries = list(queries)

    @property
    def overlap(self) -> float:
        """The mean of the queries' overlaps, from 0 to 1; 1 without a query."""
        return sum(one.overlap for one in self.queries) / len(self.queries) if self.queries else 1.0

    def to_pandas(self) -> pd.DataFrame:
        """Return one row per record of each query: query, id, rank, distance, change, document."""
        rows = [
            (number, one.id, *one.ranks, *one.distances, one.change, one.document)
            for number, query in enumerate(self.queries)
            for one in query.records
        ]
        frame: pd.DataFrame = import_pandas().DataFrame(rows, columns=_COLUMNS)
        # Integers, although some are missing.
        whole = ["query", "rank_first", "rank_second", "change"]
        return frame.astype(dict.fromkeys(whole, "Int64"))

    def __repr__(self) -> str:
        n = len(self.queries)
        first, second = (clean(brief(name, 40)) for name in self.names)
        return f"Comparison({first}, {second}: {n:,} {'query' if n == 1 else 'queries'}, overlap {self.overlap:.2f})"


@public_call
def compare(
    first: QueryResult | SearchResult | Collection,
    second: QueryResult | SearchResult | Collection,
    *,
    names: Sequence[str] | None = None,
    **query: Any,
) -> Comparison:
    """Compare two answers: what both found, what moved, what only one found.

    ``compare(notes.query(query_texts=["bear"]), notes.query(query_texts=["a large furry animal"]))`` compares two
    questions; ``compare(with_minilm, with_static, query_texts=questions)`` two collections, such as with different
    embedding functions or values of ``ef_search``. The answers of `Collection.search` are compared as those of `query` are; they
    have scores, and no distances.

    Args:
        first: An answer, or a collection that is asked.
        second: The other.
        names: What the two are called; the collections' names, or "first" and "second".
        **query: For collections: what `Collection.query` takes.

    Returns:
        A table in a notebook; `.overlap`, `.queries`, `.to_pandas()`.

    Raises:
        InvalidArgumentError: There is nothing to ask a collection, something to ask an answer, or the two answers are to different
            numbers of questions.
    """
    pair = (first, second)
    asks = [not isinstance(one, QueryResult | SearchResult) for one in pair]
    for one, is_asked in zip(pair, asks, strict=True):
        if is_asked and not hasattr(one, "query"):
            raise InvalidArgumentError(
                f"Expected a QueryResult, a SearchResult or a Collection to compare, got {with_article(type(one))}: {brief(one, quoted=True)}."
            )
    if any(asks) and not query:
        raise InvalidArgumentError(
            "There is nothing to ask the collection. Say what: compare(a, b, query_texts=[...])."
        )
    if query and not any(asks):
        raise InvalidArgumentError(
            f"Both are answers already, which {brief(next(iter(query)), quoted=True)} changes no more. Give collections to ask "
            "them."
        )
    answers: list[QueryResult | SearchResult] = [
        one if isinstance(one, QueryResult | SearchResult) else one.query(**query) for one in pair
    ]
    sizes = [len(one.get("ids") or ()) for one in answers]
    if sizes[0] != sizes[1]:
        raise InvalidArgumentError(
            f"The first answer is to {sizes[0]:,} questions, the second to {sizes[1]:,}. Compare answers to as many: one by one, "
            "or all of them."
        )
    queries = [_query(answers[0], answers[1], row) for row in range(sizes[0])]
    return Comparison(_names(pair, asks, names), queries)


def _names(pair: tuple[Any, Any], asks: Sequence[bool], given: Any) -> tuple[str, str]:
    if given is not None:
        names = isinstance(given, Iterable) and not isinstance(given, str)
        found = list(itertools.islice(map(str, given), 3)) if names else [str(given)]
        if len(found) != 2:
            raise InvalidArgumentError(f"Expected two names, got {brief(given, quoted=True)}.")
        return found[0], found[1]
    known = [one.name if asked else "" for one, asked in zip(pair, asks, strict=True)]
    return (known[0], known[1]) if all(known) and known[0] != known[1] else _NAMES


def _query(
    first: QueryResult | SearchResult, second: QueryResult | SearchResult, row: int
) -> ComparedQuery:
    """Return one question's two answers."""
    places = [
        {one: rank for rank, one in enumerate(found["ids"][row], 1)} for found in (first, second)
    ]
    records = []
    for one in dict.fromkeys([*places[0], *places[1]]):
        ranks = (places[0].get(one), places[1].get(one))
        distances = (
            _part(first, "distances", row, ranks[0]),
            _part(second, "distances", row, ranks[1]),
        )
        texts = [
            _part(found, "documents", row, rank)
            for found, rank in zip((first, second), ranks, strict=True)
        ]
        document = next((text for text in texts if text is not None), None)
        records.append(ComparedRecord(one, ranks, distances, document))
    asked = tuple(
        found.asked[row] if found.asked is not None and row < len(found.asked) else None
        for found in (first, second)
    )
    return ComparedQuery((asked[0], asked[1]), records)


def _part(found: QueryResult | SearchResult, name: str, row: int, rank: int | None) -> Any:
    """Return a part of a record of an answer; None where the answer has neither."""
    values = found.get(name)
    if values is None or rank is None:
        return None
    # Whoever made or changed the answer may have left something out; a search returns what it selects.
    column = values[row] if row < len(values) else None
    return column[rank - 1] if column is not None and rank <= len(column) else None
