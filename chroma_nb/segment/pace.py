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
        seconds_while_used: The same where others read or write meanwhile.
        most: Vectors of a step at most.
        first: Vectors of the very first step; None: few, as nothing is known of how long one takes.
    """

    def __init__(
        self,
        threads: int,
        seconds: float,
        seconds_while_used: float,
        most: int,
        first: int | None = None,
    ) -> None:
        self._all_threads = threads
        self._seconds = {False: seconds, True: seconds_while_used}
        self._most = most
        #: Vectors of the next step, by whether others read or write meanwhile.
        self._size = {False: min(first or _FIRST, most), True: min(first or 1, most)}
        self._others_work = False

    def next(self) -> int:
        """Find out whether others work, and return how many vectors the next step takes."""
        self._others_work = CORES.used_lately
        return self._size[self._others_work]

    @property
    def others_work(self) -> bool:
        """Whether others read or wrote just before this step, so that it leaves them a core."""
        return self._others_work

    @property
    def threads(self) -> int:
        """Threads of this step, 0 is one per core: one core is left to others."""
        if not self._others_work:
            return self._all_threads
        return max(1, (self._all_threads or os.cpu_count() or 1) - 1)

    def took(self, n: int, seconds: float) -> None:
        """Learn from a step: how many vectors it had, and its time."""
        fitting = int(n * self._seconds[self._others_work] / max(seconds, 1e-9))
        size = self._size[self._others_work]
        # By half of the difference and to the double at most: a step may have had to wait for a core.
        self._size[self._others_work] = max(1, min((size + fitting + 1) // 2, 2 * size, self._most))
