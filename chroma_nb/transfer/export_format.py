"""The columns and the description of the tables that chroma_nb makes, in memory and in Parquet files.

Columns: id (string), document (string), uri (string), metadata (string, JSON), embedding (fixed-size list of
float32). The schema's metadata holds the collection's name, metadata, configuration and schema, and the names of these columns.
"""

from __future__ import annotations

import json
import zlib
from importlib import import_module
from typing import TYPE_CHECKING, Any

from chroma_nb.errors import InvalidArgumentError
from chroma_nb.lazy import require_extra
from chroma_nb.memory.sizes import format_bytes, parse_bytes
from chroma_nb.schema_json import stated, wrong_form
from chroma_nb.validation import (
    check_collection_metadata,
    check_collection_name,
    recorded_configuration,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from chroma_nb.api.scanning import ScanPiece
    from chroma_nb.collection.collection import Collection
    from chroma_nb.settings import Settings

#: Key of our description in the metadata of a table's schema.
_DESCRIPTION = b"chroma_nb"
#: Checksum of the description, as Parquet's own checksums do not cover the footer. Older files have none.
_DESCRIPTION_SUM = b"chroma_nb_crc32"
FORMAT_VERSION = 1
_TEXTS = ("id", "document", "uri", "metadata")
COLUMNS = (*_TEXTS, "embedding")
#: What is in the text of a description beside what `Settings.max_description` counts: keys, and names of columns.
_AROUND_BYTES = 1_000
#: The first pyarrow whose Parquet files have checksums. Without them damage would be read as records.
_PARQUET_PYARROW = 15


def pyarrow_for(needed_by: str) -> Any:
    """Return the module pyarrow.

    Args:
        needed_by: The method that needs it, for the message.

    Raises:
        ImportError: It is not installed.
    """
    return require_extra("pyarrow", extra="arrow", needed_by=needed_by)


def parquet_for(needed_by: str) -> tuple[Any, Any]:
    """Return the modules pyarrow and pyarrow.parquet.

    Args:
        needed_by: The method that needs them, for the message.

    Raises:
        ImportError: pyarrow is not installed, or it is too old to write and check checksums.
    """
    pa = pyarrow_for(needed_by)
    if int(pa.__version__.partition(".")[0]) < _PARQUET_PYARROW:
        raise ImportError(
            f"{needed_by} needs pyarrow {_PARQUET_PYARROW} or newer, which checks the checksums of Parquet files; "
            f'{pa.__version__} is installed: pip install --upgrade "chroma-nb[arrow]"'
        )
    return pa, import_module("pyarrow.parquet")


def arrow_schema(pa: Any, collection: Collection, dimension: int) -> Any:
    """Return the schema of a collection's table, with its description.

    Args:
        pa: The module pyarrow.
        collection: The collection.
        dimension: Floats of an embedding; 0 where there is no record.
    """
    description = {
        "format": FORMAT_VERSION,
        "name": collection.name,
        "metadata": collection.metadata,
        "configuration": collection.configuration_json,
        "columns": COLUMNS,
    }
    schema = collection.get_model().schema
    if schema is not None:
        description["schema"] = schema
    texts = [pa.field(name, pa.string()) for name in _TEXTS]
    vector = pa.field("embedding", pa.list_(pa.float32(), dimension))
    text = json.dumps(description).encode()
    return pa.schema(
        [*texts, vector],
        metadata={_DESCRIPTION: text, _DESCRIPTION_SUM: _sum(text)},
    )


def _sum(text: bytes) -> bytes:
    return str(zlib.crc32(text)).encode()


class RecordBatches:
    """Yields a `pyarrow.RecordBatch` of the schema for each piece of a scan that has records.

    This is no generator, as a generator ends with its first error: whoever reads on after an interrupt, or once there is
    memory again, would take the records so far for all of them. This one goes on where it was stopped, as scans do.

    Args:
        pa: The module pyarrow.
        scan: The pieces.
        schema: Of the batches.
    """

    def __init__(self, pa: Any, scan: Iterator[ScanPiece], schema: Any) -> None:
        self._pa = pa
        self._scan = scan
        self._schema = schema
        #: What was read and not returned yet.
        self._piece: ScanPiece | None = None

    def __iter__(self) -> RecordBatches:
        return self

    def __next__(self) -> Any:
        while True:
            piece = self._piece
            if piece is None:
                piece = self._piece = next(self._scan)
            batch = self._batch(piece) if piece.ids else None
            self._piece = None
            if batch is not None:
                return batch

    def _batch(self, piece: ScanPiece) -> Any:
        from chroma_nb.wire.arrow_columns import from_texts, from_vectors

        texts: list[Any] = [piece.ids, piece.documents, piece.uris, piece.metadatas]
        vectors: Any = piece.embeddings
        columns = [*map(from_texts, texts), from_vectors(vectors)]
        return self._pa.RecordBatch.from_arrays(columns, schema=self._schema)


def read_description(schema: Any, what: str, settings: Settings) -> dict[str, Any] | None:
    """Return the description of the collection that a table was made from, None if the table has none.

    Args:
        schema: The table's `pyarrow.Schema`.
        what: What the table is, at the beginning of a message.
        settings: Its `max_description` is the limit.

    Returns:
        The keys "name", "configuration" and "metadata", checked; "columns": the names of the columns that
        `collection_to_arrow` made; and "schema": what the collection's says beyond the default one, None where nothing.

    Raises:
        InvalidArgumentError: The description cannot be used.
    """
    metadata = schema.metadata or {}
    text = metadata.get(_DESCRIPTION)
    if text is None:
        return None
    most = parse_bytes(settings.max_description)
    # Before it is parsed: as Python objects it takes thirty times as much.
    if len(text) > most + _AROUND_BYTES:
        raise InvalidArgumentError(
            f"{what} has a chroma_nb description of {format_bytes(len(text))}, the limit is {format_bytes(most)} "
            "(Settings.max_description). If you trust it, raise the limit where the store is opened; or add its rows "
            "without it (a file's with table = pyarrow.parquet.read_table(path)): "
            "collection.from_arrow(table.replace_schema_metadata(None)). Nothing was added."
        )
    try:
        if metadata.get(_DESCRIPTION_SUM, _sum(text)) != _sum(text):
            raise ValueError("it is not as it was written")
        found = json.loads(text)
        if not isinstance(found, dict) or found.get("format") != FORMAT_VERSION:
            version = found.get("format") if isinstance(found, dict) else None
            raise ValueError(f"it is in format {version!r}, this chroma-nb reads {FORMAT_VERSION}")
        check_collection_name(found.get("name"))
        # Older versions did not say.
        columns = found.get("columns", list(COLUMNS))
        if not isinstance(columns, list) or not all(isinstance(one, str) for one in columns):
            raise ValueError("its columns are no list of names")
        return {
            "name": found["name"],
            "configuration": recorded_configuration(found.get("configuration")),
            "metadata": check_collection_metadata(found.get("metadata")),
            "columns": columns,
            "schema": _checked_form(found.get("schema")),
        }
    except (ValueError, TypeError, RecursionError) as error:
        raise InvalidArgumentError(
            f"{what} has a chroma_nb description that cannot be used: {error}"
        ) from error


def _checked_form(schema: Any) -> dict[str, Any] | None:
    """Return a schema that `complete` can read. Whether it can be had, a store says that makes a collection with it."""
    if schema is None:
        return None
    wrong = wrong_form(schema)
    if wrong:
        raise ValueError(f"its schema has {wrong}")
    return stated(schema)


def check_columns(schema: Any, columns: Sequence[str], what: str) -> None:
    """Check that a file has the columns that `export()` wrote, of a type that they can have.

    Damage may change the name of a column, which would then become metadata, or its type. Of a table in memory somebody may
    have dropped columns.

    Args:
        schema: The file's `pyarrow.Schema`.
        columns: Their names.
        what: What the file is, at the beginning of a message.

    Raises:
        InvalidArgumentError: A column is missing, or of another type.
    """
    way_out = "If that is meant, add it as a table: collection.from_arrow(pyarrow.parquet.read_table(path))."
    for name in columns:
        if name not in schema.names:
            raise InvalidArgumentError(
                f"{what} lacks the column {name!r}, which export() wrote; it has: {', '.join(schema.names)}. "
                f"{way_out} Nothing was added."
            )
    for name, kind in zip(schema.names, schema.types, strict=True):
        expected = _expected(name, kind)
        if expected is not None:
            raise InvalidArgumentError(
                f"{what} has the type {kind} in its column {name!r}, which is of {expected}. {way_out} Nothing was added."
            )


def _expected(name: str, kind: Any) -> str | None:
    """Return what one of our columns holds, None where it is of such a type."""
    import pyarrow as pa

    types = pa.types
    if name == "embedding":
        # Also Arrow's other forms of lists, which other writers make of ours.
        inner = getattr(kind, "value_type", None)
        is_right = not types.is_dictionary(kind) and (
            inner is not None and (types.is_floating(inner) or types.is_integer(inner))
        )
        return None if is_right else "lists of numbers"
    if types.is_dictionary(kind):
        kind = kind.value_type
    is_right = str(kind) in ("string", "large_string", "string_view", "null")
    return None if is_right or name not in _TEXTS else "texts"
