"""`ask_store`, `within` and `fetch`: an answer in time, or none; `problem` and `as_of`: why there is none."""

from __future__ import annotations

import os
import threading
import time
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from chroma_nb.display.words import shorten
from chroma_nb.webassembly import IS_WEBASSEMBLY

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
#: How long a display waits for a server in all, seconds.
FETCH_SECONDS = 0.3
#: What a display no longer waits for is given up after this long, seconds.
_LATE_SECONDS = 5.0
#: What is younger needs no age, seconds.
_OLD_SECONDS = 2.0
#: Without them the transport keeps the time, and no store is in this process.
HAS_THREADS = not IS_WEBASSEMBLY
#: A helper thread ends after this long without a question, seconds.
_IDLE_SECONDS = 2.0


class NotAsked(Exception):
    """The data is at a server, and the settings let a display send no request."""


def ask_store(ask: Callable[[API], T], client: ClientAPI) -> T | Exception:
    """Return what the client's store answers, as `within`; at a server as `fetch`, or `NotAsked`."""
    try:
        api = client.api
    except Exception as error:
        # The client is closed.
        return error
    if api.is_near:
        return within(lambda: ask(api))
    return fetch(ask, api) if client.get_settings().display_fetch else NotAsked()


def within(ask: Callable[[], T]) -> T | Exception:
    """Return what `ask` returns, or the exception that it raised; `TimeoutError` where it is late.

    It is late after `PATIENCE_SECONDS` in which the process used the CPU for less than an eighth of the time: then
    the store waits for a lock or a disk. A late answer is left to finish in a daemon thread, and is not used.
    """
    if not HAS_THREADS:
        return _answer(ask)
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


def fetch(ask: Callable[[API], T], api: API) -> T | Exception:
    """Return what a server answers, or the exception that was raised; `TimeoutError` after `FETCH_SECONDS`.

    All requests of `ask` have that time together, and none is repeated. One that is out then is left to its end in a
    daemon thread: `api.known` has its answer for the next display. Until then that server gets no other one.
    """
    if not HAS_THREADS:
        with api.briefly(FETCH_SECONDS, None):
            return _answer(lambda: ask(api))
    asked = _Fetches.begin(api)
    if asked is None:
        return TimeoutError("the server has not answered yet")

    def work() -> T:
        try:
            with api.briefly(FETCH_SECONDS, _LATE_SECONDS):
                return ask(api)
        finally:
            _Fetches.end(asked)

    try:
        helper = _Helper.take()
        answers = helper.ask(work)
    except BaseException:
        _Fetches.end(asked)
        raise
    try:
        found: T | Exception = answers.get(timeout=FETCH_SECONDS)
    except Empty:
        return TimeoutError(f"the server has not answered within {FETCH_SECONDS:g} s")
    helper.give_back()
    return found


def _answer(ask: Callable[[], T]) -> T | Exception:
    try:
        return ask()
    except Exception as error:
        return error


def is_unanswered(error: Exception) -> bool:
    """Say whether nothing was answered: then what was known before may still be so."""
    return isinstance(error, NotAsked | TimeoutError | ConnectionError)


def problem(error: Exception, instead: str = "") -> str:
    """Return why there is no answer, in a sentence; `instead` says what asks a server."""
    if isinstance(error, NotAsked):
        return f"Nothing is fetched from the server to show this, as Settings.display_fetch is off. {instead}"
    if isinstance(error, TimeoutError):
        return f"Unavailable: {error}. Show this again in a moment."
    return f"Unavailable: {shorten(str(error), 300) or type(error).__name__}"


def as_of(seconds: float, error: Exception, instead: str = "") -> str:
    """Return how old what is shown instead of an answer is, and why there is none.

    Args:
        seconds: Its age.
        error: Why there is no answer.
        instead: What asks a server.
    """
    age = f"As of {_in_words(seconds)} ago"
    if isinstance(error, TimeoutError):
        return f"{age}, {error}."
    # What has just been answered is as good as an answer now.
    before = f"{age}. " if seconds >= _OLD_SECONDS or not isinstance(error, NotAsked) else ""
    return before + problem(error, instead)


def _in_words(seconds: float) -> str:
    """Return an age as "4 s", "3 min", "5 h" or "2 days"."""
    for unit, size, most in (("s", 1, 120), ("min", 60, 7_200), ("h", 3_600, 172_800)):
        if seconds < most:
            return f"{max(1, int(seconds / size))} {unit}"
    return f"{int(seconds / 86_400)} days"


class _Fetches:
    """Which servers have been sent a request by a display that they have not answered."""

    _lock: ClassVar[threading.Lock] = threading.Lock()
    #: The id of an API -> the process that asks.
    _out: ClassVar[dict[int, int]] = {}

    @classmethod
    def begin(cls, api: API) -> int | None:
        """Note that a request is sent, and return what `end` takes; None where one is out."""
        key, process = id(api), os.getpid()
        with cls._lock:
            # A forked process has a copy of the table without the threads that ask.
            if cls._out.get(key) == process:
                return None
            cls._out[key] = process
        return key

    @classmethod
    def end(cls, key: int) -> None:
        """Note that it is over. Until then the thread that asks holds the API, so its id is nobody else's."""
        with cls._lock:
            cls._out.pop(key, None)


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
