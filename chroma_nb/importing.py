"""`import_module()` and `importing()`: imports that a fork of another thread waits for.

Python has a lock for each module that is being imported. A child that is forked meanwhile has a copy of it that nobody
gives back: it hangs when it asks for the module. So a fork waits until the imports of the other threads have ended, and
those that want to begin wait until the process is forked. Of those that an ``import`` in a function begins, which nobody
tells of, it waits for the ones that have begun. Imports do not wait for each other: they have Python's locks.
"""

from __future__ import annotations

import contextlib
import importlib

# It holds its lock from before a fork. Imported first, it takes it when nothing is imported any more: imports log.
import logging  # noqa: F401
import os
import sys
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType, ModuleType

#: How long a fork waits, seconds. In the middle of an import of the thread that forks, the others may be waiting for it; else
#: they go on, slowly where other threads are busy.
_PATIENCE_SECONDS, _LONG_PATIENCE_SECONDS = 10.0, 60.0
#: How often it looks whether an import of which nobody tells has ended, seconds.
_LOOK_SECONDS = 0.01
#: How the file names of Python's own code for imports, and of this package's, begin.
_IMPORT_SYSTEM, _PACKAGE = "<frozen importlib", os.path.dirname(__file__) + os.sep
#: Held from before a fork until after it, and for a moment by an import that begins or ends. Taken by itself, as an
#: interrupt may come in the middle of the condition's own `__enter__`, and leave it.
_lock = threading.RLock()
_turn = threading.Condition(_lock)
#: Thread -> how many imports it has begun and not ended.
_underway: dict[int, int] = {}


def import_module(name: str) -> ModuleType:
    """Import a module by its name."""
    with importing():
        return importlib.import_module(name)


def missing_package(what: str, package: str, extra: str) -> ImportError:
    """Return the error for something whose package is not installed.

    Args:
        what: What needs it, as the start of a sentence.
        package: The package.
        extra: The extra of chroma_nb that brings it.
    """
    return ImportError(
        f'{what} needs {package}, which is not installed: pip install "chroma-nb[{extra}]"'
    )


@contextlib.contextmanager
def importing() -> Iterator[None]:
    """Have forks of other threads wait for what is imported here."""
    thread = threading.get_ident()
    with _lock:
        _underway[thread] = _underway.get(thread, 0) + 1
    try:
        yield
    finally:
        with _lock:
            _underway[thread] -= 1
            if not _underway[thread]:
                del _underway[thread]
            _turn.notify_all()


def _before_fork() -> None:
    _turn.acquire()
    me = threading.get_ident()
    patience = _PATIENCE_SECONDS if _imports(sys._getframe()) else _LONG_PATIENCE_SECONDS
    until = time.monotonic() + patience
    while (left := until - time.monotonic()) > 0:
        if _underway.keys() - {me}:
            _turn.wait(left)
        elif _is_importing_elsewhere(me):
            # Nobody tells when that ends.
            _turn.wait(min(left, _LOOK_SECONDS))
        else:
            break


def _is_importing_elsewhere(me: int) -> bool:
    """Say whether another thread imports something for this package, by an ``import`` here or in what it calls.

    Not any import: there are programs that run within the one of their own module for as long as they live.
    """
    for thread, innermost in sys._current_frames().items():
        frame: FrameType | None = None if thread == me else innermost
        imports = False
        while frame is not None:
            file = frame.f_code.co_filename
            if imports and file.startswith(_PACKAGE):
                return True
            imports = imports or file.startswith(_IMPORT_SYSTEM)
            frame = frame.f_back
    return False


def _imports(frame: FrameType | None) -> bool:
    """Say whether a function was called in the middle of an import."""
    while frame is not None:
        if frame.f_code.co_filename.startswith(_IMPORT_SYSTEM):
            return True
        frame = frame.f_back
    return False


def _after_in_parent() -> None:
    # An interrupt may have come before it was taken.
    with contextlib.suppress(RuntimeError):
        _turn.release()


def _after_in_child() -> None:
    """Forget the other threads, which are not there."""
    global _lock, _turn
    _lock = threading.RLock()
    _turn = threading.Condition(_lock)
    thread = threading.get_ident()
    for other in _underway.keys() - {thread}:
        del _underway[other]


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork, after_in_parent=_after_in_parent, after_in_child=_after_in_child
    )
