"""`view`: what there is to show of an object, as plain values for a template."""

from __future__ import annotations

import dataclasses
from functools import singledispatch
from typing import TYPE_CHECKING, Any

from chroma_nb.check_report import CheckReport
from chroma_nb.client.client import ClientAPI
from chroma_nb.client.memory import ClientMemory
from chroma_nb.collection.collection import Collection
from chroma_nb.collection.fields import Fields
from chroma_nb.collection.results import CollectionList, Explanation, GetResult, QueryResult
from chroma_nb.display.cells import (
    ROWS,
    Cell,
    Table,
    distance_cells,
    head,
    metadata_columns,
    showing,
    text_cell,
    value_cell,
    vector_cell,
)
from chroma_nb.display.empty import why_empty
from chroma_nb.display.facts import NotAsked, known, within
from chroma_nb.display.words import marker, shorten, words_of
from chroma_nb.errors import ChromaError, MemoryBudgetError
from chroma_nb.harmless import clean
from chroma_nb.memory.report import Estimate, MemoryReport, MemorySample, Preview
from chroma_nb.memory.sizes import format_bytes
from chroma_nb.progress import ProgressState
from chroma_nb.settings import Settings, describe
from chroma_nb.transfer.report import TransferReport, Transfers
from chroma_nb.types import IndexingStatus

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chroma_nb.api.base import API
    from chroma_nb.memory.report import CollectionMemory, MemoryEvent
    from chroma_nb.types import CollectionInfo, FieldSummary

View = tuple[str, dict[str, Any]]

#: Metadata keys that are shown, and described at most.
_FIELDS = 20
_DESCRIBED = 200
#: Queries of one result that are shown.
_QUERIES = 5
#: Records of a collection that are shown as a foretaste.
_PREVIEW = 3
#: Events of a report that are shown.
_EVENTS = 5
_NAME_CHARACTERS = 80
_BLOCKS = "▁▂▃▄▅▆▇█"


@singledispatch
def view(shown: object) -> View:
    """Return the template for an object and the values to fill it with."""
    raise TypeError(f"There is no view of {type(shown).__name__}.")


# -- client and collections -----------------------------------------------------------------------


def place_of(settings: Settings) -> str:
    """Return where a store is, in words."""
    if settings.is_remote:
        return f"remote, {settings.place}"
    return f"on disk at {settings.path}" if settings.is_persistent else "in memory"


def function_of(info: CollectionInfo) -> str:
    """Return the name of the function that a collection embeds with, or why there is none."""
    recorded = info.configuration.get("embedding_function")
    if recorded is None:
        return "own embeddings"
    name = recorded.get("name")
    if name:
        return str(name)
    # Chroma's words, "legacy" and "unknown", are for a function that has no name.
    return "no function recorded"


def _rows(infos: Sequence[CollectionInfo], report: MemoryReport | None) -> list[dict[str, str]]:
    known = {} if report is None else {one.id: one for one in report.collections}
    rows = []
    for info in infos:
        memory = known.get(str(info.id))
        held = 0 if memory is None else memory.resident_bytes
        rows.append(
            {
                "name": shorten(info.name, _NAME_CHARACTERS),
                "n_records": "?" if memory is None else f"{memory.n_records:,}",
                "dimension": "–" if info.dimension is None else str(info.dimension),
                "space": info.space,
                "function": shorten(function_of(info), 40),
                "state": "?" if memory is None else memory.state_in_words,
                "memory": format_bytes(held) if held else "–",
            }
        )
    return rows


def _problem(error: Exception, instead: str = "") -> str:
    if isinstance(error, NotAsked):
        return f"Nothing is fetched from a server to show this. {instead}"
    if isinstance(error, TimeoutError):
        return "Unavailable: the store is busy. Show this again in a moment."
    return f"Unavailable: {shorten(str(error), 300) or type(error).__name__}"


@view.register
def _(shown: ClientAPI) -> View:
    place: Any = {"tenant": shown.tenant, "database": shown.database}
    values: dict[str, Any] = {
        "where": place_of(shown.get_settings()),
        "tenant": shorten(shown.tenant, _NAME_CHARACTERS),
        "database": shorten(shown.database, _NAME_CHARACTERS),
        "problem": "",
    }

    def ask(api: API) -> tuple[list[CollectionInfo], int, MemoryReport]:
        infos = api.list_collections(ROWS, 0, **place)
        total = len(infos) if len(infos) < ROWS else api.count_collections(**place)
        return infos, total, api.memory_report([info.id for info in infos], **place)

    found = known(ask, shown)
    if isinstance(found, Exception):
        return "client", {
            **values,
            "problem": _problem(found, "client.list_collections() asks it."),
        }
    infos, total, report = found
    return "client", {
        **values,
        "rows": _rows(infos, report),
        "caption": showing(len(infos), total, "collection"),
        "used": report.used,
        "budget": report.budget,
    }


