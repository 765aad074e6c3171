"""`answer_sql`: answers one query."""

from __future__ import annotations

import contextlib
import json
import re
from typing import TYPE_CHECKING, Any, Protocol

from chroma_nb.db.clickhouse.connection import rows_of
from chroma_nb.db.clickhouse.errors import UNKNOWN_DATABASE, UNKNOWN_TABLE
from chroma_nb.db.clickhouse.literals import identifier, text
from chroma_nb.db.clickhouse.sql import errors
from chroma_nb.db.clickhouse.sql.columns import select_of
from chroma_nb.db.clickhouse.sql.errors import Known, QueryError
from chroma_nb.db.clickhouse.sql.frame import read_frame
from chroma_nb.db.clickhouse.sql.parameters import Parameters
from chroma_nb.db.clickhouse.sql.placeholders import names as new_names
from chroma_nb.db.clickhouse.sql.placeholders import numbered
from chroma_nb.db.clickhouse.sql.tree import ONE_SELECT, Query, read_query
from chroma_nb.db.interruptible import Work, run_interruptibly
from chroma_nb.errors import InternalError, InvalidArgumentError, NotFoundError
from chroma_nb.words import brief

if TYPE_CHECKING:
    from uuid import UUID

    import pandas as pd

    from chroma_nb.db.clickhouse.sql.columns import ColumnsCache
    from chroma_nb.db.clickhouse.sql.session import Session, Sessions
    from chroma_nb.db.clickhouse.views import View
    from chroma_nb.types import CollectionInfo

#: How often a query is begun where a collection was compacted meanwhile. Chosen, not measured.
_ATTEMPTS = 5
#: ClickHouse's tree of a query has no node for DESCRIBE.
_DESCRIBE = re.compile(
    r"\s*DESC(?:RIBE)?\s+(?:TABLE\s+)?(?P<what>.*?)[\s;]*", re.IGNORECASE | re.DOTALL
)
_SHOW = {"type": "ShowTablesQuery"}
_NO_PARAMETERS = Parameters(None)


class SqlStore(Protocol):
    """The store as `answer_sql` uses it; `Clickhouse` is one."""

    @property
    def sql_sessions(self) -> Sessions:
        """Opens sessions."""

    @property
    def sql_columns(self) -> ColumnsCache:
        """The columns of collections that were queried lately."""

    def list_collections(
        self, tenant: str | None = None, database: str | None = None
    ) -> list[CollectionInfo]:
        """Return the collections of a database."""

    def newest_view(self, collection_id: UUID) -> View:
        """Return the view of what is committed now."""


class _MovedError(Exception):
    """A collection was compacted or deleted while it was read."""


def answer_sql(
    store: SqlStore, query: object, parameters: object, tenant: str, database: str
) -> pd.DataFrame:
    """Answer one SELECT, or EXPLAIN or DESCRIBE of one, or SHOW TABLES.

    Raises:
        InvalidArgumentError: Not one reading statement, a name that no collection or column has, or a query that fails.
        MemoryBudgetError: ClickHouse, or the answer, needs more memory than there is.
        KeyboardInterrupt: It was interrupted.
        NotSupportedError: The server of ClickHouse is too old.
        ServerUnavailableError: It does not answer.
    """
    checked = _checked_text(query)

    def task(work: Work[pd.DataFrame]) -> pd.DataFrame:
        for _ in range(_ATTEMPTS):
            with store.sql_sessions.open() as session:
                work.attach(session)
                try:
                    return _Query(store, session, work, tenant, database).answer(
                        checked, parameters
                    )
                except _MovedError:
                    continue
                except RecursionError:
                    raise InvalidArgumentError(
                        "The query is nested too deeply. Put parts of it into WITH."
                    ) from None
                finally:
                    work.detach()
        raise InternalError(
            f"A collection of this query was rewritten {_ATTEMPTS} times while it was read. Repeat the call when less is "
            "deleted and changed."
        )

    return run_interruptibly(task)


def _checked_text(query: object) -> str:
    if not isinstance(query, str):
        raise InvalidArgumentError(
            f"Expected the query as a str, got {type(query).__name__}: {brief(query, 80, quoted=True)}."
        )
    if "\0" in query:
        raise InvalidArgumentError(
            "The query has a NUL character, at which ClickHouse would end it. Give values as parameters."
        )
    try:
        query.encode()
    except UnicodeEncodeError as error:
        raise InvalidArgumentError(f"The query is not valid text: {error.reason}.") from None
    return query


