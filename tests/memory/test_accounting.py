"""What the store says that it holds is what really moves: the process's resident memory, in a child."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

SCRIPT = """
import gc, json, sys
import numpy as np, psutil
import chroma_nb
from chroma_nb.memory.trim import return_memory

engine, path, sizes = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
process = psutil.Process()

def rss():
    gc.collect()
    return_memory()
    return process.memory_info().rss

rng = np.random.default_rng(0)
client = chroma_nb.PersistentClient(path, chroma_nb.Settings(index_engine=engine, progress=False))
for n in [*sizes, 6_000]:
    collection = client.create_collection(f"n{n}", embedding_function=None)
    for start in range(0, n, 10_000):
        rows = range(start, min(start + 10_000, n))
        collection.add(
            ids=[f"id-{i}" for i in rows],
            embeddings=rng.standard_normal((len(rows), 256), dtype=np.float32),
            documents=[f"the document of record {i}, in a few words" for i in rows],
            metadatas=[{"n": i % 100, "word": f"w{i % 7}"} for i in rows],
        )
    collection.build_index()
    collection.unload()
query = rng.standard_normal((8, 256), dtype=np.float32)

def use(name):
    collection = client.get_collection(name, embedding_function=None)
    collection.query(query_embeddings=query, n_results=10)
    collection.get(where={"n": 3}, limit=1)
    return collection

# What the engine, BLAS and the database take once, whatever is loaded, is not the collections'.
for n in [6_000, *sizes]:
    use(f"n{n}").unload()
out = []
for n in sizes:
    before = rss()
    collection = use(f"n{n}")
    loaded = rss()
    held = client.memory.report().used
    released = collection.unload()
    out.append({"n": n, "held": held, "released": released, "rose": loaded - before,
                "fell": loaded - rss()})
client.close()
print(json.dumps(out))
"""


def measure(engine: str, path: Path, sizes: list[int]) -> list[dict[str, Any]]:
    if engine != "exact":
        pytest.importorskip(engine.partition("-")[0], reason=f"{engine!r} is not installed")
    command = [sys.executable, "-c", SCRIPT, engine, str(path), json.dumps(sizes)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


@pytest.mark.own_process
@pytest.mark.parametrize("engine", ["exact", "hnswlib", "usearch", "usearch-i8", "turbovec"])
def test_the_account_is_within_a_tenth_of_the_resident_memory(engine: str, tmp_path: Path) -> None:
    for found in measure(engine, tmp_path / "store", [8_000, 20_000, 40_000]):
        assert found["released"] == found["held"]
        assert found["rose"] == pytest.approx(found["held"], rel=0.1), found
        # At least 90 % of what was accounted is given back to the system.
        assert found["fell"] >= 0.9 * found["held"], found
