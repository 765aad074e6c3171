"""After `os.fork()`: the child must neither use nor close what it shares with its parent.

A child has copies of the parent's objects and none of its threads. Whatever ends in an ordinary way there
(`sys.exit`, an exception, `del client`) would close the engine's files, which are the parent's; and who waits
for a lock that another thread held waits for ever. So what has to know of a fork is told before any other
code of the child runs.
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
        """In the child, whose only thread this is: let go of what is the parent's, without closing it."""


_known: weakref.WeakSet[Any] = weakref.WeakSet()
_calls: list[Callable[[], None]] = []


def watch(thing: Forked) -> None:
    """Have `thing.on_fork()` called in every child, as long as somebody else holds the thing."""
    _known.add(thing)


def call_in_child(work: Callable[[], None]) -> None:
    """Call this function in every forked child."""
    _calls.append(work)


def keep_for_ever(*things: object) -> None:
    """See to it that nothing ever ends these objects, not even the end of the interpreter."""
    for thing in things:
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))


def _in_child() -> None:
    # Without this, the tokenizers package prints a warning on stderr after a fork.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    for work in (*_calls, *(thing.on_fork for thing in list(_known))):
        # One that fails must not keep the others from being told.
        with contextlib.suppress(Exception):
            work()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
