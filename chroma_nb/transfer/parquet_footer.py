"""What the footer of a Parquet file says, read and checked before pyarrow reads it.

pyarrow believes a footer. It ends the process where one says what it does not expect of a column, and gives fewer rows
where one says so. Parquet has checksums of pages, and none of the footer; so what it says twice is compared, and
`export()` puts a checksum before it, where other readers look for nothing.
"""

from __future__ import annotations

import os
import zlib
from typing import TYPE_CHECKING, Any, NamedTuple

from chroma_nb.memory.sizes import format_bytes
from chroma_nb.transfer.thrift import BINARY, I32, I64, Compact, Structure, Wanted

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

#: Physical types of values, as numbers.
BYTE_ARRAY, FIXED_LEN_BYTE_ARRAY = 6, 7
_MOST_TYPE = 7
#: At both ends of a file; at its end after the footer and the footer's length.
_MAGIC = b"PAR1"
_END_BYTES = 8
#: Before the footer: this, and its CRC-32.
_SUM_MAGIC = b"chroma_nb footer"
_SUM_BYTES = len(_SUM_MAGIC) + 4
#: That of an export has 3 kB for each row group, and up to 64 kB where texts have nearly 4 kB, which is all of one that
#: pyarrow repeats there.
_MOST_BYTES = 256_000_000
#: How deep columns may be nested, each list counting as two. pyarrow calls itself for each.
_MOST_DEPTH = 64
_REPEATED = 2
_UNCOMPRESSED = 0

#: FileMetaData, SchemaElement, RowGroup, ColumnChunk and ColumnMetaData, as parquet.thrift numbers their fields.
_COLUMN: Wanted = {1: I32, 3: [BINARY], 4: I32, 5: I64, 7: I64, 9: I64, 11: I64}
_CHUNK: Wanted = {1: BINARY, 3: _COLUMN}
_GROUP: Wanted = {1: [_CHUNK], 3: I64}
_ELEMENT: Wanted = {1: I32, 2: I32, 3: I32, 4: BINARY, 5: I32}
_FILE: Wanted = {2: [_ELEMENT], 3: I64, 4: [_GROUP]}


class ParquetLeaf(NamedTuple):
    """A column of Parquet: values of a column, or of something in it."""

    #: The names from the table's column down to it.
    path: tuple[str, ...]
    #: A number of parquet.thrift's `Type`.
    kind: int
    #: Bytes of a value of `FIXED_LEN_BYTE_ARRAY`.
    width: int
    #: Is there a list around it?
    is_repeated: bool


class ParquetChunk(NamedTuple):
    """The pages of a column in a row group."""

    #: Where they begin, and their bytes with their headers.
    start: int
    n_bytes: int
    #: Missing ones count.
    n_values: int
    is_compressed: bool


class ParquetGroup(NamedTuple):
    """A row group: its rows, and a chunk of each leaf."""

    n_rows: int
    chunks: tuple[ParquetChunk, ...]


class Footer(NamedTuple):
    """What is needed of a footer."""

    n_rows: int
    leaves: tuple[ParquetLeaf, ...]
    groups: tuple[ParquetGroup, ...]


def read_footer(file: BinaryIO) -> Footer:
    """Read a file's footer.

    Raises:
        ValueError: It is damaged, contradicts itself, or is larger than one is read.
        OSError: The file cannot be read.
    """
    start, data = _footer_bytes(file)
    file.seek(max(0, start - _SUM_BYTES))
    before = file.read(min(_SUM_BYTES, start))
    if before.startswith(_SUM_MAGIC) and before != _sum(data):
        raise ValueError("its footer is not as it was written")
    try:
        found, _ = Compact(data, "its footer").structure(_FILE)
    except IndexError:
        raise ValueError("its footer ends too early") from None
    leaves = tuple(_leaves(_field(found, 2)))
    groups = tuple(_group(group, leaves) for group in _field(found, 4))
    n_rows = _count(found, 3)
    in_groups = sum(group.n_rows for group in groups)
    if n_rows != in_groups:
        raise ValueError(f"its footer says {n_rows:,} rows, and its row groups {in_groups:,}")
    _check_places([chunk for group in groups for chunk in group.chunks], start)
    return Footer(n_rows, leaves, groups)


def add_footer_sum(file: BinaryIO) -> None:
    """Put a checksum before the footer of a file that was just written, open for reading and writing.

    Nothing in a footer says where it is itself, so it can be moved.
    """
    start, data = _footer_bytes(file)
    end = len(data).to_bytes(4, "little") + _MAGIC
    file.seek(start)
    file.write(_sum(data) + data + end)


def _sum(data: bytes) -> bytes:
    return _SUM_MAGIC + zlib.crc32(data).to_bytes(4, "little")


