"""`Workers`: a store's side of the workers: its lines to the broker, who is there, and what is done where they cannot."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import threading
import time
import warnings
from typing import TYPE_CHECKING, Any

from chroma_nb import forked
from chroma_nb.callers import level_outside
from chroma_nb.errors import ServerUnavailableError
from chroma_nb.settings import without_secrets
from chroma_nb.tasks.app import make_app
from chroma_nb.tasks.line import Line
from chroma_nb.tasks.report import Tally, WorkersReport
from chroma_nb.tasks.roster import Roster

if TYPE_CHECKING:
    from collections.abc import Iterable

    from chroma_nb.settings import Settings

logger = logging.getLogger("chroma_nb.workers")

#: A line that was not used for so long may have been cut off on its way.
_LINE_SECONDS = 15.0
#: A broker that was gone is asked again after that.
_AGAIN_SECONDS = 5.0
#: A function that workers have refused is offered to them again after that.
_REFUSED_SECONDS = 60.0


class WorkerNotice(UserWarning):
    """Says that something was computed in this process that workers were to compute, and why."""


class Workers:
    """The workers of one store.

    Args:
        settings: `celery_broker`, `celery_backend`, `celery_fallback` and `tls_verify` are used.

    Raises:
        InvalidArgumentError: One of the addresses cannot be used.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._app = make_app(settings.celery_broker, settings.celery_backend, settings.tls_verify)
        self.tally = Tally()
        self.roster = Roster(self._connect)
        self._begin()
        forked.watch(self)

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._idle: list[Line] = []
        self._pid = os.getpid()
        self._answers: bool | None = None
        self._failed_at = float("-inf")
        self._failure = ""
        #: What was said already, until it is no longer so.
        self._said: set[str] = set()
        #: Embedding functions that workers refuse -> (until when, why).
        self._refused: dict[str, tuple[float, str]] = {}

    def on_fork(self) -> None:
        """In a forked child: leave the lines to the parent."""
        forked.keep_for_ever(*self._idle)
        self.roster = Roster(self._connect)
        self._begin()

    @property
    def broker(self) -> str:
        """The broker's address without secrets."""
        return without_secrets(self._settings.celery_broker)

    # -- lines --------------------------------------------------------------------------------

    def _connect(self) -> Line:
        return Line(self._app, self._settings.tls_verify)

    def take_line(self) -> Line:
        """Return a line for this thread alone, to be given back or closed.

        Raises:
            ServerUnavailableError: The broker does not answer, or did not some seconds ago.
        """
        with self._lock:
            while self._idle:
                line = self._idle.pop()
                if time.monotonic() - line.used < _LINE_SECONDS:
                    return line
                line.close()
            if time.monotonic() - self._failed_at < _AGAIN_SECONDS:
                raise ServerUnavailableError(self._failure)
        try:
            line = self._connect()
        except ServerUnavailableError as error:
            with self._lock:
                self._answers, self._failed_at, self._failure = False, time.monotonic(), str(error)
            raise
        with self._lock:
            if self._answers is False:
                # What has changed meanwhile is said again.
                self._said.discard("broker")
                self.note("the broker answers again")
                self.roster.forget()
            self._answers = True
        return line

    def give_line(self, line: Line) -> None:
        """Take back a line that is in order."""
        with self._lock:
            self._idle.append(line)

    def revoke(self, task_ids: Iterable[str]) -> None:
        """Take work back over a line of its own: this thread's may have been interrupted in the middle of a message."""
        ids = list(task_ids)
        if ids:
            with contextlib.suppress(ServerUnavailableError):
                line = self.take_line()
                line.revoke(ids)
                self.give_line(line)

    def close(self) -> None:
        """End all lines."""
        if self._pid != os.getpid():
            return
        with self._lock:
            idle, self._idle = self._idle, []
        for line in idle:
            line.close()

    # -- what workers do not do ---------------------------------------------------------------

    def refusal_of(self, name: str, config: dict[str, Any]) -> str:
        """Return why workers refuse an embedding function, as they have said lately; "" where they have not."""
        until, why = self._refused.get(_key(name, config), (0.0, ""))
        return why if time.monotonic() < until else ""

    def remember_refusal(self, name: str, config: dict[str, Any], why: str) -> None:
        """Remember that workers refuse an embedding function."""
        self._refused[_key(name, config)] = (time.monotonic() + _REFUSED_SECONDS, why)

    def note(self, sentence: str) -> None:
        """Put an event into the report and the log."""
        self.tally.note(sentence)
        logger.info("Workers at %s: %s", self.broker, sentence)

    def fall_back(self, kind: str, why: str, what: str = "Texts are embedded") -> None:
        """Say that something is computed here; once for each kind of reason, until it has passed.

        Args:
            kind: Of the reason.
            why: The reason, as the end of a sentence.
            what: What is done here.

        Raises:
            ServerUnavailableError: The settings do not allow it.
        """
        sentence = f"{what} in this process, not by workers: {why.rstrip('.')}."
        if not self._settings.celery_fallback:
            raise ServerUnavailableError(
                f"Workers cannot do this, and Settings(celery_fallback=False) does not allow to do it here: {why.rstrip('.')}."
            )
        with self._lock:
            is_new = kind not in self._said
            self._said.add(kind)
        self.tally.note(sentence)
        if not is_new:
            logger.info("%s", sentence)
        elif threading.current_thread() is threading.main_thread():
            warnings.warn(sentence, WorkerNotice, stacklevel=level_outside())
        else:
            # A warning of a thread belongs to no line of the user's.
            logger.warning("%s", sentence)

    def report(self) -> WorkersReport:
        """Return what is known at the moment. Who is there is asked, where that was not done lately, for the next report."""
        self.roster.look()
        values = self.tally.values()
        return WorkersReport(
            broker=self.broker,
            broker_answers=self._answers,
            workers=self.roster.workers(),
            pieces_in_flight=values.pop("in_flight"),
            **values,
        )


def _key(name: str, config: dict[str, Any]) -> str:
    return json.dumps([name, config], sort_keys=True)
