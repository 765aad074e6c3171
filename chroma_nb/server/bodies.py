"""Bodies of requests: how long one may take to arrive, and how much memory all of them may hold."""

from __future__ import annotations

import contextlib
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

import anyio

from chroma_nb.errors import BatchSizeExceededError, InvalidArgumentError
from chroma_nb.memory.machine import MACHINE
from chroma_nb.memory.sizes import format_bytes
from chroma_nb.server.refusals import Refused, busy
from chroma_nb.wire.text import BYTES_PER_VALUE, VALUE_BYTES, TooManyValuesError, count_values

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.requests import Request

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

    async def receive(self, request: Request) -> bytearray:
        """Return a request's body; `release` it when it is not needed any more.

        Raises:
            Refused: It is too large, too slow, or one too many.
            ClientDisconnect: It will not come.
        """
        declared = request.headers.get("content-length", "")
        if declared.isdecimal() and int(declared) > self.max_body:
            raise self._too_large()
        body = bytearray()
        with anyio.CancelScope(deadline=anyio.current_time() + self._seconds) as scope:
            one = _Arriving(scope, anyio.current_time())
            self._arriving[one] = None
            try:
                async for part in request.stream():
                    self._take(one, len(part))
                    body += part
            except BaseException:
                self._held -= one.n_bytes
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

    def release(self, body: bytearray) -> None:
        """Count a body's bytes as free."""
        self._held -= len(body)

    @contextlib.contextmanager
    def parsing(self, body: bytearray | bytes) -> Iterator[None]:
        """Count the memory that the values of a body take while they are worked on. Called by threads.

        Raises:
            Refused: It holds too many values for its size, or others take the memory at the moment.
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
            yield
        finally:
            with self._lock:
                self._parsed -= cost

    def _too_large(self) -> Refused:
        limit = format_bytes(self.max_body)
        return Refused(
            413,
            BatchSizeExceededError(
                f"The body is larger than {limit}: send it in parts (Settings.server_max_body)."
            ),
            Connection="close",
        )
