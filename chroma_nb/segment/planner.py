"""The planner chooses how a query is answered: exactly, by codes or by a graph."""

from __future__ import annotations

import enum
from dataclasses import asdict, dataclass
from typing import Any

#: Seconds that a graph search takes per candidate it examines, at 384 dimensions (100,000 MiniLM
#: embeddings, hnswlib, one thread: 0.29 ms at ef 100); it grows with the dimension.
_SECONDS_PER_CANDIDATE = 2.9e-6 / 384
#: Bytes per second that one core compares exactly: rows in order, and chosen rows copied together.
_SCAN_RATE = 10e9
_GATHER_RATE = 5e9
#: HNSW misses more neighbours when it examines few candidates beyond those wanted. So it examines this many for each wanted
#: one (50,000 MiniLM embeddings, 100 results: recall 0.985 with 2, 0.96 with 1).
_CANDIDATES_PER_RESULT = 2
#: Candidates beyond what the share of matches asks for, as matches do not lie evenly.
_OVERFETCH = 3.0
#: And so many more in any case.
_OVERFETCH_LEAST = 32
#: Bytes of codes per second that one core compares: 80e9 where they are in its cache, 25e9 where not (49,000 and 392,000 MiniLM
#: embeddings, 4 bits); and the seconds that a search of codes takes in any case.
_CODE_RATE = 40e9
_CODE_SECONDS = 30e-6
#: Candidates of a search by codes beyond the wanted results, at least. An engine may want more (`VectorIndex.overfetch`).
_EXTRA_CODES = 4
#: Seconds that reading one vector by its label takes.
_READ_SECONDS = 1e-6


class Strategy(str, enum.Enum):
    """How a query is answered."""

    EMPTY = "empty"
    EXACT = "exact"
    EXACT_SUBSET = "exact over the matches"
    CODES = "codes"
    CODES_SUBSET = "codes of the matches"
    GRAPH = "graph"
    GRAPH_FILTERED = "graph, filtered afterwards"


@dataclass(frozen=True)
class Facts:
    """What the choice depends on."""

    n_live: int
    dimension: int
    #: Records that the filter keeps; None without a filter.
    n_allowed: int | None
    n_results: int
    #: Live records that the graph or the codes cover; 0 without them.
    n_indexed: int
    ef_search: int
    n_queries: int = 1
    #: Bytes of each code; 0 where there is a graph, or nothing.
    code_bytes: int = 0

    @property
    def n_matches(self) -> int:
        """Records that the filter keeps; all of them without one."""
        return self.n_live if self.n_allowed is None else self.n_allowed


@dataclass(frozen=True)
class Plan:
    """What will be done, and why.

    `fetch` is how many neighbours the graph or the codes are asked for, 0 where they are not asked. `where` is the database
    that carries it out, if that is not this process.
    """

    strategy: Strategy
    reason: str
    fetch: int
    facts: Facts
    where: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the plan as plain values."""
        strategy = self.strategy.value
        if self.where and self.strategy is not Strategy.EMPTY:
            strategy = f"{strategy} in {self.where}"
        return {
            "strategy": strategy,
            "reason": self.reason,
            "fetch": self.fetch,
            **asdict(self.facts),
        }


def plan(facts: Facts) -> Plan:
    """Choose how to answer a query: the cheaper of the ways that give the right answer.

    An exact scan always does. A graph does for the part that it covers; the tail is scanned beside it.
    With a filter, the graph is asked for so many neighbours that enough of them should match; the caller
    scans the matches where they do not.
    """
    f = facts
    n_allowed = f.n_matches
    if n_allowed == 0:
        return Plan(Strategy.EMPTY, "no record matches", 0, f)
    filtered = n_allowed < f.n_live
    row_bytes = 4 * f.dimension
    exact_seconds = (
        n_allowed * row_bytes / _GATHER_RATE if filtered else f.n_live * row_bytes / _SCAN_RATE
    )
    exact = Strategy.EXACT_SUBSET if filtered else Strategy.EXACT
    if f.n_indexed == 0:
        return Plan(exact, "there is no index", 0, f)
    tail_seconds = (f.n_live - f.n_indexed) * row_bytes / _SCAN_RATE
    if f.code_bytes:
        return _by_codes(f, n_allowed, exact, exact_seconds, tail_seconds)
    fetch = f.n_results
    if _CANDIDATES_PER_RESULT * fetch > f.ef_search:
        fetch *= _CANDIDATES_PER_RESULT
    if filtered:
        fetch = int(f.n_results * f.n_live / n_allowed * _OVERFETCH)
        fetch += _OVERFETCH_LEAST
    if fetch >= f.n_indexed:
        return Plan(exact, "the graph would have to return nearly everything", 0, f)
    candidates = max(fetch, f.ef_search)
    graph_seconds = candidates * _SECONDS_PER_CANDIDATE * f.dimension + tail_seconds
    # Both sides in milliseconds, so that explain() can be checked against a watch.
    figures = f"exact about {exact_seconds * 1e3:.2f} ms, graph {graph_seconds * 1e3:.2f} ms"
    if exact_seconds <= graph_seconds:
        return Plan(exact, figures, 0, f)
    graph = Strategy.GRAPH_FILTERED if filtered else Strategy.GRAPH
    return Plan(graph, figures, fetch, f)


def _by_codes(
    f: Facts, n_allowed: int, exact: Strategy, exact_seconds: float, tail_seconds: float
) -> Plan:
    """Choose between the codes and an exact search.

    Args:
        f: What the choice depends on.
        n_allowed: Records that match.
        exact: How an exact search would be made.
        exact_seconds: What it takes.
        tail_seconds: What comparing the records without a code takes.
    """
    fetch = f.n_results + _EXTRA_CODES
    if fetch >= min(n_allowed, f.n_indexed):
        return Plan(exact, "most of the matches would be compared exactly anyway", 0, f)
    if n_allowed < f.n_live:
        exact_seconds += n_allowed * _READ_SECONDS
    seconds = _CODE_SECONDS + f.n_indexed * f.code_bytes / _CODE_RATE + tail_seconds
    seconds += fetch * (_READ_SECONDS + 4 * f.dimension / _GATHER_RATE)
    figures = f"exact about {exact_seconds * 1e3:.2f} ms, codes {seconds * 1e3:.2f} ms"
    if exact_seconds <= seconds:
        return Plan(exact, figures, 0, f)
    codes = Strategy.CODES_SUBSET if n_allowed < f.n_live else Strategy.CODES
    return Plan(codes, figures, fetch, f)
