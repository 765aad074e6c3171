"""Bodies of requests: how long one may take to arrive, and how much memory all of them may hold."""

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

#: Bodies that arrive or are worked on may hold so many times the largest one together; answers as well.
MAX_HELD = 4
#: A body that arrives, and an answer that is taken, has a deadline for each step of so many bytes: a slow one ends.
STEP = 2**18
#: One that has not come a step further for so long makes room for others, seconds.
STALLED = 1.0
#: Values of all bodies that are parsed may take so many times the largest body.
_MAX_PARSED = 20
#: What takes less, bytes, is parsed whatever else is; beyond it the machine is asked what it has left.
_LITTLE = 2**24
#: A body of this size is received without asking for memory, bytes.
_SMALL_BODY = 2**22
#: What a body takes: as it arrives and as bytes, later as texts and as vectors, and what is written of them.
#: Measured with embeddings in base64.
_TIMES = 2.25
#: Texts that are written take so many times their size besides, in what checks them and in the database. Measured
#: with few texts of a megabyte each, the worst: so much here, ...
_TEXT_TIMES = 3
#: ... and so much in the database, which takes it from the same account.
_DATABASE_TIMES = 4
_WAYS = ("send it in smaller parts", "make room on the server's machine")


class Received(bytearray):
    """A body, with what was taken for it."""

    def __init__(self) -> None:
        super().__init__()
        #: Its memory, and that of what is made of it.
        self.grant: Grant = NOTHING
        #: Bytes that count as held.
        self.n_held = 0

    def cut_loose(self) -> bytes:
        """Return the body as bytes, and let go of its own. Called by the thread that works on it."""
        self.grant.adopt()
        # The parser would make a copy of its own, and keep this one as well.
        data = bytes(self)
        self.clear()
        return data


@dataclass(eq=False)
class _Arriving:
    """A body that is being received."""

    scope: anyio.CancelScope
    #: When it came its last step further.
    since: float
    n_bytes: int = 0
    next_step: int = STEP
    #: Ended to make room for others.
    is_dropped: bool = False


