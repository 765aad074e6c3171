"""Reads structures of Thrift's compact protocol, in which Parquet describes files and pages.

Whatever reads Parquet reads them, too, and goes by what it finds. So of what can be written in two ways only one is
read: another reader might take the other.
"""

from __future__ import annotations

from typing import Any

#: Kinds of fields.
I32, I64, BINARY = 5, 6, 8
_TRUE, _FALSE, _I8, _I16, _DOUBLE, _LIST, _SET, _STRUCT = 1, 2, 3, 4, 7, 9, 10, 12
_MOST_DEPTH = 16
_MOST_FIELD = 2**15 - 1
#: Wanted structures, of which each takes some 500 bytes. 2 for each column of each row group, so this is a footer of 48,000
#: row groups of an export.
_MOST_STRUCTURES = 500_000

#: Which fields of a structure are wanted: their number, and `I32`, `I64`, `BINARY`, the fields of a structure that is
#: wanted, or a list of one of these for a list. All others are passed over.
Wanted = dict[int, Any]
Structure = dict[int, Any]


class Compact:
    """Reads a structure; IndexError where the bytes end before it does.

    Args:
        data: It begins with the structure.
        what: What it is, at the beginning of a message: "the footer".
    """

    def __init__(self, data: bytes, what: str) -> None:
        self._data = data
        self._at = 0
        self._what = what
        self._n_structures = 0

    def structure(self, wanted: Wanted) -> tuple[Structure, int]:
        """Return the wanted fields that are there, and how many bytes the structure took.

        Raises:
            ValueError: It is no structure, or a wanted field is of another kind.
            IndexError: The bytes end before it does.
        """
        return self._structure(wanted, 0), self._at

    def _structure(self, wanted: Wanted, depth: int) -> Structure:
        if depth > _MOST_DEPTH:
            raise ValueError(f"{self._what} is nested too deeply")
        self._n_structures += bool(wanted)
        if self._n_structures > _MOST_STRUCTURES:
            raise ValueError(
                f"{self._what} has more than {_MOST_STRUCTURES:,} parts. Write it anew with fewer, larger row groups"
            )
        fields: Structure = {}
        number = 0
        while True:
            byte = self._byte()
            if not byte:
                return fields
            step, kind = byte >> 4, byte & 15
            last, number = number, number + step if step else self._signed()
            if not last < number <= _MOST_FIELD:
                raise ValueError(f"{self._what} has a field twice, or in another order")
            if number in wanted:
                fields[number] = self._value(kind, wanted[number], depth)
            elif kind not in (_TRUE, _FALSE):  # A switch is in the kind.
                self._skip(kind, depth)

    def _value(self, kind: int, wanted: Any, depth: int) -> Any:
        if isinstance(wanted, dict):
            self._check_kind(kind, _STRUCT)
            return self._structure(wanted, depth + 1)
        if isinstance(wanted, list):
            self._check_kind(kind, _LIST)
            inner, size = self._list_head()
            return [self._value(inner, wanted[0], depth + 1) for _ in range(size)]
        self._check_kind(kind, wanted)
        if wanted == BINARY:
            n_bytes = self._unsigned()
            self._pass(n_bytes)
            return self._data[self._at - n_bytes : self._at]
        value = self._signed()
        most = 2**31 if wanted == I32 else 2**63
        if not -most <= value < most:
            raise ValueError(f"{self._what} has a number of too many bits")
        return value

    def _check_kind(self, kind: int, wanted: int) -> None:
        if kind != wanted:
            raise ValueError(f"{self._what} has a field of another kind than Parquet's")

    def _skip(self, kind: int, depth: int) -> None:
        if kind in (_TRUE, _FALSE, _I8):
            self._pass(1)
        elif kind in (_I16, I32, I64):
            self._unsigned()
        elif kind in (_DOUBLE, BINARY):
            self._pass(8 if kind == _DOUBLE else self._unsigned())
        elif kind in (_LIST, _SET):
            if depth > _MOST_DEPTH:
                raise ValueError(f"{self._what} is nested too deeply")
            inner, size = self._list_head()
            # Each takes a byte at least, so this ends with the bytes.
            for _ in range(size):
                self._skip(inner, depth + 1)
        elif kind == _STRUCT:
            self._structure({}, depth + 1)
        else:
            raise ValueError(f"{self._what} has a field of an unknown kind")

    def _list_head(self) -> tuple[int, int]:
        byte = self._byte()
        size = byte >> 4
        return byte & 15, self._unsigned() if size == 15 else size

    def _byte(self) -> int:
        self._at += 1
        return self._data[self._at - 1]

    def _pass(self, n_bytes: int) -> None:
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
                raise ValueError(f"{self._what} has a number of more than 64 bits")

    def _signed(self) -> int:
        value = self._unsigned()
        return value >> 1 ^ -(value & 1)
