"""`answer_sql`: answers one query, within one transaction."""

from __future__ import annotations

import contextlib
import json
import re
from typing import TYPE_CHECKING, Any, NoReturn
from uuid import UUID

import duckdb

from chroma_nb.db.chunks import CHUNK_ROWS, IS_RECORD
from chroma_nb.db.interruptible import Work, run_interruptibly
from chroma_nb.db.sql.allowed import SYSTEM_VIEWS
from chroma_nb.db.sql.columns import RECORD_COLUMNS, Columns, read_columns
from chroma_nb.db.sql.errors import QueryErrors
from chroma_nb.db.sql.frame import WAYS_OUT, n_numbers, read_frame
from chroma_nb.db.sql.letters import check_names
from chroma_nb.db.sql.names import fold, sql_identifier
from chroma_nb.db.sql.parameters import plain_parameters
from chroma_nb.db.sql.patterns import check_patterns
from chroma_nb.db.sql.pivot import PivotValues
from chroma_nb.db.sql.store import CollectionVersion, Snapshot
from chroma_nb.db.sql.system_views import ListedCollection, need_names_alone, open_system_views
from chroma_nb.db.sql.tokens import first_word, quote_reserved
from chroma_nb.db.sql.tree import NotSelectError, UnreadableError, read_statement
from chroma_nb.db.sql.vectors import MovedError, QueryVectors
from chroma_nb.errors import InternalError, InvalidArgumentError, MemoryBudgetError
from chroma_nb.memory.preflight import require
from chroma_nb.memory.sizes import format_bytes
from chroma_nb.memory.trim import return_memory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import pandas as pd

    from chroma_nb.db.sql.patterns import LongestText
    from chroma_nb.db.sql.statement import Statement
    from chroma_nb.db.sql.store import SqlStore

#: The empty database in which names are looked up.
EMPTY_DATABASE = "chroma_nb_sql"
#: A query begins again when a collection is compacted while it runs. Twice in a row is rare already; the limit
#: only keeps it from going on for ever. Chosen, not measured.
_ATTEMPTS = 5
#: Answers from collections of which 2,048 records have more bytes are measured first.
_LONG_BYTES = 8 << 20
#: How many times an answer has the texts or embeddings of 2,048 rows on their way into a DataFrame (measured: 6 to 8 in
#: all of texts, 5 to 7 of embeddings).
_CHUNK_COPIES = 6
_FLOAT_BYTES = 4
#: How many copies of the embeddings of 2,048 rows DuckDB has (measured with 4,096 numbers: 4.1 in WHERE, in sums, in
#: distances).
_VECTOR_COPIES = 4.2
#: How many more it has for each function that makes another list of them (measured: 3.1), or another type.
_MADE_COPIES = 3.5
_MAKES_VECTORS = re.compile(
    r"\b(?:list|array)_(?!dot_|inner_|negative_|cosine_|distance\b|extract\b|element\b)\w+\s*\("
    r"|::|\bcast\s*\(|\blambda\b|->",
    re.IGNORECASE,
)


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
    plain = plain_parameters(parameters)

    def task(work: Work[pd.DataFrame]) -> pd.DataFrame:
        one_thread = False
        for _ in range(_ATTEMPTS):
            with (
                contextlib.ExitStack() as after,
                store.sql_cursor() as cursor,
                store.one_thread(cursor) if one_thread else contextlib.nullcontext(),
            ):
                work.attach(cursor)
                attempt = _Query(store, cursor, work, tenant, database)
                try:
                    with contextlib.closing(attempt):
                        return attempt.answer(query, plain)
                except MovedError:
                    continue
                except MemoryBudgetError:
                    if one_thread or not attempt.had_too_many_threads:
                        raise
                    one_thread = True
                finally:
                    work.detach()
                    if attempt.took_much:
                        # DuckDB frees it when the cursor is closed.
                        after.callback(return_memory)
        raise InternalError(
            f"A collection of this query was rewritten {_ATTEMPTS} times while it was read. Repeat the call "
            "when less is deleted and changed."
        )

    return run_interruptibly(task)


