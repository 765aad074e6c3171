"""Ten collections with 307 MB of vectors, in a control group of 200 MB: every answer right."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks.memory_limit import limit

if TYPE_CHECKING:
    from pathlib import Path

COMMON = """
import json, sys
import numpy as np
import chroma_nb

path, n, dimension = sys.argv[1], 20_000, 384
names = [f"part-{i}" for i in range(10)]

def vectors(number):
    rng = np.random.default_rng(number)
    centres = rng.standard_normal((400, dimension), dtype=np.float32)
    noise = rng.standard_normal((n, dimension), dtype=np.float32)
    return centres[rng.integers(0, 400, n)] + noise
"""

WRITE = """
# Of the codes, which are the default, all ten would fit.
settings = chroma_nb.Settings(progress=False, index_engine="usearch")
with chroma_nb.PersistentClient(path, settings) as client:
    for number, name in enumerate(names):
        collection = client.create_collection(name, embedding_function=None)
        collection.add(
            ids=[f"{name}/{row}" for row in range(n)],
            embeddings=vectors(number),
            documents=[f"document {row} of {name}" for row in range(n)],
        )
        collection.build_index()
        np.save(f"{path}-{name}.npy", vectors(number)[:: n // 20])
"""

READ = """
settings = chroma_nb.Settings(progress=False, index_engine="usearch")
with chroma_nb.PersistentClient(path, settings) as client:
    right, refused, before = 0, "", client.memory.budget
    for turn in range(2):
        for name in names:
            collection = client.get_collection(name, embedding_function=None)
            for row, vector in enumerate(np.load(f"{path}-{name}.npy")):
                found = collection.query(query_embeddings=vector + np.float32(0.01), n_results=5)
                right += found["ids"][0][0] == f"{name}/{row * (n // 20)}"
    # A cell that asks for more than there is: refused, and the process goes on.
    rng = np.random.default_rng(1)
    for start in range(0, 60_000, 10_000):
        collection.add(ids=[f"more{i}" for i in range(start, start + 10_000)],
                       embeddings=rng.random((10_000, dimension), dtype=np.float32))
    try:
        collection.get(include=["embeddings"])
    except chroma_nb.errors.MemoryBudgetError as error:
        refused = str(error)
    still = collection.get(ids=["more7"])["ids"]
    report = client.memory.report()
    print(json.dumps({"right": right, "refused": refused, "still": still, "budget": before,
                      "used": report.used, "source": report.limit_source,
                      "unloads": sum(event.action == "unload" for event in report.events)}))
"""


def run(script: str, path: Path, *, enter: list[str] | None = None) -> Any:
    first = ""
    if enter:
        first = f"import os\nopen({enter[1]!r}, 'w').write(str(os.getpid()))\n"
    return subprocess.run(
        [sys.executable, "-c", first + COMMON + script, str(path)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "2"},
    )


@pytest.mark.slow
@pytest.mark.own_process
def test_ten_collections_answer_in_two_hundred_megabytes(tmp_path: Path) -> None:
    with limit(200_000_000) as group:
        if group.folder is None:
            pytest.skip("no control group can be made here")
        path = tmp_path / "store"
        written = run(WRITE, path)
        assert written.returncode == 0, written.stderr
        done = run(READ, path, enter=group.arguments())
        assert done.returncode == 0, (done.returncode, done.stderr)
        found = json.loads(done.stdout)
        assert group.kills() == 0
    assert found["right"] == 2 * 10 * 20
    assert found["source"] == group.kind
    assert found["used"] <= found["budget"] < 200_000_000
    assert found["unloads"] >= 10
    assert "get() of 80,000 records" in found["refused"]
    assert "Ways out: " in found["refused"]
    assert found["still"] == ["more7"]
