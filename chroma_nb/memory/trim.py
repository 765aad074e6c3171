"""Gives freed memory back to the operating system: `return_memory`, `returned_when_freed` and others."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
import threading
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from chroma_nb.forked import call_in_child

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


#: Under a limit lower than this (bytes), using less memory is worth slower allocations.
_LITTLE_BYTES = 4 << 30
#: Numbers of two parameters of `mallopt` (glibc's malloc.h): from which size on a block is mapped by itself, so that it is given
#: back as soon as it is freed; and how much free memory is kept at the end of the heap.
_M_MMAP_THRESHOLD, _M_TRIM_THRESHOLD = -3, -1
#: glibc's defaults of both. It raises them by itself with each larger block that is freed, ...
_LARGE_BYTES = 128 << 10
#: ... up to these.
_MOST_LARGE_BYTES, _MOST_KEPT_BYTES = 32 << 20, 64 << 20
#: Reentrant: the garbage collector may free codes (`Turbovec.__del__`) in a thread that holds it.
_lock = threading.RLock()
#: Threads that are within `returned_when_freed`.
_n_within = 0
#: `return_large_at_once` holds, for good.
_is_always = False


def return_large_at_once(limit: int) -> None:
    """Make glibc give large blocks back to the system as soon as they are freed, where memory is little.

    By default glibc raises its threshold with each larger block that is freed, up to 32 MB, and keeps smaller
    blocks from then on. With eight threads that read and write, 200 MB of a heap of 250 MB were such free blocks.
    pyarrow's own allocator keeps what each thread has used, 90 MB after some small files. It is told to use the
    system's allocator, unless pyarrow was imported already (pandas does that).

    Args:
        limit: Bytes that the process may use.
    """
    global _is_always
    if limit >= _LITTLE_BYTES or _malloc_trim() is None:
        return
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    if not _is_chosen_by_user():
        with _lock:
            _is_always = True
            ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)


@contextlib.contextmanager
def returned_when_freed() -> Iterator[None]:
    """Have large blocks that are allocated or freed meanwhile, by any thread, given back to the system when they are freed.

    Codes are blocks of some megabytes, which threads of their engine allocate. glibc kept all of these that unloading freed,
    and `return_memory` did not help. It is not on all the time, as that makes large batches slower by half.
    """
    global _n_within
    if _malloc_trim() is None or _is_chosen_by_user():
        yield
        return
    mallopt = ctypes.CDLL(None).mallopt
    with _lock:
        _n_within += 1
        mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)
        mallopt(_M_TRIM_THRESHOLD, _LARGE_BYTES)
    try:
        yield
    finally:
        with _lock:
            _n_within -= 1
            if not _n_within and not _is_always:
                mallopt(_M_MMAP_THRESHOLD, _MOST_LARGE_BYTES)
                mallopt(_M_TRIM_THRESHOLD, _MOST_KEPT_BYTES)


def _on_fork() -> None:
    # Threads of the parent may have held the lock, or been within.
    global _lock, _n_within
    _lock, _n_within = threading.RLock(), 0


call_in_child(_on_fork)


def _is_chosen_by_user() -> bool:
    return "MALLOC_MMAP_THRESHOLD_" in os.environ or "GLIBC_TUNABLES" in os.environ


def return_arrows_memory() -> None:
    """Give back what pyarrow's own allocator keeps of freed memory: 23 MB after pieces of 2 MB were written."""
    pyarrow: Any = sys.modules.get("pyarrow")
    # Another thread may be importing it at this moment.
    pool = getattr(pyarrow, "default_memory_pool", None)
    if pool is not None:
        pool().release_unused()


def return_memory() -> None:
    """Give freed memory back to the operating system, as far as its allocators can do that."""
    return_arrows_memory()
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
