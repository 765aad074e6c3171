"""Reads the small files under ``/proc`` and ``/sys`` in which the kernel reports memory."""

from __future__ import annotations

import os

_PIECE_BYTES = 1 << 16


class KernelFiles:
    """Reads files below a root folder; a file that cannot be read is None.

    Args:
        root: ``"/"``; tests give a folder with files of their own.
    """

    def __init__(self, root: str = "/") -> None:
        self._root = root.rstrip("/")

    def read(self, path: str) -> bytes | None:
        """Return the content of a file, given its path from the root."""
        # The builtin `open` takes twice as long, and this runs before every larger piece of work.
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
        """Return the number in a file; None where it holds something else, such as ``max``."""
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
