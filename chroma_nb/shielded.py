"""`shielded`: work that an interrupt must not stop half-way."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


def shielded(work: Callable[[], T]) -> T:
    """Return what `work` returns; a KeyboardInterrupt is raised when it is done, and not before.

    Python raises interrupts in the main thread alone, between any two steps. So the work is done in a thread
    of its own. Elsewhere than in the main thread there is nothing to shield it from.

    Args:
        work: Something short. What it opens should be known to others when it ends, as nobody gets its result
            after an interrupt.
    """
    if threading.current_thread() is not threading.main_thread():
        return work()
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(work())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run, name="chroma_nb shielded")
    interrupt: KeyboardInterrupt | None = None
    thread.start()
    while thread.is_alive():
        try:
            thread.join()
        except KeyboardInterrupt as error:
            interrupt = error
    if interrupt is not None:
        raise interrupt
    if errors:
        raise errors[0]
    return results[0]
