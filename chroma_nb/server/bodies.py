"""`Bodies`: how long the body of a request may take to arrive, and how much memory all bodies may hold."""

from __future__ import annotations

import contextlib
import sys
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import anyio

from chroma_nb.errors import BatchSizeExceededError, InvalidArgumentError, MemoryBudgetError
from chroma_nb.memory.machine import MACHINE
from chroma_nb.memory.sizes import format_bytes
from chroma_nb.memory.workspace import NOTHING, WORKSPACE
from chroma_nb.server.refusals import Refused, busy
from chroma_nb.wire.text import BYTES_PER_VALUE, VALUE_BYTES, TooManyValuesError, count_values

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from starlette.requests import Request

    from chroma_nb.memory.workspace import Grant

#: All bodies that arrive or are worked on may hold this many times the largest body together. So may all answers.
MAX_HELD = 4
#: A body that arrives, and an answer that is sent, has a deadline for each step of this many bytes.
STEP_BYTES = 2**18
#: A body or answer that has not come a step further for this long is ended when others need the memory.
STALLED_SECONDS = 1.0
#: The parsed values of all bodies may take this many times the largest body.
_PARSED_TIMES = 20
#: Values that take up to this many bytes are always parsed. Beyond it, the free memory of the machine is a limit, too.
_LITTLE_BYTES = 2**24
#: A body of up to this many bytes is received without asking for memory.
_SMALL_BODY_BYTES = 2**22
#: The memory that a body takes, in multiples of its size: as it arrives and as bytes, later as texts and vectors.
#: Measured with embeddings in base64.
_TIMES = 2.25
#: Texts that are written take this many times their size in addition, in the checks here (measured with few texts of a
#: megabyte each, which is the worst case).
_TEXT_TIMES = 3
#: They take this many times their size in the database, which takes it from the workspace itself.
_DATABASE_TIMES = 4
_WAYS = ("send it in smaller parts", "make room on the server's machine")


class Received(bytearray):
    """A body, with the memory that was granted for it."""

    def __init__(self) -> None:
        super().__init__()
        #: Memory for the body and for what is parsed from it.
        self.grant: Grant = NOTHING
        #: Its bytes in the count of `Bodies`.
        self.n_held = 0

    def take_bytes(self) -> bytes:
        """Return the body as bytes, and empty this object. Called by the thread that works on it."""
        self.grant.adopt()
        # The parser would copy a bytearray to bytes, and both would exist while it parses.
        data = bytes(self)
        self.clear()
        return data


@dataclass(eq=False)
class _Arriving:
    """A body that is being received."""

    scope: anyio.CancelScope
    #: When its last step was complete (anyio's clock).
    since: float
    n_bytes: int = 0
    #: The size at which the present step is complete, bytes.
    next_step: int = STEP_BYTES
    #: It was ended to make room for others.
    is_dropped: bool = False


