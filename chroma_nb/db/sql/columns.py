"""`Columns`: the columns that a collection has in SQL: those of every record, and one for each metadata key.

A key's values may be of several kinds. Its column has the narrowest type that holds all of them digit for
digit; what none holds is JSON. SQL does not tell ``Author`` from ``author``: keys that only case tells
apart, from each other or from a column of every record, have no column of their plain name, so that no query
is answered from the wrong one.
"""

from __future__ import annotations

import contextlib
import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import duckdb

from chroma_nb.db._fields import TEXT_FACTOR, Pieces
from chroma_nb.db.chunks import CHUNK_ROWS
from chroma_nb.db.sql.names import fold, sql_identifier, sql_string
from chroma_nb.errors import InvalidArgumentError
from chroma_nb.filters.sql import json_pointer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from uuid import UUID

    from chroma_nb.db.sql.store import CollectionVersion

#: The columns of every record.
RECORD_COLUMNS = ("id", "document", "uri", "metadata", "embedding")
#: Columns of metadata keys that ``*`` has at most: DuckDB binds each one for every query, 0.2 ms a column.
_MOST_STARRED = 2_000
#: Collections whose columns are kept: 2,000 columns take about 1 MB. Chosen, not measured.
_MOST_KEPT = 64
#: Before a key that cannot have a column of its plain name.
_PREFIX = "metadata."
#: Digits that a decimal of DuckDB has at most, and an integer of 64 bits.
_DECIMAL_DIGITS, _INTEGER_DIGITS = 38, 19
#: Keys of large records that are looked for together, as many as `_fields` describes. Chosen, not measured.
_KEYS_AT_ONCE = 200
#: Records of more bytes are parsed once for `_KEYS_AT_ONCE` keys: 400 records of 28 kB with 2,000 keys took 70 s when
#: they were parsed once for each key.
_LARGE_RECORD = 4_096
#: Extracting columns one by one may take a quarter of DuckDB's memory. Chosen, not measured.
_MEMORY_SHARE = 4
#: DuckDB's names of JSON's integers.
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
    def is_text(self) -> bool:
        """It is read from the text of a value, rather than from its JSON."""
        return self.type != "JSON" and not self.type.endswith("[]")

    def converted(self, value: str) -> str:
        """Return the SQL that converts the text, or the JSON, of a value to the column's type."""
        return value if self.type in ("VARCHAR", "JSON") else f"CAST({value} AS {self.type})"


