"""Workers: who computes for a store, what they are at, and what has failed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chroma_nb.display.cells import NAME_CHARACTERS, Cell, Table, head, showing, text_cell
from chroma_nb.display.extent import ROWS
from chroma_nb.display.words import shorten
from chroma_nb.harmless import clean
from chroma_nb.words import counted

if TYPE_CHECKING:
    from chroma_nb.client.workers import ClientWorkers
    from chroma_nb.display.cells import View
    from chroma_nb.tasks.report import WorkersReport

#: Events that are shown.
_EVENTS = 5


def _ago(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.0f} s ago"
    return f"{seconds / 60:.0f} min ago" if seconds < 7_200 else f"{seconds / 3_600:.0f} h ago"


def lead(report: WorkersReport) -> str:
    """Return what is so at the moment, as one line."""
    used = [one for one in report.workers if one.is_used]
    slots = sum(one.slots for one in used)
    broker = shorten(clean(report.broker), NAME_CHARACTERS)
    if report.broker_answers is None and not report.workers:
        return f"Workers at {broker}: nobody was asked yet."
    if report.broker_answers is False:
        return f"The broker {broker} does not answer; texts are embedded in this process."
    if not used:
        return f"No worker of this release answers at {broker}."
    processes = "1 process" if slots == 1 else f"{slots:,} processes"
    return f"{counted(len(used), 'worker')} at {broker}, {processes}."


def figures(report: WorkersReport) -> Table:
    """Return what has become of the pieces."""
    heads = [head(name, number=True) for name in ("in flight", "done", "done here", "lost")]
    heads += [head("came twice", number=True), head("graphs", number=True)]
    values = [report.pieces_in_flight, report.done, report.done_here, report.failed]
    values += [report.duplicates, report.graphs]
    return Table(
        "pieces of text since the store was opened",
        heads,
        [[Cell(f"{value:,}", number=True) for value in values]],
    )


def worker_table(report: WorkersReport) -> Table:
    """Return a row for each worker."""
    heads = [head("worker"), head("machine"), head("processes", number=True), head("state")]
    heads += [head("graphs"), head("seen", number=True)]
    rows = [
        [
            text_cell(shorten(one.name, NAME_CHARACTERS)),
            text_cell(shorten(one.host, NAME_CHARACTERS)),
            Cell(f"{one.slots:,}", number=True),
            text_cell("used" if one.is_used else f"of another release ({one.version})"),
            Cell("builds" if one.builds_graphs else "none"),
            Cell(_ago(one.seconds_ago), number=True),
        ]
        for one in report.workers[:ROWS]
    ]
    return Table(showing(len(rows), len(report.workers), "worker"), heads, rows)


def event_table(report: WorkersReport) -> Table:
    """Return the last events, newest first."""
    rows = [
        [Cell(_ago(seconds), kind="w"), text_cell(what)]
        for seconds, what in report.events[:_EVENTS]
    ]
    return Table("last events, newest first", [head("when"), head("what")], rows)


def view_workers(shown: WorkersReport) -> View:
    """Return what a store knows of its workers."""
    tables = [worker_table(shown), figures(shown), event_table(shown)]
    return "workers", {"lead": lead(shown), "tables": tables}


def view_client_workers(shown: ClientWorkers) -> View:
    """Return the same of a client's store."""
    if not shown.are_there:
        said = (
            'No workers compute for this store: Settings(api="celery", celery_broker="amqp://...").'
        )
        return "workers", {"lead": said, "tables": []}
    return view_workers(shown.report())
