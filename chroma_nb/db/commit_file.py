"""`CommitFile`: the number of the last acknowledged commit, and which database its log belongs to.

DuckDB's log may be cut, or the database replaced by an older one: each is a sound database, in which commits
are missing. So their number is also kept here, written after each commit. An older database under a newer log
has the right number once the log is read, and lacks what a checkpoint had taken out of the log. So a checksum of
the database's header is kept here, too: a checkpoint changes it, and nothing else does.

The file is a witness and nothing else: whatever happens to it, no record is lost, and no write fails because of it.

Layout, little-endian, 32 bytes: magic, number, checksum of the header, xxh3 of these. Older files have no checksum
of the header.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import struct
from typing import NamedTuple

import xxhash

from chroma_nb.db.own_file import NotOurFileError, open_own_file, open_plain

logger = logging.getLogger("chroma_nb")

_MAGIC, _OLDER_MAGIC = b"CNBCOMM\x01", b"CNBCOMM\x00"
_BODY, _OLDER_BODY = struct.Struct("<8sQQ"), struct.Struct("<8sQ")
_SUM = struct.Struct("<Q")
#: DuckDB's main header, and the two headers of the database of which a checkpoint writes one.
_HEADER_BYTES = 3 * 4_096
#: A file of more than this is something else's.
_MOST_BYTES = 64


class LastCommit(NamedTuple):
    """What is known of a store's database."""

    #: Commits that were acknowledged.
    number: int
    #: The checksum of the database's header; 0 while a checkpoint is under way, and where it is not known.
    header: int = 0


def header_sum(path: str) -> int:
    """Return the checksum of a database's header; 0 where there is none.

    Raises:
        OSError: It cannot be read.
    """
    try:
        with open(path, "rb", buffering=0, opener=open_plain) as file:
            return xxhash.xxh3_64_intdigest(file.read(_HEADER_BYTES)) or 1
    except FileNotFoundError:
        return 0


class CommitFile:
    """The file, open as long as its store is.

    Args:
        path: Where it is. A link, a pipe or a file of something else is not touched.

    Raises:
        NotOurFileError: There is something else.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._fd = -1
        self._open(create=False)

    def _open(self, *, create: bool) -> None:
        try:
            fd = open_own_file(self.path, create=create)
        except NotOurFileError:
            raise
        except OSError:
            # Missing, or not to be opened for writing: then there is no witness.
            return
        if os.fstat(fd).st_size > _MOST_BYTES:
            os.close(fd)
            raise NotOurFileError(
                errno.EEXIST,
                f"{self.path!r} is a file that holds something else: move it away, or delete it",
            )
        self._fd = fd

    def read(self) -> LastCommit | None:
        """Return what is known; None where there is nothing, or nothing that can be read."""
        if self._fd < 0:
            return None
        with contextlib.suppress(OSError):
            os.lseek(self._fd, 0, os.SEEK_SET)
            data = os.read(self._fd, _MOST_BYTES)
            if not data.strip(b"\0"):
                # New, or never written out before the power went.
                return None
            body, end = data[: -_SUM.size], data[-_SUM.size :]
            if end == _sum(body):
                if len(body) == _BODY.size and body.startswith(_MAGIC):
                    return LastCommit(*_BODY.unpack(body)[1:])
                if len(body) == _OLDER_BODY.size and body.startswith(_OLDER_MAGIC):
                    return LastCommit(*_OLDER_BODY.unpack(body)[1:])
        logger.warning(
            "%s cannot be read and is written anew: that the last commits are there could not be checked.",
            self.path,
        )
        return None

    def write(self, witness: LastCommit, *, flush: bool = False) -> bool:
        """Write what is known, and say whether that worked.

        Where it does not, the number lags behind, which does no harm. It is not flushed without need.
        """
        with contextlib.suppress(OSError):
            if self._fd < 0:
                self._open(create=True)
            if self._fd < 0:
                return False
            body = _BODY.pack(_MAGIC, *witness)
            # In one piece.
            if hasattr(os, "pwrite"):
                os.pwrite(self._fd, body + _sum(body), 0)
            else:
                os.lseek(self._fd, 0, os.SEEK_SET)
                os.write(self._fd, body + _sum(body))
            if flush:
                getattr(os, "fdatasync", os.fsync)(self._fd)
            return True
        return False

    def remove(self) -> None:
        """Delete the file: one that cannot be written would say something that is not true any more.

        Raises:
            OSError: It cannot be deleted either.
        """
        self.close()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path)

    def close(self) -> None:
        """Close the file. Closing twice is allowed."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _sum(body: bytes) -> bytes:
    return _SUM.pack(xxhash.xxh3_64_intdigest(body))
