"""`RemoteScan`: a scan that a server reads, a piece for a request."""

from __future__ import annotations

import contextlib
import secrets
from collections import deque
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from chroma_nb.api.scanning import COPIES, Scan, piece_bytes
from chroma_nb.errors import ChromaError, InternalError, ServerUnavailableError
from chroma_nb.memory.workspace import NOTHING, WORKSPACE
from chroma_nb.wire.requests import ScanStep

if TYPE_CHECKING:
    from collections.abc import Callable

    from chroma_nb.api.scanning import ScanPiece
    from chroma_nb.wire.requests import ScanAnswer, Target


class RemoteScans:
    """The scans that a client reads from a server.

    Args:
        ask: Asks the server for a step of a scan of a target.
    """

    def __init__(self, ask: Callable[[Target, ScanStep], ScanAnswer]) -> None:
        self._ask = ask
        #: Each closes a scan that was dropped.
        self._dropped: deque[Callable[[], None]] = deque()

    def begin(self, target: Target, step: ScanStep) -> RemoteScan:
        """Return a scan that begins with this step."""
        self.close_dropped()
        return RemoteScan(partial(self._ask, target), step, self._dropped)

    def close_dropped(self) -> None:
        """Have the server close the scans that were dropped before they were read to their end."""
        while self._dropped:
            self._dropped.popleft()()


class RemoteScan(Scan):
    """A scan of a server's. It is closed there when it is read, closed, or not used for a while.

    Args:
        ask: Asks the server.
        step: The first request.
        dropped: Where the end of a scan is noted that was dropped: the next one that begins has it closed.
    """

    def __init__(
        self,
        ask: Callable[[ScanStep], ScanAnswer],
        step: ScanStep,
        dropped: deque[Callable[[], None]],
    ) -> None:
        #: "": the server has it no more.
        self._token = ""
        self._dropped = dropped
        self._held = NOTHING
        # Chosen here: what was begun can be closed although its answer never came.
        key = secrets.token_urlsafe(24)
        try:
            answer = ask(replace(step, key=key))
        except BaseException as error:
            if not isinstance(error, ChromaError) or isinstance(error, ServerUnavailableError):
                dropped.append(lambda: _close(ask, key))
            raise
        super().__init__(answer.n_records, answer.dimension)
        self._ask = ask
        self._include = step.include
        self._token = answer.scan if answer.piece is not None else ""
        #: What was read and not returned yet.
        self._ready = answer.piece
        self._number = 0
        self._n_left = answer.n_records

    def _next(self) -> ScanPiece | None:
        self._held.give_back()
        if self._ready is None and self._token:
            # Asked again under the same number, where the answer is lost.
            step = ScanStep(scan=self._token, piece=self._number + 1, include=self._include)
            self._ready = self._ask(step).piece
            self._number += 1
            if self._ready is None:
                self._token = ""
        piece = self._ready
        if piece is None:
            return None
        if len(piece) + piece.n_damaged > self._n_left:
            raise InternalError(
                f"The server returned more records than the {self.n_records:,} that the scan has. Is it a chroma_nb "
                "server, and no proxy that repeats answers?"
            )
        self._held = WORKSPACE.take_all(
            (COPIES - 1) * piece_bytes(piece),
            f"A piece of {len(piece):,} records",
            "do this where there is more memory",
        )
        self._n_left -= len(piece) + piece.n_damaged
        self._ready = None
        return piece

    def _end(self, reason: str) -> None:
        super()._end(reason)
        self._ready = None
        self._held.give_back()
        token, self._token = self._token, ""
        if token:
            _close(self._ask, token)

    def __del__(self) -> None:
        token, self._token = self._token, ""
        if token:
            # Not now: an object may be freed while its thread is in the middle of a request.
            ask = self._ask
            self._dropped.append(lambda: _close(ask, token))


def _close(ask: Callable[[ScanStep], ScanAnswer], token: str) -> None:
    # It may be closed there already, or the server be gone.
    with contextlib.suppress(ChromaError):
        ask(ScanStep(scan=token, close=True))
