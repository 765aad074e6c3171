"""`KEPT`: layouts that were made in this process, so that the next map of the same records has its layout at once."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING

import numpy as np
import xxhash

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: All layouts together; a record takes 8 bytes.
_MOST_BYTES = 16 << 20
#: Of so many maps it is known what they were made from.
_MOST_PLACES = 1_000


def fingerprint(ids: list[str], embeddings: NDArray[np.float32], method: str) -> str:
    """Return what a layout belongs to: these records in this order, with these embeddings, and how it is made."""
    summed = xxhash.xxh3_128(method.encode())
    for one in ids:
        text = one.encode("utf-8", "surrogatepass")
        summed.update(len(text).to_bytes(8, "little") + text)
    summed.update(np.ascontiguousarray(embeddings).data)
    return summed.hexdigest()


class KeptLayouts:
    """Layouts by their fingerprints; the one that was used longest ago goes first. Safe for threads.

    As a layout belongs to the contents of its records, none is ever shown for records that have changed.
    """

    def __init__(self, most_bytes: int = _MOST_BYTES) -> None:
        self._most_bytes = most_bytes
        self._lock = threading.Lock()
        self._layouts: OrderedDict[str, NDArray[np.float32]] = OrderedDict()
        #: Map, as `has_changed` is told it -> what it was last made from.
        self._made_from: OrderedDict[object, str] = OrderedDict()

    def get(self, key: str) -> NDArray[np.float32] | None:
        """Return a layout, shape (n, 2), or None."""
        with self._lock:
            found = self._layouts.get(key)
            if found is not None:
                self._layouts.move_to_end(key)
            return found

    def has_changed(self, place: object, key: str) -> bool:
        """Say whether a map was made before, of something else."""
        with self._lock:
            return self._made_from.get(place, key) != key

    def put(self, place: object, key: str, layout: NDArray[np.float32]) -> None:
        """Keep a layout, unless it is larger than all may be.

        Args:
            place: Which map it is of: the collection, and what was asked for.
            key: Its fingerprint.
            layout: Shape (n, 2).
        """
        with self._lock:
            self._made_from[place] = key
            self._made_from.move_to_end(place)
            if len(self._made_from) > _MOST_PLACES:
                self._made_from.popitem(last=False)
            if layout.nbytes > self._most_bytes:
                return
            layout.flags.writeable = False
            self._layouts[key] = layout
            self._layouts.move_to_end(key)
            while sum(one.nbytes for one in self._layouts.values()) > self._most_bytes:
                self._layouts.popitem(last=False)


KEPT = KeptLayouts()
