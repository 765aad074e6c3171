"""`CommitFile`: the number of the last acknowledged commit, beside the database that counts them.

DuckDB's log may be cut, or the database replaced by an older one: each is a sound database, in which commits
are missing. So the number is also kept here, written after each commit. It is a witness and nothing else:
whatever happens to it, no record is lost, and no write fails because of it.

Layout, little-endian, 24 bytes: magic, number, xxh3 of both.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import struct

import xxhash

from chroma_nb.db.own_file import NotOurFileError, open_own_file

logger = logging.getLogger("chroma_nb")

_MAGIC = b"CNBCOMM\x00"
_BODY = struct.Struct("<8sQ")
_SUM = struct.Struct("<Q")
_SIZE = _BODY.size + _SUM.size
#: A file of more than this is something else's.
_MOST_BYTES = 64


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

    def read(self) -> int | None:
        """Return the number; None where there is none, or none that can be read."""
        if self._fd < 0:
            return None
        with contextlib.suppress(OSError):
            os.lseek(self._fd, 0, os.SEEK_SET)
            data = os.read(self._fd, _MOST_BYTES)
            if not data.strip(b"\0"):
                # New, or never written out before the power went.
                return None
            body = data[: _BODY.size]
            if len(data) == _SIZE and data[_BODY.size :] == _sum(body):
                magic, number = _BODY.unpack(body)
                if magic == _MAGIC:
                    return int(number)
        logger.warning(
            "%s cannot be read and is written anew: that the last commits are there could not be checked.",
            self.path,
        )
        return None

    def write(self, number: int) -> None:
        """Write the number. Where the disk is full the old one stays: it lags behind, which does no harm."""
        with contextlib.suppress(OSError):
            if self._fd < 0:
                self._open(create=True)
            if self._fd < 0:
                return
            body = _BODY.pack(_MAGIC, number)
            # In one piece, and not flushed: a number that lags behind is no harm.
            if hasattr(os, "pwrite"):
                os.pwrite(self._fd, body + _sum(body), 0)
            else:
                os.lseek(self._fd, 0, os.SEEK_SET)
                os.write(self._fd, body + _sum(body))

    def close(self) -> None:
        """Close the file. Closing twice is allowed."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _sum(body: bytes) -> bytes:
    return _SUM.pack(xxhash.xxh3_64_intdigest(body))