class _Query:
    """One query, in one session."""

    def __init__(
        self, store: SqlStore, session: Session, work: Work[Any], tenant: str, database: str
    ) -> None:
        self._store = store
        self._session = session
        self._work = work
        self._infos = {one.name: one for one in store.list_collections(tenant, database)}
        self._known = Known(self._infos)
        #: What stands for something in the text that is run -> what a user calls it.
        self._meant: dict[str, str] = {}
        self._views: dict[str, View] = {}

    def answer(self, query: str, parameters: object) -> pd.DataFrame:
        given = Parameters(parameters)
        described = _DESCRIBE.fullmatch(query)
        if described is not None and described["what"]:
            return self._run(
                self._read(f"SELECT * FROM {described['what']}", given), given, "DESCRIBE"
            )
        tree = self._read(query, given)
        if tree.get("type") == "ExplainQuery":
            if tree.get("kind") != "EXPLAIN" or "settings" in tree or "query" not in tree:
                raise InvalidArgumentError(f"EXPLAIN is taken without options. {ONE_SELECT}")
            return self._run(tree["query"], given, "EXPLAIN")
        if {name: value for name, value in tree.items() if value is not False} == _SHOW:
            return self._show(given)
        return self._run(tree, given, "")

    def _show(self, given: Parameters) -> pd.DataFrame:
        import pandas as pd

        given.check_used()
        return pd.DataFrame({"name": pd.Series(sorted(self._infos), dtype=object)})

    # -- reading ------------------------------------------------------------------------------

    def _read(self, query: str, given: Parameters) -> dict[str, Any]:
        try:
            return self._parsed(query)
        except QueryError as error:
            if error.code == errors.SYNTAX and given and "?" in query:
                with contextlib.suppress(QueryError):
                    return self._parsed(numbered(query))
            raise errors.unreadable(error, self._known, ONE_SELECT) from error

    def _parsed(self, query: str) -> dict[str, Any]:
        self._work.check()
        table = self._session.table(f"SELECT parseQueryToJSON({text(query)}) AS tree")
        found: dict[str, Any] = json.loads(rows_of(table)[0][0])
        return found

    def _written(self, tree: dict[str, Any]) -> str:
        self._work.check()
        said = json.dumps(tree, ensure_ascii=False)
        table = self._session.table(f"SELECT formatQueryFromJSON({text(said)}) AS query")
        written: str = rows_of(table)[0][0]
        return written

    def _checked(self, tree: dict[str, Any], given: Parameters) -> tuple[Query, str]:
        """Return a query that is allowed, and its text."""
        new_name = new_names()
        found = read_query(tree, self._known, given, new_name)
        given.check_used()
        written = self._written(found.tree)
        # What is run is this text: it has to be allowed as well, and to have no other tables.
        made = Known(list(found.collections.values()))
        read_query(self._parsed(written), made, _NO_PARAMETERS, new_name)
        return found, written

    # -- running ------------------------------------------------------------------------------

    def _run(self, tree: dict[str, Any], given: Parameters, how: str) -> pd.DataFrame:
        try:
            found, written = self._checked(tree, given)
            if found.alone and not found.collections:
                raise InvalidArgumentError(self._known.not_a_column(min(found.alone), None))
            for collection, stands_for in found.collections.items():
                select = self._select(collection, found, is_described=how == "DESCRIBE")
                written = written.replace(stands_for, f"({select})")
            self._work.check()
            if how == "DESCRIBE":
                return read_frame(self._session, f"DESCRIBE TABLE ({written})")[["name", "type"]]
            if how == "EXPLAIN":
                return self._explained(read_frame(self._session, f"EXPLAIN {written}"))
            return _without_copy(read_frame(self._session, written), found)
        except QueryError as error:
            raise self._error(error) from error

    def _select(self, collection: str, found: Query, *, is_described: bool) -> str:
        try:
            view = self._store.newest_view(self._infos[collection].id)
        except NotFoundError as error:
            raise _MovedError from error
        names = None if found.is_starred else found.names
        columns = self._store.sql_columns.find(self._session.table, view, names)
        if lacking := found.alone - columns.named().keys():
            raise InvalidArgumentError(self._known.not_a_column(min(lacking), collection))
        database = identifier(self._store.sql_sessions.database)
        record = new_names()()
        self._views[collection] = view
        for made in (f"{database}.{view.log.sql}", view.log.table, record):
            self._meant[made] = collection
        return select_of(
            view,
            database,
            columns,
            names,
            record,
            collection,
            has_embedding=is_described or "embedding" in found.names,
        )

    def _explained(self, plan: pd.DataFrame) -> pd.DataFrame:
        import pandas as pd

        said = [errors.renamed(line, self._meant) for line in plan["explain"]]
        return pd.DataFrame({"explain": pd.Series(said, dtype=object)})

    def _error(self, error: QueryError) -> BaseException:
        """Return the error to raise for one of ClickHouse's."""
        if error.code == errors.CANCELLED:
            self._work.check()
            why = "it was closed" if self._session.is_closing else "somebody ended it"
            return InternalError(f"The query has no answer: {why} in ClickHouse. Repeat the call.")
        if error.code in (UNKNOWN_TABLE, UNKNOWN_DATABASE) and self._has_moved():
            return _MovedError()
        columns = self._all_columns() if error.code == errors.UNKNOWN_IDENTIFIER else ()
        return errors.translated(error, self._known, columns, self._meant, self._session.limit)

    def _all_columns(self) -> list[str]:
        """Return the columns of the collections of the query, for a hint."""
        found: dict[str, None] = {}
        for view in self._views.values():
            with contextlib.suppress(QueryError):
                columns = self._store.sql_columns.find(self._session.table, view, None)
                found |= dict.fromkeys(columns.named())
        return list(found)

    def _has_moved(self) -> bool:
        """Say whether a collection of the query has another table now, or none."""
        for collection, view in self._views.items():
            try:
                now = self._store.newest_view(self._infos[collection].id)
            except NotFoundError:
                return True
            if now.log.table != view.log.table:
                return True
        return False


def _without_copy(frame: pd.DataFrame, found: Query) -> pd.DataFrame:
    """Return an answer of ``SELECT *, embedding`` with one column of embeddings.

    There are two, as the table that is read has the column where the query names it, and then ``*`` has it, too.
    """
    if found.is_starred and "embedding_1" in frame.columns and "embedding_1" not in found.names:
        return frame.drop(columns="embedding_1")
    return frame
