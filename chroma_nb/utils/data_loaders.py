"""Chroma's import path of `ImageLoader`: images by their uris, as arrays."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np

from chroma_nb.db.own_file import open_given
from chroma_nb.lazy import require_extra

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


class ImageLoader:
    """A data loader: uris, which are paths of image files, become arrays.

    Args:
        max_workers: Files that are read at a time; None is Python's own number.
    """

    def __init__(self, max_workers: int | None = None) -> None:
        self._max_workers = max_workers

    def __call__(self, uris: Sequence[str | None]) -> list[NDArray[Any] | None]:
        """Read images.

        Args:
            uris: n paths, or None.

        Returns:
            n arrays of shape (height, width, channels), uint8; None where there is no path.

        Raises:
            ImportError: Pillow is not installed.
        """
        image = require_extra("PIL.Image", extra="plot", needed_by="ImageLoader")

        def load(uri: str | None) -> NDArray[Any] | None:
            if uri is None:
                return None
            # A record may name a pipe, which nobody writes to.
            with open(uri, "rb", opener=open_given) as file, image.open(file) as opened:
                return np.asarray(opened)

        with ThreadPoolExecutor(self._max_workers) as threads:
            return list(threads.map(load, uris))
