"""What is said of a store's memory: the report, the estimate of a collection, and why it has its form."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING
from uuid import UUID

from chroma_nb.db.base import TextSizes
from chroma_nb.index.base import GraphParameters, graph_parameters
from chroma_nb.memory.machine import MACHINE, process_rss
from chroma_nb.memory.pressure import PRESSURE
from chroma_nb.memory.report import CollectionMemory, Estimate, MemoryReport
from chroma_nb.memory.sizes import format_bytes
from chroma_nb.memory.workspace import WORKSPACE
from chroma_nb.segment.segment import LoadedSegment, Segment
from chroma_nb.segment.slot import Slot

if TYPE_CHECKING:
    from chroma_nb.segment.resident_set import ResidentSet
    from chroma_nb.types import CollectionInfo

#: UTF-8 bytes of a record's texts where nothing is known of them: an id, a sentence, two metadata fields.
_TYPICAL_TEXT_BYTES = 200
#: For the report on a collection that was not used yet.
_UNUSED = Slot(UUID(int=0))


def report(
    residents: ResidentSet, infos: list[CollectionInfo], tenant: str, database: str
) -> MemoryReport:
    """Return a report about these collections, the store and the process.

    Args:
        residents: The loaded collections.
        infos: The collections.
        tenant: Events of other tenants and databases are shown without a name.
        database: As `tenant`.
    """
    limit = MACHINE.limit()
    residents.sample()
    ids = [info.id for info in infos]
    sizes = residents.db.sizes(ids)
    derived = residents.derived.sizes(ids)
    now = time.monotonic()
    return MemoryReport(
        budget=residents.budget,
        used=residents.ledger.used,
        collections=[
            _report_on(residents, info, n_records, disk_bytes + derived_bytes, text_bytes, now)
            for info, (n_records, disk_bytes, text_bytes), derived_bytes in zip(
                infos, sizes, derived, strict=True
            )
        ],
        database_bytes=residents.db.memory_bytes,
        database_limit=residents.db.memory_limit,
        process_bytes=process_rss(),
        limit_bytes=limit.total,
        limit_source=limit.source,
        free_bytes=MACHINE.free(),
        idle_seconds=residents.settings.idle_unload_seconds,
        events=residents.history.events(tenant, database),
        history=residents.history.samples(),
        work_bytes=WORKSPACE.used,
        short=PRESSURE.is_on,
    )


def _report_on(
    residents: ResidentSet,
    info: CollectionInfo,
    n_records: int,
    disk_bytes: int,
    text_bytes: int,
    now: float,
) -> CollectionMemory:
    # A report makes no slot for a collection that was not used yet.
    slot = residents.slots.find(info.id) or _UNUSED
    segment = slot.segment
    if segment is None:
        form, parts, state = "exact", {}, "on disk" if n_records else "empty"
    else:
        form, parts, state = (
            segment.form,
            segment.parts_of(residents.ledger.held(info.id)),
            "loaded",
        )
    # The reservations of an unfinished build or commit count as the collection's; mostly there are none.
    if residents.ledger.passing:
        for name, account in (
            ("being built", slot.graph_account),
            ("being written", slot.growth_account),
        ):
            if held := residents.ledger.held(account):
                parts[name] = held
    used = slot.last_used
    # By position: with names it takes twice as long, and there may be thousands of collections.
    return CollectionMemory(
        info.name,
        str(info.id),
        "loading" if slot.loading else state,
        form,
        n_records,
        sum(parts.values()) if parts else 0,
        parts,
        disk_bytes,
        slot.pinned,
        info.ttl_seconds,
        None if used is None else now - used,
        slot.hits,
        slot.misses,
        slot.loads,
        slot.unloads,
        slot.graph_progress,
        text_bytes,
    )


def estimate(
    residents: ResidentSet,
    n_records: int,
    dimension: int,
    parameters: GraphParameters,
    text_bytes: int | None = None,
) -> Estimate:
    """Return what a collection would take; see `Estimate`.

    Args:
        residents: The loaded collections, whose budget counts.
        n_records: Its records.
        dimension: Floats of each embedding.
        parameters: Of its graph.
        text_bytes: UTF-8 bytes of a record's id, document, uri and metadata; None is a typical size.
    """
    each = _TYPICAL_TEXT_BYTES if text_bytes is None else text_bytes
    base = LoadedSegment.bytes_for(n_records, TextSizes(n_records, n_records * each, 0, 0, 0))
    disk = 4 * n_records * dimension
    by_form = {
        form.engine: base + form.bytes_for(parameters, n_records)
        for form in residents.saved_graphs.forms(n_records, dimension)
    }
    if not by_form:
        by_form = {"exact": base + disk}
    budget = residents.budget
    chosen = next((name for name, size in by_form.items() if size <= budget), "on disk")
    largest = {name: budget * n_records // size for name, size in by_form.items()}
    return Estimate(
        n_records=n_records,
        dimension=dimension,
        n_bytes=by_form.get(chosen, 0),
        form=chosen,
        by_form=by_form,
        largest=largest,
        disk_bytes=disk,
        budget=budget,
    )


def why_this_form(residents: ResidentSet, segment: Segment) -> str:
    """Say in words why a collection is held in its present form."""
    slot = residents.slots.get(segment.info.id)
    form = next(
        residents.saved_graphs.forms(segment.metadata.n_live, segment.info.dimension or 0), None
    )
    if not isinstance(segment, LoadedSegment):
        if not residents.may_fit(slot):
            need = format_bytes(slot.least_bytes or 0)
            return f"{need} do not fit the budget of {format_bytes(residents.budget)}"
        return "there was no room at the moment"
    if form is None or segment.vectors is None:
        return "it is small, or indexes are switched off: exact search"
    if segment.form == form.engine:
        return "the full index fits"
    if not segment.vectors.suits_graph:
        return "its vectors are too long or too short for float32: exact search"
    full = form.bytes_for(graph_parameters(segment.info), segment.metadata.n_labels)
    # Once: the builder sets it to None when it has ended.
    progress = None if slot is None else slot.graph_progress
    if segment.vectors.graph is not None:
        held = f"{segment.form} is a smaller form"
    elif progress is not None:
        held = f"the index is being built, {progress:.0%} so far"
    else:
        held = "no index is loaded"
    return (
        f"{held}; the full index ({form.engine}) takes {format_bytes(full)}, the budget is "
        f"{format_bytes(residents.budget)}, of which {format_bytes(residents.ledger.free)} are free"
    )
