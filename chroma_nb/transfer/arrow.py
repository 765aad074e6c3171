"""A collection as a `pyarrow.Table`, and tables into a collection."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from chroma_nb.api.copying import PIECE_RECORDS
from chroma_nb.api.scanning import COPIES, PIECE_BYTES
from chroma_nb.memory.preflight import require
from chroma_nb.transfer.decoded import Expansion
from chroma_nb.transfer.export_format import (
    RecordBatches,
    arrow_schema,
    pyarrow_for,
    read_description,
)
from chroma_nb.transfer.export_rows import ExportedRows
from chroma_nb.transfer.frames import add_frame
from chroma_nb.transfer.pieces import add_pieces
from chroma_nb.transfer.stores import check_function, place_of
from chroma_nb.transfer.tables import ArrowTable, cells_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chroma_nb.collection.collection import Collection
    from chroma_nb.transfer.report import TransferReport
    from chroma_nb.types import OnConflict, Where, WhereDocument

#: Id, document and metadata of a record that is a sentence; used if the store does not know its sizes.
_TYPICAL_RECORD_BYTES = 300
#: What a record takes beside its texts: their offsets, and the allocator's rounding.
_CELLS_BYTES = 32
#: A table takes this many times the bytes of its records.
_TABLE_FACTOR = 1.1
_CHOOSE = "choose some: to_arrow(where=...)"


def collection_to_arrow(
    collection: Collection,
    where: Where | None = None,
    where_document: WhereDocument | None = None,
    *,
    batches: bool = False,
) -> Any:
    """Return records as a `pyarrow.Table`, or as a `pyarrow.RecordBatchReader` that reads them piece by piece.

    Columns: id (string), document (string), uri (string), metadata (string, JSON), embedding
    (fixed-size list of float32). The schema's metadata holds the collection's name and configuration. The records
    are those of this moment, however long a reader takes to be read.

    Args:
        collection: What to read.
        where: Metadata filter.
        where_document: Document filter.
        batches: Return a reader. It is closed when it is read to its end, or dropped. After an error or an interrupt it
            goes on where it was stopped.

    Raises:
        MemoryBudgetError: There is no room for the table; a reader raises it where a record alone does not fit.
    """
    pa = pyarrow_for("Collection.to_arrow()")
    place = place_of(collection)
    scan = place.scan(where=where, where_document=where_document)
    schema = arrow_schema(pa, collection, scan.dimension)
    if batches:
        return pa.RecordBatchReader.from_batches(schema, RecordBatches(pa, scan, schema))
    with scan:
        each = place.record_bytes()
        if each is None:
            each = 4 * scan.dimension + _TYPICAL_RECORD_BYTES
        require(
            table_bytes(scan.n_records, each),
            f"to_arrow() of {scan.n_records:,} records",
            "read them piece by piece: to_arrow(batches=True)",
            "write them to a file, which goes piece by piece: collection.export(path)",
            "choose some: to_arrow(where=...)",
        )
        return pa.Table.from_batches(list(RecordBatches(pa, scan, schema)), schema=schema)


def table_bytes(n_records: int, record_bytes: int) -> int:
    """Return the bytes that making a table of records takes: the table, and one piece of records beside it."""
    whole = int(_TABLE_FACTOR * n_records * (record_bytes + _CELLS_BYTES))
    return whole + min(COPIES * whole, PIECE_BYTES)


def add_arrow(
    collection: Collection,
    table: Any,
    *,
    id: str | None = None,
    document: str | None = None,
    embedding: str | None = None,
    metadata: Sequence[str] | None = None,
    on_conflict: OnConflict = "skip",
) -> TransferReport:
    """Add the rows of a `pyarrow.Table`, RecordBatch or RecordBatchReader.

    A table of `collection_to_arrow` comes back as it was; columns that were added to it become metadata. Any other
    table, and any table if columns are named here, is read as `add_frame` reads a DataFrame.
    """
    pyarrow_for("Collection.from_arrow()")
    started = time.monotonic()
    rows = ArrowTable(table)
    named = (id, document, embedding, metadata) != (None, None, None, None)
    settings = collection.client.get_settings()
    description = None if named else read_description(rows.table.schema, "The table", settings)
    if description is None:
        return add_frame(
            collection,
            rows.table,
            id=id,
            document=document,
            embedding=embedding,
            metadata=metadata,
            on_conflict=on_conflict,
        )
    check_function(collection, description["configuration"])
    own = ExportedRows(TableReader(rows.table), rows.columns)
    report = add_pieces(collection, own, on_conflict)
    own.describe(report)
    report.seconds = time.monotonic() - started
    return report


class TableReader:
    """Rows of a table in memory."""

    def __init__(self, table: Any) -> None:
        self._table = table
        self.n_rows = int(table.num_rows)
        self.expansion = Expansion("The table", int(table.get_total_buffer_size()))

    def ids(self) -> list[Any]:
        """Return the column of ids."""
        return cells_of(self._table, "id")

    def read(self, start: int, stop: int) -> Any:
        """Return rows start .. stop - 1 as a table."""
        return self._table.slice(start, stop - start)

    def read_on(self, start: int, n_bytes: int) -> Any:
        """Return the rows from `start` on as a table: they are in memory, however large."""
        return self._table.slice(start, PIECE_RECORDS)
