"""What the collections of `benchmarks.memory_soak` should hold: each part of a record is a function of its version.

So the model keeps numbers only. A version is the number of the write that a part came with. Whoever reads while
others write may see each record as it was before, or as one of the writes has left it that went on meanwhile.
"""

from __future__ import annotations

import contextlib
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.memory_trial_stage import check

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

#: The parts of a record; each has a version of its own.
PARTS = ("documents", "metadatas", "embeddings")
#: A record belongs to one of so many threads, the only one that writes to it.
OWNERS = 8
#: Contents are compared of so many records of an answer, spread over it; ids of all.
COMPARED = 400
#: Rows of embeddings that are compared at once, bytes.
BLOCK_BYTES = 1 << 20
ABSENT = -1

_WORDS = "bear lynx otter raven heron adder trout moth fern moss oak birch slate chalk tide dune "
_FILLER = _WORDS * 3_000
_FLOATS = np.random.default_rng(7).standard_normal(200_003).astype(np.float32)


def mixed(*parts: Any) -> NDArray[np.uint64]:
    """Return numbers that look random, the same for the same parts: of numbers or of arrays."""
    state = np.zeros(np.broadcast_shapes(*(np.shape(part) for part in parts)), dtype=np.uint64)
    for part in parts:
        # The steps of splitmix64.
        state = (state ^ np.asarray(part).astype(np.uint64)) + np.uint64(0x9E3779B97F4A7C15)
        state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        state = state ^ (state >> np.uint64(31))
    return state


