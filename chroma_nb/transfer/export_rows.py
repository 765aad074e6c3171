"""`ExportedRows`: rows of a table that chroma_nb made, on their way into a collection."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from chroma_nb.errors import InvalidArgumentError
from chroma_nb.transfer.cells import MetadataCells
from chroma_nb.transfer.decoded import row_bytes
from chroma_nb.transfer.export_format import COLUMNS
from chroma_nb.transfer.pieces import Rows, Window
from chroma_nb.transfer.tables import cells_of, table_row_bytes
from chroma_nb.validation import check_ids, check_metadatas

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from chroma_nb.transfer.decoded import Expansion
    from chroma_nb.transfer.report import TransferReport

#: How many times its size JSON takes as Python objects.
_JSON_FACTOR = 8


class RowReader(Protocol):
    """Where the rows are: a table in memory, or a file."""

    n_rows: int
    #: What the rows decode to, and how much is allowed.
    expansion: Expansion

    def ids(self) -> list[Any]:
        """Return the column of ids."""

    def read(self, start: int, stop: int) -> Any:
        """Return rows start .. stop - 1 as a table."""

    def read_on(self, start: int, n_bytes: int) -> Any:
        """Return the rows from `start` on as a table: one at least, and a useful number at most.

        Args:
            start: The first row.
            n_bytes: Rows that decode to more are not looked for.
        """


class ExportedRows(Rows):
    """The rows of a table that `collection_to_arrow` made.

    Args:
        reader: Where the rows are.
        columns: The table's columns; those that `collection_to_arrow` does not make are metadata.

    Raises:
        InvalidArgumentError: Columns are missing or there twice, or an id is missing.
        ValueError: As `check_ids`.
    """

    def __init__(self, reader: RowReader, columns: Sequence[str]) -> None:
        self._reader = reader
        self.n_rows = reader.n_rows
        self._columns = set(columns)
        if len(self._columns) < len(columns):
            twice = next(name for name in columns if list(columns).count(name) > 1)
            raise InvalidArgumentError(
                f"The table has several columns {twice!r}. Rename or drop one of them; nothing was added."
            )
        if "id" not in self._columns or not self._columns & {"document", "embedding"}:
            raise InvalidArgumentError(
                "A table of to_arrow() has lost its id column, or both document and embedding; it has: "
                f"{', '.join(columns)}. To say what its columns are, name them: id='...', document='...'."
            )
        self._more = [MetadataCells(name) for name in columns if name not in COLUMNS]
        ids = reader.ids()
        if len(ids) != self.n_rows:
            raise InvalidArgumentError(
                f"The table has {len(ids):,} ids and {self.n_rows:,} rows. Nothing was added."
            )
        missing = ids.index(None) if None in ids else None
        if missing is not None:
            raise InvalidArgumentError(
                f"Row {missing:,}, column 'id': the id is missing. Nothing was added."
            )
        self.ids = check_ids(ids) if ids else []

    def window(self, start: int, n_bytes: int) -> Window:
        table = self._reader.read_on(start, n_bytes)
        sizes = table_row_bytes(table)
        if "metadata" in self._columns:
            sizes += _JSON_FACTOR * row_bytes(table.column("metadata"))
        n_rows, n_bytes = self._reader.expansion.rows_within(start, sizes, n_bytes)
        return Window(start, start + n_rows, n_bytes)

    def piece(self, rows: Sequence[int], *, counted: bool = True) -> dict[str, Any]:
        start, stop = rows[0], rows[-1] + 1
        table = self._reader.read(start, stop)
        if len(rows) < stop - start:
            table = table.take([row - start for row in rows])
        parts: dict[str, Any] = {
            f"{name}s": cells_of(table, name) if name in self._columns else None
            for name in ("document", "uri")
        }
        parts["metadatas"] = self._metadatas(table, rows, counted)
        parts["embeddings"] = self._vectors(table, rows) if "embedding" in self._columns else None
        return parts

    def describe(self, report: TransferReport) -> None:
        """Tell a report what changed in the columns that were added to the table."""
        report.ids = "the column 'id'"
        for kept in self._more:
            kept.describe(report, kept.key)

    def _metadatas(
        self, table: Any, rows: Sequence[int], counted: bool
    ) -> list[dict[str, Any] | None]:
        texts = [None] * len(rows)
        if "metadata" in self._columns:
            texts = cells_of(table, "metadata")
        out = self._parsed(texts, rows)
        for kept in self._more:
            key = kept.key
            values = kept if counted else MetadataCells(key)
            for at, cell in enumerate(cells_of(table, key)):
                try:
                    value = values.value(cell)
                except (ValueError, TypeError) as error:
                    raise self._bad_cell(rows[at], key, error) from None
                if value is None:
                    continue
                metadata = dict(out[at] or {})
                known = metadata.get(key, value)
                if known != value or type(known) is not type(value):
                    reason = ValueError(f"its metadata says {known!r} for the same key")
                    raise self._bad_cell(rows[at], key, reason)
                metadata[key] = value
                out[at] = metadata
        return out

    def _parsed(
        self, texts: Sequence[str | None], rows: Sequence[int]
    ) -> list[dict[str, Any] | None]:
        """Return the metadata of JSON texts, checked."""
        try:
            found = [None if text is None else json.loads(text) for text in texts]
            return check_metadatas(found) if found else []
        except (ValueError, TypeError, RecursionError):
            # Of which row, is found by another look at each.
            pass
        out: list[dict[str, Any] | None] = []
        for row, text in zip(rows, texts, strict=True):
            try:
                out.append(None if text is None else check_metadatas([json.loads(text)])[0])
            except (ValueError, TypeError, RecursionError) as error:
                raise self._bad_cell(row, "metadata", error) from None
        return out

    def _vectors(self, table: Any, rows: Sequence[int]) -> NDArray[np.float32]:
        """Return the embeddings of a table with the given rows: shape (n, dimension), float32, C-contiguous.

        Raises:
            InvalidArgumentError: Some embedding is missing, no list of finite numbers, or of another dimension.
        """
        import pyarrow as pa
        import pyarrow.compute as pc

        from chroma_nb.wire.arrow_columns import to_numbers

        column = table.column("embedding").combine_chunks()
        kind = column.type
        is_list = (
            pa.types.is_list(kind)
            or pa.types.is_large_list(kind)
            or pa.types.is_fixed_size_list(kind)
        )
        if not is_list or not (
            pa.types.is_floating(kind.value_type) or pa.types.is_integer(kind.value_type)
        ):
            raise InvalidArgumentError(
                f"Column 'embedding' has the type {kind}, and an embedding is a list of numbers. Nothing was added."
            )
        if column.null_count:
            at = column.is_null().to_pylist().index(True)
            raise self._bad_cell(rows[at], "embedding", ValueError("the embedding is missing"))
        lengths = to_numbers(pc.list_value_length(column))
        odd = np.flatnonzero(lengths != lengths[0])
        if odd.size:
            raise self._bad_cell(
                rows[odd[0]],
                "embedding",
                ValueError(f"it has {lengths[odd[0]]} dimensions, those before have {lengths[0]}"),
            )
        values = column.flatten()
        if values.null_count:
            at = values.is_null().to_pylist().index(True) // int(lengths[0])
            raise self._bad_cell(rows[at], "embedding", ValueError("a number is missing in it"))
        flat = to_numbers(values)
        if not np.isfinite(flat).all():
            at = int(np.flatnonzero(~np.isfinite(flat))[0]) // int(lengths[0])
            raise self._bad_cell(
                rows[at], "embedding", ValueError("it has NaN or an infinite number")
            )
        return np.ascontiguousarray(flat.reshape(len(rows), -1), dtype=np.float32)

    def _bad_cell(self, row: int, column: str, error: Exception) -> InvalidArgumentError:
        return InvalidArgumentError(
            f"Row {row:,} (id {self.ids[row][:80]!r}), column {column!r}: {str(error).rstrip('.')}."
        )
