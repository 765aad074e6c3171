"""`PersistentDuckDB`: a folder that holds a DuckDB file, the vector files and the derived indexes.

docs/storage.md has a picture of it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, ClassVar

import duckdb

from chroma_nb.db.duckdb.cached_catalogue import CachedCatalogue
from chroma_nb.db.duckdb.folder_database import FolderDatabase
from chroma_nb.db.duckdb.folder_vector_files import FolderVectorFiles
from chroma_nb.db.duckdb.store import DuckDB
from chroma_nb.db.duckdb.store_folder import StoreFolder
from chroma_nb.db.duckdb.write_ahead_log import WriteAheadLog
from chroma_nb.db.interrupted import interruptible
from chroma_nb.errors import InternalError
from chroma_nb.settings import expand_path
from chroma_nb.system_errors import way_out, why

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from chroma_nb.db.memory_share import MemoryShare
    from chroma_nb.settings import Settings


class PersistentDuckDB(DuckDB):
    """A store in a folder; one process at a time.

    Args:
        settings: `path` is the folder; it is made when it is missing.

    Raises:
        InvalidArgumentError: `path` is a file, a folder of something else, or has a name that DuckDB cannot
            open.
        InternalError: The folder cannot be written.
        StoreCorruptError: The folder has vectors and no database, or the database cannot be read.
        StoreLockedError: Another process has the store open.
        VersionMismatchError: The store was written in another format.
    """

    persists: ClassVar[bool] = True
    _database: FolderDatabase
    _files: FolderVectorFiles

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.path = expand_path(settings.path)
        self._folder = StoreFolder(self.path, settings.path)
        try:
            self._log = WriteAheadLog(
                self._folder.database_header, self._folder.commit_file, fsync=settings.fsync
            )
            with interruptible():
                if not os.path.exists(self._folder.database_file):
                    self._log.check_database_is_new()
                    self._folder.make_database(fsync=settings.fsync)
            super().__init__(settings)
        except BaseException as error:
            self._folder.close()
            if isinstance(error, OSError):
                raise InternalError(
                    f"The store in {self.path!r} cannot be opened, as {why(error)}: {error}. "
                    f"{way_out(error)}, and open it again; nothing is lost."
                ) from error
            if isinstance(error, duckdb.Error):
                raise self._database.open_error(error) from error
            raise
        try:
            self._database.after_opening()
            self._files.look_for_orphans()
        except BaseException:
            self.close()
            raise

    def _make_parts(self, share: MemoryShare) -> tuple[FolderDatabase, FolderVectorFiles]:
        database = FolderDatabase(
            self.settings, repr(self), CachedCatalogue(), share, self._temp, self._folder, self._log
        )
        files = FolderVectorFiles(database, self._temp, self._folder, fsync=self.settings.fsync)
        return database, files

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.path!r})"

    # -- the folder ---------------------------------------------------------------------------

    def is_there(self) -> bool:
        return self._database.is_there()

    @property
    def derived_folder(self) -> str:
        self._database.check_not_replaced()
        return self._folder.indexes

    def unnamed_files(self) -> list[str]:
        return self._files.unnamed()

    def sizes(self, collection_ids: Sequence[UUID]) -> list[tuple[int, int, int]]:
        return self._files.sizes(collection_ids)

    def bytes_on_disk(self, collection_id: UUID) -> int:
        return self._files.bytes_on_disk(collection_id)

    # -- the end ------------------------------------------------------------------------------

    def close(self) -> None:
        self._database.is_abandoned = self._database.is_abandoned or not self.is_there()
        try:
            super().close()
        finally:
            self._folder.close()

    def abandon(self) -> None:
        # A checkpoint would delete the log of the store that is in the folder now.
        self._database.is_abandoned = True
        self.close()

    def on_fork(self) -> None:
        super().on_fork()
        self._folder.on_fork()
