"""Snapshots: what a loaded collection holds beside its graph, in one file that is read at once.

Reading 20,000 records from the database and taking them apart takes 40 ms; their snapshot takes 3 ms. It
is derived data, made when a collection is unloaded: one that is missing, damaged, or of another version
of the collection than the DB's is passed over, and the records are read from the DB.

Layout: a line with the CRC-32 of the rest of it, in hexadecimal digits, and JSON (format, version of the
collection, names and sizes of the sections, CRC-32 of everything after the line); then the sections, one
after the other. Format 1 had no sum of the line, format 2 other hashes of ids; such a snapshot is made again.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
from typing import TYPE_CHECKING, Any, BinaryIO
from zlib import crc32

from chroma_nb.db.own_file import open_plain, unfinished_name

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

#: What reading something else than a snapshot raises.
_ODD = (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, MemoryError)

logger = logging.getLogger("chroma_nb")

FORMAT_VERSION = 3
#: A header of more than this is none.
_MOST_HEADER_BYTES = 64 << 10
#: A check reads so much at a time.
_CHECKED_BYTES = 1 << 20


def _path(prefix: str) -> str:
    return prefix + ".segment"


def save_snapshot(
    prefix: str, version: int, sections: Mapping[str, bytearray | NDArray[Any]]
) -> bool:
    """Write a snapshot so that the old one or the new one is there at any moment; say if it worked.

    Args:
        prefix: Path without suffix.
        version: The version of the collection (`Extent.version`).
        sections: Pieces of memory by name.
    """
    path = _path(prefix)
    unfinished = unfinished_name(path)
    # No views of them are held: while there is one, a bytearray cannot grow, and after an interrupt the traceback may keep it.
    checksum = 0
    for piece in sections.values():
        checksum = crc32(piece, checksum)  # type: ignore[arg-type]
    header = {
        "format": FORMAT_VERSION,
        "version": version,
        "sections": {name: _size(piece) for name, piece in sections.items()},
        "crc32": checksum,
    }
    try:
        with open(unfinished, "xb") as file:
            text = json.dumps(header).encode()
            file.write(b"%08x " % crc32(text) + text + b"\n")
            for piece in sections.values():
                file.write(piece)  # type: ignore[arg-type]
        os.replace(unfinished, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            os.unlink(unfinished)
        logger.warning("The snapshot %s could not be saved (%s); it is not needed.", path, error)
        return False
    return True


def _size(piece: bytearray | NDArray[Any]) -> int:
    return len(piece) if isinstance(piece, bytearray) else piece.nbytes


def snapshot_bytes(prefix: str, version: int) -> int | None:
    """Return the bytes that a snapshot takes in memory; None where there is none of this version."""
    try:
        with open(_path(prefix), "rb", opener=open_plain) as file:
            header = _read_header(file)
        if header is None or header["version"] != version:
            return None
        # A bytearray holds one byte more than it shows.
        return sum(int(size) + 1 for size in header["sections"].values())
    except _ODD:
        return None


def _read_header(file: BinaryIO) -> dict[str, Any] | None:
    """Read the first line; None where it is of another format.

    Raises:
        ValueError: It is not as it was written.
    """
    line = file.readline(_MOST_HEADER_BYTES)
    if line.startswith(b'{"format": 1,'):
        return None
    checksum, _, text = line.rstrip(b"\n").partition(b" ")
    if checksum != b"%08x" % crc32(text):
        raise ValueError("its description's checksum is wrong")
    header = json.loads(text)
    if header["format"] != FORMAT_VERSION:
        return None
    # Somebody else may have made the file: of sizes below 0, the sum would be right whatever memory the others take.
    if any(type(size) is not int or size < 0 for size in header["sections"].values()):
        raise ValueError("the size of a section is no number of bytes")
    return header  # type: ignore[no-any-return]


def is_damaged(prefix: str, on_bytes: Callable[[int], object]) -> str:
    """Read a snapshot, whatever its version; return its path where it is not as it was written, else "".

    Args:
        prefix: Path without suffix.
        on_bytes: Called with the bytes that were read.
    """
    path = _path(prefix)
    try:
        with open(path, "rb", opener=open_plain) as file:
            header = _read_header(file)
            if header is not None:
                n_bytes = os.path.getsize(path)
                on_bytes(n_bytes)
                _check_sections(file, header, n_bytes)
    except FileNotFoundError:
        return ""
    except _ODD:
        return path
    return ""


def open_snapshot(prefix: str, version: int) -> dict[str, bytearray] | None:
    """Read a snapshot of this version of the collection, if there is one and it is sound."""
    path = _path(prefix)
    try:
        return _read_sections(path, version)
    except FileNotFoundError:
        return None
    except _ODD as error:
        pass_over(prefix, error)
        return None


def pass_over(prefix: str, error: Exception) -> None:
    """Say that a snapshot is not used, and why."""
    logger.warning(
        "The snapshot %s cannot be used (%s); the records are read anew.", _path(prefix), error
    )


def _check_sections(file: BinaryIO, header: dict[str, Any], n_bytes: int) -> None:
    """Read what follows the header, piece by piece, and keep none of it.

    Args:
        file: The snapshot, of which the header has been read.
        header: That.
        n_bytes: The file's size.

    Raises:
        ValueError: It is not as it was written.
    """
    if file.tell() + sum(header["sections"].values()) != n_bytes:
        raise ValueError("its size is wrong")
    checksum = 0
    while piece := file.read(_CHECKED_BYTES):
        checksum = crc32(piece, checksum)
    if checksum != header["crc32"]:
        raise ValueError("its checksum is wrong")


def _read_sections(path: str, version: int) -> dict[str, bytearray] | None:
    with open(path, "rb", opener=open_plain) as file:
        header = _read_header(file)
        if header is None or header["version"] != version:
            return None
        if file.tell() + sum(header["sections"].values()) != os.path.getsize(path):
            raise ValueError("its size is wrong")
        sections, checksum = {}, 0
        for name, size in header["sections"].items():
            piece = sections[name] = bytearray(size)
            if file.readinto(piece) != size:
                raise ValueError("it is cut short")
            checksum = crc32(piece, checksum)
        if checksum != header["crc32"]:
            raise ValueError("its checksum is wrong")
        return sections
