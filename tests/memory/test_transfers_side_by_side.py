"""Exports and imports of two stores at once, where little memory is free: done or refused, and the process lives."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pytest

import chroma_nb
from benchmarks.memory_limit import join, limit
from chroma_nb.db._versions import IS_OLD_DUCKDB

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("pyarrow", reason="the extra 'arrow' is not installed")
LIMIT = 300_000_000
#: Texts of up to 40 kB: eight megabytes of them are in a chunk of DuckDB's.
N = 800

SCRIPT = """
import json, sys, threading
import numpy as np
import pyarrow.parquet
import chroma_nb
from chroma_nb.memory.machine import Machine

root, n_free = sys.argv[1], int(sys.argv[2])
settings = chroma_nb.Settings(progress=False, fsync=False)
clients = [chroma_nb.PersistentClient(f"{root}/{name}", settings) for name in ("one", "two")]
own_arrays = []
while (missing := Machine().free() - n_free) > 0:
    own_arrays.append(np.ones(min(4_000_000, max(65_536, missing)), np.uint8))
said = [None, None]

def transfer(place):
    client = clients[place]
    try:
        client.get_collection("docs", embedding_function=None).export(f"{root}/{place}.parquet")
        client.import_(f"{root}/{place}.parquet", "again")
        said[place] = "done"
    except chroma_nb.errors.MemoryBudgetError as error:
        said[place] = str(error)

threads = [threading.Thread(target=transfer, args=(place,)) for place in range(2)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
del own_arrays
print(json.dumps([said, [client.check().is_whole for client in clients]]))
"""


@pytest.mark.slow
@pytest.mark.own_process
@pytest.mark.skipif(IS_OLD_DUCKDB, reason="DuckDB before 2.0 writes no padding")
@pytest.mark.parametrize(("n_free", "does_both"), [(60_000_000, False), (110_000_000, True)])
def test_two_stores_at_once(tmp_path: Path, n_free: int, does_both: bool) -> None:
    random = np.random.default_rng(0)
    settings = chroma_nb.Settings(progress=False, fsync=False)
    for name in ("one", "two"):
        with chroma_nb.PersistentClient(tmp_path / name, settings) as client:
            docs = client.create_collection("docs", embedding_function=None)
            for start in range(0, N, 100):
                docs.add(
                    ids=[str(row) for row in range(start, start + 100)],
                    embeddings=random.standard_normal((100, 384), dtype=np.float32),
                    documents=[
                        random.bytes(size).hex() for size in random.integers(500, 20_000, 100)
                    ],
                )
    with limit(LIMIT) as made:
        if not made.folder:
            pytest.skip("there is no control group to measure in")
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT, str(tmp_path), str(n_free)],
            preexec_fn=partial(join, str(made.folder / "cgroup.procs"), None),
            capture_output=True,
            text=True,
            check=False,
        )
        kills = made.kills()
    assert kills == 0
    assert done.returncode == 0, done.stderr[-2_000:]
    said, whole = json.loads(done.stdout)
    assert whole == [True, True]
    if does_both:
        assert said == ["done", "done"]
    for place, name in enumerate(("one", "two")):
        with chroma_nb.PersistentClient(tmp_path / name, settings) as client:
            if said[place] == "done":
                again = client.get_collection("again", embedding_function=None)
                docs = client.get_collection("docs", embedding_function=None)
                assert again.get(include=["documents"]) == docs.get(include=["documents"])
