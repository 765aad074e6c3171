"""`ask_store` and `within`: an answer in time, or none; `problem`: why there is none."""

from __future__ import annotations

import threading
import time
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from chroma_nb.display.words import shorten

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
#: A helper ends after so long without a question.
_IDLE_SECONDS = 2.0


class NotAsked(Exception):
    """What is to be shown is at a server, and a display asks none."""


def ask_store(ask: Callable[[API], T], client: ClientAPI) -> T | Exception:
    """Return what the client's store answers, as `within`; `NotAsked` where it is at a server."""
    try:
        api = client.api
    except Exception as error:
        # The client is closed.
        return error
    return within(lambda: ask(api)) if api.in_process else NotAsked()


def within(ask: Callable[[], T]) -> T | Exception:
    """Return what `ask` returns, or the exception that it raised; `TimeoutError` where it is late.

    Late is `PATIENCE_SECONDS` in which the process had the processor for less than an eighth of the time:
    then the store waits for a lock or a disk. What is late is left to finish in a daemon thread, and forgotten.
    """
    helper = _Helper.take()
    answers = helper.ask(ask)
    started = time.monotonic()
    while time.monotonic() - started < LONGEST_SECONDS:
        computed = time.process_time()
        try:
            found: T | Exception = answers.get(timeout=PATIENCE_SECONDS)
        except Empty:
            if time.process_time() - computed < PATIENCE_SECONDS * _SHARE:
                break
        else:
            helper.give_back()
            return found
    return TimeoutError("the store is busy")


def problem(error: Exception, instead: str = "") -> str:
    """Return why there is no answer, in a sentence; `instead` says what asks a server."""
    if isinstance(error, NotAsked):
        return f"Nothing is fetched from a server to show this. {instead}"
    if isinstance(error, TimeoutError):
        return "Unavailable: the store is busy. Show this again in a moment."
    return f"Unavailable: {shorten(str(error), 300) or type(error).__name__}"


class _Helper:
    """A daemon thread that asks, one question after the other, and ends when it is not asked.

    Beside a build a new thread waits some milliseconds for its first turn on a core, one that was there does not.
    """

    _lock: ClassVar[threading.Lock] = threading.Lock()
    _idle: ClassVar[list[_Helper]] = []

    def __init__(self) -> None:
        self._questions: SimpleQueue[tuple[Callable[[], Any], SimpleQueue[Any]]] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="chroma_nb display", daemon=True)
        self._thread.start()

    @classmethod
    def take(cls) -> _Helper:
        """Return a helper that has nothing to do."""
        with cls._lock:
            while cls._idle:
                helper = cls._idle.pop()
                # A forked process has the list and not the threads.
                if helper._thread.is_alive():
                    return helper
        return cls()

    def give_back(self) -> None:
        """Let others have it: it has answered."""
        with self._lock:
            self._idle.append(self)

    def ask(self, question: Callable[[], Any]) -> SimpleQueue[Any]:
        """Have something asked; return where the answer, or the exception, will be."""
        answers: SimpleQueue[Any] = SimpleQueue()
        self._questions.put((question, answers))
        return answers

    def _work(self) -> None:
        was_missing = False
        while True:
            try:
                question, answers = self._questions.get(timeout=_IDLE_SECONDS)
            except Empty:
                with self._lock:
                    if self in self._idle:
                        self._idle.remove(self)
                        return
                if was_missing:
                    # Nobody waited for its last answer, or somebody was stopped.
                    return
                # Unless somebody has just taken it.
                was_missing = True
                continue
            try:
                answers.put(question())
            except Exception as error:
                answers.put(error)
            # Nothing of a store is kept for the next question.
            del question, answers
            was_missing = False