class Columns:
    """The columns of one collection.

    Args:
        types: Metadata key -> type of its column.
        dimension: Of its embeddings; None where it has none yet.
        record_bytes: About the size of one record's metadata.
    """

    def __init__(self, types: dict[str, str], dimension: int | None, record_bytes: int = 0) -> None:
        self._record_bytes = record_bytes
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
        #: Key that has no column of its plain name -> the name of the column that it has.
        self._other_names = {one.key: one.name for one in self.all() if one.name != one.key}

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

    def has_key(self, key: str) -> bool:
        """Say whether a record has this key."""
        return key in self._types

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

    def expressions(
        self, wanted: Sequence[Column], memory_limit: int
    ) -> tuple[list[str], list[str]]:
        """Return expressions for columns over a row ``r`` of the records, and what ``r`` needs for them.

        DuckDB parses the metadata once for each column that is extracted by itself, and holds all of that at the same
        time: 3,000 records with 40 keys take more than 268 MB. Where this would be much, columns are extracted
        together. It is not done always, as then a query that filters by one of them extracts all.
        """
        parsed_bytes = len(wanted) * CHUNK_ROWS * TEXT_FACTOR * self._record_bytes
        if len(wanted) < 2 or parsed_bytes < memory_limit // _MEMORY_SHARE:
            pointers = [pointer_of(one.key) for one in wanted]
            return [
                one.converted(
                    f"(r.metadata ->> {pointer})"
                    if one.is_text
                    else f"json_extract(r.metadata, {pointer})"
                )
                for one, pointer in zip(wanted, pointers, strict=True)
            ], []
        places: dict[str, str] = {}
        needed = []
        for name, function, some in (
            ("key_texts", "json_extract_string", [one for one in wanted if one.is_text]),
            ("key_values", "json_extract", [one for one in wanted if not one.is_text]),
        ):
            if some:
                pointers = [pointer_of(one.key) for one in some]
                needed.append(f"{function}(metadata, [{', '.join(pointers)}]) AS {name}")
            places |= {one.key: f"r.{name}[{number}]" for number, one in enumerate(some, 1)}
        return [one.converted(places[one.key]) for one in wanted], needed

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
        if len(keys) == 1 and fold(name) not in RECORD_COLUMNS and keys[0] not in self._other_names:
            return f"{none}there is the key {keys[0]!r}: {sql_identifier(keys[0])}."
        quoted = [sql_identifier(self._other_names.get(key, key)) for key in keys]
        ways = [f"the key {key!r} as {shown}" for key, shown in zip(keys, quoted, strict=True)]
        if fold(name) in RECORD_COLUMNS:
            ways.insert(0, f"the column {fold(name)} in small letters")
        texts = ", ".join(map(key_expression, keys))
        return (
            f"SQL does not tell apart what {name!r} may mean in collection {table!r}. Write "
            f"{' and '.join(ways)}, quotes included; as text: {texts}. If a key is a slip, this finds its records: "
            f" SELECT id FROM {sql_identifier(table)} WHERE {quoted[0]} IS NOT NULL."
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
    path = json_pointer(key)
    if "\0" not in path:
        return sql_string(path)
    # DuckDB before 2 ends a query at a NUL.
    return f"({' || chr(0) || '.join(sql_string(part) for part in path.split(chr(0)))})"


def key_expression(key: str) -> str:
    """Return an expression for the text of a key's value, whatever the key's name."""
    return f"(metadata ->> {pointer_of(key)})"


def read_columns(
    cursor: duckdb.DuckDBPyConnection,
    table: str,
    dimension: int | None,
    memory_limit: int,
    restart: Callable[[], object],
) -> Columns:
    """Find the keys of a table of records, in alphabetical order, and the type of each one's column.

    Args:
        cursor: Within the transaction of the query.
        table: The table, as SQL.
        dimension: Of the embeddings; None where there are none yet.
        memory_limit: Bytes of memory that the database may take. Large records are read in pieces.
        restart: Begins the transaction again. It is called where a piece turns out to be too large, as DuckDB
            ends a transaction that runs out of memory.
    """
    finder = _TypeFinder(cursor, table, memory_limit, restart)
    return Columns(finder.types(), dimension, finder.record_bytes)


class _TypeFinder:
    """Finds the types of the columns of one table of records."""

    def __init__(
        self,
        cursor: duckdb.DuckDBPyConnection,
        table: str,
        memory_limit: int,
        restart: Callable[[], object],
    ) -> None:
        self._cursor = cursor
        self._table = table
        self._restart = restart
        self._pieces = Pieces(cursor, table, memory_limit, restart)
        self.record_bytes = self._pieces.record_bytes

    def types(self) -> dict[str, str]:
        kinds: dict[str, set[str]] = {}
        for key, kind in sorted(self._pairs()):
            kinds.setdefault(key, set()).add("WHOLE" if kind in _WHOLE else kind)
        return {key: self._type_of(key, found) for key, found in kinds.items()}

    def _pairs(self) -> set[tuple[Any, ...]]:
        """Return the keys with each kind that their values have."""
        if self._pieces.is_one and self.record_bytes < _LARGE_RECORD:
            # Fast, but DuckDB parses a record once for each of its keys and holds all of that at the same time.
            with contextlib.suppress(duckdb.OutOfMemoryException):
                return set(
                    self._cursor.execute(
                        "SELECT DISTINCT key, json_type(metadata, '/' || replace(replace(key, '~', '~0'), '/', '~1')) "
                        f"FROM (SELECT metadata, unnest(json_keys(metadata)) AS key FROM {self._table} "
                        "WHERE metadata IS NOT NULL)"
                    ).fetchall()
                )
            self._restart()
        keys = self._rows(
            lambda records: (
                f"SELECT DISTINCT key FROM (SELECT unnest(json_keys(metadata)) AS key FROM {records})"
            )
        )
        names = sorted(key for (key,) in keys)
        found: set[tuple[Any, ...]] = set()
        for start in range(0, len(names), _KEYS_AT_ONCE):
            some = names[start : start + _KEYS_AT_ONCE]
            found |= self._rows(
                lambda records: (
                    "SELECT DISTINCT key, kind FROM (SELECT unnest(?::VARCHAR[]) AS key, "
                    f"unnest(json_type(metadata, ?::VARCHAR[])) AS kind FROM {records}) WHERE kind IS NOT NULL"
                ),
                [some, [json_pointer(key) for key in some]],
            )
        return found

    def _rows(
        self, query: Callable[[str], str], parameters: list[Any] | None = None
    ) -> set[tuple[Any, ...]]:
        """Return the rows of a query for each piece; `query` makes it for the SQL of a piece's metadata."""
        found: set[tuple[Any, ...]] = set()

        def take(condition: str) -> None:
            records = f"(SELECT metadata FROM {self._table} {condition})"
            found.update(self._cursor.execute(query(records), parameters).fetchall())

        self._pieces.read(found.clear, take)
        return found

    def _type_of(self, key: str, kinds: set[str]) -> str:
        pointer = pointer_of(key)
        if kinds - {"NULL"} != {"ARRAY"}:
            return self._single_type(
                kinds,
                lambda records: f"(SELECT metadata ->> {pointer} AS value FROM {records})",
            )

        def elements(records: str) -> str:
            return (
                f"(SELECT unnest(CAST(json_extract(metadata, {pointer}) AS JSON[])) AS value FROM {records} "
                "WHERE metadata IS NOT NULL)"
            )

        found = self._rows(
            lambda records: f"SELECT DISTINCT json_type(value) FROM {elements(records)}"
        )
        kind = self._single_type(
            {"WHOLE" if kind in _WHOLE else kind for (kind,) in found},
            lambda records: f"(SELECT CAST(value AS VARCHAR) AS value FROM {elements(records)})",
        )
        # Python has no list of decimals that pandas would take for numbers.
        return "JSON" if kind == "JSON" or kind.startswith("DECIMAL") else f"{kind}[]"

    def _single_type(self, kinds: set[str], texts: Callable[[str], str]) -> str:
        """Return the type that holds values of these kinds; `texts` makes the SQL of their texts in a piece."""
        # Nothing but missing values, or but empty lists.
        kinds = kinds - {"NULL"} or {"VARCHAR"}
        if kinds == {"WHOLE"}:
            return "BIGINT"
        if len(kinds) == 1:
            return _SINGLE.get(next(iter(kinds)), "JSON")
        if kinds == {"WHOLE", "DOUBLE"}:
            return self._number_type(texts)
        return "JSON"

    def _number_type(self, texts: Callable[[str], str]) -> str:
        """Return the type that holds integers and floats together, no digit lost."""
        whole = "TRY_CAST(value AS BIGINT)"
        # The text of an integer has neither a point nor an exponent.
        is_whole = "regexp_full_match(value, '-?[0-9]+')"
        found = self._rows(
            lambda records: (
                f"SELECT bool_or({is_whole} AND CAST(CAST({whole} AS DOUBLE) AS HUGEINT) != {whole}), "
                f"max(CASE WHEN NOT {is_whole} THEN length(split_part(value, '.', 2)) ELSE 0 END), "
                f"bool_or(NOT {is_whole} AND NOT regexp_full_match(value, '-?[0-9]+[.][0-9]+')) "
                f"FROM {texts(records)} WHERE value IS NOT NULL"
            )
        )
        if not any(is_lost for is_lost, _, _ in found):
            return "DOUBLE"
        # A piece without values has NULL for each.
        scale = max(digits or 0 for _, digits, _ in found)
        has_exponents = any(has for _, _, has in found)
        if has_exponents or scale > _DECIMAL_DIGITS - _INTEGER_DIGITS:
            return "JSON"
        kind = f"DECIMAL({_DECIMAL_DIGITS},{scale})"
        fits = self._rows(
            lambda records: (
                f"SELECT bool_and(TRY_CAST(value AS {kind}) IS NOT NULL) FROM {texts(records)} "
                "WHERE value IS NOT NULL"
            )
        )
        return "JSON" if (False,) in fits else kind
