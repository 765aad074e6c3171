"""`Workspace`: memory that work takes for a moment and gives back: a scan, an answer, a piece of a copy.

What is *loaded* is in a store's ledger. Everything else that takes memory in proportion to somebody's data asks
here first, and works in pieces of what it gets. There is one account for the process, as its stores and threads
share one machine. A piece of a megabyte is always had, so nothing ever stops altogether; more than that has to be
free, other stores' loaded collections having been asked to make room.
"""

from __future__ import annotations

import contextlib
import threading
import time
import weakref
from typing import TYPE_CHECKING

from chroma_nb import forked
from chroma_nb.memory.lender import LENDERS, Lenders
from chroma_nb.memory.machine import MACHINE, Machine
from chroma_nb.memory.preflight import over_budget

if TYPE_CHECKING:
    from collections.abc import Iterator

#: So much is had at any time, and taken without a look at the machine, which costs 0.1 ms.
SMALL_BYTES = 1 << 20
#: Up to here a look at the machine serves for a moment.
_MODEST_BYTES = 8 << 20
_MOMENT_SECONDS = 0.05
#: ... where so many times as much was free then.
_PLENTY = 16
#: Left free on the machine: the interpreter, allocators and the database need room to work in.
_HEADROOM_BYTES = 16 << 20
#: Who can work in pieces gets this share of what is free at most, so that others have room as well.
_SHARE = 0.5
_REASON = "an answer or a write needed room"
#: So long one waits for others to give back what they hold, seconds.
_PATIENCE_SECONDS = 10.0
#: Others' memory is looked at again at least so often meanwhile: the process is not alone on the machine.
_LOOK_SECONDS = 0.1


