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
from chroma_nb.display.kept import Composed, view_in_time
from chroma_nb.display.views.results import records_table
from chroma_nb.display.words import shorten
from chroma_nb.harmless import clean
from chroma_nb.words import counted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from uuid import UUID

    from chroma_nb.api.base import API, Records
    from chroma_nb.api.known import Fact, Known
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


def _memory_of(
    api: API, infos: Sequence[CollectionInfo], place: dict[str, Any]
) -> MemoryReport | None:
    """Return the memory of some collections; None where there are none, or at Chroma's own server, which has no such route."""
    if not infos:
        return None
    try:
        return api.memory_report([info.id for info in infos], **place)
    except NotImplementedError:
        # Our NotSupportedError is one. Errors are above what shows them.
        return None


def _collections_table(
    infos: Sequence[CollectionInfo],
    caption: str,
    report: MemoryReport | None,
    counts: Mapping[UUID, int] | None = None,
) -> dict[str, Any]:
    """Return a table of collections for the template.

    Args:
        infos: The collections.
        caption: Says how many there are.
        report: Their memory; None where it is not known.
        counts: How many records they have, as far as that is known without a report.
    """
    by_id = {} if report is None else {each.id: each for each in report.collections}
    counts = counts or {}
    rows = []
    for info in infos:
        memory = by_id.get(str(info.id))
        held = 0 if memory is None else memory.resident_bytes
        n_records = counts.get(info.id) if memory is None else memory.n_records
        rows.append(
            {
                "name": shorten(info.name, NAME_CHARACTERS),
                "n_records": "?" if n_records is None else f"{n_records:,}",
                "dimension": "–" if info.dimension is None else str(info.dimension),
                "space": info.space,
                "function": shorten(_function_of(info), 40),
                "state": "?" if memory is None else memory.state_in_words,
                "memory": format_bytes(held) if held else "–",
            }
        )
    return {
        "rows": rows,
        "caption": caption,
        "has_counts": report is not None or any(info.id in counts for info in infos),
        "has_memory": report is not None,
    }


def _counts_of(known: Known, infos: Sequence[CollectionInfo]) -> dict[UUID, Fact[int]]:
    counts = {info.id: known.count(info.id) for info in infos}
    return {one: fact for one, fact in counts.items() if fact is not None}


def view_client(shown: ClientAPI) -> View:
    """Return where a client's store is, and its first collections."""
    place: Any = {"tenant": shown.tenant, "database": shown.database}
    values: dict[str, Any] = {
        "where": _place_of(shown.get_settings()),
        "tenant": shorten(shown.tenant, NAME_CHARACTERS),
        "database": shorten(shown.database, NAME_CHARACTERS),
        "problem": "",
        "used": 0,
        "budget": None,
    }

    def ask(api: API) -> tuple[list[CollectionInfo], int, MemoryReport | None]:
        infos = api.list_collections(ROWS, 0, **place)
        total = len(infos) if len(infos) < ROWS else api.count_collections(**place)
        return infos, total, _memory_of(api, infos, place)

    def view(found: tuple[list[CollectionInfo], int, MemoryReport | None]) -> View:
        infos, total, report = found
        table = _collections_table(infos, showing(len(infos), total, "collection"), report)
        if report is not None:
            table |= {"used": report.used, "budget": report.budget}
        return "client", {**values, **table}

    def compose() -> Composed | None:
        known = shown.api.known
        facts = known.collections(**place) if known else []
        if not known or not facts:
            return None
        total = known.total(**place)
        first = facts[:ROWS]
        infos = [fact.value for fact in first]
        counts = _counts_of(known, infos)
        n_known = f"{counted(len(facts), 'collection')}, as far as this client knows"
        caption = n_known if total is None else showing(len(infos), total.value, "collection")
        table = _collections_table(
            infos, caption, None, {one: fact.value for one, fact in counts.items()}
        )
        return Composed(
            ("client", {**values, **table}),
            min([fact.at for fact in first] + [fact.at for fact in counts.values()]),
            known.changed_at((shown.tenant, shown.database)),
        )

    return view_in_time(
        shown,
        ("client", shown.tenant, shown.database),
        ask=ask,
        view=view,
        known=compose,
        nothing=lambda why: ("client", {**values, "problem": why}),
        instead="client.list_collections() asks it.",
    )


