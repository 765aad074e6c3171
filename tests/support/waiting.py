"""Waiting for what another thread or process does."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

#: Only what never happens takes so long, however slow the machine is.
_SECONDS = 120.0


def wait_until(condition: Callable[[], object]) -> None:
    """Wait until something is so.

    Args:
        condition: Says whether it is.

    Raises:
        AssertionError: It is not so after two minutes.
    """
    end = time.monotonic() + _SECONDS
    while not condition():
        assert time.monotonic() < end, "it never came to it"
        time.sleep(0.002)
