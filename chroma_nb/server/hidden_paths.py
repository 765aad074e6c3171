"""`HiddenPaths`: where a server keeps its files is no business of those who ask it."""

from __future__ import annotations

import os
import tempfile
from typing import TYPE_CHECKING

from chroma_nb.settings import expand_path, real_path

if TYPE_CHECKING:
    from chroma_nb.settings import Settings


class HiddenPaths:
    """Cuts the folders of a store out of messages: of a file in them its name is left.

    Args:
        *settings: Those of the store and of the server.
    """

    def __init__(self, *settings: Settings) -> None:
        named = [path for one in settings for path in (one.path, one.temp_path) if path]
        folders = {
            whole
            for path in [*named, tempfile.gettempdir()]
            for whole in (expand_path(path), real_path(path))
            if os.path.dirname(whole) != whole
        }
        # A path in quotes has each backslash twice.
        folders |= {one.replace("\\", "\\\\") for one in folders}
        #: The longest first: one may be in another.
        self._folders = sorted(folders, key=len, reverse=True)

    def cut(self, message: str) -> str:
        """Return a message without them."""
        for folder in self._folders:
            message = message.replace(folder, "...")
        return message
