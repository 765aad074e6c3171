"""`known` and `within`: an answer in time, or none."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, TypeVar

from chroma_nb.errors import ChromaError

if TYPE_CHECKING:
    from collections.abc import Callable

    from chroma_nb.api.base import API
    from chroma_nb.client import ClientAPI

T = TypeVar("T")

#: What a display waits for a store that stands still, seconds: a cell's output should not hang on one.
PATIENCE_SECONDS = 0.08
#: A process that had the processor for this share of that time computes; others may want it as well.
_SHARE = 1 / 8
#: What it waits at most while this process computes: the answer may be what is computed.
LONGEST_SECONDS = 0.4


class NotAsked(Exception):
    """What is to be shown is at a server, and a display asks none."""


def known(ask: Callable[[API], T], client: ClientAPI) -> T | Exception:
    """Return what the client's store says, as `within`; `NotAsked` where it is at a server."""
    try:
        api = client.api
    except ChromaError as error:
        return error
    return within(lambda: ask(api)) if api.in_process else NotAsked()


def within(ask: Callable[[], T]) -> T | Exception:
    """Return what `ask` returns, or the exception that it raised; `TimeoutError` where it is late.

    Late is `PATIENCE_SECONDS` in which the process had the processor for less than an eighth of the time:
    then the store waits for a lock or a disk. What is late is left to finish in a daemon thread, and forgotten.
    """
    answers: list[T | Exception] = []

    def work() -> None:
        try:
            answers.append(ask())
        except Exception as error:
            answers.append(error)

    thread = threading.Thread(target=work, name="chroma_nb display", daemon=True)
    started = time.monotonic()
    thread.start()
    while thread.is_alive() and time.monotonic() - started < LONGEST_SECONDS:
        computed = time.process_time()
        thread.join(PATIENCE_SECONDS)
        if time.process_time() - computed < PATIENCE_SECONDS * _SHARE:
            break
    return answers[0] if answers else TimeoutError("the store is busy")
