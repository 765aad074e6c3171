"""The columns and the description of the tables that chroma_nb makes, in memory and in Parquet files.

Columns: id (string), document (string), uri (string), metadata (string, JSON), embedding (fixed-size list of
float32). The schema's metadata holds the collection's name, metadata and configuration.
"""

from __future__ import annotations

import json
import zlib
from importlib import import_module
from typing import TYPE_CHECKING, Any

from chroma_nb.errors import InvalidArgumentError
from chroma_nb.lazy import require_extra
from chroma_nb.validation import (
    check_collection_metadata,
    check_collection_name,
    recorded_configuration,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chroma_nb.api.scanning import ScanPiece
    from chroma_nb.collection.collection import Collection

#: Key of our description in the metadata of a table's schema.
_DESCRIPTION = b"chroma_nb"
#: Checksum of the description, as Parquet's own checksums do not cover the footer. Older files have none.
_DESCRIPTION_SUM = b"chroma_nb_crc32"
FORMAT_VERSION = 1
_TEXTS = ("id", "document", "uri", "metadata")
COLUMNS = (*_TEXTS, "embedding")
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
    }
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


def read_description(schema: Any, what: str) -> dict[str, Any] | None:
    """Return the description of the collection that a table was made from, None if the table has none.

    Args:
        schema: The table's `pyarrow.Schema`.
        what: What the table is, at the beginning of a message.

    Returns:
        The keys "name", "configuration" and "metadata", checked.

    Raises:
        InvalidArgumentError: The description cannot be used.
    """
    metadata = schema.metadata or {}
    text = metadata.get(_DESCRIPTION)
    if text is None:
        return None
    try:
        if metadata.get(_DESCRIPTION_SUM, _sum(text)) != _sum(text):
            raise ValueError("it is not as it was written")
        found = json.loads(text)
        if not isinstance(found, dict) or found.get("format") != FORMAT_VERSION:
            version = found.get("format") if isinstance(found, dict) else None
            raise ValueError(f"it is in format {version!r}, this chroma-nb reads {FORMAT_VERSION}")
        check_collection_name(found.get("name"))
        return {
            "name": found["name"],
            "configuration": recorded_configuration(found.get("configuration")),
            "metadata": check_collection_metadata(found.get("metadata")),
        }
    except (ValueError, TypeError, RecursionError) as error:
        raise InvalidArgumentError(
            f"{what} has a chroma_nb description that cannot be used: {error}"
        ) from error
