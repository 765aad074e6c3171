"""`SparseIndexes`: inverted indexes of a loaded collection, made by the first query and brought up to date by later ones.

A commit only notes whose vectors are new, so that writing costs nothing more. A query looks at these records and makes
postings of them. Small postings are joined, so that there are few, and each entry is moved a few times only.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from chroma_nb.memory.workspace import WORKSPACE
from chroma_nb.segment import sparse_scores
from chroma_nb.segment.postings import BUILD_BYTES, Postings
from chroma_nb.segment.sparse_entries import TEXT_TIMES, Entries, Terms, entries_of
from chroma_nb.segment.text_pool import grown
from chroma_nb.special_keys import DOCUMENT_KEY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from chroma_nb.search.sparse import SparseVector
    from chroma_nb.segment.text_pool import TextPool

#: Owners of labels: nobody, as it has no vector or is no record; or not looked at yet. Others are numbers of postings.
_NOBODY, _NEW = 0, 255
#: Postings are joined with those before them that are up to this many times as large.
_JOINED_TIMES = 2
#: Postings of which fewer than this share of the records are still theirs are made again without the others.
_LIVE_SHARE = 0.75
#: Texts are read in pieces of so many bytes, and have about one entry for each `_ENTRY_TEXT_BYTES`.
_PIECE_BYTES = 1 << 20
_ENTRY_TEXT_BYTES = 10
#: The objects of an index, empty.
_OBJECT_BYTES = 1_000


@dataclass(frozen=True)
class _Owned:
    """Postings, and how many records they had when they were made."""

    postings: Postings
    n_records: int


@dataclass(frozen=True)
class SparseIndex:
    """The vectors of one key. Replaced as a whole by whoever brings it up to date, so that readers need no lock.

    Attributes:
        owners: Of each label the number of its postings, `_NOBODY` or `_NEW`: uint8, shape (capacity,).
        parts: Number -> postings. A record's entries in others than its owner's are of a vector that it had before.
    """

    owners: NDArray[np.uint8]
    parts: dict[int, _Owned]

    @property
    def nbytes(self) -> int:
        """Bytes of memory held."""
        return (
            _OBJECT_BYTES
            + self.owners.nbytes
            + sum(one.postings.nbytes for one in self.parts.values())
        )

    def live_parts(self) -> list[_LivePostings]:
        """Return what `sparse_scores.distances` reads."""
        return [_LivePostings(self, number) for number in self.parts]


class _LivePostings:
    """Postings of an index, of which some entries may be of vectors that records had before.

    Args:
        index: The index.
        number: That of the postings.
    """

    def __init__(self, index: SparseIndex, number: int) -> None:
        postings = index.parts[number].postings
        self.places, self.rows = postings.places, postings.rows
        self._owners, self._number = index.owners, number

    def are_live(self, labels: NDArray[np.uint32]) -> NDArray[np.bool_]:
        """Return what `sparse_scores.Part.are_live` does."""
        owners = self._owners[labels]
        return np.equal(owners, self._number)


class SparseIndexes:
    """The indexes of a loaded collection, by key. Safe for readers beside each other; a writer is alone.

    Args:
        may_hold: Asked whether so many bytes more may be held; told of fewer by a negative number.
    """

    def __init__(self, may_hold: Callable[[int], bool]) -> None:
        self._may_hold = may_hold
        self._lock = threading.Lock()
        self._indexes: dict[str, SparseIndex] = {}
        #: Key -> the bytes for which there was no room.
        self._too_large: dict[str, int] = {}

    @property
    def nbytes(self) -> int:
        """Bytes of memory held."""
        return sum(one.nbytes for one in list(self._indexes.values()))

    @property
    def keys(self) -> frozenset[str]:
        """The keys that have an index; readers may add some at any time."""
        return frozenset(list(self._indexes))

    def forget(self, but: frozenset[str] = frozenset()) -> None:
        """Let go of all indexes but those of these keys; the next query makes them again."""
        self._indexes = {key: one for key, one in self._indexes.items() if key in but}

    def growth(self, n_labels: int) -> int:
        """Return by how much `changed` may raise the bytes held, with so many labels afterwards."""
        more = 0
        for one in list(self._indexes.values()):
            if n_labels > len(one.owners):
                more += _capacity(n_labels)
        return more

    def changed(self, labels: NDArray[np.int64], dead: NDArray[np.int64], n_labels: int) -> None:
        """Take notice of a commit.

        Args:
            labels: Records that are new or have other texts.
            dead: Labels that are none any more.
            n_labels: Labels in all.
        """
        for key, one in self._indexes.items():
            owners = one.owners
            if n_labels > len(owners):
                owners = grown(owners, _capacity(n_labels), _NOBODY)
            owners[dead] = _NOBODY
            owners[labels] = _NEW
            self._indexes[key] = SparseIndex(owners, one.parts)

    def distances(
        self,
        key: str,
        query: SparseVector,
        pool: TextPool,
        alive: NDArray[np.bool_],
        *,
        idf: bool,
        mask: NDArray[np.bool_] | None,
    ) -> NDArray[np.float32]:
        """Return what `MetadataReader.sparse_distances` does.

        Args:
            key: As there.
            query: As there.
            pool: The texts that the vectors are read from.
            alive: Which labels are records, bool, shape (n_labels,).
            idf: As there.
            mask: As there.
        """
        terms = Terms.of(query)
        source = _Source(key, pool)
        index = self._up_to_date(source, alive)
        sizes = (len(alive), int(np.count_nonzero(alive)))
        if index is None:
            pieces = source.entries(np.flatnonzero(alive))
            return sparse_scores.scan(terms, pieces, *sizes, idf=idf, mask=mask)
        return sparse_scores.distances(terms, index.live_parts(), *sizes, idf=idf, mask=mask)

    def _up_to_date(self, source: _Source, alive: NDArray[np.bool_]) -> SparseIndex | None:
        """Return a key's index with all that was committed, None where there is no room for it."""
        key = source.key
        index = self._indexes.get(key)
        if index is not None and not (index.owners == _NEW).any():
            return index
        with self._lock:
            index = self._indexes.get(key)
            if index is None:
                owners = np.full(_capacity(len(alive)), _NOBODY, dtype=np.uint8)
                owners[: len(alive)][alive] = _NEW
                index = SparseIndex(owners, {})
            labels = np.flatnonzero(index.owners == _NEW)
            if not len(labels):
                return index
            wanted = self._too_large.get(key, 0)
            if wanted and not self._may_hold(wanted):
                return None
            held = index.nbytes if key in self._indexes else 0
            reserved = _Reserved(self._may_hold, wanted, held)
            try:
                made = _made(index, labels, source, reserved)
            except BaseException:
                reserved.undo()
                raise
            if made is None:
                self._indexes.pop(key, None)
                self._too_large[key] = reserved.refused
                return None
            self._indexes[key] = made
            self._too_large.pop(key, None)
            return made