class _Query:
    """One query, within one transaction."""

    def __init__(
        self,
        store: SqlStore,
        cursor: duckdb.DuckDBPyConnection,
        work: Work[Any],
        tenant: str,
        database: str,
    ) -> None:
        self._store = store
        self._cursor = cursor
        self._work = work
        self._tenant, self._database = tenant, database
        self._snapshot = Snapshot()
        #: Collection -> its columns, where the query needs more than those of every record.
        self._columns: dict[str, Columns] = {}
        self._errors = QueryErrors(store, cursor, work, self._snapshot, self._columns)
        #: An answer names the types of its columns; DuckDB before 2 calls every number NUMBER.
        self._has_types = False
        #: Collection -> expression that reads its embeddings.
        self._embeddings: dict[str, str] = {}
        #: How many times DuckDB has the embeddings of the rows that it reads at once.
        self._vector_copies = 0.0
        #: By the number that the expression gives.
        self._vectors: dict[int, QueryVectors] = {}

    def answer(self, query: object, parameters: Any) -> pd.DataFrame:
        try:
            self._begin()
            statement = self._read(query, parameters)
            system_views = self._prepare(statement, parameters)
            if system_views:
                with open_system_views(self._listed_collections(system_views)) as cursor:
                    self._work.attach(cursor)
                    return self._run(cursor, statement, parameters)
            return self._run(self._cursor, statement, parameters)
        except duckdb.Error as error:
            self._raise_for(error, None)

    @property
    def had_too_many_threads(self) -> bool:
        """There was too little memory for the embeddings that several threads read; there may be enough for one."""
        return any(vectors.too_many_threads for vectors in self._vectors.values())

    @property
    def took_much(self) -> bool:
        """Its embeddings took so much memory that it is given back to the system."""
        return any(vectors.took_much for vectors in self._vectors.values())

    def close(self) -> None:
        """Close what reads vectors."""
        for number in self._vectors:
            self._store.sql_vectors.close(number)

    def _begin(self) -> None:
        """Begin the transaction. It reads at once, as only then is its moment fixed."""
        cursor, snapshot = self._cursor, self._snapshot
        if not snapshot.database:
            own = cursor.execute("SELECT current_database()").fetchall()[0][0]
            snapshot.database = sql_identifier(own)
            cursor.execute(f"USE {EMPTY_DATABASE}")
        cursor.execute("BEGIN TRANSACTION READ ONLY")
        cursor.execute(
            "SELECT id, name, dimension, n_records, generation, version, coalesce(padding, 0) > 0 FROM "
            f"{snapshot.database}.main.collections WHERE tenant = ? AND database = ? ORDER BY created",
            [self._tenant, self._database],
        )
        description: Any = cursor.description
        self._has_types = not isinstance(description[0][1], str)
        snapshot.collections, snapshot.damaged = {}, {}
        for row in cursor.fetchall():
            error = self._store.damage_of(row[0], self._tenant, self._database, row[1])
            if error is None:
                snapshot.collections[row[1]] = CollectionVersion(UUID(row[0]), *row[1:])
            else:
                snapshot.damaged[row[1]] = error

    def _begin_again(self) -> None:
        """Begin the transaction again after DuckDB has ended it. Nothing may have changed in between.

        Views that were made in it are gone. Those that a statement needs are made after its columns are found.
        """
        before = self._snapshot.collections
        # DuckDB may have taken it back by itself.
        with contextlib.suppress(duckdb.TransactionException):
            self._cursor.execute("ROLLBACK")
        self._begin()
        if self._snapshot.collections != before:
            raise MovedError

    # -- reading ------------------------------------------------------------------------------

    def _read(self, query: object, parameters: Any) -> Statement:
        try:
            return read_statement(self._cursor, query)
        except InvalidArgumentError as error:
            if not isinstance(query, str):
                raise
            # DuckDB makes two statements of some PIVOTs. Those with parameters it refuses when it parses them.
            if isinstance(error, NotSelectError) or "PIVOT statements" in error.message():
                expanded = self._with_pivot_values(query, parameters)
                if expanded is not None:
                    return read_statement(self._cursor, expanded)
            hint = self._errors.quoting_hint(query)
            if isinstance(error, UnreadableError) and not hint:
                hint = self._reserved_hint(query)
            raise InvalidArgumentError(f"{error.message()}{hint}") from error.__cause__

    def _reserved_hint(self, query: str) -> str:
        """Return a hint where the query names a key without the quotes that its name, a word of SQL, needs."""
        try:
            text, words = quote_reserved(self._cursor, query)
            statement = read_statement(self._cursor, text) if words else None
        except (InvalidArgumentError, RecursionError):
            return ""
        if statement is None:
            return ""
        names = [
            word
            for word in dict.fromkeys(words)
            for table in dict.fromkeys(statement.tables)
            if (one := self._snapshot.collections.get(table)) is not None
            and (word == table or self._columns_of(one).has_key(word))
        ]
        return self._errors.reserved_hint(names) if names else ""

    def _with_pivot_values(self, query: str, parameters: Any) -> str | None:
        """Return the query with the values written out that its PIVOTs make columns of."""
        pivots = PivotValues(query)
        while (values_query := pivots.next_values_query()) is not None:
            statement = read_statement(self._cursor, values_query)
            if self._prepare(statement, parameters):
                raise InvalidArgumentError(
                    "PIVOT of a system view needs its columns written out: ON name IN ('a', 'b')."
                )
            chosen = _chosen_parameters(statement, parameters)
            try:
                rows = self._cursor.execute(values_query, chosen).fetchall()
            except duckdb.Error as error:
                self._raise_for(error, statement)
            pivots.fill_in([value for (value,) in rows])
        return pivots.text

    # -- names --------------------------------------------------------------------------------

    def _prepare(self, statement: Statement, parameters: Any) -> list[str]:
        """Make a view of each collection that the statement names, with the columns that it needs.

        Returns:
            The system views that it names. Then it names no collection, and no view is made.
        """
        used, system_views = self._resolve(statement)
        n_made = len(_MAKES_VECTORS.findall(statement.text))
        self._vector_copies = _VECTOR_COPIES + _MADE_COPIES * n_made
        if system_views:
            if used:
                raise InvalidArgumentError(
                    f"A query reads either system views ({', '.join(system_views)}) or collections "
                    f"({', '.join(map(repr, used))}). Use two queries."
                )
            return system_views
        if statement.patterns or statement.pattern_parameters:
            longest = self._longest_text(used)
            check_patterns(statement, parameters, self._store.filter_limits, longest)
        # Finding the columns reads all metadata. A query for columns of every record need not wait for that.
        has_keys = not statement.names() <= set(RECORD_COLUMNS)
        columns = {
            name: self._columns_of(one)
            if has_keys or name in statement.starred
            else Columns({}, one.dimension)
            for name, one in used.items()
        }
        check_names(statement, columns)
        for name in statement.cte_names:
            if not any(fold(name) == fold(one) for one in used):
                # Where the table of WITH is not seen, its name must not reach a view of DuckDB's own.
                self._make_view(name, "SELECT error('There is no such table.')")
        for name, one in used.items():
            self._work.check()
            self._make_view(name, self._view(one, columns[name], statement))
        return []

    def _longest_text(self, used: Mapping[str, CollectionVersion]) -> LongestText:
        """Return the bytes of the longest text in these collections: at most, and counted."""

        def counted() -> int:
            longest = "max(greatest(strlen(id), strlen(document), strlen(uri), strlen(metadata)))"
            tables = [f"SELECT {longest} AS n FROM {self._table(one)}" for one in used.values()]
            query = f"SELECT coalesce(max(n), 0) FROM ({' UNION ALL '.join(tables)})"
            return int(self._cursor.execute(query).fetchall()[0][0])

        most = max(
            (self._store.text_sizes(one.id).most_in_record for one in used.values()), default=0
        )
        return most, counted

    def _make_view(self, name: str, query: str) -> None:
        self._cursor.execute(f"CREATE OR REPLACE TEMP VIEW {sql_identifier(name)} AS {query}")

    def _resolve(self, statement: Statement) -> tuple[dict[str, CollectionVersion], list[str]]:
        """Return the collections and the system views that a statement names."""
        for path in statement.qualified:
            raise InvalidArgumentError(self._errors.unknown_path(path))
        cte_names = {fold(name): name for name in statement.cte_names}
        used: dict[str, CollectionVersion] = {}
        system_views = list(statement.system_views)
        for name in statement.tables:
            cte_name = cte_names.get(fold(name), name)
            found = self._snapshot.collections.get(name)
            if found is None:
                if cte_name == name:
                    if name in self._snapshot.damaged:
                        raise self._snapshot.damaged[name]
                    if fold(name) not in SYSTEM_VIEWS:
                        raise InvalidArgumentError(self._errors.unknown_table(name))
                    system_views.append(name)
                continue
            twin = next((one for one in used if fold(one) == fold(name) and one != name), None)
            if twin is None and cte_name != name:
                twin = cte_name
            if twin is not None:
                raise InvalidArgumentError(
                    f"SQL does not tell {twin!r} from {name!r}, and this query names both. Ask about each in a "
                    "query of its own, or give the table that WITH makes another name."
                )
            used[name] = found
        return used, system_views

    def _columns_of(self, collection: CollectionVersion) -> Columns:
        columns = self._columns.get(collection.name) or self._store.sql_columns.get(collection)
        if columns is None:
            columns = read_columns(
                self._cursor,
                self._table(collection),
                collection.dimension,
                self._store.memory_limit,
                self._begin_again,
            )
            self._store.sql_columns.add(collection, columns)
        self._columns[collection.name] = columns
        return columns

    def _table(self, collection: CollectionVersion) -> str:
        return f"{self._snapshot.database}.main.{sql_identifier(collection.table)}"

    def _view(self, collection: CollectionVersion, columns: Columns, statement: Statement) -> str:
        name = collection.name
        selected = ["r.id", "r.document", "r.uri", "CAST(r.metadata AS JSON) AS metadata"]
        if name in statement.described_tables or _uses_embedding(statement, name):
            selected.append(f"{self._embedding(collection)} AS embedding")
        if name in statement.starred:
            wanted = columns.starred(name)
        else:
            names = {fold(one) for one in statement.names()}
            wanted = [one for one in columns.all() if fold(one.name) in names]
        expressions, needed = columns.expressions(wanted, self._store.memory_limit)
        selected += [
            f"{expression} AS {sql_identifier(one.name)}"
            for expression, one in zip(expressions, wanted, strict=True)
        ]
        order = "" if name in statement.unordered else " ORDER BY sequence"
        # The order is inside, so that LIMIT spares what is computed outside.
        where = f" WHERE {IS_RECORD}" if collection.has_padding else ""
        records = f"(SELECT * FROM {self._table(collection)}{where}{order})"
        if needed:
            records = f"(SELECT *, {', '.join(needed)} FROM {records})"
        return f"SELECT {', '.join(selected)} FROM {records} AS r"

    def _embedding(self, collection: CollectionVersion) -> str:
        """Return the expression that reads a record's embedding when DuckDB evaluates it."""
        if collection.dimension is None:
            return "CAST(NULL AS FLOAT[])"
        if collection.name not in self._embeddings:
            store, place = self._store, (collection.id, collection.generation)
            source = store.vectors_at(*place)
            if source is None:
                raise MovedError
            each = _FLOAT_BYTES * collection.dimension
            vectors = QueryVectors(
                source.read,
                lambda: store.is_at(*place),
                n_records=collection.n_records,
                row_bytes=int(each * self._vector_copies),
                what=f"SQL over {{:,}} embeddings of collection [{collection.name}] at once",
            )
            number, self._embeddings[collection.name] = store.sql_vectors.open(
                vectors, collection.n_records, collection.dimension
            )
            self._vectors[number] = vectors
        return self._embeddings[collection.name]

    def _listed_collections(self, system_views: list[str]) -> Iterator[ListedCollection]:
        names_alone = need_names_alone(system_views)
        for one in self._snapshot.collections.values():
            self._work.check()
            columns = Columns({}, one.dimension) if names_alone else self._columns_of(one)
            types = {**columns.record_types, **{each.name: each.type for each in columns.all()}}
            yield ListedCollection(one.name, one.n_records, types)

    # -- answers ------------------------------------------------------------------------------

    def _run(
        self, cursor: duckdb.DuckDBPyConnection, statement: Statement, parameters: Any
    ) -> pd.DataFrame:
        self._work.check()

        def execute() -> None:
            self._work.check()
            cursor.execute(statement.text, parameters)

        try:
            if statement.is_explain:
                return self._explain(cursor, statement, parameters)
            if self._may_be_long(statement):
                self._check_size(cursor, statement, parameters)
            types = None if self._has_types else _described_types(cursor, statement, parameters)
            execute()
            names = [column[0] for column in cursor.description or ()]
            if self._has_types:
                types = [str(column[1]) for column in cursor.description or ()]
            frame = read_frame(cursor, types, execute_again=execute)
        except duckdb.Error as error:
            self._raise_for(error, statement)
        if statement.starred_alone and names.count("embedding") > 1:
            # `SELECT *, embedding`: as the query names the embedding, it is in the * as well. Keep the first.
            once = [
                place
                for place, name in enumerate(names)
                if name != "embedding" or place == names.index(name)
            ]
            frame = frame.iloc[:, once]
        return frame

    def _may_be_long(self, statement: Statement) -> bool:
        """Say whether 2,048 records of one of the collections are so long that an answer is measured first."""
        found = (self._snapshot.collections.get(name) for name in statement.tables)
        return any(
            min(one.n_records, CHUNK_ROWS)
            * max(
                self._store.text_sizes(one.id).row_bytes(),
                _FLOAT_BYTES * (one.dimension or 0) * (one.name in self._embeddings),
            )
            > _LONG_BYTES
            for one in found
            if one is not None
        )

    def _check_size(
        self, cursor: duckdb.DuckDBPyConnection, statement: Statement, parameters: Any
    ) -> None:
        """Refuse an answer of long records that does not fit: DuckDB hands over 2,048 rows at once, however long.

        Raises:
            MemoryBudgetError: It does not fit. Nothing of it was read into memory.
        """
        types = _described_types(cursor, statement, parameters) or []
        texts = [f"c{place}" for place, kind in enumerate(types) if kind in ("VARCHAR", "JSON")]
        width = n_numbers(types)
        if not texts and not width:
            return
        self._work.check()
        names = ", ".join(f"c{place}" for place in range(len(types)))
        each = " + ".join(f"coalesce(strlen({name}::VARCHAR), 0)" for name in texts) or "0"
        measured = (
            f"SELECT count(*), coalesce(sum({each}), 0) FROM (\n{statement.text}\n) AS t({names})"
        )
        try:
            row = cursor.execute(measured, parameters).fetchall()[0]
        except duckdb.ParserException:
            # Not every statement may stand within another.
            return
        n_rows, text_bytes = int(row[0]), int(row[1])
        vector_bytes = n_rows * width * _FLOAT_BYTES
        n_bytes = 2 * text_bytes + vector_bytes
        together = text_bytes + vector_bytes
        if n_rows > CHUNK_ROWS:
            together = together * CHUNK_ROWS // n_rows
        parts = {"texts": text_bytes, "embeddings": vector_bytes}
        said = " and ".join(
            f"{format_bytes(n)} of {of}"
            for of, n in parts.items()
            if 100 * n >= sum(parts.values())
        )
        require(
            n_bytes + _CHUNK_COPIES * together,
            f"An answer of {n_rows:,} rows with {said}",
            *WAYS_OUT,
        )

    def _explain(
        self, cursor: duckdb.DuckDBPyConnection, statement: Statement, parameters: Any
    ) -> pd.DataFrame:
        import pandas as pd

        rows = cursor.execute(f"EXPLAIN (FORMAT JSON) {statement.text}", parameters).fetchall()
        plans = [
            "\n".join(_plan_lines(node, self._errors.with_collection_names))
            for row in rows
            for node in json.loads(row[1])
        ]
        return pd.DataFrame({"explain_key": [row[0] for row in rows], "explain_value": plans})

    def _raise_for(self, error: duckdb.Error, statement: Statement | None) -> NoReturn:
        """Raise the error behind one of DuckDB's."""
        for vectors in self._vectors.values():
            if vectors.error is not None:
                raise vectors.error from error
        raise self._errors.translated(error, statement) from error


