"""Arrow and Parquet: a collection as a table that comes back as it was."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import secrets
import stat
import time
import zlib
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from chroma_nb.api.copying import COPIES, PIECE_BYTES, PIECE_RECORDS, pieces_by_id, pieces_of
from chroma_nb.db.own_file import NotOurFileError, open_given
from chroma_nb.errors import ChromaError, InvalidArgumentError, StoreCorruptError
from chroma_nb.lazy import require_extra
from chroma_nb.memory.preflight import require
from chroma_nb.progress import progress_bar
from chroma_nb.settings import expand_path
from chroma_nb.transfer.cells import MetadataCells
from chroma_nb.transfer.chunks import measure_chunks
from chroma_nb.transfer.decoded import Expansion, cells, piece_bytes, row_bytes
from chroma_nb.transfer.frames import add_frame
from chroma_nb.transfer.pieces import Rows, add_pieces
from chroma_nb.transfer.report import TransferReport
from chroma_nb.transfer.stores import check_alike, check_function, exists, like, place_of
from chroma_nb.transfer.tables import ArrowTable, cells_of, table_row_bytes
from chroma_nb.validation import (
    check_collection_metadata,
    check_collection_name,
    check_ids,
    check_metadatas,
    recorded_configuration,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from chroma_nb.api.base import Records
    from chroma_nb.client import ClientAPI
    from chroma_nb.collection import Collection
    from chroma_nb.types import OnConflict, Where, WhereDocument

logger = logging.getLogger("chroma_nb")

#: Key of our description in a table's own metadata.
_DESCRIPTION = b"chroma_nb"
#: Parquet's checksums are of pages, and this is in the file's footer. Older files have none.
_DESCRIPTION_SUM = b"chroma_nb_crc32"
FORMAT_VERSION = 1
_TEXTS = ("id", "document", "uri", "metadata")
_COLUMNS = (*_TEXTS, "embedding")
#: Id, document and metadata of a record that is a sentence; for where nobody says what they take.
_TYPICAL_RECORD_BYTES = 300
#: Beside a record's texts: their offsets, and what the allocator rounds up.
_CELLS_BYTES = 32
_TABLE_TIMES = 1.1
_IDS_AT_ONCE = 65_536
#: A batch takes so many times as much while pyarrow decodes it (measured, lists of float32): the levels of the
#: lists, the numbers, both again as a list, and the list of one size that is made of it.
_DECODING_COPIES = 4
#: So much of a column is read at a time.
_BUFFER_BYTES = 1 << 20
#: A row group is decoded in so many batches at most, unless its texts are less than this together.
_LITTLE_TEXT = 4 << 20
_BATCHES = 16
#: How much more memory JSON takes as Python's objects.
_JSON_TIMES = 8
#: Ends of names that promise another format than Parquet.
_OTHER_FORMATS = (
    *(".csv", ".tsv", ".txt", ".json", ".jsonl", ".ndjson", ".xlsx", ".xls", ".feather", ".arrow"),
    *(
        ".ipc",
        ".pkl",
        ".pickle",
        ".npy",
        ".npz",
        ".h5",
        ".hdf5",
        ".db",
        ".sqlite",
        ".duckdb",
        ".zip",
    ),
    *(".gz", ".md", ".html", ".xml", ".yaml", ".yml", ".orc", ".avro"),
)


def _pyarrow(needed_by: str) -> Any:
    return require_extra("pyarrow", extra="arrow", needed_by=needed_by)


# -- out --------------------------------------------------------------------------------------


def collection_to_arrow(
    collection: Collection, where: Where | None = None, where_document: WhereDocument | None = None
) -> Any:
    """Return records as a `pyarrow.Table`.

    Columns: id (string), document (string), uri (string), metadata (string, JSON), embedding
    (fixed-size list of float32). The schema's metadata holds the collection's name and configuration.
    """
    pa = _pyarrow("Collection.to_arrow()")
    schema = _arrow_schema(pa, collection)
    place = place_of(collection)
    ids = place.get(where=where, where_document=where_document, include=()).ids
    each = place.record_bytes()
    if each is None:
        each = 4 * schema.field("embedding").type.list_size + _TYPICAL_RECORD_BYTES
    require(
        table_bytes(len(ids), each),
        f"to_arrow() of {len(ids):,} records",
        "write them to a file, which goes piece by piece: collection.export(path)",
        "choose some: to_arrow(where=...)",
    )
    pieces = list(_arrow_pieces(pa, pieces_by_id(place, ids), schema))
    return pa.Table.from_batches(pieces, schema=schema)


def table_bytes(n_records: int, record_bytes: int) -> int:
    """Return what a table of records takes while it is made, bytes: itself, and a piece on its way into it."""
    whole = int(_TABLE_TIMES * n_records * (record_bytes + _CELLS_BYTES))
    return whole + min(COPIES * whole, PIECE_BYTES)


def _dimension(collection: Collection) -> int:
    try:
        first = collection.get(limit=1, include=["embeddings"])["embeddings"]
    except StoreCorruptError:
        place = place_of(collection)
        return place.api.get_collection_by_id(place.collection_id, **place.where_to).dimension or 0
    return int(first.shape[1]) if len(first) else 0


def _arrow_schema(pa: Any, collection: Collection) -> Any:
    description = {
        "format": FORMAT_VERSION,
        "name": collection.name,
        "metadata": collection.metadata,
        "configuration": collection.configuration_json,
    }
    texts = [pa.field(name, pa.string()) for name in _TEXTS]
    vector = pa.field("embedding", pa.list_(pa.float32(), _dimension(collection)))
    text = json.dumps(description).encode()
    return pa.schema(
        [*texts, vector],
        metadata={_DESCRIPTION: text, _DESCRIPTION_SUM: _sum(text)},
    )


def _sum(text: bytes) -> bytes:
    return str(zlib.crc32(text)).encode()


def _arrow_pieces(pa: Any, pieces: Iterator[Records], schema: Any) -> Iterator[Any]:
    dimension = schema.field("embedding").type.list_size
    for records in pieces:
        flat = np.ascontiguousarray(records.embeddings, dtype=np.float32).ravel()
        metadatas = [
            None if metadata is None else json.dumps(metadata, ensure_ascii=False)
            for metadata in records.metadatas or ()
        ]
        vectors = pa.FixedSizeListArray.from_arrays(pa.array(flat), dimension)
        texts = [records.ids, records.documents, records.uris, metadatas]
        columns = [pa.array(column, type=pa.string()) for column in texts]
        yield pa.record_batch([*columns, vectors], schema=schema)


def export_collection(
    collection: Collection, path: str | os.PathLike[str], *, skip_damaged: bool = False
) -> int:
    """Write a collection to a Parquet file, complete or not at all.

    Any Parquet reader can open it: columns as in `collection_to_arrow`. What the file holds are the records
    that the collection had when the call began, less those that were deleted meanwhile.

    Args:
        collection: What to write.
        path: The file; one that exists is replaced, a link as well. A name that ends like another format's is refused.
        skip_damaged: Leave out records whose embeddings are damaged; `collection.last_transfer` says how many.

    Returns:
        Records written.

    Raises:
        InvalidArgumentError: The name cannot be used, or its folder does not exist.
        StoreCorruptError: Embeddings are damaged.
    """
    pa = _pyarrow("Collection.export()")
    import pyarrow.parquet as parquet

    started = time.monotonic()
    target = _export_path(path)
    folder, name = os.path.split(target)
    unfinished = os.path.join(folder, f".{name}.{secrets.token_hex(4)}.part")
    written = 0
    report = TransferReport(collection.name, did="exported")

    def left_out(n: int) -> None:
        report.damaged += n

    enabled = collection._client.get_settings().progress
    schema = _arrow_schema(pa, collection)
    try:
        with (
            # Nobody can have put a link there: the name is new.
            os.fdopen(os.open(unfinished, _NEW_FILE, 0o666), "wb") as file,
            # A backup may lie for years: whoever reads it sees a damaged page.
            parquet.ParquetWriter(file, schema, write_page_checksum=True) as writer,
            progress_bar(
                collection.count(), f"Exporting {collection.name}", did="exported", enabled=enabled
            ) as bar,
        ):
            pieces = pieces_of(place_of(collection), on_damaged=left_out if skip_damaged else None)
            for piece in _arrow_pieces(pa, pieces, schema):
                writer.write_batch(piece)
                written += piece.num_rows
                bar.update(piece.num_rows)
        os.replace(unfinished, target)
    except BaseException as error:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(unfinished)
        if isinstance(error, OSError) and not isinstance(error, ConnectionError):
            raise InvalidArgumentError(
                f"The file {target!r} cannot be written ({error.strerror or error}); nothing is left of it."
            ) from error
        raise
    if skip_damaged:
        report.added, report.seconds = written, time.monotonic() - started
        collection.last_transfer = report
        if report.damaged:
            logger.warning("Exported without what is damaged. %s", report)
    return written


_NEW_FILE = (
    os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
)


def _export_path(path: str | os.PathLike[str]) -> str:
    target = expand_path(path)
    if target.lower().endswith(_OTHER_FORMATS):
        end = os.path.splitext(target)[1]
        raise InvalidArgumentError(
            f"export() writes Parquet, and {os.fspath(path)!r} promises {end[1:]}. Name it .parquet; for other "
            "formats use collection.to_pandas(), such as collection.to_pandas().to_csv(path)."
        )
    if os.path.isdir(target):
        raise InvalidArgumentError(
            f"{os.fspath(path)!r} is a folder. Give the name of a file in it: "
            f"{os.path.join(os.fspath(path), 'records.parquet')!r}."
        )
    folder = os.path.dirname(target)
    if not os.path.isdir(folder):
        raise InvalidArgumentError(
            f"The folder {folder!r} does not exist. Make it first: os.makedirs({folder!r})."
        )
    with contextlib.suppress(OSError):
        there = os.lstat(target).st_mode
        if not stat.S_ISREG(there) and not stat.S_ISLNK(there):
            raise InvalidArgumentError(
                f"{os.fspath(path)!r} is no plain file but a device, a pipe or a socket, in the place of which "
                "export() would put a file. Give another name."
            )
    return target


# -- in ---------------------------------------------------------------------------------------


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

    A table of `collection_to_arrow` comes back as it was, and columns that were added to it are metadata. Of
    any other table, and where a column is named here, the columns are taken as `add_frame` takes a frame's.
    """
    _pyarrow("Collection.from_arrow()")
    started = time.monotonic()
    rows = ArrowTable(table)
    named = (id, document, embedding, metadata) != (None, None, None, None)
    if named or _description(rows.table.schema, "The table") is None:
        return add_frame(
            collection,
            rows.table,
            id=id,
            document=document,
            embedding=embedding,
            metadata=metadata,
            on_conflict=on_conflict,
        )
    description = _description(rows.table.schema, "The table") or {}
    check_function(collection, description["configuration"])
    own = OwnRows(TableReader(rows.table), rows.columns)
    report = add_pieces(collection, own, on_conflict)
    own.describe(report)
    report.seconds = time.monotonic() - started
    return report