class Grant:
    """Memory that was granted; given back when its ``with`` block ends, or with the object.

    Attributes:
        n_bytes: How much.
    """

    __slots__ = ("__weakref__", "_workspace", "n_bytes", "thread")

    def __init__(self, n_bytes: int, workspace: Workspace | None = None) -> None:
        self.n_bytes = n_bytes
        self._workspace = workspace
        #: Who holds it.
        self.thread = threading.get_ident() if workspace is not None else 0

    def rows(self, row_bytes: int) -> int:
        """Return how many rows of so many bytes it is enough for, one at least."""
        return max(1, self.n_bytes // max(1, row_bytes))

    def give_back(self) -> None:
        """End it; more than once does no harm."""
        if self._workspace is not None:
            self._workspace.end(self)

    def __enter__(self) -> Grant:
        return self

    def __exit__(self, *_: object) -> None:
        # As `give_back`, at once: most are small and have nothing to give back.
        if self._workspace is not None:
            self._workspace.end(self)


#: What needs no grant.
NOTHING = Grant(0)


class Workspace:
    """The account of a process's transient memory. Safe for threads.

    Args:
        machine: What says how much is free.
        lenders: Who is asked for room where that is not enough.
        patience: So long a grant is waited for, seconds.
    """

    def __init__(
        self,
        machine: Machine = MACHINE,
        lenders: Lenders = LENDERS,
        patience: float = _PATIENCE_SECONDS,
    ) -> None:
        self._machine = machine
        self._patience = patience
        #: Taken by itself, as an interrupt may come in the middle of the condition's own `__enter__`, and leave it.
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        #: Weak: a grant that a stopped cell has left behind is given back with the object.
        self._grants: weakref.WeakSet[Grant] = weakref.WeakSet()
        #: What was free when nothing was granted. A grant becomes the machine's used memory when it is
        #: written to, which nobody sees: what is free now may be promised already.
        self._free_before = 0
        #: The most that was ever free.
        self._most_free = 0
        #: When there was plenty, by the clock that never goes back.
        self._plenty = -1.0
        self._lenders = lenders
        self._keeping = threading.local()

    @property
    def headroom(self) -> int:
        """Bytes that are never granted."""
        return _HEADROOM_BYTES

    @property
    def used(self) -> int:
        """Bytes that are granted at the moment."""
        return sum(grant.n_bytes for grant in list(self._grants))

    def free(self) -> int:
        """Return what can still be granted, bytes."""
        with self._lock:
            return self._free()

    def _free(self) -> int:
        now = max(0, self._machine.free() - _HEADROOM_BYTES)
        granted = self.used
        if now - granted > _PLENTY * _MODEST_BYTES:
            self._plenty = time.monotonic()
        # Without grants it is what it is; with some, it can have risen only by what others gave back.
        self._free_before = max(now, self._free_before) if granted else now
        room = max(0, min(now, self._free_before - granted))
        self._most_free = max(self._most_free, room)
        return room

    def take(self, wanted: int) -> Grant:
        """Return memory for work that goes in pieces: what is wanted or less, `SMALL_BYTES` at least.

        Args:
            wanted: Bytes that all of the work would take at once.
        """
        if wanted <= SMALL_BYTES:
            return Grant(wanted)
        if wanted <= _MODEST_BYTES and time.monotonic() - self._plenty < _MOMENT_SECONDS:
            return Grant(wanted)
        with self._lock:
            room = int(self._free() * _SHARE)
            if room >= min(wanted, 4 * SMALL_BYTES):
                return self._granted(min(wanted, room))
        self._lenders.give_back(min(wanted, 4 * SMALL_BYTES), _REASON)
        with self._lock:
            room = int(self._free() * _SHARE)
            return self._granted(max(SMALL_BYTES, min(wanted, room)))

    @contextlib.contextmanager
    def kept(self, times: float) -> Iterator[None]:
        """Keep what this thread takes for answers until the end of the block, so many times as much of it.

        Whoever turns an answer into something else holds both for a moment.
        """
        before = getattr(self._keeping, "grants", None), getattr(self._keeping, "times", 1.0)
        grants: list[Grant] = []
        self._keeping.grants, self._keeping.times = grants, times
        try:
            yield
        finally:
            self._keeping.grants, self._keeping.times = before
            for grant in grants:
                self.end(grant)

    def take_answer(self, n_bytes: int, what: str, *ways: str, budget: int | None = None) -> Grant:
        """Return memory for an answer, as `take_all`; see `kept`."""
        keeping = getattr(self._keeping, "grants", None)
        if keeping is None:
            return self.take_all(n_bytes, what, *ways, budget=budget)
        grant = self.take_all(int(self._keeping.times * n_bytes), what, *ways, budget=budget)
        keeping.append(grant)
        # Given back at the end of the block.
        return Grant(n_bytes)

    def take_all(self, n_bytes: int, what: str, *ways: str, budget: int | None = None) -> Grant:
        """Return memory for something that cannot be made in pieces, such as an answer.

        What is loaded gives way first; then others' grants are waited for.

        Args:
            n_bytes: How much.
            what: Who needs it, as the start of a sentence: ``"get() of 1,000,000 records"``.
            ways: What to do instead, the best first.
            budget: The budget in force, where there is one.

        Raises:
            MemoryBudgetError: It is not there.
        """
        if n_bytes <= SMALL_BYTES:
            return Grant(n_bytes)
        until = time.monotonic() + self._patience
        waited = False
        while True:
            with self._lock:
                room = self._free()
                if n_bytes <= room:
                    return self._granted(n_bytes)
            # For what will not fit even so nobody has to be loaded again.
            reach = room + self._lenders.lendable() + self._others()
            if n_bytes <= reach and self._lenders.give_back(n_bytes - room, _REASON):
                continue
            with self._lock:
                room = self._free()
                if n_bytes <= room:
                    return self._granted(n_bytes)
                left = until - time.monotonic()
                could_come = self._could_come(n_bytes)
                if not could_come or left <= 0:
                    error = over_budget(n_bytes, room, budget, what, *ways)
                    error.may_fit_later = could_come or waited
                    raise error
                waited = True
                self._changed.wait(min(left, _LOOK_SECONDS))

    def _could_come(self, n_bytes: int) -> bool:
        """Say whether what others hold, once given back, would be enough."""
        if getattr(self._keeping, "grants", None) is not None and n_bytes <= self._most_free:
            # A server's other answers, which may be on their way to clients.
            return True
        others = self._others()
        return others > 0 and n_bytes <= self._free() + others

    def _others(self) -> int:
        """Return what is granted to other threads."""
        me = threading.get_ident()
        return sum(grant.n_bytes for grant in list(self._grants) if grant.thread != me)

    def _granted(self, n_bytes: int) -> Grant:
        grant = Grant(n_bytes, self)
        self._grants.add(grant)
        return grant

    def end(self, grant: Grant) -> None:
        """Take a grant back."""
        with self._lock:
            self._grants.discard(grant)
            self._changed.notify_all()


#: The account of this process.
WORKSPACE = Workspace()


forked.call_in_child(WORKSPACE.__init__)  # type: ignore[misc]
