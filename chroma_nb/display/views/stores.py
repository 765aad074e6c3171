"""Clients, collections, and what was moved between them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from chroma_nb.byte_sizes import format_bytes
from chroma_nb.display.cells import (
    NAME_CHARACTERS,
    Cell,
    Table,
    head,
    showing,
    text_cell,
    value_cell,
)
from chroma_nb.display.extent import ROWS
from chroma_nb.display.facts import NotAsked, ask_store, problem
from chroma_nb.display.views.results import records_table
from chroma_nb.display.words import shorten
from chroma_nb.harmless import clean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chroma_nb.api.base import API, Records
    from chroma_nb.client import ClientAPI
    from chroma_nb.collection import Collection
    from chroma_nb.collection.results import CollectionList
    from chroma_nb.display.cells import View
    from chroma_nb.memory.report import CollectionMemory, MemoryReport
    from chroma_nb.settings import Settings
    from chroma_nb.transfer.report import TransferReport, Transfers
    from chroma_nb.types import CollectionInfo

#: Records of a collection that are shown with it.
_PREVIEW = 3
#: Metadata keys of a collection itself that are shown.
_METADATA_KEYS = 20
#: What happened to records that were moved: the columns of a table of transfers.
_TRANSFERRED = ("added", "skipped", "changed", "removed")


def _place_of(settings: Settings) -> str:
    """Return where a store is, in words."""
    if settings.is_remote:
        return f"remote, {settings.place}"
    return f"on disk at {settings.path}" if settings.is_persistent else "in memory"


def _function_of(info: CollectionInfo) -> str:
    """Return the name of the function that a collection embeds with, or why there is none."""
    recorded = info.configuration.get("embedding_function")
    if recorded is None:
        return "own embeddings"
    name = recorded.get("name")
    if name:
        return str(name)
    # Chroma's words, "legacy" and "unknown", are for a function that has no name.
    return "no function recorded"


def _collection_rows(
    infos: Sequence[CollectionInfo], report: MemoryReport | None
) -> list[dict[str, str]]:
    by_id = {} if report is None else {each.id: each for each in report.collections}
    rows = []
    for info in infos:
        memory = by_id.get(str(info.id))
        held = 0 if memory is None else memory.resident_bytes
        rows.append(
            {
                "name": shorten(info.name, NAME_CHARACTERS),
                "n_records": "?" if memory is None else f"{memory.n_records:,}",
                "dimension": "–" if info.dimension is None else str(info.dimension),
                "space": info.space,
                "function": shorten(_function_of(info), 40),
                "state": "?" if memory is None else memory.state_in_words,
                "memory": format_bytes(held) if held else "–",
            }
        )
    return rows


def view_client(shown: ClientAPI) -> View:
    """Return where a client's store is, and its first collections."""
    place: Any = {"tenant": shown.tenant, "database": shown.database}
    values: dict[str, Any] = {
        "where": _place_of(shown.get_settings()),
        "tenant": shorten(shown.tenant, NAME_CHARACTERS),
        "database": shorten(shown.database, NAME_CHARACTERS),
        "problem": "",
    }

    def ask(api: API) -> tuple[list[CollectionInfo], int, MemoryReport]:
        infos = api.list_collections(ROWS, 0, **place)
        total = len(infos) if len(infos) < ROWS else api.count_collections(**place)
        return infos, total, api.memory_report([info.id for info in infos], **place)

    found = ask_store(ask, shown)
    if isinstance(found, Exception):
        return "client", {
            **values,
            "problem": problem(found, "client.list_collections() asks it."),
        }
    infos, total, report = found
    return "client", {
        **values,
        "rows": _collection_rows(infos, report),
        "caption": showing(len(infos), total, "collection"),
        "used": report.used,
        "budget": report.budget,
    }


