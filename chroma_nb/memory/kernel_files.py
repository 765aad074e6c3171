"""The small files in which the kernel says what it counts: read whole, and quickly."""

from __future__ import annotations

import os

_PIECE_BYTES = 1 << 16


class KernelFiles:
    """Reads files below a root; whatever cannot be read is None.

    Args:
        root: ``"/"``, or the folder of a made-up machine.
    """

    def __init__(self, root: str = "/") -> None:
        self._root = root.rstrip("/")

    def read(self, path: str) -> bytes | None:
        """Return what a file holds, given its path from the root."""
        # `open` takes twice as long, and this is done before every larger piece of work.
        try:
            file = os.open(self._root + path, os.O_RDONLY)
        except (OSError, ValueError):  # ValueError: garbled paths may have a NUL
            return None
        try:
            pieces = []
            while piece := os.read(file, _PIECE_BYTES):
                pieces.append(piece)
            return b"".join(pieces)
        except OSError:
            return None
        finally:
            os.close(file)

    def number(self, path: str) -> int | None:
        """Return the number that a file consists of; ``max`` is none."""
        text = (self.read(path) or b"").strip()
        return int(text) if text.isdigit() else None


def value_in(text: bytes, name: bytes) -> int | None:
    """Return the number after a name at the start of a line: ``active_file 4096``, ``MemTotal: 1 kB``."""
    text = b"\n" + text
    start = text.find(b"\n" + name + b" ")
    if start < 0:
        return None
    line, _, _ = text[start + 1 :].partition(b"\n")
    words = line.split(maxsplit=2)
    return int(words[1]) if len(words) > 1 and words[1].isdigit() else None
