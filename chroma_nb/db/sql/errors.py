"""`QueryErrors`: DuckDB's errors in the words of somebody who knows collections and keys, with hints."""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING

import duckdb

from chroma_nb.db.damaged_database import is_damage
from chroma_nb.db.interrupted import was_cut_off
from chroma_nb.db.sql.allowed import FILES
from chroma_nb.db.sql.columns import RECORD_COLUMNS
from chroma_nb.db.sql.names import fold, sql_identifier, sql_string
from chroma_nb.db.sql.tree import parse
from chroma_nb.errors import InternalError, InvalidArgumentError
from chroma_nb.suggest import did_you_mean

if TYPE_CHECKING:
    from chroma_nb.db.interruptible import Work
    from chroma_nb.db.sql.columns import Columns
    from chroma_nb.db.sql.statement import Statement
    from chroma_nb.db.sql.store import Snapshot, SqlStore

#: Collections that an error lists: a line or two of text.
_LISTED = 10
_NOT_THE_QUERYS_FAULT = (duckdb.IOException, duckdb.InternalException, duckdb.FatalException)
_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NAME_IN_ERROR = re.compile(r"(?:[Cc]olumn|named) \"((?:[^\"]|\"\")+)\"")
_FILE = re.compile(
    r"[/\\]|\.(parquet|csv|tsv|txt|jsonl?|ndjson|arrow|feather|xlsx?|duckdb|db)(\.\w+)?$",
    re.IGNORECASE,
)
#: DuckDB's own suggestions are of names that it can see, and some of these are the store's or another tenant's.
_SUGGESTION = re.compile(r"\n?(Candidate (bindings|tables):[^\n]*|Did you mean[^\n]*)")


