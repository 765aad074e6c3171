"""What is said about memory, as JSON and back."""

from __future__ import annotations

from dataclasses import fields
from types import UnionType
from typing import Any, TypeVar, get_args, get_type_hints

from chroma_nb.memory.report import (
    CollectionMemory,
    Departure,
    Estimate,
    MemoryEvent,
    MemoryReport,
    MemorySample,
)
from chroma_nb.types import FieldSummary
from chroma_nb.wire.answers import AnswerError, check_kind

T = TypeVar("T")
#: What `_plain_kinds` has found: a report has hundreds of entries.
_kinds: dict[type[Any], dict[str, tuple[type[Any], ...]]] = {}
_PLAIN = {str, int, float, bool, type(None)}


def _made(kind: type[T], values: dict[str, Any]) -> T:
    """Return a dataclass of the values that it knows; what a newer server adds is left out.

    Raises:
        AnswerError: A value is missing or of another kind.
    """
    check_kind(values, dict, "an entry")
    found = {one.name: values[one.name] for one in fields(kind) if one.name in values}  # type: ignore[arg-type]
    for name, expected in _plain_kinds(kind).items():
        if name in found:
            check_kind(found[name], expected, f"{name!r}")
    try:
        return kind(**found)
    except TypeError as error:
        raise AnswerError(str(error)) from None


def _plain_kinds(kind: type[Any]) -> dict[str, tuple[type[Any], ...]]:
    """Return the fields that hold plain values, with what may be in them."""
    found = _kinds.get(kind)
    if found is not None:
        return found
    found = {}
    for name, hint in get_type_hints(kind).items():
        kinds = get_args(hint) if isinstance(hint, UnionType) else (hint,)
        if set(kinds) <= _PLAIN:
            found[name] = (*kinds, int) if float in kinds else kinds
    _kinds[kind] = found
    return found


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