def import_collection(
    client: ClientAPI,
    path: str | os.PathLike[str],
    name: str | None = None,
    *,
    on_conflict: OnConflict = "skip",
) -> Collection:
    """Read a file that `export_collection` wrote into a collection, made if it is missing.

    Args:
        client: Where to.
        path: The Parquet file.
        name: The collection's name; None takes the one in the file.
        on_conflict: As in `Collection.add`; with "skip" an interrupted import is run again and goes on.

    Raises:
        InvalidArgumentError: The file is not one of ours, or holds what a collection cannot.
    """
    _pyarrow("client.import_()")
    started = time.monotonic()
    with ParquetReader(expand_path(path)) as reader:
        shown = repr(os.fspath(path))
        description = _description(reader.schema, f"The file {shown}")
        if description is None:
            raise InvalidArgumentError(
                f"{shown} was not written by Collection.export(). For any other Parquet "
                "file: collection.from_arrow(pyarrow.parquet.read_table(path))."
            )
        rows = OwnRows(reader, reader.schema.names)
        name = description["name"] if name is None else name
        is_new = not exists(client, name)
        collection = like(client, name, description["configuration"], description["metadata"])
        try:
            check_alike(collection, description["configuration"], None)
            report = add_pieces(collection, rows, on_conflict)
        except BaseException:
            # What the file holds was refused, or is damaged: then there is no such collection either.
            if is_new and not collection.count():
                client.delete_collection(name)
            raise
        rows.describe(report)
    report.seconds = time.monotonic() - started
    collection.last_transfer = report
    return collection


