"""`Columns`: the columns that a collection has in SQL: its own, and one for each metadata key.

A key's values may be of several kinds. Its column has the narrowest type that holds all of them digit for
digit; what none holds is JSON. SQL does not tell ``Author`` from ``author``: keys that only case tells
apart, from each other or from a column of the collection's own, have no column of their plain name, so that
no query is answered from the wrong one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from chroma_nb.db._sql_statement import fold

if TYPE_CHECKING:
    from collections.abc import Iterable

    import duckdb

#: The columns of the collection's own.
OWN = ("id", "document", "uri", "metadata", "embedding")
#: Before a key that cannot have a column of its plain name.
_PREFIX = "metadata."
#: Decimals of DuckDB have so many digits at most; an integer of 64 bits has up to 19 of them.
_DECIMAL_DIGITS, _INTEGER_DIGITS = 38, 19
_WHOLE = {"BIGINT", "UBIGINT", "HUGEINT", "UHUGEINT"}
#: Kinds of single values, as `json_type` calls them -> the type of a column that has no other.
_SINGLE = {"VARCHAR": "VARCHAR", "BOOLEAN": "BOOLEAN", "DOUBLE": "DOUBLE"}


@dataclass(frozen=True)
class Column:
    """One column: its name, its DuckDB type, and the metadata key that it holds, if it is none of our own."""

    name: str
    type: str
    key: str | None = None

    @property
    def expression(self) -> str:
        """What it is, of a row ``r`` of the records."""
        assert self.key is not None
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
        self.own = {
            **dict.fromkeys(("id", "document", "uri"), "VARCHAR"),
            "metadata": "JSON",
            "embedding": "FLOAT[]" if dimension is None else f"FLOAT[{dimension}]",
        }
        self.keys = types
        self._groups: dict[str, list[str]] = {}
        for key in types:
            self._groups.setdefault(fold(key), []).append(key)
        self._columns = {fold(one.name): one for one in self._name_columns()}

    def _name_columns(self) -> Iterable[Column]:
        taken = set(OWN)
        unclear: list[str] = []
        for key, kind in self.keys.items():
            if len(self._groups[fold(key)]) > 1 or fold(key) in OWN or "\0" in key:
                unclear.append(key)
            else:
                taken.add(fold(key))
                yield Column(key, kind, key)
        wished = {key: _PREFIX + key.replace("\0", "\\0") for key in unclear}
        twice = [fold(name) for name in wished.values()]
        for key, name in wished.items():
            number, shown = 1, name
            if twice.count(fold(name)) > 1:
                shown = f"{name} (1)"
            while fold(shown) in taken:
                number += 1
                shown = f"{name} ({number})"
            taken.add(fold(shown))
            yield Column(shown, self.keys[key], key)

    def all(self) -> list[Column]:
        """Return the columns of the metadata keys."""
        return list(self._columns.values())

    def find(self, name: str) -> Column | None:
        """Return the column that DuckDB would find under this name."""
        return self._columns.get(fold(name))

    def meant(self, name: str) -> list[str]:
        """Return the keys that this name may mean, apart from a column that has exactly this name."""
        if name in OWN:
            return []
        keys = self._groups.get(fold(name), [])
        return [] if keys == [name] and fold(name) not in OWN else keys

    def unclear(self, name: str, table: str) -> str:
        """Return why no column has exactly this name though one or several nearly have, or an empty text.

        The sentence says how each can be reached.
        """
        keys = self.meant(name)
        found = self.find(name)
        none = f"Collection {table!r} has no column {name!r}: names count by their letters, and "
        if not keys:
            if found is None or found.name == name:
                return ""
            return f"{none}{quoted(found.name)} is written so."
        ways = [f"the key {key!r} as {reach(key)}" for key in keys]
        if fold(name) in OWN:
            ways.insert(0, f"the column {fold(name)} in small letters")
        if len(ways) == 1:
            return f"{none}there is the key {keys[0]!r}: {quoted(keys[0])}."
        return (
            f"SQL does not tell apart what {name!r} may mean in collection {table!r}. Write "
            f"{' and '.join(ways)}."
        )


def pointer_of(key: str) -> str:
    """Return the JSON pointer of a key, as SQL."""
    path = "/" + key.replace("~", "~0").replace("/", "~1")
    if "\0" not in path:
        return text(path)
    # DuckDB before 2 ends a query at a NUL.
    return f"({' || chr(0) || '.join(text(part) for part in path.split(chr(0)))})"


def reach(key: str) -> str:
    """Return an expression that reaches a key, whatever its name."""
    return f"(metadata ->> {pointer_of(key)})"


def quoted(name: str) -> str:
    """Return a name as SQL."""
    return '"' + name.replace('"', '""') + '"'


def text(value: str) -> str:
    """Return a text as SQL."""
    return "'" + value.replace("'", "''") + "'"


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
