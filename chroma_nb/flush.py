"""Flushing files and folders to the disk, so that a power cut loses nothing of them."""

from __future__ import annotations

import contextlib
import os


def flush_folder(folder: str) -> None:
    """Flush a folder, so that a new name in it survives a power cut; where the system can do that."""
    with contextlib.suppress(OSError):
        flush_file(folder)


def flush_file(path: str) -> None:
    """Flush a file or a folder to the disk."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
