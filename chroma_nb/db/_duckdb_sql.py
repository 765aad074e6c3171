"""`answer_sql`: one question in SQL about the collections of one tenant and database.

Each collection that a query names becomes a view for the time of the query. It is read from the store's own
DuckDB instance and not from a second one that holds only what may be seen. A second instance would have to
be fed: all values of a million records as Python objects take seconds and hundreds of megabytes for a query
that reads one column in milliseconds, and several collections would have to be copied within one
transaction to be of one moment. What a second instance would give is had in other ways, each of which would
do alone for most attacks:

* the query is read before it runs (`Statement`): one SELECT, with kinds of tables, expressions and table
  functions that are known, and no table but a collection's or the query's own;
* unqualified names cannot reach the store's tables: the cursor uses a database that is empty, and names with
  a schema are refused. The tables' names hold a collection's id, which is random;
* the transaction only reads, and it is one: whatever a query names is of one moment;
* the whole instance has no access to files but its own and those of its temporary folder, and neither
  extensions nor Python variables can become tables.

Questions about what there is (``SHOW TABLES``, ``information_schema``) go to a second instance after all: one
that is made for the question and holds an empty table for each collection.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn
from uuid import UUID

import duckdb

from chroma_nb.db._sql_catalogue import VIEWS, Shown, is_about_names_alone, open_catalogue
from chroma_nb.db._sql_columns import OWN, Columns, quoted, read_types, text
from chroma_nb.db._sql_frame import InexactError, comes_as_arrays, read_frame
from chroma_nb.db._sql_parameters import plain_parameters
from chroma_nb.db._sql_pivot import PivotValues
from chroma_nb.db._sql_statement import (
    NotSelectError,
    Statement,
    first_word,
    fold,
    parse,
    read_statement,
)
from chroma_nb.db._sql_thread import Work, run_interruptibly
from chroma_nb.db._sql_vectors import MovedError, Reader, VectorFunction
from chroma_nb.errors import InternalError, InvalidArgumentError
from chroma_nb.suggest import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    import pandas as pd

    from chroma_nb.db.base import VectorSource
    from chroma_nb.errors import MemoryBudgetError

#: The empty database in which names are looked up.
EMPTY_DATABASE = "chroma_nb_sql"
#: A query may have to begin anew when a collection is compacted while it runs.
_ATTEMPTS = 5
#: Columns that ``*`` has at most: DuckDB binds each one anew for every query.
_MAX_COLUMNS = 2_000
#: Collections whose columns are remembered.
_REMEMBERED = 1_024
#: Names that an error lists.
_NAMED = 10
_NOT_THE_QUERYS_FAULT = (duckdb.IOException, duckdb.InternalException, duckdb.FatalException)
_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NAME_IN_ERROR = re.compile(r"(?:[Cc]olumn|named) \"((?:[^\"]|\"\")+)\"")


@dataclass(frozen=True)
class SqlStore:
    """What a question needs of the store."""

    #: Opens a cursor of its own; closing it ends its transaction.
    asking: Callable[[], AbstractContextManager[duckdb.DuckDBPyConnection]]
    #: Vectors of one generation of a collection; None where that is gone.
    vectors_at: Callable[[UUID, int], VectorSource | None]
    #: Whether that generation is still there.
    is_at: Callable[[UUID, int], bool]
    memory_error: Callable[[], MemoryBudgetError]
    #: Told when DuckDB itself has failed.
    failed: Callable[[], None]
    columns: RememberedColumns
    vectors: VectorFunction


@dataclass(frozen=True)
class _Collection:
    id: UUID
    name: str
    dimension: int | None
    n_records: int
    generation: int
    version: int

    @property
    def table(self) -> str:
        return f"records_{self.id.hex}_{self.generation}"


class RememberedColumns:
    """The columns of collections that were asked about lately: finding them reads all metadata."""

    def __init__(self) -> None:
        self._known: OrderedDict[UUID, tuple[tuple[int, int], Columns]] = OrderedDict()

    def get(self, collection: _Collection) -> Columns | None:
        """Return the columns of this version of a collection, where they are known."""
        known = self._known.get(collection.id)
        if known is None or known[0] != (collection.generation, collection.version):
            return None
        # Another thread may let go of it at this moment.
        with contextlib.suppress(KeyError):
            self._known.move_to_end(collection.id)
        return known[1]

    def add(self, collection: _Collection, columns: Columns) -> None:
        """Remember the columns of this version of a collection."""
        self._known[collection.id] = (collection.generation, collection.version), columns
        while len(self._known) > _REMEMBERED:
            with contextlib.suppress(KeyError):
                self._known.popitem(last=False)


def answer_sql(
    store: SqlStore, query: object, parameters: object, tenant: str, database: str
) -> pd.DataFrame:
    """Answer one SELECT, or EXPLAIN of one.

    Raises:
        InvalidArgumentError: Not one reading statement, a name that no collection or column has, or a
            query that fails.
        MemoryBudgetError: DuckDB, or the answer, needs more memory than there is.
        KeyboardInterrupt: It was interrupted.
        InternalError: The disk failed, or DuckDB.
    """
    given = plain_parameters(parameters)

    def task(work: Work[pd.DataFrame]) -> pd.DataFrame:
        for _ in range(_ATTEMPTS):
            with store.asking() as cursor:
                work.attach(cursor)
                try:
                    with contextlib.closing(_Question(store, cursor, work)) as question:
                        return question.answer(query, given, tenant, database)
                except MovedError:
                    continue
                finally:
                    work.detach()
        raise InternalError(
            f"A collection of this query was rewritten {_ATTEMPTS} times while it was read. Repeat the call "
            "when less is deleted and changed."
        )

    return run_interruptibly(task)


class _Question:
    """One query, within one transaction."""

    def __init__(
        self, store: SqlStore, cursor: duckdb.DuckDBPyConnection, work: Work[pd.DataFrame]
    ) -> None:
        self._store = store
        self._cursor = cursor
        self._work = work
        #: The database that has the store's tables, as SQL.
        self._database = ""
        self._collections: dict[str, _Collection] = {}
        #: An answer names the types of its columns; DuckDB before 2 calls every number NUMBER.
        self._has_types = False
        #: Collection -> expression that reads its embeddings.
        self._embeddings: dict[str, str] = {}
        self._readers: dict[int, Reader] = {}

    def answer(self, query: object, given: Any, tenant: str, database: str) -> pd.DataFrame:
        try:
            self._begin(tenant, database)
            statement = self._read(query, given)
            self._prepare(statement)
            if statement.catalogue:
                with open_catalogue(self._shown_collections(statement)) as cursor:
                    self._work.attach(cursor)
                    return self._run(cursor, statement, given)
            return self._run(self._cursor, statement, given)
        except duckdb.Error as error:
            self._raise_for(error, None)

    def _begin(self, tenant: str, database: str) -> None:
        """Begin the transaction with a look at what there is: from here on it is of this moment."""
        cursor = self._cursor
        self._database = quoted(cursor.execute("SELECT current_database()").fetchall()[0][0])
        cursor.execute(f"USE {EMPTY_DATABASE}")
        cursor.execute("BEGIN TRANSACTION READ ONLY")
        cursor.execute(
            "SELECT id, name, dimension, n_records, generation, version FROM "
            f"{self._database}.main.collections WHERE tenant = ? AND database = ? ORDER BY created",
            [tenant, database],
        )
        description: Any = cursor.description
        self._has_types = not isinstance(description[0][1], str)
        self._collections = {
            row[1]: _Collection(UUID(row[0]), *row[1:]) for row in cursor.fetchall()
        }

    # -- reading ------------------------------------------------------------------------------

    def _read(self, query: object, given: Any) -> Statement:
        try:
            return read_statement(self._cursor, query)
        except InvalidArgumentError as error:
            # DuckDB takes no parameters in what it makes two statements of, and says so when it reads it.
            if isinstance(error, NotSelectError) or "PIVOT statements" in error.message():
                expanded = self._with_pivot_values(str(query), given)
                if expanded is not None:
                    return read_statement(self._cursor, expanded)
            raise InvalidArgumentError(
                f"{error.message()}{self._quoting_hint(str(query))}"
            ) from error.__cause__

    def _with_pivot_values(self, query: str, given: Any) -> str | None:
        """Return the query with the values written out that its PIVOTs make columns of."""
        pivots = PivotValues(query)
        while (inquiry := pivots.next_inquiry()) is not None:
            statement = read_statement(self._cursor, inquiry)
            self._prepare(statement)
            if statement.catalogue:
                raise InvalidArgumentError(
                    "PIVOT of what there is needs its columns written out: ON name IN ('a', 'b')."
                )
            chosen = _chosen_parameters(statement, given)
            try:
                rows = self._cursor.execute(inquiry, chosen).fetchall()
            except duckdb.Error as error:
                self._raise_for(error, statement)
            pivots.give([value for (value,) in rows])
        return pivots.text

    # -- names --------------------------------------------------------------------------------

    def _prepare(self, statement: Statement) -> None:
        """Make a view of each collection that the query names, with the columns that it needs."""
        used = self._resolve(statement)
        if statement.catalogue:
            if used:
                raise InvalidArgumentError(
                    f"A query asks either what there is ({', '.join(statement.catalogue)}) or what is in a "
                    f"collection ({', '.join(map(repr, used))}). Use two queries."
                )
            return
        # Finding the columns reads all metadata, which a query for the collection's own need not wait for.
        are_own = statement.names() <= set(OWN)
        columns = {
            name: self._columns(one)
            if name in statement.whole or not are_own
            else Columns({}, one.dimension)
            for name, one in used.items()
        }
        _check_columns(statement, columns)
        for name in statement.shadowed:
            if not any(fold(name) == fold(one) for one in used):
                # Where WITH made no table of this name, there is none: not one of DuckDB's own either.
                self._cursor.execute(
                    f"CREATE OR REPLACE TEMP VIEW {quoted(name)} AS SELECT error('There is no such table.')"
                )
        for name, one in used.items():
            self._work.check()
            self._cursor.execute(
                f"CREATE OR REPLACE TEMP VIEW {quoted(name)} AS "
                + self._view(one, columns[name], statement)
            )

    def _resolve(self, statement: Statement) -> dict[str, _Collection]:
        """Find the collections that a query names."""
        for path in statement.qualified:
            raise InvalidArgumentError(self._unknown_path(path))
        own = {fold(name): name for name in statement.shadowed}
        used: dict[str, _Collection] = {}
        for name in statement.tables:
            mine = own.get(fold(name), name)
            found = self._collections.get(name)
            if found is None and mine == name:
                if fold(name) not in VIEWS:
                    raise InvalidArgumentError(self._unknown_table(name))
                statement.catalogue.append(name)
            if found is None:
                continue
            twin = next((one for one in used if fold(one) == fold(name) and one != name), None)
            if twin is None and mine != name:
                twin = mine
            if twin is not None:
                raise InvalidArgumentError(
                    f"SQL does not tell {twin!r} from {name!r}, and this query names both. Ask about each in a "
                    "query of its own, or give the table that WITH makes another name."
                )
            used[name] = found
        return used

    def _columns(self, collection: _Collection) -> Columns:
        columns = self._store.columns.get(collection)
        if columns is None:
            types = read_types(self._cursor, self._table(collection))
            columns = Columns(types, collection.dimension)
            self._store.columns.add(collection, columns)
        return columns

    def _table(self, collection: _Collection) -> str:
        return f"{self._database}.main.{quoted(collection.table)}"

    def _view(self, collection: _Collection, columns: Columns, statement: Statement) -> str:
        name = collection.name
        selected = ["r.id", "r.document", "r.uri", "CAST(r.metadata AS JSON) AS metadata"]
        if name in statement.described or _means_embedding(statement, name):
            selected.append(f"{self._embedding(collection)} AS embedding")
        wanted = columns.all()
        if name not in statement.whole:
            names = {fold(one) for one in statement.names()}
            wanted = [one for one in wanted if fold(one.name) in names]
        elif len(wanted) > _MAX_COLUMNS:
            raise InvalidArgumentError(
                f"Collection {name!r} has {len(wanted):,} metadata keys, and * has {_MAX_COLUMNS:,} columns at "
                "most. Name the columns that you want; the column metadata holds all of them."
            )
        selected += [f"{one.expression} AS {quoted(one.name)}" for one in wanted]
        order = "" if name in statement.unordered else " ORDER BY sequence"
        # What is computed comes after the order, so that LIMIT spares it.
        return f"SELECT {', '.join(selected)} FROM (SELECT * FROM {self._table(collection)}{order}) AS r"

    def _embedding(self, collection: _Collection) -> str:
        """Return the expression that reads a record's embedding, when and where it is wanted."""
        if collection.dimension is None:
            return "CAST(NULL AS FLOAT[])"
        if collection.name not in self._embeddings:
            store, place = self._store, (collection.id, collection.generation)
            source = store.vectors_at(*place)
            if source is None:
                raise MovedError
            reader = Reader(source.read, lambda: store.is_at(*place))
            number, self._embeddings[collection.name] = store.vectors.open(
                reader, collection.n_records, collection.dimension
            )
            self._readers[number] = reader
        return self._embeddings[collection.name]

    def close(self) -> None:
        """Let go of what reads vectors."""
        for number in self._readers:
            self._store.vectors.close(number)

    def _raise_for(self, error: duckdb.Error, statement: Statement | None) -> NoReturn:
        """Raise what an error of DuckDB's comes from."""
        for reader in self._readers.values():
            if reader.error is not None:
                raise reader.error from error
        raise self._translated(error, statement) from error

    # -- answers ------------------------------------------------------------------------------

    def _run(
        self, cursor: duckdb.DuckDBPyConnection, statement: Statement, given: Any
    ) -> pd.DataFrame:
        self._work.check()
        try:
            if statement.is_explain:
                return self._explain(cursor, statement, given)
            types = None if self._has_types else _described_types(cursor, statement, given)
            cursor.execute(statement.text, given)
            names = [column[0] for column in cursor.description or ()]
            if self._has_types:
                types = [str(column[1]) for column in cursor.description or ()]
            try:
                frame = read_frame(cursor, types, as_arrays=comes_as_arrays(types))
            except InexactError:
                self._work.check()
                cursor.execute(statement.text, given)
                frame = read_frame(cursor, types, as_arrays=False)
        except duckdb.Error as error:
            self._raise_for(error, statement)
        if statement.starred_alone and names.count("embedding") > 1:
            # Named beside a *, which has it then, it is there once.
            once = [
                place
                for place, name in enumerate(names)
                if name != "embedding" or place == names.index(name)
            ]
            frame = frame.iloc[:, once]
        return frame

    def _explain(
        self, cursor: duckdb.DuckDBPyConnection, statement: Statement, given: Any
    ) -> pd.DataFrame:
        import pandas as pd

        rows = cursor.execute(f"EXPLAIN (FORMAT JSON) {statement.text}", given).fetchall()
        plans = [
            "\n".join(_plan_lines(node, self._shown)) for row in rows for node in json.loads(row[1])
        ]
        return pd.DataFrame({"explain_key": [row[0] for row in rows], "explain_value": plans})

    def _shown(self, said: str) -> str:
        """Return a text of DuckDB's with the names that the user knows."""
        for one in self._collections.values():
            if one.table in said:
                for written in (f"{self._database[1:-1]}.main.{one.table}", one.table):
                    said = said.replace(written, one.name)
        return said

    def _shown_collections(self, statement: Statement) -> Iterator[Shown]:
        names_alone = is_about_names_alone(statement.catalogue)
        for one in self._collections.values():
            self._work.check()
            columns = Columns({}, one.dimension) if names_alone else self._columns(one)
            listed = {**columns.own, **{each.name: each.type for each in columns.all()}}
            yield Shown(one.name, one.n_records, listed)

    # -- errors -------------------------------------------------------------------------------

    def _translated(self, error: duckdb.Error, statement: Statement | None) -> BaseException:
        if isinstance(error, duckdb.InterruptException):
            if self._work.is_cancelled:
                return KeyboardInterrupt()
            return InternalError(
                "The store was closed while this query ran. Open a new client to go on."
            )
        if isinstance(error, duckdb.OutOfMemoryException):
            return self._store.memory_error()
        # Nothing can be asked in a transaction that has failed, and the hints ask.
        with contextlib.suppress(duckdb.Error):
            self._cursor.execute("ROLLBACK")
        said = self._shown(str(error))
        if isinstance(error, _NOT_THE_QUERYS_FAULT):
            if not isinstance(error, duckdb.IOException):
                self._store.failed()
            return InternalError(f"DuckDB could not answer this query: {said}")
        # DuckDB's own suggestions are of names that it can see, and some of these are not meant to be seen.
        said = re.sub(r"\n?(Candidate (bindings|tables):[^\n]*|Did you mean[^\n]*)", "", said)
        hint = ""
        if isinstance(error, duckdb.BinderException | duckdb.CatalogException):
            hint = self._column_hint(said, statement)
        return InvalidArgumentError(
            f"{said.strip()}\n{hint.strip()} {self._what_there_is()}".strip()
        )

    def _column_hint(self, said: str, statement: Statement | None) -> str:
        if statement is None:
            return ""
        known: list[str] = list(OWN)
        for name in dict.fromkeys(statement.tables):
            collection = self._collections.get(name)
            if collection is None:
                continue
            columns = self._store.columns.get(collection)
            if columns is None:
                # All names were those of the collection's own columns.
                continue
            known += [one.name for one in columns.all()]
            for use in statement.columns:
                why = columns.unclear(use.name, name)
                if why:
                    return why
        missing = _NAME_IN_ERROR.search(said)
        if missing is None:
            return self._quoting_hint(statement.text)
        name = missing[1].replace('""', '"')
        near = did_you_mean(quoted(name), map(quoted, known), " Did you mean {}?")
        quoting = self._quoting_hint(statement.text)
        if near or quoting:
            return near + quoting
        if f'"{name}"' in statement.text:
            return f"Texts stand in single quotes: {text(name)}."
        return ""

    def _unknown_table(self, name: str) -> str:
        near = [one for one in self._collections if fold(one) == fold(name)]
        if near:
            hint = (
                f" Collections count by their letters: there is {' and '.join(map(repr, near))}, "
                f"which you reach as {' and '.join(map(quoted, near))}."
            )
        else:
            hint = did_you_mean(name, self._collections, " Did you mean {!r}?")
        return f"There is no collection {name!r}.{hint} {self._what_there_is()}"

    def _unknown_path(self, path: tuple[str, ...]) -> str:
        whole = ".".join(path)
        hint = ""
        if whole in self._collections:
            hint = f" A name with a dot is quoted: {quoted(whole)}."
        elif path[-1] in self._collections:
            hint = f" A collection has no schema: write {quoted(path[-1])} alone."
        said = f"There is no table {whole!r}: client.sql() reads collections alone."
        return f"{said}{hint} {self._what_there_is()}"

    def _quoting_hint(self, query: str) -> str:
        """Return a hint where a collection is named that has to be quoted and is not."""
        for name in self._collections:
            pattern = rf"(?<![\w\"'.-]){re.escape(name)}(?![\w\"'-])"
            if re.search(pattern, query) and not self._is_plain(name):
                return f" The name {name!r} has to be quoted: {quoted(name)}."
        return ""

    def _is_plain(self, name: str) -> bool:
        if not _PLAIN_NAME.fullmatch(name):
            return False
        try:
            parse(self._cursor, f"SELECT * FROM {name}")
        except InvalidArgumentError:
            # A word of SQL's own.
            return False
        return True

    def _what_there_is(self) -> str:
        names = [repr(name) for name in list(self._collections)[:_NAMED]]
        more = len(self._collections) - len(names)
        listed = ", ".join(names) + (f" and {more:,} more" if more > 0 else "")
        return (
            f"(each collection is a view: {listed or 'there is none yet'}; columns {', '.join(OWN)}, and "
            "one for each metadata key)"
        )


