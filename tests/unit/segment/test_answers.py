"""`records` and `matches`: what an answer has, and that one for which there is no memory is refused with true figures."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from chroma_nb.errors import IDNotFoundError, InvalidArgumentError, MemoryBudgetError
from chroma_nb.filters.expression import Compare
from chroma_nb.memory.lender import Lenders
from chroma_nb.memory.machine import Machine
from chroma_nb.memory.workspace import WORKSPACE, Workspace
from chroma_nb.segment import answers
from chroma_nb.segment.answers import matches, records

if TYPE_CHECKING:
    from chroma_nb.segment.segment import Segment
    from tests.unit.segment.conftest import Store

EVERYTHING = ("documents", "metadatas", "uris", "embeddings", "distances")
QUERIES = np.array([[0, 0], [9, 0]], dtype=np.float32)


def budget() -> int:
    return 5


@pytest.fixture
def segment(plain_store: Store) -> Segment:
    """The records "a" at 0, "b" at 1 and "c" at 9."""
    plain_store.write(
        *"abc",
        embeddings=np.array([[0, 0], [1, 0], [9, 0]], dtype=np.float32),
        documents=["A", "B", "C"],
        metadatas=[{"n": 1}, {"n": 2}, None],
    )
    found: Segment = plain_store.slot().segment
    return found


def test_a_get_has_what_was_asked_for(segment: Segment) -> None:
    found = records(segment, None, None, 2, 1, EVERYTHING, budget=budget)
    assert (found.ids, found.documents, found.uris) == (["b", "c"], ["B", "C"], [None, None])
    assert found.metadatas == [{"n": 2}, None]
    assert found.embeddings is not None
    assert found.embeddings.tolist() == [[1, 0], [9, 0]]
    found = records(segment, Compare("n", "$eq", 1), None, None, 0, (), budget=budget)
    assert found.ids == ["a"]
    assert found.documents is found.metadatas is found.uris is found.embeddings is None


def test_a_query_has_a_list_for_each_query(segment: Segment) -> None:
    found = matches(segment, QUERIES, 2, None, None, EVERYTHING, budget=budget)
    assert found.ids == [["a", "b"], ["c", "b"]]
    assert found.documents == [["A", "B"], ["C", "B"]]
    assert found.distances == [[0, 1], [0, 64]]
    assert found.embeddings is not None
    assert [one.tolist() for one in found.embeddings] == [[[0, 0], [1, 0]], [[9, 0], [1, 0]]]
    assert found.metadatas == [[{"n": 1}, {"n": 2}], [None, {"n": 2}]]
    assert found.metadatas[0][1] is not found.metadatas[1][1]


def test_where_nothing_matches_the_lists_are_empty(plain_store: Store, segment: Segment) -> None:
    none = Compare("n", "$gt", 5)
    for n_queries in (1, 2):
        found = matches(segment, QUERIES[:n_queries], 2, none, None, EVERYTHING, budget=budget)
        empty: list[list[Any]] = [[]] * n_queries
        assert found.ids == found.documents == found.distances == found.uris == empty
    plain_store.id = plain_store.create("empty")
    with plain_store.segments.answering(plain_store.id) as without:
        found = matches(without, QUERIES, 2, None, ["x"], EVERYTHING, budget=budget)
        assert (found.ids, found.distances) == ([[], []], [[], []])
        got = records(without, None, None, None, 0, EVERYTHING, budget=budget)
        assert (got.ids, got.documents, np.shape(got.embeddings)) == ([], [], (0, 0))


def test_what_cannot_be_asked_is_refused(segment: Segment) -> None:
    with pytest.raises(InvalidArgumentError, match="dimension of 2, got 3"):
        matches(segment, np.zeros((1, 3), np.float32), 1, None, None, (), budget=budget)
    with pytest.raises(IDNotFoundError, match="nobody"):
        matches(segment, QUERIES, 1, None, ["a", "nobody"], (), budget=budget)
    filtered = Compare("n", "$gte", 1)
    found = matches(segment, QUERIES, 1, filtered, ["b", "nobody"], (), budget=budget)
    assert found.ids == [["b"], ["b"]], "beside a filter, who is not there does not match"


def test_a_large_answer_is_refused_before_it_is_made(
    plain_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain_store.write("a", embeddings=plain_store.vectors(1), documents=["x" * 3_000_000])
    queries = plain_store.vectors(1)
    asked = [
        (
            lambda segment: records(segment, None, None, None, 0, ("documents",), budget=budget),
            r"get\(\) of 1 records of collection \[notes\].*offset=\.\.\.",
        ),
        (
            lambda segment: matches(segment, queries, 1, None, None, ("documents",), budget=budget),
            r"query\(\) for 1 results from collection \[notes\].*n_results=10",
        ),
    ]
    with plain_store.segments.present(plain_store.id) as segment, monkeypatch.context() as patch:
        patch.setattr(Workspace, "_free", lambda self: 2_000_000)
        patch.setattr(segment.metadata, "read", sample_of(segment.metadata.read))
        for ask, what in asked:
            with pytest.raises(MemoryBudgetError, match=what) as refused:
                ask(segment)
            assert (refused.value.free, refused.value.budget) == (2_000_000, 5)
            assert refused.value.need > 3_000_000
    assert WORKSPACE.used == 0


def sample_of(read: Any) -> Any:
    """Return a `read` that makes no answer; a sample is read for the estimate."""

    def sample(labels: Any, include: Any, measured: Any = None) -> Any:
        assert measured is None, "the answer was made"
        return read(labels, include)

    return sample


# -- an answer that grows while it is read -----------------------------------------------------------


class Little(Machine):
    """Has so much memory free, which nothing that is granted here takes from it."""

    n_bytes = 0

    def free(self) -> int:
        return self.n_bytes


def workspace_of(n_bytes: int) -> Workspace:
    machine = Little()
    made = Workspace(machine, Lenders(), patience=0.0)
    object.__setattr__(machine, "n_bytes", n_bytes + made.headroom)
    return made


def figures(error: MemoryBudgetError) -> tuple[str, str]:
    found = re.search(r"needs about ([\d.]+ .B); ([\d.]+ .B) are free", str(error))
    assert found, str(error)
    return found[1], found[2]


def grown(workspace: Workspace, estimate: int, real: int) -> MemoryBudgetError:
    """Return the error for an answer that turns out to take more than was estimated for it."""

    def take(more: int) -> Any:
        return workspace.take_answer(more, "get() of 9 records", "ask for less", budget=7)

    with answers._Room(take(estimate), estimate, take) as room:
        assert room.measured is not None
        with pytest.raises(MemoryBudgetError) as refused:
            room.measured(1.0, real)
    assert workspace.used == 0 or workspace.holds_answers
    return refused.value


def test_a_growing_answer_is_refused_with_what_it_takes_in_all() -> None:
    # What was granted first is free again: 3 MB are, and of the 12 MB more that are needed, 5 MB.
    error = grown(workspace_of(8_000_000), estimate=3_000_000, real=15_000_000)
    assert (error.need, error.free, error.budget) == (15_000_000, 8_000_000, 7)
    assert figures(error) == ("15.0 MB", "8.0 MB"), "not 18.0 MB: 15.0 MB contains 5.0 MB"
    assert "The texts read so far were discarded." in str(error)
    assert "Nothing was allocated" not in str(error)


def test_it_needs_more_than_is_free_where_several_times_as_much_is_taken() -> None:
    workspace = workspace_of(26_000_000)
    with workspace.holding_answers(2.0):
        error = grown(workspace, estimate=10_000_000, real=14_000_000)
    assert (error.need, error.free) == (28_000_000, 26_000_000)
    assert figures(error) == ("28.0 MB", "26.0 MB")
    assert workspace.used == 0


def test_an_answer_grows_where_there_is_room() -> None:
    workspace = workspace_of(20_000_000)

    def take(more: int) -> Any:
        return workspace.take_answer(more, "an answer")

    with answers._Room(take(4_000_000), 4_000_000, take) as room:
        assert room.measured is not None
        room.measured(0.5, 2_000_000)
        assert workspace.used == 4_000_000, "as estimated"
        room.measured(0.5, 8_000_000)
        assert workspace.used == 10_000_000, "what was read, and what the rest is estimated to take"
        room.measured(1.0, 9_000_000)
        assert workspace.used == 10_000_000
    assert workspace.used == 0