@view.register
def _(shown: CollectionList) -> View:
    some = shown[:ROWS]
    report: MemoryReport | Exception | None = None
    if some:
        one = some[0]
        place: Any = {"tenant": one.tenant, "database": one.database}
        report = known(lambda api: api.memory_report([c.id for c in some], **place), one.client)
    problem = ""
    if isinstance(report, Exception):
        problem, report = _problem(report, "collection.count() asks it."), None
    return "collections", {
        "rows": _rows([one.get_model() for one in some], report),
        "caption": showing(len(some), len(shown), "collection"),
        "problem": problem,
    }


@view.register
def _(shown: Collection) -> View:
    info = shown.get_model()
    place: Any = {"tenant": info.tenant, "database": info.database}

    def ask(api: API) -> tuple[CollectionInfo, CollectionMemory, GetResult]:
        fresh = api.get_collection_by_id(info.id, **place)
        memory = api.memory_report([info.id], **place).collections[0]
        first = api.get(info.id, limit=_PREVIEW, include=["documents", "metadatas"], **place)
        preview = GetResult(ids=first.ids, documents=first.documents, metadatas=first.metadatas)
        return fresh, memory, preview

    found = known(ask, shown.client)
    values: dict[str, Any] = {"problem": "", "table": None}
    about = []
    if isinstance(found, Exception):
        values["problem"] = _problem(found, "collection.peek() asks it.")
    else:
        info, memory, preview = found
        about.append(f"{memory.n_records:,} {'record' if memory.n_records == 1 else 'records'}")
        if preview["ids"]:
            count = showing(len(preview["ids"]), memory.n_records, "record")
            values["table"] = _records(preview, count)
    if info.dimension is not None:
        about.append(f"{info.dimension} dimensions")
    recorded = info.configuration.get("embedding_function") or {}
    name = function_of(info)
    about += [f"{info.space} distance", f"embeds with {name}" if recorded.get("name") else name]
    if not isinstance(found, Exception):
        held = f"{format_bytes(memory.resident_bytes)} in memory"
        about.append(held if memory.resident_bytes else memory.state_in_words)
    elif isinstance(found, NotAsked):
        about.append(place_of(shown.client.get_settings()))
    hnsw = info.configuration["hnsw"]
    return "collection", {
        **values,
        "name": shorten(info.name, _NAME_CHARACTERS),
        "about": ", ".join(shorten(part, 60) for part in about),
        "configuration": [
            ("id", Cell(str(info.id))),
            *((key, value_cell(value)) for key, value in hnsw.items()),
            ("unloaded after", Cell(_ttl(info.ttl_seconds))),
        ],
        "metadata": [
            (shorten(key, 40), value_cell(value))
            for key, value in list((info.metadata or {}).items())[:20]
        ],
        "transfer": [] if shown.last_transfer is None else _sentences(shown.last_transfer),
    }


def _sentences(report: TransferReport) -> list[str]:
    return [shorten(clean(f"{sentence}."), 500) for sentence in report.sentences()]


@view.register
def _(shown: TransferReport) -> View:
    return "sentences", {"sentences": _sentences(shown)}


@view.register
def _(shown: Transfers) -> View:
    reports = list(shown.reports.values())
    heads = [head("collection"), *(head(name, number=True) for name in _TRANSFERRED)]
    rows = [
        [
            text_cell(shorten(one.collection, _NAME_CHARACTERS)),
            *(Cell(f"{getattr(one, name):,}", number=True) for name in _TRANSFERRED),
        ]
        for one in reports[:ROWS]
    ]
    lead = "" if reports else "Nothing was copied."
    table = Table(showing(len(rows), len(reports), "collection"), heads, rows)
    return "table", {"lead": lead, "table": table}


_TRANSFERRED = ("added", "skipped", "changed", "removed")


def _ttl(seconds: float | None) -> str:
    return "the store's idle time" if seconds is None else f"{seconds:g} s without use"


# -- results --------------------------------------------------------------------------------------