def _uses_embedding(statement: Statement, table: str) -> bool:
    """Say whether the query names the column embedding where this table may be meant."""
    return any(
        fold(use.name) == "embedding" and any(table in tables for tables, _ in use.levels())
        for use in statement.columns
    )


def _described_types(
    cursor: duckdb.DuckDBPyConnection, statement: Statement, parameters: Any
) -> list[str] | None:
    """Return the types of an answer's columns; None where DESCRIBE does not take the query."""
    if first_word(statement.text) not in ("SELECT", "WITH", "FROM", "VALUES", "TABLE", "("):
        return None
    rows = cursor.execute(f"DESCRIBE {statement.text}", parameters).fetchall()
    return [row[1] for row in rows]


def _plan_lines(node: dict[str, Any], shown: Callable[[str], str], depth: int = 0) -> list[str]:
    """Return a plan as lines. What is done first is indented most."""
    indent = "  " * depth
    lines = [f"{indent}{node['name'].strip()}"]
    for name, value in (node.get("extra_info") or {}).items():
        values = value if isinstance(value, list) else [value]
        said = shown(", ".join(str(one) for one in values))
        lines.append(f"{indent}  {name}: {said}" if said else f"{indent}  {name}")
    for child in node.get("children") or ():
        lines += _plan_lines(child, shown, depth + 1)
    return lines


def _chosen_parameters(statement: Statement, parameters: Any) -> Any:
    """Return the parameters that one part of a query uses."""
    if not statement.parameters:
        return None
    if isinstance(parameters, dict):
        return {name: parameters[name] for name in statement.parameters if name in parameters}
    raise InvalidArgumentError(
        "A PIVOT over a part with parameters needs them named ($name, given as a dict), or its columns written "
        "out: ON name IN ('a', 'b')."
    )
