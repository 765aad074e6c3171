"""`FolderSizes`: the bytes of each collection's files in a folder, read again only when the folder has changed."""

from __future__ import annotations

import contextlib
import os
import time

#: The clocks of file systems go in steps: two changes within this time may leave the folder with the same time of
#: change. So sizes that were read so soon after a change are not kept, nanoseconds.
_SETTLED_NS = 1_000_000_000


class FolderSizes:
    """The bytes of a folder's files, added up by the first two parts of their names: ``<UUID>.<generation>``.

    Files are renamed to their final names when they are complete, and not written to afterwards. So whenever a size
    changes, the folder's time of change does.

    Args:
        folder: Its path.
    """

    def __init__(self, folder: str) -> None:
        self.folder = folder
        #: The folder's time of change and the sizes at that time. One tuple, as several threads read it.
        self._seen: tuple[int, dict[tuple[int, int], int]] = (-1, {})

    def by_collection(self) -> dict[tuple[int, int], int]:
        """Return the bytes of each collection's files, by its id (`UUID.int`) and generation.

        Raises:
            OSError: The folder cannot be read.
        """
        changed = os.stat(self.folder).st_mtime_ns
        if changed == self._seen[0]:
            return self._seen[1]
        now = time.time_ns()
        found: dict[tuple[int, int], int] = {}
        with os.scandir(self.folder) as files:
            for file in files:
                # A file may be renamed or deleted at this moment; and a file of another name is no collection's.
                with contextlib.suppress(FileNotFoundError, ValueError):
                    first, second, _ = file.name.split(".", 2)
                    key = int(first.replace("-", ""), 16), int(second)
                    found[key] = found.get(key, 0) + file.stat(follow_symlinks=False).st_size
        self._seen = changed if now - changed > _SETTLED_NS else -1, found
        return found
