"""Eight threads that add, ask, unload and change the budget; and cells that are stopped all the time."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import chroma_nb
from chroma_nb.errors import MemoryBudgetError
from tests.memory.test_budget_is_kept import WatchedLedger

if TYPE_CHECKING:
    from pathlib import Path

DIMENSION = 48
NAMES = ["one", "two", "three", "four"]
#: Wide enough a search that a stored vector is always found by itself.
CONFIGURATION = {"hnsw": {"ef_search": 400}}


class Actor(threading.Thread):
    """Does what comes to mind with records of its own, and remembers what was acknowledged."""

    def __init__(self, number: int, client: Any, until: float) -> None:
        super().__init__(name=f"actor-{number}")
        self.number = number
        self.client = client
        self.until = until
        self.random = random.Random(number)
        self.rng = np.random.default_rng(number)
        #: (collection, id) -> (vector, document)
        self.known: dict[tuple[str, str], tuple[np.ndarray, str]] = {}
        self.problems: list[str] = []
        self.done: dict[str, int] = {}

    def run(self) -> None:
        acts = [self.add, self.add, self.query, self.query, self.query, self.filtered, self.get]
        acts += [self.update, self.delete, self.unload, self.budget, self.pin]
        while time.monotonic() < self.until and not self.problems:
            act = self.random.choice(acts)
            try:
                act(self.random.choice(NAMES))
                self.done[act.__name__] = self.done.get(act.__name__, 0) + 1
            except Exception as error:
                self.problems.append(f"{act.__name__}: {type(error).__name__}: {error}")

    def collection(self, name: str) -> Any:
        return self.client.get_collection(name, embedding_function=None)

    def some(self, name: str) -> tuple[str, np.ndarray, str] | None:
        mine = [(key[1], *value) for key, value in self.known.items() if key[0] == name]
        return self.random.choice(mine) if mine else None

    def expect(self, holds: bool, what: str) -> None:
        if not holds:
            self.problems.append(what)

    def add(self, name: str) -> None:
        n = self.random.choice([1, 5, 200])
        vectors = self.rng.standard_normal((n, DIMENSION)).astype(np.float32)
        ids = [f"{self.number}-{self.rng.integers(1 << 60)}" for _ in range(n)]
        try:
            self.collection(name).add(
                ids=ids,
                embeddings=vectors,
                documents=[f"by {self.number}: {one}" for one in ids],
                metadatas=[{"by": self.number, "tail": one[-1]} for one in ids],
            )
        except MemoryBudgetError as error:
            # Another thread has pinned it, in a budget in which it cannot grow.
            self.expect("which is pinned" in str(error), str(error))
            return
        for one, vector in zip(ids, vectors, strict=True):
            self.known[name, one] = (vector, f"by {self.number}: {one}")

    def query(self, name: str) -> None:
        if found := self.some(name):
            one, vector, document = found
            answer = self.collection(name).query(query_embeddings=vector, n_results=3)
            self.expect(answer["ids"][0][0] == one, f"query: {answer['ids'][0]} instead of {one}")
            self.expect(answer["documents"][0][0] == document, "query: another document")
            self.expect(answer["distances"][0][0] < 1e-4, "query: not at distance 0")

    def filtered(self, name: str) -> None:
        if found := self.some(name):
            one, vector, _ = found
            answer = self.collection(name).query(
                query_embeddings=vector,
                n_results=2,
                where={"$and": [{"by": self.number}, {"tail": one[-1]}]},
            )
            self.expect(answer["ids"][0][0] == one, f"filter: {answer['ids'][0]} instead of {one}")
            kept = all(row["by"] == self.number for row in answer["metadatas"][0])
            self.expect(kept, "filter: somebody else's record")

    def get(self, name: str) -> None:
        if found := self.some(name):
            one, vector, document = found
            answer = self.collection(name).get(ids=[one], include=["documents", "embeddings"])
            self.expect(answer["documents"] == [document], f"get: {answer['documents']}")
            self.expect(np.array_equal(answer["embeddings"][0], vector), "get: another vector")

    def update(self, name: str) -> None:
        if found := self.some(name):
            one, vector, _ = found
            if self.random.random() < 0.5:
                vector = self.rng.standard_normal(DIMENSION).astype(np.float32)
            document = f"changed to {self.rng.integers(1 << 30)}"
            try:
                self.collection(name).update(ids=[one], embeddings=[vector], documents=[document])
            except MemoryBudgetError as error:
                self.expect("which is pinned" in str(error), str(error))
                return
            self.known[name, one] = (vector, document)

    def delete(self, name: str) -> None:
        if found := self.some(name):
            self.collection(name).delete(ids=[found[0]])
            del self.known[name, found[0]]

    def unload(self, name: str) -> None:
        if self.random.random() < 0.2:
            self.client.memory.unload_all()
        else:
            self.collection(name).unload()

    def budget(self, name: str) -> None:
        try:
            self.client.memory.budget = self.random.choice(
                [0, 300_000, 1_000_000, 4_000_000, 10**9]
            )
        except MemoryBudgetError as error:
            # Another thread may have let go of it by now.
            self.expect("what is pinned" in str(error), str(error))

    def pin(self, name: str) -> None:
        try:
            self.client.memory.pin(name)
        except MemoryBudgetError:
            return
        self.client.memory.unpin(name)


@pytest.mark.parametrize("seconds", [8, pytest.param(30, marks=pytest.mark.slow)])
def test_eight_threads_lose_nothing_and_keep_the_budget(tmp_path: Path, seconds: int) -> None:
    settings = chroma_nb.Settings(graph_min_records=400, fsync=False, idle_unload_seconds=0.05)
    with chroma_nb.PersistentClient(tmp_path / "store", settings) as client:
        for name in NAMES:
            client.create_collection(name, embedding_function=None, configuration=CONFIGURATION)
        residents = client.api.segments.residents  # type: ignore[attr-defined]
        ledger = residents.ledger = WatchedLedger(residents.budget)
        until = time.monotonic() + seconds
        actors = [Actor(number, client, until) for number in range(8)]
        for actor in actors:
            actor.start()
        for actor in actors:
            actor.join(seconds + 30)
            assert not actor.is_alive(), "a deadlock"
        assert not [problem for actor in actors for problem in actor.problems]
        assert not ledger.broken
        kinds = {kind for actor in actors for kind in actor.done}
        assert kinds == {
            *("add", "query", "filtered", "get", "update", "delete", "unload", "budget", "pin"),
        }
        known = {key: value for actor in actors for key, value in actor.known.items()}
        for name in NAMES:
            mine = {one: value for (where, one), value in known.items() if where == name}
            stored = client.get_collection(name, embedding_function=None).get(
                include=["documents", "embeddings"]
            )
            assert set(stored["ids"]) == set(mine)
            rows = zip(stored["ids"], stored["documents"], stored["embeddings"], strict=True)
            for one, document, vector in rows:
                assert document == mine[one][1]
                np.testing.assert_array_equal(vector, mine[one][0])


#: Has Ctrl-C stop what is in a cell.
STOP = """
def stop(number, frame):
    # The notebook's server would send it at any time; this script itself is not what is tested.
    if in_cell:
        raise KeyboardInterrupt

