"""`Workspace`: temporary memory, such as that of a scan, an answer or a piece of a copy.

What is *loaded* is in a store's ledger. All other memory that grows with the data is granted here first, and
work is done in pieces of the size that was granted. There is one account for the process, as its stores and
threads share one machine. A piece of 1 MiB is always granted, so that work never stops altogether. More than that has
to be free; loaded collections are unloaded for it. With next to nothing free, what cannot be made in pieces is refused,
however small it is.
"""

from __future__ import annotations

import contextlib
import threading
import time
import weakref
from typing import TYPE_CHECKING, NamedTuple

from chroma_nb import forked
from chroma_nb.memory.lender import LENDERS, Lenders
from chroma_nb.memory.machine import MACHINE, Machine
from chroma_nb.memory.preflight import over_budget
from chroma_nb.memory.pressure import CRITICAL_BYTES, PRESSURE
from chroma_nb.shielded import wait_on

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: Always granted, without reading the machine's free memory, which takes 0.1 ms.
SMALL_BYTES = 1 << 20
#: For a moment after plenty was free, requests of up to this size are granted without another look.
_MODEST_BYTES = 8 << 20
#: How long that moment is.
_MOMENT_SECONDS = 0.05
#: Plenty is more than this many times `_MODEST_BYTES`.
_PLENTY = 16
#: Never granted: the interpreter, allocators and the database need room to work in.
_HEADROOM_BYTES = 16 << 20
#: A grant to another thread is taken to be written to once the process has computed for so long since, or so much time
#: has gone by, seconds. Until then it may still be free memory. On a busy machine a thread may not get to it for long.
_WRITTEN_CPU_SECONDS = 1.0
_WRITTEN_SECONDS = 3.0
#: Work in pieces gets at most this share of what is free, so that others have room as well.
_SHARE = 0.5
_REASON = "an answer or a write needed room"
#: How long `take_all` waits for other threads to give back their grants.
_PATIENCE_SECONDS = 10.0
#: How long it has collections unloaded at least. Others may load them again at once, so there is an end to it.
_LENDING_SECONDS = 1.0
#: How often a thread that waits looks at the free memory, as other processes may free some.
_LOOK_SECONDS = 0.1
#: A thread lets one that waits already go first for so long, seconds: longer than `_LOOK_SECONDS`.
_YIELD_SECONDS = 0.15


