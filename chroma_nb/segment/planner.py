"""The planner: exact or graph, in one function."""

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
#: HNSW misses more of the neighbours the nearer their number is to that of the candidates it examines. So it examines
#: this many for each wanted one (50,000 MiniLM embeddings, 100 results: recall 0.985 with 2, 0.96 with 1).
_CANDIDATES_PER_RESULT = 2
#: Candidates beyond what the share of matches asks for, as matches do not lie evenly.
_OVERFETCH = 3.0


class Strategy(str, enum.Enum):
    """How a query is answered."""

    EMPTY = "empty"
    EXACT = "exact"
    EXACT_SUBSET = "exact over the matches"
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
    #: Live records that the graph covers; 0 without one.
    n_indexed: int
    ef_search: int
    n_queries: int = 1


@dataclass(frozen=True)
class Plan:
    """What will be done, and why.

    `fetch` is how many neighbours the graph is asked for, 0 where it is not asked. `where` is the database that carries
    it out, if that is not this process.
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
    With a filter the graph is asked for so many neighbours that the wanted ones should be among them;
    whoever carries the plan out scans the matches when they are not.
    """
    f = facts
    n_allowed = f.n_live if f.n_allowed is None else f.n_allowed
    if n_allowed == 0:
        return Plan(Strategy.EMPTY, "no record matches", 0, f)
    filtered = n_allowed < f.n_live
    row_bytes = 4 * f.dimension
    exact_seconds = (
        n_allowed * row_bytes / _GATHER_RATE if filtered else f.n_live * row_bytes / _SCAN_RATE
    )
    exact = Strategy.EXACT_SUBSET if filtered else Strategy.EXACT
    if f.n_indexed == 0:
        return Plan(exact, "there is no graph", 0, f)
    tail_seconds = (f.n_live - f.n_indexed) * row_bytes / _SCAN_RATE
    fetch = f.n_results
    if _CANDIDATES_PER_RESULT * fetch > f.ef_search:
        fetch *= _CANDIDATES_PER_RESULT
    if filtered:
        fetch = int(f.n_results * f.n_live / n_allowed * _OVERFETCH) + 32
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
