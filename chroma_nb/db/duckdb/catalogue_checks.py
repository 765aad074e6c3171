"""Checks of what a store's own tables say: whoever may write to its folder has written them.

A value becomes a path, a size or a statement only after it was checked here. `BadRowError` says which value is wrong;
the caller adds whose it is.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any
from uuid import UUID

from chroma_nb.db.base import NO_TEXTS, Extent, TextSizes
from chroma_nb.db.block_sums import rows_per_block
from chroma_nb.db.chunks import Padding
from chroma_nb.schema_json import wrong_form
from chroma_nb.types import COLLECTION_NAME, MAX_DIMENSION, SPACES, CollectionInfo
from chroma_nb.words import brief

if TYPE_CHECKING:
    from collections.abc import Sequence

#: No count, number or label is larger: adding to it must not leave DuckDB's BIGINT.
_MOST = 1 << 62
#: A checksum has 64 bits.
_MOST_SUM = (1 << 64) - 1
#: How deep JSON may be nested. What is written has 64 levels at most, beside two of its own.
_MOST_DEPTH = 80
#: Fields of hnsw that are whole numbers, where they are there.
_HNSW_NUMBERS = ("ef_construction", "ef_search", "max_neighbors", "sync_threshold")


class BadRowError(ValueError):
    """A stored value that no store of ours has."""


def whole(value: Any, what: str, least: int = 0, most: int = _MOST) -> int:
    """Return a whole number of the catalogue.

    Args:
        value: What is stored.
        what: Its name, for the message.
        least: The smallest that can be right.
        most: The largest that can be right.

    Raises:
        BadRowError: It is no whole number, or not one of these.
    """
    if type(value) is not int or not least <= value <= most:
        raise BadRowError(
            f"its {what} is {brief(value)!r}, and not a whole number from {least:,} to {most:,}"
        )
    return value


def text(value: Any, what: str) -> str:
    """Return a text of the catalogue; `BadRowError` where it is something else."""
    if not isinstance(value, str):
        raise BadRowError(f"its {what} is {brief(value)!r}, and not a text")
    return value


def uuid(value: Any, what: str) -> UUID:
    """Return an id of the catalogue, which has to be written as we write it: files and tables are named after it."""
    try:
        found = UUID(text(value, what))
    except ValueError:
        found = None
    if found is None or str(found) != value:
        raise BadRowError(f"its {what} is {brief(value)!r}, and not a UUID")
    return found


def _name(value: Any) -> str:
    name = text(value, "name")
    if not COLLECTION_NAME.fullmatch(name):
        raise BadRowError(f"its name is {brief(name)!r}, and no collection has such a name")
    return name


def read_info(row: Sequence[Any]) -> CollectionInfo:
    """Return what a row of the catalogue (`cached_catalogue.entry_from_row`) says of a collection; `BadRowError` where that cannot be."""
    dimension, ttl = row[7], row[12]
    if dimension is not None:
        whole(dimension, "dimension", 1, MAX_DIMENSION)
    if ttl is not None and not (isinstance(ttl, float) and 0 < ttl < math.inf):
        raise BadRowError(f"its ttl_seconds is {brief(ttl)!r}, and not a number above 0")
    return CollectionInfo(
        id=uuid(row[0], "id"),
        name=_name(row[1]),
        tenant=text(row[2], "tenant"),
        database=text(row[3], "database"),
        configuration=_configuration(row[5]),
        metadata=None if row[6] is None else _metadata(row[6]),
        dimension=dimension,
        ttl_seconds=ttl,
        schema=None if row[18] is None else _schema(row[18]),
    )


def read_extent(row: Sequence[Any]) -> Extent:
    """Return the numbers in a row of `schema.COLLECTION_COLUMNS`; `BadRowError` where they cannot be."""
    next_label = whole(row[9], "next_label")
    if next_label and row[7] is None:
        raise BadRowError(f"it has {next_label:,} vectors and no dimension")
    # Each record has a label of its own, and had a place in storage order.
    n_records = whole(row[8], "n_records", 0, next_label)
    next_sequence = whole(row[10], "next_sequence", n_records)
    return Extent(
        n_records,
        next_label,
        next_sequence,
        whole(row[11], "generation"),
        whole(row[13], "version"),
    )


def read_tail(row: Sequence[Any]) -> tuple[int, int] | None:
    """Return (rows, checksum) of the vectors after the last full block; None where the store has no checksums."""
    rows, checksum = row[14], row[15]
    if rows is None:
        return None
    # Without a vector there is no block.
    block_rows = rows_per_block(4 * row[7]) if row[7] is not None else 1
    return (
        whole(rows, "tail_rows", 0, block_rows - 1),
        whole(checksum, "tail_sum", 0, _MOST_SUM),
    )


def read_padding(stored: Any) -> Padding:
    """Return which records of a table have padding."""
    return Padding(0 if stored is None else whole(stored, "padding", 0, max(Padding)))


def read_texts(stored: Any, extent: Extent) -> TextSizes | None:
    """Return the sizes that the last commit has stored; None where it stored none, or none that can be right.

    They are measured again then. Sizes of an earlier version are left from before an older chroma_nb, which stores
    none, wrote to the collection.
    """
    if not extent.n_records and not extent.next_label:
        return NO_TEXTS
    if stored is None:
        return None
    try:
        version, *sizes = json.loads(stored)
        if version != extent.version:
            return None
        return TextSizes(*(whole(size, "text_sizes") for size in sizes))
    except (ValueError, TypeError, RecursionError):
        return None


def _configuration(stored: Any) -> dict[str, Any]:
    """Return a configuration, of which every field has its kind; numbers out of range are handled where they are used."""
    found = _json_object(stored, "configuration")
    hnsw, function = found.get("hnsw"), found.get("embedding_function", "")
    if not isinstance(hnsw, dict) or hnsw.get("space") not in SPACES:
        raise BadRowError("its configuration names no distance")
    if function is not None and not (
        isinstance(function, dict) and isinstance(function.get("type"), str)
    ):
        raise BadRowError("its configuration does not say which embedding function it has")
    if not isinstance(found.get("spann"), dict | None):
        raise BadRowError("its configuration has a spann that is no object")
    for key in _HNSW_NUMBERS:
        if hnsw.get(key) is not None and type(hnsw[key]) is not int:
            raise BadRowError(f"its {key} is {brief(hnsw[key])!r}, and not a whole number")
    factor = hnsw.get("resize_factor")
    if factor is not None and type(factor) not in (int, float):
        raise BadRowError(f"its resize_factor is {brief(factor)!r}, and not a number")
    return found


def _metadata(stored: Any) -> dict[str, Any]:
    found = _json_object(stored, "metadata")
    for key, value in found.items():
        if any(isinstance(one, dict | list) for one in (value if isinstance(value, list) else ())):
            raise BadRowError(f"its metadata has a nested list under {brief(key)!r}")
        if isinstance(value, dict):
            raise BadRowError(f"its metadata has an object under {brief(key)!r}")
    return found


def _schema(stored: Any) -> dict[str, Any]:
    found = _json_object(stored, "schema")
    wrong = wrong_form(found)
    if wrong:
        raise BadRowError(f"its schema has {wrong}")
    return found


def _json_object(stored: Any, what: str) -> dict[str, Any]:
    """Read a JSON object that every reader of JSON can read."""
    try:
        found = json.loads(text(stored, what))
    except BadRowError:
        raise
    except (ValueError, RecursionError) as error:
        raise BadRowError(f"its {what} is no JSON ({brief(str(error))})") from None
    if not isinstance(found, dict):
        raise BadRowError(f"its {what} is no JSON object")
    _check_json(found, what)
    return found


def _check_json(value: Any, what: str, depth: int = 0) -> None:
    """Refuse deep nesting and floats that are not finite: they would break every answer that lists the collection."""
    if depth > _MOST_DEPTH:
        raise BadRowError(f"its {what} has more than {_MOST_DEPTH} levels")
    if isinstance(value, float) and not math.isfinite(value):
        raise BadRowError(f"its {what} has a number that is not finite")
    if isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            _check_json(inner, what, depth + 1)
