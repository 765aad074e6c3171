"""`OpenScans`: the scans that clients of a server are reading, each a piece for a request.

Between two requests nothing but the scan itself is there: no thread and no lock waits for a client. The last piece is
kept until the next one is asked for, as its answer may have been lost. What is not used for a while is closed.
"""

from __future__ import annotations

import contextlib
import secrets
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from chroma_nb.errors import ChromaError, MemoryBudgetError, NotFoundError
from chroma_nb.server.operations import check_include, handles
from chroma_nb.server.refusals import busy
from chroma_nb.server.shares import Shares
from chroma_nb.wire.requests import ScanAnswer, ScanStep

if TYPE_CHECKING:
    from collections.abc import Callable

    from chroma_nb.api.scanning import Scan, ScanPiece
    from chroma_nb.server.operations import Call
    from chroma_nb.settings import Settings
    from chroma_nb.wire.requests import Target

#: What a piece may have at most, and what it has where the client does not say; bytes.
_MOST_BYTES = 8 << 20
_PIECE_BYTES = 2 << 20
#: A client that has used up its share loses, for a new scan, the one that it has not used for the longest time, if that is at
#: least so long, seconds: interrupted cells and ended kernels leave scans behind.
_STALE_SECONDS = 10.0
#: How many scans that were read to their end are remembered, for clients that ask for the end again: its answer was lost.
_MOST_READ = 1_000


@dataclass(eq=False)
class _Open:
    """A scan that a client reads."""

    scan: Scan
    who: str
    target: Target
    #: When it was used last (the clock of `OpenScans`).
    used: float
    #: Held by the thread that reads its next piece.
    lock: threading.Lock = field(default_factory=threading.Lock)
    #: The last piece that was read, and its number.
    piece: ScanPiece | None = None
    number: int = -1


