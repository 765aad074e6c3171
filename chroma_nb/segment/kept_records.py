"""`KeptRecords`: records that a scan has yet to return, kept in a file while others delete or change them."""

from __future__ import annotations

import contextlib
import json
import os
from typing import TYPE_CHECKING, Any

import numpy as np

from chroma_nb.db.file_io import read_all, unnamed_file, write_all

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_LENGTH_BYTES = 8


class KeptRecords:
    """The temporary file of a scan: records one after the other. It is gone when it is dropped.

    Each is the length of its texts, these as JSON, and its embedding.

    It has no `close`: the thread that reads a scan may end it while a commit of another thread writes to the file. The
    system gives the number of a closed descriptor to the next file that is opened, and the rest would be written there.
    """

    def __init__(self, folder: str, dimension: int) -> None:
        self._fd = unnamed_file(folder)
        self._end = 0
        self._dimension = dimension

    def put(
        self, texts: Sequence[tuple[str | None, ...]], vectors: NDArray[np.float32] | None
    ) -> NDArray[np.int64]:
        """Write records, and return their places: int64, shape (n,).

        Args:
            texts: For each its id, document, uri and metadata.
            vectors: Shape (n, dimension), float32; None: there are none.
        """
        data = bytearray()
        places = np.empty(len(texts), dtype=np.int64)
        for row, record in enumerate(texts):
            places[row] = self._end + len(data)
            text = json.dumps(record).encode()
            data += len(text).to_bytes(_LENGTH_BYTES, "little") + text
            if vectors is not None:
                data += vectors[row].tobytes()
        write_all(self._fd, memoryview(data), self._end)
        self._end += len(data)
        return places

    def size(self, places: NDArray[np.int64]) -> int:
        """Return the bytes of the records at these places (int64, shape (n,))."""
        return sum(self._length(place) + 4 * self._dimension for place in places.tolist())

    def _length(self, place: int) -> int:
        return int.from_bytes(read_all(self._fd, _LENGTH_BYTES, place), "little")

    def get(self, places: NDArray[np.int64]) -> tuple[list[list[Any]], NDArray[np.float32]]:
        """Return the texts and the embeddings, float32, shape (n, dimension), at these places (int64, shape (n,))."""
        texts = []
        vectors = np.empty((len(places), self._dimension), dtype=np.float32)
        for row, place in enumerate(places.tolist()):
            length = self._length(place)
            data = read_all(
                self._fd, length + vectors.itemsize * self._dimension, place + _LENGTH_BYTES
            )
            texts.append(json.loads(data[:length]))
            vectors[row] = np.frombuffer(data[length:], dtype=np.float32)
        return texts, vectors

    def __del__(self) -> None:
        with contextlib.suppress(Exception):
            os.close(self._fd)
