"""`add_pieces`: many records into a collection, piece by piece, after one check of all of them."""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, NamedTuple

from chroma_nb.api.copying import PIECE_RECORDS
from chroma_nb.errors import InvalidDimensionException, MemoryBudgetError, with_way_out
from chroma_nb.progress import progress_bar
from chroma_nb.transfer.decoded import COPIES, HELD_COPIES, piece_room
from chroma_nb.transfer.report import TransferReport
from chroma_nb.transfer.stores import place_of
from chroma_nb.validation import check_insert, check_on_conflict, ids_exist

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from chroma_nb.collection.collection import Collection
    from chroma_nb.types import OnConflict


class Window(NamedTuple):
    """Rows that are read and written together.

    Attributes:
        start: The first.
        stop: One past the last.
        n_bytes: What they decode to; 0 where nothing is decoded.
    """

    start: int
    stop: int
    n_bytes: int


class Rows(ABC):
    """Records on their way into a collection."""

    n_rows: int
    #: Of every row; checked, and each there once.
    ids: list[str]

    def window(self, start: int, n_bytes: int) -> Window:
        """Return the piece that begins at row `start`: it is bounded in rows and in bytes.

        Args:
            start: The first row.
            n_bytes: What the rows may decode to; one row may be larger.

        Raises:
            ValueError: The rows are larger than is reasonable, or than there is room for.
        """
        return Window(start, min(start + PIECE_RECORDS, self.n_rows), 0)

    def windows(self) -> Iterator[Window]:
        """Yield the pieces. What one takes is granted until the next is asked for."""
        start = 0
        while start < self.n_rows:
            with piece_room() as room:
                window = self.window(start, room.n_bytes // COPIES)
                # What writes them is granted what that takes.
                room.keep(HELD_COPIES * window.n_bytes)
                yield window
            start = window.stop

    @abstractmethod
    def piece(self, rows: Sequence[int], *, counted: bool = True) -> dict[str, Any]:
        """Return the arguments of `Collection.add` for these rows, in rising order, without the ids.

        Args:
            rows: Which.
            counted: What changes on the way counts for the report.
        """


def add_pieces(
    collection: Collection, rows: Rows, on_conflict: OnConflict, *, is_checked: bool = False
) -> TransferReport:
    """Add records; every piece is checked before the first is written.

    Args:
        collection: Where to.
        rows: The records.
        on_conflict: As in `Collection.add`.
        is_checked: `check_rows` has found no fault in them.

    Raises:
        IDAlreadyExistsError: An id exists and `on_conflict` is ``"error"``; nothing was written.
        MemoryBudgetError: There is no room for a piece; it says how many records were added before.
    """
    check_on_conflict(on_conflict)
    report = TransferReport(collection.name)
    dimension = collection.get_model().dimension
    # Their dimension was not, where somebody has added records meanwhile.
    is_checked = is_checked and dimension is None
    if not is_checked and _are_several(rows):
        check_rows(rows, collection.name, dimension)
    known = known_ids(collection, rows.ids)
    if known and on_conflict == "error":
        raise ids_exist([one for one in rows.ids if one in known], rows.n_rows, collection.name)
    left = known if on_conflict == "skip" else set()
    report.skipped = len(left)
    report.changed = len(known) - len(left)
    report.added = rows.n_rows - len(known)
    enabled = collection.client.get_settings().progress
    desc = f"Adding to {collection.name}"
    written = 0
    try:
        with progress_bar(rows.n_rows - len(left), desc, did="added", enabled=enabled) as bar:
            for start, stop, _ in rows.windows():
                chosen = [row for row in range(start, stop) if rows.ids[row] not in left]
                if chosen:
                    ids = [rows.ids[row] for row in chosen]
                    piece = rows.piece(chosen)
                    if piece["embeddings"] is None and piece["uris"] is not None:
                        # `add` takes uris beside documents only where the embeddings are given.
                        piece["embeddings"] = collection.embed_documents(piece["documents"])
                    collection.add(ids=ids, **piece, on_conflict=on_conflict)
                    written += len(ids)
                    bar.update(len(ids))
    except MemoryBudgetError as error:
        raise _with_progress(error, written, rows.n_rows - len(left)) from None
    return report


def _are_several(rows: Rows) -> bool:
    """Say whether there is more than one piece. One is checked as a whole when it is written."""
    return any(window.stop < rows.n_rows for window in itertools.islice(rows.windows(), 1))


def _with_progress(error: MemoryBudgetError, written: int, n_rows: int) -> MemoryBudgetError:
    """Say in an error what is there already, and how the rest gets there."""
    if written:
        error.args = (
            f"{error.args[0]} {written:,} of {n_rows:,} records were added before; on_conflict='skip' passes over them, and "
            "adds the others, when the call is repeated.",
        )
    return error


def check_rows(rows: Rows, name: str, dimension: int | None) -> None:
    """Check every piece as the write of it will, but for what embedding functions return.

    Args:
        rows: The records.
        name: The collection's.
        dimension: Of its embeddings; None: it has none yet.

    Raises:
        ValueError: As `Collection.add`, with the rows; nothing was written.
    """
    for start, stop, _ in rows.windows():
        piece = rows.piece(range(start, stop), counted=False)
        uris = piece.pop("uris") if piece["embeddings"] is not None else None
        try:
            given = check_insert(rows.ids[start:stop], images=None, **{**piece, "uris": uris})
        except (ValueError, TypeError) as error:
            raise with_way_out(
                error, f"It is among the rows {start:,} to {stop - 1:,}. Nothing was added."
            ) from None
        embeddings = given.batch.embeddings
        if embeddings is not None:
            if dimension is not None and embeddings.shape[1] != dimension:
                raise InvalidDimensionException(
                    f"Rows {start:,} to {stop - 1:,} have embeddings of dimension {embeddings.shape[1]}, and "
                    f"collection {name!r} or the rows before have {dimension}. Nothing was added."
                )
            dimension = embeddings.shape[1]


def known_ids(collection: Collection, ids: Sequence[str]) -> set[str]:
    """Return which of the ids the collection has."""
    found: set[str] = set()
    if not ids or not collection.count():
        return found
    at_once = place_of(collection).ids_at_once
    for start in range(0, len(ids), at_once):
        found.update(collection.get(ids=list(ids[start : start + at_once]), include=[])["ids"])
    return found
