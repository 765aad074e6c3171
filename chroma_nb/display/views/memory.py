"""Memory: what is held, what a budget would change, and what a collection would take."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chroma_nb.byte_sizes import format_bytes
from chroma_nb.display.cells import NAME_CHARACTERS, Cell, Table, head, showing, text_cell
from chroma_nb.display.extent import ROWS
from chroma_nb.display.kept import Composed, view_in_time
from chroma_nb.display.words import shorten
from chroma_nb.harmless import clean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chroma_nb.client.memory import ClientMemory
    from chroma_nb.display.cells import View
    from chroma_nb.memory.limits import ExplainedLimits
    from chroma_nb.memory.report import (
        CollectionMemory,
        Estimate,
        MemoryEvent,
        MemoryReport,
        MemorySample,
        Preview,
    )

#: Events of a report that are shown.
_EVENTS = 5
#: Collections whose names stand in the calls that are suggested.
_IN_CALLS = 3
_BLOCKS = "▁▂▃▄▅▆▇█"


def _sparkline(history: Sequence[MemorySample], points: int = 40) -> str:
    """Return what was held over time as a row of blocks; the highest is the largest of them."""
    values = [sample.used for sample in history][-points:]
    top = max(values, default=0)
    if len(values) < 2 or not top:
        return ""
    return "".join(_BLOCKS[min(7, value * 8 // (top + 1))] for value in values)


def totals(
    report: MemoryReport, process_bytes: int | None = None, free_bytes: int | None = None
) -> list[tuple[str, int, int, str]]:
    """Return a line for each figure: (what, bytes, of how many, a note).

    Args:
        report: What is held.
        process_bytes: Shown as the memory of the process; None is the report's.
        free_bytes: Shown as what is free; None is the report's.
    """
    process_bytes = report.process_bytes if process_bytes is None else process_bytes
    free_bytes = report.free_bytes if free_bytes is None else free_bytes
    loaded = sum(collection.resident_bytes > 0 for collection in report.collections)
    line = _sparkline(report.history)
    note = f"{loaded} of {len(report.collections)} collections loaded"
    sparse = sum(one.parts.get("sparse", 0) for one in report.collections)
    if sparse:
        note += f"; {format_bytes(sparse)} of it for searches by words and sparse vectors"
    free = f"by {report.limit_source}, {format_bytes(free_bytes)} free"
    if report.short:
        free += "; memory is short, so collections that are not pinned are unloaded"
    work = ("work", report.work_bytes, 0, "answers, scans and copies of this moment")
    return [
        ("index", report.used, report.budget, f"{note} {line}".strip()),
        *([work] if report.work_bytes else []),
        (
            "the server" if report.server else "this kernel",
            process_bytes,
            report.limit_bytes,
            "everything in the process, with code that others share",
        ),
        (
            "machine limit",
            report.limit_bytes,
            0,
            free,
        ),
    ]


def by_size(report: MemoryReport) -> list[CollectionMemory]:
    """Return the collections, the largest in memory first."""
    return sorted(report.collections, key=lambda collection: -collection.resident_bytes)


def event_table(events: Sequence[MemoryEvent]) -> Table:
    """Return the last events, newest first."""
    last = list(events)[::-1][:_EVENTS]
    heads = [head("what"), head("collection"), head("why"), head("bytes", number=True)]
    heads.append(head("took", number=True))
    rows = [
        [
            Cell(event.action),
            text_cell(shorten(event.collection, NAME_CHARACTERS)),
            text_cell(event.reason),
            Cell(format_bytes(event.n_bytes), number=True),
            Cell(f"{event.seconds * 1e3:.1f} ms", number=True),
        ]
        for event in last
    ]
    return Table("last events, newest first", heads, rows)


def _memory_view(report: MemoryReport, calls: Sequence[str] = ()) -> View:
    heads = [head("collection"), head("memory", number=True), head("state"), head("form")]
    heads += [head("records", number=True), head("on disk", number=True), head("kept")]
    largest = max((collection.resident_bytes for collection in report.collections), default=0) or 1
    rows = []
    shown = by_size(report)[:ROWS]
    for collection in shown:
        bar = round(collection.resident_bytes / largest, 3)
        kept = "pinned" if collection.pinned else ""
        if collection.ttl_seconds is not None:
            kept = f"{kept} TTL {collection.ttl_seconds:g} s".strip()
        rows.append(
            [
                text_cell(shorten(collection.name, NAME_CHARACTERS)),
                Cell(format_bytes(collection.resident_bytes), number=True, bar=bar),
                Cell(collection.state_in_words),
                Cell(collection.form),
                Cell(f"{collection.n_records:,}", number=True),
                Cell(format_bytes(collection.disk_bytes), number=True),
                Cell(kept),
            ]
        )
    caption = showing(len(shown), len(report.collections), "collection")
    return "memory", {
        "totals": totals(report),
        "table": Table(caption, heads, rows),
        "events": event_table(report.events),
        "calls": calls,
    }


def view_report(shown: MemoryReport) -> View:
    """Return what a store holds in memory."""
    return _memory_view(shown)


def view_client_memory(shown: ClientMemory) -> View:
    """Return what a client's store holds in memory, and the calls that change it."""
    client = shown.client
    place = client.tenant, client.database

    def view(report: MemoryReport) -> View:
        return _memory_view(report, _calls_for(report))

    def known() -> Composed | None:
        fact = client.api.known and client.api.known.report(*place)
        return Composed(view(fact.value), fact.at, fact.at) if fact else None

    return view_in_time(
        client,
        ("memory", *place),
        ask=lambda api: shown.report(),
        view=view,
        known=known,
        nothing=lambda why: ("table", {"lead": why, "table": Table("")}),
        instead="client.memory.report() asks it, client.memory.widget() all the time.",
    )


