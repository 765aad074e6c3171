"""`StoreLock`: lets one process open a store, by a lock of the operating system on a file that names the holder."""

from __future__ import annotations

import contextlib
import datetime
import errno
import json
import os
import socket
import sys
from typing import Any

from chroma_nb import forked
from chroma_nb.db.own_file import NotOurFileError, open_own_file
from chroma_nb.errors import StoreLockedError

#: How the text of a lock file begins.
_BEGINNING = b'{"pid": '
#: A larger file is not one of ours.
_MOST_BYTES = 4_096


class StoreLock:
    """Hold an exclusive lock on `path` until `release`; the system frees it when the process dies.

    Args:
        path: The lock file. A link, a pipe or a file that holds anything else is not touched.
        create: Make the file where it is missing.

    Raises:
        StoreLockedError: Another process holds the lock.
        NotOurFileError: There is something else at the path.
        OSError: The file cannot be opened for writing.
    """

    def __init__(self, path: str, *, create: bool = True) -> None:
        self.path = path
        self._fd = -1
        # Before the file is opened: a child that is forked at any moment must not keep the lock after this process.
        forked.watch(self)
        self._fd = fd = _open(path, create)
        try:
            _lock(fd)
        except (BlockingIOError, PermissionError):
            holder = _read_holder(fd)
            self._close()
            raise StoreLockedError(
                f"The store in {os.path.dirname(path)!r} is open in another process: {holder}. "
                "Close it there (client.close(), or restart that kernel), or use another folder; "
                "several processes share one store through a server."
            ) from None
        except OSError:
            # The file system has no locks.
            self._close()
            raise
        # The holder's name only helps others, so a full disk is ignored.
        with contextlib.suppress(OSError):
            _write_holder(fd)

    def is_there(self) -> bool:
        """Say whether the file at the path is still the one that is locked."""
        fd = self._fd
        if fd < 0:
            return False
        try:
            held = os.fstat(fd)
        except OSError:
            # Another thread has just released it.
            return False
        try:
            found = os.lstat(self.path)
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError:
            # It cannot be told now whether it is another file.
            return True
        return (found.st_dev, found.st_ino) == (held.st_dev, held.st_ino)

    def on_fork(self) -> None:
        """In a forked child: close the child's copy, which would keep the lock when the parent has ended."""
        self._close()

    def _close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def release(self) -> None:
        """Give the lock back. Releasing twice is allowed."""
        if self._fd >= 0:
            with contextlib.suppress(OSError):
                os.ftruncate(self._fd, 0)
            self._close()


def _open(path: str, create: bool) -> int:
    """Open the file and check that it is a lock file."""
    fd = open_own_file(path, create=create)
    try:
        if not _is_holder(os.read(fd, _MOST_BYTES + 1)):
            raise NotOurFileError(
                errno.EEXIST,
                f"{path!r} is a file that holds something else",
            )
    except BaseException:
        os.close(fd)
        raise
    return fd


def _is_holder(said: bytes) -> bool:
    """Say whether this is the content of a lock file: a holder, or nothing."""
    if len(said) > _MOST_BYTES:
        return False
    # A power cut may leave zeros, and a full disk only the first characters.
    return not said.strip(b"\0") or _BEGINNING.startswith(said) or said.startswith(_BEGINNING)


def _write_holder(fd: int) -> None:
    holder = {
        "pid": os.getpid(),
        "program": os.path.basename(sys.argv[0] or sys.executable)[:200],
        "host": socket.gethostname(),
        "since": datetime.datetime.now().isoformat(timespec="seconds"),
    }
    os.lseek(fd, 0, os.SEEK_SET)
    os.ftruncate(fd, 0)
    os.write(fd, json.dumps(holder).encode())


def _read_holder(fd: int) -> str:
    with contextlib.suppress(OSError, ValueError):
        os.lseek(fd, 0, os.SEEK_SET)
        holder: dict[str, Any] = json.loads(os.read(fd, _MOST_BYTES))
        return (
            f"pid {holder['pid']} ({holder['program']}) on {holder['host']}, "
            f"since {holder['since']}"
        )
    return "a process that did not write its pid"


if sys.platform == "win32":
    import msvcrt

    #: Far past the text: on Windows other processes cannot read what is locked, and the text must stay readable.
    _LOCKED_BYTE = 1 << 30

    def _lock(fd: int) -> None:
        os.lseek(fd, _LOCKED_BYTE, os.SEEK_SET)
        msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
        os.lseek(fd, 0, os.SEEK_SET)

else:
    import fcntl

    def _lock(fd: int) -> None:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