class Grant:
    """Memory that was granted. It is given back when its ``with`` block ends, or when the object is deleted.

    Attributes:
        n_bytes: Bytes granted.
        thread: The thread that took it; 0 where the workspace does not count it.
    """

    __slots__ = ("__weakref__", "_computed", "_taken", "_workspace", "n_bytes", "thread")

    def __init__(self, n_bytes: int, workspace: Workspace | None = None) -> None:
        self.n_bytes = n_bytes
        #: None: it is not counted.
        self._workspace = workspace
        self.thread = 0
        if workspace is not None:
            self.thread = threading.get_ident()
            #: When it was taken, by the process's time and by the clock.
            self._computed, self._taken = time.process_time(), time.monotonic()

    @property
    def is_written(self) -> bool:
        """Whether its memory is used by now, as far as can be told: it was taken some time ago."""
        return (
            time.process_time() - self._computed >= _WRITTEN_CPU_SECONDS
            or time.monotonic() - self._taken >= _WRITTEN_SECONDS
        )

    def rows(self, row_bytes: int) -> int:
        """Return how many rows of `row_bytes` bytes it is enough for, at least 1."""
        return max(1, self.n_bytes // max(1, row_bytes))

    def adopt(self) -> None:
        """Count it as this thread's from now on: a thread does not wait for what it holds itself."""
        if self._workspace is not None:
            self.thread = threading.get_ident()

    def keep(self, n_bytes: int) -> None:
        """Give back what is more than `n_bytes`: the work turned out to be smaller."""
        if n_bytes < self.n_bytes:
            self.n_bytes = n_bytes
            if self._workspace is not None:
                self._workspace.notify()

    def give_back(self) -> None:
        """Give the memory back; a second call does nothing."""
        if self._workspace is not None:
            self._workspace.end(self)

    def __enter__(self) -> Grant:
        return self

    def __exit__(self, *_: object) -> None:
        # `give_back` without its call: most grants are small and have nothing to give back.
        if self._workspace is not None:
            self._workspace.end(self)


#: For work that needs no grant.
NOTHING = Grant(0)


class _Holding:
    """A `holding_answers` block: what it has taken, and how long it may wait."""

    def __init__(self, times: float, patience: float, ended: Callable[[], bool]) -> None:
        self.grants: list[Grant] = []
        self.times = times
        #: Seconds that all its waits together may still last.
        self.patience = patience
        self.ended = ended


class _Piece(NamedTuple):
    """A `reading_pieces` block."""

    waits: bool
    copies: int


def _never() -> bool:
    return False


class Workspace:
    """The account of a process's temporary memory. Safe for threads.

    Args:
        machine: Says how much is free.
        lenders: The stores that unload collections where that is not enough.
        patience: How long `take_all` waits, seconds.
    """

    def __init__(
        self,
        machine: Machine = MACHINE,
        lenders: Lenders = LENDERS,
        patience: float = _PATIENCE_SECONDS,
    ) -> None:
        self._machine = machine
        self._patience = patience
        #: The condition's lock, which is taken directly: an interrupt in the condition's `__enter__` would leave it
        #: locked.
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        #: Weak, so that a grant that an interrupted cell has left behind is given back with the object.
        self._grants: weakref.WeakSet[Grant] = weakref.WeakSet()
        #: What was free when nothing was granted, bytes. A grant reduces the machine's free memory only when it is
        #: written to, and nothing reports that: what is free now may be granted already.
        self._free_before = 0
        #: The most that was ever free, bytes.
        self._most_free = 0
        #: The threads that wait in `take_all`, and since when (monotonic clock).
        self._waiting: dict[int, float] = {}
        #: When plenty was free (monotonic clock).
        self._plenty = -1.0
        self._lenders = lenders
        #: This thread's blocks of `holding_answers` and `reading_pieces`.
        self._threads = threading.local()

    @property
    def headroom(self) -> int:
        """Bytes that are never granted."""
        return _HEADROOM_BYTES

    @property
    def is_critical(self) -> bool:
        """Whether so little is free that the next allocation may be the last. Then `take_all` refuses small requests, too."""
        # The watcher's last look is known at once. It may be over since.
        return PRESSURE.is_critical and self._machine.free() < CRITICAL_BYTES

    @property
    def used(self) -> int:
        """Bytes that are granted at the moment."""
        return sum(grant.n_bytes for grant in self._outstanding())

    def free(self) -> int:
        """Return what can still be granted, bytes."""
        with self._lock:
            return self._free()

    def _free(self) -> int:
        free_now = max(0, self._machine.free() - _HEADROOM_BYTES - self._statements())
        grants = self._outstanding()
        granted = sum(grant.n_bytes for grant in grants)
        if free_now - granted > _PLENTY * _MODEST_BYTES:
            self._plenty = time.monotonic()
        # With grants outstanding, a lower figure may be the grants themselves; a higher one is memory that was freed.
        self._free_before = max(free_now, self._free_before) if granted else free_now
        # Where threads work at all times that is long ago, and what has grown beside them is not known. So what others have
        # just taken does not count as free. A thread knows of its own grants what it does with them.
        me = threading.get_ident()
        promised = sum(
            grant.n_bytes for grant in grants if grant.thread != me and not grant.is_written
        )
        room = max(0, min(free_now - promised, self._free_before - granted))
        self._most_free = max(self._most_free, room)
        return room

    def take(self, wanted: int) -> Grant:
        """Return memory for work in pieces: `wanted` bytes or fewer, but `SMALL_BYTES` at least. Never refuses.

        Args:
            wanted: Bytes that the work would take in a single piece.
        """
        if wanted <= SMALL_BYTES:
            return Grant(wanted)
        if wanted <= _MODEST_BYTES and time.monotonic() - self._plenty < _MOMENT_SECONDS:
            return Grant(wanted)
        # Whoever takes much has a database work as well, which takes memory that nobody grants.
        PRESSURE.watch()
        with self._lock:
            room = int(self._free() * _SHARE)
            if room >= min(wanted, 4 * SMALL_BYTES):
                return self._granted(min(wanted, room))
        self._lenders.give_back(min(wanted, 4 * SMALL_BYTES), _REASON)
        with self._lock:
            room = int(self._free() * _SHARE)
            return self._granted(max(SMALL_BYTES, min(wanted, room)))

    def take_now(self, n_bytes: int) -> Grant | None:
        """Return `n_bytes` bytes, or None where they are not free: it does not wait for other threads.

        Collections are unloaded for it.
        """
        if n_bytes <= SMALL_BYTES:
            return Grant(n_bytes)
        PRESSURE.watch()
        with self._lock:
            room = self._free()
            if n_bytes <= room:
                return self._granted(n_bytes)
        # Nothing is unloaded where it would not fit even then.
        if n_bytes > room + self._lenders.lendable():
            return None
        self._lenders.give_back(n_bytes - room, _REASON)
        with self._lock:
            return self._granted(n_bytes) if n_bytes <= self._free() else None

    @contextlib.contextmanager
    def holding_answers(self, times: float, ended: Callable[[], bool] = _never) -> Iterator[None]:
        """Hold what this thread takes for answers until the end of the block, and take `times` as much.

        For code that turns an answer into another form, and so holds both for a moment. All waits of the block
        together last no longer than one may.

        Args:
            times: The factor.
            ended: Says that nobody needs the answer any more: waiting ends.
        """
        before = self._holding
        holding = _Holding(times, self._patience, ended)
        self._threads.holding = holding
        try:
            yield
        finally:
            self._threads.holding = before
            for grant in holding.grants:
                self.end(grant)

    @contextlib.contextmanager
    def reading_pieces(self, waits: bool = False, copies: int = 1) -> Iterator[None]:
        """What the block reads is a piece that is used up and dropped, and no answer: `holding_answers` lets it go.

        Args:
            waits: Whether to wait for memory; who can do with a smaller piece does not.
            copies: There has to be room for so many of the piece.
        """
        before = self._piece
        self._threads.piece = _Piece(waits, copies)
        try:
            yield
        finally:
            self._threads.piece = before

    @property
    def holds_answers(self) -> bool:
        """Whether this thread is in a `holding_answers` block: its answer is turned into another form, such as JSON."""
        return self._holding is not None

    @property
    def reads_a_piece(self) -> bool:
        """Whether this thread is in a `reading_pieces` block."""
        return self._piece is not None

    @property
    def _piece(self) -> _Piece | None:
        """This thread's `reading_pieces` block."""
        return getattr(self._threads, "piece", None)

    @property
    def _holding(self) -> _Holding | None:
        """This thread's `holding_answers` block."""
        return getattr(self._threads, "holding", None)

    def take_answer(self, n_bytes: int, what: str, *ways: str, budget: int | None = None) -> Grant:
        """Return memory for an answer, as `take_all` does; within `holding_answers`, until the end of that block."""
        holding, piece = self._holding, self._piece
        if piece is not None:
            return self.take_all(piece.copies * n_bytes, what, *ways, budget=budget)
        if holding is None:
            return self.take_all(n_bytes, what, *ways, budget=budget)
        grant = self.take_all(int(holding.times * n_bytes), what, *ways, budget=budget)
        holding.grants.append(grant)
        # Given back at the end of the block.
        return Grant(n_bytes)

    def take_all(
        self, n_bytes: int, what: str, *ways: str, budget: int | None = None, waits: bool = True
    ) -> Grant:
        """Return memory for something that cannot be made in pieces, such as an answer.

        Collections are unloaded for it first; then it waits for the grants of other threads, for a while.

        Args:
            n_bytes: Bytes that are needed.
            what: What needs them, as the start of a sentence: ``"get() of 1,000,000 records"``.
            ways: What to do instead, the best first.
            budget: The budget in force in bytes, where there is one.
            waits: Whether to wait.

        Raises:
            MemoryBudgetError: It is not free.
        """
        if n_bytes <= SMALL_BYTES and not self.is_critical:
            return Grant(n_bytes)
        PRESSURE.watch()
        holding, piece = self._holding, self._piece
        patience = self._patience if holding is None else holding.patience
        if not waits or (piece is not None and not piece.waits):
            patience = 0.0
        started = time.monotonic()
        waited = False
        try:
            while True:
                with self._lock:
                    room = self._free()
                    if n_bytes <= room:
                        if not patience or not self._gives_precedence(started):
                            return self._granted(n_bytes)
                        wait_on(self._changed, _YIELD_SECONDS)
                        continue
                # Nothing is unloaded where it would not fit even then.
                reach = room + self._lenders.lendable() + self._others() + self._statements()
                lent = n_bytes <= reach and self._lenders.give_back(n_bytes - room, _REASON)
                if lent and time.monotonic() - started <= max(patience, _LENDING_SECONDS):
                    continue
                with self._lock:
                    room = self._free()
                    if n_bytes <= room:
                        return self._granted(n_bytes)
                    left = started + patience - time.monotonic()
                    could_come = self._could_come(n_bytes)
                    is_over = left <= 0 or (holding is not None and holding.ended())
                    if not could_come or is_over:
                        # Not kept in a variable: this frame would then keep what those above it have read so far.
                        raise over_budget(
                            n_bytes, room, budget, what, *ways, may_fit_later=could_come or waited
                        )
                    waited = True
                    self._waiting[threading.get_ident()] = started
                    wait_on(self._changed, min(left, _LOOK_SECONDS))
        finally:
            if waited:
                with self._lock:
                    self._waiting.pop(threading.get_ident(), None)
                if holding is not None:
                    holding.patience -= time.monotonic() - started

    def _gives_precedence(self, started: float) -> bool:
        """Say whether this thread lets another go first that waits for longer: for a moment, and where it holds nothing."""
        return (
            any(since < started for since in self._waiting.values())
            and time.monotonic() - started < _YIELD_SECONDS
            and not self._mine()
        )

    def _could_come(self, n_bytes: int) -> bool:
        """Say whether there may be enough once other threads give back their grants."""
        if self._holding is not None and n_bytes <= self._most_free - self._mine():
            # In a server: the memory may be that of answers that are being sent to clients.
            return True
        others = self._others() + self._statements()
        return others > 0 and n_bytes <= self._free() + others

    def _statements(self) -> int:
        """Return the bytes that databases may take for the statements of this moment, which nobody has granted.

        Those of the largest are left out: the headroom is for them, and they may be what is being asked for.
        """
        found = [lender.database.statement_bytes for lender in self._lenders]
        return sum(found) - max(found, default=0)

    def _mine(self) -> int:
        """Return the bytes that are granted to this thread, which nobody else gives back."""
        me = threading.get_ident()
        return sum(grant.n_bytes for grant in self._outstanding() if grant.thread == me)

    def _others(self) -> int:
        """Return the bytes that are granted to other threads."""
        me = threading.get_ident()
        return sum(grant.n_bytes for grant in self._outstanding() if grant.thread != me)

    def _outstanding(self) -> list[Grant]:
        """Return the grants that are held."""
        # A set that another thread adds to cannot be read meanwhile.
        with self._lock:
            return list(self._grants)

    def _granted(self, n_bytes: int) -> Grant:
        grant = Grant(n_bytes, self)
        self._grants.add(grant)
        return grant

    def end(self, grant: Grant) -> None:
        """Take a grant back."""
        with self._lock:
            self._grants.discard(grant)
            self._changed.notify_all()

    def notify(self) -> None:
        """Have those that wait look again: a grant has become smaller."""
        with self._lock:
            self._changed.notify_all()


#: The account of this process.
WORKSPACE = Workspace()


forked.call_in_child(WORKSPACE.__init__)  # type: ignore[misc]