def _records(
    result: GetResult | QueryResult,
    caption: str,
    row: int | None = None,
    exact: Sequence[str] = (),
) -> Table:
    """Return records as a table; of a `QueryResult` those of query `row`."""

    def part(name: str) -> Any:
        values = result.get(name)
        return values if values is None or row is None else values[row]

    ids = part("ids")[:ROWS]
    asked = getattr(result, "asked", None)
    pattern = marker(words_of(asked[row]) if asked and row is not None else (), exact)
    heads: list[Cell] = []
    columns: list[list[Cell]] = []

    def column(name: str, cells: list[Cell], *, number: bool = False) -> None:
        heads.append(head(name, number=number))
        columns.append(cells)

    if row is not None:
        column("#", [Cell(str(at), number=True) for at in range(1, len(ids) + 1)], number=True)
    distances = part("distances")
    if distances is not None:
        column("distance", distance_cells(distances[: len(ids)]), number=True)
    column("id", [text_cell(one, limit=60) for one in ids])
    documents = part("documents")
    if documents is not None:
        cells = [Cell("") if one is None else text_cell(one, pattern) for one in documents[:ROWS]]
        column("document", cells)
    metadatas = part("metadatas")
    if metadatas is not None:
        names, rows = metadata_columns(metadatas[: len(ids)])
        heads.extend(names)
        columns.extend([each[at] for each in rows] for at in range(len(names)))
    uris = part("uris")
    if uris is not None:
        column("uri", [Cell("") if one is None else text_cell(one) for one in uris[: len(ids)]])
    embeddings = part("embeddings")
    if embeddings is not None:
        column("embedding", [vector_cell(one) for one in embeddings[: len(ids)]])
    return Table(clean(caption), heads, list(zip(*columns, strict=True)))


@view.register
def _(shown: GetResult) -> View:
    total = len(shown["ids"])
    caption = showing(min(total, ROWS), total, "record") if total else "No records."
    more = "All of them: .to_pandas()" if total > ROWS else ""
    if not total:
        more = why_empty(shown)
    table = _records(shown, caption, exact=shown.contains)
    return "records", {"tables": [table], "more": more}


@view.register
def _(shown: QueryResult) -> View:
    total = len(shown["ids"])
    tables = []
    for row in range(min(total, _QUERIES)):
        n = len(shown["ids"][row])
        caption = showing(min(n, ROWS), n, "record")
        if shown.asked is not None:
            caption += f" for “{shorten(shown.asked[row], 200)}”"
        elif total > 1:
            caption += f" for query {row + 1}"
        if shown.get("distances") is not None and n:
            caption += ", nearest first; a longer bar is farther"
        tables.append(_records(shown, caption if n else f"No {caption[2:]}.", row, shown.contains))
    more = []
    if total > _QUERIES:
        more.append(f"Showing {_QUERIES} of {total:,} queries.")
    if total > _QUERIES or any(len(ids) > ROWS for ids in shown["ids"]):
        more.append("All of them: .to_pandas()")
    if not any(shown["ids"]):
        more.append(why_empty(shown))
    return "records", {"tables": tables, "more": " ".join(more)}


@view.register
def _(shown: Explanation) -> View:
    first = ("strategy", "reason", "engine", "answered_from", "held_because")
    order = [*(key for key in first if key in shown), *(key for key in shown if key not in first)]
    rows = []
    for key in order:
        value = shown[key]
        cell = Cell(format_bytes(value)) if key.endswith("_bytes") else value_cell(value)
        rows.append((key.replace("_", " "), dataclasses.replace(cell, number=False)))
    return "pairs", {
        "lead": "",
        "caption": "How the query is answered",
        "rows": rows,
        "folded": None,
    }


@view.register
def _(shown: Fields) -> View:
    def ask() -> tuple[list[FieldSummary], int]:
        some = shown.describe()
        # That many are described at most.
        return some, len(some) if len(some) < _DESCRIBED else len(shown)

    found: Any = within(ask) if shown.is_near else NotAsked()
    if isinstance(found, Exception):
        lead = _problem(found, "collection.fields.describe() asks it.")
        return "table", {"lead": lead, "table": Table("")}
    found, n_keys = found
    heads = [head("key"), head("kinds"), head("records", number=True)]
    heads += [head("different", number=True), head("values, and how many have them")]
    rows = []
    for field in found[:_FIELDS]:
        values = ", ".join(f"{shorten(str(value), 30)} ({n:,})" for value, n in field.values[:8])
        if field.minimum is not None and not field.values:
            values = f"{field.minimum:.6g} to {field.maximum:.6g}"
        if len(field.values) > 8:
            values += ", …"
        rows.append(
            [
                text_cell(shorten(field.key, 60)),
                Cell(", ".join(field.kinds)),
                Cell(f"{field.n_records:,}", number=True),
                Cell(_different(field), number=True),
                text_cell(values),
            ]
        )
    table = Table(showing(len(rows), n_keys, "metadata key"), heads, rows)
    return "table", {"lead": "" if rows else "No metadata.", "table": table}


