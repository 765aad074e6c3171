"""When a client asks again, and how long it waits before: the same for every transport."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chroma_nb.settings import Settings

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


class _Brief(threading.local):
    """What `briefly` asks of this thread's requests."""

    until = float("inf")
    each: float | None = None


_BRIEF = _Brief()


@contextlib.contextmanager
def briefly(seconds: float, each: float | None) -> Iterator[None]:
    """Send each of this thread's requests once, and none any more after `seconds`.

    Args:
        seconds: How long from now a request may begin.
        each: How long the answer to one may take, seconds; None is what is left of `seconds`.
    """
    _BRIEF.until, _BRIEF.each = time.monotonic() + seconds, each
    try:
        yield
    finally:
        _BRIEF.until, _BRIEF.each = float("inf"), None


def check_brief() -> None:
    """Refuse another request of a thread whose time is over.

    Raises:
        TimeoutError: It is.
    """
    if time.monotonic() > _BRIEF.until:
        raise TimeoutError("There is no time left for another request.")


def limits(settings: Settings, seconds: float | None) -> tuple[int, float]:
    """Return how often this thread may send a request, and how long the answer may take, seconds.

    Args:
        settings: `retries` and `timeout_seconds`.
        seconds: What the operation takes instead of `timeout_seconds`.
    """
    ordinary = seconds or settings.timeout_seconds
    if _BRIEF.until == float("inf"):
        return settings.retries + 1, ordinary
    each = _BRIEF.each
    if each is None:
        # Not none at all: that would be no limit.
        each = max(0.001, _BRIEF.until - time.monotonic())
    return 1, min(each, ordinary)
