"""A process that died while it built a graph leaves a note: the next one does not die of the same by itself."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import chroma_nb
from chroma_nb.index.base import graph_parameters
from chroma_nb.memory.pressure import PRESSURE
from chroma_nb.segment.graphs import Graphs
from chroma_nb.segment.resident_set import ResidentSet
from tests.memory.fakes import MIB, FakeMachine, tight

if TYPE_CHECKING:
    from pathlib import Path

    from chroma_nb.index.base import VectorIndex

LONG = 60.0
N = 3_000
VECTORS = np.random.default_rng(9).standard_normal((N, 768), dtype=np.float32)

BUILD = """
import os, signal, sys
import numpy as np
import chroma_nb
from chroma_nb.index import load_engine

engine = load_engine(sys.argv[2])
add = engine.add

def add_and_die(graph, labels, vectors, threads):
    add(graph, labels, vectors, threads)
    os.kill(os.getpid(), signal.SIGKILL)

engine.add = add_and_die
settings = chroma_nb.Settings(progress=False, graph_min_records=1_000, index_engine=sys.argv[2])
client = chroma_nb.PersistentClient(sys.argv[1], settings)
client.get_collection("docs", embedding_function=None).build_index()
"""


def opened(path: Path, engine: type[VectorIndex], **more: Any) -> Any:
    given = {"graph_min_records": 1_000, "fsync": False, "progress": False, **more}
    settings = chroma_nb.Settings(index_engine=engine.engine, memory_budget="400 MB", **given)
    return chroma_nb.PersistentClient(path, settings)


def docs_of(client: Any) -> Any:
    return client.get_collection("docs", embedding_function=None)


def notes(path: Path) -> list[str]:
    return [one.name for one in path.rglob("*.building")]


def fill(path: Path, engine: type[VectorIndex]) -> None:
    """Make a store whose collection has no graph yet."""
    with opened(path, engine, graph_min_records=10**9) as client:
        docs = client.create_collection("docs", embedding_function=None)
        docs.add(ids=[f"id{row}" for row in range(N)], embeddings=VECTORS)


@pytest.fixture
def died(tmp_path: Path, engine: type[VectorIndex]) -> Path:
    """A store of which a process was killed while it built a graph."""
    path = tmp_path / "store"
    fill(path, engine)
    done = subprocess.run(
        [sys.executable, "-c", BUILD, str(path), engine.engine],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert len(notes(path)) == 1
    assert not list(path.rglob("*.graph"))
    return path


class Noticed:
    """Tells what a store does by itself."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.stayed_exact = threading.Event()
        self.built = threading.Event()
        self.reason = ""
        note, put_in = ResidentSet.note, Graphs._put_in

        def noted(
            residents: ResidentSet, action: str, slot: Any, reason: str, *rest: Any, **named: Any
        ) -> None:
            note(residents, action, slot, reason, *rest, **named)
            if action == "stay exact":
                self.reason = reason
                self.stayed_exact.set()

        def put(graphs: Graphs, *given: Any, **named: Any) -> None:
            put_in(graphs, *given, **named)
            self.built.set()

        monkeypatch.setattr(ResidentSet, "note", noted)
        monkeypatch.setattr(Graphs, "_put_in", put)


@pytest.fixture
def noticed(monkeypatch: pytest.MonkeyPatch) -> Noticed:
    return Noticed(monkeypatch)


def machine_for(
    monkeypatch: pytest.MonkeyPatch, client: Any, engine: type[VectorIndex], times: float
) -> FakeMachine:
    """Let so many times as much be free as the graph takes, beside what loading takes."""
    monkeypatch.setattr(PRESSURE, "watch", lambda: None)
    monkeypatch.setattr(PRESSURE, "reserve", lambda: 16 * MIB)
    info = client.api.db.list_collections()[0]
    need = engine.bytes_for(graph_parameters(info), N)
    assert need > MIB // 2
    return tight(monkeypatch, int(times * need))