class Bodies:
    """Receives bodies within limits, and counts what they hold until the work on them has ended.

    Args:
        max_body: Bytes of the largest body.
        seconds: How long a body may take for a step of 256 KiB, or for its end.
    """

    def __init__(self, max_body: int, seconds: float) -> None:
        self.max_body = max_body
        self._seconds = seconds
        self._held = 0
        self._arriving: dict[_Arriving, None] = {}
        self._lock = threading.Lock()
        self._parsed = 0

    async def receive(self, request: Request) -> Received:
        """Return a request's body; `release` it when it is not needed any more.

        Raises:
            Refused: It is too large, too slow, one too many, or more than there is memory for.
            ClientDisconnect: It will not come.
        """
        text = request.headers.get("content-length", "")
        declared = int(text) if text.isdecimal() else 0
        if declared > self.max_body:
            raise self._too_large()
        body = Received()
        with anyio.CancelScope(deadline=anyio.current_time() + self._seconds) as scope:
            one = _Arriving(scope, anyio.current_time())
            self._arriving[one] = None
            granted = _SMALL_BODY
            try:
                if declared > granted:
                    body.grant = await _room(declared)
                    granted = declared
                async for part in request.stream():
                    self._take(one, len(part))
                    if one.n_bytes > granted:
                        # Nobody has said how large it becomes.
                        granted = min(2 * one.n_bytes, self.max_body)
                        body.grant.give_back()
                        body.grant = await _room(granted)
                    body += part
                body.n_held = one.n_bytes
            except BaseException:
                self._held -= one.n_bytes
                body.grant.give_back()
                raise
            finally:
                del self._arriving[one]
        if one.is_dropped:
            raise busy("this body came slowly, and others need the memory")
        if scope.cancelled_caught:
            raise Refused(
                408,
                InvalidArgumentError(
                    f"The body did not come: it may take {self._seconds:g} s for each "
                    f"{format_bytes(STEP)} (Settings.server_body_timeout_seconds)."
                ),
                Connection="close",
            )
        return body

    def _take(self, one: _Arriving, n_bytes: int) -> None:
        one.n_bytes += n_bytes
        self._held += n_bytes
        if one.n_bytes > self.max_body:
            raise self._too_large()
        if self._held > MAX_HELD * self.max_body:
            self._drop_slowest()
        if one.n_bytes >= one.next_step:
            one.next_step = one.n_bytes + STEP
            one.since = anyio.current_time()
            one.scope.deadline = one.since + self._seconds

    def _drop_slowest(self) -> None:
        """End the body that has come no step further for the longest time.

        Raises:
            Refused: All of them move on.
        """
        slowest = min(self._arriving, key=lambda one: one.since)
        if anyio.current_time() - slowest.since < STALLED:
            raise busy("too many large bodies at a time")
        slowest.is_dropped = True
        self._held -= slowest.n_bytes
        slowest.n_bytes = 0
        slowest.since = anyio.current_time()
        slowest.scope.cancel()

    def release(self, body: Received) -> None:
        """Give back what a body holds. Called on the event loop, when the work on it has ended."""
        self._held -= body.n_held
        body.n_held = 0
        body.clear()
        body.grant.give_back()

    @contextlib.contextmanager
    def parsing(self, body: bytearray | bytes) -> Iterator[None]:
        """Count the memory that the values of a body take while they are worked on. Called by threads.

        Raises:
            Refused: It holds too many values for its size, or others take the memory at the moment.
            MemoryBudgetError: There is no room for them.
        """
        if len(body) * VALUE_BYTES <= _LITTLE:
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
        limit = _MAX_PARSED * self.max_body
        if cost > _LITTLE:
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
            if cost > _LITTLE and self._parsed + cost > limit:
                raise busy("the bodies that it works on take all the memory that they may")
            self._parsed += cost
        try:
            # The body's own grant is enough for texts of one byte for each character.
            what = f"Reading the {n_values:,} values of a body of {format_bytes(len(body))}"
            with WORKSPACE.take_all(cost + (_width(body) - 1) * len(body), what, *_WAYS):
                yield
        finally:
            with self._lock:
                self._parsed -= cost

    @staticmethod
    @contextlib.contextmanager
    def writing(*columns: Sequence[Any] | None) -> Iterator[None]:
        """Hold the memory that it takes to write these texts and metadata, beside the body's. Called by threads.

        Raises:
            MemoryBudgetError: There is no room for it.
        """
        n_records = max((len(column) for column in columns if column is not None), default=0)
        n_bytes = sum(_text_bytes(column) for column in columns if column is not None)
        what = f"Writing {format_bytes(n_bytes)} of texts and metadata in {n_records:,} records"
        all_bytes = (_TEXT_TIMES + _DATABASE_TIMES) * n_bytes
        # Looked for before anything is begun; the database's part is free again when it asks for it.
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
    """Take the memory for a body of so many bytes, and for what is made of it.

    Raises:
        Refused: It is not free.
    """

    def take() -> Grant:
        # Collections may have to be unloaded for it.
        what = f"A body of {format_bytes(n_bytes)}"
        return WORKSPACE.take_all(int(_TIMES * n_bytes), what, *_WAYS, waits=False)

    try:
        return await anyio.to_thread.run_sync(take)
    except MemoryBudgetError as error:
        if error.may_fit_later:
            raise busy("others use the memory that this body takes at the moment") from error
        raise Refused(507, error, Connection="close") from error


def _width(body: bytes | bytearray) -> int:
    """Return the most bytes that a character of this body's texts may take, for each byte of it."""
    # What takes four bytes in Python takes as many in UTF-8, but a single one makes a whole text as wide.
    return 1 if body.isascii() else 4


def _text_bytes(column: Sequence[Any]) -> int:
    """Return the bytes of texts, or of the texts in metadata."""
    n_bytes = 0
    for one in column:
        if isinstance(one, str):
            n_bytes += sys.getsizeof(one)
        elif one:
            n_bytes += sum(sys.getsizeof(value) for value in one.values() if isinstance(value, str))
    return n_bytes
