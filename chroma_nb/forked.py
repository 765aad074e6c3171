"""After `os.fork()`: the child must neither use nor close what it shares with its parent.

A child has copies of the parent's objects and none of its threads. When it ends in an ordinary way (`sys.exit`, an
exception, `del client`), it would close DuckDB's files, which are the parent's. And a lock that another thread of the
parent held is never released in the child. So objects that have to know of a fork are told before any other code of
the child runs.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import weakref
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable


class Forked(Protocol):
    """Something that has to know of a fork."""

    def on_fork(self) -> None:
        """Called in the child, in its only thread: drop what belongs to the parent.

        DuckDB's connections are not closed; the child's copies of files and locks are.
        """


_known: weakref.WeakSet[Any] = weakref.WeakSet()
_calls: list[Callable[[], None]] = []


def watch(thing: Forked) -> None:
    """Have `thing.on_fork()` called in every forked child. The thing is held weakly."""
    _known.add(thing)


def call_in_child(work: Callable[[], None]) -> None:
    """Call this function in every forked child."""
    _calls.append(work)


def keep_for_ever(*things: object) -> None:
    """Never free these objects, not even when the interpreter ends: freeing them would close what is the parent's."""
    for thing in things:
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))


def _in_child() -> None:
    # Without this, the tokenizers package prints a warning on stderr after a fork.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    for work in (*_calls, *(thing.on_fork for thing in list(_known))):
        # A failure of one must not stop the others.
        with contextlib.suppress(Exception):
            work()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