def view_collections(shown: CollectionList) -> View:
    """Return the first of some collections."""
    some = shown[:ROWS]
    infos = [collection.get_model() for collection in some]
    caption = showing(len(some), len(shown), "collection")
    if not some:
        return "collections", {"rows": [], "problem": ""}
    client = some[0].client
    place: Any = {"tenant": infos[0].tenant, "database": infos[0].database}

    def view(
        report: MemoryReport | None, counts: Mapping[UUID, int] | None = None, why: str = ""
    ) -> View:
        return "collections", {**_collections_table(infos, caption, report, counts), "problem": why}

    def compose() -> Composed | None:
        known = client.api.known
        counts = _counts_of(known, infos) if known else {}
        if not known or not counts:
            return None
        return Composed(
            view(None, {one: fact.value for one, fact in counts.items()}),
            min(fact.at for fact in counts.values()),
            max(known.changed_at(info.id) for info in infos),
        )

    return view_in_time(
        client,
        ("collections", len(shown), *(info.id for info in infos)),
        ask=lambda api: _memory_of(api, infos, place),
        view=view,
        known=compose,
        nothing=lambda why: view(None, why=why),
        instead="collection.count() asks it.",
    )


def view_collection(shown: Collection) -> View:
    """Return a collection's size, first records, configuration and metadata."""
    info = shown.get_model()
    place: Any = {"tenant": info.tenant, "database": info.database}

    def ask(api: API) -> tuple[CollectionInfo, int, CollectionMemory | None, Records]:
        fresh = api.get_collection_by_id(info.id, **place)
        report = _memory_of(api, [fresh], place)
        memory = None if report is None else report.collections[0]
        n_records = api.count(info.id, **place) if memory is None else memory.n_records
        preview = api.get(info.id, limit=_PREVIEW, include=["documents", "metadatas"], **place)
        return fresh, n_records, memory, preview

    def compose() -> Composed | None:
        known = shown.client.api.known
        described = known.collection(info.id) if known else None
        count = known.count(info.id) if known else None
        facts = [fact for fact in (described, count) if fact is not None]
        if not known or not facts:
            return None
        return Composed(
            _collection_view(
                shown,
                info if described is None else described.value,
                None if count is None else count.value,
            ),
            min(fact.at for fact in facts),
            known.changed_at(info.id),
        )

    return view_in_time(
        shown.client,
        ("collection", info.id),
        ask=ask,
        view=lambda found: _collection_view(shown, *found),
        known=compose,
        nothing=lambda why: _collection_view(shown, info, trouble=why),
        instead="collection.peek() asks it.",
    )


def _collection_view(
    shown: Collection,
    info: CollectionInfo,
    n_records: int | None = None,
    memory: CollectionMemory | None = None,
    preview: Records | None = None,
    trouble: str = "",
) -> View:
    """Return a collection, as far as it is known.

    Args:
        shown: The collection.
        info: Its description.
        n_records: How many records it has.
        memory: Its memory.
        preview: Its first records.
        trouble: Why nothing else is known.
    """
    table = None
    about = []
    if n_records is not None:
        about.append(counted(n_records, "record"))
    if preview is not None and preview.ids:
        columns = {
            "ids": preview.ids,
            "documents": preview.documents,
            "metadatas": preview.metadatas,
        }
        table = records_table(
            columns, showing(len(preview.ids), n_records or len(preview.ids), "record")
        )
    if info.dimension is not None:
        about.append(f"{info.dimension} dimensions")
    recorded = info.configuration.get("embedding_function") or {}
    name = _function_of(info)
    about += [f"{info.space} distance", f"embeds with {name}" if recorded.get("name") else name]
    if memory is not None:
        held = f"{format_bytes(memory.resident_bytes)} in memory"
        about.append(held if memory.resident_bytes else memory.state_in_words)
    settings = shown.client.get_settings()
    if settings.is_remote:
        about.append(_place_of(settings))
    hnsw = info.configuration["hnsw"]
    return "collection", {
        "problem": trouble,
        "table": table,
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
