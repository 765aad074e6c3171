"""What users see of memory: plain data, the same for a store in this process and for a server."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from chroma_nb.display.base import Displayed
from chroma_nb.memory.sizes import format_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pandas as pd


#: Stands for the name of a collection of another database, which is not shown.
ELSEWHERE = "(of another database)"
#: Collections that a text names at most.
_LINES = 20


@dataclass(frozen=True)
class MemoryEvent:
    """A collection was loaded, unloaded, or could not be loaded; or its graph was not built.

    `action` is ``"load"``, ``"unload"``, ``"stay on disk"`` or ``"stay exact"`` (no graph); `reason` says why in
    words; `n_bytes` were loaded or unloaded, or would have been needed.
    """

    #: Seconds since 1970.
    time: float
    action: str
    collection: str
    reason: str
    n_bytes: int
    #: How long it took.
    seconds: float


# Not frozen, which would take three times as long to make: a report has one for each of thousands of collections.
@dataclass(slots=True)
class CollectionMemory:
    """One collection's memory. All sizes in bytes."""

    name: str
    id: str
    #: ``"loaded"``, ``"loading"``, ``"on disk"``, or ``"empty"`` where there is nothing to load.
    state: str
    #: How its queries are answered: ``"exact"``, or the form of its index: ``"turbovec"`` (codes of 4 bits), ``"turbovec-2bit"``,
    #: ``"hnswlib"`` (float32), ``"usearch"`` (bfloat16), ``"usearch-i8"`` (int8).
    form: str
    n_records: int
    resident_bytes: int
    #: The same by part: ids, documents, metadata, norms, graph, sparse (the indexes of words and sparse vectors), ...
    parts: dict[str, int]
    disk_bytes: int
    pinned: bool
    #: Unloaded after this long without use; None: after the store's `idle_seconds`.
    ttl_seconds: float | None
    #: Seconds since its last use; None where it was not used since the store was opened.
    idle_seconds: float | None
    #: Queries answered from memory, and from the disk.
    hits: int
    misses: int
    loads: int
    unloads: int
    #: How much of its first graph is built, from 0 to 1; None where none is being built.
    built: float | None = None
    #: UTF-8 bytes of its ids, documents, uris and metadata.
    text_bytes: int = 0

    @property
    def state_in_words(self) -> str:
        """The state; while the first graph is being built, its progress."""
        return self.state if self.built is None else f"building {self.built:.0%}"


@dataclass(frozen=True)
class MemorySample:
    """What was held at one moment. All sizes in bytes."""

    #: Seconds since 1970.
    time: float
    used: int
    budget: int
    #: Resident memory of the process.
    process: int
    #: The machine's memory was short, so that collections were unloaded.
    short: bool = False


