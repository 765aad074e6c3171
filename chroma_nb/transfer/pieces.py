"""`add_pieces`: many records into a collection, piece by piece, after one check of all of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from chroma_nb.api.copying import PIECE_RECORDS
from chroma_nb.progress import progress_bar
from chroma_nb.transfer.report import TransferReport
from chroma_nb.validation import check_on_conflict, ids_exist

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from chroma_nb.collection import Collection
    from chroma_nb.types import OnConflict


class Rows(ABC):
    """Records on their way into a collection."""

    n_rows: int
    #: Of every row; checked, and each there once.
    ids: list[str]

    @abstractmethod
    def check(self, start: int, stop: int) -> None:
        """Raise what `piece` would raise of these rows; nothing is kept."""

    @abstractmethod
    def piece(self, rows: Sequence[int]) -> dict[str, Any]:
        """Return the arguments of `Collection.add` for these rows, in rising order, without the ids."""


def add_pieces(collection: Collection, rows: Rows, on_conflict: OnConflict) -> TransferReport:
    """Add records; every piece is checked before the first is written.

    Raises:
        IDAlreadyExistsError: An id exists and `on_conflict` is ``"error"``; nothing was written.
    """
    check_on_conflict(on_conflict)
    report = TransferReport(collection.name)
    if rows.n_rows > PIECE_RECORDS:
        for start, stop in _pieces(rows.n_rows):
            rows.check(start, stop)
    known = known_ids(collection, rows.ids)
    if known and on_conflict == "error":
        raise ids_exist([one for one in rows.ids if one in known], rows.n_rows, collection.name)
    left = known if on_conflict == "skip" else set()
    report.skipped = len(left)
    report.changed = len(known) - len(left)
    report.added = rows.n_rows - len(known)
    enabled = collection._client.get_settings().progress
    desc = f"Adding to {collection.name}"
    with progress_bar(rows.n_rows - len(left), desc, did="added", enabled=enabled) as bar:
        for start, stop in _pieces(rows.n_rows):
            chosen = [row for row in range(start, stop) if rows.ids[row] not in left]
            if chosen:
                ids = [rows.ids[row] for row in chosen]
                piece = rows.piece(chosen)
                if piece["embeddings"] is None and piece["uris"] is not None:
                    # `add` takes uris beside documents only where the embeddings are given.
                    piece["embeddings"] = collection._embed(piece["documents"])
                collection.add(ids=ids, **piece, on_conflict=on_conflict)
                bar.update(len(ids))
    return report


def _pieces(n_rows: int) -> Iterator[tuple[int, int]]:
    for start in range(0, n_rows, PIECE_RECORDS):
        yield start, min(start + PIECE_RECORDS, n_rows)


def known_ids(collection: Collection, ids: Sequence[str]) -> set[str]:
    """Return which of the ids the collection has."""
    found: set[str] = set()
    if not ids or not collection.count():
        return found
    for start, stop in _pieces(len(ids)):
        found.update(collection.get(ids=list(ids[start:stop]), include=[])["ids"])
    return found
