"""ClickHouse's errors of a query in the words of somebody who knows collections and keys, and hints."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from chroma_nb.db.clickhouse.sql.columns import RECORD_COLUMNS
from chroma_nb.errors import (
    InvalidArgumentError,
    MemoryBudgetError,
    NotSupportedError,
)
from chroma_nb.suggest import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

#: ClickHouse's numbers of errors (src/Common/ErrorCodes.cpp).
SYNTAX, BAD_ARGUMENTS, UNKNOWN_FUNCTION, UNKNOWN_IDENTIFIER = 62, 36, 46, 47
CANCELLED, TIMEOUT, TOO_SLOW = 394, 159, 160
_MEMORY_LIMIT, _RESULT_LIMIT = 241, 396
#: Collections that an error lists: a line or two of text.
_LISTED = 10
_MOST = 600
#: What ClickHouse says of the whole query behind the point, and names that it can see.
_SCOPE = re.compile(
    r"[.:]? (?:Maybe you meant|In scope|In query|while executing|While processing)\b.*", re.DOTALL
)
_CODE = re.compile(r"^.*?DB::Exception: (?:Code: \d+\. DB::Exception: )*|\s*\([A-Z_]+\)\s*$")
#: What the grammar has at the point: up to some hundred words, which hide where it is.
_EXPECTED = re.compile(r"[.:]? Expected one of: [^\n]*,[^\n]*$")
_VERSION = re.compile(r"\s*\(version [^)]*\)")
_IDENTIFIER = re.compile(r"identifier `((?:[^`\\]|\\.)+)`")
_NOT_PLAIN = re.compile(r"\W|^\d")
WAYS_OUT = (
    "ask for fewer rows (LIMIT) or for fewer columns",
    "let SQL count or add up instead",
)
_FILE = re.compile(r"[/\\]|\.(parquet|csv|tsv|jsonl?|arrow|feather|xlsx?)(\.\w+)?$", re.IGNORECASE)
_FILES = (
    "client.sql() reads no files. What collection.export() wrote comes back with client.import_(path); other files come as "
    "tables: collection.from_pandas(pandas.read_csv(path)), collection.from_arrow(pyarrow.parquet.read_table(path))."
)


class QueryError(Exception):
    """ClickHouse has refused or ended a query; `code` is its number of the error."""

    def __init__(self, code: int, said: str) -> None:
        super().__init__(said)
        self.code = code
        self.said = said


class Known:
    """The collections that a query may name.

    Args:
        collections: Their names.
    """

    def __init__(self, collections: Collection[str]) -> None:
        self.collections = collections

    def listed(self) -> str:
        """Return what there is, in brackets."""
        names = [repr(name) for name in list(self.collections)[:_LISTED]]
        more = len(self.collections) - len(names)
        listed = ", ".join(names) + (f" and {more:,} more" if more > 0 else "")
        return (
            f"(each collection is a view: {listed or 'there is none yet'}; columns {', '.join(RECORD_COLUMNS)}, and one for "
            "each metadata key)"
        )

    def unknown_table(self, name: str) -> str:
        """Return what to say about a name that no collection has."""
        hint = did_you_mean(name, self.collections, " Did you mean {!r}?")
        if _FILE.search(name):
            hint += f" {_FILES}"
        elif not hint:
            hint = (
                " Variables of Python's are no tables: collection.from_pandas(df) makes records of a DataFrame, "
                "collection.from_arrow(table) those of an Arrow table."
            )
        return f"There is no collection {name!r}.{hint} {self.listed()}"

    def unknown_path(self, path: tuple[str, ...]) -> str:
        """Return what to say about a name with a database."""
        whole = ".".join(path)
        hint = ""
        if whole in self.collections:
            hint = f" A name with a dot is quoted: {quoted(whole)}."
        elif path[-1] in self.collections:
            hint = f" A collection is in no database of ClickHouse: write {quoted(path[-1])} alone."
        elif path[0] in ("system", "information_schema", "INFORMATION_SCHEMA"):
            hint = " SHOW TABLES lists the collections, and DESCRIBE the columns of one."
        return f"There is no table {whole!r}: client.sql() reads collections alone.{hint} {self.listed()}"

    def not_a_column(self, name: str, collection: str | None) -> str:
        """Return what to say about a name that ClickHouse would answer by itself, as no column of a collection has it."""
        where = "" if collection is None else f" in collection {collection!r}"
        return (
            f"There is no column {name!r}{where}, and ClickHouse has a function of that name. Where another collection of the query "
            f"has the column, write it with the collection's name before it; a name that AS gives has to be another one. {self.listed()}"
        )

    def refused_table_function(self, name: str) -> str:
        """Return what to say about a function that stands where a table does."""
        return (
            f"The table function {name!r} may not be used: client.sql() reads collections alone, and no files, addresses or "
            f"other tables. {_FILES}"
        )

    def refused_function(self, name: str) -> str:
        """Return what to say about a function that is not allowed."""
        return (
            f"The function {name!r} may not be used here, or there is none: client.sql() has functions that compute with "
            "values, and none that read files, tables, dictionaries, settings, users or the server's state."
        )

    def refused_set(self, path: tuple[str, ...]) -> str:
        """Return what to say about a name behind IN."""
        name = ".".join(path)
        if name in self.collections:
            return f"Say which column of collection {name!r} is meant: IN (SELECT id FROM {quoted(name)})."
        return (
            f"Behind IN stands {name!r}, which is no table that the query makes by WITH. For a column with lists write "
            f"has({quoted(name)}, value); for a single column write =."
        )


def quoted(name: str) -> str:
    """Return a name as a user would write it."""
    if not _NOT_PLAIN.search(name):
        return name
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'


def cleaned(said: str, names: Mapping[str, str]) -> str:
    """Return ClickHouse's words about a query, without the query itself and with the names of the user.

    Args:
        said: What it says.
        names: What stands for something in the query -> what it stands for.
    """
    said = _VERSION.sub("", " ".join(said.split()))
    said = renamed(_CODE.sub("", _SCOPE.sub("", said)).strip(), names)
    return said if len(said) <= _MOST else f"{said[:_MOST]}…"


def renamed(said: str, names: Mapping[str, str]) -> str:
    """Return a text with what a user calls things."""
    for made, meant in names.items():
        said = said.replace(made, meant)
    return said


def translated(
    error: QueryError,
    known: Known,
    columns: Collection[str],
    names: Mapping[str, str],
    limit: float,
) -> Exception:
    """Return the error to raise for one of ClickHouse's.

    Args:
        error: It.
        known: The collections.
        columns: Those of the collections of the query.
        names: What stands for something in the query -> what it stands for.
        limit: How long a query may take, seconds; 0: as long as it takes.
    """
    said = cleaned(error.said, names)
    if error.code in (TIMEOUT, TOO_SLOW):
        return InvalidArgumentError(
            f"The query took longer than the {limit:g} seconds that Settings.timeout_seconds allows, and was ended. Ask for "
            "less, or set more."
        )
    if error.code == _MEMORY_LIMIT:
        return MemoryBudgetError(
            f"ClickHouse has too little memory for this query: {said}. Ways out: {'; or '.join(WAYS_OUT)}."
        )
    if error.code == _RESULT_LIMIT:
        return MemoryBudgetError(
            f"The answer does not fit into the free memory: {said}. Ways out: {'; or '.join(WAYS_OUT)}."
        )
    hint = ""
    if error.code == UNKNOWN_IDENTIFIER:
        hint = _column_hint(said, [*RECORD_COLUMNS, *columns])
    return InvalidArgumentError(f"{said.rstrip('.')}.{hint} {known.listed()}")


def _column_hint(said: str, columns: Collection[str]) -> str:
    found = _IDENTIFIER.search(said)
    if found is None:
        return ""
    if found[1] in columns:
        return f" The table that is read at this place has no column {found[1]!r}."
    return did_you_mean(found[1], columns, " Did you mean {!r}?")


def unreadable(error: QueryError, known: Known, one_select: str) -> Exception:
    """Return the error for a query that ClickHouse cannot read."""
    said = cleaned(error.said, {})
    if error.code == UNKNOWN_FUNCTION:
        return NotSupportedError(
            "client.sql() needs ClickHouse 26.8 or later, which says how it reads a query (parseQueryToJSON); this server does "
            "not. Use get() and query(), or a newer server."
        )
    if error.code == BAD_ARGUMENTS or "Multi-statements" in said or "Empty query" in said:
        return InvalidArgumentError(one_select)
    said = _EXPECTED.sub("", said).rstrip(".")
    return InvalidArgumentError(f"The query cannot be read: {said}. {known.listed()}")
