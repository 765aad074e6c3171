"""While a graph grows: who waits for whom, what is answered, and what an error or an interrupt leaves."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import chroma_nb
from chroma_nb.index.cores import CORES
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

DIMENSION = 8
#: So many that a search goes through the graph; so many that the rest is mapped to be scanned.
OLD, NEW = 3_000, 4_500
VECTORS = np.random.default_rng(5).standard_normal((OLD + NEW, DIMENSION)).astype(np.float32)


def add(collection: Any, start: int, stop: int) -> None:
    collection.add(
        ids=[str(row) for row in range(start, stop)],
        embeddings=VECTORS[start:stop],
        metadatas=[{"half": row % 2} for row in range(start, stop)],
    )


class Growing:
    """A collection whose graph lacks `NEW` records, and a builder that is stopped before its second step."""

    def __init__(self, folder: Path, engine: str) -> None:
        # One thread: the same graph each time.
        settings = chroma_nb.Settings(index_engine=engine, graph_min_records=1_000, threads=1)
        self.client = chroma_nb.PersistentClient(folder, settings)
        self.notes = self.client.create_collection("notes", embedding_function=None)
        segments: Any = self.client.api.segments  # type: ignore[attr-defined]
        # The builder begins when a test says so.
        segments._builder.close()
        add(self.notes, 0, OLD)
        self.notes.build_index()
        self.slot = segments._slots.get(self.notes.id)
        self.ledger = segments.residents.ledger
        self.vectors = self.slot.segment.vectors
        self.graph = self.vectors.graph
        add(self.notes, OLD, OLD + NEW)
        self.events: list[str] = []
        self.first, self.go = threading.Event(), threading.Event()
        self._add, self._search = self.graph.add, self.graph.search
        self.graph.add, self.graph.search = self._step, self._found
        self.errors: list[BaseException] = []
        self._threads: list[threading.Thread] = []

    def _step(self, labels: Any, vectors: Any, threads: int) -> None:
        self._add(labels, vectors, threads)
        self.events.append("step")
        # Inside the step: whoever waits for it cannot go on.
        self.first.set()
        assert self.go.wait(180)

    def _found(self, *arguments: Any) -> Any:
        self.events.append("search")
        return self._search(*arguments)

    def start(self, work: Callable[[], object]) -> threading.Thread:
        def guarded() -> None:
            try:
                work()
            except BaseException as error:
                self.errors.append(error)

        thread = threading.Thread(target=guarded, daemon=True)
        self._threads.append(thread)
        thread.start()
        return thread

    def build(self) -> None:
        """Start building, and wait until the first step is being taken."""
        self.start(self.notes.build_index)
        assert self.first.wait(180)

    def end(self) -> None:
        self.go.set()
        for thread in self._threads:
            thread.join(180)
            assert not thread.is_alive()


@pytest.fixture(params=["hnswlib", "usearch"])
def growing(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Growing]:
    pytest.importorskip(request.param)
    made = Growing(tmp_path / "store", request.param)
    yield made
    made.go.set()
    made.client.close()


def test_only_searches_of_the_graph_wait_for_a_step_and_go_before_the_next(
    growing: Growing,
) -> None:
    notes = growing.notes
    growing.build()
    # These would stand here for good.
    assert len(notes.get(limit=5)["ids"]) == 5
    assert notes.get(ids=["7"])["ids"] == ["7"]
    assert notes.count() == OLD + NEW
    status = notes.get_indexing_status()
    assert status.num_unindexed_ops == NEW
    for shown in (growing.client, notes, growing.client.memory, notes.fields, status):
        assert "Unavailable" not in shown._repr_html_()
    exact = notes.query(query_embeddings=VECTORS[3], n_results=1, ids=["3", "4"])
    assert exact["ids"] == [["3"]]
    found: list[Any] = []
    for row in (11, OLD + 11):
        growing.start(
            lambda row=row: found.append(notes.query(query_embeddings=VECTORS[row], n_results=1))
        )
    wait_until(lambda: len(growing.vectors.graph_lock._waiting_readers) == 2)
    growing.events.clear()
    growing.end()
    assert not growing.errors
    assert sorted(each["ids"][0][0] for each in found) == ["11", str(OLD + 11)]
    assert growing.events[:2] == ["search", "search"]
    assert growing.events[2:].count("step") > 1


def test_a_write_goes_before_the_next_step(growing: Growing) -> None:
    notes = growing.notes
    growing.build()
    growing.start(lambda: notes.update(ids=["3"], embeddings=VECTORS[:1]))
    growing.start(lambda: notes.delete(ids=["5"]))
    wait_until(lambda: growing.slot.lock._waiting)
    growing.events.clear()
    seen: list[list[str]] = []
    apply = growing.slot.segment.apply

    def applied(*arguments: Any) -> None:
        apply(*arguments)
        seen.append(list(growing.events))

    growing.slot.segment.apply = applied
    growing.end()
    assert not growing.errors
    assert "step" not in seen[0]
    assert notes.query(query_embeddings=VECTORS[5], n_results=1)["ids"] != [["5"]]
    assert notes.get_indexing_status().num_unindexed_ops == 0


def test_answers_are_whole_at_every_moment(growing: Growing) -> None:
    notes, is_built = growing.notes, threading.Event()
    growing.go.set()
    missed: list[bool] = []

    def ask(seed: int) -> None:
        rng = np.random.default_rng(seed)
        while not is_built.is_set():
            row = int(rng.integers(OLD + NEW))
            for where in (None, {"half": row % 2}):
                ids = notes.query(query_embeddings=VECTORS[row], n_results=20, where=where)["ids"]
                assert len(set(ids[0])) == 20
                # A graph may pass over a record now and then.
                missed.append(ids[0][0] != str(row))

    for seed in range(3):
        growing.start(lambda seed=seed: ask(seed))
    builder = growing.start(notes.build_index)
    builder.join(180)
    is_built.set()
    growing.end()
    assert not growing.errors, growing.errors[0]
    assert sum(missed) <= 0.01 * len(missed)
    assert growing.vectors.graph_end == OLD + NEW
    assert growing.ledger.held(notes.id) == growing.slot.segment.resident_bytes
    assert growing.ledger.held(growing.slot.graph_account) == 0


@pytest.mark.parametrize("each", [20, 3])
def test_a_tail_with_gaps_is_looked_through(growing: Growing, each: int) -> None:
    notes = growing.notes
    gone = np.arange(OLD + NEW) % each == 0
    notes.delete(ids=[str(row) for row in np.flatnonzero(gone)])
    queries = VECTORS[OLD + 100 : OLD + 130]
    distances = ((VECTORS[:, None, :] - queries[None]) ** 2).sum(axis=2)
    distances[gone] = np.inf
    for size in (1, len(queries)):
        found = notes.query(query_embeddings=queries[:size], n_results=20)["ids"]
        for at, ids in enumerate(found):
            rows = np.array([int(one) for one in ids])
            assert not gone[rows].any()
            nearest = np.argsort(distances[:, at], kind="stable")[:20]
            assert (nearest == rows).mean() > 0.5
            # What is not in the graph is found exactly.
            assert set(nearest[nearest >= OLD]) <= set(rows)
            assert np.all(np.diff(distances[rows, at]) >= -1e-5)


def test_vectors_that_were_mapped_for_a_long_tail_are_let_go_of(
    growing: Growing, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes = growing.notes
    # The tail is longer than what is read each time.
    monkeypatch.setattr("chroma_nb.segment.vectors._READ_BYTES", VECTORS[:NEW].nbytes - 1)
    notes.query(query_embeddings=VECTORS[1], n_results=1)
    assert growing.vectors.source.mapped_bytes > 0
    growing.go.set()
    notes.build_index()
    assert growing.vectors.source.mapped_bytes == 0
    assert growing.ledger.held(notes.id) == growing.slot.segment.resident_bytes
    assert notes.query(query_embeddings=VECTORS[-1], n_results=1)["ids"] == [[str(OLD + NEW - 1)]]


def test_a_step_that_failed_half_way_costs_the_graph_and_nothing_else(growing: Growing) -> None:
    notes, graph = growing.notes, growing.graph

    def fails(labels: Any, vectors: Any, threads: int) -> None:
        growing._add(labels[:1], vectors[:1], threads)
        raise MemoryError("as asked")

    graph.add = fails
    with pytest.raises(MemoryError, match="as asked"):
        notes.build_index()
    assert growing.vectors.graph is None
    assert growing.ledger.held(notes.id) == growing.slot.segment.resident_bytes
    ids = notes.query(query_embeddings=VECTORS[OLD], n_results=20)["ids"][0]
    assert (ids[0], len(set(ids))) == (str(OLD), 20)
    notes.build_index()
    assert notes.get_indexing_status().num_unindexed_ops == 0
    assert notes.query(query_embeddings=VECTORS[OLD], n_results=1)["ids"] == [[str(OLD)]]


def test_a_stopped_build_goes_on_where_it_was(growing: Growing) -> None:
    notes, graph = growing.notes, growing.graph

    def stopped(labels: Any, vectors: Any, threads: int) -> None:
        growing._add(labels, vectors, threads)
        # An interrupt is raised when the engine comes back.
        raise KeyboardInterrupt

    graph.add = stopped
    with pytest.raises(KeyboardInterrupt):
        notes.build_index()
    graph.add = growing._add
    assert growing.vectors.graph is graph
    assert OLD < growing.vectors.graph_end < OLD + NEW
    notes.build_index()
    assert growing.vectors.graph is graph
    assert notes.get_indexing_status().num_unindexed_ops == 0
    assert notes.query(query_embeddings=VECTORS[OLD], n_results=1)["ids"] == [[str(OLD)]]
    assert not CORES.are_building


def test_steps_over_records_that_were_deleted(growing: Growing, read: list[bool]) -> None:
    notes = growing.notes
    notes.delete(ids=[str(row) for row in range(OLD + 1, OLD + 300)])
    growing.go.set()
    # Beside somebody, steps of a few vectors, and so of none.
    read[0] = True
    notes.build_index()
    assert notes.get_indexing_status().num_unindexed_ops == 0
    assert growing.vectors.graph_end == OLD + NEW
    ids = notes.query(query_embeddings=VECTORS[OLD + 150], n_results=50)["ids"][0]
    assert len(set(ids)) == 50
    assert not {str(row) for row in range(OLD + 1, OLD + 300)} & set(ids)


def test_a_look_at_the_status_is_no_use(growing: Growing, monkeypatch: Any) -> None:
    def forget() -> None:
        for name in ("_last_read", "_last_written"):
            monkeypatch.setattr(CORES, name, float("-inf"))

    forget()
    used = growing.slot.last_used
    growing.notes.get_indexing_status()
    assert not CORES.used_lately
    assert growing.slot.last_used == used
    for use in (
        lambda: growing.notes.get(limit=1),
        lambda: growing.notes.query(query_embeddings=VECTORS[0], n_results=1),
        lambda: growing.notes.update(ids=["1"], metadatas=[{"half": 0}]),
    ):
        forget()
        use()
        assert CORES.used_lately


@pytest.mark.parametrize("space", ["l2", "cosine", "ip"])
def test_a_scan_gives_the_same_while_something_is_built(space: str) -> None:
    configuration: Any = {"hnsw": {"space": space}}
    with chroma_nb.EphemeralClient(chroma_nb.Settings(index_engine="exact")) as client:
        notes = client.get_or_create_collection(
            f"scan-{space}", embedding_function=None, configuration=configuration
        )
        add(notes, 0, OLD)
        before = [notes.query(query_embeddings=VECTORS[row], n_results=30) for row in range(50)]
        CORES.start_building()
        try:
            for row in range(50):
                found = notes.query(query_embeddings=VECTORS[row], n_results=30)
                assert found["ids"] == before[row]["ids"]
                assert found["distances"] == before[row]["distances"]
        finally:
            CORES.stop_building()
        client.delete_collection(notes.name)


# -- saving ------------------------------------------------------------------------------------------


def test_a_graph_that_is_being_saved_does_not_grow(growing: Growing) -> None:
    notes, graph = growing.notes, growing.graph
    growing.go.set()
    saving, go = threading.Event(), threading.Event()
    save = graph.save

    def saved(path: str) -> None:
        saving.set()
        assert go.wait(180)
        growing.events.append("saved")
        save(path)

    graph.save = saved
    # Records came between the end of a build and its save, and another build.
    growing.vectors.graph_changed = True
    graphs: Any = growing.client.api.segments._graphs  # type: ignore[attr-defined]
    growing.start(lambda: graphs._save(growing.slot))
    assert saving.wait(180)
    growing.start(notes.build_index)
    wait_until(lambda: growing.vectors.graph_lock._waiting)
    assert growing.events == []
    found = notes.query(query_embeddings=VECTORS[3], n_results=1, ids=["3", "4"])
    assert found["ids"] == [["3"]]
    go.set()
    growing.end()
    assert not growing.errors
    assert growing.events[0] == "saved"


def test_what_was_built_beside_somebody_is_saved_when_nobody_reads(
    growing: Growing, read: list[bool]
) -> None:
    graphs: Any = growing.client.api.segments._graphs  # type: ignore[attr-defined]
    saves: list[str] = []
    save = growing.graph.save

    def saved(path: str) -> None:
        saves.append(path)
        save(path)

    growing.graph.save = saved
    growing.go.set()
    read[0] = True
    graphs.build(growing.slot, in_background=True)
    assert growing.vectors.graph_end == OLD + NEW
    # The saver's thread comes to this by itself, every second.
    graphs._save_when_unused(growing.notes.id)
    assert not saves
    read[0] = False
    graphs._save_when_unused(growing.notes.id)
    assert len(saves) == 1
    assert not growing.vectors.graph_changed
    # Whoever waits for a build has it saved.
    growing.notes.upsert(ids=["new"], embeddings=VECTORS[:1])
    read[0] = True
    growing.notes.build_index()
    assert len(saves) == 2
