"""`Pressure`: unloads collections while the machine's memory is short.

The notebook's own arrays may grow, or another process may, while the store is idle. Nobody asks the store for
room then, and the kernel kills a process when none is left. So as long as collections are loaded or memory is granted, one thread
looks at the free memory several times a second, and more often the less is free.
"""

from __future__ import annotations

import logging
import threading
import time

from chroma_nb import forked
from chroma_nb.memory.lender import LENDERS, Lenders
from chroma_nb.memory.machine import MACHINE, Machine
from chroma_nb.memory.shared_budget import SHARED_BUDGET, SharedBudget

logger = logging.getLogger("chroma_nb")

#: The reserve, which is kept free: this share of the limit, within these bounds in bytes.
_RESERVE_SHARE = 0.08
_LEAST_RESERVE = 24 << 20
_MOST_RESERVE = 512 << 20
#: With less than this free (bytes), `Workspace.take_all` refuses small requests, too.
CRITICAL_BYTES = 4 << 20
#: The next look comes before the free memory could be used up: NumPy fills new arrays at some 3 GB/s.
_BYTES_PER_SECOND = 3e9
_LEAST_SECONDS = 0.01
_MOST_SECONDS = 0.25
#: The shortage is over when this many times the reserve is free.
_ROOM_AGAIN = 2
#: That has to be so for this long.
_ROOM_SECONDS = 0.5
#: Where only the shared budget had shrunk, there is room again when it has grown by this factor, and by the least
#: reserve.
_MUCH_MORE = 1.2
#: The limit itself is read again after this long: it hardly ever changes.
_LIMIT_SECONDS = 1.0
#: The thread ends when nothing was loaded or granted for this long; the next load or grant starts another.
_IDLE_SECONDS = 5.0


class _Sustained:
    """Says when a condition has held for `_ROOM_SECONDS`."""

    def __init__(self) -> None:
        self._since: float | None = None

    def has_lasted(self, holds: bool) -> bool:
        """Take note of whether the condition holds now; say whether it has held for long enough, and begin anew then."""
        now = time.monotonic()
        if not holds:
            self._since = None
        elif self._since is None:
            self._since = now
        elif now - self._since >= _ROOM_SECONDS:
            self._since = None
            return True
        return False


class Pressure:
    """Watches the free memory, and has collections unloaded while it is short.

    Args:
        machine: Says how much is free.
        lenders: The stores that can unload something.
        shared: The budget that is computed anew at each look.
    """

    def __init__(
        self,
        machine: Machine = MACHINE,
        lenders: Lenders = LENDERS,
        shared: SharedBudget = SHARED_BUDGET,
    ) -> None:
        self._machine = machine
        self._lenders = lenders
        self._shared = shared
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._ends = threading.Event()
        self._last_needed = 0.0
        #: It was said that the thread could not be started.
        self._has_failed = False
        #: Memory is short: what can wait, such as building a graph, waits.
        self.is_on = False
        #: So little is free that the next allocation may be the last; see `CRITICAL_BYTES`.
        self.is_critical = False
        self._calm = _Sustained()
        self._cache_calm = _Sustained()
        self._reserve, self._reserve_until = 0, float("-inf")
        #: The least shared budget (bytes) since the lenders were last told that there is room.
        self._least_total = 1 << 62

    def watch(self) -> None:
        """Start the thread where it does not run; called when something is loaded, or memory is granted."""
        self._last_needed = time.monotonic()
        thread = self._thread
        if thread is not None and thread.is_alive():
            return
        if not self._lock.acquire(blocking=False):
            # It is being started or ended at this moment, perhaps by this thread: a handler of signals or of log messages may ask
            # a store for something.
            return
        failure: RuntimeError | None = None
        try:
            if self._thread is None or not self._thread.is_alive():
                self._ends.clear()
                self._thread = threading.Thread(
                    target=self._run, name="chroma_nb-pressure", daemon=True
                )
                try:
                    self._thread.start()
                except RuntimeError as error:
                    # The next load tries again.
                    self._thread, failure = None, error
        finally:
            self._lock.release()
        if failure is not None and not self._has_failed:
            self._has_failed = True
            logger.warning("Memory is not watched: %s", failure)

    def rest(self) -> None:
        """Stop the thread if the last store was closed; the next load starts another."""
        with self._lock:
            thread = self._thread
            if thread is None or any(True for _ in self._lenders):
                return
            self._ends.set()
            self._thread = None
        if thread is not threading.current_thread():
            thread.join()

    def reserve(self) -> int:
        """Return the reserve, which is kept free: bytes."""
        now = time.monotonic()
        if now > self._reserve_until:
            share = int(self._machine.limit().total * _RESERVE_SHARE)
            self._reserve = min(max(share, _LEAST_RESERVE), _MOST_RESERVE)
            self._reserve_until = now + _LIMIT_SECONDS
        return self._reserve

    def look(self) -> float:
        """Look once, and unload what is missing to the reserve; return the seconds until the next look."""
        free, reserve = self._machine.free(), self.reserve()
        self.is_critical = free < CRITICAL_BYTES
        free_after = free
        total = self._shared.reckon()
        missing = max(reserve - free, self._shared.excess)
        if missing > 0:
            self.is_on = self.is_on or free < reserve
            reason = (
                "the machine's memory is short"
                if free < reserve
                else "the automatic budget shrank, as less memory is free"
            )
            free_after = free + self._lenders.give_back(missing, reason)
            self._least_total = min(self._least_total, total)
        elif not self.is_on and total > self._least_total * _MUCH_MORE + _LEAST_RESERVE:
            # Only the shared budget had shrunk, and it has grown again.
            self._least_total = total
            self._announce_room()
        else:
            self._least_total = min(self._least_total, total)
        if self._calm.has_lasted(self.is_on and missing <= 0 and free > _ROOM_AGAIN * reserve):
            self.is_on, self._least_total = False, total
            self._announce_room()
        self._adjust_caches(free_after, reserve)
        return min(max(free / _BYTES_PER_SECOND, _LEAST_SECONDS), _MOST_SECONDS)

    def _adjust_caches(self, free: int, reserve: int) -> None:
        """Have the databases' caches shrink before they could use up the reserve, and let them grow again.

        A statement takes its database's whole limit within a tenth of a second. Nobody grants it that.
        """
        databases = [lender.database for lender in self._lenders]
        caches = sum(database.cache_bytes for database in databases)
        if free < reserve + caches:
            for database in databases:
                if not database.is_tight:
                    database.tighten()
        tight = [database for database in databases if database.is_tight]
        is_over = not self.is_on and free > _ROOM_AGAIN * reserve + caches
        if self._cache_calm.has_lasted(bool(tight) and is_over):
            for database in tight:
                database.loosen()

    def _announce_room(self) -> None:
        for lender in self._lenders:
            lender.room_returned()

    def _run(self) -> None:
        pause = 0.0
        while True:
            if self._ends.wait(pause):
                return
            try:
                pause = self.look()
            except Exception:
                # The thread goes on: the next look may succeed.
                logger.exception("Looking at the machine's memory failed")
                pause = _MOST_SECONDS
            if self.is_on or any(
                lender.lendable or lender.database.is_tight for lender in self._lenders
            ):
                self._last_needed = time.monotonic()
            elif time.monotonic() - self._last_needed > _IDLE_SECONDS:
                with self._lock:
                    if self._thread is threading.current_thread():
                        self._thread = None
                return


PRESSURE = Pressure()


forked.call_in_child(PRESSURE.__init__)  # type: ignore[misc]