def _check_columns(statement: Statement, columns: dict[str, Columns]) -> None:
    """Refuse names that may mean one thing or another, before DuckDB takes one of them."""
    for use in statement.columns:
        name = use.name
        if fold(name) in statement.defined and fold(name) not in OWN:
            # DuckDB finds what the query itself calls so, as a view has no column of a name with two meanings.
            continue
        for tables in use.levels():
            is_found = False
            for table in tables:
                if table is None or table not in columns:
                    continue
                why = columns[table].unclear(name, table)
                if why:
                    raise InvalidArgumentError(why)
                is_found = is_found or fold(name) in OWN or columns[table].find(name) is not None
            if is_found:
                break


def _means_embedding(statement: Statement, table: str) -> bool:
    """Say whether the query names the column embedding where this table may be meant."""
    return any(
        fold(use.name) == "embedding" and any(table in tables for tables in use.levels())
        for use in statement.columns
    )


def _described_types(
    cursor: duckdb.DuckDBPyConnection, statement: Statement, given: Any
) -> list[str] | None:
    """Return the types of an answer's columns; None where DESCRIBE does not take the query."""
    if first_word(statement.text) not in ("SELECT", "WITH", "FROM", "VALUES", "TABLE", "("):
        return None
    rows = cursor.execute(f"DESCRIBE {statement.text}", given).fetchall()
    return [row[1] for row in rows]


def _plan_lines(node: dict[str, Any], shown: Callable[[str], str], depth: int = 0) -> list[str]:
    """Return a plan as lines, what is done first the furthest in."""
    indent = "  " * depth
    lines = [f"{indent}{node['name'].strip()}"]
    for name, value in (node.get("extra_info") or {}).items():
        values = value if isinstance(value, list) else [value]
        said = shown(", ".join(str(one) for one in values))
        lines.append(f"{indent}  {name}: {said}" if said else f"{indent}  {name}")
    for child in node.get("children") or ():
        lines += _plan_lines(child, shown, depth + 1)
    return lines


def _chosen_parameters(statement: Statement, given: Any) -> Any:
    """Return the parameters that a part of a query has."""
    if not statement.parameters:
        return None
    if isinstance(given, dict):
        return {name: given[name] for name in statement.parameters if name in given}
    raise InvalidArgumentError(
        "A PIVOT over a part with parameters needs them named ($name, given as a dict), or its columns written "
        "out: ON name IN ('a', 'b')."
    )
