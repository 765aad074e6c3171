"""`Scan`: a collection's records at one version, piece by piece; and how large a piece may be."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from chroma_nb.compact_json import parsed_together
from chroma_nb.errors import InternalError, MemoryBudgetError
from chroma_nb.memory.preflight import over_budget
from chroma_nb.memory.sizes import objects_bytes, utf8_length
from chroma_nb.memory.workspace import NOTHING, WORKSPACE
from chroma_nb.texts import Texts
from chroma_nb.types import RecordBatch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

    import numpy as np
    from numpy.typing import NDArray

#: Memory of a piece on its way: of its records, and of all that is made of them to be written or sent; bytes.
PIECE_BYTES = 32 << 20
#: The same in multiples of its records.
COPIES = 4
#: All that a scan can return beside the ids.
EVERYTHING = ("embeddings", "documents", "metadatas", "uris")
#: Long texts take this many times their size where they are written.
_TEXT_COPIES = 8
#: Records of the first piece at most; it is one record where the sizes of texts are not known.
_FIRST_RECORDS = 64
#: A piece has at most this many times the records of the one before.
_GROWTH = 8
#: Records that the size of a piece's metadata is judged by, where it is objects.
_SAMPLE = 32
#: What a record takes beside its texts and its embedding: places in lists, offsets, the allocator's rounding.
_RECORD_BYTES = 100
#: The reason of a scan that was read to its end.
_READ = "read"


@dataclass
class ScanPiece:
    """Some records of a scan, as columns of n rows; what was not asked for is None.

    A column of texts is a list, or `Texts` where nobody needs objects of it.

    It has no record only where all of them were left out as damaged.
    """

    ids: Sequence[str]
    #: Shape (n, dimension), float32, C-contiguous. (0, 0) where there is no record.
    embeddings: NDArray[np.float32] | None = None
    documents: Sequence[str | None] | None = None
    #: Each a JSON object as text, or None: so a transport or a file need not write it once more.
    metadatas: Sequence[str | None] | None = None
    uris: Sequence[str | None] | None = None
    #: Records that were left out here, as their embeddings are damaged.
    n_damaged: int = 0

    def __len__(self) -> int:
        return len(self.ids)

    def batch(self) -> RecordBatch:
        """Return the records as they are written: metadata as dicts."""
        metadatas: list[dict[str, Any] | None] | None = None
        if self.metadatas is not None:
            texts = list(self.metadatas)
            metadatas = parsed_together(texts)
            if metadatas is None:
                # Says which one is none.
                metadatas = [None if one is None else json.loads(one) for one in texts]
        documents = None if self.documents is None else list(self.documents)
        uris = None if self.uris is None else list(self.uris)
        return RecordBatch(list(self.ids), self.embeddings, documents, uris, metadatas)


class Scan(ABC):
    """Yields a collection's records at one version: a `ScanPiece` at a time, in storage order.

    Until the next piece is asked for, a piece has its memory in the account, and that of what is made of it. A scan
    that is not read to its end is closed with `close`, as a context, or by dropping it. One thread uses it at a time.
    An interrupt or a `MemoryBudgetError` skips nothing: the next call returns the same piece.

    Args:
        n_records: How many records it has, those included that are left out as damaged.
        dimension: Floats of an embedding; 0 where the collection has none yet.
    """

    def __init__(self, n_records: int, dimension: int) -> None:
        self.n_records = n_records
        self.dimension = dimension
        #: "": it is open. Otherwise why it yields no more.
        self._ended = ""

    def __iter__(self) -> Scan:
        return self

    def __next__(self) -> ScanPiece:
        """Return the next piece; the last one is followed by `StopIteration`.

        Raises:
            NotFoundError: The collection was deleted, or the server has ended the scan.
            InternalError: The scan or its store was closed, or records could not be kept for it.
            MemoryBudgetError: There is no room for a record alone.
            StoreCorruptError: Records are damaged.
        """
        if self._ended == _READ:
            raise StopIteration
        self._check_not_ended()
        piece = self._next()
        if piece is None:
            self._end(_READ)
            raise StopIteration
        return piece

    def _check_not_ended(self) -> None:
        if self._ended:
            raise InternalError(f"The scan was ended before all was read: {self._ended}.")

    @abstractmethod
    def _next(self) -> ScanPiece | None:
        """Return the next piece; None: there is no more."""

    def close(self) -> None:
        """Let go of all that it holds. Closing twice is allowed."""
        self._end("it was closed")

    def _end(self, reason: str) -> None:
        self._ended = self._ended or reason

    def __enter__(self) -> Scan:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class _Columns(Protocol):
    """Records as columns: a `ScanPiece`, or `Records`."""

    @property
    def ids(self) -> Sequence[str]: ...
    @property
    def embeddings(self) -> NDArray[np.float32] | None: ...
    @property
    def documents(self) -> Sequence[str | None] | None: ...
    @property
    def uris(self) -> Sequence[str | None] | None: ...


C = TypeVar("C", bound=_Columns)


class Pieces(ABC, Generic[C]):
    """Reads rows 0 .. n_rows - 1 of something in pieces for which there is room.

    Args:
        n_rows: How many rows there are.
        row_bytes: What a record takes on average, bytes; None: not known.
        piece_bytes: What a piece may have, bytes; a single record may have more.
        most_rows: Rows of a piece at most, whatever their size; None: only its bytes count.
    """

    #: A row that does not fit is an error of `_too_large`; else it is the one that reading it has raised.
    _names_rows = True

    def __init__(
        self,
        n_rows: int,
        row_bytes: int | None,
        piece_bytes: int = PIECE_BYTES // COPIES,
        most_rows: int | None = None,
    ) -> None:
        self.n_rows = n_rows
        #: The first row of the next piece.
        self.at = 0
        self._piece_bytes = piece_bytes
        self._most_rows = most_rows or n_rows
        if row_bytes is None:
            self._average_bytes, self._next_rows = 1, 1
        else:
            self._average_bytes, self._next_rows = row_bytes, _FIRST_RECORDS
        self._held = NOTHING

    @abstractmethod
    def read(self, start: int, stop: int, waits: bool) -> C | None:
        """Return the records of rows start .. stop - 1 that are there; None where none is.

        Args:
            start: The first row.
            stop: One past the last row.
            waits: Whether to wait for memory. There has to be room for `COPIES` of the piece.

        Raises:
            MemoryBudgetError: There is not.
        """

    @abstractmethod
    def name(self, row: int) -> str:
        """Return the id of a row's record, for the error that it does not fit."""

    def next(self) -> C | None:
        """Return the next piece that says something; None: there is no more. What the one before it took is given back.

        Raises:
            MemoryBudgetError: There is no room for a record alone.
        """
        self.release()
        while self.at < self.n_rows:
            with WORKSPACE.take(COPIES * self._piece_bytes) as room:
                n_rows = min(
                    self._next_rows, self._most_rows, room.rows(COPIES * self._average_bytes)
                )
                n_free = room.n_bytes
            stop = min(self.at + n_rows, self.n_rows)
            n_rows = stop - self.at
            try:
                # Those of a piece may be longer than others: refused before they are read, where that is known.
                # Half of them now are better than all of them later.
                found = self.read(self.at, stop, n_rows == 1)
                n_bytes = made = to_write = 0
                if found is not None:
                    n_bytes = _piece_bytes(found, _objects_bytes)
                    # What is made of it is in UTF-8: of most texts beyond Latin less than what was read.
                    made = _piece_bytes(found, _utf8_bytes)
                    to_write = _TEXT_COPIES * _text_bytes(found)
                held = WORKSPACE.take_all((COPIES - 1) * made, *self._said_of(self.at, n_rows))
            except MemoryBudgetError as error:
                found = None
                if n_rows == 1:
                    if not self._names_rows:
                        raise
                    raise _too_large(error, self._said_of(self.at, 1)) from error
                self._next_rows = n_rows // 2
                continue
            if n_rows > 1 and to_write > n_free:
                # Long texts after short ones: to write them at once takes many times their size.
                found = None
                held.give_back()
                self._next_rows = n_rows // 2
                continue
            if found is None:
                held.give_back()
                self.at = stop
                continue
            if found.ids:
                # The next piece is not read twice because its texts are too long to be written at once.
                self._average_bytes = max(n_bytes, to_write // COPIES) // len(found.ids)
                self._next_rows = _GROWTH * n_rows
            self._held = held
            says_something = bool(found.ids) or (
                isinstance(found, ScanPiece) and found.n_damaged > 0
            )
            # Last: a piece that an interrupt keeps from the caller is read again.
            self.at = stop
            if says_something:
                return found
        return None

    def release(self) -> None:
        """Give back what the last piece took."""
        held, self._held = self._held, NOTHING
        held.give_back()

    def _said_of(self, row: int, n_rows: int) -> tuple[str, ...]:
        """Return what is said of a record that does not fit: what it is, and the ways out."""
        # Several rows that do not fit are read again as fewer, and nobody sees the message.
        name = self.name(row) if n_rows == 1 else ""
        return (
            f"A copy of the record {name!r:.80}, with all that is read for it,",
            f"read it alone, and part by part: get(ids=[{name!r:.80}], include=[...])",
            "do this where there is more memory",
        )


class SizedScan(Scan, Pieces[ScanPiece]):
    """A scan that reads rows which it chose when it began.

    Args:
        n_records: How many.
        dimension: Floats of an embedding.
        row_bytes: What a record takes on average, bytes; None: not known.
        piece_bytes: What a piece may have, bytes; None is `PIECE_BYTES / COPIES`.
        most_rows: Rows of a piece at most; None: only its bytes count.
    """

    def __init__(
        self,
        n_records: int,
        dimension: int,
        row_bytes: int | None,
        piece_bytes: int | None = None,
        most_rows: int | None = None,
    ) -> None:
        Scan.__init__(self, n_records, dimension)
        each = PIECE_BYTES // COPIES if piece_bytes is None else max(1, piece_bytes)
        Pieces.__init__(self, n_records, row_bytes, each, most_rows)

    def _next(self) -> ScanPiece | None:
        return self.next()

    def _end(self, reason: str) -> None:
        super()._end(reason)
        self.release()


def _too_large(error: MemoryBudgetError, said: tuple[str, ...]) -> MemoryBudgetError:
    """Return the error of one record that does not fit."""
    made = over_budget(error.need, error.free, error.budget, *said)
    made.may_fit_later = error.may_fit_later
    return made


def _text_bytes(found: _Columns) -> int:
    """Return the bytes of the documents and uris of these records."""
    return _objects_bytes(found.documents or ()) + _objects_bytes(found.uris or ())


def piece_bytes(piece: ScanPiece) -> int:
    """Return what the records of a piece take, their texts in UTF-8; bytes."""
    return _piece_bytes(piece, _utf8_bytes)


def _utf8_bytes(texts: Sequence[str | None]) -> int:
    return texts.n_bytes if isinstance(texts, Texts) else sum(map(utf8_length, texts))


def _objects_bytes(texts: Sequence[str | None]) -> int:
    return texts.objects_bytes() if isinstance(texts, Texts) else objects_bytes(texts)


def _piece_bytes(found: Any, of_texts: Callable[[Sequence[Any]], int]) -> int:
    """Return what these records take, bytes: of their metadata, judged by some of them.

    Args:
        found: The records.
        of_texts: Returns what a column of texts takes.
    """
    n_bytes = _RECORD_BYTES * len(found.ids)
    n_bytes += 0 if found.embeddings is None else found.embeddings.nbytes
    for column in (found.ids, found.documents, found.uris):
        n_bytes += of_texts(column or ())
    metadatas = found.metadatas or []
    if isinstance(found, ScanPiece):
        return n_bytes + of_texts(metadatas)
    some = metadatas[:: max(1, len(found.ids) // _SAMPLE)]
    return n_bytes + objects_bytes(some) * len(found.ids) // max(1, len(some))
