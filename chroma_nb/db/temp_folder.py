"""`TempFolder`: files that go with their process, even where it is killed."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import stat
import tempfile
from typing import TYPE_CHECKING

from chroma_nb.db.store_lock import StoreLock
from chroma_nb.errors import InternalError, StoreLockedError

if TYPE_CHECKING:
    from collections.abc import Callable

PREFIX = "chroma-nb-"
#: The file that is locked while the folder is used. No store has one of this name.
_MARKER = "temporary.lock"
#: The subfolder that DuckDB uses.
DUCKDB_FOLDER = "duckdb"
#: What lies beside the marker: derived files of collections that were unloaded.
_DERIVED = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\.\d+\.[\w.-]+")
#: What DuckDB puts into its own.
_DUCKDBS = re.compile(r"duckdb_temp_[\w.-]+")


class TempFolder:
    """A folder for one store's temporary files.

    A kernel that is killed removes nothing. So each folder is locked while it is used, and whoever makes
    one first removes those that nobody holds any more. The place is shared with everybody: only what is
    proven to be such a folder is touched (`_is_left_over`).

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

    def on_fork(self) -> None:
        """In a forked child: leave the folder to the parent."""
        if self._lock is not None:
            self._lock.on_fork()


def _make(parent: str) -> tuple[str, StoreLock | None]:
    while True:
        # For its owner alone.
        path = tempfile.mkdtemp(prefix=PREFIX, dir=parent)
        try:
            lock = StoreLock(os.path.join(path, _MARKER))
        except (StoreLockedError, FileNotFoundError):
            # Swept up by another process before it was locked.
            continue
        except OSError:
            # No locks on this file system: so nobody sweeps there either.
            return path, None
        if lock.is_there():
            return path, lock
        # Swept up between opening the file and locking it.
        lock.release()


def _sweep(parent: str) -> None:
    """Remove the folders of processes that are gone."""
    found: list[str] = []
    with contextlib.suppress(OSError), os.scandir(parent) as entries:
        found = [one.path for one in entries if one.name.startswith(PREFIX)]
    for path in found:
        with contextlib.suppress(OSError):
            if not _is_left_over(path):
                continue
            with contextlib.suppress(StoreLockedError):
                lock = StoreLock(os.path.join(path, _MARKER), create=False)
                try:
                    # Once more: until it was locked, its owner may have been at work in it.
                    if lock.is_there() and _is_left_over(path):
                        shutil.rmtree(path, ignore_errors=True)
                finally:
                    lock.release()


def _is_left_over(path: str) -> bool:
    """Say whether a folder was made here, and has nothing in it but what is put into such a folder.

    Raises:
        OSError: It cannot be looked into.
    """
    if not _is_own(path, stat.S_ISDIR) or not _is_own(os.path.join(path, _MARKER), stat.S_ISREG):
        return False
    for name in os.listdir(path):
        inner = os.path.join(path, name)
        if name == DUCKDB_FOLDER:
            if not _is_own(inner, stat.S_ISDIR):
                return False
            if not all(
                _DUCKDBS.fullmatch(each) and _is_own(os.path.join(inner, each), stat.S_ISREG)
                for each in os.listdir(inner)
            ):
                return False
        elif name != _MARKER and not (_DERIVED.fullmatch(name) and _is_own(inner, stat.S_ISREG)):
            return False
    return True


def _is_own(path: str, is_kind: Callable[[int], bool]) -> bool:
    """Say whether a path is of a kind, no link, and this user's."""
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return False
    is_mine = not hasattr(os, "geteuid") or found.st_uid == os.geteuid()
    return is_kind(found.st_mode) and is_mine
