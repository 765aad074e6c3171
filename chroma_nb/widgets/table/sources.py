"""Where a table's rows come from, a page at a time: what is asked, and what a page of the answer is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from chroma_nb.collection.results import GetResult
    from chroma_nb.widgets.table.columns import Column


@dataclass(frozen=True)
class Question:
    """What somebody wants to see.

    Attributes:
        asked: The columns with a condition.
        contains: A text that the documents contain, as it is written; empty asks for nothing.
        order: The column to sort by, None for the order of insertion or of nearness.
        descending: From the largest to the smallest. Records without a value come last in both.
        only: The ids of the only records that may be there; None: all.
    """

    asked: Sequence[Column] = ()
    contains: str = ""
    order: Column | None = None
    descending: bool = False
    only: Sequence[str] | None = None


@dataclass(frozen=True)
class Record:
    """One row.

    Attributes:
        key: What names the row, whatever moves: a record's id, or its place in an answer.
        numbers: What an answer says of it: query, rank, distance, or score and the rank by each part of a search.
    """

    key: str
    id: str
    document: str | None = None
    uri: str | None = None
    metadata: dict[str, Any] | None = None
    numbers: dict[str, float] = field(default_factory=dict)

    def value(self, column: Column) -> Any:
        """Return what a column shows of it, None where it has nothing there."""
        if column.part == "metadata":
            return (self.metadata or {}).get(column.key)
        if column.part == "number":
            return self.numbers.get(column.key)
        return getattr(self, column.part)


@dataclass(frozen=True)
class Page:
    """Some rows of an answer.

    Attributes:
        records: The rows, in order.
        total: Rows of the whole answer; None where that would be a long question.
        more: Whether others follow.
        code: The calls that give the same, empty where there are none.
    """

    records: list[Record]
    total: int | None
    more: bool
    code: str = ""

    def last_offset(self, page_size: int) -> int | None:
        """Return how many rows are before the last page of this size; None where the total is not known."""
        return None if self.total is None else max(0, self.total - 1) // page_size * page_size


class Source(ABC):
    """Records that a table shows.

    Attributes:
        title: What they are, in a few words.
        can_sort: Whether pages come in another order than their own.
        note: What this source cannot do, as a sentence; empty where there is nothing.
        aliases: Other names of columns, as a result's own table has them -> the names here.
    """

    title: str = ""
    can_sort: bool = True
    note: str = ""
    aliases: Mapping[str, str] = {}
    #: Whether rows are records of a collection, so that their ids are their keys.
    is_collection: ClassVar[bool] = False

    @abstractmethod
    def columns(self) -> list[Column]:
        """Return what a table can show, asked anew."""

    @abstractmethod
    def page(self, question: Question, offset: int, n: int, *, documents: bool = True) -> Page:
        """Return `n` rows after the first `offset`; `documents` may be left out where nobody sees them."""

    @abstractmethod
    def record(self, key: str) -> Record | None:
        """Return one row, whole and as it is now; None where it is gone."""

    @abstractmethod
    def selection(self, keys: Sequence[str]) -> GetResult:
        """Return records by their rows."""

    @abstractmethod
    def forget(self) -> None:
        """Drop what is remembered of earlier questions: the next one is asked anew."""
