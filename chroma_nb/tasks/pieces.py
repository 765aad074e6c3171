"""Embedding many texts by workers: cut into pieces, sent, heard, and put together. What no worker does is done here."""

from __future__ import annotations

import time
import uuid
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from chroma_nb.embedding.calls import embed_documents
from chroma_nb.errors import InvalidArgumentError, ServerUnavailableError
from chroma_nb.tasks.embedding import model_of, sendable
from chroma_nb.tasks.messages import (
    EMBED_TASK,
    PIECE_BYTES,
    PIECE_TEXTS,
    TEXT_QUEUE,
    RefusedError,
    packed_texts,
    text_bytes,
    unpacked_vectors,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from chroma_nb.tasks.line import Line
    from chroma_nb.tasks.workers import Workers

#: Fewer texts are embedded here: sending them would take longer.
FEW_TEXTS = 64
#: A piece of which nothing was heard for so long is embedded here, seconds.
SILENT_SECONDS = 60.0
#: Pieces for each process that computes: one that it works on, and one that waits.
_PER_SLOT = 2
#: How long it is listened for answers before anything else is looked at, seconds.
_LISTEN_SECONDS = 0.2
#: How often a broker that is gone is tried again in the middle of embedding, seconds.
_TRY_SECONDS = 5.0


@dataclass
class _Piece:
    """Texts start .. stop - 1."""

    start: int
    stop: int
    #: When something was last heard of it, or it was sent (monotonic).
    heard: float = 0.0


class Embedding:
    """The embedding of some texts by workers.

    Args:
        workers: The workers.
        function: The embedding function.
        texts: n texts.
        on_progress: Called with the number of texts that are done, each time.
        at_most: At most this many texts are given to the function in one call; None: as many as a piece has.
    """

    def __init__(
        self,
        workers: Workers,
        function: Callable[..., Any],
        texts: Sequence[str],
        on_progress: Callable[[int], object],
        at_most: int | None,
    ) -> None:
        self._workers = workers
        self._function = function
        self._texts = texts
        self._on_progress = on_progress
        self._waiting = deque(_cut(texts, min(PIECE_TEXTS, at_most or PIECE_TEXTS)))
        #: Task -> piece.
        self._sent: dict[str, _Piece] = {}
        self._mine: deque[_Piece] = deque()
        self._line: Line | None = None
        self._tried = 0.0
        self._whole: NDArray[np.float32] | None = None
        self._name = self._model = ""
        self._config: dict[str, Any] = {}

    def run(self) -> NDArray[np.float32] | None:
        """Return the embeddings, shape (n, dimension), float32; None: they are to be embedded here, which was said.

        Raises:
            ServerUnavailableError: Workers cannot do it, and the settings do not allow to do it here.
            InvalidArgumentError: The function returns something else than embeddings.
        """
        if not self._can_be_sent():
            return None
        try:
            if not self._begin():
                return None
            while self._waiting or self._sent or self._mine:
                self._step()
        except BaseException:
            self._take_back()
            raise
        if self._line is not None:
            self._workers.give_line(self._line)
        return self._whole

    def _can_be_sent(self) -> bool:
        """Say whether workers may be able to build the function."""
        try:
            self._name, self._config = sendable(self._function)
            self._model = model_of(self._function)
            why = self._workers.refusal_of(self._name, self._config)
        except RefusedError as error:
            why = str(error)
        if why:
            self._workers.fall_back(f"function {why}", why)
        return not why

    def _begin(self) -> bool:
        """Connect, and see whether anybody is there."""
        try:
            self._line = self._workers.take_line()
        except ServerUnavailableError as error:
            self._workers.fall_back("broker", str(error))
            return False
        if self._workers.roster.wait():
            return True
        self._workers.give_line(self._line)
        self._line = None
        self._workers.fall_back("nobody", self._workers.roster.why_nobody())
        return False

    def _step(self) -> None:
        roster = self._workers.roster
        roster.look()
        slots = roster.slots
        if self._line is None and time.monotonic() - self._tried > _TRY_SECONDS:
            self._connect_again()
        if self._line is not None:
            try:
                self._send(_PER_SLOT * slots)
                if self._sent:
                    self._listen(self._line)
            except ServerUnavailableError as error:
                self._lose_line(error)
        if self._sent and not slots:
            self._give_up(list(self._sent), "nobody", roster.why_nobody())
        silent = time.monotonic() - SILENT_SECONDS
        quiet = [task for task, piece in self._sent.items() if piece.heard < silent]
        if quiet:
            self._give_up(
                quiet, "silent", f"nothing was heard of a piece for {SILENT_SECONDS:.0f} s"
            )
        if self._mine:
            self._embed_here(self._mine.popleft())
        elif not self._sent and self._waiting and (self._line is None or not slots):
            self._embed_here(self._waiting.popleft())

    def _send(self, most: int) -> None:
        assert self._line is not None
        while self._waiting and len(self._sent) < most:
            piece = self._waiting[0]
            texts = self._texts[piece.start : piece.stop]
            if len(texts) == 1 and text_bytes(texts[0]) > PIECE_BYTES:
                self._mine.append(self._waiting.popleft())
                continue
            task = str(uuid.uuid4())
            message = packed_texts(self._name, self._config, texts, self._model)
            self._line.send(EMBED_TASK, message, task, queue=TEXT_QUEUE)
            piece.heard = time.monotonic()
            self._sent[task] = self._waiting.popleft()
            self._workers.tally.count(in_flight=1)

    def _listen(self, line: Line) -> None:
        for task, state, result in line.receive(0.0 if self._mine else _LISTEN_SECONDS):
            piece = self._sent.get(task)
            if piece is None:
                # It was begun a second time somewhere, or embedded here meanwhile.
                self._workers.tally.count(duplicates=int(state == "SUCCESS"))
                continue
            piece.heard = time.monotonic()
            if state == "SUCCESS":
                self._take(line, task, piece, result)
            elif state in ("FAILURE", "REVOKED", "REJECTED"):
                self._give_up([task], "failed", f"a worker could not do a piece ({_why(result)})")

    def _take(self, line: Line, task: str, piece: _Piece, result: Any) -> None:
        try:
            vectors = unpacked_vectors(result, piece.stop - piece.start)
        except RefusedError as error:
            why = f"a worker has answered: {error}"
            if not error.lasting:
                self._give_up([task], "failed", why)
                return
            # So would the others.
            self._workers.remember_refusal(self._name, self._config, why)
            self._give_up(list(self._sent), f"function {why}", why)
            self._mine.extend(self._waiting)
            self._waiting.clear()
            return
        del self._sent[task]
        line.forget([task])
        self._workers.tally.count(in_flight=-1, done=1)
        self._put(piece, vectors)

    def _give_up(self, tasks: list[str], kind: str, why: str) -> None:
        """Have pieces embedded here.

        Raises:
            ServerUnavailableError: The settings do not allow it.
        """
        self._workers.fall_back(kind, why)
        self._mine.extend(self._sent.pop(task) for task in tasks)
        self._workers.tally.count(in_flight=-len(tasks), failed=len(tasks))
        if self._line is not None:
            self._line.revoke(tasks)

    def _lose_line(self, error: ServerUnavailableError) -> None:
        """Begin again with what was sent: the broker may have lost it, and doing it twice is harmless."""
        assert self._line is not None
        self._line.close()
        self._line = None
        self._workers.tally.count(in_flight=-len(self._sent), failed=len(self._sent))
        self._workers.note(f"the line to the broker was lost: {error}")
        self._waiting.extendleft(reversed(self._sent.values()))
        self._sent.clear()
        self._connect_again()

    def _connect_again(self) -> None:
        self._tried = time.monotonic()
        try:
            self._line = self._workers.take_line()
        except ServerUnavailableError as error:
            self._workers.fall_back("broker", str(error))

    def _take_back(self) -> None:
        """Have nobody work for nothing."""
        sent = list(self._sent)
        self._sent.clear()
        self._workers.tally.count(in_flight=-len(sent))
        self._workers.revoke(sent)
        if self._line is not None:
            self._line.close()

    def _embed_here(self, piece: _Piece) -> None:
        self._put(piece, embed_documents(self._function, self._texts[piece.start : piece.stop]))
        self._workers.tally.count(done_here=1)

    def _put(self, piece: _Piece, vectors: NDArray[np.float32]) -> None:
        """Put vectors of shape (texts of the piece, dimension), float32, into their place."""
        if self._whole is None:
            self._whole = np.empty((len(self._texts), vectors.shape[1]), np.float32)
        if vectors.shape[1] != self._whole.shape[1]:
            raise InvalidArgumentError(
                f"Embedding function {self._name!r} returned {self._whole.shape[1]:,} numbers for some texts, and "
                f"{vectors.shape[1]:,} for text {piece.start:,}. All vectors must have one dimension."
            )
        self._whole[piece.start : piece.stop] = vectors
        self._on_progress(piece.stop - piece.start)


def _cut(texts: Sequence[str], most: int) -> Iterator[_Piece]:
    """Yield pieces of at most so many texts, and of `PIECE_BYTES` where they have more than one."""
    start = size = 0
    for at, text in enumerate(texts):
        n_bytes = text_bytes(text)
        if at > start and (at - start >= most or size + n_bytes > PIECE_BYTES):
            yield _Piece(start, at)
            start, size = at, 0
        size += n_bytes
    if start < len(texts):
        yield _Piece(start, len(texts))


def _why(result: Any) -> str:
    """Return what an answer says of an error."""
    if isinstance(result, dict):
        kind, message = result.get("exc_type"), result.get("exc_message")
        return f"{kind}: {message}"[:300]
    return str(result)[:300]
