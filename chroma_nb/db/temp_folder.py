"""`TempFolder`: a folder for temporary files. The next store that is opened removes those of killed processes."""

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
from chroma_nb.system_errors import is_too_many_files, way_out

if TYPE_CHECKING:
    from collections.abc import Callable

PREFIX = "chroma-nb-"
#: The file that is locked while the folder is used. It also marks the folder as one of ours: no other has this name.
_MARKER = "temporary.lock"
#: The subfolder that DuckDB uses.
DUCKDB_FOLDER = "duckdb"
#: The files beside the marker: derived files of unloaded collections, and vectors beyond those that are kept in files without a
#: name.
_DERIVED = re.compile(COLLECTION_PREFIX + r"[\w.-]+")
#: The files that DuckDB makes in its subfolder.
_DUCKDBS = re.compile(r"duckdb_temp_[\w.-]+")


class TempFolder:
    """A folder for one store's temporary files.

    A killed process leaves its folder behind. So each folder is locked while it is used, and making a new one first
    removes those that no process has locked. Other users share the place, so a folder is removed only where
    `_is_left_over` says that it is one of ours.

    Args:
        parent: Where to make it; empty is the system's folder for temporary files.

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
                f"The folder for temporary files {parent!r} cannot be written ({error.strerror}). "
                f"{way_out(error)}, or set Settings.temp_path to another folder."
            ) from error

    @property
    def path(self) -> str:
        """Its path. Where a clean-up program has removed the folder, it is made again.

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
        # Under the same name, as DuckDB's temporary folder cannot be changed while it is open.
        try:
            # With the subfolder, which DuckDB makes only once.
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
                f"{way_out(error)}, and repeat the call; or write what you need to files (collection.export(path)) and "
                "restart the kernel; Settings.temp_path names another place."
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
        # Made with permissions for its owner alone.
        path = tempfile.mkdtemp(prefix=PREFIX, dir=parent)
        try:
            lock = StoreLock(os.path.join(path, _MARKER))
        except (StoreLockedError, FileNotFoundError):
            # Another process has removed it before it was locked.
            continue
        except OSError as error:
            if is_too_many_files(error):
                os.rmdir(path)
                raise
            # The file system has no locks. Then no process removes folders there either.
            return path, None
        if lock.is_there():
            return path, lock
        # Removed between opening the lock file and locking it.
        lock.release()


def _sweep(parent: str) -> None:
    """Remove the folders of processes that have ended."""
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
                    # Checked again under the lock: before, its owner may still have used it.
                    if lock.is_there() and _is_left_over(path):
                        shutil.rmtree(path, ignore_errors=True)
                finally:
                    lock.release()


def _is_left_over(path: str) -> bool:
    """Say whether a folder is a `TempFolder` of this user's and holds only the files of one.

    Raises:
        OSError: It cannot be read.
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
    """Say whether a path is of this kind (of `stat.S_IS...`), no link, and owned by this user."""
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return False
    is_mine = not hasattr(os, "geteuid") or found.st_uid == os.geteuid()
    return is_kind(found.st_mode) and is_mine
