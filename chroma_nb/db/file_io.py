"""Reads and writes at a place of a file, all of it or an error, on every system."""

from __future__ import annotations

import os
import tempfile

from chroma_nb.errors import StoreCorruptError

#: Linux fails a single write of 2 GiB and more; smaller pieces also bound a partial write.
_WRITE_BYTES = 64 << 20


def unnamed_file(folder: str | None) -> int:
    """Open a temporary file, delete its name, and return its descriptor."""
    fd, path = tempfile.mkstemp(prefix="chroma-nb-", suffix=".f32", dir=folder or None)
    try:
        os.unlink(path)
    except OSError:
        # Windows keeps the name of an open file; the system's temp folder cleans it up.
        os.set_inheritable(fd, False)
    return fd


def write_all(fd: int, data: memoryview, offset: int) -> None:
    """Write all bytes of `data` at `offset`."""
    position = 0
    while position < len(data):
        piece = data[position : position + _WRITE_BYTES]
        if hasattr(os, "pwrite"):
            position += os.pwrite(fd, piece, offset + position)
        else:
            os.lseek(fd, offset + position, os.SEEK_SET)
            position += os.write(fd, piece)


def read_all(fd: int, n_bytes: int, offset: int) -> bytes | bytearray:
    """Return `n_bytes` bytes from `offset` on; `StoreCorruptError` where the file ends before."""
    if hasattr(os, "pread"):
        data = os.pread(fd, n_bytes, offset)
        if len(data) == n_bytes:
            return data
    buffer = bytearray(n_bytes)
    read_into(fd, memoryview(buffer), offset)
    return buffer


_preadv = getattr(os, "preadv", None)


def read_into(fd: int, view: memoryview, offset: int, *, pad: bool = False) -> int:
    """Fill a view from a file and return the bytes read.

    Args:
        fd: The file.
        view: What to fill.
        offset: The place in the file where reading begins.
        pad: Fill what is past the file's end with zeros, instead of raising `StoreCorruptError`.
    """
    position = 0
    while position < len(view):
        if _preadv is not None:
            got = _preadv(fd, [view[position : position + _WRITE_BYTES]], offset + position)
        else:
            os.lseek(fd, offset + position, os.SEEK_SET)
            piece = os.read(fd, min(_WRITE_BYTES, len(view) - position))
            view[position : position + len(piece)] = piece
            got = len(piece)
        if got == 0:
            if not pad:
                raise StoreCorruptError("A vector file ended before its committed rows did.")
            view[position:] = bytes(len(view) - position)
            break
        position += got
    return position
