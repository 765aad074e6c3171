"""What is said about memory, as JSON and back."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, TypeVar

from chroma_nb.memory.report import (
    CollectionMemory,
    Departure,
    Estimate,
    MemoryEvent,
    MemoryReport,
    MemorySample,
)
from chroma_nb.types import FieldSummary

T = TypeVar("T")


def _made(kind: type[T], values: dict[str, Any]) -> T:
    """Return a dataclass of the values that it knows; what a newer server adds is left out."""
    return kind(**{one.name: values[one.name] for one in fields(kind) if one.name in values})  # type: ignore[arg-type]


def report_from_json(found: dict[str, Any], server: str) -> MemoryReport:
    """Return a report from `MemoryReport.to_dict`; `server` is the address of the one that made it."""
    parts: dict[str, type] = {
        "collections": CollectionMemory,
        "events": MemoryEvent,
        "history": MemorySample,
    }
    lists: dict[str, list[Any]] = {
        name: [_made(kind, one) for one in found.get(name, [])] for name, kind in parts.items()
    }
    return _made(MemoryReport, {**found, **lists, "server": server})


def departures_from_json(found: list[dict[str, Any]]) -> list[Departure]:
    """Return what a budget would unload."""
    return [_made(Departure, one) for one in found]


def estimate_from_json(found: dict[str, Any]) -> Estimate:
    """Return an estimate from `dataclasses.asdict`."""
    return _made(Estimate, found)


def fields_from_json(found: list[dict[str, Any]]) -> list[FieldSummary]:
    """Return summaries of metadata keys from `dataclasses.asdict`."""
    return [
        _made(
            FieldSummary,
            {
                # An older server does not say: what it lists no values of, it has estimated at most.
                "is_estimate": bool(one["n_distinct"]) and not one["values"],
                **one,
                "kinds": tuple(one["kinds"]),
                "values": [(value, count) for value, count in one["values"]],
            },
        )
        for one in found
    ]
