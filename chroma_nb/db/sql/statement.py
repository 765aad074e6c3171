"""`Statement`: the names that one SQL statement uses, and where they stand."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from chroma_nb.db.sql.names import fold

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(eq=False)
class Scope:
    """One SELECT: the tables that its column names can mean, and the SELECT around it."""

    outer: Scope | None = None
    #: Alias, folded -> the table as written; None for one that the query makes itself.
    tables: dict[str, str | None] = field(default_factory=dict)
    #: The order of the rows that it reads makes no difference.
    is_orderless: bool = False

    def chain(self) -> Iterator[Scope]:
        """Yield this one and those around it."""
        scope: Scope | None = self
        while scope is not None:
            yield scope
            scope = scope.outer

    def find(self, alias: str) -> tuple[bool, str | None]:
        """Say whether there is a table of this alias, and return its name, or None where the query makes it."""
        for scope in self.chain():
            if fold(alias) in scope.tables:
                return True, scope.tables[fold(alias)]
        return False, None


@dataclass(frozen=True)
class ColumnUse:
    """A column name where it stands: one part, or several with a table before it or a field after it."""

    parts: tuple[str, ...]
    scope: Scope

    @property
    def name(self) -> str:
        """The column's name."""
        return self.parts[1] if self.is_of_one_table else self.parts[0]

    @property
    def is_of_one_table(self) -> bool:
        """The table is named before the column."""
        return len(self.parts) > 1 and self.scope.find(self.parts[0])[0]

    def levels(self) -> Iterator[list[str | None]]:
        """Yield the tables that may be meant, those of the innermost SELECT first.

        A table is None where the query makes it itself.
        """
        if self.is_of_one_table:
            yield [self.scope.find(self.parts[0])[1]]
        else:
            for scope in self.scope.chain():
                yield list(scope.tables.values())


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
        defined: Names that the query itself gives to columns, folded.
        system_views: System views that cannot be collections: functions, names with a schema, SHOW.
        parameters: Names of its parameters; numbers for those without one.
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
    defined: set[str] = field(default_factory=set)
    system_views: list[str] = field(default_factory=list)
    parameters: set[str] = field(default_factory=set)
    starred_alone: str | None = None

    def names(self) -> set[str]:
        """Return the names of columns that it uses, as written."""
        return {use.name for use in self.columns}
