"""`DerivedFiles`: where the snapshots and graphs of a store's collections are kept.

They are in the store's own folder where it has one (`DB.derived_folder`), else in a temporary folder. Their names begin
with ``<id>.<generation>.``. Each of them can be deleted at any time.
"""

from __future__ import annotations

import contextlib
import os
import re
import threading
from typing import TYPE_CHECKING
from uuid import UUID

from chroma_nb import forked
from chroma_nb.db.own_file import COLLECTION_PREFIX, collection_stem
from chroma_nb.db.temp_folder import TempFolder
from chroma_nb.errors import ConflictError, MemoryBudgetError, NotFoundError, StoreCorruptError
from chroma_nb.segment.folder_sizes import FolderSizes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from chroma_nb.db.base import DB

#: The beginning of a derived file's name.
_COLLECTION_FILE = re.compile(COLLECTION_PREFIX)


class DerivedFiles:
    """The derived files of one store.

    Args:
        db: The store. It is asked for its folder each time, as it refuses when the folder was replaced.
        temp_path: Where to make a temporary folder if the store has none; empty is the system's place.
    """

    def __init__(self, db: DB, temp_path: str) -> None:
        self._db = db
        self._temp_path = temp_path
        #: Made when it is first needed.
        self._temp: TempFolder | None = None
        self._lock = threading.Lock()
        self._sizes: FolderSizes | None = None
        #: The files that no collection names have been looked for: see `remove_unnamed`.
        self._is_swept = False
        forked.watch(self)

    @property
    def folder(self) -> str:
        """The folder that holds the files. Where somebody has removed it from the store's folder, it is made again.

        Raises:
            InternalError: The store's folder was moved, deleted or replaced, or no temporary folder can be made.
        """
        folder = self._db.derived_folder
        if folder is not None:
            if not os.path.isdir(folder):
                # Where that fails, nothing is saved.
                with contextlib.suppress(OSError):
                    os.mkdir(folder)
            return folder
        with self._lock:
            if self._temp is None:
                self._temp = TempFolder(self._temp_path)
            return self._temp.path

    def prefix(self, collection_id: UUID, generation: int | None = None) -> str:
        """Return the path of a collection's derived files, to which each adds its suffix.

        Args:
            collection_id: The collection.
            generation: Of its files; None is the present one.
        """
        if generation is None:
            generation = self._db.extent(collection_id).generation
        return os.path.join(self.folder, collection_stem(collection_id, generation))

    def remove(self, collection_ids: Iterable[UUID]) -> None:
        """Delete the files of collections that are deleted."""
        doomed = {str(collection_id) for collection_id in collection_ids}
        self._unlink(lambda name: name.partition(".")[0] in doomed)

    def remove_earlier(self, collection_id: UUID) -> None:
        """Delete the files of a collection's earlier generations, after it was compacted."""
        start = f"{collection_id}."
        kept = f"{start}{self._db.extent(collection_id).generation}."
        self._unlink(lambda name: name.startswith(start) and not name.startswith(kept))

    def remove_unnamed(self) -> None:
        """Delete files of deleted collections and of earlier generations, which a killed process has left.

        Called before a write: as long as nothing is written, a database that was put beside newer files by mistake can
        be replaced by the right one. Looks once, and again after a change has failed; see `looking_again`.
        """
        if self._is_swept or not self._db.persists:
            return
        known: dict[str, bool] = {}

        def is_unnamed(name: str) -> bool:
            if not _COLLECTION_FILE.match(name):
                return False
            collection, generation = name.split(".", 2)[:2]
            stem = f"{collection}.{generation}"
            if stem not in known:
                known[stem] = self._is_present(UUID(collection), int(generation))
            return not known[stem]

        with self.looking_again():
            # Set first, so that a change that fails meanwhile is not overlooked.
            self._is_swept = True
            self._unlink(is_unnamed)

    @contextlib.contextmanager
    def looking_again(self) -> Iterator[None]:
        """Have the next write look for files that no collection names, where what is done here fails or is interrupted.

        The DB may have committed it all the same.
        """
        try:
            yield
        except (MemoryBudgetError, ConflictError):
            # Nothing was changed. A compaction that is put off is tried again with each write.
            raise
        except BaseException:
            self._is_swept = False
            raise

    def _is_present(self, collection_id: UUID, generation: int) -> bool:
        try:
            return self._db.extent(collection_id).generation == generation
        except NotFoundError:
            return False
        except StoreCorruptError:
            # It is not known which files the collection has.
            return True

    def _unlink(self, is_chosen: Callable[[str], bool]) -> None:
        """Delete the files with these names. One that cannot be deleted costs space and nothing else."""
        if self._db.derived_folder is None and self._temp is None:
            return
        folder = self.folder
        with contextlib.suppress(OSError):
            for name in os.listdir(folder):
                if is_chosen(name):
                    with contextlib.suppress(OSError):
                        os.unlink(os.path.join(folder, name))

    def sizes(self, collection_ids: Sequence[UUID]) -> list[int]:
        """Return the bytes of each collection's files; 0 where they go with the process."""
        by_collection: dict[tuple[int, int], int] = {}
        if self._db.persists:
            folder = self.folder
            if self._sizes is None or self._sizes.folder != folder:
                self._sizes = FolderSizes(folder)
            # What cannot be read is not used either.
            with contextlib.suppress(OSError):
                by_collection = self._sizes.by_collection()
        # Of many collections few have files.
        with_files = {collection for collection, _ in by_collection}
        return [
            self._size(collection_id, by_collection) if collection_id.int in with_files else 0
            for collection_id in collection_ids
        ]

    def _size(self, collection_id: UUID, by_collection: dict[tuple[int, int], int]) -> int:
        with contextlib.suppress(NotFoundError):
            generation = self._db.extent(collection_id).generation
            return by_collection.get((collection_id.int, generation), 0)
        return 0

    def close(self) -> None:
        """Delete the temporary folder, if one was made. Closing twice is allowed."""
        with self._lock:
            temp, self._temp = self._temp, None
        if temp is not None:
            temp.close()

    def on_fork(self) -> None:
        """In a forked child: leave the temporary folder to the parent."""
        if self._temp is not None:
            self._temp.on_fork()