def _calls_for(report: MemoryReport) -> list[str]:
    """Return the calls that do what the widget's controls do."""
    calls = []
    for collection in by_size(report)[:_IN_CALLS]:
        quoted = repr(shorten(collection.name, NAME_CHARACTERS))
        pin = "unpin" if collection.pinned else "pin"
        calls += [f"client.memory.unload({quoted})", f"client.memory.{pin}({quoted})"]
        calls.append(f"client.memory.set_ttl({quoted}, 60)")
    calls += ["client.memory.unload_all()", 'client.memory.budget = "500 MB"']
    return [*calls, 'client.memory.preview("500 MB")', "client.memory.widget()"]


def view_preview(shown: Preview) -> View:
    """Return what a budget would unload."""
    table = Table(
        showing(min(len(shown), ROWS), len(shown), "collection"),
        [head("collection"), head("memory", number=True), head("why")],
        [
            [
                text_cell(shorten(eviction.collection, NAME_CHARACTERS)),
                Cell(format_bytes(eviction.n_bytes), number=True),
                text_cell(eviction.reason),
            ]
            for eviction in shown[:ROWS]
        ],
    )
    budget = shown.budget if isinstance(shown.budget, str) else format_bytes(shown.budget)
    lead = f"With a budget of {shorten(budget, 40)} nothing would be unloaded."
    if shown.refused:
        lead = f"This budget would be refused. {clean(shown.refused)}"
    if shown:
        size = format_bytes(sum(eviction.n_bytes for eviction in shown))
        lead = f"A budget of {shorten(budget, 40)} would unload {size}:"
    return "table", {"lead": lead, "table": table}


def view_estimate(shown: Estimate) -> View:
    """Return what a collection would take, in each form."""
    size = f"{shown.n_records:,} records of {shown.dimension:,} dimensions"
    budget = format_bytes(shown.budget)
    if shown.n_bytes:
        lead = (
            f"{size} take {format_bytes(shown.n_bytes)} of the budget of {budget} ({shown.form})."
        )
    else:
        lead = (
            f"{size} do not fit the budget of {budget}; they are answered from the disk, exactly."
        )
    heads = [head("form"), head("memory", number=True), head("records that fit", number=True)]
    rows = [
        [
            Cell(name + (" (chosen)" if name == shown.form else "")),
            Cell(format_bytes(n_bytes), number=True),
            Cell(f"{shown.largest[name]:,}", number=True),
        ]
        for name, n_bytes in shown.by_form.items()
    ]
    caption = f"{format_bytes(shown.disk_bytes)} of vectors on the disk"
    return "table", {"lead": lead, "table": Table(caption, heads, rows)}


def view_limits(shown: ExplainedLimits) -> View:
    """Return the limits of a process's memory; the lead says which one is reached first."""
    first = next((limit for limit in shown if limit.binds), None)
    lead = "No limit of this process's memory is known."
    if first is not None:
        lead = (
            f"{format_bytes(first.free)} are free. The limit that is reached first: {first.source}."
        )
    heads = [head("limit"), head("read from"), head("total", number=True)]
    heads += [head("used", number=True), head("free", number=True)]
    rows = [
        [
            Cell(limit.source + (" (reached first)" if limit.binds else "")),
            text_cell(limit.where),
            *(Cell(format_bytes(n), number=True) for n in (limit.total, limit.used, limit.free)),
        ]
        for limit in shown[:ROWS]
    ]
    return "table", {
        "lead": lead,
        "table": Table(showing(len(rows), len(shown), "limit"), heads, rows),
    }
