"""Unloading gives memory back to the system, and leaves no trace in any answer."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import chroma_nb

SCRIPT = """
import gc, json, sys
import numpy as np, psutil
import chroma_nb

engine, path = sys.argv[1], sys.argv[2]
process = psutil.Process()
settings = chroma_nb.Settings(index_engine=engine)
client = chroma_nb.PersistentClient(path, settings) if path else chroma_nb.EphemeralClient(settings)
notes = client.create_collection("notes", embedding_function=None)
rng = np.random.default_rng(0)
for start in range(0, 40_000, 10_000):
    vectors = rng.standard_normal((10_000, 256), dtype=np.float32)
    ids = [str(start + i) for i in range(10_000)]
    notes.add(ids=ids, embeddings=vectors, documents=[f"text of record {one}, and some more" for one in ids])
notes.build_index()
queries = rng.standard_normal((50, 256), dtype=np.float32)
del vectors, ids
before = notes.query(query_embeddings=queries, n_results=5)
# Touch everything: a filter that leaves most records makes the exact scan of them all.
notes.query(query_embeddings=queries[:1], where_document={"$contains": "text"}, n_results=5_000)
gc.collect()
loaded = process.memory_info().rss
released = notes.unload()
gc.collect()
unloaded = process.memory_info().rss
again = notes.unload()
after = notes.query(query_embeddings=queries, n_results=5)
client.close()
print(json.dumps({
    "released": released, "fell": loaded - unloaded, "again": again, "same": before == after,
}))
"""


@pytest.mark.own_process
@pytest.mark.parametrize("store", ["ephemeral", "persistent"])
@pytest.mark.parametrize("engine", ["exact", "hnswlib", "usearch"])
def test_the_process_gets_smaller(tmp_path: Path, engine: str, store: str) -> None:
    if engine != "exact":
        pytest.importorskip(engine, reason=f"the extra {engine!r} is not installed")
    path = str(tmp_path / "store") if store == "persistent" else ""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, engine, path], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["released"] > (20e6 if engine == "usearch" else 40e6)
    assert found["fell"] >= 0.85 * found["released"], found
    assert found["again"] == 0
    assert found["same"]


def test_unloading_under_readers_changes_no_answer() -> None:
    settings = chroma_nb.Settings(graph_min_records=100, allow_reset=True)
    with chroma_nb.EphemeralClient(settings) as client:
        client.reset()
        notes = client.create_collection("notes", embedding_function=None)
        vectors = np.random.default_rng(0).standard_normal((3_000, 32)).astype(np.float32)
        notes.add(ids=[str(i) for i in range(3_000)], embeddings=vectors)
        notes.build_index()
        expected = notes.query(query_embeddings=vectors[:20], n_results=3)
        wrong: list[Any] = []
        stop = threading.Event()

        def read() -> None:
            while not stop.is_set():
                try:
                    if notes.query(query_embeddings=vectors[:20], n_results=3) != expected:
                        wrong.append("another answer")
                except Exception as error:
                    wrong.append(error)

        threads = [threading.Thread(target=read) for _ in range(4)]
        for thread in threads:
            thread.start()
        for _ in range(30):
            notes.unload()
            client.unload("notes")
        stop.set()
        for thread in threads:
            thread.join()
        assert not wrong


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs /proc to list descriptors")
def test_closing_leaves_no_descriptor_and_no_thread(tmp_path: Path) -> None:
    def descriptors() -> list[str]:
        out = []
        for file in Path("/proc/self/fd").iterdir():
            try:
                out.append(str(file.readlink()))
            except FileNotFoundError:
                continue
        return sorted(name for name in out if not name.startswith("pipe:"))

    settings = chroma_nb.Settings(graph_min_records=100)
    with chroma_nb.PersistentClient(tmp_path / "warm", settings):
        pass
    threads = threading.active_count()
    before = descriptors()
    for make in (
        lambda: chroma_nb.PersistentClient(tmp_path / "store", settings),
        lambda: chroma_nb.EphemeralClient(settings),
    ):
        with make() as client:
            notes = client.create_collection("notes", embedding_function=None)
            vectors = np.random.default_rng(0).standard_normal((2_000, 200)).astype(np.float32)
            notes.add(ids=[str(i) for i in range(2_000)], embeddings=vectors)
            notes.query(query_embeddings=vectors[0], where_document={"$not_contains": "x"})
            notes.build_index()
            notes.query(query_embeddings=vectors[0])
            notes.unload()
            notes.get(limit=3)
        assert descriptors() == before
        assert threading.active_count() == threads
    (tmp_path / "file").touch()
    with pytest.raises(chroma_nb.errors.InvalidArgumentError):
        chroma_nb.PersistentClient(tmp_path / "file")
    assert descriptors() == before
