"""`FolderVectorFiles`: vector files with names.

*Orphans* are files that no collection in the catalogue names: a killed process has left them, or the database is an
older one than they are.
"""

from __future__ import annotations

import contextlib
import os
import re
from typing import TYPE_CHECKING

from chroma_nb.db.duckdb.cached_catalogue import text_bytes
from chroma_nb.db.duckdb.vector_files import VectorFiles, remove_prefix
from chroma_nb.db.own_file import COLLECTION_PREFIX
from chroma_nb.db.vector_file import HEADER_BYTES, VectorFile
from chroma_nb.errors import StoreCorruptError
from chroma_nb.flush import flush_folder

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from chroma_nb.db.duckdb.cached_catalogue import CatalogueEntry
    from chroma_nb.db.duckdb.folder_database import FolderDatabase
    from chroma_nb.db.duckdb.store_folder import StoreFolder
    from chroma_nb.db.temp_folder import TempFolder

#: The beginning of a collection's file.
_COLLECTION_FILE = re.compile(COLLECTION_PREFIX)


class FolderVectorFiles(VectorFiles):
    """Vectors in files of the store's folder, which have checksums.

    Args:
        database: The store's DuckDB.
        temp: The folder for temporary files.
        folder: The store's folder.
        fsync: Flush vectors to the disk.
    """

    def __init__(
        self, database: FolderDatabase, temp: TempFolder, folder: StoreFolder, *, fsync: bool
    ) -> None:
        super().__init__(database, temp)
        database.remove_orphans = self.remove_orphans
        self._folder = folder
        self._fsync = fsync
        #: The orphans that were found at opening.
        self._orphans: list[str] = []

    def path(self, entry: CatalogueEntry) -> str:
        return os.path.join(self._folder.vectors, entry.file_stem + ".f32")

    def open(self, entry: CatalogueEntry, dimension: int, *, create: bool) -> VectorFile:
        path = self.path(entry)
        if create:
            # A first write or a compaction that failed may have left a file there.
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
        has_sums = not create and entry.tail is not None
        is_missing = not create and not os.path.exists(path)
        if is_missing and not has_sums:
            raise StoreCorruptError(
                f"Vector file {path!r} is missing; it holds the vectors of collection "
                f"[{entry.info.name}]. Restore the whole folder from a backup; the file alone only where nothing was written "
                "to the store since."
            )
        vectors = VectorFile(
            path,
            dimension,
            fsync=self._fsync,
            # A missing file is made again, empty: then the checksums say that every vector is damaged.
            create=create or is_missing,
            has_sums=has_sums,
        )
        vectors.was_missing = is_missing
        if create and self._fsync:
            flush_folder(self._folder.vectors)
        return vectors

    def remove(self, entry: CatalogueEntry) -> None:
        remove_prefix(os.path.join(self._folder.vectors, entry.file_stem))

    # -- orphans ------------------------------------------------------------------------------

    def look_for_orphans(self) -> None:
        """Find the orphans, which the next change deletes."""
        self._orphans = self._find_orphans()

    def _find_orphans(self) -> list[str]:
        """Return files that no collection names: a killed process has left them, or the database is an older one."""
        known = {entry.file_stem for entry in self._database.cached.entries.values()}
        # Files of a collection whose entry is damaged are all that is left of it.
        kept = {one.collection_id for one in self._database.cached.damaged}
        if None in kept:
            return []
        return [
            os.path.join(self._folder.vectors, name)
            for name in sorted(os.listdir(self._folder.vectors))
            if _COLLECTION_FILE.match(name)
            and ".".join(name.split(".")[:2]) not in known
            and name.split(".")[0] not in kept
        ]

    def remove_orphans(self) -> None:
        """Delete the orphans that were found at opening and are still orphans."""
        if not self._orphans:
            return
        # Looked for again: a compaction may use one of these names by now.
        for path in self._find_orphans():
            # An orphan that cannot be deleted costs space and nothing else.
            with contextlib.suppress(OSError):
                os.unlink(path)
        self._orphans = []

    def unnamed(self) -> list[str]:
        """Return the paths of vector files that no collection names."""
        return self._find_orphans()

    # -- sizes --------------------------------------------------------------------------------

    def sizes(self, collection_ids: Sequence[UUID]) -> list[tuple[int, int, int]]:
        found = []
        for collection_id in collection_ids:
            entry = self._database.cached.entries.get(collection_id)
            if entry is None:
                found.append((0, 0, 0))
                continue
            # Computed from the committed rows, not read: many collections would take as many system calls.
            extent, size = entry.extent, 0
            if extent.next_label:
                size = HEADER_BYTES + 4 * (entry.info.dimension or 0) * extent.next_label
            found.append((extent.n_records, size, text_bytes(entry)))
        return found

    def bytes_on_disk(self, collection_id: UUID) -> int:
        name = self._database.entry(collection_id).file_stem
        total = 0
        for found in os.listdir(self._folder.vectors):
            # A file may be renamed or deleted at this moment.
            with contextlib.suppress(FileNotFoundError):
                if found.startswith(name + "."):
                    total += os.path.getsize(os.path.join(self._folder.vectors, found))
        return total