signal.signal(signal.SIGINT, stop)
"""

INTERRUPTED = (
    """
import faulthandler, random, signal, sys, threading, time, os
import numpy as np
import chroma_nb
from chroma_nb.errors import MemoryBudgetError

faulthandler.dump_traceback_later(140, exit=True)
path, seed, n_stops = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
rng, chance = np.random.default_rng(seed), random.Random(seed)
settings = chroma_nb.Settings(
    graph_min_records=400, fsync=False, memory_budget="3 MB", idle_unload_seconds=0.2)
client = chroma_nb.PersistentClient(path, settings)
names = ["one", "two", "three"]
for name in names:
    client.create_collection(
        name, embedding_function=None, configuration={"hnsw": {"ef_search": 400}})
# Imports whatever may be needed: an interrupt within the import of a C module is its own affair.
client.memory.estimate(10_000)
acknowledged, stops, steps = {}, 0, 0
going, in_cell = True, False

"""
    + STOP
    + """
def stop_cells():
    while going:
        time.sleep(chance.choice([0.0005, 0.002, 0.01, 0.03]))
        os.kill(os.getpid(), signal.SIGINT)

def step():
    global steps
    name = chance.choice(names)
    collection = client.get_collection(name, embedding_function=None)
    act = chance.randrange(6)
    if act < 2:
        n = chance.choice([1, 50, 400])
        ids = [str(rng.integers(1 << 60)) for _ in range(n)]
        vectors = rng.standard_normal((n, 40)).astype(np.float32)
        collection.add(ids=ids, embeddings=vectors, documents=ids, metadatas=[{"k": i % 3} for i in range(n)])
        for one, vector in zip(ids, vectors):
            acknowledged[name, one] = vector
    elif act == 2:
        collection.query(query_embeddings=rng.standard_normal(40), n_results=3, where={"k": 1})
    elif act == 3:
        collection.query(query_embeddings=rng.standard_normal((20, 40)), n_results=3)
    elif act == 4:
        chance.choice([collection.unload, collection.build_index, client.memory.unload_all])()
    else:
        client.memory.budget = chance.choice([200_000, 1_000_000, "3 MB", "1 GB"])
    steps += 1