@dataclass(frozen=True)
class MemoryReport(Displayed):
    """The memory of a store and of its process. All sizes in bytes.

    Attributes:
        budget: What the loaded collections may hold together.
        used: What they hold by the store's accounts, with what writes and builds have reserved.
        collections: One entry for each, in order of creation.
        database_bytes: What the database (DuckDB) holds in addition; 0 where that is not known, as of ClickHouse.
        database_limit: The most that DuckDB may hold; 0 where the database has no limit.
        process_bytes: Resident memory of the whole process.
        limit_bytes: What the process may use.
        limit_source: Which limit that is: ``"cgroup v2"``, ``"physical memory"``, ...
        free_bytes: What is free under all limits.
        idle_seconds: A collection is unloaded after this long without use; 0 is never.
        events: The last events, oldest first.
        history: What was held over time, oldest first: a sample at each event and at each report, at
            most two a second.
        server: The address of the server; empty where the store is in this process.
        work_bytes: Temporary memory of answers, scans, copies and the like.
        short: The machine's memory is short: collections are unloaded, and no graph is built.
    """

    _view = "memory report"

    budget: int
    used: int
    collections: list[CollectionMemory]
    database_bytes: int
    database_limit: int
    process_bytes: int
    limit_bytes: int
    limit_source: str
    free_bytes: int
    idle_seconds: float
    events: list[MemoryEvent] = field(default_factory=list)
    history: list[MemorySample] = field(default_factory=list)
    server: str = ""
    work_bytes: int = 0
    short: bool = False

    def __repr__(self) -> str:
        loaded = sum(one.resident_bytes > 0 for one in self.collections)
        return (
            f"MemoryReport({format_bytes(self.used)} of {format_bytes(self.budget)}, "
            f"{loaded} of {len(self.collections)} collections loaded)"
        )

    def __str__(self) -> str:
        lines = [
            f"index     {format_bytes(self.used):>9} of {format_bytes(self.budget)} budget",
            f"process   {format_bytes(self.process_bytes):>9} with shared code; limit {format_bytes(self.limit_bytes)} "
            f"({self.limit_source}), {format_bytes(self.free_bytes)} free",
        ]
        # Without a limit the database is no DuckDB here, and what it holds is not known.
        if self.database_limit:
            held, limit = format_bytes(self.database_bytes), format_bytes(self.database_limit)
            lines.insert(1, f"database  {held:>9} of {limit}")
        if self.work_bytes:
            lines.append(f"work      {format_bytes(self.work_bytes):>9} for the moment")
        if self.short:
            lines.append(
                "The machine's memory is short: collections that are not pinned are unloaded."
            )
        shown = self.collections
        if len(shown) > _LINES:
            shown = sorted(shown, key=lambda one: -one.resident_bytes)[:_LINES]
        for one in shown:
            size = format_bytes(one.resident_bytes)
            pin = "  (pinned)" if one.pinned else ""
            lines.append(f"{size:>19}  {one.state_in_words:12} {one.form:10} {one.name}{pin}")
        if left := len(self.collections) - len(shown):
            rest = sum(one.resident_bytes for one in self.collections)
            rest -= sum(one.resident_bytes for one in shown)
            lines.append(f"{format_bytes(rest):>19}  in {left:,} more collections: report()")
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        return asdict(self)

    def to_pandas(self) -> pd.DataFrame:
        """Return one row for each collection."""
        import pandas as pd

        rows = [asdict(one) for one in self.collections]
        for row in rows:
            row.update({f"{part}_bytes": size for part, size in row.pop("parts").items()})
        return pd.DataFrame(rows).set_index("name") if rows else pd.DataFrame()


@dataclass(frozen=True)
class Eviction:
    """A collection that a smaller budget would unload, and why in this place of the order."""

    collection: str
    n_bytes: int
    reason: str


class Preview(Displayed, list[Eviction]):
    """What a budget would unload, in order.

    Args:
        evictions: The collections that would go.
        budget: The budget that was asked about, as it was given.
        refused: Why this budget would be refused, and what to do instead; empty where it would be set.
    """

    _view = "preview"

    def __init__(
        self, evictions: Iterable[Eviction], budget: int | float | str, refused: str = ""
    ) -> None:
        super().__init__(evictions)
        self.budget = budget
        self.refused = refused

    def __repr__(self) -> str:
        if self.refused:
            return f"Preview({self.budget!r} would be refused: {self.refused})"
        n_bytes = format_bytes(sum(one.n_bytes for one in self))
        names = ", ".join(one.collection for one in self[:_LINES])
        more = f" and {len(self) - _LINES:,} more" if len(self) > _LINES else ""
        going = f"would unload {n_bytes}: {names}{more}" if self else "would unload nothing"
        return f"Preview({self.budget!r} {going})"


@dataclass(frozen=True)
class Estimate(Displayed):
    """What a collection of a given size would take, and in which form it would be held. All sizes in bytes.

    Attributes:
        n_records: Records asked about.
        dimension: Floats of each embedding.
        n_bytes: Size in memory in the form that would be chosen; 0 where it would stay on disk.
        form: An engine, as ``"turbovec"`` or ``"hnswlib"``; ``"exact"``, or ``"on disk"``.
        by_form: Form -> size in memory, the largest first.
        largest: Form -> how many such records the whole budget would hold.
        disk_bytes: Size of the vectors (float32) on the disk.
        budget: The budget that was assumed.
    """

    _view = "estimate"

    n_records: int
    dimension: int
    n_bytes: int
    form: str
    by_form: dict[str, int]
    largest: dict[str, int]
    disk_bytes: int
    budget: int

    def __repr__(self) -> str:
        size = format_bytes(self.n_bytes or self.disk_bytes)
        if not self.n_bytes:
            size += " of vectors"
        return (
            f"Estimate({self.n_records:,} x {self.dimension}: {self.form}, {size}, "
            f"budget {format_bytes(self.budget)}, which holds {max(self.largest.values(), default=0):,} in memory)"
        )