class QueryErrors:
    """The errors of one query.

    Args:
        store: Where it runs.
        cursor: Its cursor.
        work: The thread that runs it.
        snapshot: What it sees.
        columns: Collection -> its columns, for those whose columns the query needed.
    """

    def __init__(
        self,
        store: SqlStore,
        cursor: duckdb.DuckDBPyConnection,
        work: Work[object],
        snapshot: Snapshot,
        columns: dict[str, Columns],
    ) -> None:
        self._store = store
        self._cursor = cursor
        self._work = work
        self._snapshot = snapshot
        self._columns = columns

    def translated(self, error: duckdb.Error, statement: Statement | None) -> BaseException:
        """Return the error to raise for one of DuckDB's; `statement` is what it ran, if it got that far."""
        if isinstance(error, duckdb.InterruptException) and self._work.is_cancelled:
            return KeyboardInterrupt()
        if was_cut_off(error):
            return self._store.read_error(error)
        if isinstance(error, duckdb.OutOfMemoryException):
            return self._store.memory_error()
        if is_damage(error):
            return self._store.read_error(error)
        # The hints need DuckDB's parser, and a transaction that has failed runs nothing more.
        with contextlib.suppress(duckdb.Error):
            self._cursor.execute("ROLLBACK")
        said = self.with_collection_names(str(error))
        if isinstance(error, _NOT_THE_QUERYS_FAULT):
            if not isinstance(error, duckdb.IOException):
                self._store.mark_broken()
            return InternalError(f"DuckDB could not answer this query: {said}")
        said = _SUGGESTION.sub("", said)
        hint = ""
        if isinstance(error, duckdb.BinderException | duckdb.CatalogException):
            hint = self._column_hint(said, statement)
        return InvalidArgumentError(
            f"{said.strip()}\n{hint.strip()} {self._known_collections()}".strip()
        )

    def with_collection_names(self, said: str) -> str:
        """Return a text of DuckDB's with the names of collections instead of those of the store's tables."""
        for one in self._snapshot.collections.values():
            if one.table in said:
                for written in (f"{self._snapshot.database[1:-1]}.main.{one.table}", one.table):
                    said = said.replace(written, one.name)
        return said

    def unknown_table(self, name: str) -> str:
        """Return what to say about a name that no collection has."""
        near = [one for one in self._snapshot.collections if fold(one) == fold(name)]
        if near:
            hint = (
                f" Collections count by their letters: there is {' and '.join(map(repr, near))}, "
                f"which you reach as {' and '.join(map(sql_identifier, near))}."
            )
        else:
            hint = did_you_mean(name, self._snapshot.collections, " Did you mean {!r}?")
            if _FILE.search(name):
                hint += f" {FILES}"
            elif not hint:
                hint = (
                    " Variables of Python's are no tables: collection.from_pandas(df) makes records of a DataFrame, "
                    "collection.from_arrow(table) those of an Arrow table."
                )
        return f"There is no collection {name!r}.{hint} {self._known_collections()}"

    def unknown_path(self, path: tuple[str, ...]) -> str:
        """Return what to say about a name with a schema."""
        joined = ".".join(path)
        hint = ""
        if joined in self._snapshot.collections:
            hint = f" A name with a dot is quoted: {sql_identifier(joined)}."
        elif path[-1] in self._snapshot.collections:
            hint = f" A collection has no schema: write {sql_identifier(path[-1])} alone."
        elif _FILE.search(joined):
            hint = f" {FILES}"
        said = f"There is no table {joined!r}: client.sql() reads collections alone."
        return f"{said}{hint} {self._known_collections()}"

    def reserved_hint(self, words: list[str]) -> str:
        """Return how to write keys and collections that have these names, which are words of SQL."""
        shown = " and ".join(map(repr, words))
        quoted = " and ".join(map(sql_identifier, words))
        what = "is a reserved word" if len(words) == 1 else "are reserved words"
        return f" As {shown} {what} of SQL, the name has to be quoted: {quoted}."

    def quoting_hint(self, query: str) -> str:
        """Return a hint where the query names a collection without the quotes that its name needs."""
        for name in self._snapshot.collections:
            pattern = rf"(?<![\w\"'.-]){re.escape(name)}(?![\w\"'-])"
            if re.search(pattern, query) and not self._is_plain(name):
                return f" The name {name!r} has to be quoted: {sql_identifier(name)}."
        return ""

    def _column_hint(self, said: str, statement: Statement | None) -> str:
        if statement is None:
            return ""
        known: list[str] = list(RECORD_COLUMNS)
        for name in dict.fromkeys(statement.tables):
            columns = self._columns.get(name)
            if columns is None:
                # The query named no column but those of every record.
                continue
            known += [one.name for one in columns.all()]
            for use in statement.columns:
                why = columns.ambiguity(use.name, name)
                if why:
                    return why
        missing = _NAME_IN_ERROR.search(said)
        if missing is None:
            return self.quoting_hint(statement.text)
        name = missing[1].replace('""', '"')
        near = did_you_mean(sql_identifier(name), map(sql_identifier, known), " Did you mean {}?")
        quoting = self.quoting_hint(statement.text)
        if near or quoting:
            return near + quoting
        if f'"{name}"' in statement.text:
            return f"Texts stand in single quotes: {sql_string(name)}."
        return ""

    def _is_plain(self, name: str) -> bool:
        if not _PLAIN_NAME.fullmatch(name):
            return False
        try:
            parse(self._cursor, f"SELECT * FROM {name}")
        except InvalidArgumentError:
            # It is a word of SQL.
            return False
        return True

    def _known_collections(self) -> str:
        collections = self._snapshot.collections
        names = [repr(name) for name in list(collections)[:_LISTED]]
        more = len(collections) - len(names)
        listed = ", ".join(names) + (f" and {more:,} more" if more > 0 else "")
        return (
            f"(each collection is a view: {listed or 'there is none yet'}; columns "
            f"{', '.join(RECORD_COLUMNS)}, and one for each metadata key)"
        )
