"""The keys of a collection's metadata, and a summary of each, computed by ClickHouse."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from chroma_nb.db.clickhouse.connection import rows_of
from chroma_nb.db.clickhouse.literals import literal
from chroma_nb.db.field_summary import MOST_FIELDS, WHOLE, FieldKind, summary_of
from chroma_nb.types import MOST_METADATA_KEYS

if TYPE_CHECKING:
    from collections.abc import Callable

    import pyarrow as pa

    from chroma_nb.db.clickhouse.views import View
    from chroma_nb.types import FieldSummary

#: ClickHouse's names of JSON types -> ours; an object is a sparse vector, and all others are lists.
_KINDS = {
    "String": "str",
    "Int64": "int",
    "UInt64": "int",
    "Double": "float",
    "Bool": "bool",
    "Object": "SparseVector",
}
#: Reads a value of a kind: as JSON, 1.0 would be 1.
_READ: dict[str, Callable[[str], Any]] = {
    "str": str,
    "int": int,
    "float": float,
    "bool": lambda text: text == "true",
}


def metadata_keys(read: Callable[[str], pa.Table], view: View) -> list[str]:
    """Return the metadata keys of a view, sorted by code points; of too many the first `MOST_METADATA_KEYS`."""
    table = read(
        f"SELECT DISTINCT key FROM (SELECT arrayJoin(JSONExtractKeys(metadata)) AS key FROM {view.log.sql} "
        f"WHERE {view.records} AND metadata != '') ORDER BY key LIMIT {MOST_METADATA_KEYS}"
    )
    # By UTF-8's bytes, which is the order of code points.
    return list(table["key"].to_pylist())


def describe(read: Callable[[str], pa.Table], view: View, n_values: int) -> list[FieldSummary]:
    """Return a summary of each metadata key, the most frequent first, at most 200."""
    metadatas = f"FROM {view.log.sql} WHERE {view.records} AND metadata != ''"
    keys = read(
        f"SELECT key, count() AS n FROM (SELECT arrayJoin(JSONExtractKeys(metadata)) AS key {metadatas}) "
        f"GROUP BY key ORDER BY n DESC, key LIMIT {MOST_FIELDS}"
    )["key"].to_pylist()
    if not keys:
        return []
    pairs = (
        "SELECT key, toString(JSONType(metadata, key)) AS kind, multiIf(kind = 'String', JSONExtractString(metadata, key), "
        "kind = 'Double', toString(JSONExtractFloat(metadata, key)), JSONExtractRaw(metadata, key)) AS said, "
        "JSONExtractInt(metadata, key) AS whole, JSONExtractFloat(metadata, key) AS real "
        f"FROM (SELECT metadata, arrayJoin(JSONExtractKeys(metadata)) AS key {metadatas}) "
        f"WHERE key IN (SELECT arrayJoin({literal(keys)}))"
    )
    kinds: dict[str, list[FieldKind]] = {key: [] for key in keys}
    for row in rows_of(
        read(
            "SELECT key, kind, toInt64(count()) AS n, min(whole) AS lowest, max(whole) AS highest, min(real) AS lowest_real, "
            f"max(real) AS highest_real, toInt64(uniq(said)) AS n_distinct FROM ({pairs}) GROUP BY key, kind ORDER BY key, kind"
        )
    ):
        key, kind, n, lowest, highest, lowest_real, highest_real, n_distinct = row
        name = _KINDS.get(kind, "list")
        if name != "int":
            lowest = highest = None
        if name != "float":
            lowest_real = highest_real = None
        kinds[key].append(
            FieldKind(name, n, lowest, highest, lowest_real, highest_real, n_distinct)
        )
    few = [
        key
        for key, found in kinds.items()
        # `n_distinct` is an estimate: twice as many are let through, and `summary_of` cuts off what is too much.
        if sum(kind.n_distinct for kind in found if kind.name not in WHOLE) <= 2 * n_values + 2
    ]
    values: dict[str, list[tuple[Any, int]]] = {key: [] for key in few}
    if few:
        for key, kind, said, n in rows_of(
            read(
                f"SELECT key, kind, said, toInt64(count()) AS n FROM ({pairs}) WHERE kind IN ('String', 'Int64', 'UInt64', "
                f"'Double', 'Bool') AND key IN (SELECT arrayJoin({literal(few)})) GROUP BY key, kind, said"
            )
        ):
            values[key].append((_READ[_KINDS[kind]](said), n))
    return [summary_of(key, found, values.get(key), n_values) for key, found in kinds.items()]
