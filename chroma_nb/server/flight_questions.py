"""`Questions`: the questions of a stream, one after the other, and those whose answers take too long.

The thread that reads a question also works on it and sends the answer: each change of thread would cost a query a tenth of its time.
The thread that gRPC gives the stream watches it. A question that takes too long it answers itself, and another thread reads the
next one; the work goes on, and what it finds is dropped.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from chroma_nb.server.refusals import busy

if TYPE_CHECKING:
    from collections.abc import Callable

#: A stream is looked at so often, in seconds: is a question worked on, and by when has it to be answered?
_LOOK_SECONDS = 1.0


class Question:
    """A question of a stream. Its answer is sent by the thread that works on it, unless it is late."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        #: When its answer is late (the monotonic clock); 0: it is not worked on, or has all the time.
        self._until = 0.0
        #: Makes the answer that it gets where it is late.
        self.late_answer: Callable[[], bytes] = bytes
        self.is_late = False

    def begin(self, seconds: float, late_answer: Callable[[], bytes]) -> None:
        """Note that it is worked on.

        Args:
            seconds: How long that may take; 0 is as long as it takes.
            late_answer: Makes the answer that it gets where it takes longer. Called in another thread.
        """
        self.late_answer = late_answer
        self._until = time.monotonic() + seconds if seconds else 0.0

    def end(self) -> bool:
        """Note that the work has ended; say whether it is still to be answered."""
        with self._lock:
            self._until = 0.0
            return not self.is_late

    def seconds_left(self) -> float:
        """Return how long it may still take; at most how long it need not be looked at. Where that is nothing, it is late."""
        with self._lock:
            if not self._until:
                return _LOOK_SECONDS
            left = self._until - time.monotonic()
            self.is_late = left <= 0
            return max(0.0, min(left, _LOOK_SECONDS))


class Questions:
    """Has the questions of a stream answered.

    Args:
        answer: Reads and answers them until the stream ends, or one is late. It calls `next` for each. It is called in a thread of
            its own, and once more after a late one.
        send: Sends the answer to a late one.
    """

    def __init__(
        self, answer: Callable[[Questions], None], send: Callable[[bytes], object]
    ) -> None:
        self._answer = answer
        self._send = send
        self._current = Question()

    def next(self) -> Question:
        """Return a new question, which has just been read."""
        self._current = Question()
        return self._current

    def run(self) -> None:
        """Return when the stream has ended, and all work on it.

        Raises:
            Exception: What `answer` has raised.
            Refused: The machine has no thread left.
        """
        threads: list[threading.Thread] = []
        errors: list[Exception] = []
        try:
            while True:
                self.next()
                ended = threading.Event()
                threads.append(self._start(ended, errors))
                while not ended.wait(self._current.seconds_left()) and not self._current.is_late:
                    pass
                if not self._current.is_late:
                    break
                self._send(self._current.late_answer())
        finally:
            # What is late may still use the stream's objects, which end with this call.
            for one in threads:
                one.join()
        if errors:
            raise errors.pop()

    def _start(self, ended: threading.Event, errors: list[Exception]) -> threading.Thread:
        def run() -> None:
            try:
                self._answer(self)
            except Exception as error:
                errors.append(error)
            ended.set()

        thread = threading.Thread(target=run, name="chroma_nb flight stream", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            raise busy("the machine has no thread left") from None
        return thread
