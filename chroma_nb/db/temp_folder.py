"""`TempFolder`: files that go with their process, even where it is killed."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile

from chroma_nb.db.store_lock import StoreLock
from chroma_nb.errors import InternalError, StoreLockedError

PREFIX = "chroma-nb-"


class TempFolder:
    """A folder for one store's temporary files.

    A kernel that is killed removes nothing. So each folder is locked while it is used, and whoever makes
    one first removes those that nobody holds any more.

    Args:
        parent: Where to make it; empty is the system's place.

    Raises:
        InternalError: Nothing can be written there.
    """

    def __init__(self, parent: str = "") -> None:
        parent = parent or tempfile.gettempdir()
        try:
            _sweep(parent)
            self.path, self._lock = _make(parent)
        except OSError as error:
            raise InternalError(
                f"The folder for temporary files {parent!r} cannot be written ({error.strerror}). Set "
                "Settings.temp_path to one that can."
            ) from error

    def close(self) -> None:
        """Remove it with everything in it. Closing twice is allowed."""
        shutil.rmtree(self.path, ignore_errors=True)
        if self._lock is not None:
            self._lock.release()


def _lock_of(folder: str) -> str:
    return os.path.join(folder, "lock")


def _make(parent: str) -> tuple[str, StoreLock | None]:
    while True:
        path = tempfile.mkdtemp(prefix=PREFIX, dir=parent)
        try:
            return path, StoreLock(_lock_of(path))
        except (StoreLockedError, FileNotFoundError):
            # Swept up by another process before it was locked.
            continue
        except OSError:
            # No locks on this file system: so nobody sweeps there either.
            return path, None


def _sweep(parent: str) -> None:
    """Remove the folders of processes that are gone."""
    found: list[str] = []
    with contextlib.suppress(OSError), os.scandir(parent) as entries:
        found = [one.path for one in entries if one.name.startswith(PREFIX)]
    for path in found:
        if os.path.islink(path) or not os.path.exists(_lock_of(path)):
            continue
        with contextlib.suppress(StoreLockedError, OSError):
            lock = StoreLock(_lock_of(path))
            shutil.rmtree(path, ignore_errors=True)
            lock.release()
