"""`CommitFile`: the number of the last acknowledged commit, and which database its log belongs to.

DuckDB opens a database without complaint where its log was cut, or where the database was replaced by an older one,
although commits are missing. So the number of commits is also kept here, written after each commit.

An older database under a newer log has the right number once the log is read, and still lacks what a checkpoint had
moved from the log into the newer database. So a checksum of the database's header is kept here, too: a checkpoint
changes the header, and nothing else does.

An older log beside a newer database would be read into it once more: its records would be there twice. So it is kept
here how the log begins, or that there is none.

The file is only compared with: if it is damaged or lost, no record is lost and no write fails.

Layout, little-endian, 48 bytes: magic, number, checksum of the header, length and checksum of the beginning of the
log, xxh3 of these. Older files end before the log, or before the header.
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

_MAGIC = b"CNBCOMM\x02"
_BODY = struct.Struct("<8sQQQQ")
#: What older files begin with -> how they are laid out.
_OLDER = {b"CNBCOMM\x01": struct.Struct("<8sQQ"), b"CNBCOMM\x00": struct.Struct("<8sQ")}
_SUM = struct.Struct("<Q")
#: DuckDB's main header and its two database headers. A checkpoint writes one of these two.
_HEADER_BYTES = 3 * 4_096
#: The beginning of a log is so long at most: it has the first commit, or a part of it.
_LOG_START_BYTES = 4_096
#: A larger file is not one of ours.
_MOST_BYTES = 64


class LogStart(NamedTuple):
    """How a log begins."""

    n_bytes: int
    #: The checksum of these bytes; else one of the two below.
    checksum: int


#: A log may be there or not.
ANY_LOG = LogStart(0, 0)
NO_LOG = LogStart(0, 1)


class LastCommit(NamedTuple):
    """What the file says of the database and its log."""

    #: Commits that were acknowledged.
    number: int
    #: The checksum of the database's header; 0 while a checkpoint is under way, and where it is not known.
    header: int = 0
    log: LogStart = ANY_LOG


def log_start(path: str, n_bytes: int = _LOG_START_BYTES) -> LogStart:
    """Return how a log begins; `ANY_LOG` where it is empty or missing.

    Args:
        path: The log.
        n_bytes: Look at so many bytes at most.

    Raises:
        OSError: It cannot be read.
    """
    try:
        with open(path, "rb", buffering=0, opener=open_plain) as file:
            start = file.read(n_bytes)
    except FileNotFoundError:
        return ANY_LOG
    return LogStart(len(start), xxhash.xxh3_64_intdigest(start)) if start else ANY_LOG


class DatabaseHeader:
    """Reads the header of a database that DuckDB may have open.

    DuckDB locks the file, so that no other process opens it. A process loses such a lock as soon as it closes any
    descriptor of the file (POSIX, fcntl). So this one stays open until DuckDB has closed the file.

    Args:
        path: The database.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._fd = -1

    def checksum(self) -> int:
        """Return the checksum of the header; 0 where there is no database.

        Raises:
            OSError: It cannot be read.
        """
        try:
            found = os.stat(self.path)
        except FileNotFoundError:
            return 0
        if self._fd >= 0 and not os.path.samestat(found, os.fstat(self._fd)):
            # Another file was put in its place.
            self.close()
        if self._fd < 0:
            self._fd = open_plain(self.path, os.O_RDONLY)
        if hasattr(os, "pread"):
            header = os.pread(self._fd, _HEADER_BYTES, 0)
        else:
            os.lseek(self._fd, 0, os.SEEK_SET)
            header = os.read(self._fd, _HEADER_BYTES)
        return xxhash.xxh3_64_intdigest(header) or 1

    def close(self) -> None:
        """Close the descriptor, after DuckDB has closed the database. Closing twice is allowed."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class CommitFile:
    """The file, which is open as long as its store is.

    Args:
        path: Where it is. A link, a pipe or a file that holds something else is not touched.

    Raises:
        NotOurFileError: There is something else at the path.
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
            # Missing, or it may not be written: then nothing is compared.
            return
        if os.fstat(fd).st_size > _MOST_BYTES:
            os.close(fd)
            raise NotOurFileError(
                errno.EEXIST,
                f"{self.path!r} is a file that holds something else",
            )
        self._fd = fd

    def read(self) -> LastCommit | None:
        """Return what the file says; None where it is missing, empty or damaged."""
        if self._fd < 0:
            return None
        with contextlib.suppress(OSError):
            os.lseek(self._fd, 0, os.SEEK_SET)
            data = os.read(self._fd, _MOST_BYTES)
            if not data.strip(b"\0"):
                # New, or a power cut came before it was on the disk.
                return None
            body, end = data[: -_SUM.size], data[-_SUM.size :]
            if end == _sum(body):
                if len(body) == _BODY.size and body.startswith(_MAGIC):
                    _, number, header, *log = _BODY.unpack(body)
                    return LastCommit(number, header, LogStart(*log))
                older = _OLDER.get(body[: len(_MAGIC)])
                if older is not None and len(body) == older.size:
                    return LastCommit(*older.unpack(body)[1:])
        logger.warning(
            "%s cannot be read and is made again: whether the last commits are there could not be checked.",
            self.path,
        )
        return None

    def write(self, commit: LastCommit, *, flush: bool = False) -> bool:
        """Write the file; say whether that worked.

        Where it does not, the number in it is too low, which does no harm.

        Args:
            commit: What to write.
            flush: Flush it to the disk, which takes longer.
        """
        with contextlib.suppress(OSError):
            if self._fd < 0:
                self._open(create=True)
            if self._fd < 0:
                return False
            body = _BODY.pack(_MAGIC, commit.number, commit.header, *commit.log)
            # In one call, so that a kill leaves the old content or the new one.
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
        """Delete the file, where it cannot be written and what it says is no longer true.

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
