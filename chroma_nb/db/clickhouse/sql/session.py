"""`Session`: runs the statements of one query, which can only read, within limits; and ends them."""

from __future__ import annotations

import contextlib
import os
import secrets
import threading
from typing import TYPE_CHECKING, Any

from chroma_nb.db.clickhouse.engine import DATA
from chroma_nb.db.clickhouse.errors import CLIENT_ERRORS, code_of
from chroma_nb.db.clickhouse.errors import translated as store_error
from chroma_nb.db.clickhouse.sql.errors import QueryError
from chroma_nb.memory.workspace import WORKSPACE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pyarrow as pa

    from chroma_nb.db.clickhouse.connection import Connection
    from chroma_nb.settings import Settings

#: What a query means, whatever the server's profile says.
_MEANING = {
    "enable_analyzer": 1,
    # Words without SELECT are no query.
    "implicit_select": 0,
    "implicit_table_at_top_level": "",
    "dialect": "clickhouse",
    "max_query_size": 1 << 32,
    # As in standard SQL: what a join does not find is NULL, UNION alone drops what is twice.
    "join_use_nulls": 1,
    "union_default_mode": "DISTINCT",
    "except_default_mode": "DISTINCT",
    "intersect_default_mode": "DISTINCT",
    # Each digit of a number counts.
    "precise_float_parsing": 1,
    "output_format_arrow_string_as_string": 1,
    "output_format_arrow_compression_method": "none",
    "output_format_arrow_low_cardinality_as_dictionary": 0,
    "output_format_arrow_date_as_uint16": 0,
    "use_query_cache": 0,
}
_NOTHING_BUT_READING = {
    "allow_ddl": 0,
    "allow_introspection_functions": 0,
    "result_overflow_mode": "throw",
    "timeout_overflow_mode": "throw",
    # The last: then nothing can be set any more.
    "readonly": 1,
}
#: How often an answer is in memory until it is a DataFrame: in the client, as Arrow, as Python's objects. Chosen.
_ANSWER_COPIES = 4
#: Where ClickHouse is in this process, a query has the free memory, but this at least, bytes. Chosen, not measured.
_LEAST_MEMORY = 256 << 20
#: What a query takes of a server's memory at most, bytes, where the user's profile has no limit. Chosen, not measured.
_SERVER_MEMORY = 8 << 30
#: The server's own limit of time comes before the client's, seconds.
_EARLIER = 1.0


class Session:
    """One query's way to ClickHouse.

    Args:
        connection: The store's.
        client: What is asked.
        settings: Of each statement, where the client has not been given them for itself.
        mark: By which ClickHouse finds what this session runs.
        limit: How long a statement may take, seconds; 0: as long as it takes.
    """

    def __init__(
        self,
        connection: Connection,
        client: Any,
        settings: dict[str, Any],
        mark: str,
        limit: float,
    ) -> None:
        self._connection = connection
        self._client = client
        self._settings = settings
        self._mark = mark
        self.limit = limit
        #: The store is being closed.
        self.is_closing = False

    def table(self, sql: str) -> pa.Table:
        """Return the answer of a statement.

        Raises:
            QueryError: ClickHouse has refused or ended it.
            ServerUnavailableError: No answer came.
        """
        return self._ask(lambda: self._client.query_arrow(sql, settings=self._settings))

    def columns(self, sql: str) -> tuple[tuple[str, ...], list[Any]]:
        """Return the names and the columns of an answer, in Python's values."""
        found = self._ask(
            lambda: self._client.query(sql, settings=self._settings, column_oriented=True)
        )
        return tuple(found.column_names), list(found.result_columns)

    def _ask(self, ask: Callable[[], Any]) -> Any:
        self._connection.check_open()
        try:
            return ask()
        except UnicodeDecodeError as error:
            raise QueryError(
                0, "The answer has a text that is not UTF-8. Wrap it: hex(...)."
            ) from error
        except CLIENT_ERRORS as error:
            self._connection.check_open()
            code = code_of(error)
            if code is None and not self._connection.is_embedded:
                raise store_error(error, self._connection.name) from None
            raise QueryError(code or 0, str(error)) from None

    def interrupt(self) -> None:
        """End what this session runs at the moment."""
        self._connection.command(
            f"KILL QUERY WHERE user = currentUser() AND Settings['log_comment'] = '{self._mark}' ASYNC"
        )


class Sessions:
    """The sessions of a store.

    Args:
        connection: The store's.
        settings: Its settings.
    """

    def __init__(self, connection: Connection, settings: Settings) -> None:
        self._connection = connection
        self._timeout = settings.timeout_seconds
        self._lock = threading.Condition()
        self._open: set[Session] = set()
        self._server_memory: int | None = None
        self._database: str | None = None

    @property
    def database(self) -> str:
        """The database of ClickHouse's that the store's tables are in."""
        if self._database is None:
            (row,) = self._connection.rows("SELECT currentDatabase() AS name")
            self._database = str(row[0])
        return self._database

    @contextlib.contextmanager
    def open(self) -> Iterator[Session]:
        """Open a session."""
        self._connection.check_open()
        with contextlib.ExitStack() as closing:
            session = self._new(closing)
            with self._lock:
                self._open.add(session)
            try:
                yield session
            finally:
                with self._lock:
                    self._open.discard(session)
                    self._lock.notify_all()

    def _new(self, closing: contextlib.ExitStack) -> Session:
        free = WORKSPACE.free()
        mark = f"chroma_nb_sql_{secrets.token_hex(12)}"
        limits: dict[str, Any] = {"max_result_bytes": max(1, free // _ANSWER_COPIES)}
        folder = self._connection.folder
        if folder is not None:
            import clickhouse_connect

            limits["max_memory_usage"] = max(_LEAST_MEMORY, free)
            # A handle of its own: it has settings of its own, and others need not wait for it.
            client = clickhouse_connect.get_client(
                interface="chdb",
                path=os.path.join(folder, DATA),
                show_clickhouse_errors=True,
                settings={**_MEANING, **limits, "log_comment": mark, **_NOTHING_BUT_READING},
            )
            closing.callback(client.close)
            return Session(self._connection, client, {}, mark, 0.0)
        limit = max(1.0, self._timeout - _EARLIER)
        limits |= {"max_memory_usage": self._most_of_server(), "max_execution_time": limit}
        settings = {**_MEANING, **limits, "log_comment": mark, **_NOTHING_BUT_READING}
        return Session(self._connection, self._connection.client, settings, mark, limit)

    def _most_of_server(self) -> int:
        """Return how much of a server's memory a query may take, bytes."""
        if self._server_memory is None:
            (row,) = self._connection.rows("SELECT toUInt64(getSetting('max_memory_usage')) AS n")
            self._server_memory = min(int(row[0]) or _SERVER_MEMORY, _SERVER_MEMORY)
        return self._server_memory

    def close(self) -> None:
        """End what runs, and wait until it has ended."""
        with self._lock:
            while self._open:
                for session in list(self._open):
                    session.is_closing = True
                    with contextlib.suppress(Exception):
                        session.interrupt()
                self._lock.wait(0.02)