threading.Thread(target=stop_cells, daemon=True).start()
# As many as the machine takes its time for; a hundred of them came to an end all the same.
while stops < n_stops or steps < 100:
    try:
        in_cell = True
        try:
            step()
        except MemoryBudgetError:
            pass
        in_cell = False
    except KeyboardInterrupt:
        in_cell = False
        stops += 1
in_cell = going = False
signal.signal(signal.SIGINT, signal.SIG_IGN)
time.sleep(0.05)

# From another thread: whatever the main thread had left behind would stop it for good.
found, failed = {}, []
def check():
    try:
        look()
    except BaseException as error:
        failed.append(error)
def look():
    for name in names:
        collection = client.get_collection(name, embedding_function=None)
        collection.add(ids=["last"], embeddings=[[0.5] * 40])
        collection.unload()
        stored = collection.get(include=["embeddings"])
        found[name] = dict(zip(stored["ids"], stored["embeddings"]))
        for (where, one), vector in list(acknowledged.items())[:50]:
            if where == name:
                answer = collection.query(query_embeddings=vector, n_results=1)
                plan = collection.explain(query_embeddings=vector, n_results=1)
                assert answer["ids"] == [[one]], (name, one, answer, plan)
    found["used"] = client.memory.report().used
# One operation of the main thread gives back what an interrupted one left.
client.count_collections()
thread = threading.Thread(target=check)
thread.start()
thread.join(180)
assert not thread.is_alive(), "a deadlock"
for error in failed:
    raise error
assert found["used"] <= client.memory.budget
for (name, one), vector in acknowledged.items():
    assert np.array_equal(found[name][one], vector), one
client.close()
with chroma_nb.PersistentClient(path, settings) as client:
    for name in names:
        assert client.get_collection(name, embedding_function=None).count() == len(found[name])
print("stops", stops, "steps", steps, "acknowledged", len(acknowledged))
"""
)


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
@pytest.mark.parametrize("seed", [1, 2, pytest.param(3, marks=pytest.mark.slow)])
def test_a_stopped_cell_leaves_no_lock_and_loses_nothing(tmp_path: Path, seed: int) -> None:
    n_stops = 1_500 if seed == 3 else 300
    command = [sys.executable, "-c", INTERRUPTED, str(tmp_path / "store"), str(seed), str(n_stops)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=150)
    assert done.returncode == 0, done.stdout + done.stderr[-4_000:]


LIMIT_RESTORED = (
    """
import os, signal, sys, threading, time
import chroma_nb

client = chroma_nb.PersistentClient(sys.argv[1])
notes = client.create_collection("notes", embedding_function=None)
notes.add(ids=["a"], embeddings=[[1.0, 2.0]])
notes.unload()
kinds, in_cell, going = {}, False, True

"""
    + STOP
    + """
def stop_cells():
    while going:
        time.sleep(0.0007)
        os.kill(os.getpid(), signal.SIGINT)

threading.Thread(target=stop_cells, daemon=True).start()
while sum(kinds.values()) < 400:
    # As `unload` leaves it where it is stopped while DuckDB gives its cache back.
    client.api.db.memory_share.is_stale = True
    try:
        in_cell = True
        try:
            with client.api.db._database.reading():
                pass
        except Exception as error:
            in_cell = False
            kind = f"{type(error).__name__}: {error}"
            kinds[kind] = kinds.get(kind, 0) + 1
        in_cell = False
    except KeyboardInterrupt:
        in_cell = False
        kinds["KeyboardInterrupt"] = kinds.get("KeyboardInterrupt", 0) + 1
going = False
signal.signal(signal.SIGINT, signal.SIG_IGN)
assert notes.get()["ids"] == ["a"]
client.close()
assert kinds == {"KeyboardInterrupt": 400}, kinds
"""
)


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
def test_a_cell_stopped_while_duckdb_gets_its_memory_back_is_interrupted(tmp_path: Path) -> None:
    """DuckDB itself raises a RuntimeError then."""
    command = [sys.executable, "-c", LIMIT_RESTORED, str(tmp_path / "store")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr[-4_000:]
