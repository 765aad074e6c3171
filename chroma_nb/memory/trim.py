"""What was freed goes back to the operating system: `return_memory`, and `return_large_at_once`."""

from __future__ import annotations

import ctypes
import os
import sys
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


#: Where a process may use less than this, memory counts more than the time that it takes to ask for it.
_LITTLE_BYTES = 4 << 30
#: glibc's own threshold, before it raises it; and what `mallopt` calls it.
_LARGE_BYTES = 128 << 10
_M_MMAP_THRESHOLD = -3


def return_large_at_once(limit: int) -> None:
    """Have large blocks go back to the system as soon as they are freed, where there is little memory (glibc).

    Whenever glibc frees a block larger than any before it, up to 32 MB, it keeps blocks of that size from then
    on: eight threads that read and write, and DuckDB, left 200 MB of such holes in heaps of 250 MB. pyarrow's own
    allocator keeps what each thread once had, 90 MB after some small files; unless pyarrow was imported already
    (by pandas, too), it is told to use the system's.

    Args:
        limit: Bytes that the process may use.
    """
    chosen = "MALLOC_MMAP_THRESHOLD_" in os.environ or "GLIBC_TUNABLES" in os.environ
    if limit >= _LITTLE_BYTES or _malloc_trim() is None:
        return
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    if not chosen:
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)


def return_memory() -> None:
    """Give freed memory back to the operating system, where the allocator has to be asked (glibc)."""
    trim = _malloc_trim()
    if trim is not None:
        trim(0)


@lru_cache(maxsize=1)
def _malloc_trim() -> Callable[[int], int] | None:
    if not sys.platform.startswith("linux"):
        return None
    try:
        trim: Callable[[int], int] = ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError):
        return None
    return trim
