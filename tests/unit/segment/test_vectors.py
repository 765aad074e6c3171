"""`ExactReader` and `LoadedVectors`: the nearest, whatever of them is in a graph, deleted, filtered or a tail."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from chroma_nb.index.base import GraphParameters
from chroma_nb.index.exact import search
from chroma_nb.segment import vectors as vectors_module
from chroma_nb.segment.planner import Facts, Plan, Strategy
from chroma_nb.segment.vectors import ExactReader, LoadedVectors
from chroma_nb.testing.shared_memory_db import Vectors
from chroma_nb.types import Neighbors
from tests.support.own_index import OwnIndex

if TYPE_CHECKING:
    from chroma_nb.types import Space

N, DIMENSION = 300, 4
ROWS = np.random.default_rng(1).standard_normal((N, DIMENSION), dtype=np.float32)
QUERIES = np.random.default_rng(2).standard_normal((3, DIMENSION), dtype=np.float32)
SPACES: list[Space] = ["l2", "cosine", "ip"]


def source() -> Vectors:
    found = Vectors(DIMENSION)
    found.rows = ROWS
    return found


def loaded(space: Space = "l2", graph_end: int = 0) -> LoadedVectors:
    """Return a reader of all rows, of which the first ones are in a graph."""
    made = LoadedVectors(source(), space, lambda _: True)
    made.append(ROWS)
    if graph_end:
        made.graph = OwnIndex(GraphParameters(space, DIMENSION))
        made.graph.add(np.arange(graph_end), ROWS[:graph_end], 1)
        made.graph_end = made.graph_claimed = graph_end
    return made


def nearest(
    reader: ExactReader, k: int, mask: Any = None, order: Any = None, *, fetch: int = 20
) -> Neighbors:
    n_allowed = N if mask is None else int(mask.sum())
    strategy = Strategy.GRAPH if mask is None else Strategy.GRAPH_FILTERED
    facts = Facts(N, DIMENSION, n_allowed, k, N, 100, len(QUERIES))
    plan = Plan(strategy, "", fetch, facts)
    return reader.search(QUERIES, k, plan=plan, mask=mask, order=order)


def expected(space: Space, k: int, mask: Any = None) -> list[list[int]]:
    products = QUERIES @ ROWS.T
    lengths = np.linalg.norm(ROWS, axis=1)
    far = {
        "l2": ((QUERIES[:, None] - ROWS) ** 2).sum(axis=2),
        "cosine": 1 - products / lengths / np.linalg.norm(QUERIES, axis=1)[:, None],
        "ip": 1 - products,
    }[space]
    if mask is not None:
        far = np.where(mask, far, np.inf)
    return far.argsort(axis=1)[:, :k].tolist()  # type: ignore[no-any-return]


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("graph_end", [0, 200, N])
def test_the_nearest_are_found_with_and_without_a_graph(space: Space, graph_end: int) -> None:
    mask = np.random.default_rng(3).random(N) < 0.3
    for reader in (loaded(space, graph_end), ExactReader(source, space, N)):
        assert nearest(reader, 5).labels.tolist() == expected(space, 5)
        assert nearest(reader, 5, mask).labels.tolist() == expected(space, 5, mask)


def test_an_answer_has_as_many_as_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    mask = np.zeros(N, dtype=bool)
    mask[[3, 250, 299]] = True
    reader = loaded(graph_end=200)
    # The graph returns none of the few that match: they are found by a scan.
    found = nearest(reader, 10, mask, fetch=1)
    assert found.labels.tolist() == expected("l2", 3, mask)
    assert found.distances.dtype == np.float32
    monkeypatch.setattr(vectors_module, "_LEFT_OUT_ROWS", 10)
    assert nearest(reader, 10, mask, fetch=1).labels.tolist() == expected("l2", 3, mask)


def test_equal_distances_come_in_storage_order() -> None:
    same = Vectors(DIMENSION)
    same.rows = np.ones((N, DIMENSION), dtype=np.float32)
    order = np.arange(N)[::-1].copy()
    for reader in (ExactReader(same, "l2", N), LoadedVectors(same, "l2", lambda _: True)):
        if isinstance(reader, LoadedVectors):
            reader.append(same.rows)
        assert nearest(reader, 3, order=order).labels.tolist() == [[299, 298, 297]] * 3
        assert nearest(reader, 3).labels.tolist() == [[0, 1, 2]] * 3


def test_a_discarded_label_is_taken_out_of_the_graph_alone() -> None:
    reader = loaded(graph_end=200)
    assert reader.graph is not None
    reader.discard(np.array([5, 250]))
    assert len(reader.graph) == 199
    mask = np.ones(N, dtype=bool)
    mask[[5, 250]] = False
    found = nearest(reader, N - 2, mask, fetch=N)
    assert sorted(found.labels[0].tolist()) == np.flatnonzero(mask).tolist()
    reader.drop_graph()
    assert (reader.graph, reader.graph_end, reader.graph_changed) == (None, 0, False)
    assert nearest(reader, 5, mask).labels.tolist() == expected("l2", 5, mask)


def test_what_it_grows_by_is_known_before() -> None:
    reader = LoadedVectors(source(), "l2", lambda _: True)
    for start, stop in ((0, 100), (100, 101), (101, 113), (113, 300)):
        before, bound = reader.parts()["norms"], reader.growth(stop - start)
        reader.append(ROWS[start:stop])
        assert reader.parts()["norms"] - before <= bound
    assert reader.growth(0) == 0
    np.testing.assert_allclose(reader.norms, np.linalg.norm(ROWS, axis=1), rtol=1e-6)
    again = LoadedVectors(source(), "l2", lambda _: True)
    again.restore(bytearray(reader.norms.tobytes()))
    assert (again.n_labels, again.suits_graph) == (N, True)
    assert nearest(again, 5).labels.tolist() == expected("l2", 5)


def test_a_vector_that_float32_cannot_compare_suits_no_graph() -> None:
    reader = loaded(graph_end=200)
    assert reader.suits_graph
    reader.append(np.full((1, DIMENSION), 1e30, dtype=np.float32))
    assert not reader.suits_graph


def test_the_vectors_are_opened_when_they_are_first_read() -> None:
    opened: list[Vectors] = []

    def open_vectors() -> Vectors:
        opened.append(source())
        return opened[-1]

    reader = ExactReader(open_vectors, "l2", N)
    assert (reader.n_labels, reader.norms, opened) == (N, None, [])
    nearest(reader, 1)
    nearest(reader, 1)
    assert len(opened) == 1


class RoughCodes(OwnIndex):
    """Distances that are wrong by up to `error`, as those of codes are."""

    error = 0.0
    #: Candidates that were asked for, of each search.
    asked: list[int]

    @property
    def code_bytes(self) -> int:
        return 1

    def search(self, queries: Any, k: int, threads: int) -> Neighbors:
        return self.search_among(queries, k, threads, np.ones(N, dtype=bool))

    def search_among(self, queries: Any, k: int, threads: int, mask: Any) -> Neighbors:
        self.asked.append(k)
        chosen = mask[self._labels]
        found = search(self.parameters.space, queries, self._vectors[chosen], int(chosen.sum()))
        labels = self._labels[chosen][found.labels]
        noise = np.random.default_rng(5).standard_normal((len(queries), N)).astype(np.float32)
        guesses = found.distances + self.error * np.take_along_axis(noise, labels, axis=1)
        order = guesses.argsort(axis=1)[:, :k]
        return Neighbors(
            np.take_along_axis(labels, order, axis=1), np.take_along_axis(guesses, order, axis=1)
        )


def with_codes(error: float, end: int = N) -> LoadedVectors:
    made = loaded("l2")
    codes = RoughCodes(GraphParameters("l2", DIMENSION))
    codes.error, codes.asked = error, []
    codes.add(np.arange(end), ROWS[:end], 1)
    made.graph, made.graph_end, made.graph_claimed = codes, end, end
    return made


def by_codes(reader: LoadedVectors, k: int, mask: Any = None, *, fetch: int = 6) -> Neighbors:
    strategy = Strategy.CODES if mask is None else Strategy.CODES_SUBSET
    n_allowed = N if mask is None else int(mask.sum())
    plan = Plan(strategy, "", fetch, Facts(N, DIMENSION, n_allowed, k, N, 100, len(QUERIES)))
    return reader.search(QUERIES, k, plan=plan, mask=mask, order=None)


@pytest.mark.parametrize("end", [200, N])
@pytest.mark.parametrize("error", [0.0, 0.05, 3.0])
def test_more_candidates_are_asked_for_the_more_the_codes_err(
    error: float, end: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Of so few all would be compared soon.
    monkeypatch.setattr(vectors_module, "_CODES_PER_CANDIDATE", 4)
    mask = np.random.default_rng(3).random(N) < 0.3
    reader = with_codes(error, end)
    assert by_codes(reader, 3).labels.tolist() == expected("l2", 3)
    assert isinstance(reader.graph, RoughCodes)
    asked = list(reader.graph.asked)
    assert asked[0] == 6
    assert (len(asked) > 1) is (error > 0.1), asked
    assert by_codes(reader, 3, mask).labels.tolist() == expected("l2", 3, mask)


def test_fewer_matches_than_candidates_are_all_there_are() -> None:
    mask = np.zeros(N, dtype=bool)
    mask[[3, 50, 199]] = True
    reader = with_codes(3.0)
    assert by_codes(reader, 10, mask).labels.tolist() == expected("l2", 3, mask)
    assert isinstance(reader.graph, RoughCodes)
    assert len(reader.graph.asked) == 1
