"""`FolderSizes`: how large the files of each collection in a folder are, without a look at all of them each time."""

from __future__ import annotations

import contextlib
import os
import time

#: A folder's time of change tells of a change that comes so much later than the one before; the clocks of file
#: systems go in steps.
_SETTLED_NS = 1_000_000_000


class FolderSizes:
    """The bytes of a folder's files, added up by the first two parts of their names: a UUID and a number.

    Files are put there under their final names and not written to afterwards, so the folder changes with them.

    Args:
        folder: Where they are.
    """

    def __init__(self, folder: str) -> None:
        self._folder = folder
        #: The folder's time of change, and what was there then; replaced as one.
        self._seen: tuple[int, dict[tuple[int, int], int]] = (-1, {})

    def by_collection(self) -> dict[tuple[int, int], int]:
        """Return the bytes of each collection's files, by its id (`UUID.int`) and generation."""
        changed = os.stat(self._folder).st_mtime_ns
        if changed == self._seen[0]:
            return self._seen[1]
        now = time.time_ns()
        found: dict[tuple[int, int], int] = {}
        with os.scandir(self._folder) as files:
            for one in files:
                # One may get its final name at this moment, and another has a name of its own.
                with contextlib.suppress(FileNotFoundError, ValueError):
                    first, second, _ = one.name.split(".", 2)
                    key = int(first.replace("-", ""), 16), int(second)
                    found[key] = found.get(key, 0) + one.stat(follow_symlinks=False).st_size
        self._seen = changed if now - changed > _SETTLED_NS else -1, found
        return found
