"""Memory reports, read from JSON."""

from __future__ import annotations

from typing import Any

from chroma_nb.memory.report import (
    CollectionMemory,
    Estimate,
    Eviction,
    MemoryEvent,
    MemoryReport,
    MemorySample,
)
from chroma_nb.wire.entries import entry_from_json


def report_from_json(found: dict[str, Any]) -> MemoryReport:
    """Return a report from `MemoryReport.to_dict`. Who reads it knows which server made it, and says so in it."""
    parts: dict[str, type] = {
        "collections": CollectionMemory,
        "events": MemoryEvent,
        "history": MemorySample,
    }
    lists: dict[str, list[Any]] = {
        name: [entry_from_json(kind, one) for one in found.get(name, [])]
        for name, kind in parts.items()
    }
    return entry_from_json(MemoryReport, {**found, **lists, "server": ""})


def evictions_from_json(found: list[dict[str, Any]]) -> list[Eviction]:
    """Return what a budget would unload."""
    return [entry_from_json(Eviction, one) for one in found]


def estimate_from_json(found: dict[str, Any]) -> Estimate:
    """Return an estimate from `dataclasses.asdict`."""
    return entry_from_json(Estimate, found)