def view_collections(shown: CollectionList) -> View:
    """Return the first of some collections."""
    some = shown[:ROWS]
    report: MemoryReport | Exception | None = None
    if some:
        first = some[0]
        place: Any = {"tenant": first.tenant, "database": first.database}
        ids = [collection.id for collection in some]
        report = ask_store(lambda api: api.memory_report(ids, **place), first.client)
    trouble = ""
    if isinstance(report, Exception):
        trouble, report = problem(report, "collection.count() asks it."), None
    return "collections", {
        "rows": _collection_rows([collection.get_model() for collection in some], report),
        "caption": showing(len(some), len(shown), "collection"),
        "problem": trouble,
    }


def view_collection(shown: Collection) -> View:
    """Return a collection's size, first records, configuration and metadata."""
    info = shown.get_model()
    place: Any = {"tenant": info.tenant, "database": info.database}

    def ask(api: API) -> tuple[CollectionInfo, CollectionMemory, Records]:
        fresh = api.get_collection_by_id(info.id, **place)
        memory = api.memory_report([info.id], **place).collections[0]
        preview = api.get(info.id, limit=_PREVIEW, include=["documents", "metadatas"], **place)
        return fresh, memory, preview

    found = ask_store(ask, shown.client)
    values: dict[str, Any] = {"problem": "", "table": None}
    about = []
    if isinstance(found, Exception):
        values["problem"] = problem(found, "collection.peek() asks it.")
    else:
        info, memory, preview = found
        about.append(f"{memory.n_records:,} {'record' if memory.n_records == 1 else 'records'}")
        if preview.ids:
            count = showing(len(preview.ids), memory.n_records, "record")
            columns = {
                "ids": preview.ids,
                "documents": preview.documents,
                "metadatas": preview.metadatas,
            }
            values["table"] = records_table(columns, count)
    if info.dimension is not None:
        about.append(f"{info.dimension} dimensions")
    recorded = info.configuration.get("embedding_function") or {}
    name = _function_of(info)
    about += [f"{info.space} distance", f"embeds with {name}" if recorded.get("name") else name]
    if not isinstance(found, Exception):
        held = f"{format_bytes(memory.resident_bytes)} in memory"
        about.append(held if memory.resident_bytes else memory.state_in_words)
    elif isinstance(found, NotAsked):
        about.append(_place_of(shown.client.get_settings()))
    hnsw = info.configuration["hnsw"]
    return "collection", {
        **values,
        "name": shorten(info.name, NAME_CHARACTERS),
        "about": ", ".join(shorten(part, 60) for part in about),
        "configuration": [
            ("id", Cell(str(info.id))),
            *((key, value_cell(value)) for key, value in hnsw.items()),
            ("unloaded after", Cell(_ttl(info.ttl_seconds))),
        ],
        "metadata": [
            (shorten(key, 40), value_cell(value))
            for key, value in list((info.metadata or {}).items())[:_METADATA_KEYS]
        ],
        "transfer": [] if shown.last_transfer is None else _sentences(shown.last_transfer),
    }


def _sentences(report: TransferReport) -> list[str]:
    return [shorten(clean(f"{sentence}."), 500) for sentence in report.sentences()]


def view_transfer(shown: TransferReport) -> View:
    """Return what became of records that were moved, in sentences."""
    return "sentences", {"sentences": _sentences(shown)}


def view_transfers(shown: Transfers) -> View:
    """Return what became of each collection that was copied."""
    reports = list(shown.reports.values())
    heads = [head("collection"), *(head(name, number=True) for name in _TRANSFERRED)]
    rows = [
        [
            text_cell(shorten(report.collection, NAME_CHARACTERS)),
            *(Cell(f"{getattr(report, name):,}", number=True) for name in _TRANSFERRED),
        ]
        for report in reports[:ROWS]
    ]
    lead = "" if reports else "Nothing was copied."
    table = Table(showing(len(rows), len(reports), "collection"), heads, rows)
    return "table", {"lead": lead, "table": table}


def _ttl(seconds: float | None) -> str:
    return "the store's idle time" if seconds is None else f"{seconds:g} s without use"
