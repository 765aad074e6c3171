"""`TempFolder`: files that go with their process, even where it is killed."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import stat
import tempfile
import threading
from typing import TYPE_CHECKING

from chroma_nb.db.own_file import COLLECTION_PREFIX
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
_DERIVED = re.compile(COLLECTION_PREFIX + r"[\w.-]+")
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
        self._is_open = True
        self._making = threading.Lock()
        try:
            _sweep(parent)
            self._path, self._lock = _make(parent)
        except OSError as error:
            raise InternalError(
                f"The folder for temporary files {parent!r} cannot be written ({error.strerror}). Set "
                "Settings.temp_path to one that can."
            ) from error

    @property
    def path(self) -> str:
        """Where it is. Programs that tidy the system's place remove what is old: then it is made again.

        Raises:
            InternalError: It is gone and cannot be made again.
        """
        if self._is_open and not self._is_there():
            with self._making:
                if not self._is_there():
                    self._make_again()
        return self._path

    def _is_there(self) -> bool:
        if self._lock is None:
            return _is_own(self._path, stat.S_ISDIR)
        return self._lock.is_there()

    def _make_again(self) -> None:
        # DuckDB knows the folder by its name, so it is to have this one and no other.
        try:
            # Of two folders the inner one as well: DuckDB makes its own only once.
            for folder in (self._path, os.path.join(self._path, DUCKDB_FOLDER)):
                with contextlib.suppress(FileExistsError):
                    os.mkdir(folder, 0o700)
                if not _is_own(folder, stat.S_ISDIR):
                    raise PermissionError(errno.EPERM, "it is a link, or another user's")
            if self._lock is not None:
                self._lock.release()
                self._lock = StoreLock(os.path.join(self._path, _MARKER))
        except (OSError, StoreLockedError) as error:
            raise InternalError(
                f"The folder for temporary files {self._path!r} was removed, and cannot be made again: {error}. "
                "Make room for it, or write what you need to files (collection.export(path)) and restart the "
                "kernel; Settings.temp_path names another place."
            ) from error

    def close(self) -> None:
        """Remove it with everything in it. Closing twice is allowed."""
        self._is_open = False
        shutil.rmtree(self._path, ignore_errors=True)
        if self._lock is not None:
            self._lock.release()

    def on_fork(self) -> None:
        """In a forked child: leave the folder to the parent."""
        self._is_open = False
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
