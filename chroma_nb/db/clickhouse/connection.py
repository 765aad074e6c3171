"""`Connection`: asks ClickHouse, in a server or in this process, by the same client, and knows its settings and errors."""

from __future__ import annotations

import logging
import os
import threading
from typing import TYPE_CHECKING, Any, TypeVar

import pyarrow as pa

from chroma_nb import forked
from chroma_nb.db.clickhouse import engine as engines
from chroma_nb.db.clickhouse.address import read_address
from chroma_nb.db.clickhouse.errors import CLIENT_ERRORS, translated
from chroma_nb.db.clickhouse.literals import identifier
from chroma_nb.errors import InternalError
from chroma_nb.importing import importing
from chroma_nb.settings import real_path
from chroma_nb.shielded import shielded

if TYPE_CHECKING:
    from collections.abc import Callable

    from chroma_nb.settings import Settings

T = TypeVar("T")

# It logs each request that fails, with a traceback, and where nobody has set up logging that is printed.
logging.getLogger("clickhouse_connect").addHandler(logging.NullHandler())

#: For all queries: literals make them long. They are the client's, as chDB takes 8 ms to set them for one query.
_QUERY_SETTINGS = {
    "max_query_size": 1 << 32,
    "output_format_arrow_string_as_string": 1,
    "output_format_arrow_compression_method": "none",
    "output_format_arrow_low_cardinality_as_dictionary": 0,
}
#: With each commit: it is one block, at once and durable, and a token that was there is refused.
_INSERT_SETTINGS = {
    "async_insert": 0,
    "insert_deduplicate": 1,
    "max_insert_threads": 1,
    "max_insert_block_size": 1 << 24,
    "min_insert_block_size_rows": 1 << 24,
    "min_insert_block_size_bytes": 1 << 32,
}


class Connection:
    """The way to ClickHouse. Safe for threads.

    Args:
        settings: `clickhouse_url` is a server; without it `path` is a folder of this process.

    Raises:
        InvalidArgumentError: The address or the folder cannot be used.
        ServerUnavailableError: No server answers there.
        StoreLockedError: Another process has the folder open.
    """

    def __init__(self, settings: Settings) -> None:
        self._engine: engines.Engine | None = None
        self._pid = os.getpid()
        self._closing = threading.Lock()
        self.is_closed = False
        self._is_forked = False
        if settings.clickhouse_url:
            address = read_address(settings.clickhouse_url)
            self.name = f"ClickHouse at {address.name}"
            with importing():
                import clickhouse_connect
            arguments = address.arguments(settings)
            try:
                # Without a session: a session has one query at a time.
                self._client: Any = clickhouse_connect.get_client(
                    autogenerate_session_id=False,
                    show_clickhouse_errors=True,
                    settings=_QUERY_SETTINGS,
                    **arguments,
                )
            except CLIENT_ERRORS as error:
                raise translated(error, self.name) from None
        else:
            path = real_path(settings.path)
            self.name = f"The store in {settings.path!r}"
            self._engine = engines.open_engine(path, settings.path, _QUERY_SETTINGS)
            self._client = self._engine.client
        #: The folder of a store in this process.
        self.folder = None if self._engine is None else self._engine.path
        forked.watch(self)

    @property
    def is_embedded(self) -> bool:
        """ClickHouse runs in this process."""
        return self._engine is not None

    @property
    def is_alone(self) -> bool:
        """Nobody else can be at the store: it is in this process, which has opened it once."""
        return self._engine is not None and self._engine.n_users == 1

    @property
    def client(self) -> Any:
        """The client itself, for a query with settings of its own."""
        return self._client

    def is_there(self) -> bool:
        """Say whether the folder that was opened is still there."""
        return self._engine is None or self._engine.is_there()

    def n_writes(self, table: str) -> tuple[int, int] | None:
        """Return numbers that each change of a table replaces; None where others may change it as well, in a server."""
        return None if self._engine is None else self._engine.n_writes(table)

    def query(self, sql: str) -> pa.Table:
        """Return the answer of a SELECT.

        Raises:
            ChromaError: See `errors.translated`.
        """
        return self._call(lambda: self._client.query_arrow(sql))

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """Return the rows of an answer as tuples of Python's values."""
        return rows_of(self.query(sql))

    def command(self, sql: str) -> None:
        """Execute a statement that has no answer."""
        self._write(None, lambda: self._client.command(sql))

    def insert(self, table: str, block: pa.RecordBatch, token: str) -> None:
        """Insert one block, durably; nothing is done where the table has had the token.

        Raises:
            NoAnswerError: It is not known whether it was inserted.
            ChromaError: It was not, as far as is known.
        """
        whole = pa.Table.from_batches([block])
        chosen = {**_INSERT_SETTINGS, "insert_deduplication_token": token}
        self._write(
            table, lambda: self._client.insert_arrow(identifier(table), whole, settings=chosen)
        )

    def _write(self, table: str | None, work: Callable[[], object]) -> None:
        engine = self._engine
        if engine is None:
            self._call(work)
            return

        def counted() -> None:
            engine.count_write(table)
            try:
                work()
            finally:
                engine.count_write(table)

        # No interrupt comes between the work and the counting.
        self._call(counted)

    def _call(self, work: Callable[[], T]) -> T:
        self.check_open()
        engine = self._engine
        try:
            # An interrupt within the client could leave a lock of its pool of connections, or of chDB, locked for ever.
            return shielded(work if engine is None else lambda: engine.ask(work))
        except CLIENT_ERRORS as error:
            self.check_open()
            # Without the client's own, which may hold the whole statement, and with it records.
            raise translated(error, self.name) from None

    def check_open(self) -> None:
        """Raise where it was closed, or where this process was forked since."""
        if self._is_forked:
            raise InternalError(
                f"{self.name} was opened by process {self._pid}, of which this one was forked. Open a client of its own here."
            )
        if self.is_closed:
            raise InternalError(f"{self.name} is closed. Open a new client to go on.")

    def close(self) -> None:
        """Close it. Closing twice is allowed."""
        with self._closing:
            if self.is_closed:
                return
            self.is_closed = True
        if self._engine is not None:
            engines.release(self._engine)
        else:
            self._client.close()

    def on_fork(self) -> None:
        """In a forked child: leave it to the parent."""
        self._is_forked = self.is_closed = True
        forked.keep_for_ever(self._client)


def rows_of(table: pa.Table) -> list[tuple[Any, ...]]:
    """Return the rows of an answer as tuples of Python's values."""
    return list(zip(*(column.to_pylist() for column in table.columns), strict=True))