class Bodies:
    """Receives bodies within limits, and counts the memory that they hold until the work on them has ended.

    Args:
        max_body: Bytes of the largest body.
        seconds: How long a body may take for each step of 256 KiB, and for its last bytes.
    """

    def __init__(self, max_body: int, seconds: float) -> None:
        self.max_body = max_body
        self._seconds = seconds
        self._held = 0
        self._arriving: dict[_Arriving, None] = {}
        self._lock = threading.Lock()
        self._parsed = 0
        #: Bytes of what `hold` counts.
        self._batches = 0

    async def receive(self, request: Request) -> Received:
        """Return a request's body; the caller has to `release` it.

        Raises:
            Refused: It is too large or too slow, or there is too little memory for it.
            ClientDisconnect: The client has gone.
        """
        text = request.headers.get("content-length", "")
        declared = int(text) if text.isdecimal() else 0
        if declared > self.max_body:
            raise self._too_large()
        body = Received()
        with anyio.CancelScope(deadline=anyio.current_time() + self._seconds) as scope:
            arriving = _Arriving(scope, anyio.current_time())
            self._arriving[arriving] = None
            granted = _SMALL_BODY_BYTES
            try:
                if declared > granted:
                    body.grant = await _room(declared)
                    granted = declared
                async for part in request.stream():
                    self._take(arriving, len(part))
                    if arriving.n_bytes > granted:
                        # Larger than its Content-Length, or it has none: take memory for twice as much.
                        granted = min(2 * arriving.n_bytes, self.max_body)
                        body.grant.give_back()
                        body.grant = await _room(granted)
                    body += part
                body.n_held = arriving.n_bytes
            except BaseException:
                self._held -= arriving.n_bytes
                body.grant.give_back()
                raise
            finally:
                del self._arriving[arriving]
        if arriving.is_dropped:
            raise busy("this body came slowly, and others need the memory")
        if scope.cancelled_caught:
            raise Refused(
                408,
                InvalidArgumentError(
                    f"The body did not come: it may take {self._seconds:g} s for each "
                    f"{format_bytes(STEP_BYTES)} (Settings.server_body_timeout_seconds)."
                ),
                Connection="close",
            )
        return body

    def _take(self, arriving: _Arriving, n_bytes: int) -> None:
        arriving.n_bytes += n_bytes
        self._held += n_bytes
        if arriving.n_bytes > self.max_body:
            raise self._too_large()
        if self._held + self._batches > MAX_HELD * self.max_body:
            self._drop_slowest()
        if arriving.n_bytes >= arriving.next_step:
            arriving.next_step = arriving.n_bytes + STEP_BYTES
            arriving.since = anyio.current_time()
            arriving.scope.deadline = arriving.since + self._seconds

    def _drop_slowest(self) -> None:
        """End the body that has made no progress for the longest time.

        Raises:
            Refused: None has stalled.
        """
        slowest = min(self._arriving, key=lambda arriving: arriving.since)
        if anyio.current_time() - slowest.since < STALLED_SECONDS:
            raise busy("too many large bodies at a time")
        slowest.is_dropped = True
        self._held -= slowest.n_bytes
        slowest.n_bytes = 0
        slowest.since = anyio.current_time()
        slowest.scope.cancel()

    def hold(self, n_bytes: int) -> None:
        """Count what a transport with threads of its own has received, until `let_go`. Called by threads.

        Raises:
            Refused: Everything that is received takes too much; it is counted all the same.
        """
        with self._lock:
            self._batches += n_bytes
            is_full = self._held + self._batches > MAX_HELD * self.max_body
        if is_full:
            raise busy("too many large writes at a time")

    def let_go(self, n_bytes: int) -> None:
        """Count no longer what `hold` has counted. Called by threads."""
        with self._lock:
            self._batches -= n_bytes

    def release(self, body: Received) -> None:
        """Give a body's memory back. Called on the event loop, when the work on the body has ended."""
        self._held -= body.n_held
        body.n_held = 0
        body.clear()
        body.grant.give_back()

    @contextlib.contextmanager
    def parsing(self, body: bytearray | bytes) -> Iterator[None]:
        """Hold the memory of the values that are parsed from a body, until the end of the block. Called by threads.

        Raises:
            Refused: There are more values than are allowed, or other bodies hold the memory at the moment.
            MemoryBudgetError: The memory is not free.
        """
        if len(body) * VALUE_BYTES <= _LITTLE_BYTES:
            yield
            return
        try:
            n_values = count_values(body, self.max_body // BYTES_PER_VALUE)
        except TooManyValuesError as error:
            raise Refused(
                413,
                BatchSizeExceededError(
                    f"The body holds {error}: send it in parts, or embeddings as base64 (Settings.server_max_body)."
                ),
            ) from None
        cost = n_values * VALUE_BYTES
        limit = _PARSED_TIMES * self.max_body
        if cost > _LITTLE_BYTES:
            limit = min(limit, MACHINE.free())
        with self._lock:
            if cost > limit:
                raise Refused(
                    413,
                    BatchSizeExceededError(
                        f"To read the {n_values:,} values of this body takes about {format_bytes(cost)}, and "
                        f"{format_bytes(limit)} are free: send it in parts, or embeddings as base64."
                    ),
                )
            if cost > _LITTLE_BYTES and self._parsed + cost > limit:
                raise busy("the bodies that it works on take all the memory that they may")
            self._parsed += cost
        try:
            # The body's own grant is enough where a character of its texts takes one byte; here is the rest.
            what = f"Reading the {n_values:,} values of a body of {format_bytes(len(body))}"
            with WORKSPACE.take_all(cost + (_width(body) - 1) * len(body), what, *_WAYS):
                yield
        finally:
            with self._lock:
                self._parsed -= cost

    @staticmethod
    @contextlib.contextmanager
    def writing(*columns: Sequence[Any] | None) -> Iterator[None]:
        """Hold the additional memory that it takes to write these texts and metadata. Called by threads.

        Args:
            *columns: Documents, URIs and metadata of the records; None where a column was not given.

        Raises:
            MemoryBudgetError: The memory is not free.
        """
        n_records = max((len(column) for column in columns if column is not None), default=0)
        n_bytes = sum(_text_bytes(column) for column in columns if column is not None)
        what = f"Writing {format_bytes(n_bytes)} of texts and metadata in {n_records:,} records"
        all_bytes = (_TEXT_TIMES + _DATABASE_TIMES) * n_bytes
        # Take all of it once before anything is done, and give it back: the database takes its part itself later.
        WORKSPACE.take_all(all_bytes, what, *_WAYS).give_back()
        with WORKSPACE.take_all(_TEXT_TIMES * n_bytes, what, *_WAYS):
            yield

    def _too_large(self) -> Refused:
        limit = format_bytes(self.max_body)
        return Refused(
            413,
            BatchSizeExceededError(
                f"The body is larger than {limit}: send it in parts (Settings.server_max_body)."
            ),
            Connection="close",
        )


async def _room(n_bytes: int) -> Grant:
    """Take the memory for a body of `n_bytes` bytes and for what is parsed from it.

    Raises:
        Refused: It is not free.
    """

    def take() -> Grant:
        # In a thread, as collections may have to be unloaded for it.
        what = f"A body of {format_bytes(n_bytes)}"
        return WORKSPACE.take_all(int(_TIMES * n_bytes), what, *_WAYS, waits=False)

    try:
        return await anyio.to_thread.run_sync(take)
    except MemoryBudgetError as error:
        if error.may_fit_later:
            raise busy("others use the memory that this body takes at the moment") from error
        raise Refused(507, error, Connection="close") from error


def _width(body: bytes | bytearray) -> int:
    """Return how many bytes of memory each byte of this body may take as part of a Python text: 1 or 4."""
    # Python stores all characters of a text as wide as its widest: a single emoji makes each of them take 4 bytes.
    return 1 if body.isascii() else 4


def _text_bytes(column: Sequence[Any]) -> int:
    """Return the bytes of memory that a column of texts, or the texts in a column of metadata, take."""
    n_bytes = 0
    for item in column:
        if isinstance(item, str):
            n_bytes += sys.getsizeof(item)
        elif item:
            n_bytes += sum(
                sys.getsizeof(value) for value in item.values() if isinstance(value, str)
            )
    return n_bytes
