"""`Statement`: the names that one SQL statement uses, and where they stand."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeAlias

from chroma_nb.db.sql.names import fold

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence


@dataclass(eq=False)
class MadeTable:
    """A table that the query itself makes: what its columns are called, and where these names come from.

    Attributes:
        stars: Tables all of whose columns it has, but those of these names, folded.
        uses: Columns that it has under their own names.
        own: Names that the query gives, as written.
    """

    stars: list[tuple[Source, frozenset[str]]] = field(default_factory=list)
    uses: list[ColumnUse] = field(default_factory=list)
    own: set[str] = field(default_factory=set)

    def include(self, other: MadeTable) -> None:
        """Take over the columns of another."""
        self.stars += other.stars
        self.uses += other.uses
        self.own |= other.own

    def renamed(self, names: Sequence[str]) -> MadeTable:
        """Return it with other names for its first columns."""
        if not names:
            return self
        if not self.stars and len(names) >= len(self.uses) + len(self.own):
            return MadeTable(own=set(names))
        # Which columns keep their names depends on what a star stands for: so all may.
        return MadeTable(stars=[(self, frozenset())], own=set(names))


#: A table of a FROM: a name as written, or what the query makes.
Source: TypeAlias = "str | MadeTable"

#: Where views of collections are: a column may be written with these before its table.
_SCHEMAS = {"temp", "main"}


@dataclass(eq=False)
class Scope:
    """One SELECT: the tables that its column names can mean, and the SELECT around it."""

    outer: Scope | None = None
    #: Alias, folded -> the table.
    tables: dict[str, Source] = field(default_factory=dict)
    #: The order of the rows that it reads makes no difference.
    is_orderless: bool = False
    #: Names that it gives to the columns that it selects, folded.
    given: set[str] = field(default_factory=set)
    #: Names of a lambda's arguments, folded. They come before all columns.
    arguments: frozenset[str] = frozenset()
    #: Its answer.
    made: MadeTable = field(default_factory=MadeTable)

    def add(self, alias: str, table: Source) -> None:
        """Add a table; one without an alias is found by its columns alone."""
        self.tables[fold(alias) or f"\0{len(self.tables)}"] = table

    def chain(self) -> Iterator[Scope]:
        """Yield this one and those around it."""
        scope: Scope | None = self
        while scope is not None:
            yield scope
            scope = scope.outer

    def find(self, alias: str) -> Source | None:
        """Return the table of this alias."""
        for scope in self.chain():
            if fold(alias) in scope.tables:
                return scope.tables[fold(alias)]
        return None

    def within_lambda(self, arguments: Iterable[str]) -> Scope:
        """Return the same scope as the body of a lambda sees it."""
        return replace(self, arguments=self.arguments.union(map(fold, arguments)))


@dataclass(frozen=True)
class ColumnUse:
    """A column name where it stands: one part, or several with a table before it or a field after it."""

    parts: tuple[str, ...]
    scope: Scope

    def _place(self) -> int:
        """Return how many parts come before the column's name."""
        for place in range(1, len(self.parts)):
            if self.scope.find(self.parts[place - 1]) is not None:
                return place
            if fold(self.parts[place - 1]) not in _SCHEMAS:
                break
        return 0

    @property
    def name(self) -> str:
        """The column's name."""
        return self.parts[self._place()]

    @property
    def fields(self) -> tuple[str, ...]:
        """What follows the column's name: names of fields within its value."""
        return self.parts[self._place() + 1 :]

    @property
    def is_argument(self) -> bool:
        """It is the argument of a lambda."""
        return any(fold(self.parts[0]) in scope.arguments for scope in self.scope.chain())

    @property
    def row_of(self) -> Source | None:
        """The table whose whole rows it may mean (``SELECT docs FROM docs``)."""
        if all(fold(part) in _SCHEMAS for part in self.parts[:-1]):
            return self.scope.find(self.parts[-1])
        return None

    def levels(self) -> Iterator[tuple[list[Source], set[str]]]:
        """Yield the tables that may be meant, those of the innermost SELECT first, with the names that it gives."""
        place = self._place()
        if place:
            table = self.scope.find(self.parts[place - 1])
            yield [] if table is None else [table], set()
        else:
            for scope in self.scope.chain():
                yield list(scope.tables.values()), scope.given


@dataclass
class Statement:
    """The names that one statement uses.

    Attributes:
        text: The SELECT, without EXPLAIN.
        is_explain: Its plan is wanted, not its answer.
        tables: Names of tables without a schema that the query does not make itself, as written.
        qualified: Names of tables with a schema, other than those of system views.
        cte_names: Names of the tables that WITH makes.
        starred: Tables all of whose columns are used (``*`` and the like), as written.
        described_tables: Tables that DESCRIBE is about.
        unordered: Tables whose rows may come in any order, wherever the statement reads them.
        columns: Column names and where they stand.
        matched: Pairs of tables whose columns are matched by name, and what does it (NATURAL JOIN, UNION BY NAME).
        rows: Tables whose whole rows are used as values.
        fields: Names of fields that are taken out of values.
        computed_fields: Some of these names are not written out.
        system_views: System views that cannot be collections: functions, names with a schema, SHOW.
        parameters: Names of its parameters; numbers for those without one.
        patterns: Regular expressions that are written out.
        pattern_parameters: Names of the parameters that are regular expressions.
        starred_alone: The one table of a query that selects its ``*`` and columns by name, and nothing else.
    """

    text: str
    is_explain: bool = False
    tables: list[str] = field(default_factory=list)
    qualified: list[tuple[str, ...]] = field(default_factory=list)
    cte_names: set[str] = field(default_factory=set)
    starred: set[str] = field(default_factory=set)
    described_tables: set[str] = field(default_factory=set)
    unordered: set[str] = field(default_factory=set)
    columns: list[ColumnUse] = field(default_factory=list)
    matched: list[tuple[list[Source], list[Source], str]] = field(default_factory=list)
    rows: list[Source] = field(default_factory=list)
    fields: list[str] = field(default_factory=list)
    computed_fields: bool = False
    system_views: list[str] = field(default_factory=list)
    parameters: set[str] = field(default_factory=set)
    patterns: list[str] = field(default_factory=list)
    pattern_parameters: set[str] = field(default_factory=set)
    starred_alone: str | None = None

    def names(self) -> set[str]:
        """Return the names of columns that it uses, as written."""
        return {use.name for use in self.columns}
