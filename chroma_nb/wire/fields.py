"""Summaries of metadata keys, read from JSON."""

from __future__ import annotations

from typing import Any

from chroma_nb.types import FieldSummary
from chroma_nb.wire.answers import check_kind
from chroma_nb.wire.entries import entry_from_json


def fields_from_json(found: list[dict[str, Any]]) -> list[FieldSummary]:
    """Return summaries of metadata keys from `dataclasses.asdict`."""
    return [
        entry_from_json(
            FieldSummary,
            {
                # An older server does not say: what it lists no values of, it has estimated at most.
                "is_estimate": bool(one["n_distinct"]) and not one["values"],
                **one,
                "kinds": tuple(check_kind(one["kinds"], list, "'kinds'")),
                "values": [(value, count) for value, count in one["values"]],
            },
        )
        for one in found
    ]
