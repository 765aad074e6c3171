"""What the pages of a Parquet file say of themselves.

The footer's sizes are whatever the file's writer put there; a reader goes by the headers of the pages. So those
are added up before anything is decoded.
"""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from chroma_nb.transfer.thrift import I32, Compact, Structure, Wanted

if TYPE_CHECKING:
    from typing import BinaryIO

    from numpy.typing import NDArray

#: A header is some 30 bytes, and more where it holds a column's smallest and largest text.
_FIRST_BYTES = 512
_MOST_HEADER_BYTES = 16 << 20
#: Fields of a page's header. They are numbers of 32 bits, of which a size is positive.
_TYPE, _UNCOMPRESSED, _COMPRESSED = 1, 2, 3
_MOST_NUMBER = 2**31
#: Type of a page -> the field with its own header: of data (of version 1 and 2), of a dictionary.
_DATA, _DICTIONARY, _DATA_2 = 0, 2, 3
_OWN_HEADER = {_DATA: 5, _DICTIONARY: 7, _DATA_2: 8}
#: In these the count of its values, and how they are encoded.
_N_VALUES = 1
_ENCODING = {_DATA: 2, _DICTIONARY: 2, _DATA_2: 4}
_WANTED: Wanted = {
    **dict.fromkeys((_TYPE, _UNCOMPRESSED, _COMPRESSED), I32),
    **{_OWN_HEADER[kind]: {_N_VALUES: I32, _ENCODING[kind]: I32} for kind in _OWN_HEADER},
}


class Pages(NamedTuple):
    """Sums over the pages of one column of a row group."""

    n_bytes: int
    #: Of the largest page.
    largest_bytes: int
    n_values: int
    #: Numbers of the encodings of its data.
    encodings: frozenset[int]
    #: Of its largest dictionary, 0 without one.
    dictionary_bytes: int
    #: Is some page another number of bytes once it is decompressed?
    is_compressed: bool
    #: Bytes and values of each page of data, int64, shape (n_pages, 2).
    each: NDArray[np.int64]


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
    total = largest = values = dictionary = 0
    each = array("q")
    encodings = set()
    is_compressed = False
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
        largest = max(largest, uncompressed)
        is_compressed |= uncompressed != compressed
        if kind == _DICTIONARY:
            dictionary = max(dictionary, uncompressed)
        else:
            values += count
            each.extend((uncompressed, count))
            encodings.add(encoding)
        at += size + compressed
        if at > end:
            raise ValueError(f"{where} is longer than its column")
    sizes = np.array(each, dtype=np.int64).reshape(-1, 2)
    return Pages(total, largest, values, frozenset(encodings), dictionary, is_compressed, sizes)


def most_bytes(each: NDArray[np.int64], n_values: int) -> int:
    """Return the most bytes of the pages that so many consecutive values are in.

    Args:
        each: `Pages.each`.
        n_values: How many values, 1 at least.
    """
    if not len(each):
        return 0
    n_bytes, ends = np.cumsum(each, axis=0).T
    # From the last value of each page on, as that reaches furthest.
    last = np.minimum(np.searchsorted(ends, ends - 1 + n_values), len(each) - 1)
    return int((n_bytes[last] - n_bytes + each[:, 0]).max())


def _number(fields: object, number: int, where: str) -> int:
    found = fields.get(number) if isinstance(fields, dict) else None
    if not isinstance(found, int) or not 0 <= found < _MOST_NUMBER:
        raise ValueError(f"{where} lacks a number in its header, or has one that none can have")
    return found


def _header(file: BinaryIO, at: int, end: int) -> tuple[Structure, int]:
    wanted = _FIRST_BYTES
    while True:
        file.seek(at)
        data = file.read(min(wanted, end - at))
        try:
            return Compact(data, f"the header of the page at byte {at:,}").structure(_WANTED)
        except IndexError:
            if len(data) < wanted or wanted >= _MOST_HEADER_BYTES:
                raise ValueError(f"the page at byte {at:,} has no whole header") from None
            wanted *= 8