def _description(schema: Any, what: str) -> dict[str, Any] | None:
    """Return what a table says of the collection that it was made of, None where it says nothing.

    Raises:
        InvalidArgumentError: What it says cannot be used.
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


class TableReader:
    """Rows of a table in memory."""

    #: At most so many rows are read at once.
    window_rows = PIECE_RECORDS

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


class ParquetReader:
    """Rows of a Parquet file, read forwards in pieces.

    Texts are read as dictionaries, so what stands in the file once is in memory once, and how large the rows
    are is known before they are decoded.

    Args:
        path: The file.
    """

    def __init__(self, path: str) -> None:
        import pyarrow as pa
        import pyarrow.parquet as parquet

        self._path = path
        #: pyarrow's are such, and those of `read_pages`.
        self._errors = (OSError, ValueError, pa.ArrowException)
        with self._named_errors("cannot be read as Parquet"):
            # Once: at the same path may be another file a moment later.
            self._source = open(path, "rb", opener=open_given)  # noqa: SIM115
        try:
            self._measure(parquet)
        except BaseException:
            self._source.close()
            raise
        self._from_batches = pa.Table.from_batches
        self._pool = pa.default_memory_pool()
        self._restart()

    def _measure(self, parquet: Any) -> None:
        """Read what the file says of itself, and refuse what would take too much."""
        with self._named_errors("cannot be read as Parquet"):
            found = parquet.read_metadata(self._source)
            texts = [
                column.path
                for column in map(found.schema.column, range(found.num_columns))
                if column.physical_type == "BYTE_ARRAY"
            ]
            self._file = parquet.ParquetFile(
                self._source,
                page_checksum_verification=True,
                read_dictionary=texts,
                # Else the whole chunk of a column is read at once.
                buffer_size=_BUFFER_BYTES,
            )
            size = os.fstat(self._source.fileno()).st_size
        self.schema = self._file.schema_arrow
        self.n_rows = int(self._file.metadata.num_rows)
        self.expansion = Expansion(f"The file {self._path!r}", size)
        self._id_expansion = Expansion(f"The column 'id' of the file {self._path!r}", size)
        with self._named_errors("cannot be read as Parquet"):
            self._chunks = measure_chunks(self._file, self._source, f"The file {self._path!r}")
        others = sum(chunk.n_bytes for chunk in self._chunks if not chunk.is_text)
        Expansion(f"The file {self._path!r}", size).count(self.n_rows, others)
        #: Row group -> what its texts decode to.
        self._text_bytes: Counter[int] = Counter()
        for chunk in self._chunks:
            self._text_bytes[chunk.group] += chunk.n_bytes * chunk.is_text
        self.window_rows = self._rows_at_once(PIECE_RECORDS)

    def _rows_at_once(self, most: int, column: str | None = None) -> int:
        """Return how many rows may be used at once, judged by what the row groups decode to.

        Raises:
            MemoryBudgetError: There is no room for the texts of a row group, or for a batch of its rows.
        """
        texts: dict[int, int] = {}
        others: dict[int, int] = {}
        for group, name, is_text, n_bytes in self._chunks:
            if column in (None, name):
                held = texts if is_text else others
                held[group] = held.get(group, 0) + n_bytes
        rows, at_once = most, piece_bytes() // _DECODING_COPIES
        for group in {**texts, **others}:
            n_rows = max(1, self._file.metadata.row_group(group).num_rows)
            each = (texts.get(group, 0) + others.get(group, 0)) // n_rows
            rows = min(rows, max(1, at_once // max(1, each)))
            least = -(-n_rows // _BATCHES) if texts.get(group, 0) > _LITTLE_TEXT else 1
            batch = min(n_rows, max(rows, least))
            require(
                2 * texts.get(group, 0) + batch * (others.get(group, 0) // n_rows),
                f"Reading row group {group} ({n_rows:,} rows) of the file {self._path!r}",
                "read it where there is more memory",
                "write it anew with smaller row groups",
            )
        return rows

    def __enter__(self) -> ParquetReader:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._source.close()

    @contextlib.contextmanager
    def _named_errors(
        self, what: str = "is damaged, or cannot be read to its end"
    ) -> Iterator[None]:
        """Turn what pyarrow raises into an error that names the file."""
        try:
            yield
        except ChromaError:
            raise
        except FileNotFoundError:
            raise InvalidArgumentError(f"There is no file {self._path!r}.") from None
        except NotOurFileError:
            raise InvalidArgumentError(
                f"{self._path!r} is no plain file, and import_() reads no folder, pipe or device."
            ) from None
        except self._errors as error:
            raise InvalidArgumentError(f"The file {self._path!r} {what}: {error}") from error

    def _decoded(self, n_rows: int, columns: Sequence[str] | None = None) -> Iterator[Any]:
        """Yield batches of about so many rows."""
        for group in range(self._file.num_row_groups):
            # Of one row group each: pyarrow cannot join the dictionaries of texts that are in lists.
            size = n_rows
            if self._text_bytes[group] > _LITTLE_TEXT:
                # Few of them, as each has all texts of the row group so far.
                size = max(n_rows, -(-self._file.metadata.row_group(group).num_rows // _BATCHES))
            yield from self._file.iter_batches(size, row_groups=[group], columns=columns)

    def _restart(self) -> None:
        self._held: list[Any] = []
        self._batches: Iterator[Any] = iter(())
        # What Arrow keeps of the pass before is memory that this one needs.
        self._pool.release_unused()
        self._batches = self._decoded(self.window_rows)
        #: The row at which `_held` begins, and one past its last.
        self._first = self._end = 0

    def ids(self) -> list[Any]:
        """Return the column of ids."""
        found: list[Any] = []
        rows = self._rows_at_once(_IDS_AT_ONCE, "id")
        with self._named_errors():
            for batch in self._decoded(rows, columns=["id"]):
                column = batch.column(0)
                stop = len(found) + len(column)
                self._id_expansion.count(stop, int(row_bytes(column).sum()))
                self._id_expansion.require_all()
                found += cells(column)
        return found

    def read(self, start: int, stop: int) -> Any:
        """Return rows start .. stop - 1 as a table; going back reads from the beginning again."""
        if start < self._first:
            self._restart()
        while self._end < stop:
            with self._named_errors():
                batch = next(self._batches)
            self._held.append(batch)
            self._end += batch.num_rows
            while self._held and self._first + self._held[0].num_rows <= start:
                self._first += self._held.pop(0).num_rows
        while self._held and self._first + self._held[0].num_rows <= start:
            self._first += self._held.pop(0).num_rows
        table = self._from_batches(self._held, schema=self.schema)
        return table.slice(start - self._first, stop - start)


class OwnRows(Rows):
    """The rows of a table that `collection_to_arrow` made.

    Args:
        reader: Where the rows are.
        columns: The table's columns; those that are not of `collection_to_arrow` are metadata.
    """

    def __init__(self, reader: TableReader | ParquetReader, columns: Sequence[str]) -> None:
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
        self._more = [MetadataCells(name) for name in columns if name not in _COLUMNS]
        ids = reader.ids()
        missing = ids.index(None) if None in ids else None
        if missing is not None:
            raise InvalidArgumentError(
                f"Row {missing:,}, column 'id': the id is missing. Nothing was added."
            )
        self.ids = check_ids(ids) if ids else []

    def window_end(self, start: int) -> int:
        stop = min(start + self._reader.window_rows, self.n_rows)
        table = self._reader.read(start, stop)
        sizes = table_row_bytes(table)
        if "metadata" in self._columns:
            sizes += _JSON_TIMES * row_bytes(table.column("metadata"))
        return self._reader.expansion.window_end(start, sizes, stop)

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
        """Say in a report what changed in the columns that were added to the table."""
        report.ids = "the column 'id'"
        for kept in self._more:
            kept.describe(report, kept.key)

    def _metadatas(
        self, table: Any, rows: Sequence[int], counted: bool
    ) -> list[dict[str, Any] | None]:
        texts = [None] * len(rows)
        if "metadata" in self._columns:
            texts = cells_of(table, "metadata")
        out: list[dict[str, Any] | None] = []
        for row, text in zip(rows, texts, strict=True):
            try:
                out.append(None if text is None else check_metadatas([json.loads(text)])[0])
            except (ValueError, TypeError, RecursionError) as error:
                raise self._bad_cell(row, "metadata", error) from None
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

    def _vectors(self, table: Any, rows: Sequence[int]) -> Any:
        import pyarrow as pa
        import pyarrow.compute as pc

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
        lengths = pc.list_value_length(column).to_numpy(zero_copy_only=False)
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
        flat = values.to_numpy(zero_copy_only=False)
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
