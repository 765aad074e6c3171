"""`check_names`: refuses names that DuckDB would take for others, as it does not tell apart what differs in case.

A key `Author` of one collection and `author` of another meet wherever a query makes tables: in subqueries, WITH,
UNION BY NAME, whole rows. So what each name means is followed through all of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from chroma_nb.db.sql.columns import RECORD_COLUMNS, Columns
from chroma_nb.db.sql.names import fold, sql_identifier
from chroma_nb.db.sql.statement import MadeTable
from chroma_nb.errors import InvalidArgumentError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from chroma_nb.db.sql.statement import ColumnUse, Source, Statement


def check_names(statement: Statement, columns: Mapping[str, Columns]) -> None:
    """Refuse names that may mean several things, before DuckDB chooses one of them.

    DuckDB finds ``Author`` where a query says ``author``. Names of a collection's own are looked at in its `Columns`.
    Here they are followed through what a query makes of collections: subqueries, WITH, UNION, whole rows.

    Raises:
        InvalidArgumentError: There is one.
    """
    names = _Names(statement, columns)
    try:
        for use in statement.columns:
            if not use.is_argument:
                names.check_use(use)
        for left, right, what in statement.matched:
            names.check_matched(left, right, what)
        names.check_rows()
    except RecursionError as error:
        raise InvalidArgumentError("The query is nested too deeply to be checked.") from error


class _Names:
    """What the names of one statement mean."""

    def __init__(self, statement: Statement, columns: Mapping[str, Columns]) -> None:
        self._statement = statement
        self._columns = columns
        # What is asked of a table is kept: many tables may be made of one, and many of each of these.
        self._reasons: dict[tuple[MadeTable, str], str] = {}
        self._found: dict[tuple[MadeTable, str], bool] = {}
        #: Table -> its columns: folded -> as written -> it is a key.
        self._known: dict[MadeTable | str, dict[str, dict[str, bool]]] = {}

    def check_use(self, use: ColumnUse) -> None:
        """Refuse a name that DuckDB would take for another."""
        for tables, given in use.levels():
            is_found = False
            for table in tables:
                self._refuse(self._why(table, use.name, given))
                is_found = is_found or self._has(table, use.name)
            if is_found:
                break
            if any(isinstance(table, MadeTable) for table in tables):
                # Fields of whole rows become columns again: unnest(row).
                for row in self._statement.rows:
                    self._refuse(self._why(row, use.name, set()))

    def check_matched(self, left: Iterable[Source], right: Iterable[Source], what: str) -> None:
        """Refuse to match columns by name whose letters differ."""
        others = self._merged(right)
        for name, written in self._merged(left).items():
            both = {**written, **others.get(name, {})}
            if name in others and len(both) > 1 and any(both.values()):
                shown = " and ".join(sorted(map(repr, both)))
                raise InvalidArgumentError(
                    f"{what} would take {shown} for one column, and names count by their letters. Select the columns "
                    "by name, in quotes, and give them names with AS: one where they belong together, else two."
                )

    def check_rows(self) -> None:
        """Refuse fields of whole rows that DuckDB would take for others."""
        statement = self._statement
        # A row twice is one table.
        rows = list(dict.fromkeys(statement.rows))
        for place, row in enumerate(rows):
            self.check_matched(rows[:place], [row], "A query that uses whole rows of both")
            for use in statement.columns:
                for name in use.fields:
                    self._refuse(self._why(row, name, set()))
            for name in statement.fields:
                self._refuse(self._why(row, name, set()))
            if statement.computed_fields and any(
                map(any, map(dict.values, self._of(row).values()))
            ):
                raise InvalidArgumentError(
                    "This query takes fields out of whole rows by names that are not written out, and SQL does not tell "
                    "apart names that differ in case. Select the columns by name instead of the row."
                )

    @staticmethod
    def _refuse(why: str) -> None:
        if why:
            raise InvalidArgumentError(why)

    def _why(self, table: Source, name: str, given: set[str]) -> str:
        """Return why a name of this table is refused; an empty text if it is not."""
        if isinstance(table, str):
            columns = self._columns.get(table)
            if columns is None:
                return ""
            if (
                fold(name) in given
                and fold(name) not in RECORD_COLUMNS
                and columns.find(name) is None
            ):
                # DuckDB finds what the query names so: a view has no column of an ambiguous name.
                return ""
            return columns.ambiguity(name, table)
        if (table, name) not in self._reasons:
            self._reasons[table, name] = self._why_made(table, name)
        return self._reasons[table, name]

    def _why_made(self, table: MadeTable, name: str) -> str:
        written = self._of(table).get(fold(name), {})
        others = sorted(one for one, is_key in written.items() if is_key and one != name)
        if not others:
            if written:
                return ""
            why = (
                self._why(source, name, set())
                for source, without in table.stars
                if fold(name) not in without
            )
            found = next(filter(None, why), "")
            if not found and any("\\" in one for one in table.own) and not self._has(table, name):
                return (
                    f"What {name!r} means here cannot be told: it may be a name that COLUMNS(...) AS makes of another by "
                    "a pattern. Select the columns by name, in quotes, and name them with AS."
                )
            return found
        shown = " and ".join(map(sql_identifier, others))
        if name in written:
            return (
                f"What {name!r} means here cannot be told, as SQL does not tell it from {shown}. Select the columns by "
                'name, in quotes, and give them different names: SELECT "a" AS x.'
            )
        return (
            f"There is no column {name!r} here: names count by their letters, and there is {shown}. Write it so, in "
            "quotes, or give it another name with AS where it is selected."
        )

    def _has(self, table: Source, name: str) -> bool:
        if isinstance(table, str):
            columns = self._columns.get(table)
            return columns is not None and (
                fold(name) in RECORD_COLUMNS or columns.find(name) is not None
            )
        if (table, name) not in self._found:
            self._found[table, name] = fold(name) in self._of(table) or any(
                self._has(source, name)
                for source, without in table.stars
                if fold(name) not in without
            )
        return self._found[table, name]

    def _of(self, table: Source) -> dict[str, dict[str, bool]]:
        """Return the names of a table's columns but those of every record: folded -> as written -> it is a key."""
        if table not in self._known:
            found: dict[str, dict[str, bool]] = {}
            # A table that reads itself (WITH RECURSIVE) finds nothing new.
            self._known[table] = found
            for name, is_key in self._names_of(table):
                written = found.setdefault(fold(name), {})
                written[name] = written.get(name, False) or is_key
        return self._known[table]

    def _names_of(self, table: Source) -> Iterator[tuple[str, bool]]:
        if isinstance(table, str):
            if table in self._columns:
                yield from ((one.name, True) for one in self._columns[table].all())
            return
        for source, without in table.stars:
            for name, written in self._of(source).items():
                if name not in without:
                    yield from written.items()
        for use in table.uses:
            name = use.parts[-1]
            yield name, self._is_key(use)
        yield from ((name, False) for name in table.own)

    def _is_key(self, use: ColumnUse) -> bool:
        """Say whether a column that is selected under its own name is that of a key."""
        for tables, _ in use.levels():
            found = [
                self._of(table)[fold(use.name)]
                for table in tables
                if fold(use.name) in self._of(table)
            ]
            if found:
                return any(any(written.values()) for written in found)
            if any(self._has(table, use.name) for table in tables):
                return False
        # Else it is the field of a row.
        return bool(self._statement.rows)

    def _merged(self, tables: Iterable[Source]) -> dict[str, dict[str, bool]]:
        merged: dict[str, dict[str, bool]] = {}
        for table in tables:
            for name, written in self._of(table).items():
                merged.setdefault(name, {}).update(written)
        return merged
