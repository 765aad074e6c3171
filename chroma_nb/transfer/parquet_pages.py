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
_I32, _STRUCT, _LIST, _SET = 5, 12, 9, 10
#: Fields of a page's header. They are numbers of 32 bits, of which a size is positive.
_TYPE, _UNCOMPRESSED, _COMPRESSED = 1, 2, 3
_MOST_NUMBER = 2**31
#: Type of a page -> the field with its own header: of data (of version 1 and 2), of a dictionary.
_DATA, _DICTIONARY, _DATA_2 = 0, 2, 3
_OWN_HEADER = {_DATA: 5, _DICTIONARY: 7, _DATA_2: 8}
#: In these the count of its values, and how they are encoded.
_N_VALUES = 1
_ENCODING = {_DATA: 2, _DICTIONARY: 2, _DATA_2: 4}


class Pages(NamedTuple):
    """Sums over the pages of one column of a row group."""

    n_bytes: int
    n_values: int
    #: Numbers of the encodings of its data.
    encodings: frozenset[int]
    #: Of its largest dictionary, 0 without one.
    dictionary_bytes: int


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
    total = values = dictionary = 0
    encodings = set()
    while at < end:
        header, size = _header(file, at, end)
        where = f"the page at byte {at:,}"
        kind = header.get(_TYPE)
        if not isinstance(kind, int) or kind not in _OWN_HEADER:
            raise ValueError(f"{where} is of no known kind")
        own = header.get(_OWN_HEADER[kind])
        uncompressed, compressed = (
            _number(header, one, where) for one in (_UNCOMPRESSED, _COMPRESSED)
        )
        count, encoding = (_number(own, one, where) for one in (_N_VALUES, _ENCODING[kind]))
        total += uncompressed
        if kind == _DICTIONARY:
            dictionary = max(dictionary, uncompressed)
        else:
            values += count
            encodings.add(encoding)
        at += size + compressed
        if at > end:
            raise ValueError(f"{where} is longer than its column")
    return Pages(total, values, frozenset(encodings), dictionary)


def _number(fields: object, number: int, where: str) -> int:
    found = fields.get(number) if isinstance(fields, dict) else None
    if not isinstance(found, int) or not 0 <= found < _MOST_NUMBER:
        raise ValueError(f"{where} lacks a number in its header, or has one that none can have")
    return found


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
    """Reads a structure; IndexError where the bytes end before it does.

    Of what can be written in two ways only one is read: another reader might take the other.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def structure(self) -> tuple[dict[int, object], int]:
        """Return the fields by their numbers, and how many bytes they took. Numbers of 32 bits and structures have a value."""
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
            last, number = number, number + step if step else self._signed()
            if number <= last:
                raise ValueError("a page's header has a field twice, or in another order")
            # A switch is in the kind.
            fields[number] = None if kind in (1, 2) else self._value(kind, depth)

    def _value(self, kind: int, depth: int) -> object:
        if kind == _I32:
            return self._signed()
        if kind in (1, 2, 3):
            self._byte()
            return None
        if kind in (4, 6):
            self._signed()
            return None
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