def _different(field: FieldSummary) -> str:
    """Return how many different values there are, and whether that is known."""
    about = "about " if field.is_estimate else ""
    return f"{about}{field.n_distinct:,}" if field.n_distinct else ""


@view.register
def _(shown: ProgressState) -> View:
    return "progress", {
        "sentence": shorten(shown.sentence(), 400),
        "going": not shown.ended,
        "done": shown.done,
        "total": shown.total,
    }


@view.register
def _(shown: IndexingStatus) -> View:
    return "status", {
        "done": shown.num_indexed_ops,
        "total": shown.total_ops,
        "percent": f"{100 * shown.op_indexing_progress:.0f}",
    }


# -- memory ---------------------------------------------------------------------------------------


def sparkline(history: Sequence[MemorySample], points: int = 40) -> str:
    """Return what was held over time as a row of blocks; the highest is the largest of them."""
    values = [sample.used for sample in history][-points:]
    top = max(values, default=0)
    if len(values) < 2 or not top:
        return ""
    return "".join(_BLOCKS[min(7, value * 8 // (top + 1))] for value in values)


def totals(report: MemoryReport) -> list[tuple[str, int, int, str]]:
    """Return (what, bytes, of how many, a note): three figures that are not the same thing."""
    loaded = sum(one.resident_bytes > 0 for one in report.collections)
    line = sparkline(report.history)
    note = f"{loaded} of {len(report.collections)} collections loaded"
    free = f"by {report.limit_source}, {format_bytes(report.free_bytes)} free"
    if report.short:
        free += "; memory is short, so what is loaded gives way"
    work = ("work", report.work_bytes, 0, "answers, scans and copies of this moment")
    return [
        ("index", report.used, report.budget, f"{note} {line}".strip()),
        *([work] if report.work_bytes else []),
        (
            "the server" if report.server else "this kernel",
            report.process_bytes,
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
    return sorted(report.collections, key=lambda one: -one.resident_bytes)


def event_table(events: Sequence[MemoryEvent]) -> Table:
    """Return the last events, newest first."""
    last = list(events)[::-1][:_EVENTS]
    heads = [head("what"), head("collection"), head("why"), head("bytes", number=True)]
    heads.append(head("took", number=True))
    rows = [
        [
            Cell(one.action),
            text_cell(shorten(one.collection, _NAME_CHARACTERS)),
            text_cell(one.reason),
            Cell(format_bytes(one.n_bytes), number=True),
            Cell(f"{one.seconds * 1e3:.1f} ms", number=True),
        ]
        for one in last
    ]
    return Table("last events, newest first", heads, rows)


def _memory(report: MemoryReport, calls: Sequence[str] = ()) -> View:
    heads = [head("collection"), head("memory", number=True), head("state"), head("form")]
    heads += [head("records", number=True), head("on disk", number=True), head("kept")]
    largest = max((one.resident_bytes for one in report.collections), default=0) or 1
    rows = []
    shown = by_size(report)[:ROWS]
    for one in shown:
        bar = round(one.resident_bytes / largest, 3)
        kept = "pinned" if one.pinned else ""
        if one.ttl_seconds is not None:
            kept = f"{kept} TTL {one.ttl_seconds:g} s".strip()
        rows.append(
            [
                text_cell(shorten(one.name, _NAME_CHARACTERS)),
                Cell(format_bytes(one.resident_bytes), number=True, bar=bar),
                Cell(one.state_in_words),
                Cell(one.form),
                Cell(f"{one.n_records:,}", number=True),
                Cell(format_bytes(one.disk_bytes), number=True),
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


@view.register
def _(shown: MemoryReport) -> View:
    return _memory(shown)


@view.register
def _(shown: ClientMemory) -> View:
    found = known(lambda _: shown.report(), shown.client)
    if isinstance(found, Exception):
        lead = _problem(
            found, "client.memory.report() asks it, client.memory.widget() all the time."
        )
        return "table", {"lead": lead, "table": Table("")}
    return _memory(found, calls_for(found))


def calls_for(report: MemoryReport) -> list[str]:
    """Return the calls that do what the widget's controls do."""
    names = [one.name for one in by_size(report)[:3]]
    calls = []
    for name in names:
        quoted = repr(shorten(name, _NAME_CHARACTERS))
        calls += [f"client.memory.unload({quoted})", f"client.memory.pin({quoted})"]
        calls.append(f"client.memory.set_ttl({quoted}, 60)")
    calls += ["client.memory.unload_all()", 'client.memory.budget = "500 MB"']
    return [*calls, 'client.memory.preview("500 MB")', "client.memory.widget()"]


@view.register
def _(shown: Preview) -> View:
    table = Table(
        showing(min(len(shown), ROWS), len(shown), "collection"),
        [head("collection"), head("memory", number=True), head("why")],
        [
            [
                text_cell(shorten(one.collection, _NAME_CHARACTERS)),
                Cell(format_bytes(one.n_bytes), number=True),
                text_cell(one.reason),
            ]
            for one in shown[:ROWS]
        ],
    )
    budget = shown.budget if isinstance(shown.budget, str) else format_bytes(shown.budget)
    lead = f"With a budget of {shorten(budget, 40)} nothing would be unloaded."
    if shown.refused:
        lead = f"This budget would be refused. {clean(shown.refused)}"
    if shown:
        size = format_bytes(sum(one.n_bytes for one in shown))
        lead = f"A budget of {shorten(budget, 40)} would unload {size}:"
    return "table", {"lead": lead, "table": table}


@view.register
def _(shown: Estimate) -> View:
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


@view.register
def _(shown: CheckReport) -> View:
    damaged = sum(not one.is_whole for one in shown.collections)
    n = f"{len(shown.collections):,} collection{'' if len(shown.collections) == 1 else 's'}"
    lead = f"{n}: all is whole." if not damaged else f"{n}, {damaged:,} of them damaged."
    if not shown.collections:
        lead = "There is no collection."
    lead = f"{lead} {shown.about_unnamed}".strip()
    # What is damaged comes first.
    named = zip(shown.names(), shown.collections, strict=True)
    some = sorted(named, key=lambda pair: pair[1].is_whole)[:ROWS]
    heads = [head("collection"), head("records", number=True), head("blocks", number=True)]
    heads += [head("damaged", number=True), head("found")]
    rows = [
        [
            text_cell(shorten(name, _NAME_CHARACTERS)),
            Cell(f"{one.n_records:,}", number=True),
            Cell(f"{one.n_blocks:,}", number=True),
            Cell(f"{one.n_damaged_blocks:,}", number=True),
            text_cell(one.found),
        ]
        for name, one in some
    ]
    caption = showing(len(rows), len(shown.collections), "collection")
    return "table", {"lead": lead, "table": Table(caption, heads, rows)}


# -- settings and errors --------------------------------------------------------------------------


@view.register
def _(shown: Settings) -> View:
    changed, all_of_them = [], []
    for name, variable, default, meaning in describe():
        value = shown.shown(name)
        if value != default:
            changed.append((name, dataclasses.replace(value_cell(value), number=False)))
        row = [Cell(name), value_cell(value if value != "" else '""')]
        row = [row[0], dataclasses.replace(row[1], number=False)]
        all_of_them.append([*row, Cell(meaning), Cell(variable)])
    heads = [head("setting"), head("value"), head("meaning"), head("environment")]
    folded = Table(f"all {len(all_of_them)} settings", heads, all_of_them)
    lead = "" if changed else "Settings: none was changed."
    caption = "Settings that were changed"
    return "pairs", {"lead": lead, "caption": caption, "rows": changed, "folded": folded}


@view.register
def _(shown: ChromaError) -> View:
    rows = []
    if isinstance(shown, MemoryBudgetError):
        rows = [("need", Cell(format_bytes(shown.need))), ("free", Cell(format_bytes(shown.free)))]
        if shown.budget is not None:
            rows.append(("budget", Cell(format_bytes(shown.budget))))
    message = shorten(clean(str(shown) or shown.message()), 2_000)
    return "pairs", {
        "lead": f"{type(shown).__name__}: {message}",
        "caption": "in figures",
        "rows": rows,
        "folded": None,
    }
