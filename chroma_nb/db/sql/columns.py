"""`Columns`: the columns that a collection has in SQL: those of every record, and one for each metadata key.

A key's values may be of several kinds. Its column has the narrowest type that holds all of them digit for
digit; what none holds is JSON. SQL does not tell ``Author`` from ``author``: keys that only case tells
apart, from each other or from a column of every record, have no column of their plain name, so that no query
is answered from the wrong one.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chroma_nb.db.sql.names import fold, sql_identifier, sql_string
from chroma_nb.errors import InvalidArgumentError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from uuid import UUID

    import duckdb

    from chroma_nb.db.sql.store import CollectionVersion

#: The columns of every record.
RECORD_COLUMNS = ("id", "document", "uri", "metadata", "embedding")
#: Columns of metadata keys that ``*`` has at most: DuckDB binds each one for every query, 0.2 ms a column.
_MOST_STARRED = 2_000
#: Collections whose columns are kept: 2,000 columns take about 1 MB. Chosen, not measured.
_MOST_KEPT = 64
#: Before a key that cannot have a column of its plain name.
_PREFIX = "metadata."
#: Decimals of DuckDB have so many digits at most; an integer of 64 bits has up to 19 of them.
_DECIMAL_DIGITS, _INTEGER_DIGITS = 38, 19
_WHOLE = {"BIGINT", "UBIGINT", "HUGEINT", "UHUGEINT"}
#: Kinds of single values, as `json_type` calls them -> the type of a column that has no other.
_SINGLE = {"VARCHAR": "VARCHAR", "BOOLEAN": "BOOLEAN", "DOUBLE": "DOUBLE"}


@dataclass(frozen=True)
class Column:
    """The column of one metadata key: its name, its DuckDB type, and the key."""

    name: str
    type: str
    key: str

    @property
    def expression(self) -> str:
        """The column as an expression over a row ``r`` of the records."""
        pointer = pointer_of(self.key)
        if self.type == "JSON":
            return f"json_extract(r.metadata, {pointer})"
        if self.type.endswith("[]"):
            return f"CAST(json_extract(r.metadata, {pointer}) AS {self.type})"
        text = f"(r.metadata ->> {pointer})"
        return text if self.type == "VARCHAR" else f"CAST({text} AS {self.type})"


class Columns:
    """The columns of one collection.

    Args:
        types: Metadata key -> type of its column.
        dimension: Of its embeddings; None where it has none yet.
    """

    def __init__(self, types: dict[str, str], dimension: int | None) -> None:
        #: Columns of every record -> DuckDB type.
        self.record_types = {
            **dict.fromkeys(("id", "document", "uri"), "VARCHAR"),
            "metadata": "JSON",
            "embedding": "FLOAT[]" if dimension is None else f"FLOAT[{dimension}]",
        }
        self._types = types
        self._groups: dict[str, list[str]] = {}
        for key in types:
            self._groups.setdefault(fold(key), []).append(key)
        self._columns = {fold(one.name): one for one in self._name_columns()}

    def _name_columns(self) -> Iterable[Column]:
        taken = set(RECORD_COLUMNS)
        ambiguous: list[str] = []
        for key, kind in self._types.items():
            if len(self._groups[fold(key)]) > 1 or fold(key) in RECORD_COLUMNS or "\0" in key:
                ambiguous.append(key)
            else:
                taken.add(fold(key))
                yield Column(key, kind, key)
        wished = {key: _PREFIX + key.replace("\0", "\\0") for key in ambiguous}
        wished_names = [fold(name) for name in wished.values()]
        for key, name in wished.items():
            number, shown = 1, name
            if wished_names.count(fold(name)) > 1:
                shown = f"{name} (1)"
            while fold(shown) in taken:
                number += 1
                shown = f"{name} ({number})"
            taken.add(fold(shown))
            yield Column(shown, self._types[key], key)

    def all(self) -> list[Column]:
        """Return the columns of the metadata keys."""
        return list(self._columns.values())

    def starred(self, table: str) -> list[Column]:
        """Return the columns of the metadata keys that ``*`` has.

        Raises:
            InvalidArgumentError: There are too many.
        """
        if len(self._columns) > _MOST_STARRED:
            raise InvalidArgumentError(
                f"Collection {table!r} has {len(self._columns):,} metadata keys, and * has {_MOST_STARRED:,} columns "
                "at most. Name the columns that you want; the column metadata holds all of them."
            )
        return self.all()

    def find(self, name: str) -> Column | None:
        """Return the column that DuckDB would find under this name."""
        return self._columns.get(fold(name))

    def candidate_keys(self, name: str) -> list[str]:
        """Return the keys that this name may mean, none where a column has exactly this name."""
        if name in RECORD_COLUMNS:
            return []
        keys = self._groups.get(fold(name), [])
        return [] if keys == [name] and fold(name) not in RECORD_COLUMNS else keys

    def ambiguity(self, name: str, table: str) -> str:
        """Return why this name is refused, and how to write what it may mean; an empty text if it is clear."""
        keys = self.candidate_keys(name)
        found = self.find(name)
        none = f"Collection {table!r} has no column {name!r}: names count by their letters, and "
        if not keys:
            if found is None or found.name == name:
                return ""
            return f"{none}{sql_identifier(found.name)} is written so."
        ways = [f"the key {key!r} as {key_expression(key)}" for key in keys]
        if fold(name) in RECORD_COLUMNS:
            ways.insert(0, f"the column {fold(name)} in small letters")
        if len(ways) == 1:
            return f"{none}there is the key {keys[0]!r}: {sql_identifier(keys[0])}."
        return (
            f"SQL does not tell apart what {name!r} may mean in collection {table!r}. Write "
            f"{' and '.join(ways)}."
        )


class ColumnsCache:
    """The columns of collections that were queried lately: finding them reads all metadata."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        #: The one that was used last comes last.
        self._kept: OrderedDict[UUID, tuple[tuple[int, int], Columns]] = OrderedDict()

    def get(self, collection: CollectionVersion) -> Columns | None:
        """Return the columns of this version of a collection, where they are kept."""
        with self._lock:
            version, columns = self._kept.get(collection.id, (None, None))
            if version != (collection.generation, collection.version):
                return None
            self._kept.move_to_end(collection.id)
            return columns

    def add(self, collection: CollectionVersion, columns: Columns) -> None:
        """Keep the columns of this version of a collection, unless they are too many for ``*``."""
        with self._lock:
            self._kept.pop(collection.id, None)
            if len(columns.all()) <= _MOST_STARRED:
                self._kept[collection.id] = (collection.generation, collection.version), columns
            if len(self._kept) > _MOST_KEPT:
                self._kept.popitem(last=False)


