"""Snapshots: what a loaded collection holds beside its graph, in one file that is read at once.

Reading 20,000 records from the database and taking them apart takes 40 ms; their snapshot takes 3 ms. It
is derived data, made when a collection is unloaded: one that is missing, damaged, or of another version
of the collection than the DB's is passed over, and the records are read from the DB.

Layout: a line of JSON (format, version of the collection, names and sizes of the sections, CRC-32 of
everything after the line), then the sections, one after the other.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
from typing import TYPE_CHECKING, Any
from zlib import crc32

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

logger = logging.getLogger("chroma_nb")

FORMAT_VERSION = 1
#: A header of more than this is none.
_MOST_HEADER_BYTES = 64 << 10


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
    views = {
        name: memoryview(piece).cast("B")  # type: ignore[arg-type]
        for name, piece in sections.items()
        if len(piece)
    }
    checksum = 0
    for view in views.values():
        checksum = crc32(view, checksum)
    header = {
        "format": FORMAT_VERSION,
        "version": version,
        "sections": {name: len(views.get(name, b"")) for name in sections},
        "crc32": checksum,
    }
    try:
        with open(path + ".new", "wb") as file:
            file.write(json.dumps(header).encode() + b"\n")
            for view in views.values():
                file.write(view)
        os.replace(path + ".new", path)
    except OSError as error:
        with contextlib.suppress(OSError):
            os.unlink(path + ".new")
        logger.warning("The snapshot %s could not be saved (%s); it is not needed.", path, error)
        return False
    return True


def snapshot_bytes(prefix: str, version: int) -> int | None:
    """Return the bytes that a snapshot takes in memory; None where there is none of this version."""
    try:
        with open(_path(prefix), "rb") as file:
            header = json.loads(file.readline(_MOST_HEADER_BYTES))
        if (header["format"], header["version"]) != (FORMAT_VERSION, version):
            return None
        # A bytearray holds one byte more than it shows.
        return sum(int(size) + 1 for size in header["sections"].values())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def open_snapshot(prefix: str, version: int) -> dict[str, bytearray] | None:
    """Read a snapshot of this version of the collection, if there is one and it is sound."""
    path = _path(prefix)
    try:
        with open(path, "rb") as file:
            header = json.loads(file.readline(_MOST_HEADER_BYTES))
            if (header["format"], header["version"]) != (FORMAT_VERSION, version):
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
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        logger.warning(
            "The snapshot %s cannot be used (%s); the records are read anew.", path, error
        )
        return None
