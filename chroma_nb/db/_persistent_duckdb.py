"""`PersistentDuckDB`: a folder that holds a DuckDB file, the vector files and the derived indexes.

::

    <path>/lock                          who has the store open
    <path>/records.duckdb                catalogue and records
    <path>/vectors/<id>.<generation>.f32 the vectors of one collection
    <path>/indexes/<id>.<generation>.*   derived files, rebuilt when they are missing or damaged
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, ClassVar

import duckdb

from chroma_nb.db._duckdb import DuckDB, _Entry, _remove_prefix
from chroma_nb.db.store_lock import StoreLock
from chroma_nb.db.vector_file import VectorFile
from chroma_nb.errors import InternalError, InvalidArgumentError, StoreCorruptError

if TYPE_CHECKING:
    from uuid import UUID

    from chroma_nb.settings import Settings


class PersistentDuckDB(DuckDB):
    """A store in a folder; one process at a time.

    Args:
        settings: `path` is the folder; it is made when it is missing.

    Raises:
        InvalidArgumentError: `path` is a file.
        InternalError: The folder cannot be written.
        StoreLockedError: Another process has the store open.
        VersionMismatchError: The store was written in another format.
    """

    persists: ClassVar[bool] = True

    def __init__(self, settings: Settings) -> None:
        self.path = os.path.abspath(os.path.expanduser(settings.path))
        if os.path.exists(self.path) and not os.path.isdir(self.path):
            raise InvalidArgumentError(
                f"Path {settings.path!r} is a file; a store is a folder. Give a folder, or a name "
                "that is free: it will be made."
            )
        try:
            for folder in (self.path, self._vector_folder, self._index_folder):
                os.makedirs(folder, exist_ok=True)
            self._lock = StoreLock(os.path.join(self.path, "lock"))
        except OSError as error:
            raise InternalError(
                f"The folder {settings.path!r} cannot be written ({error.strerror}). Give a folder "
                "that you may write to, or use chroma_nb.EphemeralClient()."
            ) from error
        try:
            super().__init__(settings)
            self._remove_orphans()
        except BaseException:
            self._lock.release()
            raise

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.path!r})"

    @property
    def _vector_folder(self) -> str:
        return os.path.join(self.path, "vectors")

    @property
    def _index_folder(self) -> str:
        return os.path.join(self.path, "indexes")

    def _database_file(self) -> str:
        return os.path.join(self.path, "records.duckdb")

    def _space_folder(self) -> str:
        return self.path

    def _connect(self) -> duckdb.DuckDBPyConnection:
        try:
            return super()._connect()
        except duckdb.IOException as error:
            raise StoreCorruptError(
                f"The store in {self.path!r} cannot be opened: {error}"
            ) from error

    def _reconnect(self) -> None:
        # A commit that fails on a full disk may end the instance ("database has been invalidated"), or
        # leave rows half taken back: with DuckDB 1.3.2 the next text written came out joined with theirs.
        # What is on the disk is right, so it is read anew.
        # Cursors go with their connection, so nobody should find one in between.
        with self._cursor_lock:
            self._idle_cursors.clear()
        with contextlib.suppress(duckdb.Error):
            self._connection.close()
        self._connection = self._connect()

    def close(self) -> None:
        super().close()
        self._lock.release()

    def _vector_path(self, entry: _Entry) -> str:
        return os.path.join(self._vector_folder, _file_name(entry) + ".f32")

    def _derived_prefix(self, entry: _Entry) -> str:
        return os.path.join(self._index_folder, _file_name(entry))

    def _open_vectors(self, entry: _Entry, dimension: int, *, create: bool) -> VectorFile:
        path = self._vector_path(entry)
        if create:
            # What an undone first write or compaction left there is nobody's.
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
        elif not os.path.exists(path):
            raise StoreCorruptError(
                f"Vector file {path!r} is missing; it holds the vectors of collection "
                f"[{entry.info.name}]. Restore it from a backup."
            )
        vectors = VectorFile(path, dimension, fsync=self.settings.fsync)
        if create and self.settings.fsync:
            _sync_folder(self._vector_folder)
        return vectors

    def _remove_files(self, entry: _Entry) -> None:
        _remove_prefix(os.path.join(self._vector_folder, _file_name(entry)))
        _remove_prefix(self._derived_prefix(entry))

    def _remove_orphans(self) -> None:
        """Delete files that no collection names: left by a process that was killed in between."""
        known = {_file_name(entry) for entry in self._entries.values()}
        for folder in (self._vector_folder, self._index_folder):
            for name in os.listdir(folder):
                if ".".join(name.split(".")[:2]) not in known:
                    with contextlib.suppress(FileNotFoundError):
                        os.unlink(os.path.join(folder, name))

    def bytes_on_disk(self, collection_id: UUID) -> int:
        name = _file_name(self._entry(collection_id))
        total = 0
        for folder in (self._vector_folder, self._index_folder):
            for found in os.listdir(folder):
                if found.startswith(name + "."):
                    total += os.path.getsize(os.path.join(folder, found))
        return total


def _file_name(entry: _Entry) -> str:
    return f"{entry.info.id}.{entry.extent.generation}"


def _sync_folder(folder: str) -> None:
    """Make a new file's name durable, where a folder can be flushed."""
    with contextlib.suppress(OSError):
        fd = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
