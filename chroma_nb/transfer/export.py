"""A collection as a Parquet file, and back."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import stat
import time
from typing import TYPE_CHECKING

from chroma_nb.errors import InvalidArgumentError
from chroma_nb.flush import flush_folder
from chroma_nb.memory.trim import return_arrows_memory
from chroma_nb.memory.workspace import WORKSPACE
from chroma_nb.progress import progress_bar
from chroma_nb.settings import expand_path
from chroma_nb.transfer.export_format import (
    RecordBatches,
    arrow_schema,
    check_columns,
    parquet_for,
    read_description,
)
from chroma_nb.transfer.export_rows import ExportedRows
from chroma_nb.transfer.parquet_footer import add_footer_sum
from chroma_nb.transfer.parquet_reader import ParquetReader
from chroma_nb.transfer.pieces import add_pieces, check_rows
from chroma_nb.transfer.report import TransferReport
from chroma_nb.transfer.stores import check_alike, exists, like, place_of
from chroma_nb.validation import check_on_conflict

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chroma_nb.api.scanning import Scan, ScanPiece
    from chroma_nb.client.client import ClientAPI
    from chroma_nb.collection.collection import Collection
    from chroma_nb.types import OnConflict

logger = logging.getLogger("chroma_nb")

#: Extensions of other formats than Parquet.
_OTHER_FORMATS = (
    ".arrow",
    ".avro",
    ".csv",
    ".db",
    ".duckdb",
    ".feather",
    ".gz",
    ".h5",
    ".hdf5",
    ".html",
    ".ipc",
    ".json",
    ".jsonl",
    ".md",
    ".ndjson",
    ".npy",
    ".npz",
    ".orc",
    ".pickle",
    ".pkl",
    ".sqlite",
    ".tsv",
    ".txt",
    ".xls",
    ".xlsx",
    ".xml",
    ".yaml",
    ".yml",
    ".zip",
)
#: With less free than this (bytes), what pyarrow keeps is given back after each piece: an export takes a tenth longer.
_LITTLE_FREE = 256 << 20
#: Flags that make a new file and refuse one that exists.
_NEW_FILE = (
    os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
)


def export_collection(
    collection: Collection, path: str | os.PathLike[str], *, skip_damaged: bool = False
) -> int:
    """Write a collection to a Parquet file, complete or not at all.

    Any Parquet reader can open it; its columns are those of `collection_to_arrow`. It holds the records that the
    collection had when the call began, as they were then.

    Args:
        collection: What to write.
        path: The file; an existing file or link is replaced. The extension of another format is refused.
        skip_damaged: Leave out records whose embeddings are damaged; `collection.last_transfer` says how many.

    Returns:
        Records written.

    Raises:
        InvalidArgumentError: The name cannot be used, or its folder does not exist.
        StoreCorruptError: Embeddings are damaged.
    """
    pa, parquet = parquet_for("Collection.export()")
    started = time.monotonic()
    target = _export_path(path)
    folder, name = os.path.split(target)
    unfinished = os.path.join(folder, f".{name}.{secrets.token_hex(4)}.part")
    written = 0
    report = TransferReport(collection.name, did="exported")

    def counted(scan: Scan) -> Iterator[ScanPiece]:
        for piece in scan:
            report.damaged += piece.n_damaged
            yield piece

    enabled = collection.client.get_settings().progress
    try:
        with (
            place_of(collection).scan(skip_damaged=skip_damaged) as scan,
            # With O_EXCL: a link that somebody put there is not followed.
            os.fdopen(os.open(unfinished, _NEW_FILE, 0o666), "w+b") as file,
        ):
            schema = arrow_schema(pa, collection, scan.dimension)
            with (
                parquet.ParquetWriter(
                    file,
                    schema,
                    # So that readers notice damage: a backup may be years old.
                    write_page_checksum=True,
                    # Ids, documents and the numbers of embeddings differ: a dictionary of them is megabytes more in memory, here
                    # and in the reader, and in the file.
                    use_dictionary=["uri", "metadata"],
                ) as writer,
                progress_bar(
                    scan.n_records, f"Exporting {collection.name}", did="exported", enabled=enabled
                ) as bar,
            ):
                for piece in RecordBatches(pa, counted(scan), writer.schema):
                    # Each piece becomes a row group. So nothing of it is held any more once it is written; and a reader,
                    # which decodes row groups one by one, needs no more memory than the piece did.
                    writer.write_batch(piece)
                    if WORKSPACE.free() < _LITTLE_FREE:
                        return_arrows_memory()
                    written += piece.num_rows
                    bar.update(piece.num_rows)
            # Of the footer Parquet has none.
            add_footer_sum(file)
            # Before it takes the place of an older export, which a power cut must not take along.
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, target)
        flush_folder(folder)
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
        name: The collection's name; None: the name in the file.
        on_conflict: As in `Collection.add`. With "skip", the same call resumes an interrupted import.

    Raises:
        InvalidArgumentError: `export_collection` did not write the file, or it holds what a collection cannot.
    """
    parquet_for("client.import_()")
    started = time.monotonic()
    with ParquetReader(expand_path(path)) as reader:
        shown = repr(os.fspath(path))
        description = read_description(reader.schema, f"The file {shown}", client.get_settings())
        if description is None:
            raise InvalidArgumentError(
                f"{shown} was not written by Collection.export(). For any other Parquet "
                "file: collection.from_arrow(pyarrow.parquet.read_table(path))."
            )
        check_columns(reader.schema, description["columns"], f"The file {shown}")
        rows = ExportedRows(reader, reader.schema.names)
        name = description["name"] if name is None else name
        check_on_conflict(on_conflict)
        is_new = not exists(client, name)
        if is_new:
            # Before there is a collection: a file that is refused leaves none, and others may use it once it is there.
            check_rows(rows, name, None)
        collection = like(
            client,
            name,
            description["configuration"],
            description["metadata"],
            description["schema"],
        )
        recorded = description["configuration"], None, description["schema"]
        check_alike(collection, *recorded, are_copied=False)
        report = add_pieces(collection, rows, on_conflict, is_checked=is_new)
        rows.describe(report)
    report.seconds = time.monotonic() - started
    collection.last_transfer = report
    return collection
