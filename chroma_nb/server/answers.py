"""Answers on their way to clients: how much memory all of them may hold, and how slowly one may be taken.

An answer is in memory until its client has taken it. Who asks for much and reads slowly would fill the memory, so
answers are counted as bodies are: a slow one ends, and the slowest first where others need the room.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

import anyio
from starlette.responses import Response

from chroma_nb.memory.workspace import WORKSPACE
from chroma_nb.server.bodies import MAX_HELD, STALLED, STEP
from chroma_nb.server.refusals import busy

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.types import Receive, Scope, Send

logger = logging.getLogger("chroma_nb.server")

#: What is on its way in the system's own buffers is not looked at.
_SMALL = 2**16


@dataclass(eq=False)
class _Leaving:
    """An answer that is being sent."""

    n_bytes: int
    since: float
    scope: anyio.CancelScope


class Answers:
    """Sends answers within limits, and counts what they hold until they are taken.

    Args:
        max_body: Bytes of the largest body.
        seconds: How long a client may take for a step of 256 KiB; 0 is for ever.
    """

    def __init__(self, max_body: int, seconds: float) -> None:
        self._most = MAX_HELD * max_body
        self._seconds = seconds or float("inf")
        self._held = 0
        self._leaving: dict[_Leaving, None] = {}

    def make_room(self, n_bytes: int) -> None:
        """See to it that an answer of so many bytes, which is made already, may be kept until it is sent.

        Raises:
            Refused: There is no room; all others move on.
        """
        if n_bytes <= _SMALL:
            return
        # The machine's figure has all of them in it.
        while self._held + n_bytes > self._most or (self._held and not WORKSPACE.free()):
            slowest = min(self._leaving, key=lambda one: one.since, default=None)
            if slowest is None:
                return
            if anyio.current_time() - slowest.since < STALLED:
                raise busy("its answers wait for their clients to take them")
            self._end(slowest)
            slowest.scope.cancel()

    def _end(self, one: _Leaving) -> None:
        if one in self._leaving:
            del self._leaving[one]
            self._held -= one.n_bytes

    async def send(self, content: bytes, send: Send) -> None:
        """Send a body, if its client takes it in time; else stop in the middle, which ends the connection."""
        if len(content) <= _SMALL:
            await send({"type": "http.response.body", "body": content})
            return
        with anyio.CancelScope() as scope:
            one = _Leaving(len(content), anyio.current_time(), scope)
            self._leaving[one] = None
            self._held += one.n_bytes
            try:
                for start in range(0, len(content), STEP):
                    one.since = anyio.current_time()
                    scope.deadline = one.since + self._seconds
                    stop = start + STEP
                    await send(
                        {
                            "type": "http.response.body",
                            "body": content[start:stop],
                            "more_body": stop < len(content),
                        }
                    )
            finally:
                self._end(one)
        if scope.cancelled_caught:
            logger.info("an answer of %d bytes was taken too slowly", len(content))


class Answer(Response):
    """An answer that is counted until it is taken.

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
