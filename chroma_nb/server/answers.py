"""`Answers`: how much memory answers may hold until their clients have received them, and how slow a client may be.

A client that asks for much and reads slowly would fill the memory. So answers are counted as bodies of requests are.
An answer that is received too slowly is cut off; where others need the memory, the slowest is cut off first.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

import anyio
from starlette.responses import Response

from chroma_nb.memory.workspace import WORKSPACE
from chroma_nb.server.bodies import MAX_HELD, STALLED_SECONDS, STEP_BYTES
from chroma_nb.server.refusals import busy

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.types import Receive, Scope, Send

logger = logging.getLogger("chroma_nb.server")

#: Answers of up to this size fit into the system's send buffers and are not counted.
_SMALL_BYTES = 2**16


@dataclass(eq=False)
class _Sending:
    """An answer that is being sent."""

    n_bytes: int
    #: When its last step began (anyio's clock).
    since: float
    scope: anyio.CancelScope


class Answers:
    """Sends answers within limits, and counts their bytes until the clients have received them.

    Args:
        max_body: Bytes of the largest body.
        seconds: How long a client may take for a step of 256 KiB; 0 is without limit.
    """

    def __init__(self, max_body: int, seconds: float) -> None:
        self._most = MAX_HELD * max_body
        self._seconds = seconds or float("inf")
        self._held = 0
        self._sending: dict[_Sending, None] = {}

    def make_room(self, n_bytes: int) -> None:
        """Make room for an answer of `n_bytes` bytes, which exists already, by cutting off stalled ones.

        Raises:
            Refused: There is no room, and no other answer has stalled.
        """
        if n_bytes <= _SMALL_BYTES:
            return
        # The free memory of the machine counts all answers, this one included.
        while self._held + n_bytes > self._most or (self._held and not WORKSPACE.free()):
            slowest = min(self._sending, key=lambda answer: answer.since, default=None)
            if slowest is None:
                return
            if anyio.current_time() - slowest.since < STALLED_SECONDS:
                raise busy("its answers wait for their clients to take them")
            self._end(slowest)
            slowest.scope.cancel()

    def _end(self, answer: _Sending) -> None:
        if answer in self._sending:
            del self._sending[answer]
            self._held -= answer.n_bytes

    async def send(self, content: bytes, send: Send) -> None:
        """Send the body of an answer. Where its client is too slow, stop in the middle, which ends the connection."""
        if len(content) <= _SMALL_BYTES:
            await send({"type": "http.response.body", "body": content})
            return
        with anyio.CancelScope() as scope:
            answer = _Sending(len(content), anyio.current_time(), scope)
            self._sending[answer] = None
            self._held += answer.n_bytes
            try:
                for start in range(0, len(content), STEP_BYTES):
                    answer.since = anyio.current_time()
                    scope.deadline = answer.since + self._seconds
                    stop = start + STEP_BYTES
                    await send(
                        {
                            "type": "http.response.body",
                            "body": content[start:stop],
                            "more_body": stop < len(content),
                        }
                    )
            finally:
                self._end(answer)
        if scope.cancelled_caught:
            logger.info("an answer of %d bytes was taken too slowly", len(content))


class Answer(Response):
    """An answer that is counted until it is sent.

    Args:
        answers: Counts it.
        content: Its body.
        status_code: Its status.
        headers: Its headers.
        media_type: Its content type.
    """

    def __init__(
        self,
        answers: Answers,
        content: bytes,
        status_code: int,
        headers: Mapping[str, str],
        media_type: str,
    ) -> None:
        super().__init__(content, status_code, headers, media_type)
        self._answers = answers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        head = {
            "type": "http.response.start",
            "status": self.status_code,
            "headers": self.raw_headers,
        }
        await send(head)
        await self._answers.send(bytes(self.body), send)
