"""When a client asks again, and how long it waits before: the same for every transport."""

from __future__ import annotations

import random
import time

#: A server (or a proxy in front of it) says that it has not started on the request.
NOT_BEGUN = frozenset((429, 503))
#: No wait is longer, whatever a server asks for; seconds.
LONGEST_WAIT_SECONDS = 5.0
#: Wait before the first repetition, seconds; each further wait is twice as long.
_FIRST_WAIT_SECONDS = 0.1


def wait_before(attempt: int) -> float:
    """Return how long to wait before a request is repeated, seconds.

    Args:
        attempt: The one that has failed, from 0.
    """
    return min(LONGEST_WAIT_SECONDS, _FIRST_WAIT_SECONDS * 2.0**attempt)


def pause(seconds: float) -> None:
    """Wait for half to all of so many seconds, at random: so clients that failed together do not come back together."""
    time.sleep(seconds * random.uniform(0.5, 1.0))