def ask(docs: Any) -> None:
    assert docs.query(query_embeddings=VECTORS[7], n_results=1)["ids"] == [["id7"]]


def test_where_little_is_free_it_is_not_tried_again_but_when_asked_for(
    died: Path, engine: type[VectorIndex], noticed: Noticed, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(died, engine) as client:
        machine_for(monkeypatch, client, engine, 2.5)
        docs = docs_of(client)
        ask(docs)
        assert noticed.stayed_exact.wait(LONG)
        assert noticed.reason.startswith("a process ended while it built this index, and ")
        assert not noticed.built.is_set()
        assert docs.get_indexing_status().num_unindexed_ops == N
        ask(docs)
        assert len(notes(died)) == 1
        docs.build_index()
        assert docs.get_indexing_status().num_unindexed_ops == 0
        assert notes(died) == []
        ask(docs)
    # From now on it is a graph like any other.
    with opened(died, engine) as client:
        docs = docs_of(client)
        ask(docs)
        assert docs.get_indexing_status().num_unindexed_ops == 0


def test_with_plenty_free_it_is_built_by_itself(
    died: Path, engine: type[VectorIndex], noticed: Noticed, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(died, engine) as client:
        machine_for(monkeypatch, client, engine, 50.0)
        docs = docs_of(client)
        ask(docs)
        assert noticed.built.wait(LONG)
        assert not noticed.stayed_exact.is_set()
    assert notes(died) == []
    assert list(died.rglob("*.graph"))


def test_without_a_note_it_is_built_where_it_just_fits(
    tmp_path: Path, engine: type[VectorIndex], noticed: Noticed, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path, engine)
    with opened(tmp_path, engine) as client:
        machine_for(monkeypatch, client, engine, 2.5)
        ask(docs_of(client))
        assert noticed.built.wait(LONG)
    assert notes(tmp_path) == []


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_the_note_goes_when_a_build_is_interrupted(
    tmp_path: Path,
    engine: type[VectorIndex],
    monkeypatch: pytest.MonkeyPatch,
    error: type[BaseException],
) -> None:
    fill(tmp_path, engine)
    seen: list[int] = []
    with opened(tmp_path, engine) as client:

        def stopped(*_: Any) -> None:
            seen.append(len(notes(tmp_path)))
            raise error

        # Who asks for the graph builds it: nobody does in the background.
        monkeypatch.setattr(client.api.segments._builder, "request", lambda *_: None)
        docs = docs_of(client)
        with monkeypatch.context() as patched:
            patched.setattr(engine, "add", stopped)
            with pytest.raises(error):
                docs.build_index()
        assert set(seen) == {1}
        assert notes(tmp_path) == []
        ask(docs)
        docs.build_index()
        assert docs.get_indexing_status().num_unindexed_ops == 0


def test_a_note_goes_with_its_collection(died: Path, engine: type[VectorIndex]) -> None:
    with opened(died, engine, graph_min_records=10**9) as client:
        client.delete_collection("docs")
        assert notes(died) == []


def test_a_store_in_memory_leaves_none(engine: type[VectorIndex], tmp_path: Path) -> None:
    settings = chroma_nb.Settings(
        progress=False,
        graph_min_records=1_000,
        index_engine=engine.engine,
        temp_path=str(tmp_path),
    )
    seen: list[int] = []
    add = engine.add

    def noticed(graph: VectorIndex, *given: Any) -> None:
        seen.append(len(notes(tmp_path)))
        add(graph, *given)

    with pytest.MonkeyPatch.context() as patched, chroma_nb.EphemeralClient(settings) as client:
        patched.setattr(engine, "add", noticed)
        docs = client.create_collection("docs", embedding_function=None)
        docs.add(ids=[f"id{row}" for row in range(N)], embeddings=VECTORS)
        docs.build_index()
    assert set(seen) == {0}
