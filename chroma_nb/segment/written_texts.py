"""`WrittenTexts`: the texts of a write, merged with those of the records that it changes, piece by piece.

What a record keeps is read as the DB holds it, its metadata as JSON text, and only the columns that a row does not
give. Of metadata as dicts there is one piece at a time.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import numpy as np

from chroma_nb.db.stored_metadata import metadata_json, read_metadata
from chroma_nb.memory.lender import LENDERS
from chroma_nb.memory.preflight import MAKE_ROOM
from chroma_nb.memory.sizes import objects_bytes, utf8_length
from chroma_nb.memory.trim import return_memory
from chroma_nb.memory.workspace import NOTHING, SMALL_BYTES, WORKSPACE
from chroma_nb.types import MOST_METADATA_KEYS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from chroma_nb.db.base import DB
    from chroma_nb.memory.workspace import Grant
    from chroma_nb.segment.base import MetadataReader
    from chroma_nb.types import Metadata, RecordBatch

#: Bytes of texts of records that are changed together, and how many times as much their metadata takes as objects.
_PIECE_BYTES = 4 << 20
_OBJECT_TIMES = 8
#: A piece is there as the DB's answer, as tuples and as columns.
_PIECE_COPIES = 3
#: A row without its texts: a text's own bytes, its places in lists, labels and numbers.
_ROW_BYTES = 200
_MOST_TIMES = 4.0
#: How many records a write's size is judged by, and how much of them is read for that at most.
_SAMPLE = 32
_SAMPLE_BYTES = 1 << 20
#: The keys of so many records are noted in one step.
_NOTED_TOGETHER = 256
#: A part that a refusal names takes what is free divided by this: the DB needs room for it as well.
_PART_SHARE = 4
#: The DB's columns -> what a reader calls them.
_INCLUDED = {"document": "documents", "uri": "uris", "metadata": "metadatas"}


class WrittenTexts:
    """The texts and metadata of rows that are about to be written.

    Args:
        batch: The records that were given.
        rows: The rows of the batch to write, int64, shape (n,).
        labels: The label of the record that each of them changes, -1 for a new one; shape (n,).
        sequences: Their places in storage order, shape (n,); `merged` fills in those of the records that change.
        reader: Where these records are read from.
        keep: Keep what a row does not give of the record that it changes; else replace it whole.
    """

    def __init__(
        self,
        batch: RecordBatch,
        rows: NDArray[np.int64],
        labels: NDArray[np.int64],
        sequences: NDArray[np.int64],
        reader: MetadataReader,
        *,
        keep: bool,
    ) -> None:
        self._reader = reader
        self._labels = labels
        self._sequences = sequences
        self._keep = keep
        #: The rows that change a record.
        self._changed = np.flatnonzero(labels >= 0)
        everything = len(rows) == len(batch)

        def column(values: Sequence[Any] | None) -> list[Any]:
            if values is None:
                return [None] * len(rows)
            return list(values) if everything else [values[row] for row in rows.tolist()]

        self.documents: list[str | None] = column(batch.documents)
        self.uris: list[str | None] = column(batch.uris)
        self._given: list[Metadata | None] = column(batch.metadatas)
        #: As JSON text, once they are merged.
        self.metadatas: list[str | None] = []
        #: The metadata keys that were given, None where they are too many to list; and whether a value of None takes
        #: one away from a record. Known once the metadata are merged.
        self.keys: set[str] | None = set()
        self.drops_keys = False

    @contextlib.contextmanager
    def merged(self, name: str, budget: int, db: DB) -> Iterator[None]:
        """Hold the memory of what is written while it is; it is merged at the beginning of the block.

        Args:
            name: The collection's, for the error.
            budget: The budget in force, bytes.
            db: What the records are read from and written to.

        Raises:
            MemoryBudgetError: It is not free.
        """
        with self._room(name, budget, db) as room:
            try:
                self._merge_all()
                yield
            except BaseException:
                if room.n_bytes > SMALL_BYTES:
                    # The error keeps its frames for a while, and these keep the lists.
                    for column in (self.documents, self.uris, self.metadatas):
                        column.clear()
                    return_memory()
                raise

    def _room(self, name: str, budget: int, db: DB) -> Grant:
        """Take the memory of what is made and kept here; refuse what does not fit before any is made."""
        n_rows = len(self._labels)
        most = 4 * self._reader.longest if self._keep and len(self._changed) else 0
        if n_rows <= _SAMPLE and n_rows * (most + _ROW_BYTES) <= SMALL_BYTES:
            # Few records need no closer look.
            return NOTHING
        need = self._kept_objects() + self._encoded_bytes() + _ROW_BYTES * n_rows
        if need <= SMALL_BYTES:
            return NOTHING
        need += min(need * _OBJECT_TIMES, _PIECE_COPIES * _PIECE_BYTES)
        kept = self._kept()
        if kept:
            # Reading them fills the memory that the DB has but does not use yet.
            need += max(0, db.memory_limit - db.memory_bytes)
        free = WORKSPACE.free() + LENDERS.lendable()
        part = n_rows * free // (_PART_SHARE * need)
        ways = [f"write fewer in one call: {part:,} records"] if part else []
        return WORKSPACE.take_all(
            need,
            f"Writing {n_rows:,} records to collection [{name}]"
            + (", with what they keep," if kept else ""),
            *ways,
            MAKE_ROOM,
            budget=budget,
        )

    def _merge_all(self) -> None:
        """Fill what rows do not give from the records that they change, and encode the metadata."""
        changed, n_rows = self._changed, len(self._given)
        self.metadatas = [None] * n_rows
        for start in range(0, n_rows, _NOTED_TOGETHER):
            self._note([one for one in self._given[start : start + _NOTED_TOGETHER] if one])
        if len(changed):
            step = max(
                1, _PIECE_BYTES * len(changed) // (self._kept_bytes() + _ROW_BYTES * len(changed))
            )
            for start in range(0, len(changed), step):
                self._merge(changed[start : start + step])
        alone = np.ones(n_rows, dtype=bool)
        if self._keep:
            alone[changed] = False
        for at in np.flatnonzero(alone).tolist():
            given = self._given[at]
            self.metadatas[at] = None if given is None else metadata_json(given)
        self._given = []

    def _merge(self, places: NDArray[np.int64]) -> None:
        """Merge the records that some rows change."""
        rows = places.tolist()
        columns = []
        if self._keep:
            columns = [name for name, of in self._columns() if any(of[at] is None for at in rows)]
            columns.append("metadata")
        old = self._reader.stored(self._labels[places], columns)
        self._sequences[places] = old.sequences
        if not self._keep:
            return
        texts = {"document": old.documents, "uri": old.uris}
        for name, column in self._columns():
            if name in columns:
                for at, text in zip(rows, texts[name], strict=True):
                    if column[at] is None:
                        column[at] = text
        for at, text in zip(rows, old.metadatas, strict=True):
            given = self._given[at]
            if given is None:
                self.metadatas[at] = text
            else:
                had = read_metadata(text) or {}
                self.metadatas[at] = metadata_json({**had, **given})

    def _columns(self) -> tuple[tuple[str, list[str | None]], ...]:
        return ("document", self.documents), ("uri", self.uris)

    def _note(self, given: Sequence[Metadata]) -> None:
        """Take note of the keys of some records."""
        if any(None in one.values() for one in given):
            self.drops_keys = True
            given = [
                {key: value for key, value in one.items() if value is not None} for one in given
            ]
        if self.keys is not None:
            self.keys.update(*given)
            if len(self.keys) > MOST_METADATA_KEYS:
                self.keys = None

    # -- sizes ----------------------------------------------------------------------------------

    def _kept(self) -> list[tuple[str, NDArray[np.int64]]]:
        """Return the columns of which something is kept, with the rows of these records."""
        if not self._keep or not len(self._changed):
            return []
        rows = self._changed.tolist()
        found = []
        for name, column in self._columns():
            missing = [at for at in rows if column[at] is None]
            if missing:
                found.append((name, np.array(missing, dtype=np.int64)))
        return [*found, ("metadata", self._changed)]

    def _kept_bytes(self) -> int:
        """Return the UTF-8 bytes of what is kept, with the ids beside it."""
        return sum(
            self._reader.text_bytes(self._labels[rows], [_INCLUDED[name]])
            for name, rows in self._kept()
        )

    def _kept_objects(self) -> int:
        """Return the bytes of what is kept as texts in memory, judging by some of them."""
        total = 0
        for name, rows in self._kept():
            labels = self._labels[rows]
            n_bytes = self._reader.text_bytes(labels, [_INCLUDED[name]])
            n_some = min(_SAMPLE, max(1, _SAMPLE_BYTES * len(rows) // max(1, n_bytes)))
            old = self._reader.stored(labels[:: -(-len(labels) // n_some)], (name,))
            some = {"document": old.documents, "uri": old.uris, "metadata": old.metadatas}[name]
            # A text with letters beyond Latin takes up to four bytes for each of its letters.
            times = objects_bytes(some) / max(1, sum(map(utf8_length, some)))
            total += int(n_bytes * min(max(1.0, times), _MOST_TIMES))
        return total

    def _encoded_bytes(self) -> int:
        """Return the bytes of the metadata that were given as JSON text, judging by some of them."""
        n = len(self._given)
        some = self._given[:: -(-n // _SAMPLE)]
        return n * objects_bytes([metadata_json(given) for given in some if given]) // len(some)
