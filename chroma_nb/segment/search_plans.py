"""How each `Knn` of a search was answered, as plain values: `dense_plan`, `sparse_plan`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from chroma_nb.segment.planner import Strategy
from chroma_nb.special_keys import DOCUMENT_KEY

if TYPE_CHECKING:
    from chroma_nb.segment.planner import Plan
    from chroma_nb.segment.segment import Segment

#: Of searches by words and by sparse vectors.
WORDS_INDEX = "index of the words"
SPARSE_INDEX = "index of the sparse vectors"
SCAN = "exact over all texts"


def dense_plan(segment: Segment, plan: Plan, n_bytes: int) -> dict[str, Any]:
    """Return how embeddings were compared.

    Args:
        segment: What answered.
        plan: What it did.
        n_bytes: What the neighbours took while they were put together.
    """
    facts = plan.facts
    rows = {
        Strategy.EMPTY: 0,
        Strategy.EXACT: facts.n_live,
        Strategy.EXACT_SUBSET: facts.n_allowed,
    }.get(plan.strategy, facts.n_live - facts.n_indexed)
    around = _around(segment)
    if plan.where:
        around["answered_from"] = plan.where
    return {**plan.to_dict(), **around, "rows_read": rows, "work_bytes": n_bytes}


def sparse_plan(segment: Segment, key: str, n_allowed: int | None, n_bytes: int) -> dict[str, Any]:
    """Return how words or sparse vectors were compared.

    Args:
        segment: What answered.
        key: Their key.
        n_allowed: Records that the filter keeps; None without a filter.
        n_bytes: What the distances took.
    """
    n_live = segment.metadata.n_live
    is_words = key == DOCUMENT_KEY
    if key in segment.metadata.sparse_keys:
        strategy = WORDS_INDEX if is_words else SPARSE_INDEX
        what = "the documents of each word" if is_words else "the records of each index"
        reason, rows = f"it is in memory, and has {what}", 0
    elif segment.resident_bytes:
        strategy, reason, rows = SCAN, "there is no room for an index", n_live
    else:
        strategy, reason, rows = SCAN, "the collection is not in memory", n_live
    numbers = {"n_live": n_live, "n_allowed": n_allowed}
    around = {**_around(segment), "rows_read": rows, "work_bytes": n_bytes}
    # The engine is of graphs.
    del around["engine"]
    return {"strategy": strategy, "reason": reason, **numbers, **around}


def nothing_plan(segment: Segment, limit: int) -> dict[str, Any]:
    """Return why a `Knn` was not looked for at all."""
    reason = "limit=0" if not limit else "there is no record with an embedding"
    around = {**_around(segment), "rows_read": 0, "work_bytes": 0}
    return {"strategy": Strategy.EMPTY.value, "reason": reason, **around}


def _around(segment: Segment) -> dict[str, Any]:
    return {
        "engine": segment.form,
        "answered_from": "memory" if segment.resident_bytes else "disk",
        "resident_bytes": segment.resident_bytes,
        "sparse_bytes": segment.sparse_bytes,
    }
