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
    from chroma_nb.client.client import ClientAPI

T = TypeVar("T")

#: How long a display waits for a store that makes no progress, seconds: a cell should not hang on it.
PATIENCE_SECONDS = 0.08
#: The store makes progress if this process used the CPU for this share of that time.
_SHARE = 1 / 8
#: The longest wait while this process computes, which may be the answer, seconds.
LONGEST_SECONDS = 0.4
#: A helper thread ends after this long without a question, seconds.
_IDLE_SECONDS = 2.0


class NotAsked(Exception):
    """The data is at a server, and a display sends no request."""


def ask_store(ask: Callable[[API], T], client: ClientAPI) -> T | Exception:
    """Return what the client's store answers, as `within`; `NotAsked` where it is at a server."""
    try:
        api = client.api
    except Exception as error:
        # The client is closed.
        return error
    return within(lambda: ask(api)) if api.is_near else NotAsked()


def within(ask: Callable[[], T]) -> T | Exception:
    """Return what `ask` returns, or the exception that it raised; `TimeoutError` where it is late.

    It is late after `PATIENCE_SECONDS` in which the process used the CPU for less than an eighth of the time: then
    the store waits for a lock or a disk. A late answer is left to finish in a daemon thread, and is not used.
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
    """A daemon thread that asks one question after the other, and ends when it is not used for a while.

    While a graph is built, a new thread waits some milliseconds for its first turn on a core; a thread that exists
    already does not.
    """

    _lock: ClassVar[threading.Lock] = threading.Lock()
    _idle: ClassVar[list[_Helper]] = []

    def __init__(self) -> None:
        self._questions: SimpleQueue[tuple[Callable[[], Any], SimpleQueue[Any]]] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="chroma_nb display", daemon=True)
        self._thread.start()

    @classmethod
    def take(cls) -> _Helper:
        """Return an idle helper, or a new one."""
        with cls._lock:
            while cls._idle:
                helper = cls._idle.pop()
                # A forked process has a copy of the list without the threads.
                if helper._thread.is_alive():
                    return helper
        return cls()

    def give_back(self) -> None:
        """Return it to the idle ones: it has answered."""
        with self._lock:
            self._idle.append(self)

    def ask(self, question: Callable[[], Any]) -> SimpleQueue[Any]:
        """Ask in its thread; return the queue that the answer, or the exception, will be put into."""
        answers: SimpleQueue[Any] = SimpleQueue()
        self._questions.put((question, answers))
        return answers

    def _work(self) -> None:
        was_taken = False
        while True:
            try:
                question, answers = self._questions.get(timeout=_IDLE_SECONDS)
            except Empty:
                with self._lock:
                    if self in self._idle:
                        self._idle.remove(self)
                        return
                if was_taken:
                    # Twice without a question, and not idle: nobody waited for its last answer.
                    return
                # It was taken: a question may come at any moment.
                was_taken = True
                continue
            try:
                answers.put(question())
            except Exception as error:
                answers.put(error)
            # Keep no reference to a store until the next question.
            del question, answers
            was_taken = False