class _Source:
    """Where the vectors of a key are read from.

    Args:
        key: The key.
        pool: Its texts: the documents, or the metadata.
    """

    def __init__(self, key: str, pool: TextPool) -> None:
        self.key = key
        self._pool = pool
        #: Bytes of texts that `entries` has read since it was called last.
        self.n_read = 0

    def text_bytes(self, labels: NDArray[np.int64]) -> int:
        """Return the bytes of the texts of some labels."""
        return self._pool.text_bytes(labels)

    def entries(self, labels: NDArray[np.int64]) -> Iterator[Entries]:
        """Yield the entries of labels, piece by piece."""
        self.n_read = 0
        wanted = TEXT_TIMES * min(_PIECE_BYTES, self.text_bytes(labels) + len(labels))
        with WORKSPACE.take(wanted) as room:
            for piece in self._pool.split(labels, max(1, min(wanted, room.n_bytes) // TEXT_TIMES)):
                self.n_read += self.text_bytes(piece)
                if self.key == DOCUMENT_KEY:
                    yield entries_of(self.key, piece, self._pool.get(piece))
                else:
                    yield entries_of(self.key, *self._pool.json_values(self.key, piece))


def _made(
    index: SparseIndex, labels: NDArray[np.int64], source: _Source, reserved: _Reserved
) -> SparseIndex | None:
    """Return an index with the vectors of some more records, None where there is no room for it."""
    making = _Making(index)
    n_bytes = source.text_bytes(labels)
    kept: list[Entries] = []
    n_kept = 0

    def put() -> bool:
        """Make postings of what is kept; say whether there is room for them and for what is still to come."""
        making.add(Entries.joined(kept))
        kept.clear()
        # What the rest will take is judged by what there is.
        left = max(0, n_bytes - source.n_read)
        need = making.nbytes + making.added_bytes * left // max(1, source.n_read)
        if making.has_free_number and reserved.reserve(need):
            return True
        reserved.give_back()
        return False

    with WORKSPACE.take(BUILD_BYTES * n_bytes // _ENTRY_TEXT_BYTES) as room:
        for some in source.entries(labels):
            kept.append(some)
            n_kept += len(some.labels)
            if BUILD_BYTES * n_kept >= room.n_bytes:
                n_kept = 0
                if not put():
                    return None
        if not put():
            return None
    made = making.made(labels)
    reserved.settle(made.nbytes)
    return made


class _Reserved:
    """The bytes that were reserved for one key's index.

    Args:
        may_hold: As for `SparseIndexes`.
        n_bytes: Reserved already, beyond `held`.
        held: What the index held before.
    """

    def __init__(self, may_hold: Callable[[int], bool], n_bytes: int, held: int) -> None:
        self._may_hold = may_hold
        self._held = held
        self._has = held + n_bytes
        #: What there was no room for.
        self.refused = 0

    def reserve(self, n_bytes: int) -> bool:
        """Reserve what is lacking to have so many bytes; say whether it was possible."""
        if n_bytes > self._has:
            if not self._may_hold(n_bytes - self._has):
                self.refused = n_bytes
                return False
            self._has = n_bytes
        return True

    def settle(self, n_bytes: int) -> None:
        """Correct what is reserved to what is really held."""
        self._may_hold(n_bytes - self._has)
        self._has = n_bytes

    def undo(self) -> None:
        """Give back what was reserved: the index stays as it was."""
        self._may_hold(self._held - self._has)

    def give_back(self) -> None:
        """Give everything back: nothing is held any more."""
        self._may_hold(-self._has)
        self._has = self._held


class _Making:
    """An index that is being brought up to date; nobody else sees it."""

    def __init__(self, index: SparseIndex) -> None:
        self._owners = index.owners.copy()
        self._parts = dict(index.parts)
        self._first_bytes = self.nbytes

    @property
    def nbytes(self) -> int:
        return SparseIndex(self._owners, self._parts).nbytes

    @property
    def added_bytes(self) -> int:
        """By how much it has grown so far."""
        return max(0, self.nbytes - self._first_bytes)

    @property
    def has_free_number(self) -> bool:
        """Whether a number is left for further postings: `owners` has one byte."""
        return len(self._parts) < _NEW - 1

    def add(self, entries: Entries) -> None:
        """Take entries of records in, and join what is small."""
        self._put(entries)
        self._drop_old()
        while len(self._parts) > 1:
            (before, first), (last, second) = list(self._parts.items())[-2:]
            n = len(first.postings) + len(second.postings)
            if len(first.postings) > _JOINED_TIMES * len(second.postings):
                break
            with WORKSPACE.take(BUILD_BYTES * n) as room:
                if room.n_bytes < BUILD_BYTES * n:
                    break
                self._put(Entries.joined([self._taken(before), self._taken(last)]))

    def _put(self, entries: Entries) -> None:
        if len(entries.labels):
            number = next(one for one in range(1, _NEW) if one not in self._parts)
            self._owners[entries.labels] = number
            n_records = int(np.count_nonzero(self._owners == number))
            self._parts[number] = _Owned(Postings(entries), n_records)

    def _taken(self, number: int) -> Entries:
        """Take postings out, and return the entries that are still their records'."""
        entries = self._parts.pop(number).postings.entries()
        return entries.where(self._owners[entries.labels] == number)

    def _drop_old(self) -> None:
        """Make postings again many of whose records have other vectors by now."""
        live = np.bincount(self._owners, minlength=_NEW + 1)
        for number, one in list(self._parts.items()):
            if live[number] < _LIVE_SHARE * one.n_records:
                n_bytes = BUILD_BYTES * len(one.postings)
                with WORKSPACE.take(n_bytes) as room:
                    if room.n_bytes >= n_bytes:
                        self._put(self._taken(number))

    def made(self, labels: NDArray[np.int64]) -> SparseIndex:
        """Return the index; those of the labels that have no vector have none by now."""
        self._owners[labels[self._owners[labels] == _NEW]] = _NOBODY
        return SparseIndex(self._owners, self._parts)


def _capacity(n_labels: int) -> int:
    return n_labels + n_labels // 8