def pointer_of(key: str) -> str:
    """Return the JSON pointer of a key, as SQL."""
    path = "/" + key.replace("~", "~0").replace("/", "~1")
    if "\0" not in path:
        return sql_string(path)
    # DuckDB before 2 ends a query at a NUL.
    return f"({' || chr(0) || '.join(sql_string(part) for part in path.split(chr(0)))})"


def key_expression(key: str) -> str:
    """Return an expression for the text of a key's value, whatever the key's name."""
    return f"(metadata ->> {pointer_of(key)})"


def read_types(cursor: duckdb.DuckDBPyConnection, table: str) -> dict[str, str]:
    """Find the keys of a table of records, and the type of each one's column, in alphabetical order.

    Args:
        cursor: Where to ask.
        table: The table, as SQL.
    """
    pairs = cursor.execute(
        "SELECT DISTINCT key, json_type(metadata, '/' || replace(replace(key, '~', '~0'), '/', '~1')) "
        f"FROM (SELECT metadata, unnest(json_keys(metadata)) AS key FROM {table} "
        "WHERE metadata IS NOT NULL)"
    ).fetchall()
    kinds: dict[str, set[str]] = {}
    for key, kind in sorted(pairs):
        kinds.setdefault(key, set()).add("WHOLE" if kind in _WHOLE else kind)
    return {key: _type_of(cursor, table, key, found) for key, found in kinds.items()}


def _type_of(cursor: duckdb.DuckDBPyConnection, table: str, key: str, kinds: set[str]) -> str:
    value = f"metadata ->> {pointer_of(key)}"
    values = f"(SELECT {value} AS value FROM {table}) WHERE value IS NOT NULL"
    if kinds - {"NULL"} == {"ARRAY"}:
        elements = (
            f"(SELECT unnest(CAST(json_extract(metadata, {pointer_of(key)}) AS JSON[])) AS value FROM {table}"
            " WHERE metadata IS NOT NULL)"
        )
        found = cursor.execute(f"SELECT DISTINCT json_type(value) FROM {elements}").fetchall()
        inner = {"WHOLE" if kind in _WHOLE else kind for (kind,) in found}
        kind = _single_type(
            cursor, inner, f"(SELECT CAST(value AS VARCHAR) AS value FROM {elements})"
        )
        # A list of decimals is no list of numbers any more once it is in Python.
        return "JSON" if kind == "JSON" or kind.startswith("DECIMAL") else f"{kind}[]"
    return _single_type(cursor, kinds, values)


def _single_type(cursor: duckdb.DuckDBPyConnection, kinds: set[str], values: str) -> str:
    """Return the type that holds values of these kinds; `values` are their texts."""
    # Nothing but gaps, or but empty lists.
    kinds = kinds - {"NULL"} or {"VARCHAR"}
    if kinds == {"WHOLE"}:
        return "BIGINT"
    if len(kinds) == 1:
        return _SINGLE.get(next(iter(kinds)), "JSON")
    if kinds == {"WHOLE", "DOUBLE"}:
        return _number_type(cursor, values)
    return "JSON"


def _number_type(cursor: duckdb.DuckDBPyConnection, values: str) -> str:
    """Return the type that holds integers and floats together, no digit lost."""
    whole = "TRY_CAST(value AS BIGINT)"
    # The text of an integer has neither a point nor an exponent.
    is_whole = "regexp_full_match(value, '-?[0-9]+')"
    lost, scale, exponents = cursor.execute(
        f"SELECT bool_or({is_whole} AND CAST(CAST({whole} AS DOUBLE) AS HUGEINT) != {whole}), "
        f"max(CASE WHEN NOT {is_whole} THEN length(split_part(value, '.', 2)) ELSE 0 END), "
        f"bool_or(NOT {is_whole} AND NOT regexp_full_match(value, '-?[0-9]+[.][0-9]+')) FROM {values}"
    ).fetchall()[0]
    if not lost:
        return "DOUBLE"
    if exponents or scale > _DECIMAL_DIGITS - _INTEGER_DIGITS:
        return "JSON"
    kind = f"DECIMAL({_DECIMAL_DIGITS},{scale})"
    rows = cursor.execute(f"SELECT bool_and(TRY_CAST(value AS {kind}) IS NOT NULL) FROM {values}")
    return kind if rows.fetchall()[0][0] else "JSON"