def _footer_bytes(file: BinaryIO) -> tuple[int, bytes]:
    """Return where the footer begins, and the footer."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - _END_BYTES))
    end = file.read(_END_BYTES)
    n_bytes = int.from_bytes(end[:4], "little")
    if end[4:] != _MAGIC:
        raise ValueError("it does not end as a Parquet file does")
    if n_bytes > _MOST_BYTES:
        raise ValueError(
            f"its footer has {format_bytes(n_bytes)}, the limit is {format_bytes(_MOST_BYTES)}. "
            "Write it anew with fewer, larger row groups"
        )
    start = size - _END_BYTES - n_bytes
    if start < len(_MAGIC):
        raise ValueError("its footer is longer than the file")
    file.seek(start)
    return start, file.read(n_bytes)


def _leaves(elements: list[Structure]) -> Iterator[ParquetLeaf]:
    """Yield the columns of a schema, which lists each group before what is in it."""
    if not elements:
        raise ValueError("its footer has no schema")
    #: Of each group around the next element: how many are still to come in it, its name, whether it is in a list.
    around = [(_count(elements[0], 5, 0), "", False)]
    for element in elements[1:]:
        while around and not around[-1][0]:
            around.pop()
        if not around:
            raise ValueError("its footer has more columns than its schema names")
        left, group, is_repeated = around[-1]
        around[-1] = (left - 1, group, is_repeated)
        name = _field(element, 4).decode()
        is_repeated |= element.get(3) == _REPEATED
        if n_inner := _count(element, 5, 0):
            if len(around) > _MOST_DEPTH:
                raise ValueError(f"its columns are nested in more than {_MOST_DEPTH} groups")
            around.append((n_inner, name, is_repeated))
            continue
        kind = _count(element, 1)
        if kind > _MOST_TYPE:
            raise ValueError(f"its column {name!r} is of the unknown kind {kind}")
        path = (*(one[1] for one in around[1:]), name)
        width = _count(element, 2) if kind == FIXED_LEN_BYTE_ARRAY else 0
        yield ParquetLeaf(path, kind, width, is_repeated)
    if any(left for left, _, _ in around):
        raise ValueError("its footer has fewer columns than its schema names")


def _group(group: Structure, leaves: tuple[ParquetLeaf, ...]) -> ParquetGroup:
    n_rows, chunks = _count(group, 3), _field(group, 1)
    if len(chunks) != len(leaves):
        raise ValueError(f"a row group has {len(chunks):,} columns, the schema {len(leaves):,}")
    return ParquetGroup(
        n_rows,
        tuple(_chunk(chunk, leaf, n_rows) for chunk, leaf in zip(chunks, leaves, strict=True)),
    )


def _chunk(chunk: Structure, leaf: ParquetLeaf, n_rows: int) -> ParquetChunk:
    column, name = _field(chunk, 3), ".".join(leaf.path)
    if 1 in chunk:
        raise ValueError(f"its column {name!r} is in another file")
    path = tuple(part.decode() for part in _field(column, 3))
    if path != leaf.path or _count(column, 1) != leaf.kind:
        raise ValueError(f"a row group has another column in the place of {name!r}")
    n_values = _count(column, 5)
    # A row has a value of each column, missing or not, and of a list one at least.
    if n_values < n_rows or (n_values > n_rows and not leaf.is_repeated):
        raise ValueError(
            f"column {name!r} has {n_values:,} values in a row group of {n_rows:,} rows"
        )
    start, dictionary = _count(column, 9), _count(column, 11, 0)
    # pyarrow writes no place of data pages where there are none.
    if dictionary and (dictionary < start or not start):
        start = dictionary
    return ParquetChunk(start, _count(column, 7), n_values, _count(column, 4) != _UNCOMPRESSED)


def _check_places(chunks: list[ParquetChunk], end: int) -> None:
    """Check that all pages are before the footer, and none belong to two columns."""
    at = len(_MAGIC)
    for chunk in sorted(chunk for chunk in chunks if chunk.n_bytes):
        if chunk.start < at:
            raise ValueError(f"two columns are in one place, byte {chunk.start:,}")
        at = chunk.start + chunk.n_bytes
        if at > end:
            raise ValueError(f"a column, from byte {chunk.start:,}, is longer than the file")


def _field(fields: Structure, number: int) -> Any:
    if number not in fields:
        raise ValueError("its footer lacks a field")
    return fields[number]


def _count(fields: Structure, number: int, default: int | None = None) -> int:
    """Return a number that is at least 0; the default, where there is one, if it is missing."""
    found = fields.get(number, default)
    if found is None or found < 0:
        raise ValueError("its footer lacks a number, or has one below 0")
    return int(found)
