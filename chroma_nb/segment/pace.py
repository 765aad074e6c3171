"""`Pace`: how many vectors the next step of a build takes, and how many threads."""

from __future__ import annotations

import os

from chroma_nb.index.cores import CORES

#: Vectors of the very first step.
_FIRST = 8


class Pace:
    """Steps of equal time instead of equal size: how long a vector takes depends on everything.

    Args:
        threads: How many threads a build may have; 0 is one per core.
        seconds: What a step should take where nobody waits for answers.
        seconds_beside: The same beside somebody who reads or writes.
        most: Vectors of a step at most.
    """

    def __init__(self, threads: int, seconds: float, seconds_beside: float, most: int) -> None:
        self._all_threads = threads
        self._seconds = {False: seconds, True: seconds_beside}
        self._most = most
        #: Vectors of the next step, by whether it is beside somebody.
        self._size = {False: min(_FIRST, most), True: 1}
        self._beside = False

    def next(self) -> int:
        """Look around, and return how many vectors the next step takes."""
        self._beside = CORES.are_used
        return self._size[self._beside]

    @property
    def is_beside(self) -> bool:
        """Is this step one beside somebody who reads or writes?"""
        return self._beside

    @property
    def threads(self) -> int:
        """Threads of this step, 0 is one per core: one core is left to others."""
        if not self._beside:
            return self._all_threads
        return max(1, (self._all_threads or os.cpu_count() or 1) - 1)

    def took(self, n: int, seconds: float) -> None:
        """Learn from a step: how many vectors it had, and its time."""
        fitting = int(n * self._seconds[self._beside] / max(seconds, 1e-9))
        size = self._size[self._beside]
        # By half of the difference and to the double at most: a step may have had to wait for a core.
        self._size[self._beside] = max(1, min((size + fitting + 1) // 2, 2 * size, self._most))
