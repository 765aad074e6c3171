"""`HiddenPaths`: takes the server's folders out of messages, as clients should not learn where its files are."""

from __future__ import annotations

import os
import tempfile
from typing import TYPE_CHECKING

from chroma_nb.settings import expand_path, real_path

if TYPE_CHECKING:
    from chroma_nb.settings import Settings


class HiddenPaths:
    """Replaces a store's folders in messages by ``...``. The names of files in them stay.

    Args:
        *settings: The settings of the store and of the server.
    """

    def __init__(self, *settings: Settings) -> None:
        named = [path for each in settings for path in (each.path, each.temp_path) if path]
        folders = {
            whole
            for path in [*named, tempfile.gettempdir()]
            for whole in (expand_path(path), real_path(path))
            if os.path.dirname(whole) != whole
        }
        # In a path that `repr` has put in quotes each backslash is doubled.
        folders |= {folder.replace("\\", "\\\\") for folder in folders}
        #: The longest first, as one folder may be in another.
        self._folders = sorted(folders, key=len, reverse=True)

    def cut(self, message: str) -> str:
        """Return a message without the folders."""
        for folder in self._folders:
            message = message.replace(folder, "...")
        return message
