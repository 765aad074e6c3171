"""`Table`: a collection as a table of SQL: a column for each metadata key, with the type that holds all its values.

A key's values may be of several kinds. Its column has the narrowest type that holds all of them digit for digit; what none
holds is the text of its JSON.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING

from chroma_nb.db.clickhouse.connection import rows_of
from chroma_nb.db.clickhouse.literals import identifier, literal, text
from chroma_nb.errors import InvalidArgumentError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import pyarrow as pa

    from chroma_nb.db.clickhouse.views import View

#: The columns of every record; ``*`` has all but the last.
RECORD_COLUMNS = ("id", "document", "uri", "metadata", "embedding")
#: Columns of metadata keys that ``*`` has at most, as in DuckDB (`db/sql/columns.py`).
_MOST_STARRED = 2_000
#: Views whose columns are kept. Chosen, not measured.
_MOST_KEPT = 64
#: Put before the name of a key that a column of every record has already.
_PREFIX = "metadata."
#: Integers up to this are exact as floats.
_EXACT = 2**53
#: ClickHouse's kinds of values -> the types of columns that have no other.
_SINGLE = {"String": "String", "Double": "Float64", "Bool": "Bool", "whole": "Int64"}
#: The type of a column of JSON texts.
JSON = "JSON"


class Columns:
    """The columns of metadata keys: key -> type, for all keys or for some."""

    def __init__(self, types: dict[str, str], *, is_complete: bool) -> None:
        self.types = types
        self.is_complete = is_complete

    def named(self) -> dict[str, str]:
        """Return column -> key: of its own name, but for what a column of every record has."""
        taken = {*RECORD_COLUMNS, *self.types}
        found = {}
        for key in self.types:
            name = key
            if key in RECORD_COLUMNS:
                name, number = _PREFIX + key, 1
                while name in taken:
                    number += 1
                    name = f"{_PREFIX}{key} ({number})"
                taken.add(name)
            found[name] = key
        return found


class ColumnsCache:
    """The columns of views that were queried lately: finding them reads all metadata."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        #: (table, commit) -> its columns; the one that was used last comes last.
        self._kept: OrderedDict[tuple[str, int], Columns] = OrderedDict()

    def find(
        self, read: Callable[[str], pa.Table], view: View, names: Iterable[str] | None
    ) -> Columns:
        """Return the columns of a view.

        Args:
            read: Asks ClickHouse.
            view: The records.
            names: The names of columns that are wanted; None is all.
        """
        key = (view.log.table, view.number)
        with self._lock:
            kept = self._kept.get(key)
        if kept is not None and kept.is_complete:
            return kept
        wanted = None if names is None else _keys_of(names)
        found = Columns(_types(read, view, wanted), is_complete=wanted is None)
        if found.is_complete and len(found.types) <= _MOST_STARRED:
            with self._lock:
                self._kept[key] = found
                while len(self._kept) > _MOST_KEPT:
                    self._kept.popitem(last=False)
        return found


def _keys_of(names: Iterable[str]) -> set[str]:
    """Return the keys that may have columns of these names."""
    keys = {name for name in names if name not in RECORD_COLUMNS}
    for name in list(keys):
        if name.startswith(_PREFIX):
            # It may be the column of a key with a reserved name. A key that itself has the prefixed name makes that one longer.
            keys |= set(RECORD_COLUMNS) | {f"{_PREFIX}{key}" for key in RECORD_COLUMNS}
    return keys


def _types(read: Callable[[str], pa.Table], view: View, wanted: set[str] | None) -> dict[str, str]:
    if wanted is not None and not wanted:
        return {}
    only = ""
    if wanted is not None:
        only = f" WHERE key IN (SELECT arrayJoin({literal(sorted(wanted))}))"
    rows = read(
        "SELECT key, kind, item, toInt64(max(largest)) AS largest FROM (SELECT key, toString(JSONType(metadata, key)) AS kind, "
        "if(kind = 'Array', toString(JSONType(metadata, key, 1)), '') AS item, multiIf(kind IN ('Int64', 'UInt64'), "
        "abs(JSONExtractInt(metadata, key)), item IN ('Int64', 'UInt64'), arrayMax(x -> abs(x), JSONExtract(metadata, key, "
        "'Array(Int64)')), 0) AS largest FROM (SELECT metadata, arrayJoin(JSONExtractKeys(metadata)) AS key "
        f"FROM {view.log.sql} WHERE {view.records} AND metadata != ''){only}) GROUP BY key, kind, item ORDER BY key"
    )
    kinds: dict[str, list[tuple[str, str, int]]] = {}
    for key, kind, item, largest in rows_of(rows):
        kinds.setdefault(key, []).append((kind, item, largest))
    return {key: _type_of(found) for key, found in kinds.items()}


