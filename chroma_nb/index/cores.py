"""`CORES`: who computes in this process, so that building and answering stay out of each other's way."""

from __future__ import annotations

import os
import threading
import time

#: Whoever read so lately is going to read again, and whoever wrote so lately to write.
_READ_SECONDS = 1.0
_WRITTEN_SECONDS = 0.25


class Cores:
    """Knows whether graphs are built and whether somebody waits for answers, in any store of this process."""

    def __init__(self) -> None:
        self._builders: set[int] = set()
        self._last_read = self._last_written = float("-inf")

    def note_reading(self) -> None:
        """Take notice that this thread reads records."""
        self._last_read = time.monotonic()

    def note_writing(self) -> None:
        """Take notice that this thread writes records."""
        self._last_written = time.monotonic()

    @property
    def used_lately(self) -> bool:
        """Did somebody read or write lately? Then a build leaves one core to answers, and takes short steps.

        A build itself begins when nobody has written for a while.
        """
        now = time.monotonic()
        return now - self._last_read < _READ_SECONDS or now - self._last_written < _WRITTEN_SECONDS

    def start_building(self) -> None:
        """Take notice that this thread builds a graph."""
        self._builders.add(threading.get_ident())

    def stop_building(self) -> None:
        """Take notice that it builds no more."""
        self._builders.discard(threading.get_ident())

    @property
    def are_building(self) -> bool:
        """Is a graph being built?

        BLAS shares a product out to all cores and waits for the slowest. Where one of two cores is taken
        by a build, one scan of a hundred then takes 16 ms instead of 1.3 (20,000 x 384).
        """
        return bool(self._builders)


CORES = Cores()


def give_way() -> None:
    """Let another thread have this core, if one waits for it; else it has to wait for some 4 ms."""
    if _sched_yield is None:
        time.sleep(0)
    else:
        _sched_yield()


_sched_yield = getattr(os, "sched_yield", None)
