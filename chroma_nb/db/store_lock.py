"""One process per store: an advisory lock on a file that says who holds it."""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import socket
import sys
from typing import Any

from chroma_nb.errors import StoreLockedError


class StoreLock:
    """Hold an exclusive lock on `path` until `release`; the system frees it when the process dies.

    Raises:
        StoreLockedError: Another process holds it.
        OSError: The file cannot be opened for writing.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o644)
        try:
            _lock(self._fd)
        except (BlockingIOError, PermissionError):
            holder = _read_holder(self._fd)
            os.close(self._fd)
            self._fd = -1
            raise StoreLockedError(
                f"The store in {os.path.dirname(path)!r} is open in another process: {holder}. "
                "Close it there (client.close(), or restart that kernel), or use another folder; "
                "several processes share one store through a server."
            ) from None
        except OSError:
            # A file system without locks.
            os.close(self._fd)
            self._fd = -1
            raise
        holder_now = {
            "pid": os.getpid(),
            "program": os.path.basename(sys.argv[0] or sys.executable),
            "host": socket.gethostname(),
            "since": datetime.datetime.now().isoformat(timespec="seconds"),
        }
        os.ftruncate(self._fd, 0)
        os.write(self._fd, json.dumps(holder_now).encode())

    def is_there(self) -> bool:
        """Say whether the file at the path is still the one that is locked."""
        if self._fd < 0:
            return False
        try:
            found = os.stat(self.path)
        except OSError:
            return False
        held = os.fstat(self._fd)
        return (found.st_dev, found.st_ino) == (held.st_dev, held.st_ino)

    def release(self) -> None:
        """Give the lock back. Releasing twice is allowed."""
        if self._fd >= 0:
            with contextlib.suppress(OSError):
                os.ftruncate(self._fd, 0)
            os.close(self._fd)
            self._fd = -1


def _read_holder(fd: int) -> str:
    with contextlib.suppress(OSError, ValueError):
        os.lseek(fd, 0, os.SEEK_SET)
        holder: dict[str, Any] = json.loads(os.read(fd, 4_096))
        return (
            f"pid {holder['pid']} ({holder['program']}) on {holder['host']}, "
            f"since {holder['since']}"
        )
    return "one that has not said who it is"


if sys.platform == "win32":
    import msvcrt

    #: Far past the text: Windows locks are mandatory, and the text must stay readable to others.
    _LOCKED_BYTE = 1 << 30

    def _lock(fd: int) -> None:
        os.lseek(fd, _LOCKED_BYTE, os.SEEK_SET)
        msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
        os.lseek(fd, 0, os.SEEK_SET)

else:
    import fcntl

    def _lock(fd: int) -> None:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