@dataclass(frozen=True)
class Place:
    """A collection.

    Args:
        name: Its name.
        dimension: Of its embeddings.
        space: Of its distances.
        capacity: Records at most.
        long: Has it documents of up to 200 kB?
        ties: Have groups of records the same embedding?
    """

    name: str
    dimension: int
    space: str
    capacity: int
    long: bool = False
    ties: bool = False

    @property
    def _seed(self) -> int:
        return sum(map(ord, self.name))

    def _mixed(self, kind: int, rows: Any, versions: Any) -> NDArray[np.uint64]:
        return mixed(self._seed, kind, rows, versions)

    def embeddings(self, rows: NDArray[Any], versions: NDArray[Any]) -> NDArray[np.float32]:
        """Return the embeddings of some records in some versions."""
        made_of = (rows // 4, versions % 2) if self.ties else (rows, versions)
        starts = self._mixed(1, *made_of) % np.uint64(len(_FLOATS) - self.dimension)
        every = np.lib.stride_tricks.sliding_window_view(_FLOATS, self.dimension)
        return every[starts.astype(np.int64)]

    def tags(self, rows: Any, versions: Any) -> NDArray[np.int64]:
        """Return the tags in the documents; -1 where a document is too short to have one."""
        tags = (self._mixed(2, rows, versions) % np.uint64(40)).astype(np.int64)
        return np.where(self.sizes(rows, versions) > 1, tags, -1)

    def sizes(self, rows: Any, versions: Any) -> NDArray[np.int64]:
        """Return the lengths of documents: of one byte, of a sentence, of a page, of a book."""
        chance = (self._mixed(3, rows, versions) % np.uint64(1_000)).astype(np.int64)
        more = (self._mixed(4, rows, versions) % np.uint64(1_000)).astype(np.int64)
        sizes = np.where(chance < 100, 1, 30 + more // 5)
        sizes = np.where(chance >= 900, 200 + 3 * more, sizes)
        if self.long:
            sizes = np.where(chance >= 975, 4_000 + 36 * more, sizes)
            sizes = np.where(chance >= 997, 40_000 + 160 * more, sizes)
        return sizes

    def documents(self, rows: NDArray[Any], versions: NDArray[Any]) -> list[str]:
        """Return the documents of some records in some versions."""
        starts = (self._mixed(5, rows, versions) % np.uint64(1_000)).tolist()
        given = zip(
            rows.tolist(),
            versions.tolist(),
            self.sizes(rows, versions).tolist(),
            self.tags(rows, versions).tolist(),
            starts,
            strict=True,
        )
        return [
            "x"
            if size == 1
            else f"tag{tag:02d}. é r{row} v{version} {_FILLER[start : start + size]}"[:size]
            for row, version, size, tag, start in given
        ]

    def n_keys(self, rows: Any, versions: Any) -> NDArray[np.int64]:
        """Return how many metadata keys the records have."""
        chance = (self._mixed(6, rows, versions) % np.uint64(100)).astype(np.int64)
        return np.select([chance < 10, chance < 70, chance < 95], [0, 3, 8], 2 * chance - 90)

    def groups(self, rows: Any, versions: Any) -> NDArray[np.int64]:
        """Return the values of the key "group"."""
        return (self._mixed(7, rows, versions) % np.uint64(7)).astype(np.int64)

    def values(self, rows: Any, versions: Any) -> NDArray[np.float64]:
        """Return the values of the key "value"."""
        return (self._mixed(8, rows, versions) % np.uint64(1_000)).astype(np.float64) / 8

    def metadatas(self, rows: NDArray[Any], versions: NDArray[Any]) -> list[dict[str, Any] | None]:
        """Return the metadata of some records in some versions."""
        given = zip(
            rows.tolist(),
            versions.tolist(),
            self.n_keys(rows, versions).tolist(),
            self.groups(rows, versions).tolist(),
            self.values(rows, versions).tolist(),
            strict=True,
        )
        return [
            _metadata(row, version, n_keys, group, value) if n_keys else None
            for row, version, n_keys, group, value in given
        ]


def _metadata(row: int, version: int, n_keys: int, group: int, value: float) -> dict[str, Any]:
    made: dict[str, Any] = {"group": group, "owner": row % OWNERS, "value": value}
    if n_keys > 3:
        made.update(flag=bool(row & 1), word=f"w{version % 13}", list=[row, version], big=1 << 60)
        for number in range(n_keys - 7):
            made[f"k{(row + number) % 120}"] = f"{version} of {row}" if number % 2 else number
    return made


@dataclass(frozen=True)
class Filter:
    """A condition, as Chroma writes it, and which records meet it.

    Args:
        where: On metadata.
        where_document: On documents.
        meets: Says which of some records do, by their versions: an array of shape (3, n).
    """

    where: dict[str, Any] | None
    where_document: dict[str, Any] | None
    meets: Callable[[Place, NDArray[Any], NDArray[Any]], NDArray[np.bool_]]

    def arguments(self) -> dict[str, Any]:
        """Return it as keywords."""
        given = {"where": self.where, "where_document": self.where_document}
        return {name: value for name, value in given.items() if value is not None}


def _meets_all(place: Place, rows: NDArray[Any], versions: NDArray[Any]) -> NDArray[np.bool_]:
    return np.ones(len(rows), dtype=bool)


EVERYTHING = Filter(None, None, _meets_all)


def by_group(*wanted: int) -> Filter:
    """Return a filter on a key of few values."""
    where = {"group": wanted[0]} if len(wanted) == 1 else {"group": {"$in": list(wanted)}}
    return Filter(
        where,
        None,
        lambda place, rows, versions: (
            (place.n_keys(rows, versions[1]) > 0) & np.isin(place.groups(rows, versions[1]), wanted)
        ),
    )


def by_owner_and_value(owner: int, least: float) -> Filter:
    """Return a filter on two keys: one thread's records with a value of so much."""
    return Filter(
        {"$and": [{"owner": owner}, {"value": {"$gte": least}}]},
        None,
        lambda place, rows, versions: (
            (place.n_keys(rows, versions[1]) > 0)
            & (rows % OWNERS == owner)
            & (place.values(rows, versions[1]) >= least)
        ),
    )


def by_tag(tag: int, *, regex: bool = False) -> Filter:
    """Return a filter on documents."""
    where = {"$regex": f"^tag{tag:02d}[.]"} if regex else {"$contains": f"tag{tag:02d}. "}
    return Filter(None, where, lambda place, rows, versions: place.tags(rows, versions[0]) == tag)


@dataclass(eq=False)
class Write:
    """A write that goes on, or went on while somebody was reading.

    Args:
        number: The version that its records come to.
        rows: The records.
        parts: Numbers of the parts that it changes.
        deletes: Are the records gone afterwards?
    """

    number: int
    rows: NDArray[np.int64]
    parts: tuple[int, ...]
    deletes: bool = False
    refused: bool = False


class Model:
    """What one collection holds.

    Args:
        place: The collection.
    """

    def __init__(self, place: Place) -> None:
        self.place = place
        self._lock = threading.Lock()
        #: The version of each part of each record, `ABSENT` where there is none.
        self._versions = np.full((len(PARTS), place.capacity), ABSENT, dtype=np.int32)
        self._number = 0
        self._going_on: list[Write] = []
        self._readings: list[Reading] = []

    @property
    def n_records(self) -> int:
        """Records at this moment."""
        return int(np.count_nonzero(self._versions[0] != ABSENT))

    def mine(self, owner: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return a thread's records that are there, and those that are not."""
        there = self._versions[0, owner::OWNERS] != ABSENT
        places = [np.flatnonzero(there), np.flatnonzero(~there)]
        return places[0] * OWNERS + owner, places[1] * OWNERS + owner

    def versions(self, rows: NDArray[np.int64]) -> NDArray[np.int32]:
        """Return the versions of records, of shape (3, n); for the thread that owns them."""
        return self._versions[:, rows]

    @contextlib.contextmanager
    def writing(
        self,
        rows: NDArray[np.int64],
        parts: Sequence[int] = (0, 1, 2),
        *,
        deletes: bool = False,
    ) -> Iterator[int]:
        """Give the version of a write; it counts where the block ends without an error."""
        with self._lock:
            self._number += 1
            write = Write(self._number, rows, tuple(parts), deletes)
            self._going_on.append(write)
            for reading in self._readings:
                reading.writes.append(write)
        try:
            yield write.number
        except BaseException:
            write.refused = True
            raise
        finally:
            with self._lock:
                self._going_on.remove(write)
                if deletes and not write.refused:
                    self._versions[:, rows] = ABSENT
                elif not write.refused:
                    for part in parts:
                        self._versions[part, rows] = write.number

    @contextlib.contextmanager
    def reading(self) -> Iterator[Reading]:
        """Give what may be seen from now until `Reading.end`."""
        with self._lock:
            reading = Reading(self, self._versions.copy(), list(self._going_on))
            self._readings.append(reading)
        try:
            yield reading
        finally:
            self.end(reading)

    def end(self, reading: Reading) -> None:
        """Let what is written from now on be of no more concern to a reading."""
        with self._lock:
            if reading in self._readings:
                self._readings.remove(reading)


@dataclass(eq=False)
class Reading:
    """What somebody may see of a collection while others write to it.

    Args:
        model: The collection's.
        versions: As they were when it began.
        writes: Those that went on at some time of it.
    """

    model: Model
    versions: NDArray[np.int32]
    writes: list[Write]
    #: Records that were written to meanwhile, and those that may be missing or there.
    moving: NDArray[np.bool_] = field(init=False)
    may_lack: NDArray[np.bool_] = field(init=False)
    may_have: NDArray[np.bool_] = field(init=False)

    def end(self) -> None:
        """The answer is there: reckon what it may say. To be called before any of the checks."""
        self.model.end(self)
        # What was refused has to have left nothing behind, not for a moment.
        self.writes = [one for one in self.writes if not one.refused]
        there = self.versions[0] != ABSENT
        self.may_lack, self.may_have = ~there, there
        self.moving = np.zeros_like(there)
        for write in self.writes:
            self.moving[write.rows] = True
            (self.may_lack if write.deletes else self.may_have)[write.rows] = True

    def matching(self, wanted: Filter) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Return which records have to be in an answer, and which may be."""
        rows = np.arange(self.model.place.capacity)
        there = ~self.moving & ~self.may_lack
        must = there & wanted.meets(self.model.place, rows, self.versions)
        return must, must | (self.moving & self.may_have)

    def check_ids(self, ids: Sequence[str], wanted: Filter) -> NDArray[np.int64]:
        """See that all ids may be there, each once; return the records."""
        rows = np.fromiter((int(one[1:]) for one in ids), np.int64, len(ids))
        check(len(np.unique(rows)) == len(rows), "an id comes twice")
        _, may = self.matching(wanted)
        odd = rows[~may[rows]]
        check(not len(odd), f"{len(odd):,} records should not be there, r{odd[:1]} among them")
        return rows

    def check_all(self, rows: NDArray[np.int64], wanted: Filter) -> None:
        """See that an answer lacks nothing."""
        must, _ = self.matching(wanted)
        must[rows] = False
        lost = np.flatnonzero(must)
        check(not len(lost), f"{len(lost):,} records are missing, r{lost[:1]} among them")

    def check_contents(self, rows: NDArray[np.int64], every: bool = False, **parts: Any) -> None:
        """Compare the parts of records with what they may be.

        Args:
            rows: The records.
            every: All of them, not only some of a long answer.
            parts: By name; None is not looked at.
        """
        step = 1 if every else max(1, len(rows) // COMPARED)
        places = np.arange(0, len(rows), step)
        block = max(1, BLOCK_BYTES // (16 * self.model.place.dimension))
        for number, name in enumerate(PARTS):
            given = parts.get(name)
            if given is None:
                continue
            check(len(given) == len(rows), f"{len(given):,} {name} of {len(rows):,} records")
            for start in range(0, len(places), block):
                chosen = places[start : start + block]
                of = rows[chosen]
                right = _make(self.model.place, number, of, self.versions[number, of])
                for place, row, expected in zip(chosen.tolist(), of.tolist(), right, strict=True):
                    if not _equal(given[place], expected):
                        self._check_versions(row, number, given[place])

    def _check_versions(self, row: int, part: int, given: Any) -> None:
        numbers = [one.number for one in self._of(row) if not one.deletes and part in one.parts]
        rows = np.full(len(numbers), row)
        made = _make(self.model.place, part, rows, np.array(numbers, dtype=np.int64))
        if not any(_equal(given, one) for one in made):
            version = self.versions[part, row]
            raise_with = f"the {PARTS[part]} of r{row} are not of version {version}"
            check(False, f"{raise_with}, nor of {numbers}: {str(given)[:80]}")

    def _of(self, row: int) -> list[Write]:
        return [one for one in self.writes if row in one.rows] if self.moving[row] else []

    def still(self, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Say which records nobody wrote to."""
        return ~self.moving[rows]

    def embeddings(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the embeddings of records that nobody wrote to."""
        return self.model.place.embeddings(rows, self.versions[2, rows])


def _make(place: Place, part: int, rows: NDArray[Any], versions: NDArray[Any]) -> Any:
    return getattr(place, PARTS[part])(rows, versions)


def _equal(given: Any, expected: Any) -> bool:
    if isinstance(expected, np.ndarray):
        return bool(np.array_equal(given, expected))
    return bool((given or None) == expected)


def distances(
    space: str, query: NDArray[np.float32], vectors: NDArray[np.float32]
) -> NDArray[np.float64]:
    """Return the distances of vectors from a query."""
    query, vectors = query.astype(np.float64), vectors.astype(np.float64)
    if space == "l2":
        return np.square(vectors - query).sum(axis=1)
    products = vectors @ query
    if space == "cosine":
        products /= np.linalg.norm(vectors, axis=1) * np.linalg.norm(query)
    return 1.0 - products