def _type_of(found: list[tuple[str, str, int]]) -> str:
    """Return the type of a column; `found` has kinds, those of a list's values, and the largest integer."""
    largest = max(one for _, _, one in found)
    kinds = {kind for kind, _, _ in found if kind != "Null"}
    if kinds == {"Array"}:
        inner = _single({item for _, item, _ in found if item != "Null"}, largest)
        return JSON if inner == JSON else f"Array({inner})"
    return _single(kinds, largest)


def _single(kinds: set[str], largest: int) -> str:
    kinds = {"whole" if kind in ("Int64", "UInt64") else kind for kind in kinds}
    if kinds == {"whole", "Double"} and 0 <= largest <= _EXACT:
        return "Float64"
    # No kind at all: only missing values, or only empty lists.
    return _SINGLE.get(kinds.pop(), JSON) if len(kinds) == 1 else JSON if kinds else "String"


def _value(record: str, key: str, of_type: str) -> str:
    """Return the expression of a key's value in a record's metadata."""
    metadata, name = f"{record}.metadata", text(key)
    if of_type.startswith("Array"):
        return f"JSONExtract({metadata}, {name}, '{of_type}')"
    if of_type != JSON:
        return f"JSONExtract({metadata}, {name}, 'Nullable({of_type})')"
    # JSONExtractRaw writes 1.0 as 1.
    kind, items = f"JSONType({metadata}, {name})", f"JSONType({metadata}, {name}, 1)"
    one = _float_text(f"JSONExtractFloat({metadata}, {name})")
    many = f"arrayMap(x -> {_float_text('x')}, JSONExtract({metadata}, {name}, 'Array(Float64)'))"
    return (
        f"multiIf(NOT JSONHas({metadata}, {name}), NULL, {kind} = 'Double', {one}, {kind} = 'Array' AND {items} = 'Double', "
        f"concat('[', arrayStringConcat({many}, ','), ']'), JSONExtractRaw({metadata}, {name}))"
    )


def _float_text(value: str) -> str:
    shown = f"toString({value})"
    return f"concat({shown}, if(match({shown}, '^-?[0-9]+$'), '.0', ''))"


def select_of(
    view: View,
    database: str,
    columns: Columns,
    names: set[str] | None,
    record: str,
    collection: str,
    *,
    has_embedding: bool,
) -> str:
    """Return the SELECT that a collection is in a query.

    Args:
        view: Its records.
        database: Where its table is, as SQL.
        columns: Of its metadata keys.
        names: Names in the query that may be columns of keys; None is all.
        record: A name that nothing else has.
        collection: What it is called.
        has_embedding: It has its embeddings.

    Raises:
        InvalidArgumentError: A star would have too many columns.
    """
    named = columns.named()
    if names is None and len(named) > _MOST_STARRED:
        raise InvalidArgumentError(
            f"Collection {collection!r} has {len(named):,} metadata keys, and * has {_MOST_STARRED:,} columns at most. Name "
            "the columns that you want; the column metadata holds all of them."
        )
    chosen = [f"{record}.{name} AS {name}" for name in ("id", "document", "uri")]
    chosen.append(f"nullIf({record}.metadata, '') AS metadata")
    for name, key in named.items():
        if names is None or name in names:
            chosen.append(f"{_value(record, key, columns.types[key])} AS {identifier(name)}")
    if has_embedding:
        chosen.append(f"{record}.embedding AS embedding")
    # The condition is in a query of its own, where no column that is made here hides one of the table's.
    table = f"{database}.{view.log.sql}"
    records = f"SELECT id, document, uri, metadata, embedding FROM {table} WHERE {view.records}"
    if has_embedding and view.counters.n_removed:
        # A record that was changed, but for its embedding, has that in an earlier row of its label.
        live = f"SELECT label, id, document, uri, metadata, embedding FROM {table} WHERE {view.records}"
        bare = f"SELECT label FROM {table} WHERE {view.records} AND empty(embedding)"
        before = f"SELECT label, embedding FROM {table} WHERE {view.vectors} AND label IN ({bare})"
        records = (
            "SELECT n.id AS id, n.document AS document, n.uri AS uri, n.metadata AS metadata, if(empty(n.embedding), "
            f"o.embedding, n.embedding) AS embedding FROM ({live}) AS n LEFT ANY JOIN ({before}) AS o ON n.label = o.label"
        )
    return f"SELECT {', '.join(chosen)} FROM ({records}) AS {record}"
