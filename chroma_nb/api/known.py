"""`Known`: what a server's answers have said last, for displays that ask it nothing or get no answer in time."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from chroma_nb.wire.requests import Fields, Name, Page, Report, Request

if TYPE_CHECKING:
    from uuid import UUID

    from chroma_nb.memory.report import MemoryReport
    from chroma_nb.types import CollectionInfo, FieldSummary
    from chroma_nb.wire.requests import Target

T = TypeVar("T")

#: Collections that are remembered; a display shows ten.
_COLLECTIONS = 64
#: Texts of one answer that is remembered, characters; a collection's description may be a megabyte.
_CHARACTERS = 64 << 10
#: Lines of a memory report that is remembered: collections, events and samples; and its characters.
_REPORTED = 2_000
_REPORT = 1 << 20

#: What these return describes the collection as it is now.
_DESCRIBING = frozenset(
    ("create_collection", "get_collection", "get_collection_by_id", "modify", "set_ttl", "fork")
)
#: After these the records are others.
_WRITING = frozenset(("add", "update", "upsert", "delete"))
#: After these, what is known of a whole database, or of all, may be wrong.
_REMOVING = frozenset(("delete_database", "reset"))
_CHANGING = _WRITING | _REMOVING | {"create_collection", "delete_collection", "fork", "modify"}


@dataclass(frozen=True)
class Fact(Generic[T]):
    """What an answer said, and when it came, on the clock of `time.monotonic`."""

    value: T
    at: float


@dataclass(frozen=True)
class Moment:
    """When something was asked, on that clock, and how many changes this process had begun by then."""

    at: float
    n_changes: int


class Known:
    """Remembers a few small answers of each collection, and forgets what this process has changed since.

    It holds plain values alone, and goes with the API that it belongs to.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._infos: OrderedDict[UUID, Fact[CollectionInfo]] = OrderedDict()
        self._counts: dict[UUID, Fact[int]] = {}
        self._fields: dict[UUID, Fact[list[FieldSummary]]] = {}
        #: (tenant, database) -> its report; how many collections it has.
        self._reports: dict[tuple[str, str], Fact[MemoryReport]] = {}
        self._totals: dict[tuple[str, str], Fact[int]] = {}
        self._n_changes = 0
        #: A collection's id, or (tenant, database) -> when something else became known of it.
        self._changed: dict[UUID | tuple[str, str], float] = {}

    # -- what is known ------------------------------------------------------------------------

    def collections(self, tenant: str, database: str) -> list[Fact[CollectionInfo]]:
        """Return what is known of a database's collections, in the order in which the server named them."""
        with self._lock:
            return [
                fact
                for fact in self._infos.values()
                if (fact.value.tenant, fact.value.database) == (tenant, database)
            ]

    def total(self, tenant: str, database: str) -> Fact[int] | None:
        """Return how many collections a database has."""
        return self._totals.get((tenant, database))

    def collection(self, collection_id: UUID) -> Fact[CollectionInfo] | None:
        """Return a collection's description."""
        return self._infos.get(collection_id)

    def count(self, collection_id: UUID) -> Fact[int] | None:
        """Return how many records a collection has."""
        return self._counts.get(collection_id)

    def fields(self, collection_id: UUID) -> Fact[list[FieldSummary]] | None:
        """Return what the metadata keys of a collection are."""
        return self._fields.get(collection_id)

    def report(self, tenant: str, database: str) -> Fact[MemoryReport] | None:
        """Return the last report of all collections of a database."""
        return self._reports.get((tenant, database))

    def changed_at(self, key: UUID | tuple[str, str]) -> float:
        """Return since when something else is known than before, of a collection or of a database's list."""
        return self._changed.get(key, 0.0)

    # -- what was asked -----------------------------------------------------------------------

    def before(self, name: str, target: Target, request: Request | None) -> Moment:
        """Forget what an operation is about to change, whether or not its answer comes; return what `note` takes."""
        with self._lock:
            self._forget_changed(name, target, request)
            return Moment(time.monotonic(), self._n_changes)

    def _forget_changed(self, name: str, target: Target, request: Request | None) -> None:
        if name in _CHANGING:
            self._n_changes += 1
        if name in _WRITING and target.collection_id is not None:
            self._forget_records(target.collection_id)
            self._reports.pop((target.tenant, target.database), None)
        elif name == "delete_collection" and isinstance(request, Name):
            for fact in list(self._infos.values()):
                info = fact.value
                there = (info.name, info.tenant, info.database)
                if there == (request.name, target.tenant, target.database):
                    self._forget(info.id)
            self._forget_place(target)
        elif name in ("create_collection", "fork"):
            self._forget_place(target)
        elif name in _REMOVING:
            self.forget()

    def note(
        self, name: str, target: Target, request: Request | None, answer: Any, asked: Moment
    ) -> None:
        """Remember what an operation has returned, as far as a display shows it.

        Args:
            name: The operation.
            target: To what.
            request: Its arguments.
            answer: What it has returned.
            asked: What `before` returned. What was asked before a change says nothing of what is there after it.
        """
        now = asked.at
        with self._lock:
            if self._n_changes != asked.n_changes:
                return
            # What another thread has learnt in the middle of a change.
            self._forget_changed(name, target, request)
            if name in _DESCRIBING:
                self._note_info(answer, now)
            elif name == "list_collections" and isinstance(request, Page):
                self._note_list(target, request, answer, now)
            elif name == "count_collections":
                self._totals[target.tenant, target.database] = Fact(answer, now)
            elif name == "count" and target.collection_id is not None:
                self._note_count(target.collection_id, answer, now)
            elif name == "memory_report" and isinstance(request, Report):
                self._note_report(target, request, answer, now)
            elif name == "describe_fields" and isinstance(request, Fields):
                self._note_fields(target, answer, now)

    def forget(self) -> None:
        """Forget everything."""
        for kept in (self._infos, self._counts, self._fields, self._reports, self._totals):
            kept.clear()
        self._changed.clear()

    def _note_info(self, info: CollectionInfo, now: float) -> None:
        if len(str(info.configuration)) + len(str(info.metadata)) > _CHARACTERS:
            self._infos.pop(info.id, None)
            return
        before = self._infos.get(info.id)
        self._infos[info.id] = Fact(info, now)
        if before is None or before.value != info:
            self._change(now, info.id, (info.tenant, info.database))
        self._keep_few(self._infos)

    def _note_count(self, collection_id: UUID, count: int, now: float) -> None:
        before = self._counts.get(collection_id)
        self._counts[collection_id] = Fact(count, now)
        if before is None or before.value != count:
            self._change(now, collection_id)
        self._keep_few(self._counts)

    def _note_list(
        self, target: Target, request: Page, infos: list[CollectionInfo], now: float
    ) -> None:
        is_all = not request.offset and (request.limit is None or len(infos) < request.limit)
        place = target.tenant, target.database
        if is_all:
            named = {info.id for info in infos}
            self._totals[place] = Fact(len(infos), now)
            for fact in list(self._infos.values()):
                there = fact.value.tenant, fact.value.database
                if there == place and fact.value.id not in named:
                    # Somebody else has deleted it.
                    self._forget(fact.value.id)
                    self._change(now, place)
        for info in infos[:_COLLECTIONS]:
            self._note_info(info, now)
            # In the server's order.
            if info.id in self._infos:
                self._infos.move_to_end(info.id)

    def _note_report(
        self, target: Target, request: Report, report: MemoryReport, now: float
    ) -> None:
        by_id = {str(known): known for known in self._infos}
        for one in report.collections:
            if one.id in by_id:
                self._note_count(by_id[one.id], one.n_records, now)
        parts = (*report.collections, *report.events, *report.history)
        if request.collections is None and len(parts) <= _REPORTED and len(str(parts)) <= _REPORT:
            self._reports[target.tenant, target.database] = Fact(report, now)
            self._keep_few(self._reports, 4)

    def _note_fields(self, target: Target, fields: list[FieldSummary], now: float) -> None:
        if target.collection_id is None:
            return
        size = sum(len(one.key) + sum(len(str(value)) for value, _ in one.values) for one in fields)
        self._fields.pop(target.collection_id, None)
        if size <= _CHARACTERS:
            self._fields[target.collection_id] = Fact(fields, now)
            self._keep_few(self._fields)

    def _change(self, now: float, *keys: UUID | tuple[str, str]) -> None:
        for key in keys:
            self._changed[key] = now
        self._keep_few(self._changed, 2 * _COLLECTIONS)

    @staticmethod
    def _keep_few(kept: dict[Any, Any], most: int = _COLLECTIONS) -> None:
        while len(kept) > most:
            del kept[next(iter(kept))]

    def _forget(self, collection_id: UUID) -> None:
        self._infos.pop(collection_id, None)
        self._forget_records(collection_id)

    def _forget_records(self, collection_id: UUID) -> None:
        self._counts.pop(collection_id, None)
        self._fields.pop(collection_id, None)

    def _forget_place(self, target: Target) -> None:
        place = target.tenant, target.database
        self._totals.pop(place, None)
        self._reports.pop(place, None)
