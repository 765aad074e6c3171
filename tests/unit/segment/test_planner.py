"""The planner: the cheaper of the ways that give the right answer."""

from __future__ import annotations

from dataclasses import replace

from chroma_nb.segment.planner import Facts, Strategy, plan

LARGE = Facts(
    n_live=100_000, dimension=384, n_allowed=None, n_results=10, n_indexed=100_000, ef_search=100
)


def test_nothing_matches() -> None:
    assert plan(replace(LARGE, n_allowed=0)).strategy is Strategy.EMPTY
    assert plan(replace(LARGE, n_live=0, n_indexed=0)).strategy is Strategy.EMPTY


def test_without_a_graph_everything_is_exact() -> None:
    assert plan(replace(LARGE, n_indexed=0)).strategy is Strategy.EXACT
    assert plan(replace(LARGE, n_indexed=0, n_allowed=50_000)).strategy is Strategy.EXACT_SUBSET


def test_a_graph_answers_for_a_large_collection() -> None:
    found = plan(LARGE)
    assert (found.strategy, found.fetch) == (Strategy.GRAPH, 10)


def test_few_matches_are_scanned_and_many_are_fished_for() -> None:
    strategies = [
        plan(replace(LARGE, n_allowed=n)).strategy for n in (10, 100, 1_000, 20_000, 50_000, 99_999)
    ]
    assert strategies[:3] == [Strategy.EXACT_SUBSET] * 3
    assert strategies[3:] == [Strategy.GRAPH_FILTERED] * 3
    # A filter that keeps everything is none.
    assert plan(replace(LARGE, n_allowed=100_000)).strategy is Strategy.GRAPH


def test_a_filtered_search_asks_for_more_the_rarer_the_matches() -> None:
    fetches = [plan(replace(LARGE, n_allowed=n)).fetch for n in (90_000, 50_000, 20_000)]
    assert fetches == sorted(fetches)
    assert fetches[0] >= 10 * 100_000 / 90_000


def test_a_long_tail_or_nearly_everything_wanted_is_exact() -> None:
    assert plan(replace(LARGE, n_indexed=10_000, n_live=100_000)).strategy is Strategy.GRAPH
    assert plan(replace(LARGE, n_results=100_000)).strategy is Strategy.EXACT
    assert plan(replace(LARGE, n_results=60_000)).strategy is Strategy.EXACT


def test_the_plan_can_be_read() -> None:
    described = plan(LARGE).to_dict()
    assert described["strategy"] == "graph"
    assert "ms" in described["reason"]
    assert described["n_live"] == 100_000


CODES = replace(LARGE, code_bytes=196)


def test_codes_answer_for_a_large_collection_with_and_without_a_filter() -> None:
    assert plan(CODES).strategy is Strategy.CODES
    assert plan(replace(CODES, n_allowed=CODES.n_live)).strategy is Strategy.CODES
    for n_allowed in (1_500, 9_000, 50_000, 99_999):
        found = plan(replace(CODES, n_allowed=n_allowed))
        assert (found.strategy, found.fetch) == (Strategy.CODES_SUBSET, plan(CODES).fetch)


def test_what_would_nearly_all_be_compared_exactly_is_not_looked_for_by_codes() -> None:
    assert plan(replace(CODES, n_allowed=10)).strategy is Strategy.EXACT_SUBSET
    assert plan(replace(CODES, n_results=100_000)).strategy is Strategy.EXACT
    assert plan(replace(CODES, n_indexed=5_000, n_live=100_000)).strategy is not Strategy.GRAPH
    assert plan(replace(CODES, n_indexed=0)).strategy is Strategy.EXACT
