"""What the pages of a Parquet file say of themselves.

The footer's sizes are whatever the file's writer put there; a reader goes by the headers of the pages. So those
are added up before anything is decoded. They are structures of Thrift's compact protocol, of which Parquet needs
numbers, binaries, lists and structures.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from typing import BinaryIO

#: A header is some 30 bytes, and more where it holds a column's smallest and largest text.
_FIRST_BYTES = 512
_MOST_HEADER_BYTES = 16 << 20
_MOST_DEPTH = 16
_STRUCT, _LIST, _SET = 12, 9, 10
#: Fields of a page's header, and in those of a page of data (of version 1 and 2) the count of its values.
_UNCOMPRESSED, _COMPRESSED = 2, 3
_KINDS = (5, 8)
_N_VALUES = 1


class Pages(NamedTuple):
    """Sums over the pages of one column of a row group."""

    n_bytes: int
    n_values: int


def read_pages(file: BinaryIO, start: int, n_bytes: int) -> Pages:
    """Add up what the headers of pages say.

    Args:
        file: The Parquet file.
        start: Where the first page is.
        n_bytes: Bytes of all the pages, compressed, with their headers.

    Raises:
        ValueError: They are no pages.
    """
    end, at = start + n_bytes, start
    total = values = 0
    while at < end:
        header, size = _header(file, at, end)
        uncompressed, compressed = header.get(_UNCOMPRESSED), header.get(_COMPRESSED)
        if not isinstance(uncompressed, int) or not isinstance(compressed, int):
            raise ValueError(f"there is no page at byte {at:,}")
        if uncompressed < 0 or compressed < 0:
            raise ValueError(f"the page at byte {at:,} has a negative size")
        total += uncompressed
        for kind in _KINDS:
            fields = header.get(kind)
            if isinstance(fields, dict):
                count = fields.get(_N_VALUES)
                values += max(0, count) if isinstance(count, int) else 0
        at += size + compressed
    return Pages(total, values)


def _header(file: BinaryIO, at: int, end: int) -> tuple[dict[int, object], int]:
    wanted = _FIRST_BYTES
    while True:
        file.seek(at)
        data = file.read(min(wanted, end - at))
        try:
            return _Compact(data).structure()
        except IndexError:
            if len(data) < wanted or wanted >= _MOST_HEADER_BYTES:
                raise ValueError(f"the page at byte {at:,} has no whole header") from None
            wanted *= 8


class _Compact:
    """Reads a structure; IndexError where the bytes end before it does."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def structure(self) -> tuple[dict[int, object], int]:
        """Return the fields by their numbers, and how many bytes they took."""
        return self._structure(0), self._at

    def _structure(self, depth: int) -> dict[int, object]:
        if depth > _MOST_DEPTH:
            raise ValueError("a page's header is nested too deeply")
        fields: dict[int, object] = {}
        number = 0
        while True:
            byte = self._byte()
            if not byte:
                return fields
            step, kind = byte >> 4, byte & 15
            number = number + step if step else self._signed()
            fields[number] = kind == 1 if kind in (1, 2) else self._value(kind, depth)

    def _value(self, kind: int, depth: int) -> object:
        if kind in (1, 2, 3):
            return self._byte()
        if kind in (4, 5, 6):
            return self._signed()
        if kind in (7, 8):
            self._skip(8 if kind == 7 else self._unsigned())
            return None
        if kind in (_LIST, _SET):
            byte = self._byte()
            size = byte >> 4
            size = self._unsigned() if size == 15 else size
            for _ in range(size):
                self._value(byte & 15, depth + 1)
            return None
        if kind == _STRUCT:
            return self._structure(depth + 1)
        raise ValueError("a page's header has a field of an unknown kind")

    def _byte(self) -> int:
        self._at += 1
        return self._data[self._at - 1]

    def _skip(self, n_bytes: int) -> None:
        self._at += n_bytes
        if self._at > len(self._data):
            raise IndexError

    def _unsigned(self) -> int:
        value = shift = 0
        while True:
            byte = self._byte()
            value |= (byte & 127) << shift
            if byte < 128:
                return value
            shift += 7
            if shift > 63:
                raise ValueError("a page's header has a number of more than 64 bits")

    def _signed(self) -> int:
        value = self._unsigned()
        return value >> 1 ^ -(value & 1)