class OpenScans:
    """The open scans of a server. Safe for threads.

    Args:
        settings: `server_max_scans` and `server_scan_idle_seconds` are used.
        clock: Returns seconds that only grow.
    """

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = settings.server_max_scans
        self._idle_seconds = settings.server_scan_idle_seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._shares = Shares(self._most)
        self._open: dict[str, _Open] = {}
        #: Token of a scan that was read to its end -> the collection, the number of the end, and what was said of it.
        self._read: dict[str, tuple[Target, int, ScanAnswer]] = {}
        self._timer: threading.Timer | None = None
        self._is_closed = False

    def __len__(self) -> int:
        return len(self._open)

    def begin(
        self, who: str, target: Target, make: Callable[[], Scan], key: str = ""
    ) -> tuple[str, Scan]:
        """Open a scan, and return its token.

        Args:
            who: The client in whose share it counts.
            target: The collection.
            make: Makes the scan.
            key: The token that it is to have. Where that client has opened it already, it is this one. "": a new token.

        Raises:
            Refused: Too many are open.
        """
        known = self._open.get(key)
        if known is not None and (known.who, known.target) == (who, target):
            return key, known.scan
        self.close_idle()
        if not self._take(who):
            self._close_stale(who)
            if not self._take(who):
                raise busy(
                    f"{len(self._open)} scans are being read, {self._shares.held(who)} of them yours "
                    "(Settings.server_max_scans). Read fewer collections at a time, and close readers that are not read to "
                    "their end"
                )
        try:
            scan = make()
        except BaseException:
            with self._lock:
                self._shares.give_back(who)
            raise
        # Random, so that it cannot be guessed. It gives no permission: each request is authorised by its own credentials.
        token = key if key and known is None else secrets.token_urlsafe(24)
        with self._lock:
            self._open[token] = _Open(scan, who, target, self._clock())
            self._watch()
        return token, scan

    def read(self, token: str, target: Target, number: int) -> ScanAnswer:
        """Return a piece: the next one, or the last one once more. None after the last one is said again, too.

        Args:
            token: The scan's.
            target: The collection that the caller may read.
            number: The piece's, from 0.

        Raises:
            NotFoundError: There is no such scan, or not of this collection.
        """
        opened = self._open.get(token)
        if opened is None or opened.target != target:
            return self._end_again(token, target, number)
        with opened.lock:
            if self._open.get(token) is not opened:
                return self._end_again(token, target, number)
            if number not in (opened.number, opened.number + 1):
                raise self._not_open()
            opened.used = self._clock()
            try:
                if number > opened.number:
                    opened.piece = next(opened.scan, None)
                    opened.number = number
            except MemoryBudgetError:
                # The client may ask for it again.
                raise
            except BaseException:
                self._close(token, opened)
                raise
            opened.used = self._clock()
            answer = ScanAnswer(token, opened.scan.n_records, opened.scan.dimension, opened.piece)
            if answer.piece is None:
                with self._lock:
                    self._read[token] = target, number, answer
                    if len(self._read) > _MOST_READ:
                        del self._read[next(iter(self._read))]
                self._close(token, opened)
            return answer

    def _end_again(self, token: str, target: Target, number: int) -> ScanAnswer:
        """Return the end of a scan that was read to it."""
        read = self._read.get(token)
        if read is None or read[:2] != (target, number):
            raise self._not_open()
        return read[2]

    def end(self, token: str, target: Target) -> None:
        """Close a scan that its client does not read on; one that is not open is closed."""
        opened = self._open.get(token)
        if opened is not None and opened.target == target:
            with opened.lock:
                self._close(token, opened)

    def _not_open(self) -> NotFoundError:
        return NotFoundError(
            "This scan is not open at the server: it was read to its end or closed, it was not used for "
            f"{self._idle_seconds:g} s (Settings.server_scan_idle_seconds), it gave way to a newer one of the same client, or "
            "the server has been started again. Begin it again."
        )

    def _close(self, token: str, opened: _Open) -> None:
        """Close a scan whose lock this thread has."""
        with self._lock:
            if self._open.pop(token, None) is not None:
                self._shares.give_back(opened.who)
        opened.piece = None
        opened.scan.close()

    def _take(self, who: str) -> bool:
        with self._lock:
            return not self._is_closed and self._shares.take(who)

    def close_idle(self) -> None:
        """Close the scans that were not used for too long."""
        before = self._clock() - self._idle_seconds
        for token, opened in list(self._open.items()):
            if self._idle_seconds and opened.used <= before:
                self._close_if_unread(token, opened)

    def _close_stale(self, who: str) -> None:
        """Close the scan of a client that was not used for the longest time, if that is long enough."""
        before = self._clock() - _STALE_SECONDS
        for token, opened in sorted(self._open.items(), key=lambda item: item[1].used):
            is_stale = opened.who == who and opened.used <= before
            if is_stale and self._close_if_unread(token, opened):
                return

    def _close_if_unread(self, token: str, opened: _Open) -> bool:
        """Close a scan, unless a thread is reading it; say whether it was closed."""
        if not opened.lock.acquire(blocking=False):
            return False
        try:
            self._close(token, opened)
        finally:
            opened.lock.release()
        return True

    def _watch(self) -> None:
        """Have idle scans closed although nobody asks for anything. The caller holds the lock."""
        if self._timer is None and self._open and self._idle_seconds and not self._is_closed:
            first = min(opened.used for opened in self._open.values())
            seconds = max(0.05, first + self._idle_seconds - self._clock())
            self._timer = threading.Timer(seconds, self._look)
            self._timer.name = "chroma_nb server scans"
            self._timer.daemon = True
            # A machine that has no thread left closes them when the next one is begun.
            try:
                self._timer.start()
            except RuntimeError:
                self._timer = None

    def _look(self) -> None:
        self.close_idle()
        with self._lock:
            self._timer = None
            self._watch()

    def close(self) -> None:
        """Close all of them, and open no more."""
        with self._lock:
            self._is_closed = True
            timer = self._timer
        if timer is not None:
            timer.cancel()
        for token, opened in list(self._open.items()):
            with opened.lock, contextlib.suppress(ChromaError):
                self._close(token, opened)


@handles
def scan(call: Call[ScanStep]) -> ScanAnswer:
    """Read a collection at one version, piece by piece: begin, go on, or close."""
    asked, scans = call.request, call.scans
    assert scans is not None
    if asked.close:
        scans.end(asked.scan, call.target)
        return ScanAnswer(asked.scan, 0, 0, None)
    if asked.scan:
        return scans.read(asked.scan, call.target, asked.piece)
    check_include(asked.include)
    token, _ = scans.begin(
        call.who,
        call.target,
        lambda: call.api.scan(
            call.collection_id,
            ids=asked.ids,
            where=asked.where,
            where_document=asked.where_document,
            include=asked.include,
            piece_bytes=min(asked.piece_bytes or _PIECE_BYTES, _MOST_BYTES),
            skip_damaged=asked.skip_damaged,
            **call.where_to,
        ),
        asked.key,
    )
    try:
        return scans.read(token, call.target, 0)
    except BaseException:
        # Its client will not know the token.
        scans.end(token, call.target)
        raise
