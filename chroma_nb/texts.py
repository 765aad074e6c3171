"""`Texts`: a column of texts as one piece of UTF-8, as Arrow, files and wires have them, and not as Python objects."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, overload

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

#: Bytes that a `str` object takes beside its characters and one more of their width (CPython 3.10 and 3.11; later ones take
#: less): of ASCII alone, and with others.
_ASCII_HEADER, _WIDE_HEADER = 48, 72
#: The first byte, in UTF-8, of characters that take two and four bytes in a `str`.
_TWO_BYTES, _FOUR_BYTES = 0xC4, 0xF0


class Texts(Sequence["str | None"]):
    """A column of texts; None is one that is missing. It is read as a list is, and nobody changes it.

    Args:
        data: The texts, one after the other, in UTF-8.
        offsets: Where each begins, and the last one ends: int32 or int64, shape (n + 1,), rising. A missing one has no bytes.
        given: Which are there: bool, shape (n,). None: all are.
    """

    def __init__(
        self, data: Any, offsets: NDArray[Any], given: NDArray[np.bool_] | None = None
    ) -> None:
        self.data = memoryview(data).cast("B")
        self.offsets = offsets
        self.given = None if given is None or given.all() else given

    @classmethod
    def of(cls, texts: Iterable[str | None]) -> Texts:
        """Return a column of these texts; the same one where they are a column."""
        if isinstance(texts, Texts):
            return texts
        # Put together as they come: a list of all of them in UTF-8 would take their memory once more.
        data, ends, given = bytearray(), array("q", [0]), bytearray()
        for text in texts:
            if text is not None:
                data += text.encode()
            ends.append(len(data))
            given.append(text is not None)
        is_whole = 0 not in given
        return cls(
            data, np.frombuffer(ends, np.int64), None if is_whole else np.frombuffer(given, bool)
        )

    @classmethod
    def cut(
        cls,
        data: Any,
        firsts: NDArray[Any],
        lasts: NDArray[Any],
        given: NDArray[np.bool_] | None = None,
    ) -> Texts:
        """Return a column of the texts that stand at these places of a buffer.

        Args:
            data: The buffer, UTF-8.
            firsts: Where each begins, int32 or int64, shape (n,).
            lasts: Where each ends; that of a missing one where it begins.
            given: As for the class.
        """
        ends = np.zeros(len(firsts) + 1, dtype=np.int64)
        np.cumsum(lasts - firsts, out=ends[1:])
        places = zip(firsts.tolist(), lasts.tolist(), strict=True)
        return cls(b"".join([data[first:last] for first, last in places]), ends, given)

    @classmethod
    def missing(cls, n: int) -> Texts:
        """Return a column of n texts that are missing."""
        return cls(b"", np.zeros(n + 1, dtype=np.int64), np.zeros(n, dtype=bool))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __iter__(self) -> Iterator[str | None]:
        return iter(self.to_list())

    @overload
    def __getitem__(self, at: int) -> str | None: ...
    @overload
    def __getitem__(self, at: slice) -> Texts: ...
    def __getitem__(self, at: int | slice) -> str | Texts | None:
        if isinstance(at, slice):
            start, stop, step = at.indices(len(self))
            if step != 1:
                # A step may be beyond what `numpy.arange` takes.
                return self.at(np.fromiter(range(start, stop, step), np.int64))
            stop = max(start, stop)
            given = None if self.given is None else self.given[start:stop]
            return Texts(self.data, self.offsets[start : stop + 1], given)
        row = range(len(self))[at]
        if self.given is not None and not self.given[row]:
            return None
        return str(self.data[self.offsets[row] : self.offsets[row + 1]], "utf-8")

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Texts | list):
            return self.to_list() == list(other)
        return NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Texts({self.to_list()!r})"

    @property
    def n_bytes(self) -> int:
        """UTF-8 bytes of all texts."""
        return int(self.offsets[-1] - self.offsets[0])

    def objects_bytes(self) -> int:
        """Return what the texts take as `str` objects, or a little more; bytes."""
        used = self._used()
        n = len(self) if self.given is None else int(self.given.sum())
        largest = int(used.max(initial=0))
        if largest < 0x80:
            return n * (_ASCII_HEADER + 1) + len(used)
        # Each text is counted as wide as the widest character of all.
        width = 4 if largest >= _FOUR_BYTES else 2 if largest >= _TWO_BYTES else 1
        n_characters = len(used) - int(np.count_nonzero((used & 0xC0) == 0x80))
        return n * (_WIDE_HEADER + width) + width * n_characters

    def to_list(self) -> list[str | None]:
        """Return the texts as a list.

        Raises:
            UnicodeDecodeError: One is not UTF-8.
        """
        start = int(self.offsets[0])
        used = self.data[start : int(self.offsets[-1])]
        ends = (self.offsets - start).tolist()
        found: list[str | None]
        if self._used().max(initial=0) < 0x80:
            whole = str(used, "ascii")
            found = [whole[begin:end] for begin, end in pairwise(ends)]
        else:
            found = [str(used[begin:end], "utf-8") for begin, end in pairwise(ends)]
        if self.given is not None:
            for row in np.flatnonzero(~self.given).tolist():
                found[row] = None
        return found

    def at(self, rows: NDArray[np.int64]) -> Texts:
        """Return the texts of these rows, int64, shape (n,), in their order."""
        given = None if self.given is None else self.given[rows]
        return Texts.cut(self.data, self.offsets[rows], self.offsets[rows + 1], given)

    def _used(self) -> NDArray[np.uint8]:
        used = np.frombuffer(self.data, dtype=np.uint8)
        return used[int(self.offsets[0]) : int(self.offsets[-1])]
